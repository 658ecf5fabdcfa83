//! Where a record of the purge log stands, and so how far the log was known when a response was
//! fetched.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in one log: `epoch` names the log, `seq` the place, growing by at least one a record.
///
/// `seq` packs the milliseconds of the append (44 bits) and a counter within it (20 bits), so it
/// also tells when the record was appended. Positions of different epochs are never compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

/// Bits of a [`Position::seq`] that count within one millisecond.
pub const COUNTER_BITS: u32 = 20;

impl Position {
    /// When the record was appended, in milliseconds since 1970 by the log's clock.
    pub fn millis(self) -> u64 {
        self.seq >> COUNTER_BITS
    }

    /// Whether whoever stands here has got to `other`. What stands in another log says nothing of it.
    pub fn has_reached(self, other: Position) -> bool {
        self.epoch == other.epoch && self.seq >= other.seq
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, counter) = (self.millis(), self.seq & ((1 << COUNTER_BITS) - 1));
        write!(formatter, "{:016x}:{millis}-{counter}", self.epoch)
    }
}
