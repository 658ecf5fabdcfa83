//! Random numbers for names and hash keys: from the operating system, by way of the standard
//! library's own seeding.

use std::hash::{BuildHasher, RandomState};

/// 64 bits that nobody outside can guess.
pub fn word() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}
