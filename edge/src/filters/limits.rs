//! What the capability `limits` counts with: GCRA, in several windows at once (`gcra`).

mod local;
mod redis;

use std::pin::Pin;

pub use self::redis::RedisLimits;
pub use crate::gcra::{Standing, Verdict, Window};
pub use local::LocalLimits;

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
