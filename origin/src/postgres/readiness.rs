//! Whether the database has been reached since the start, with its tables up to date. Until then requests that need it
//! are refused at once, and nothing works behind them.

use std::sync::Arc;

use tokio::sync::watch;

/// Known to all who wait for it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<watch::Sender<bool>>);

impl Readiness {
    pub(crate) fn not_yet() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn declare(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_declared(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready when the database is.
    pub(crate) async fn declared(&self) {
        let mut seen = self.0.subscribe();
        // The sender is this value's own.
        let _ = seen.wait_for(|is_ready| *is_ready).await;
    }
}
