//! How often each limit allowed and refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most limits that are counted apart. The names come from guests, which may make them up.
const MOST_NAMES: usize = 200;
/// What those are counted as that come after.
const OTHERS: &str = "(others)";

/// What became of a cost that was to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Allowed,
    Refused,
    /// Refused, and let through by a plugin that only tries its limit out.
    DryRun,
}

impl Taken {
    const ALL: [Taken; 3] = [Taken::Allowed, Taken::Refused, Taken::DryRun];

    /// The one word for this case in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Taken::Allowed => "allowed",
            Taken::Refused => "refused",
            Taken::DryRun => "dry-run",
        }
    }
}

/// The counts of one limit, and the second of the last line about it.
#[derive(Default)]
struct Tally {
    counts: [AtomicU64; Taken::ALL.len()],
    reported: AtomicU64,
}

static TALLIES: RwLock<Option<HashMap<String, Arc<Tally>>>> = RwLock::new(None);

/// Counts what became of a cost, and reports refusals of a dry run: a line a second and limit.
pub(crate) fn tally(name: &str, taken: Taken) {
    let tallies = TALLIES.read().unwrap_or_else(PoisonError::into_inner);
    match tallies.as_ref().and_then(|tallies| tallies.get(name)) {
        Some(tally) => tally.count(name, taken),
        None => {
            drop(tallies);
            make(name).count(name, taken);
        }
    }
}

/// How often each limit did what since the process started: `(limit, what, count)`, in a stable
/// order.
pub fn taken() -> Vec<(String, Taken, u64)> {
    let tallies = TALLIES.read().unwrap_or_else(PoisonError::into_inner);
    let rows = tallies.iter().flatten().flat_map(|(name, tally)| {
        let row = |taken: Taken| {
            let count = tally.counts[taken as usize].load(Ordering::Relaxed);
            (name.clone(), taken, count)
        };
        Taken::ALL.map(row)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|one, other| (&one.0, one.1 as usize).cmp(&(&other.0, other.1 as usize)));
    rows
}

fn make(name: &str) -> Arc<Tally> {
    let mut tallies = TALLIES.write().unwrap_or_else(PoisonError::into_inner);
    let tallies = tallies.get_or_insert_default();
    let name = if tallies.len() < MOST_NAMES || tallies.contains_key(name) {
        name
    } else {
        OTHERS
    };
    Arc::clone(tallies.entry(name.to_owned()).or_default())
}

impl Tally {
    fn count(&self, name: &str, taken: Taken) {
        let count = self.counts[taken as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if taken == Taken::DryRun && self.may_report() {
            tracing::info!(
                limit = name,
                count,
                "requests would have been refused (dry run)"
            );
        }
    }

    /// Whether nothing was said of this limit within the running second.
    fn may_report(&self) -> bool {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let second = since.as_secs();
        self.reported.swap(second, Ordering::Relaxed) != second
    }
}

#[cfg(test)]
mod tests {
    use super::{Taken, taken, tally};

    #[test]
    fn each_limit_is_counted_by_what_it_did() {
        for what in [Taken::Allowed, Taken::Allowed, Taken::DryRun] {
            tally("tally-test", what);
        }
        let own: Vec<u64> = taken()
            .into_iter()
            .filter(|(name, _, _)| name == "tally-test")
            .map(|(_, _, count)| count)
            .collect();
        assert_eq!(own, [2, 0, 1]);
    }
}
