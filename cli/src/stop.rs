//! Being asked to stop: SIGINT, SIGTERM or SIGHUP asks for a drain, another one later ends the process at once.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::failure::Failure;

/// A signal to a process group reaches us twice when `make` stands above us and passes it on. Only one that comes
/// later than this is impatience.
const ECHO: Duration = Duration::from_secs(1);

/// Resolves once the process was asked to stop.
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

/// The runtime on which signals are heard, and on which the origin lives where there is one.
pub(crate) fn runtime(threads: usize) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start a runtime: {error}")))
}

impl Stop {
    /// From here on signals no longer end the process by themselves.
    pub(crate) fn listen(runtime: &Runtime) -> Result<Stop, Failure> {
        let _entered = runtime.enter();
        let on = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
        };
        let mut signals = Signals {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        };
        let (ask, asked) = watch::channel(false);
        runtime.spawn(async move {
            signals.next().await;
            let first = Instant::now();
            tracing::info!("stopping: waiting for exchanges under way");
            ask.send_replace(true);
            while first.elapsed() < ECHO {
                signals.next().await;
            }
            std::process::exit(1);
        });
        Ok(Stop { asked })
    }

    /// Whether it was asked for already; start-up looks between its steps.
    pub(crate) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    pub(crate) async fn asked(&mut self) {
        // The sender lives in a task that ends only with the process.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
