//! An edge that is told to stop while it starts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tidegate_services::Redis;

use crate::command::tidegate;

/// Far longer than a start takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn terminate(child: &Child) {
    let id = libc::pid_t::try_from(child.id()).expect("a process number fits");
    // SAFETY: kill takes two integers, and the child has not been waited for.
    unsafe { libc::kill(id, libc::SIGTERM) };
}

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
    terminate(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(
        !rest.iter().any(|line| line.contains("listening")),
        "{rest:?}"
    );
}

/// How many edges are on the roll.
fn on_the_roll(redis: &Redis) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    stream
        .write_all(b"HLEN tidegate:edges\r\nQUIT\r\n")
        .expect("it takes commands");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_start_that_is_stopped_leaves_nobody_on_the_roll() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let redis = Redis::ephemeral().expect("redis-server is installed");
    // What keeps no purges is waited for too, after the edge has come onto the roll.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let silent = silent.local_addr().map(|address| (silent, address));
    let (_silent, address) = silent.expect("it is bound");
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n\
         [log]\nurl = {:?}\n[redis]\nurl = \"redis://{address}\"\n\
         [origins.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\norigin = \"app\"\n",
        redis.url()
    );
    let file = folder.path().join("edge.toml");
    fs::write(&file, settings).expect("a temporary file can be written");
    let mut command = tidegate();
    let command = command.arg("run").arg("-c").arg(&file);
    let child = command.stderr(Stdio::null()).spawn();
    let mut child = child.expect("the binary can be started");
    let until = Instant::now() + PATIENCE;
    while on_the_roll(&redis) != ":1" {
        assert!(Instant::now() < until, "it never came onto the roll");
        std::thread::sleep(Duration::from_millis(5));
    }
    terminate(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(on_the_roll(&redis), ":0");
}
