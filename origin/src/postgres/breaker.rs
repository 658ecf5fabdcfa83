//! Whether a database that has failed again and again is asked at all: a circuit breaker.
//!
//! Closed, everything passes. After some failures in a row it opens, and everything is refused at once, which spares both
//! the clients' time and a database that is coming up again. After a moment one request may try; it closes the circuit, or
//! keeps it open for another moment. Time is an argument.

use std::time::Duration;

/// After how many failures in a row it opens.
pub(crate) const FAILURES: u32 = 5;
/// For how long everything is refused before one may try.
pub(crate) const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go on; what came of it is told by `succeeded` or `failed`.
    Pass,
    /// Try, for all others; what came of it is told by `probed`.
    Probe,
    /// Nothing, for so long.
    Refused { wait: Duration },
}

impl Breaker {
    pub(crate) fn admit(&mut self, now: Duration) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Pass,
            State::Open { until } if now >= until => {
                self.state = State::HalfOpen;
                Admission::Probe
            }
            State::Open { until } => Admission::Refused { wait: until - now },
            State::HalfOpen => Admission::Refused { wait: REST },
        }
    }

    pub(crate) fn succeeded(&mut self) {
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
        }
    }

    /// True when this one has opened it.
    pub(crate) fn failed(&mut self, now: Duration) -> bool {
        // What was let through before it opened says nothing new.
        let State::Closed { failures } = &mut self.state else {
            return false;
        };
        *failures += 1;
        let opens = *failures >= FAILURES;
        if opens {
            self.state = State::Open { until: now + REST };
        }
        opens
    }

    /// What came of the one that might try; `None` when it was given up, and the next one may.
    pub(crate) fn probed(&mut self, now: Duration, outcome: Option<bool>) {
        if self.state == State::HalfOpen {
            self.state = match outcome {
                Some(true) => State::default(),
                Some(false) => State::Open { until: now + REST },
                None => State::Open { until: now },
            };
        }
    }

    /// `closed`, `open` or `half-open`.
    pub(crate) fn name(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(100);

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for failure in 1..=FAILURES {
            assert_eq!(breaker.admit(T0), Admission::Pass);
            assert_eq!(breaker.failed(T0), failure == FAILURES);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.failed(T0);
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.name(), "closed");
        let mut breaker = opened();
        assert_eq!(breaker.name(), "open");
        assert_eq!(breaker.admit(T0), Admission::Refused { wait: REST });
        // What was under way when it opened changes nothing.
        breaker.succeeded();
        assert!(!breaker.failed(T0 + REST / 2));
        let wait = REST / 2;
        assert_eq!(breaker.admit(T0 + REST / 2), Admission::Refused { wait });
    }

    #[test]
    fn one_may_try_after_the_rest_and_decides_for_all() {
        for (outcome, then) in [
            (Some(true), Admission::Pass),
            (Some(false), Admission::Refused { wait: REST }),
            (None, Admission::Probe),
        ] {
            let mut breaker = opened();
            let now = T0 + REST;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.name(), "half-open");
            assert_eq!(breaker.admit(now), Admission::Refused { wait: REST });
            breaker.probed(now, outcome);
            assert_eq!(breaker.admit(now), then, "{outcome:?}");
        }
    }

    #[test]
    fn once_closed_it_counts_anew() {
        let mut breaker = opened();
        breaker.admit(T0 + REST);
        breaker.probed(T0 + REST, Some(true));
        assert!(!breaker.failed(T0 + REST));
        assert_eq!(breaker.name(), "closed");
    }
}
