//! Ctrl-C and SIGTERM end a run at its next look, so that what it started is stopped first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How often what waits looks.
const GLANCE: Duration = Duration::from_millis(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From here on, signals are noted and end nothing by themselves.
pub fn watch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler writes one atomic, which is allowed in a signal's context.
        unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
    }
}

/// # Errors
/// After a signal.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Failure::Interrupted);
    }
    Ok(())
}

/// Waits until `done` has an answer; `None` when there is none within `limit`.
///
/// # Errors
/// After a signal.
pub fn wait_for<T>(limit: Duration, mut done: impl FnMut() -> Option<T>) -> Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if let Some(answer) = done() {
            return Ok(Some(answer));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(GLANCE);
    }
}
