//! Where purges are ordered: how many are taken, and what those who order them are told.
//!
//! Only what is ordered is limited. What a write invalidates (RFC 9111 §4.4) and what a plugin
//! purges follow from requests that were carried out: to drop one would leave a stored response
//! behind that everybody has reason to think gone.

mod named;
mod order;
mod receipt;
mod recent;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_semantics::Timestamp;
use tokio::sync::{Semaphore, watch};

pub use order::{Order, Patience, Wait, to_timeout};
pub use receipt::{Attendant, Receipt, State};
pub use recent::{Recent, Unlisted};

use super::log::Log;
use super::roll::Own;
use crate::config;
use crate::error::Failure;
use crate::gcra::{self, Window};
use crate::telemetry::Metrics;
use order::MAX_RECORDS;

/// Orders that wait for other edges at one time; a further one is answered without waiting.
const WAITING: usize = 64;
/// Lists of recent purges that are made at one time.
const LISTING: usize = 2;
/// How long an order waits that does not say.
const USUAL_WAIT: Duration = Duration::from_secs(2);

/// Why an order is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("too many purges: try again in {seconds} s")]
    TooMany { seconds: u64 },
    #[error("{records} records at once: purge.record_limit allows {most}")]
    TooLarge { records: usize, most: u32 },
}

impl From<NotTaken> for Failure {
    fn from(reason: NotTaken) -> Failure {
        match reason {
            NotTaken::TooMany { seconds } => Failure::TooManyPurges { seconds },
            NotTaken::TooLarge { .. } => Failure::NotMeant(reason.to_string()),
        }
    }
}

/// Takes orders. One for all listeners of an edge.
pub struct Orders {
    pub(super) log: Log,
    pub(super) metrics: Metrics,
    pub(super) own: Own,
    pub(super) waiting: Semaphore,
    pub(super) listing: Semaphore,
    /// Whether the edge is being drained.
    draining: watch::Sender<bool>,
    requests: Limit,
    records: Limit,
    longest_wait: Duration,
}

impl Orders {
    pub fn new(log: Log, metrics: Metrics, own: Own, settings: &config::Purge) -> Orders {
        Orders {
            log,
            metrics,
            own,
            waiting: Semaphore::new(WAITING),
            listing: Semaphore::new(LISTING),
            draining: watch::Sender::new(false),
            requests: Limit::new(settings.limit),
            records: Limit::new(settings.record_limit),
            longest_wait: settings.longest_wait,
        }
    }

    /// From now on nobody is kept waiting for other edges: this one is about to end.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns when the edge is being drained.
    async fn drained(&self) {
        let mut draining = self.draining.subscribe();
        // Its sender lives as long as this.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// Counts a request of somebody who may purge. One that carries no token is not counted:
    /// otherwise anybody could use up what those are allowed who have it. To guess a token of
    /// any length is hopeless at every rate, and it is compared at the cost of a hash.
    ///
    /// # Errors
    /// When there are too many.
    pub fn admit_request(&self, now: Timestamp) -> Result<(), NotTaken> {
        self.counted(self.requests.take(1, now))
    }

    /// Counts the records that such a request comes to.
    ///
    /// # Errors
    /// When there are too many now, or for ever.
    pub fn admit_records(&self, records: usize, now: Timestamp) -> Result<(), NotTaken> {
        let most = self.records.window.limit;
        let cost = u32::try_from(records).unwrap_or(u32::MAX);
        if cost > most {
            return self.counted(Err(NotTaken::TooLarge { records, most }));
        }
        self.counted(self.records.take(cost, now))
    }

    /// For whom an order waits, and how long.
    ///
    /// # Errors
    /// When that is longer than `purge.longest_wait`.
    pub fn patience(&self, wait: Wait, timeout: Option<Duration>) -> Result<Patience, String> {
        let longest = self.longest_wait;
        match timeout {
            Some(timeout) if timeout > longest => Err(format!(
                "timeout: {timeout:?} is longer than purge.longest_wait, which is {longest:?}"
            )),
            timeout => Ok(Patience {
                wait,
                timeout: timeout.unwrap_or(USUAL_WAIT).min(longest),
            }),
        }
    }

    fn counted(&self, taken: Result<(), NotTaken>) -> Result<(), NotTaken> {
        if taken.is_err() {
            self.metrics.count_purge_request("limited");
        }
        taken
    }
}

/// A rate that is kept in this process.
struct Limit {
    window: Window,
    arrival: Mutex<u64>,
}

impl Limit {
    fn new(rate: config::Rate) -> Limit {
        Limit {
            window: Window {
                limit: rate.count,
                seconds: rate.seconds,
            },
            arrival: Mutex::new(0),
        }
    }

    fn take(&self, cost: u32, now: Timestamp) -> Result<(), NotTaken> {
        let now = now.0.saturating_mul(1_000);
        let mut arrival = self.arrival.lock().unwrap_or_else(PoisonError::into_inner);
        let (verdict, kept) = gcra::decide(&[self.window], &[*arrival], cost, now);
        match kept.as_deref() {
            Some([kept]) => {
                *arrival = *kept;
                Ok(())
            }
            _ => {
                let retry_after = verdict.standings.first().map_or(0, |one| one.retry_after);
                let seconds = retry_after.div_ceil(1_000).max(1);
                Err(NotTaken::TooMany { seconds })
            }
        }
    }
}

const _: () = assert!(
    MAX_RECORDS < 60_000,
    "the largest order fits the usual limit"
);
