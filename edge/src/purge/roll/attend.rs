//! Keeps this edge on the roll, for as long as it runs.
//!
//! What was applied is acknowledged by one write, and never more than one is under way: what is
//! applied meanwhile is acknowledged by the next, the newest position for all of them. Between
//! acknowledgements the edge says about every second that it is there. An edge whose words do not
//! get through falls silent on the roll; nothing here keeps a request waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{HEARTBEAT, Presence};
use crate::purge::log::{Followed, Stream};
use crate::purge::orders::Orders;
use crate::purge::record::Position;

/// Between two acknowledgements: so many edges times so many purges reach the log's Redis.
const PACE: Duration = Duration::from_millis(5);
/// How long one word may take until the connection is given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause before the log's Redis is looked for again.
const RETRY: Duration = Duration::from_millis(200);
/// How long the edge tries to take its leave.
const FAREWELL: Duration = Duration::from_millis(250);
/// The most often that an edge speaks of itself.
const LEAST_HEARTBEAT: Duration = Duration::from_millis(50);
/// Words between two looks for edges that were not heard for long.
const WORDS_TO_STRIKE: u32 = 64;

/// An edge's place on the roll.
pub(crate) struct Attendance {
    leaving: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Attendance {
    /// Takes the edge off the roll, as far as that can be done at once.
    pub(crate) async fn leave(self) {
        self.leaving.send_replace(true);
        // A panic has been reported by the task itself.
        let _ = self.task.await;
    }
}

/// Puts the edge on the roll, on the current runtime, and tells `joined` when that was tried. What
/// is applied is acknowledged once the edge has caught up with the log.
pub(crate) fn attend(
    orders: Arc<Orders>,
    followed: Followed,
    joined: watch::Sender<bool>,
) -> Attendance {
    let leaving = watch::Sender::new(false);
    let left = leaving.subscribe();
    let task = tokio::spawn(async move {
        let Some(stream) = orders.log.stream() else {
            return;
        };
        let mut attendant = Attendant {
            orders: &orders,
            stream,
            connection: None,
            may_be_on_roll: false,
            acknowledged: None,
            words: 0,
        };
        attendant.attend(followed, joined, left).await;
        if attendant.may_be_on_roll {
            let _ = tokio::time::timeout(FAREWELL, attendant.leave()).await;
        }
    });
    Attendance { leaving, task }
}

/// Returns when what is under way is not waited for any more.
async fn too_late(mut left: watch::Receiver<bool>) {
    let _ = left.wait_for(|leaving| *leaving).await;
    tokio::time::sleep(FAREWELL).await;
}

struct Attendant<'a> {
    orders: &'a Orders,
    stream: &'a Stream,
    connection: Option<MultiplexedConnection>,
    /// A word was sent, whether or not it got through.
    may_be_on_roll: bool,
    /// The last position that was acknowledged.
    acknowledged: Option<Position>,
    words: u32,
}

#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {PATIENCE:?}")]
    Silent,
}

impl Attendant<'_> {
    /// Speaks until the edge takes its leave. A word that is under way then is waited for: if it
    /// arrived after the leave, the edge would seem to have been killed.
    async fn attend(
        &mut self,
        mut followed: Followed,
        joined: watch::Sender<bool>,
        mut left: watch::Receiver<bool>,
    ) {
        let mut applying = self.orders.log.applying();
        let heartbeat = (self.orders.log.trust() / 3).clamp(LEAST_HEARTBEAT, HEARTBEAT);
        let mut is_told = false;
        loop {
            let has_caught_up = *followed.borrow_and_update();
            let position = *applying.borrow_and_update();
            let is_news = has_caught_up && self.acknowledged != Some(position);
            let spoken = tokio::select! {
                spoken = self.speak(position, is_news) => spoken,
                () = tokio::time::sleep(PATIENCE) => Err(Unheard::Silent),
                () = too_late(left.clone()) => return,
            };
            joined.send_replace(true);
            let next = Instant::now() + heartbeat;
            if let Err(error) = spoken {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "other edges do not hear of this one, trying again");
                }
                // What was under way may be written still, or not.
                self.acknowledged = None;
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => continue,
                    _ = left.wait_for(|leaving| *leaving) => return,
                }
            }
            is_told = false;
            tokio::time::sleep(PACE).await;
            tokio::select! {
                _ = applying.changed(), if has_caught_up => {}
                _ = followed.changed() => {}
                () = tokio::time::sleep_until(next.into()) => {}
                _ = left.wait_for(|leaving| *leaving) => return,
            }
        }
    }

    /// Says that this edge is there and, where that is news, acknowledges what it has applied.
    async fn speak(&mut self, position: Position, is_news: bool) -> Result<(), Unheard> {
        let mut connection = self.connection().await?;
        let own = &self.orders.own;
        let presence = Presence {
            region: own.region.clone(),
            position: position.to_string(),
            trust: u64::try_from(self.orders.log.trust().as_millis()).unwrap_or(u64::MAX),
            heard: 0,
        };
        self.may_be_on_roll = true;
        let answer = self
            .stream
            .answer(&mut connection, &own.place, &presence, is_news);
        let now = answer.await?;
        if is_news {
            // What was written before this edge began to follow tells nothing of its speed.
            if self
                .acknowledged
                .is_some_and(|last| last.epoch == position.epoch)
            {
                let passed = Duration::from_millis(now.saturating_sub(position.millis()));
                self.orders.metrics.purge_apply.observe(passed);
            }
            self.acknowledged = Some(position);
        }
        if self.words.is_multiple_of(WORDS_TO_STRIKE) {
            self.stream.strike(&mut connection).await?;
        }
        self.words = self.words.wrapping_add(1);
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection there is, or a new one. Out of its place while it is used: one that failed is
    /// not used again.
    async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.stream.connect().await,
        }
    }

    async fn leave(&mut self) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        let place = &self.orders.own.place;
        self.stream.leave(&mut connection, place).await
    }
}
