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

/// Something that counts. It always answers: one that cannot reach its counters has a fallback.
pub trait Limits: Send + Sync {
    /// Takes the cost from every window of the key, or from none.
    fn take<'a>(&'a self, take: Take<'a>) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
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

/// What a key is filed under: of one length whatever a client sends, and not readable by those
/// who can read the counters.
type Identity = [u8; 16];

fn identity(name: &str, key: &str) -> Identity {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(key.as_bytes());
    let mut identity = Identity::default();
    identity.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    identity
}
