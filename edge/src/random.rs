//! Random numbers for names and hash keys: from the operating system, by way of the standard
//! library's own seeding.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read as _};
use std::sync::OnceLock;

/// 64 bits that nobody outside can guess.
pub fn word() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}

/// Fills a buffer with bytes of the operating system's own generator, each time anew.
///
/// # Errors
/// When the system has none to open, or the process no file left to open it with.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    static SOURCE: OnceLock<File> = OnceLock::new();
    let mut source = match SOURCE.get() {
        Some(source) => source,
        None => {
            let opened = File::open("/dev/urandom")?;
            SOURCE.get_or_init(|| opened)
        }
    };
    source.read_exact(buffer)
}
