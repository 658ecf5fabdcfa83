//! What a handler reaches beyond its exchange, and by which worker's means.
//!
//! Everything that a route grants its handler comes in here: a host interface asks the `Reach` in
//! its store's state whether the route has granted it, and with what.

use std::sync::Arc;

use super::spin::Servers;
use crate::clock::Clock;
use crate::config::{Grant, Use};
use crate::filters::Capabilities;
use crate::wasm::Lines;

/// What the guest of a route reaches, by one worker's means.
pub(super) struct Reach {
    /// What the route says of it.
    pub(super) used: Arc<Use>,
    /// The worker's connections and counters.
    pub(super) capabilities: Arc<Capabilities>,
    /// The Redis servers that the route lists.
    pub(super) servers: Arc<Servers>,
    pub(super) clock: Clock,
    /// The log lines of all the plugin's instances.
    pub(super) lines: Arc<Lines>,
}

impl Reach {
    pub(super) fn grants(&self, grant: Grant) -> bool {
        self.used.grants.contains(&grant)
    }
}
