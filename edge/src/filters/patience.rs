//! How long a hook may wait.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use crate::wasm::Exceeded;

/// What comes of a guest's call, unless it takes longer than `longest` after it first had to wait.
/// A call that never waits needs no timer.
///
/// # Errors
/// As the call, or that it took too long.
pub(super) async fn within<T>(
    longest: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let mut call = pin!(call);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if let Poll::Ready(outcome) = call.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        timer
            .as_mut()
            .poll(context)
            .map(|()| Err(wasmtime::Error::new(Exceeded::Deadline)))
    })
    .await
}
