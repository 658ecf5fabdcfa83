//! Nothing that was committed is lost between the database and the purge log, however often the relay dies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tidegate_services::{Postgres, Redis, psql};

use crate::command::tidegate;
use crate::process::Running;

const COMMITS: usize = 1_000;
/// How often the relay is killed.
const DEATHS: usize = 10;
/// How long the rest may take to be delivered; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

fn ask(redis: &Redis, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream
        .write_all(format!("{words}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// How many entries the log has.
fn length(redis: &Redis) -> usize {
    let answer = ask(redis, "XLEN tidegate:log");
    let number = answer.trim_start_matches(':').lines().next().unwrap();
    number.parse().expect("a number of entries")
}

/// How many rows wait that nobody holds.
fn free_rows(url: &str) -> usize {
    let count = "SELECT count(*) FROM (SELECT FROM outbox FOR UPDATE SKIP LOCKED) AS free;";
    psql(url, count).unwrap().trim().parse().unwrap()
}

fn relay(postgres: &Postgres, redis: &Redis) -> Running {
    Running::start(
        tidegate()
            .args(["origin", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url())
            .env("TIDEGATE_SERVICE_TOKEN", "secret"),
    )
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_relay_that_is_killed_ten_times_while_rows_are_committed_loses_no_purge() {
    let postgres = Postgres::ephemeral().unwrap();
    let redis = Redis::ephemeral().unwrap();
    // The schema is made by the first of them.
    relay(&postgres, &redis).kill();
    let url = postgres.url();
    let share = COMMITS / DEATHS;
    for death in 0..DEATHS {
        let first = death * share;
        let statements: String = (first..first + share)
            .map(|n| format!("INSERT INTO documents VALUES ('n{n}', '1');\n"))
            .collect();
        let commit = || psql(&url, &statements).unwrap();
        if death % 2 == 0 {
            // In the midst of an append, which Redis holds back and drops with its client.
            assert!(ask(&redis, "CLIENT PAUSE 60000 WRITE").starts_with("+OK"));
            let waiting = free_rows(&url) + share;
            let relay = relay(&postgres, &redis);
            commit();
            until("the relay has taken rows", || free_rows(&url) < waiting);
            relay.kill();
            assert!(ask(&redis, "CLIENT UNPAUSE").starts_with("+OK"));
        } else {
            // At some moment, while commits go on.
            let before = length(&redis);
            let relay = relay(&postgres, &redis);
            thread::scope(|scope| {
                let committing = scope.spawn(commit);
                until("the relay has begun", || length(&redis) > before);
                relay.kill();
                committing.join().unwrap();
            });
        }
    }
    let waiting = psql(&url, "SELECT count(*) FROM outbox;").unwrap();
    let last = relay(&postgres, &redis);
    until("the outbox is empty", || {
        psql(&url, "SELECT count(*) FROM outbox;").unwrap().trim() == "0"
    });
    last.kill();
    let log = ask(&redis, "XRANGE tidegate:log - +");
    let lost: Vec<usize> = (0..COMMITS)
        .filter(|n| !log.contains(&format!("\"document:n{n}\"")))
        .collect();
    let appended = length(&redis);
    println!(
        "{COMMITS} commits, {DEATHS} deaths, {} rows left to the last relay, {appended} entries in the log, {} lost",
        waiting.trim(),
        lost.len()
    );
    assert_eq!(lost, Vec::<usize>::new());
}
