//! A thread that looks whether the files of plugins have changed, and replaces what has. Compiling
//! takes its time, and here it takes nobody else's.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The running thread. Dropped, it ends, after the look that it is having; nobody waits for that.
pub(super) struct Watcher {
    _stop: Sender<()>,
}

impl Watcher {
    /// Starts looking every `interval`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        interval: Duration,
        look: impl Fn() + Send + 'static,
    ) -> io::Result<Watcher> {
        let (stop, stopped) = channel();
        std::thread::Builder::new()
            .name("tidegate-plugins".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    look();
                }
            })?;
        Ok(Watcher { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::Watcher;

    #[test]
    fn a_stop_waits_for_no_look() {
        let (began, begins) = channel();
        let (end, ends) = channel::<()>();
        let (ended, has_ended) = channel();
        let ends = Mutex::new((ends, ended));
        let watcher = Watcher::start(Duration::ZERO, move || {
            let _ = began.send(());
            if let Ok(ends) = ends.lock() {
                let _ = ends.0.recv();
                let _ = ends.1.send(());
            }
        });
        assert!(watcher.is_ok());
        // It compiles something, and goes on with that.
        assert!(begins.recv().is_ok());
        drop(watcher);
        drop(end);
        assert!(has_ended.recv().is_ok());
        // And then looks no more.
        assert!(begins.recv().is_err());
    }
}
