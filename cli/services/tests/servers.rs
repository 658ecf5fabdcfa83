//! Real servers: what they promise to the demo and the tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use tidegate_services::{Postgres, Redis, ServiceError, missing_packages, psql};

/// Says something to Redis in its inline protocol, and returns the whole answer.
fn ask(redis: &Redis, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream
        .write_all(format!("{words}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A folder that the server's user can reach, wherever the tests' own folder is.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Asks the server whether a connection may begin, by its own protocol: the first byte of the answer is `R`
/// (an authentication message) when the database exists, `E` when it does not.
fn connect(port: u16, database: &str) -> Option<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let parameters = format!("user\0postgres\0database\0{database}\0\0");
    let mut message = ((parameters.len() + 8) as u32).to_be_bytes().to_vec();
    message.extend(196_608_u32.to_be_bytes());
    message.extend(parameters.as_bytes());
    stream.write_all(&message).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    Some(first[0])
}

fn servers_in(folder: &Path) -> usize {
    let folder = folder.canonicalize().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder))
        })
        .count()
}

#[test]
fn nothing_is_missing_on_a_machine_that_runs_these_tests() {
    assert_eq!(missing_packages(), Vec::<&str>::new());
}

#[test]
fn ephemeral_postgres_has_our_database_and_leaves_nothing_behind() {
    let postgres = Postgres::ephemeral().unwrap();
    let port = postgres.port();
    assert_eq!(
        postgres.url(),
        format!("postgres://postgres@127.0.0.1:{port}/tidegate")
    );
    assert_eq!(connect(port, "tidegate"), Some(b'R'));
    postgres.stop();
    assert_eq!(connect(port, "tidegate"), None);
}

#[test]
fn settings_of_the_callers_own_stay_over_a_restart_and_commands_are_given_by_the_servers_user() {
    let mut postgres = Postgres::ephemeral_with(&["work_mem=7MB"]).unwrap();
    for _ in 0..2 {
        assert_eq!(
            psql(&postgres.url(), "SHOW work_mem;").unwrap().trim(),
            "7MB"
        );
        postgres.restart().unwrap();
    }
    let whose = postgres.command("id").arg("-u").output().unwrap();
    assert_ne!(
        whose.stdout, b"0\n",
        "a server does not run as root, nor do its commands"
    );
    let version = postgres.command("postgres").arg("--version").output();
    assert!(version.unwrap().status.success());
}

#[test]
fn many_ephemeral_servers_start_at_once_on_ports_of_their_own() {
    let mut ports: Vec<u16> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let postgres = Postgres::ephemeral().unwrap();
                    assert_eq!(connect(postgres.port(), "tidegate"), Some(b'R'));
                    postgres
                })
            })
            .collect();
        let servers: Vec<_> = starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect();
        servers.iter().map(Postgres::port).collect()
    });
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
}

#[test]
fn kept_postgres_starts_again_on_the_same_data_even_after_a_stale_pid_file() {
    let folder = folder();
    let dir = folder.path().join("postgres");
    let postgres = Postgres::start_in(&dir).unwrap();
    assert_eq!(connect(postgres.port(), "tidegate"), Some(b'R'));
    assert!(servers_in(&dir) > 0);
    drop(postgres);
    assert_eq!(servers_in(&dir), 0, "a server outlived its value");

    // A dead server's file, with a number that meanwhile belongs to a process that is no server: ours.
    let file_id = fs::metadata(dir.join("data/PG_VERSION"))
        .unwrap()
        .modified()
        .unwrap();
    fs::write(
        dir.join("data/postmaster.pid"),
        format!("{}\n", std::process::id()),
    )
    .unwrap();
    let postgres = Postgres::start_in(&dir).unwrap();
    assert_eq!(connect(postgres.port(), "tidegate"), Some(b'R'));
    assert_eq!(
        fs::metadata(dir.join("data/PG_VERSION"))
            .unwrap()
            .modified()
            .unwrap(),
        file_id,
        "the data is new"
    );
}

#[test]
fn a_folder_that_the_servers_user_cannot_enter_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = folder();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        return; // Only root runs the server as somebody else.
    }
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    match Postgres::start_in(&closed.join("postgres")) {
        Err(ServiceError::Unreachable { path, .. }) => {
            assert_eq!(path, closed.canonicalize().unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("started in a closed folder"),
    }
}

#[test]
fn redis_is_paused_resumed_killed_and_started_again_on_its_port() {
    let mut redis = Redis::ephemeral().unwrap();
    let port = redis.port();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}/"));
    assert!(ask(&redis, "SET colour green").starts_with("+OK"));
    redis.pause();
    redis.resume();
    assert!(ask(&redis, "GET colour").contains("green"));
    redis.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    redis.restart().unwrap();
    assert_eq!(redis.port(), port);
    assert!(
        ask(&redis, "GET colour").starts_with("$-1"),
        "an ephemeral server kept its data"
    );
    redis.pause();
    drop(redis);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn kept_redis_has_its_data_after_a_restart() {
    let folder = folder();
    let dir = folder.path().join("redis");
    let redis = Redis::start_in(&dir).unwrap();
    assert!(ask(&redis, "SET colour green").starts_with("+OK"));
    redis.stop();
    assert_eq!(servers_in(&dir), 0, "a server outlived its value");
    let redis = Redis::start_in(&dir).unwrap();
    assert!(ask(&redis, "GET colour").contains("green"));
}

#[test]
fn what_was_committed_or_answered_outlives_a_kill() {
    let folder = folder();
    let mut postgres = Postgres::start_in(&folder.path().join("postgres")).unwrap();
    let kept = "CREATE TABLE kept (colour text); INSERT INTO kept VALUES ('green')";
    psql(&postgres.url(), kept).unwrap();
    let mut redis = Redis::durable_in(&folder.path().join("redis")).unwrap();
    assert!(ask(&redis, "SET colour green").starts_with("+OK"));
    postgres.kill();
    redis.kill();
    assert_eq!(servers_in(folder.path()), 0, "a server outlived its kill");
    postgres.restart().unwrap();
    redis.restart().unwrap();
    let found = psql(&postgres.url(), "SELECT colour FROM kept").unwrap();
    assert_eq!(found.trim(), "green");
    assert!(ask(&redis, "GET colour").contains("green"));
}

#[test]
fn a_folder_in_use_is_refused() {
    // Waits for the hand-over first; the other tests run meanwhile.
    let folder = folder();
    let dir = folder.path().join("redis");
    let _running = Redis::start_in(&dir).unwrap();
    assert!(matches!(
        Redis::start_in(&dir),
        Err(ServiceError::InUse { .. })
    ));
}

#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let redis = std::thread::spawn(|| Redis::ephemeral().unwrap())
        .join()
        .unwrap();
    assert!(ask(&redis, "PING").starts_with("+PONG"));
}

/// Not a test by itself: the program that the next test kills.
#[test]
fn program_to_be_killed() {
    if std::env::var_os("TIDEGATE_TEST_TO_BE_KILLED").is_none() {
        return;
    }
    let redis = Redis::ephemeral().unwrap();
    println!("port={}", redis.port());
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
}

#[test]
fn a_server_ends_when_its_program_is_killed() {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["program_to_be_killed", "--exact", "--nocapture"])
        .env("TIDEGATE_TEST_TO_BE_KILLED", "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port: u16 = BufReader::new(program.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().split_once("port=")?.1.trim().parse().ok())
        .expect("the program printed its server's port");
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    // The event to wait for: the server's end of the connection closes.
    assert_eq!(connection.read(&mut [0]).unwrap_or(0), 0);
}
