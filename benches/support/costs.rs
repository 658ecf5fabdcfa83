//! What was measured of one way of asking, round by round.

use std::time::{Duration, Instant};

use crate::child::Child;

/// Microseconds of CPU for each request, and requests a second, of each round.
#[derive(Default)]
pub(crate) struct Costs(Vec<(f64, f64)>);

/// The middle round, and the outermost ones.
pub(crate) struct Summary {
    pub(crate) cost: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Requests a second, in the middle round.
    pub(crate) rate: f64,
}

impl Costs {
    /// Adds a round: what the edge uses while `load` has so many requests answered.
    pub(crate) fn measure(&mut self, edge: &Child, requests: usize, load: impl FnOnce()) {
        let (before, start) = (edge.processor_time(), Instant::now());
        load();
        let used = edge.processor_time() - before;
        self.add(used, start.elapsed(), requests);
    }

    fn add(&mut self, used: Duration, elapsed: Duration, requests: usize) {
        let requests = requests as f64;
        let cost = used.as_secs_f64() * 1e6 / requests;
        self.0.push((cost, requests / elapsed.as_secs_f64()));
    }

    /// Medians; there was a round at least.
    pub(crate) fn summary(mut self) -> Summary {
        self.0.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (cost, rate) = self.0[self.0.len() / 2];
        Summary {
            cost,
            least: self.0[0].0,
            most: self.0[self.0.len() - 1].0,
            rate,
        }
    }
}

/// The numbers among the arguments.
pub(crate) fn numbers() -> Vec<usize> {
    std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(|argument| {
            let parsed = argument.parse();
            parsed.unwrap_or_else(|_| panic!("a number is wanted, and not {argument:?}"))
        })
        .collect()
}
