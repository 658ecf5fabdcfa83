//! What the capability `limits` counts with: GCRA, in several windows at once (`gcra`).

mod local;
mod redis;
mod script;
mod shards;
mod tally;
mod view;
mod views;

use std::pin::Pin;

pub use self::redis::RedisLimits;
pub use crate::gcra::{Standing, Verdict, Window};
pub use local::LocalLimits;
pub(crate) use tally::tally;
pub use tally::{Taken, taken};

/// The longest name of a limit, in bytes.
pub const LONGEST_NAME: usize = 256;
/// The most windows in which one key is counted at a time.
pub const MOST_WINDOWS_OF_A_KEY: usize = 64;

/// Something that counts. One that cannot reach its counters has a fallback.
pub trait Limits: Send + Sync {
    /// Takes the cost from every window of the key, or from none.
    fn take<'a>(&'a self, take: Take<'a>) -> Pin<Box<dyn Future<Output = Counting> + Send + 'a>>;
}

/// A verdict, or why there is none.
pub type Counting = Result<Verdict, NotCounted>;

/// Why a guest's cost is not counted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    #[error("a limit's name of {0} bytes, over {LONGEST_NAME}")]
    NameTooLong(usize),
    #[error("the key is counted in {MOST_WINDOWS_OF_A_KEY} windows at most, and in others already")]
    TooManyWindows,
}

/// What is to be taken, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// What is limited: keeps the keys of different limits apart.
    pub name: &'a str,
    pub key: &'a str,
    /// Within the bounds that [`Window`] states, 16 at most.
    pub windows: &'a [Window],
    /// 0 only asks.
    pub cost: u32,
    /// Whether a key that is asked about often may be decided without waiting for the others who
    /// count it.
    pub is_asynchronous: bool,
}

impl Take<'_> {
    /// # Errors
    /// [`NotCounted::NameTooLong`]: names are kept, where keys are only hashed.
    fn check(&self) -> Result<(), NotCounted> {
        match self.name.len() {
            length if length > LONGEST_NAME => Err(NotCounted::NameTooLong(length)),
            _ => Ok(()),
        }
    }
}

/// What a key is filed under: of one length whatever a client sends, and not readable by those
/// who can read the counters.
type Identity = [u8; 16];

fn identity(name: &str, key: &str) -> Identity {
    let length = (name.len() as u64).to_le_bytes();
    let parts = [&length[..], name.as_bytes(), key.as_bytes()];
    // In one piece where there is room for it, which is cheaper.
    let mut gathered = [0; 256];
    let mut end = 0;
    let mut gather = |part: &[u8]| {
        let room = gathered.get_mut(end..end + part.len())?;
        room.copy_from_slice(part);
        end += part.len();
        Some(())
    };
    let fits = parts.iter().try_for_each(|part| gather(part)).is_some();
    let hash = if fits {
        blake3::hash(&gathered[..end])
    } else {
        let mut hasher = blake3::Hasher::new();
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        hasher.finalize()
    };
    let mut identity = Identity::default();
    identity.copy_from_slice(&hash.as_bytes()[..16]);
    identity
}
