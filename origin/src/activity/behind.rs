//! What is written behind: gathered in Redis, and taken to the database in batches, about once a second.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    activity::{drafts, reactions},
    postgres::held::Background,
    redis::client::{Away, Redis},
};

/// How often it is looked for something to write.
const EVERY: Duration = Duration::from_secs(1);
/// How long it is left alone after a failure.
const REST: Duration = Duration::from_secs(5);

/// Why something that was gathered is not written yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    #[error(transparent)]
    Redis(#[from] Away),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes what there is until `shutdown` is ready. What is cut off is done again by whoever comes next.
pub(crate) async fn write(
    pool: Background,
    redis: Arc<Redis>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (redis, pool) = (&*redis, &pool);
    tokio::select! {
        () = pin!(shutdown) => {}
        // Neither waits for the other.
        () = repeat("reactions", || reactions::fold(redis, pool)) => {}
        () = repeat("drafts", || drafts::flush(redis, pool)) => {}
    }
}

async fn repeat<W: Future<Output = Result<(), NotWritten>>>(what: &str, write: impl Fn() -> W) {
    loop {
        let pause = match write().await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, what, "what was gathered waits in redis");
                REST
            }
        };
        sleep(pause).await;
    }
}
