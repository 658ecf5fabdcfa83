//! Instances that have served an exchange and wait for another.
//!
//! A pool belongs to one use of a plugin by a route. Each worker has a shard, which it takes from and
//! puts back to. What has been idle for a minute is dropped, and so is one when there is no room for
//! an instance elsewhere.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use super::quota::{Quota, Room, is_exhausted};

/// The most idle instances of a shard.
const MOST_IDLE: usize = 64;
/// How often idle instances are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How many sweeps an idle instance outlives.
pub(crate) const LONGEST_IDLE: u64 = 60;
/// The most shards; a machine with more cores shares them.
const MOST_SHARDS: usize = 16;

/// How often has been swept.
static SWEPT: AtomicU64 = AtomicU64::new(0);
/// All pools of the process.
static POOLS: Mutex<Vec<Weak<dyn Idles>>> = Mutex::new(Vec::new());

/// The idle instances of one use of a plugin.
pub(crate) struct Pool<I> {
    quota: Arc<Quota>,
    shards: Box<[Mutex<Vec<Idle<I>>>]>,
}

struct Idle<I> {
    instance: Box<I>,
    /// How often had been swept when it became idle.
    since: u64,
}

/// A pool of whichever instances.
trait Idles: Send + Sync {
    fn quota(&self) -> &Quota;

    /// Drops the instance that has been idle longest in one of the shards. Whether there was one.
    fn drop_oldest(&self) -> bool;

    /// Drops what became idle before this sweep.
    fn drop_before(&self, sweep: u64);
}

impl<I: Send + 'static> Pool<I> {
    /// A pool for instances that count against `quota`.
    pub(crate) fn new(quota: &Arc<Quota>) -> Arc<Pool<I>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Arc::new(Pool {
            quota: Arc::clone(quota),
            shards: (0..cores.min(MOST_SHARDS))
                .map(|_| Mutex::default())
                .collect(),
        });
        let mut pools = lock(&POOLS);
        pools.retain(|pool| pool.strong_count() > 0);
        let known: Weak<dyn Idles> = Arc::<Pool<I>>::downgrade(&pool);
        pools.push(known);
        sweep_for_ever();
        pool
    }

    /// An idle instance: the one that was used last, on this worker if it can be.
    pub(crate) fn take(&self) -> Option<Box<I>> {
        let own = self.own();
        if let Some(idle) = lock(&self.shards[own]).pop() {
            return Some(idle.instance);
        }
        let others = (own + 1..self.shards.len()).chain(0..own);
        let mut taken = others.filter_map(|other| self.shards[other].try_lock().ok()?.pop());
        taken.next().map(|idle| idle.instance)
    }

    /// Keeps an instance for another exchange, if there is room.
    pub(crate) fn put(&self, instance: Box<I>) {
        let since = SWEPT.load(Ordering::Relaxed);
        let mut shard = lock(&self.shards[self.own()]);
        if shard.len() < MOST_IDLE {
            shard.push(Idle { instance, since });
            drop(shard);
            // Who waits for room drops it.
            self.quota.tell_of_idle();
        }
    }

    fn own(&self) -> usize {
        shard() % self.shards.len()
    }
}

impl<I: Send> Idles for Pool<I> {
    fn quota(&self) -> &Quota {
        &self.quota
    }

    fn drop_oldest(&self) -> bool {
        // Out of its shard when its memory is freed, here and below.
        let oldest = self.shards.iter().find_map(|shard| {
            let mut shard = lock(shard);
            (!shard.is_empty()).then(|| shard.remove(0))
        });
        oldest.is_some()
    }

    fn drop_before(&self, sweep: u64) {
        for shard in &self.shards {
            let old: Vec<Idle<I>> = {
                let mut shard = lock(shard);
                // In the order in which they became idle: the last one is taken first.
                let old = shard.partition_point(|idle| idle.since < sweep);
                shard.drain(..old).collect()
            };
            drop(old);
        }
    }
}

/// Drops an idle instance that counts against `quota`. Whether there was one.
pub(crate) fn evict_of(quota: &Quota) -> bool {
    evict(|of| std::ptr::eq(of, quota))
}

/// Drops all instances that count against `quota` and are idle now.
pub(crate) fn clear(quota: &Quota) {
    for pool in living() {
        if std::ptr::eq(pool.quota(), quota) {
            pool.drop_before(u64::MAX);
        }
    }
}

/// Makes an instance in an engine whose room is this. Where it is full, an idle instance of any plugin in it is
/// dropped; where there is none, this waits for as long as it takes.
///
/// # Errors
/// Those of `make` that mean something else than a full engine.
pub(crate) async fn make_in<I, Making>(
    room: &Room,
    make: impl Fn() -> Making,
) -> wasmtime::Result<I>
where
    Making: Future<Output = wasmtime::Result<I>>,
{
    let waiting = room.wait();
    loop {
        let mut more = pin!(waiting.more());
        more.as_mut().enable();
        match make().await {
            Err(error) if is_exhausted(&error) => {}
            made => return made,
        }
        if !evict(|quota| quota.is_in(room)) {
            more.await;
        }
    }
}

fn evict(is_meant: impl Fn(&Quota) -> bool) -> bool {
    let pools = living();
    let mut pools = pools.iter().filter(|pool| is_meant(pool.quota()));
    pools.any(|pool| pool.drop_oldest())
}

fn living() -> Vec<Arc<dyn Idles>> {
    lock(&POOLS).iter().filter_map(Weak::upgrade).collect()
}

/// Drops what has been idle for long enough.
pub(crate) fn sweep() {
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
