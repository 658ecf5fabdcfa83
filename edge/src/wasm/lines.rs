//! What a plugin may write into the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

/// How many lines one plugin may write in a second, in all exchanges together.
const LINES_PER_SECOND: u64 = 200;

/// The lines that one plugin writes, or makes the edge write.
#[derive(Debug)]
pub(crate) struct Lines {
    plugin: String,
    /// The second in the upper half, the lines in that second in the lower.
    written: AtomicU64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Written,
    /// Left out, as the first in its second: worth saying so, once.
    FirstLeftOut,
    LeftOut,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Lines {
    pub(crate) fn new(plugin: &str) -> Lines {
        Lines {
            plugin: plugin.to_owned(),
            written: AtomicU64::new(0),
        }
    }

    /// Whether another line may be written now. One that may not is counted.
    pub(crate) fn admit(&self) -> Line {
        let line = self.admit_at(START.elapsed().as_secs());
        if line != Line::Written {
            self.leave_out();
        }
        line
    }

    /// Counts a line that is left out for another reason.
    pub(crate) fn leave_out(&self) {
        let mut counts = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.plugin) {
            Some(count) => *count += 1,
            None => drop(counts.insert(self.plugin.clone(), 1)),
        }
    }

    fn admit_at(&self, second: u64) -> Line {
        // Workers that race in the moment in which a second begins may lose a line of it.
        let now = second << 32;
        let before = self.written.load(Ordering::Relaxed);
        let written = if before >> 32 == second {
            before + 1
        } else {
            now + 1
        };
        self.written.store(written, Ordering::Relaxed);
        match written - now {
            ..=LINES_PER_SECOND => Line::Written,
            lines if lines == LINES_PER_SECOND + 1 => Line::FirstLeftOut,
            _ => Line::LeftOut,
        }
    }
}

static LEFT_OUT: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// How many log lines of each plugin were left out since the process started, in a stable order.
pub fn lines_left_out() -> Vec<(String, u64)> {
    let counts = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let pairs = counts.iter();
    pairs
        .map(|(plugin, count)| (plugin.clone(), *count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{LINES_PER_SECOND, Line, Lines};

    #[test]
    fn a_second_has_its_lines_and_the_next_has_them_again() {
        let lines = Lines::new("lines-of-a-second");
        for second in [7, 8, 100] {
            for _ in 0..LINES_PER_SECOND {
                assert_eq!(lines.admit_at(second), Line::Written);
            }
            assert_eq!(lines.admit_at(second), Line::FirstLeftOut);
            assert_eq!(lines.admit_at(second), Line::LeftOut);
        }
    }
}
