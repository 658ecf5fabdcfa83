//! Whether the log that is followed is still the one that was read.
//!
//! A log goes by its name where all that was read of it stands before what comes now. It does not,
//! and is gone on with under another name, when
//!
//! - its tail is lost: the stream ends before what was read, an entry tells that numbers were given
//!   out again, or the log that is followed does not come after all that was read of those before;
//! - it was followed before another one: it is back from a backup, and may give out the same ids
//!   again;
//! - it is found on another server, or after a restart of its server, which may have lost what it
//!   had.

use std::collections::HashSet;

use crate::purge::record::Position;

/// What a follower remembers of the logs it has read.
#[derive(Default)]
pub(super) struct Continuity {
    /// The `seq` of the last entry read, of whatever log.
    read_to: u64,
    /// Read that what was read before is not in the stream any more.
    has_lost_tail: bool,
    /// Up to where logs were read that are not in the stream any more, unless the one that is
    /// followed is known to have come after that.
    lost: Vec<Position>,
    /// The logs that were followed before another one.
    former: HashSet<u64>,
    /// The server on which the log was followed last, where it tells.
    server: Option<String>,
}

impl Continuity {
    /// Up to where the stream was read.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Whether a log whose last entry is `last` on this server is not the one that was read, by
    /// whatever name it goes: its numbers are given out again, or may be.
    pub fn is_broken(&self, last: u64, server: &Option<String>) -> bool {
        let is_elsewhere = self.server.is_some() && server.is_some() && self.server != *server;
        last < self.read_to || self.has_lost_tail || is_elsewhere
    }

    /// Whether this log was followed before another one.
    pub fn is_former(&self, epoch: u64) -> bool {
        self.former.contains(&epoch)
    }

    /// What a log that is founded now comes after: the first loss, or where the follower stands.
    pub fn lost_from(&self, ours: Position) -> Position {
        self.lost.first().copied().unwrap_or(ours)
    }

    /// Whether a tail is known to be lost.
    pub fn has_lost_tail(&self) -> bool {
        self.has_lost_tail
    }

    /// An entry was read.
    pub fn read(&mut self, seq: u64) {
        self.read_to = seq;
    }

    /// The log that is followed was founded by one who had read this much of the log before.
    pub fn comes_after(&mut self, after: Position) {
        self.lost
            .retain(|lost| lost.epoch != after.epoch || lost.seq > after.seq);
    }

    /// The log was read to its end: what nothing in it comes after is lost to those who follow it.
    pub fn read_all(&mut self) {
        self.has_lost_tail |= !self.lost.is_empty();
    }

    /// An entry tells that what was read up to `ours` is lost.
    pub fn lost_tail(&mut self, ours: Position) {
        self.has_lost_tail = true;
        self.lost.push(ours);
    }

    /// What was read up to `ours` is not in the stream any more.
    pub fn left(&mut self, ours: Position) {
        self.lost.push(ours);
    }

    /// Another log is followed instead of the one named `former`, from its first entry on.
    pub fn begin(&mut self, former: u64) {
        self.former.insert(former);
        self.read_to = 0;
        self.has_lost_tail = false;
    }

    /// The log is followed on this server.
    pub fn follow_on(&mut self, server: &Option<String>) {
        self.server.clone_from(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn a_log_goes_on_where_it_ends_behind_what_was_read_on_the_same_server() {
        let server = |name: &str| Some(name.to_owned());
        let (one, another) = (server("one"), server("another"));
        let mut continuity = Continuity::default();
        continuity.read(7);
        for (last, followed_on, server, expected, reason) in [
            (7, &one, &one, false, "nothing new"),
            (8, &one, &one, false, "something new"),
            (6, &one, &one, true, "its end is lost"),
            (8, &one, &another, true, "it is found elsewhere"),
            (8, &one, &None, false, "the server does not tell"),
            (8, &None, &another, false, "it did not tell before"),
        ] {
            continuity.follow_on(followed_on);
            assert_eq!(continuity.is_broken(last, server), expected, "{reason}");
        }
        continuity.lost_tail(at(1, 7));
        assert!(continuity.is_broken(8, &None), "an entry told of a loss");
        continuity.begin(1);
        assert!(
            !continuity.is_broken(0, &None),
            "another log, from its start"
        );
        assert!(continuity.is_former(1) && !continuity.is_former(2));
    }

    #[test]
    fn what_was_left_is_lost_unless_the_next_log_comes_after_it() {
        for (after, is_lost, reason) in [
            (None, true, "nobody tells"),
            (Some(at(1, 7)), false, "after all of it"),
            (Some(at(1, 6)), true, "after a part of it"),
            (Some(at(3, 9)), true, "after another log"),
        ] {
            let mut continuity = Continuity::default();
            assert_eq!(continuity.lost_from(at(1, 7)), at(1, 7));
            continuity.left(at(1, 7));
            continuity.begin(1);
            if let Some(after) = after {
                continuity.comes_after(after);
            }
            continuity.read_all();
            assert_eq!(continuity.has_lost_tail(), is_lost, "{reason}");
            let from = if is_lost { at(1, 7) } else { at(2, 5) };
            assert_eq!(continuity.lost_from(at(2, 5)), from, "{reason}");
        }
    }
}
