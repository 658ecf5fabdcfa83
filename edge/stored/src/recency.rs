//! How new a stored response is, as far as two of them can be compared.

use tidegate_semantics::Timestamp;

use crate::position::Position;
use crate::response::Stored;

/// The position at which a response was fetched or confirmed last, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recency {
    pub fence: Position,
    /// When the origin answered.
    pub fetched_at: Timestamp,
}

impl Recency {
    /// Bytes it is written in.
    pub const BYTES: usize = 24;

    /// That of a stored response.
    pub fn of(stored: &Stored) -> Recency {
        Recency {
            fence: stored.fence,
            fetched_at: stored.fetched_at,
        }
    }

    /// Epoch, sequence number and milliseconds, each in eight bytes, the lowest first.
    pub fn to_bytes(self) -> [u8; Recency::BYTES] {
        let mut bytes = [0; Recency::BYTES];
        let numbers = [self.fence.epoch, self.fence.seq, self.fetched_at.0];
        for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Recency::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; Recency::BYTES]) -> Recency {
        let (numbers, _) = bytes.as_chunks();
        Recency {
            fence: Position {
                epoch: u64::from_le_bytes(numbers[0]),
                seq: u64::from_le_bytes(numbers[1]),
            },
            fetched_at: Timestamp(u64::from_le_bytes(numbers[2])),
        }
    }
}
