//! The tiers and the purge log: budgets and deadlines.

use std::time::Duration;

use redis::IntoConnectionInfo as _;
use serde::Deserialize;

use super::secret::Secret;
use super::units::{byte_size, check_not_zero, duration};

/// `[cache]`: the budgets of the tiers in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Bytes of the memory tier (L1), shared by all workers.
    #[serde(deserialize_with = "byte_size")]
    pub memory: usize,
    /// Bytes of each worker's own tier of hot entries (L0).
    #[serde(deserialize_with = "byte_size")]
    pub hot: usize,
    /// A body over this many bytes streams through and is not kept.
    #[serde(deserialize_with = "byte_size")]
    pub max_entry: usize,
    /// How often the bytes of what was purged go back to the budget.
    #[serde(deserialize_with = "duration")]
    pub sweep_interval: Duration,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            memory: 256 << 20,
            hot: 8 << 20,
            max_entry: 16 << 20,
            sweep_interval: Duration::from_secs(10),
        }
    }
}

/// `[redis]`: the regional tier (L2), and the purge log unless `[log]` names another server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    pub url: Secret,
    /// Past this, L2 is a miss.
    #[serde(default = "Redis::default_deadline", deserialize_with = "duration")]
    pub deadline: Duration,
    /// Bodies over this many bytes stay out of L2.
    #[serde(default = "Redis::default_max_entry", deserialize_with = "byte_size")]
    pub max_entry: usize,
    /// How long an edge that fetches what the region lacks may keep the others waiting for it; zero,
    /// and each fetches for itself.
    #[serde(default = "Redis::default_lease", deserialize_with = "duration")]
    pub lease: Duration,
    /// Prefixes every key, so that several deployments can share a server.
    #[serde(default = "Redis::default_prefix")]
    pub prefix: String,
}

impl Redis {
    fn default_deadline() -> Duration {
        Duration::from_millis(5)
    }

    fn default_max_entry() -> usize {
        1 << 20
    }

    fn default_lease() -> Duration {
        Duration::from_secs(2)
    }

    fn default_prefix() -> String {
        "tidegate".to_owned()
    }
}

impl Redis {
    /// Who holds a lease and dies keeps others waiting for as long as it holds.
    pub(super) fn check_lease(&self) -> Result<(), String> {
        const LONGEST: Duration = Duration::from_secs(60);
        if self.lease > LONGEST {
            return Err("redis.lease may not exceed \"1m\"".to_owned());
        }
        Ok(())
    }
}

/// Whether a URL can be that of a Redis server. Nothing is connected to, and the URL is not shown.
pub(super) fn check_redis_url(setting: &str, url: &Secret) -> Result<(), String> {
    let parsed = url.expose().into_connection_info();
    parsed
        .map(|_| ())
        .map_err(|error| format!("{setting}: {error}"))
}

/// `[log]`: the purge log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The Redis that keeps the log; that of `[redis]` when absent, in process when neither is.
    pub url: Option<Secret>,
    /// An edge that has not heard from the log for this long stops trusting its cache on routes
    /// with `on_partition = "revalidate"`.
    #[serde(deserialize_with = "duration")]
    pub trust: Duration,
    /// How long an append may take before the caller is told "not recorded".
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
    /// The secret by which edges know each other's tokens (`read_your_writes`): the same for all.
    pub key: Option<Secret>,
}

/// Bytes of `log.key` at least.
const MIN_KEY: usize = 16;

impl Log {
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.url {
            check_redis_url("log.url", url)?;
        }
        check_not_zero("log.trust", self.trust)?;
        check_not_zero("log.deadline", self.deadline)?;
        match &self.key {
            Some(key) if key.expose().len() < MIN_KEY => {
                Err(format!("log.key is shorter than {MIN_KEY} bytes"))
            }
            _ => Ok(()),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            url: None,
            trust: Duration::from_secs(2),
            deadline: Duration::from_millis(250),
            key: None,
        }
    }
}
