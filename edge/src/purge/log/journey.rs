//! The way of a record that was appended, from the log back to the edge that appended it.

use crate::purge::record::Position;

/// A record on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journey {
    /// What was applied here before it was appended.
    pub before: Position,
    /// Where it stands.
    pub position: Position,
}

/// How far the follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Going,
    Arrived,
    /// It has taken up a log that may not have the record: it is to be appended again.
    Lost,
}

impl Journey {
    /// How far it is when the follower is at `now`.
    pub fn at(self, now: Position) -> Way {
        let Journey { before, position } = self;
        if now.epoch != position.epoch {
            // A third log may come before the record's own, or after it: nobody can tell.
            return if now.epoch == before.epoch {
                Way::Going
            } else {
                Way::Lost
            };
        }
        // A tail was lost, and its ids are given out again: what was applied here under that number
        // was another record. The follower will find a new log, or the deadline passes.
        let is_behind = position.epoch == before.epoch && position.seq <= before.seq;
        if now.seq >= position.seq && !is_behind {
            Way::Arrived
        } else {
            Way::Going
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Journey, Position, Way};

    #[test]
    fn an_append_is_applied_when_its_own_log_has_got_there() {
        use Way::{Arrived, Going, Lost};
        for (now, before, appended, expected, reason) in [
            ((1, 9), (1, 5), (1, 9), Arrived, "its own position"),
            ((1, 8), (1, 5), (1, 9), Going, "not yet"),
            (
                (1, 99),
                (1, 5),
                (2, 9),
                Going,
                "the new log is not followed yet",
            ),
            ((2, 8), (1, 5), (2, 9), Going, "the new log is still read"),
            ((2, 9), (1, 5), (2, 9), Arrived, "the new log was read"),
            ((0, 0), (0, 0), (1, 9), Going, "no log is followed yet"),
            (
                (1, 7),
                (1, 7),
                (1, 7),
                Going,
                "the number of another record",
            ),
            (
                (1, 9),
                (1, 9),
                (1, 7),
                Going,
                "the number of one that was lost",
            ),
            (
                (2, 9),
                (1, 9),
                (1, 7),
                Lost,
                "the log that followed such a loss",
            ),
            (
                (3, 0),
                (1, 5),
                (1, 9),
                Lost,
                "the log was replaced after the append",
            ),
            (
                (2, 0),
                (1, 5),
                (3, 9),
                Lost,
                "replaced before it, and once more",
            ),
            ((3, 9), (1, 5), (3, 9), Arrived, "and that log was read"),
        ] {
            let at = |(epoch, seq)| Position { epoch, seq };
            let journey = Journey {
                before: at(before),
                position: at(appended),
            };
            let way = journey.at(at(now));
            assert_eq!(way, expected, "{reason}");
        }
    }
}
