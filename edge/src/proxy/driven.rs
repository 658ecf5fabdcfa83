//! A fetch is driven by the client that began it, and goes on in a task of its own when that client
//! has its answer, or has left.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that is not dropped with whoever waits for it.
struct Driven(Option<Work>);

impl Drop for Driven {
    fn drop(&mut self) {
        // What has panicked does not go on.
        if let Some(work) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

/// Does `work` until it has delivered. What is left of it then, or when this is dropped, becomes a
/// task.
///
/// # Errors
/// The work ended without delivering.
pub(super) async fn drive<T>(work: Work, mut delivery: Receiver<T>) -> Result<T, TryRecvError> {
    let mut driven = Driven(Some(work));
    poll_fn(|context| {
        if let Some(work) = &mut driven.0
            && work.as_mut().poll(context).is_ready()
        {
            driven.0 = None;
        }
        // Looked at only, not waited for: whatever wakes the work brings us here.
        match delivery.try_recv() {
            Err(TryRecvError::Empty) => Poll::Pending,
            delivered => Poll::Ready(delivered),
        }
    })
    .await
}
