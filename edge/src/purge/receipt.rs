//! What a caller is told of a purge.

use serde::Serialize;

use super::log::{Log, NotRecorded};
use super::record::Record;
use crate::telemetry::Metrics;

/// The receipt of a recorded purge.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// `EPOCH:MILLISECONDS-COUNTER` of the last record.
    pub position: String,
    pub records: usize,
}

impl Receipt {
    /// Appends records on somebody's order, and counts them.
    ///
    /// # Errors
    /// When they are in force on this edge only.
    pub async fn of(
        log: &Log,
        metrics: &Metrics,
        records: &[Record],
    ) -> Result<Receipt, NotRecorded> {
        let records = &log.index().ordered(records)[..];
        let count = records.len() as u64;
        metrics.purges.inc_by(count);
        match log.append(records).await {
            Ok(position) => Ok(Receipt {
                position: position.to_string(),
                records: records.len(),
            }),
            Err(error) => {
                metrics.purges_not_recorded.inc_by(count);
                Err(error)
            }
        }
    }

    /// The receipt as a line of JSON.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string(self).expect("a receipt is plain JSON");
        json.push('\n');
        json
    }
}
