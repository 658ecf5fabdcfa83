//! Time as an argument: a start passes one clock in, tests move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use time::OffsetDateTime;

/// Where the time comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System {
        started: Instant,
    },
    Manual {
        start: OffsetDateTime,
        millis: AtomicU64,
    },
}

impl Clock {
    /// The system's own clocks.
    pub fn system() -> Self {
        let started = Instant::now();
        Self(Arc::new(Source::System { started }))
    }

    /// A clock that stands still until it is [`advance`](Clock::advance)d; it begins with the system's time of day.
    pub fn manual() -> Self {
        Self(Arc::new(Source::Manual {
            start: OffsetDateTime::now_utc(),
            millis: AtomicU64::new(0),
        }))
    }

    /// The time of day.
    pub(crate) fn now(&self) -> OffsetDateTime {
        match &*self.0 {
            Source::System { .. } => OffsetDateTime::now_utc(),
            Source::Manual { start, .. } => *start + self.elapsed(),
        }
    }

    /// How long the clock has run; never goes back.
    pub(crate) fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual { millis, .. } => Duration::from_millis(millis.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward; the system's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { millis, .. } = &*self.0 {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(by, Ordering::AcqRel);
        }
    }
}
