//! The epochs of an engine, by which a guest that runs lets its worker do something else.

use std::time::Duration;

use wasmtime::Engine;

/// How long a guest runs without looking up.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Starts the thread that raises an engine's epoch, for as long as the process lives.
///
/// # Errors
/// When there can be no more threads.
pub(crate) fn tick(engine: &Engine, thread: &str) -> wasmtime::Result<()> {
    let engine = engine.clone();
    std::thread::Builder::new()
        .name(thread.to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                engine.increment_epoch();
            }
        })
        .map(drop)
        .map_err(wasmtime::Error::new)
}
