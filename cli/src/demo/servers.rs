//! Postgres and Redis for the demo: those that the environment names, else private ones in the demo's folder.

use std::path::{Path, PathBuf};

use tidegate_services::{Postgres, Redis, missing_packages};

use super::guide;
use crate::environment::set;
use crate::failure::Failure;

/// The servers that the demo stands on. Private ones stop when this is dropped; their data stays.
pub(super) struct Servers {
    postgres: Source<Postgres>,
    redis: Option<Source<Redis>>,
    redis_url: Option<String>,
    folder: PathBuf,
}

/// Where a server comes from.
enum Source<Server> {
    /// Somebody else's, at this URL.
    Given(String),
    /// Our own.
    Private(Server),
}

impl Servers {
    /// # Errors
    /// When a private server is needed and cannot be started; its absence is an error for Postgres alone.
    pub(super) fn start(folder: Option<PathBuf>) -> Result<Servers, Failure> {
        let folder = folder.map_or_else(usual_folder, Ok)?;
        let postgres = match set("DATABASE_URL") {
            Some(url) => Source::Given(url),
            None => Source::Private(start_postgres(&folder)?),
        };
        let redis = match set("REDIS_URL") {
            Some(url) => Some(Source::Given(url)),
            None => start_redis(&folder)?.map(Source::Private),
        };
        let redis_url = redis.as_ref().map(|redis| match redis {
            Source::Given(url) => url.clone(),
            Source::Private(server) => server.url(),
        });
        Ok(Servers {
            postgres,
            redis,
            redis_url,
            folder,
        })
    }

    pub(super) fn postgres_url(&self) -> String {
        match &self.postgres {
            Source::Given(url) => url.clone(),
            Source::Private(server) => server.url(),
        }
    }

    /// None where the edge has to live on its memory.
    pub(super) fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_deref()
    }

    /// Where Postgres is, in words. A given URL may hold a password, so it is not shown.
    pub(super) fn postgres(&self) -> String {
        match &self.postgres {
            Source::Given(_) => "the one in DATABASE_URL".to_owned(),
            Source::Private(server) => format!("{} (private)", server.url()),
        }
    }

    /// Where Redis is, in words.
    pub(super) fn redis(&self) -> String {
        match &self.redis {
            None => "none: the edge runs on memory alone".to_owned(),
            Some(Source::Given(_)) => "the one in REDIS_URL".to_owned(),
            Some(Source::Private(server)) => format!("{} (private)", server.url()),
        }
    }

    /// Where the data of private servers is, if there are any.
    pub(super) fn folder(&self) -> Option<&Path> {
        let private = matches!(self.postgres, Source::Private(_))
            || matches!(self.redis, Some(Source::Private(_)));
        private.then_some(&self.folder)
    }
}

fn start_postgres(folder: &Path) -> Result<Postgres, Failure> {
    let folder = folder.join("postgres");
    if !folder.join("data").exists() {
        guide::say(&format!(
            "creating a Postgres database in {}",
            folder.display()
        ));
    }
    Postgres::start_in(&folder).map_err(Failure::failed)
}

fn start_redis(folder: &Path) -> Result<Option<Redis>, Failure> {
    if missing_packages().contains(&"redis-server") {
        return Ok(None);
    }
    Redis::start_in(&folder.join("redis"))
        .map(Some)
        .map_err(Failure::failed)
}

/// As root, Postgres runs as another user, who cannot see into root's home.
fn usual_folder() -> Result<PathBuf, Failure> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return Ok(PathBuf::from("/var/lib/tidegate-demo"));
    }
    set("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .map(|folder| folder.join("tidegate"))
        .ok_or_else(|| {
            Failure::refused(
                "neither XDG_DATA_HOME nor HOME is set; say where data goes with --data",
            )
        })
}
