//! Orders that the log does not have: in force on this edge alone, until it has them.
//!
//! They have no position: what was fetched before one of them and what after cannot be told apart
//! by a fence.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::purge::lsn::Lsn;
use crate::purge::record::{Record, Scope};

/// Records kept; one more becomes `all`.
const MOST: usize = 256;

/// Such records, and how often each was ordered.
#[derive(Default)]
pub(super) struct Unrecorded {
    records: ArcSwap<HashMap<Record, u64>>,
}

impl Unrecorded {
    /// Adds orders. Too many become one for everything.
    pub fn add(&self, records: &[Record]) {
        let records: Vec<Record> = records.iter().map(Record::postponed).collect();
        self.change(|all| {
            let new = records.iter().filter(|record| !all.contains_key(record));
            let everything = [Record::hard(Scope::All).with_lsn(Lsn::PRIMARY)];
            let in_force = if all.len() + new.count() <= MOST {
                &records[..]
            } else {
                &everything
            };
            for record in in_force {
                *all.entry(record.clone()).or_default() += 1;
            }
        });
    }

    /// Takes away what was recorded, as often as that was ordered by then.
    pub fn remove(&self, recorded: &HashMap<Record, u64>) {
        self.change(|all| {
            all.retain(|record, ordered| {
                *ordered -= recorded.get(record).copied().unwrap_or(0).min(*ordered);
                *ordered > 0
            });
        });
    }

    /// All of them.
    pub fn all(&self) -> Arc<HashMap<Record, u64>> {
        self.records.load_full()
    }

    /// Whether any record is such a one.
    pub fn any(&self, is_one: impl FnMut(&Record) -> bool) -> bool {
        self.records.load().keys().any(is_one)
    }

    /// How many orders there are of records that are such ones.
    pub fn count(&self, is_one: impl Fn(&Record) -> bool) -> u64 {
        let records = self.records.load();
        let counted = records.iter().filter(|(record, _)| is_one(record));
        counted.map(|(_, orders)| orders).sum()
    }

    fn change(&self, change: impl Fn(&mut HashMap<Record, u64>)) {
        self.records.rcu(|records| {
            let mut records = HashMap::clone(records);
            change(&mut records);
            records
        });
    }
}

#[cfg(test)]
mod tests {
    use tidegate_semantics::Standing;

    use super::*;
    use crate::purge::index::Verdict;
    use crate::purge::index::tests::{at, index, judged};

    #[test]
    fn unrecorded_purges_hold_until_each_of_them_is_recorded() {
        let index = index();
        let valid = Verdict::Usable(Standing::Valid);
        // Whatever its fence: no position can tell what came first.
        let judged = || judged(&index, at(1 << 60));
        let record = [Record::hard(Scope::Tag("red".to_owned()))];
        index.apply_unrecorded(&record);
        let first = index.unrecorded();
        index.apply_unrecorded(&record);
        assert_eq!(judged(), Verdict::Purged);
        index.recorded(&first);
        assert_eq!(judged(), Verdict::Purged, "the second is newer");
        index.recorded(&index.unrecorded());
        assert_eq!(judged(), valid);
    }

    #[test]
    fn unrecorded_purges_stay_few_whatever_is_ordered() {
        let index = index();
        let tag = |number: usize| [Record::hard(Scope::Tag(number.to_string()))];
        for _ in 0..2 {
            (0..MOST).for_each(|number| index.apply_unrecorded(&tag(number)));
        }
        let valid = Verdict::Usable(Standing::Valid);
        assert_eq!(
            judged(&index, at(1 << 60)),
            valid,
            "repeats are not counted"
        );
        (0..2 * MOST).for_each(|number| index.apply_unrecorded(&tag(number)));
        assert_eq!(judged(&index, at(1 << 60)), Verdict::Purged);
        assert_eq!(index.unrecorded().len(), MOST + 1);
        index.recorded(&index.unrecorded());
        assert_eq!(judged(&index, at(1 << 60)), valid);
    }
}
