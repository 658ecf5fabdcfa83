//! Appending again what the log did not take, for as long as the edge runs.
//!
//! Such records are in force here alone and have no position. They are taken from the list of these
//! once they have come back through the log, and not when the log has taken them: until then what
//! they match could be given a fence that seems to be behind them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Log;
use super::journey::{Journey, Way};
use super::stream::{AppendError, Stream};
use crate::purge::record::Record;

/// The pause before an append is tried again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Records that were appended again, and have not come back.
struct Appended {
    journey: Journey,
    /// How often each had been ordered by then.
    orders: HashMap<Record, u64>,
}

impl Log {
    /// Appends what could not be recorded, again and again, for as long as the edge runs: one for
    /// all of them, so that an hour without the log leaves no more work than there are records.
    pub(super) async fn append_unrecorded(&self) {
        let Some(stream) = self.stream() else {
            return;
        };
        let mut applied = self.applying();
        let mut appended = Vec::new();
        let mut pause = FIRST_PAUSE;
        let mut next = Instant::now();
        loop {
            applied.borrow_and_update();
            self.settle(&mut appended);
            let is_left = !self.not_appended(&appended).is_empty();
            tokio::select! {
                () = tokio::time::sleep_until(next), if is_left => {}
                () = self.has_unrecorded().notified(), if !is_left => {
                    next = Instant::now() + pause;
                    continue;
                }
                _ = applied.changed(), if !appended.is_empty() => continue,
            }
            pause = match self.append_again(stream, &mut appended).await {
                Ok(()) => FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, "purges still not recorded");
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
            next = Instant::now() + pause;
        }
    }

    /// Appending twice is harmless: invalidations repeat and commute.
    async fn append_again(
        &self,
        stream: &Stream,
        appended: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        let before = self.fence();
        let orders = self.not_appended(appended);
        let records: Vec<_> = orders.keys().cloned().collect();
        let deadline = self.deadline();
        let position = tokio::time::timeout(deadline, stream.append(&records))
            .await
            .map_err(|_| AppendError::Deadline(deadline))??;
        tracing::info!(records = records.len(), "purges recorded");
        let journey = Journey { before, position };
        appended.push(Appended { journey, orders });
        Ok(())
    }

    /// What the log does not have yet, and how often each was ordered.
    fn not_appended(&self, appended: &[Appended]) -> HashMap<Record, u64> {
        let mut orders = HashMap::clone(&self.index().unrecorded());
        orders.retain(|record, ordered| {
            let known = appended.iter().filter_map(|them| them.orders.get(record));
            *ordered -= known.sum::<u64>().min(*ordered);
            *ordered > 0
        });
        orders
    }

    /// What the log has is in force here alone until it comes back, however long that takes. What
    /// was in a log that is not followed any more is appended again.
    fn settle(&self, appended: &mut Vec<Appended>) {
        let now = self.fence();
        appended.retain(|them| {
            let way = them.journey.at(now);
            if way == Way::Arrived {
                self.index().recorded(&them.orders);
            }
            way == Way::Going
        });
    }
}
