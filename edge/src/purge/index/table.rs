//! A table of fixed size for the highest sequence number of each hash.
//!
//! Two hashes that share a cell in both rows share their number: that can only purge too much.
//! Its cells are read and written without order; the index says in which order it is safe.

use std::sync::atomic::{AtomicU64, Ordering};

/// Two rows of the highest sequence number for each hash.
pub(super) struct Table {
    rows: [Box<[AtomicU64]>; 2],
    mask: u64,
}

impl Table {
    /// `2^slots` cells a row.
    pub(super) fn new(slots: u32) -> Table {
        let row = || (0..1_u64 << slots).map(|_| AtomicU64::new(0)).collect();
        Table {
            rows: [row(), row()],
            mask: (1 << slots) - 1,
        }
    }

    fn cells(&self, hash: u64) -> [&AtomicU64; 2] {
        let at = |hash: u64| usize::try_from(hash & self.mask).expect("a slot number fits");
        [&self.rows[0][at(hash)], &self.rows[1][at(hash >> 32)]]
    }

    /// At least the highest number that `hash` was raised to; 0 if it never was.
    pub(super) fn highest(&self, hash: u64) -> u64 {
        let [one, other] = self.cells(hash);
        one.load(Ordering::Relaxed)
            .min(other.load(Ordering::Relaxed))
    }

    pub(super) fn raise(&self, hash: u64, seq: u64) {
        for cell in self.cells(hash) {
            cell.fetch_max(seq, Ordering::Relaxed);
        }
    }

    /// Takes over the numbers of a table that is as large, or larger by a power of two.
    pub(super) fn absorb(&self, other: &Table) {
        for (row, others) in self.rows.iter().zip(&other.rows) {
            for (at, cell) in others.iter().enumerate() {
                let seq = cell.load(Ordering::Relaxed);
                if seq > 0 {
                    row[at % row.len()].fetch_max(seq, Ordering::Relaxed);
                }
            }
        }
    }

    pub(super) fn clear(&self) {
        for cell in self.rows.iter().flatten() {
            cell.store(0, Ordering::Relaxed);
        }
    }
}
