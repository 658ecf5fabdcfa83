//! The few ways in which a private server fails to start.

use std::{io, path::PathBuf};

/// Why a private server could not be started. The text is meant for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The server's binaries are not on this machine.
    #[error(
        "no {server} server on this machine; install it with: apt-get install postgresql redis-server"
    )]
    Missing {
        /// `postgresql` or `redis-server`: the name of the package.
        server: &'static str,
    },
    /// There is no PostgreSQL with the extension `vector` for the tests.
    #[error("no postgresql with pgvector for this user: setup/prepare test puts one into /var/tmp")]
    NoVectors,
    /// A folder or a file could not be made, read or changed.
    #[error("cannot {action} {}: {source}", path.display())]
    Folder {
        /// What was tried, as a verb: `create`, `lock`.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// PostgreSQL refuses to run as root and the user it runs as instead cannot enter the folder.
    #[error("the user {user}, as whom postgresql runs, cannot enter {}; choose a folder outside of root's home", path.display())]
    Unreachable {
        /// The user that the server runs as.
        user: String,
        /// The outermost folder that is closed to the user.
        path: PathBuf,
    },
    /// Another program uses the folder's data.
    #[error("{} is in use by {holder}", path.display())]
    InUse {
        /// The folder that was asked for.
        path: PathBuf,
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// The server's program ended, or did not become ready in time.
    #[error("{server} did not start: {reason}\n{log}")]
    Failed {
        /// `postgresql`, `initdb` or `redis-server`.
        server: &'static str,
        /// What was seen from outside.
        reason: String,
        /// The last lines of the server's own log.
        log: String,
    },
}

impl ServiceError {
    /// Turns an I/O error into one that says what was tried, and on what.
    pub(crate) fn folder(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Folder {
            action,
            path,
            source,
        }
    }
}
