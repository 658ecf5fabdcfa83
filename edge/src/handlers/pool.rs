//! The instances of a handler: so many at once, a bounded wait for one, and those that serve again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::component::{Compiled, Guest};
use super::state::State;
use crate::config::Source;
use crate::wasm::Lines;

/// The instances of one plugin, on all routes and workers.
pub(super) struct Pool {
    most: usize,
    wait: Duration,
    /// Exchanges that one instance serves, at most.
    reuse: u32,
    room: Arc<Semaphore>,
    /// What all of them may write into the log.
    pub(super) lines: Arc<Lines>,
    idle: Mutex<Vec<Idle>>,
}

/// A guest with its store.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) guest: Guest,
    /// The version that it is of.
    pub(super) compiled: Arc<Compiled>,
    /// Exchanges that it has served.
    pub(super) served: u32,
}

struct Idle {
    /// The route that it was made for.
    route: usize,
    instance: Box<Instance>,
}

impl Pool {
    /// A pool for the instances of `plugin`.
    pub(super) fn new(plugin: &str, source: &Source) -> Pool {
        let most = source.instances();
        Pool {
            most,
            wait: source.wait(),
            reuse: source.reuse(),
            room: Arc::new(Semaphore::new(most)),
            lines: Arc::new(Lines::new(plugin)),
            idle: Mutex::default(),
        }
    }

    /// Waits for room for an exchange; `None` when there was none in time.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        let room = Arc::clone(&self.room).acquire_owned();
        tokio::time::timeout(self.wait, room).await.ok()?.ok()
    }

    /// An instance of `route`'s that has served before. To be called by whoever has room. Where
    /// there is none, another one can be made: no more are alive than there is room for.
    pub(super) fn take(&self, route: usize) -> Option<Box<Instance>> {
        if self.reuse <= 1 {
            return None;
        }
        let mut idle = self.idle();
        if let Some(at) = idle.iter().rposition(|idle| idle.route == route) {
            return Some(idle.remove(at).instance);
        }
        // Those who have room are taken for alive, whether they have come so far or not.
        let others = self.most - self.room.available_permits();
        let too_many = (idle.len() + others).saturating_sub(self.most);
        let gone: Vec<Idle> = idle.drain(..too_many.min(1)).collect();
        drop(idle);
        drop(gone);
        None
    }

    /// Takes back an instance that has served well, unless it has served often enough. To be called
    /// before the room is given back.
    pub(super) fn put(&self, route: usize, mut instance: Box<Instance>) {
        instance.served += 1;
        if instance.served < self.reuse {
            self.idle().push(Idle { route, instance });
        }
    }

    /// Drops all that wait for an exchange: they are of a version that was replaced.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
