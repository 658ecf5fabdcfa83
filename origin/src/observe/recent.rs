//! The last times that something took, exactly.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use utoipa::ToSchema;

/// How many of the last times are kept.
const KEPT: usize = 1_024;

/// Of the last 1,024 times, in milliseconds; nothing when there are none.
#[derive(Serialize, ToSchema)]
pub(crate) struct Percentiles {
    count: usize,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// The last times.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    times: Vec<Duration>,
    next: usize,
}

impl Recent {
    pub(crate) fn note(&self, time: Duration) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ring.next;
        match ring.times.get_mut(next) {
            Some(oldest) => *oldest = time,
            None => ring.times.push(time),
        }
        ring.next = (next + 1) % KEPT;
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times = ring.times.clone();
        drop(ring);
        times.sort_unstable();
        // The smallest time that so many in a hundred do not exceed.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            let time = times.get(rank.checked_sub(1)?)?;
            Some(time.as_secs_f64() * 1_000.0)
        };
        Percentiles {
            count: times.len(),
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_times() {
        let recent = Recent::default();
        assert_eq!(recent.percentiles().p50, None);
        recent.note(Duration::from_millis(7));
        let one = recent.percentiles();
        assert_eq!(
            (one.p50, one.p99, one.max),
            (Some(7.0), Some(7.0), Some(7.0))
        );
        for _ in 0..KEPT {
            recent.note(Duration::from_secs(1));
        }
        for millis in 1..=KEPT as u64 {
            recent.note(Duration::from_millis(millis));
        }
        let all = recent.percentiles();
        assert_eq!(all.count, KEPT);
        assert_eq!((all.p50, all.p95), (Some(512.0), Some(973.0)));
        assert_eq!((all.p99, all.max), (Some(1_014.0), Some(1_024.0)));
    }
}
