//! The time of day as an argument: `startup` passes one clock in, tests move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tidegate_semantics::Timestamp;

/// Where `now` comes from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's own time of day.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// A clock that stands still at `start` until it is [`advance`](Clock::advance)d.
    pub fn manual(start: Timestamp) -> Clock {
        Clock {
            manual: Some(Arc::new(AtomicU64::new(start.0))),
        }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(millis) => Timestamp(millis.load(Ordering::Acquire)),
            None => Timestamp::from_system(SystemTime::now()),
        }
    }

    /// Moves a manual clock forward; the system's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Some(millis) = &self.manual {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(by, Ordering::AcqRel);
        }
    }
}
