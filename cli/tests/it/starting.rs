//! An edge that is told to stop while it starts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use crate::command::tidegate;

#[test]
fn a_start_that_takes_long_can_be_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // A purge log that never answers is waited for at the start.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let log = silent.local_addr().expect("it is bound");
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[log]\nurl = \"redis://{log}\"\n\
         [plugins.idle]\nfile = \"builtin:rate-limit\"\n\
         [origins.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\norigin = \"app\"\n"
    );
    let file = folder.path().join("edge.toml");
    fs::write(&file, settings).expect("a temporary file can be written");
    let mut command = tidegate();
    let command = command.arg("run").arg("-c").arg(&file);
    let mut child = command
        .env("TIDEGATE_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    let log = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    let warning = lines.find(|line| line.contains("no route uses this plugin"));
    assert!(warning.is_some_and(|line| line.contains("\"plugin\":\"idle\"")));
    let id = libc::pid_t::try_from(child.id()).expect("a process number fits");
    // SAFETY: kill takes two integers, and the child has not been waited for.
    unsafe { libc::kill(id, libc::SIGTERM) };
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(
        !rest.iter().any(|line| line.contains("listening")),
        "{rest:?}"
    );
}
