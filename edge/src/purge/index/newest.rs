//! How far the database had got by the newest record applied, and so how far a replica must have
//! replayed before it answers a fetch.
//!
//! It is raised before a record is published, so whoever reads the fence first and this afterwards
//! asks for all that the fence knows of. Where records may have been missed (an edge that starts,
//! a gap in the log, another log) or one does not say its position, the newest is in doubt, and the
//! primary is asked for. What ends a doubt is a position that the origin read for a request sent after
//! the doubt arose, for that is behind everything that could have been missed. No record does: it may
//! have been stamped long before the server got to append it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::purge::lsn::Lsn;

/// See the module.
pub struct Newest {
    state: Mutex<State>,
}

struct State {
    /// `None` where nobody ever told.
    known: Option<Lsn>,
    /// Something may be missing.
    is_doubted: bool,
    /// How many doubts there were.
    doubts: u64,
}

impl Default for Newest {
    /// In doubt: nothing of the log has been read.
    fn default() -> Newest {
        let state = State {
            known: None,
            is_doubted: true,
            doubts: 0,
        };
        Newest {
            state: Mutex::new(state),
        }
    }
}

/// What a fetch asks its origin for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    pub lsn: Lsn,
    doubts: u64,
}

impl Newest {
    /// How far a replica must have replayed for a fetch that begins now. Read the fence before.
    pub fn needed(&self) -> Needed {
        let state = self.state();
        let known = state.known.filter(|_| !state.is_doubted);
        Needed {
            lsn: known.unwrap_or(Lsn::PRIMARY),
            doubts: state.doubts,
        }
    }

    /// The origin, asked after `needed` was read, says how far its database had got when it
    /// answered.
    pub fn told(&self, lsn: Lsn, needed: Needed) {
        if lsn == Lsn::PRIMARY {
            return;
        }
        let mut state = self.state();
        state.known = state.known.max(Some(lsn));
        if state.doubts == needed.doubts {
            state.is_doubted = false;
        }
    }

    /// A record says how far it was.
    pub(super) fn raise(&self, lsn: Lsn) {
        if lsn == Lsn::PRIMARY {
            return self.doubt();
        }
        let mut state = self.state();
        state.known = state.known.max(Some(lsn));
    }

    /// What was recorded before may have been further than anybody here knows.
    pub(super) fn doubt(&self) {
        let mut state = self.state();
        state.is_doubted = true;
        state.doubts += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::purge::canonical::Canonical;
    use crate::purge::index::Index;
    use crate::purge::record::{Position, Record, Scope};

    /// Looks at the index while a URL is entered there.
    #[derive(Clone, Default)]
    struct Looking {
        at: Arc<OnceLock<Arc<Index>>>,
        seen: Arc<Mutex<Vec<(Needed, Position, u64)>>>,
    }

    impl Canonical for Looking {
        fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
            if let Some(index) = self.at.get() {
                let now = (index.newest().needed(), index.position(), index.changes());
                self.seen.lock().expect("nobody panicked").push(now);
            }
            Cow::Borrowed(url)
        }

        fn prefix<'a>(&self, prefix: &'a str) -> Cow<'a, str> {
            Cow::Borrowed(prefix)
        }
    }

    #[test]
    fn it_is_raised_before_the_index_and_the_index_before_the_head() {
        let at = |seq| Position { epoch: 1, seq };
        let looking = Looking::default();
        let index = Arc::new(Index::new(8, (1, 2)).with_urls(Box::new(looking.clone())));
        index.begin_epoch(at(1));
        let _ = looking.at.set(Arc::clone(&index));
        let before = index.changes();
        let record = Record::hard(Scope::Url("example.org/".to_owned()));
        index.newest().told(lsn("1:0/1"), index.newest().needed());
        index.apply(at(2), &record.with_lsn(lsn("1:0/5")));
        let seen = looking.seen.lock().expect("nobody panicked").clone();
        let [(needed, position, changes)] = seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(needed.lsn, lsn("1:0/5"));
        assert_eq!((position, changes), (at(1), before));
        assert_eq!(index.position(), at(2));
        assert!(index.changes() > before);
    }

    fn lsn(text: &str) -> Lsn {
        text.parse().expect(text)
    }

    fn needed(newest: &Newest) -> String {
        newest.needed().lsn.to_string()
    }

    #[test]
    fn it_only_grows_by_timeline_and_position() {
        let newest = Newest::default();
        assert_eq!(needed(&newest), "primary", "nobody has told");
        for (told, expected) in [
            ("1:0/5", "1:0/5"),
            ("1:0/4", "1:0/5"),
            ("2:0/1", "2:0/1"),
            ("1:0/9", "2:0/1"),
        ] {
            newest.raise(lsn(told));
            newest.told(lsn(told), newest.needed());
            assert_eq!(needed(&newest), expected, "after {told}");
        }
        newest.doubt();
        newest.told(lsn("1:0/1"), newest.needed());
        assert_eq!(needed(&newest), "2:0/1", "of another log");
    }

    #[test]
    fn a_doubt_is_ended_by_what_the_origin_was_asked_after_it() {
        let newest = Newest::default();
        let before = newest.needed();
        newest.doubt();
        newest.told(lsn("1:0/9"), before);
        assert_eq!(needed(&newest), "primary", "asked before");
        let after = newest.needed();
        newest.told(Lsn::PRIMARY, after);
        assert_eq!(needed(&newest), "primary", "not told");
        newest.told(lsn("1:0/8"), after);
        assert_eq!(needed(&newest), "1:0/9");
    }

    #[test]
    fn no_record_ends_a_doubt() {
        let newest = Newest::default();
        newest.told(lsn("1:0/5"), newest.needed());
        newest.raise(lsn("1:0/6"));
        assert_eq!(needed(&newest), "1:0/6");
        newest.doubt();
        newest.raise(lsn("1:0/7"));
        assert_eq!(
            needed(&newest),
            "primary",
            "it may have been stamped before"
        );
        newest.told(lsn("1:0/4"), newest.needed());
        assert_eq!(needed(&newest), "1:0/7");
        newest.raise(Lsn::PRIMARY);
        assert_eq!(needed(&newest), "primary", "not known");
    }
}
