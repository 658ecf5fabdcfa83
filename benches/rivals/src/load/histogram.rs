//! Latencies, to within one part in 128, in a table of fixed size.

use std::time::Duration;

use super::Latency;

/// As many slots for each power of two.
const STEPS: u32 = 7;

pub struct Histogram {
    slots: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            slots: vec![0; 64 << STEPS],
            count: 0,
            longest: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.slots[slot(nanoseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// `None` of nothing.
    pub fn latency(&self) -> Option<Latency> {
        let microseconds = |share| self.quantile(share) as f64 / 1e3;
        (self.count > 0).then(|| Latency {
            p50: microseconds(0.5),
            p99: microseconds(0.99),
            p999: microseconds(0.999),
            longest: self.longest as f64 / 1e3,
        })
    }

    /// What this share of all latencies does not exceed, in nanoseconds.
    fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (slot, count) in self.slots.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return lowest(slot).min(self.longest);
            }
        }
        self.longest
    }
}

/// Values below 256 have a slot each, and 128 slots share each doubling after them.
fn slot(value: u64) -> usize {
    let shift = (u64::BITS - STEPS - 1).saturating_sub(value.leading_zeros());
    ((shift as usize) << STEPS) + (value >> shift) as usize
}

fn lowest(slot: usize) -> u64 {
    if slot < 2 << STEPS {
        return slot as u64;
    }
    let shift = (slot >> STEPS) - 1;
    ((slot - (shift << STEPS)) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_what_is_within_one_part_in_128() {
        for value in [
            0,
            1,
            127,
            128,
            255,
            256,
            257,
            1_000,
            123_456,
            10_u64.pow(10),
            u64::MAX / 2,
        ] {
            let low = lowest(slot(value));
            assert!(
                low <= value && value - low <= value / 128,
                "{value} is filed under {low}"
            );
        }
    }

    #[test]
    fn quantiles_are_what_that_share_does_not_exceed() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), None);
        for microseconds in 1..=1_000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        let latency = histogram.latency().expect("it holds some");
        for (is, wanted) in [
            (latency.p50, 500.0),
            (latency.p99, 990.0),
            (latency.p999, 999.0),
        ] {
            assert!((is - wanted).abs() <= wanted / 128.0, "{is} for {wanted}");
        }
        assert_eq!(latency.longest, 1_000.0);
    }
}
