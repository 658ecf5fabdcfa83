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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot::{self, Sender};

    use super::*;

    /// Work that delivers once it is let, and tells when it is done.
    fn work(begin: Receiver<()>, reply: Sender<u8>, end: Receiver<()>, done: Sender<()>) -> Work {
        Box::pin(async move {
            begin.await.unwrap();
            // Whoever waited may have left.
            let _ = reply.send(7);
            end.await.unwrap();
            done.send(()).unwrap();
        })
    }

    #[tokio::test]
    async fn what_is_left_after_the_delivery_goes_on() {
        let (begin, begun) = oneshot::channel();
        let (reply, delivery) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        begin.send(()).unwrap();
        let delivered = drive(work(begun, reply, ended, done), delivery).await;
        assert_eq!(delivered.unwrap(), 7);
        end.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_goes_on() {
        let (begin, begun) = oneshot::channel();
        let (reply, delivery) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        let driven = drive(work(begun, reply, ended, done), delivery);
        let waited = tokio::time::timeout(Duration::ZERO, driven).await;
        assert!(waited.is_err(), "nothing was delivered yet");
        begin.send(()).unwrap();
        end.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn work_that_ends_without_delivering_is_an_error() {
        let (reply, delivery) = oneshot::channel::<u8>();
        let work = Box::pin(async move { drop(reply) });
        assert_eq!(drive(work, delivery).await, Err(TryRecvError::Closed));
    }
}
