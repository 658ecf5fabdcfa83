//! A start that is called off while it lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The edge is about to be seen from outside.
const SEEN: u8 = 1;
/// The start was called off.
const CANCELLED: u8 = 2;

/// Calls off a start. Cheap to clone; all clones are of one start.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// Calls the start off. Says whether nobody will have seen anything of this edge: then there
    /// is nothing to wait for, however long the start goes on. Otherwise it ends soon, perhaps with
    /// a running edge, and whoever ends the process waits for that and drains it: other edges know
    /// of this one, and would miss it.
    pub fn cancel(&self) -> bool {
        self.0.fetch_or(CANCELLED, Ordering::AcqRel) & SEEN == 0
    }

    /// Whether the start goes on to where the edge is seen.
    pub(super) fn may_be_seen(&self) -> bool {
        self.0.fetch_or(SEEN, Ordering::AcqRel) & CANCELLED == 0
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Cancel;

    #[test]
    fn either_the_edge_is_seen_or_there_is_nothing_to_wait_for() {
        let (early, late) = (Cancel::default(), Cancel::default());
        assert!(early.cancel());
        assert!(!early.may_be_seen());
        assert!(late.may_be_seen());
        assert!(!late.clone().cancel());
        assert!(early.is_cancelled() && late.is_cancelled());
    }
}
