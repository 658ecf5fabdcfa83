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
    if let Some(key) = read(folder).map_err(unusable)?? {
        return Ok(key);
    }
    let mut key = [0; 32];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(unusable)?;
    // Of several processes that start together one makes the key, and all have the same.
    folder.write_first(FILE, &[&key]).map_err(unusable)?;
    match read(folder).map_err(unusable)?? {
        Some(kept) => Ok(kept),
        None => Err(unusable(io::Error::other("it is no key"))),
    }
}

/// The key, if there is one.
fn read(folder: &Folder) -> io::Result<Result<Option<[u8; 32]>, CacheError>> {
    let path = folder.file(FILE);
    let Some(bytes) = folder::read(&path)? else {
        return Ok(Ok(None));
    };
    if !folder.is_secret(&fs::symlink_metadata(&path)?) {
        let why = "its key belongs to another user, or others may read it";
        return Ok(Err(folder.not_safe(why)));
    }
    match bytes.try_into() {
        Ok(key) => Ok(Ok(Some(key))),
        // Cut short, by a full disk perhaps: whatever it vouched for is written again.
        Err(_) => fs::remove_file(&path).map(|()| Ok(None)),
    }
}
