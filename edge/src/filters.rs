//! The filters of a route: sandboxed WebAssembly components that look at an exchange.
//!
//! [`Plugins`] are compiled once from the configuration; a route's [`Chain`] is made of them;
//! each exchange [`begin`](Chain::begin)s its own [`Filters`], whose instances live as long as it
//! does. What guests may reach beyond the exchange are the [`Capabilities`]. A guest that traps,
//! loops, hoards or floods ends its own instance and is answered for by what the route says.
//!
//! The two worlds that guests are written against are in `plugins/wit/worlds.wit`; which of them a
//! guest is of is known to `guest` alone.

mod bindings;
mod chain;
mod convert;
mod delivery;
mod engine;
mod error;
mod granted;
mod guest;
mod held;
mod host;
mod limits;
mod patience;
mod plugin;
mod powers;
mod purge;
mod replace;
mod run;
mod subject;

pub use chain::Chain;
pub use delivery::Delivery;
pub use error::PluginError;
pub use limits::{
    Counting, Limits, LocalLimits, NotCounted, RedisLimits, Standing, Take, Taken, Verdict, Window,
    taken,
};
pub use plugin::{Plugins, needs};
pub use purge::{Purge, PurgeOrder};
pub use run::{Filters, Flow};
pub use subject::{PolicyChanges, Subject};

pub use crate::config::{Grant, OnFailure, Source, Use};
pub use crate::wasm::{
    Builtin, CacheError, CodeCache, Failure, FailureKind, Library, SourceError, failures,
    lines_left_out, read_component,
};

use std::sync::Arc;

use crate::clock::Clock;
use crate::egress::Egress;
use crate::keyvalue::KeyValue;
use crate::telemetry::GuestMetrics;

/// What guests may reach beyond the exchange, where their route grants it. Cheap to clone.
#[derive(Clone)]
pub struct Capabilities {
    /// What the capability `limits` counts with.
    pub limits: Arc<dyn Limits>,
    /// What the capability `purge` orders from.
    pub purge: Arc<dyn Purge>,
    /// What the capability `kv` keeps things in.
    pub keyvalue: KeyValue,
    /// How the capability `http` gets out.
    pub egress: Arc<Egress>,
    /// What the capability `metrics` counts in.
    pub metrics: GuestMetrics,
    /// What the capability `clock` tells the time of day by.
    pub clock: Clock,
}
