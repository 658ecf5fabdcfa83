//! What a route gives a plugin along with its grants.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Grant, Use};
use crate::config::{AllowedHosts, Secret};

/// How long a hook may wait for what it keeps, all its calls together. Each of them ends by Redis's
/// own deadline; a guest that asks one by one must not wait a thousand times as long.
const STORE: Duration = Duration::from_secs(1);

/// Where a plugin may go on a route, and what it is told there.
pub(super) struct Granted {
    pub(super) hosts: AllowedHosts,
    pub(super) secrets: BTreeMap<String, Secret>,
    http_timeout: Duration,
    keeps: bool,
}

/// How long the running hook may still wait.
pub(super) struct Patience {
    pub(super) http: Duration,
    pub(super) store: Duration,
}

impl Granted {
    pub(super) fn of(used: &Use) -> Granted {
        Granted {
            hosts: used.hosts.clone(),
            secrets: used.secrets.clone(),
            http_timeout: used.http_timeout,
            keeps: used.grants.contains(&Grant::Kv),
        }
    }

    /// How long a hook may wait for what it is granted here.
    pub(super) fn patience(&self) -> Duration {
        let http = if self.hosts.is_empty() {
            Duration::ZERO
        } else {
            self.http_timeout
        };
        http + if self.keeps { STORE } else { Duration::ZERO }
    }
}

impl Patience {
    /// That of a hook that begins.
    pub(super) fn of(granted: &Granted) -> Patience {
        Patience {
            http: granted.http_timeout,
            store: STORE,
        }
    }
}
