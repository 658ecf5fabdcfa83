//! The folders that servers keep their files in: kept ones, temporary ones, and the lock that says whose they are.
//!
//! Temporary folders live side by side in one folder per user, `TMP/tidegate-UID`. Each holds a lock file, locked for as
//! long as its program lives, so that whoever comes later can tell and remove what a killed program left behind.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{ServiceError, process::GLANCE};

/// How long a program that is just ending may hold on to its folder.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(10);
/// How much of a log's end is shown when a server does not start.
const TAIL: u64 = 2_000;

/// A folder that this program holds alone, until the value is dropped.
pub(crate) struct Folder {
    path: PathBuf,
    // Declared before the temporary folder: the lock is released before the folder goes, and nobody minds.
    _lock: File,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// Creates `path` if need be and holds it; it stays when the value is dropped.
    pub(crate) fn kept(path: &Path) -> Result<Self, ServiceError> {
        fs::create_dir_all(path).map_err(ServiceError::folder("create", path))?;
        let path = path
            .canonicalize()
            .map_err(ServiceError::folder("find", path))?;
        let lock = open_lock(&path)?;
        let end = Instant::now() + HAND_OVER;
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _lock: lock,
                        _temporary: None,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(10 * GLANCE),
                Err(TryLockError::WouldBlock) => {
                    return Err(ServiceError::InUse {
                        path,
                        holder: "another running tidegate".to_owned(),
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(ServiceError::Folder {
                        action: "lock",
                        path,
                        source,
                    });
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder that holds this user's temporary folders; the lock on it is held while the value lives.
pub(crate) struct Nursery {
    path: PathBuf,
    _lock: File,
}

impl Nursery {
    /// Enters `TMP/tidegate-UID`, waiting for others to leave it.
    pub(crate) fn enter() -> Result<Self, ServiceError> {
        // SAFETY: geteuid takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        let path = env::temp_dir().join(format!("tidegate-{user}"));
        match fs::DirBuilder::new().mode(0o711).create(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(ServiceError::Folder {
                    action: "create",
                    path,
                    source,
                });
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(&path).map_err(ServiceError::folder("read", &path))?;
        // The name can be guessed: someone else may have been there first.
        if !metadata.is_dir() || metadata.uid() != user {
            return Err(ServiceError::InUse {
                path,
                holder: "another user".to_owned(),
            });
        }
        // A strict umask would keep the server's user out.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))
            .map_err(ServiceError::folder("open", &path))?;
        let lock = open_lock(&path)?;
        lock.lock().map_err(ServiceError::folder("lock", &path))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder, removed when its value is dropped. What killed programs left is removed first.
    pub(crate) fn temporary(&self, prefix: &str) -> Result<Folder, ServiceError> {
        self.sweep(prefix);
        let temporary = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.path)
            .map_err(ServiceError::folder("create a folder in", &self.path))?;
        let path = temporary.path().to_owned();
        let lock = open_lock(&path)?;
        lock.lock().map_err(ServiceError::folder("lock", &path))?;
        Ok(Folder {
            path,
            _lock: lock,
            _temporary: Some(temporary),
        })
    }

    fn sweep(&self, prefix: &str) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        {
            let abandoned =
                File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
            if abandoned {
                // What cannot be removed yet, because its server is still ending, falls to the next sweep.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn open_lock(folder: &Path) -> Result<File, ServiceError> {
    let path = folder.join("lock");
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(ServiceError::folder("open", path))
}

/// The end of a log file, or nothing when it cannot be read.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}

/// A port of 127.0.0.1 that nobody listens on at this moment. It may be taken before it is used: callers try again.
pub(crate) fn free_port() -> Result<u16, ServiceError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ServiceError::folder("find a free port on", "127.0.0.1"))
}
