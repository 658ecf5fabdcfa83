//! Instances that have served an exchange and wait for another.
//!
//! A pool belongs to one step of a route, so all of its instances are of the same version, with the
//! same configuration. Each worker has a shard, which it takes from and puts back to. What has
//! been idle for a minute is dropped, and so is one when there is no room for an instance elsewhere.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use super::chain::Instance;
use super::quota::Quota;

/// The most idle instances of a shard.
const MOST_IDLE: usize = 64;
/// How often idle instances are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How many sweeps an idle instance outlives.
pub(super) const LONGEST_IDLE: u64 = 60;
/// The most shards; a machine with more cores shares them.
const MOST_SHARDS: usize = 16;

/// How often has been swept.
static SWEPT: AtomicU64 = AtomicU64::new(0);
/// All pools of the process.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

/// The idle instances of one step.
pub(super) struct Pool {
    quota: Arc<Quota>,
    shards: Box<[Mutex<Vec<Idle>>]>,
}

struct Idle {
    instance: Box<Instance>,
    /// How often had been swept when it became idle.
    since: u64,
}

impl Pool {
    /// A pool for instances that count against `quota`.
    pub(super) fn new(quota: &Arc<Quota>) -> Arc<Pool> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Arc::new(Pool {
            quota: Arc::clone(quota),
            shards: (0..cores.min(MOST_SHARDS))
                .map(|_| Mutex::default())
                .collect(),
        });
        let mut pools = lock(&POOLS);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        sweep_for_ever();
        pool
    }

    /// An idle instance: the one that was used last, on this worker if it can be.
    pub(super) fn take(&self) -> Option<Box<Instance>> {
        let own = self.own();
        if let Some(idle) = lock(&self.shards[own]).pop() {
            return Some(idle.instance);
        }
        let others = (own + 1..self.shards.len()).chain(0..own);
        let mut taken = others.filter_map(|other| self.shards[other].try_lock().ok()?.pop());
        taken.next().map(|idle| idle.instance)
    }

    /// Keeps an instance for another exchange, if there is room.
    pub(super) fn put(&self, instance: Box<Instance>) {
        let since = SWEPT.load(Ordering::Relaxed);
        let mut shard = lock(&self.shards[self.own()]);
        if shard.len() < MOST_IDLE {
            shard.push(Idle { instance, since });
        }
    }

    fn own(&self) -> usize {
        shard() % self.shards.len()
    }

    /// Takes the instance that has been idle longest out of one of the shards.
    fn oldest(&self) -> Option<Idle> {
        self.shards.iter().find_map(|shard| {
            let mut shard = lock(shard);
            (!shard.is_empty()).then(|| shard.remove(0))
        })
    }

    /// Drops what became idle before this sweep; it is out of the shard when its memory is freed.
    fn drop_before(&self, sweep: u64) {
        for shard in &self.shards {
            let old: Vec<Idle> = {
                let mut shard = lock(shard);
                // In the order in which they became idle: the last one is taken first.
                let old = shard.partition_point(|idle| idle.since < sweep);
                shard.drain(..old).collect()
            };
            drop(old);
        }
    }
}

/// Drops an idle instance that counts against `quota`, or any. Whether there was one.
pub(super) fn evict(quota: Option<&Arc<Quota>>) -> bool {
    let pools = living();
    let mut pools = pools
        .iter()
        .filter(|pool| quota.is_none_or(|quota| Arc::ptr_eq(&pool.quota, quota)));
    pools.find_map(|pool| pool.oldest()).is_some()
}

fn living() -> Vec<Arc<Pool>> {
    lock(&POOLS).iter().filter_map(Weak::upgrade).collect()
}

/// Drops what has been idle for long enough.
pub(super) fn sweep() {
    let swept = SWEPT.fetch_add(1, Ordering::Relaxed) + 1;
    for pool in living() {
        pool.drop_before(swept.saturating_sub(LONGEST_IDLE));
    }
}

/// Starts the thread that sweeps, for as long as the process lives. Without it, instances stay.
fn sweep_for_ever() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let started = std::thread::Builder::new()
            .name("plugin-idle".to_owned())
            .spawn(|| {
                loop {
                    std::thread::sleep(SWEEP);
                    sweep();
                }
            });
        if let Err(error) = started {
            tracing::warn!(%error, "idle instances of plugins are kept");
        }
    });
}

/// A number of this thread's own.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        SHARD.set(Some(own));
        own
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
