//! How many bodies are encoded at the same time: as many as there are cores, however many wait.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores))
});

/// Does work that takes long on another thread than the worker's, when it is its turn. `None` when
/// it was lost: it panicked, or the runtime ended.
pub async fn in_slot<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let slot = Arc::clone(&SLOTS).acquire_owned().await.ok()?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(slot);
        done
    });
    working.await.ok()
}
