//! A thread that gives the bytes of what was purged back to the memory tier's budget.
//!
//! Nothing waits for it: what was purged is not used from the moment that its record is applied.
//! It only stands in the way of what is stored after it, above all where it was popular.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cache::Memory;
use crate::purge::Log;
use crate::telemetry::Metrics;

/// A rest is this many times as long as the work before it: a fifth of one core at most.
const REST: u32 = 4;

/// The running thread. Dropped, it ends.
pub(super) struct Sweeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts looking every `interval` whether there is something to sweep.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        memory: Memory,
        log: Log,
        metrics: Metrics,
        interval: Duration,
    ) -> io::Result<Sweeper> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("tidegate-sweeper".to_owned())
            .spawn(move || sweep_often(&memory, &log, &metrics, interval, &stopped))?;
        Ok(Sweeper {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn sweep_often(
    memory: &Memory,
    log: &Log,
    metrics: &Metrics,
    interval: Duration,
    stopped: &Receiver<()>,
) {
    let goes_on = |pause| stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
    let index = log.index();
    let mut swept_at = index.changes();
    while goes_on(interval) {
        let changes = index.changes();
        if changes == swept_at {
            continue;
        }
        let mut begun = Instant::now();
        let swept = memory.sweep(index, || {
            let goes_on = goes_on(begun.elapsed() * REST);
            begun = Instant::now();
            goes_on
        });
        metrics.swept.inc_by(swept);
        swept_at = changes;
    }
}
