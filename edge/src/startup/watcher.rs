//! A thread that looks whether the files of plugins have changed, and replaces what has. Compiling
//! takes its time, and here it takes nobody else's.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wasm::Roster;

/// The running thread. Dropped, it ends.
pub(super) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts looking every `interval`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(roster: Arc<Roster>, interval: Duration) -> io::Result<Watcher> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("tidegate-plugins".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    roster.look();
                }
            })?;
        Ok(Watcher {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}
