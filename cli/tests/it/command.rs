//! The binary, run to its end.

use std::path::Path;
use std::process::{Command, Stdio};

/// How a run ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary, with nothing in its environment that would lead it elsewhere.
pub(crate) fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.stdin(Stdio::null());
    let ours = |name: &str| {
        name.starts_with("TIDEGATE_")
            || ["DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL"].contains(&name)
    };
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn finish(command: &mut Command) -> Ended {
    let output = command.output().expect("the program can be started");
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A file or folder of the repository.
pub(crate) fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
