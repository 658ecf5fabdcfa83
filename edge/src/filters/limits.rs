//! What the capability `limits` counts with: GCRA, in several windows at once.
//!
//! A key has, in each window, a *theoretical arrival time*: the moment at which it will have its
//! whole limit again. Taking a unit moves that by `seconds / limit`; it may lie no further ahead
//! than the window is long. One number is all there is to keep.

mod gcra;
mod local;
mod redis;

use std::pin::Pin;

pub use self::redis::RedisLimits;
pub use local::LocalLimits;

/// At most `limit` units in any `seconds` seconds, and never more than `limit` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// 1 to 1,000,000 for each second of the window.
    pub limit: u32,
    /// 1 to 31,622,400 (a leap year).
    pub seconds: u32,
}

/// The most windows counted in at once.
const MOST_WINDOWS: usize = 16;
/// The longest window, in seconds.
const LONGEST: u32 = 366 * 86_400;
/// Microseconds in a second, which is also the most units in one.
const SECOND: u64 = 1_000_000;

impl Window {
    /// Whether these can be counted in together.
    ///
    /// # Errors
    /// Which bound is exceeded, and by what.
    pub(super) fn check(windows: &[Window]) -> Result<(), String> {
        if windows.is_empty() || windows.len() > MOST_WINDOWS {
            return Err(format!(
                "{} windows instead of 1 to {MOST_WINDOWS}",
                windows.len()
            ));
        }
        for Window { limit, seconds } in windows {
            let most = u64::from(*seconds) * SECOND;
            if !(1..=LONGEST).contains(seconds) || *limit == 0 || u64::from(*limit) > most {
                return Err(format!(
                    "a limit of {limit} in {seconds} seconds is out of bounds"
                ));
            }
        }
        Ok(())
    }

    /// The microseconds that one unit costs, rounded up: never more than the limit in a window.
    fn interval(self) -> u64 {
        (u64::from(self.seconds) * SECOND)
            .div_ceil(u64::from(self.limit.max(1)))
            .max(1)
    }
}

/// Where a key stands in one window, after the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that could be taken now.
    pub remaining: u32,
    /// Milliseconds until the whole limit could be taken.
    pub reset_after: u64,
    /// Milliseconds until the window would allow the cost that was asked for; 0 when it does.
    pub retry_after: u64,
}

/// Whether a cost was taken, and where that leaves the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// When false, nothing was taken from any window.
    pub allowed: bool,
    /// One for each window, in the order asked.
    pub standings: Vec<Standing>,
}

/// Something that counts. It always answers: one that cannot reach its counters has a fallback.
pub trait Limits: Send + Sync {
    /// Takes `cost` from every window of `key`, or from none. `name` keeps the keys of different
    /// limits apart. The windows have been checked.
    fn take<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        windows: &'a [Window],
        cost: u32,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// What a key is filed under: of one length whatever a client sends, and not readable by those
/// who can read the counters.
fn identity(name: &str, key: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(key.as_bytes());
    let mut identity = [0; 16];
    identity.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    identity
}
