//! The connections of one worker's guests, a pool for each authority.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::Authority;
use lru::LruCache;

use super::EgressError;
use crate::config;
use crate::upstream::Upstream;

/// The most authorities that have a pool. Past that, the one asked longest ago loses its own.
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
/// The most idle connections to one authority.
const IDLE_CONNECTIONS: usize = 16;
/// How long a pool stays that nobody asks for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long connecting may take; a request may have less time.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an upstream may be silent. Each request has a deadline of its own, which is in force.
const SILENCE: Duration = Duration::from_secs(3_600);

/// Pools that come with the first request and go with their use.
pub(super) struct Pools(Arc<Mutex<Inner>>);

struct Inner {
    pools: LruCache<Authority, Pool>,
    is_watched: bool,
}

struct Pool {
    upstream: Arc<Upstream>,
    used: Instant,
}

impl Pools {
    pub(super) fn new() -> Pools {
        Pools(Arc::new(Mutex::new(Inner {
            pools: LruCache::unbounded(),
            is_watched: false,
        })))
    }

    /// The pool of an authority, which is in lower case and has a port.
    pub(super) fn upstream(&self, authority: &Authority) -> Result<Arc<Upstream>, EgressError> {
        let now = Instant::now();
        let mut inner = lock(&self.0);
        if let Some(pool) = inner.pools.get_mut(authority) {
            pool.used = now;
            return Ok(Arc::clone(&pool.upstream));
        }
        let upstream = upstream(authority)
            .map(Arc::new)
            .map_err(|_| EgressError::Url(format!("http://{authority}")))?;
        let pool = Pool {
            upstream: Arc::clone(&upstream),
            used: now,
        };
        inner.pools.put(authority.clone(), pool);
        if inner.pools.len() > MOST.get() {
            inner.pools.pop_lru();
        }
        if !std::mem::replace(&mut inner.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
        Ok(upstream)
    }
}

fn upstream(authority: &Authority) -> Result<Upstream, String> {
    let origin = config::Origin {
        url: format!("http://{authority}"),
        connect_timeout: CONNECT,
        timeout: SILENCE,
        tunnel_timeout: SILENCE,
        headers: std::collections::BTreeMap::new(),
        host: None,
        replicas: false,
        idle_connections: IDLE_CONNECTIONS,
    };
    Upstream::new(authority.as_str(), &origin)
}

/// Drops what nobody asks for, until nothing is left.
async fn watch(pools: Weak<Mutex<Inner>>) {
    loop {
        tokio::time::sleep(PATIENCE).await;
        let Some(pools) = pools.upgrade() else { return };
        let mut inner = lock(&pools);
        inner.sweep(Instant::now());
        if inner.pools.is_empty() {
            inner.is_watched = false;
            return;
        }
    }
}

impl Inner {
    fn sweep(&mut self, now: Instant) {
        while let Some((_, pool)) = self.pools.peek_lru() {
            if now.saturating_duration_since(pool.used) < PATIENCE {
                return;
            }
            self.pools.pop_lru();
        }
    }
}

fn lock(pools: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    pools.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http::uri::Authority;

    use super::{MOST, PATIENCE, Pools, lock};

    fn authority(port: usize) -> Authority {
        format!("a:{port}").parse().expect("an authority")
    }

    #[tokio::test]
    async fn the_pools_are_bounded_and_go_when_they_are_not_used() {
        let pools = Pools::new();
        let first = pools.upstream(&authority(1)).expect("a pool");
        assert_eq!(std::sync::Arc::strong_count(&first), 2);
        for port in 2..=MOST.get() + 1 {
            pools.upstream(&authority(port)).expect("a pool");
        }
        let mut inner = lock(&pools.0);
        assert_eq!(inner.pools.len(), MOST.get());
        assert_eq!(std::sync::Arc::strong_count(&first), 1, "the oldest went");
        inner.sweep(Instant::now());
        assert_eq!(inner.pools.len(), MOST.get());
        inner.sweep(Instant::now() + PATIENCE);
        assert!(inner.pools.is_empty());
    }
}
