//! The key by which an edge knows what it wrote itself.

use std::fs::{self, File};
use std::io::{self, Read};

use super::folder::{self, Folder};
use super::{CacheError, Secret};

/// The name of the key's file in the folder.
const FILE: &str = "key";
/// Where the operating system gives random bytes.
const RANDOM: &str = "/dev/urandom";

/// The key that comes of a secret of the configuration.
pub(super) fn of_secret(secret: &Secret) -> [u8; 32] {
    blake3::derive_key("tidegate 1 wasm.cache_key", secret.expose().as_bytes())
}

/// The key that is kept in the folder, made where there is none.
pub(super) fn kept_in(folder: &Folder) -> Result<[u8; 32], CacheError> {
    let path = folder.file(FILE);
    let unusable = |source| CacheError::Unusable {
        path: path.clone(),
        source,
    };
    check(folder)?;
    if let Some(key) = read(folder).map_err(unusable)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(unusable)?;
    // Of several processes that start together one makes the key, and all have the same.
    folder.write_first(FILE, &[&key]).map_err(unusable)?;
    check(folder)?;
    match read(folder).map_err(unusable)? {
        Some(kept) => Ok(kept),
        None => Err(unusable(io::Error::other("it is no key"))),
    }
}

/// Whether the key, if there is one, is known to us alone. It stays so: nobody else writes to the
/// folder.
///
/// # Errors
/// [`CacheError::Unsafe`].
pub(super) fn check(folder: &Folder) -> Result<(), CacheError> {
    match fs::symlink_metadata(folder.file(FILE)) {
        Ok(found) if found.is_file() && !folder.is_secret(&found) => {
            Err(folder.not_safe("its key belongs to another user, or others may read it"))
        }
        // What is no file is never read.
        _ => Ok(()),
    }
}

/// The key, if there is one.
fn read(folder: &Folder) -> io::Result<Option<[u8; 32]>> {
    let path = folder.file(FILE);
    let Some(bytes) = folder::read(&path)? else {
        return Ok(None);
    };
    match bytes.try_into() {
        Ok(key) => Ok(Some(key)),
        // Cut short, by a full disk perhaps: whatever it vouched for is written again.
        Err(_) => fs::remove_file(&path).map(|()| None),
    }
}
