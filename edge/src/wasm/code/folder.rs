//! A folder of our own: files that appear whole, and are not more than so many.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::CacheError;

/// What the files of compiled code end with.
pub(super) const EXTENSION: &str = "code";
/// What files end with that are being written.
const UNFINISHED: &str = "unfinished";
/// After this long, nobody is writing it any more.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// The bits of others than the owner that let them write.
const OTHERS_WRITE: u32 = 0o022;

/// A folder that belongs to the user this process runs as.
pub(super) struct Folder {
    path: PathBuf,
    /// The number of that user.
    user: u32,
}

impl Folder {
    /// Opens the folder, or makes it.
    pub(super) fn open(path: &Path) -> Result<Folder, CacheError> {
        let unusable = |source| CacheError::Unusable {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        Folder::open_existing(path)
    }

    /// Opens a folder that is there.
    pub(super) fn open_existing(path: &Path) -> Result<Folder, CacheError> {
        let unusable = |source| CacheError::Unusable {
            path: path.to_owned(),
            source,
        };
        // Told by a file that we make: it belongs to who we are.
        let mut folder = Folder {
            path: path.to_owned(),
            user: 0,
        };
        let (file, probe) = folder.unfinished().map_err(unusable)?;
        let made = file.metadata();
        fs::remove_file(&probe).map_err(unusable)?;
        folder.user = made.map_err(unusable)?.uid();
        let held = fs::metadata(path).map_err(unusable)?;
        if held.uid() != folder.user {
            return Err(folder.not_safe("it belongs to another user"));
        }
        if held.mode() & OTHERS_WRITE != 0 {
            return Err(folder.not_safe("others than its owner may write to it"));
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file of this name is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn not_safe(&self, why: &'static str) -> CacheError {
        CacheError::Unsafe {
            path: self.path.clone(),
            why,
        }
    }

    /// Whether a file belongs to us, and nobody else may read it.
    pub(super) fn is_secret(&self, metadata: &Metadata) -> bool {
        metadata.uid() == self.user && metadata.mode() & 0o077 == 0
    }

    /// Writes a file that is there when it is whole, in the place of one that was.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.finish(parts, |unfinished| fs::rename(unfinished, self.file(name)))
    }

    /// Writes a file that is there when it is whole, unless there is one already.
    pub(super) fn write_first(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.finish(parts, |unfinished| {
            match fs::hard_link(unfinished, self.file(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => fs::remove_file(unfinished),
            }
        })
    }

    fn finish(
        &self,
        parts: &[&[u8]],
        publish: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut file, path) = self.unfinished()?;
        let written = parts.iter().try_for_each(|part| file.write_all(part));
        let published = written
            .and_then(|()| file.sync_all())
            .and_then(|()| publish(&path));
        if published.is_err() {
            // What cannot be removed now is removed as abandoned.
            let _ = fs::remove_file(&path);
        }
        published
    }

    /// A new file, under a name that nobody else uses.
    fn unfinished(&self) -> io::Result<(File, PathBuf)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let word = crate::random::word();
        let name = format!("{}-{count}-{word:016x}.{UNFINISHED}", process::id());
        let path = self.file(&name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((file, path))
    }

    /// Leaves the `most` files that were used last, and nothing abandoned.
    pub(super) fn prune(&self, most: usize) -> io::Result<()> {
        let now = SystemTime::now();
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            // Another process prunes too.
            let Ok(found) = fs::symlink_metadata(&path) else {
                continue;
            };
            if !found.is_file() {
                continue;
            }
            let used = found.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => kept.push((used, path)),
                Some(UNFINISHED) if now.duration_since(used).is_ok_and(|age| age > ABANDONED) => {
                    remove(&path)?;
                }
                _ => {}
            }
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(most);
        kept[..surplus]
            .iter()
            .try_for_each(|(_, path)| remove(path))
    }
}

/// The bytes of a file; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = fs::symlink_metadata(path).and_then(|found| {
        if found.is_file() {
            fs::read(path)
        } else {
            // A pipe would be waited for.
            Err(io::Error::other("it is no file"))
        }
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes that a file was used.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).open(path)?;
    file.set_modified(SystemTime::now())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
