//! `setup/prepare` leaves a machine alone that has everything, and is plain about one that it may not change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{Ended, finish, repository};

/// A machine on which the programs in `hidden` are missing, and `apt-get`, `sudo` and `rustup` only tell of their call.
fn prepare(purpose: &str, user: &str, hidden: &[&str]) -> (Ended, String) {
    let machine = tempfile::tempdir().expect("a temporary folder can be made");
    let programs = machine.path().join("programs");
    fs::create_dir(&programs).expect("it is ours");
    let calls = machine.path().join("calls");
    for name in ["apt-get", "sudo", "rustup"] {
        program(
            &programs.join(name),
            &format!("echo \"{name} $*\" >> {}\nexit 1", calls.display()),
        );
    }
    program(&programs.join("id"), &format!("echo {user}"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    for entry in std::env::split_paths(&path)
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        if !hidden.contains(&name.to_str().unwrap_or_default()) {
            // The first in PATH wins, as it does in a shell.
            let _ = symlink(entry.path(), programs.join(&name));
        }
    }
    let mut command = Command::new(repository("setup/prepare"));
    command
        .arg(purpose)
        .env("PATH", &programs)
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .stdin(Stdio::null());
    let ended = finish(&mut command);
    (ended, fs::read_to_string(calls).unwrap_or_default())
}

fn program(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).expect("it is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn where_nothing_is_missing_nothing_is_called() {
    let (ended, calls) = prepare("test", "0", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(calls, "");
}

#[test]
fn what_may_not_be_installed_is_named_in_one_line() {
    let (ended, calls) = prepare("test", "1000", &["redis-server", "cc"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert!(
        ended
            .err
            .contains("apt-get install gcc libc6-dev redis-server"),
        "{}",
        ended.err
    );
    assert_eq!(
        calls, "sudo -n true\n",
        "nothing but the question whether it may"
    );
}

#[test]
fn the_demo_does_without_redis_where_it_may_not_be_installed() {
    let (ended, _) = prepare("run", "1000", &["redis-server"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("memory alone"), "{}", ended.err);
}

#[test]
fn building_needs_no_servers() {
    let (ended, calls) = prepare("build", "1000", &["redis-server"]);
    assert_eq!((ended.code, calls.as_str()), (Some(0), ""), "{}", ended.err);
}

#[test]
fn a_purpose_that_does_not_exist_is_refused() {
    let (ended, _) = prepare("elsewhere", "1000", &[]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("no purpose named \"elsewhere\""),
        "{}",
        ended.err
    );
}

#[test]
fn the_comparison_does_without_rivals_that_may_not_be_installed() {
    let (ended, calls) = prepare("rivals", "1000", &["redis-server", "varnishd"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert!(ended.err.contains("redis-server"), "{}", ended.err);
    assert!(!calls.contains("apt-get"), "{calls}");
}
