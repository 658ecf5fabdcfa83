//! What this process knows of one key that Redis counts for several.
//!
//! A key that is asked about often is decided by what Redis last said of it and what was taken
//! here since; what was taken is *owed*, and settled soon after. Three rules bound by how much the
//! edges may go over a limit together:
//!
//! - Nobody owes more than a [`SHARE`]th of what remained when Redis was last heard. Past that, and
//!   where Redis has not been heard for a while, Redis decides.
//! - What is owed is added in Redis whatever the limit, and so paid back before anybody gets more.
//! - What is refused here is not asked again before Redis has to be heard anyway.
//!
//! Redis itself lets through no more than the limit. So `n` edges let through at most `n / SHARE`
//! of the limit more, and about `n / SHARE` of what came in one settlement's time in practice; a
//! limit below [`SHARE`] is exact.

use std::time::{Duration, Instant};

use super::script::Counted;
use super::{Verdict, Window};
use crate::gcra;

/// The part of what remains that one edge may let through by itself.
const SHARE: u64 = 64;

/// A key's windows as this process sees them.
pub(super) struct View {
    windows: Vec<Window>,
    shares: Vec<Share>,
    /// When Redis was last heard of this key.
    heard: Option<Instant>,
    /// Redis's own time then.
    at: u64,
    is_settling: bool,
}

/// One window: moments and durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Share {
    arrival: u64,
    /// How much of it may be owed.
    budget: u64,
    /// Taken here, and not sent yet.
    owed: u64,
    /// Sent, and not answered yet.
    sent: u64,
}

/// What is to be done about a cost.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Decided(Verdict),
    /// Redis has to say.
    Ask,
}

impl View {
    /// Nothing is known yet.
    pub(super) fn new(windows: &[Window]) -> View {
        View {
            windows: windows.to_vec(),
            shares: vec![Share::default(); windows.len()],
            heard: None,
            at: 0,
            is_settling: false,
        }
    }

    /// Takes a cost by what is known, where that is no older than `oldest`.
    pub(super) fn decide(
        &mut self,
        cost: u32,
        now: u64,
        moment: Instant,
        oldest: Duration,
    ) -> Step {
        let is_known = self
            .heard
            .is_some_and(|heard| moment.saturating_duration_since(heard) <= oldest);
        if !is_known {
            return Step::Ask;
        }
        let (verdict, kept) = gcra::decide(&self.windows, &self.arrivals(), cost, now);
        match kept {
            None => Step::Decided(verdict),
            Some(_) if !self.may_owe(cost) => Step::Ask,
            Some(kept) => {
                self.take(cost, kept);
                Step::Decided(verdict)
            }
        }
    }

    /// Takes a cost by what is known, however little that is: Redis does not answer.
    pub(super) fn decide_alone(&mut self, cost: u32, now: u64) -> Verdict {
        let (verdict, kept) = gcra::decide(&self.windows, &self.arrivals(), cost, now);
        if let Some(kept) = kept {
            self.take(cost, kept);
        }
        verdict
    }

    /// Whether something is owed that nobody is settling; who asks does it from now on.
    pub(super) fn begin_settling(&mut self) -> bool {
        let begins = !self.is_settling && self.owes();
        self.is_settling |= begins;
        begins
    }

    /// What is to be settled: none of it more than time has left of it. Answered by
    /// [`settled`](View::settled) or [`not_settled`](View::not_settled).
    pub(super) fn send(&mut self, now: u64) -> Vec<u64> {
        let send = |share: &mut Share| {
            share.sent = share.owed.min(share.arrival.saturating_sub(now));
            share.owed = 0;
            share.sent
        };
        self.shares.iter_mut().map(send).collect()
    }

    /// Redis has taken what was sent. Whether more is owed meanwhile, and to be settled as well.
    pub(super) fn settled(&mut self, counted: &Counted, now: u64, moment: Instant) -> bool {
        for share in &mut self.shares {
            share.sent = 0;
        }
        self.adopt(counted, now, moment);
        self.is_settling = self.owes();
        self.is_settling
    }

    /// Redis did not answer: what was sent is owed still, unless Redis may have it.
    pub(super) fn not_settled(&mut self, may_have_it: bool) {
        for share in &mut self.shares {
            let sent = std::mem::take(&mut share.sent);
            if !may_have_it {
                share.owed = share.owed.saturating_add(sent);
            }
        }
        self.is_settling = false;
        self.heard = None;
    }

    /// Takes over what Redis counts, unless it has said something later already.
    pub(super) fn adopt(&mut self, counted: &Counted, now: u64, moment: Instant) {
        if counted.at < self.at || counted.resets.len() != self.shares.len() {
            return;
        }
        self.at = counted.at;
        self.heard = Some(moment);
        let shares = self.shares.iter_mut().zip(&self.windows);
        for ((share, window), reset) in shares.zip(&counted.resets) {
            let own = share.owed.saturating_add(share.sent);
            share.arrival = now.saturating_add(*reset).saturating_add(own);
            share.budget = window.latest(now).saturating_sub(share.arrival) / SHARE;
        }
    }

    fn arrivals(&self) -> Vec<u64> {
        self.shares.iter().map(|share| share.arrival).collect()
    }

    fn owes(&self) -> bool {
        self.shares.iter().any(|share| share.owed > 0)
    }

    fn may_owe(&self, cost: u32) -> bool {
        let shares = self.shares.iter().zip(&self.windows);
        shares.into_iter().all(|(share, window)| {
            let cost = window.span(cost);
            share.owed.saturating_add(share.sent).saturating_add(cost) <= share.budget
        })
    }

    fn take(&mut self, cost: u32, kept: Vec<u64>) {
        let shares = self.shares.iter_mut().zip(&self.windows);
        for ((share, window), arrival) in shares.zip(kept) {
            share.arrival = arrival;
            let cost = window.span(cost);
            share.owed = share.owed.saturating_add(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const NOW: u64 = 1_700_000_000 * SECOND;
    const OLDEST: Duration = Duration::from_millis(100);
    /// A unit a second.
    const HOUR: Window = Window {
        limit: 3_600,
        seconds: 3_600,
    };

    /// What Redis says when so many units of the hour are taken.
    fn counted(taken: u64, at: u64) -> Counted {
        Counted {
            verdict: Verdict {
                allowed: true,
                standings: Vec::new(),
            },
            at,
            resets: vec![taken * SECOND],
        }
    }

    /// How many units are taken without asking, of so many tried.
    fn taken(view: &mut View, tries: u32, moment: Instant) -> usize {
        let take = |_: &u32| matches!(view.decide(1, NOW, moment, OLDEST), Step::Decided(verdict) if verdict.allowed);
        (0..tries).filter(take).count()
    }

    #[test]
    fn an_unknown_key_is_asked_about_and_a_known_one_is_not() {
        let moment = Instant::now();
        let mut view = View::new(&[HOUR]);
        assert_eq!(view.decide(1, NOW, moment, OLDEST), Step::Ask);
        view.adopt(&counted(1, 1), NOW, moment);
        assert_eq!(taken(&mut view, 1, moment + OLDEST), 1);
        let late = moment + OLDEST + Duration::from_millis(1);
        assert_eq!(view.decide(1, NOW, late, OLDEST), Step::Ask);
    }

    #[test]
    fn an_edge_owes_no_more_than_its_share_of_what_remains() {
        let moment = Instant::now();
        for (used, expected) in [(0, 56), (400, 50), (3_500, 1), (3_537, 0), (3_600, 0)] {
            let mut view = View::new(&[HOUR]);
            view.adopt(&counted(used, 1), NOW, moment);
            assert_eq!(taken(&mut view, 200, moment), expected, "{used}");
        }
    }

    #[test]
    fn what_is_sent_still_counts_until_redis_has_it() {
        let moment = Instant::now();
        let mut view = View::new(&[HOUR]);
        view.adopt(&counted(400, 1), NOW, moment);
        assert_eq!(taken(&mut view, 10, moment), 10);
        assert!(view.begin_settling() && !view.begin_settling());
        assert_eq!(view.send(NOW), [10 * SECOND]);
        assert_eq!(taken(&mut view, 200, moment), 40);
        // Others have taken a hundred meanwhile.
        assert!(view.settled(&counted(510, 2), NOW, moment));
        assert_eq!(view.shares[0].arrival, NOW + 550 * SECOND);
        assert_eq!(view.send(NOW), [40 * SECOND]);
        assert!(!view.settled(&counted(550, 3), NOW, moment));
    }

    #[test]
    fn a_late_answer_does_not_undo_a_later_one() {
        let moment = Instant::now();
        let mut view = View::new(&[HOUR]);
        view.adopt(&counted(3_600, 2), NOW, moment);
        view.adopt(&counted(7, 1), NOW, moment);
        assert_eq!(taken(&mut view, 1, moment), 0);
    }

    #[test]
    fn without_redis_the_limit_holds_by_itself_and_is_owed() {
        let mut view = View::new(&[HOUR]);
        let alone = |view: &mut View| view.decide_alone(1, NOW).allowed;
        let allowed = (0..4_000).filter(|_| alone(&mut view)).count();
        assert_eq!(allowed, 3_600);
        // Half an hour later, half of it has come back.
        assert_eq!(view.send(NOW + 1_800 * SECOND), [1_800 * SECOND]);
        view.not_settled(false);
        assert_eq!(view.send(NOW + 3_599 * SECOND), [SECOND]);
        view.not_settled(true);
        assert_eq!(view.send(NOW), [0]);
    }
}
