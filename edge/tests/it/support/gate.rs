//! A gate that a test opens when it is time.

use std::sync::Arc;

use tokio::sync::watch;

/// Closed until it is opened, once and for all. Clones are the same gate.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub(crate) fn closed() -> Gate {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    pub(crate) async fn passed(&self) {
        let mut is_open = self.0.subscribe();
        // The sender is held by `self`.
        let _ = is_open.wait_for(|open| *open).await;
    }
}
