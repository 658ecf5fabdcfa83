//! What the scenarios stand on: a scripted origin, an edge with a clock that tests move, a client
//! that sees every byte.
//!
//! Nothing sleeps to be right. What has to happen first is waited for, long enough that only what
//! never happens is given up.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod gate;
pub(crate) mod http2;
pub(crate) mod orders;
pub(crate) mod origin;
pub(crate) mod redis;
pub(crate) mod way;
pub(crate) mod wire;

pub(crate) use answer::{Answer, answer, fresh};
pub(crate) use client::Response;
pub(crate) use edge::Edge;
pub(crate) use gate::Gate;
pub(crate) use http2::http_2;
pub(crate) use origin::Origin;
pub(crate) use way::Way;

use std::time::Duration;

/// Fields of a message, in a table.
pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds.
pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The work's outcome; a test whose work never ends fails.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits until something is so.
pub(crate) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    patiently(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
