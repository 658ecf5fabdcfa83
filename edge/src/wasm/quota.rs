//! How many instances a plugin may have on a route, and who waits where there are no more.
//!
//! An exchange [enters](Quota::enter) before it is given an instance and leaves when it needs it no
//! more, so that those who wait are served in the order in which they came. Instances that wait for
//! an exchange, instead of the other way round, are counted as [`Alive`] as well; they make room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config::Source;

/// What a plugin may have in its place on one route, whichever its version. Where all routes shared it,
/// those whose origin is slow would keep the others from theirs.
pub(crate) struct Quota {
    /// The engine's, which it has to do with as well.
    room: &'static Room,
    /// A permit for each exchange that has an instance, or is about to.
    exchanges: Arc<Semaphore>,
    alive: AtomicUsize,
    most: usize,
    /// How many exchanges one instance serves.
    pub(crate) reuse: u32,
    /// How long an exchange waits for an instance.
    pub(crate) wait: Duration,
}

impl Quota {
    /// What the configuration says, for instances of the engine that has this room.
    pub(crate) fn new(source: &Source, room: &'static Room) -> Quota {
        let most = source.instances();
        Quota {
            room,
            exchanges: Arc::new(Semaphore::new(most)),
            alive: AtomicUsize::new(0),
            most,
            reuse: source.reuse(),
            wait: source.wait(),
        }
    }

    /// Lets an exchange in where nobody has to wait.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.exchanges).try_acquire_owned().ok()
    }

    /// Lets an exchange in when it is its turn.
    pub(crate) async fn enter(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.exchanges).acquire_owned().await;
        permit.expect("a quota is never closed")
    }

    /// Whether it is for instances of the engine that has this room.
    pub(super) fn is_in(&self, room: &Room) -> bool {
        std::ptr::eq(self.room, room)
    }

    /// Wakes those who wait for room in the engine, for which an idle instance can be dropped.
    pub(crate) fn tell_of_idle(&self) {
        self.room.made();
    }

    /// Whether there are as many instances as there may be, those included that are idle.
    pub(crate) fn is_full(&self) -> bool {
        self.alive.load(Ordering::Relaxed) >= self.most
    }
}

/// An instance counts as long as it has this. To be dropped after the instance's memory.
pub(crate) struct Alive {
    quota: Arc<Quota>,
    takes_room: bool,
}

impl Alive {
    /// To be called before the instance is made, which may fail or be given up half-way.
    pub(crate) fn count(quota: &Arc<Quota>) -> Alive {
        quota.alive.fetch_add(1, Ordering::Relaxed);
        Alive {
            quota: Arc::clone(quota),
            takes_room: true,
        }
    }

    /// The instance was not made. Where there was no room for it, dropping this makes none: who waits
    /// for room would wake itself.
    pub(crate) fn failed(&mut self, error: &wasmtime::Error) {
        self.takes_room = !is_exhausted(error);
    }
}

/// Whether it was the engine that had no room for an instance.
pub(crate) fn is_exhausted(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::PoolConcurrencyLimitError>()
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.quota.alive.fetch_sub(1, Ordering::Relaxed);
        if self.takes_room {
            self.quota.room.made();
        }
    }
}

/// Where those wait who find no room in an engine, which all plugins of a kind share.
pub(crate) struct Room {
    waiting: AtomicUsize,
    notify: Notify,
}

/// Somebody who waits for room.
pub(crate) struct Waiting<'a>(&'a Room);

impl Room {
    pub(crate) const fn new() -> Room {
        Room {
            waiting: AtomicUsize::new(0),
            notify: Notify::const_new(),
        }
    }

    /// To be called before it is tried whether there is room: what is made from then on is noticed.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    fn made(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify.notify_waiters();
        }
    }
}

impl Waiting<'_> {
    /// Ends when room has been made since this was called.
    pub(crate) fn more(&self) -> Notified<'_> {
        self.0.notify.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
