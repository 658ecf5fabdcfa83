//! The demo starts everything, shows what it says it shows, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::command::{finish, tidegate};
use crate::http::{Answer, get, send};
use crate::running::Demo;

/// Started as root, Postgres runs as another user, who must be able to enter.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

/// Asks until it is answered from cache: purges of earlier writes, the sample data's for one, may still be on their way.
fn hit(edge: &str, path: &str) -> Answer {
    let mut answers = (0..10_000).map(|_| get(edge, path));
    answers
        .find(Answer::is_hit)
        .expect("what is purged no more is answered from cache")
}

#[test]
fn it_shows_a_miss_a_hit_a_purge_and_a_rate_limit_and_leaves_no_process_behind() {
    let folder = folder();
    let demo = Demo::start(folder.path());
    let edge = demo.edge();

    let miss = get(&edge, "/courses/1");
    assert_eq!(miss.status, 200, "{}", miss.body);
    assert!(!miss.is_hit(), "{}", miss.field("cache-status"));
    assert_eq!(hit(&edge, "/courses/1").body, miss.body);

    assert_eq!(send(&edge, "PURGE", "/courses/1", &[], "").status, 401);
    let token = format!("Bearer {}", demo.purge_token());
    let receipt = send(
        &edge,
        "PURGE",
        "/courses/1",
        &[("authorization", &token)],
        "",
    );
    assert_eq!(receipt.status, 200, "{}", receipt.body);
    assert!(!get(&edge, "/courses/1").is_hit());
    hit(&edge, "/courses/1");

    let purged = finish(
        tidegate()
            .args(["purge", "--tag", "course:1", "--admin", &demo.admin()])
            .env("TIDEGATE_ADMIN_TOKEN", demo.admin_token()),
    );
    assert_eq!(purged.code, Some(0), "{}", purged.err);
    assert!(!get(&edge, "/courses/1").is_hit());

    // Ten a minute; requests that Redis did not count in time are counted beside it, another ten at most.
    let root = [("authorization", &*demo.user("ROOT"))];
    let stats = || send(&edge, "GET", "/stats", &root, "").status;
    let answers: Vec<u16> = (0..30).map(|_| stats()).collect();
    assert_eq!(answers[..10], [200; 10]);
    assert!(answers.contains(&429), "{answers:?}");

    let below = demo.descendants();
    for server in ["postgres", "redis-server"] {
        assert!(
            below.iter().any(|process| process.name == server),
            "no {server} in {below:?}"
        );
    }
    assert_eq!(demo.end(libc::SIGINT), Some(0));
    let left: Vec<_> = below.iter().filter(|process| process.is_alive()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_second_start_finds_the_same_data() {
    let folder = folder();
    let first = Demo::start(folder.path());
    let json = [
        ("content-type", "application/json"),
        ("authorization", &*first.user("ADA")),
    ];
    let written = send(
        &first.edge(),
        "POST",
        "/write/document",
        &json,
        r#"{"key":"kept","data":{"tide":"in"}}"#,
    );
    assert!(
        (200..300).contains(&written.status),
        "{} {}",
        written.status,
        written.body
    );
    assert_eq!(first.end(libc::SIGTERM), Some(0));

    let second = Demo::start(folder.path());
    let read = get(&second.edge(), "/read/document/kept");
    assert_eq!(read.status, 200, "{}", read.body);
    assert!(read.body.contains("tide"), "{}", read.body);
    assert_eq!(second.end(libc::SIGTERM), Some(0));
}

#[test]
fn a_write_purges_what_shows_it() {
    let folder = folder();
    let demo = Demo::start(folder.path());
    let edge = demo.edge();
    let json = [
        ("content-type", "application/json"),
        ("authorization", &*demo.user("ADA")),
    ];
    send(
        &edge,
        "POST",
        "/write/document",
        &json,
        r#"{"key":"a","data":{"tide":"in"}}"#,
    );
    assert!(hit(&edge, "/read/document/a").body.contains("in"));

    send(
        &edge,
        "POST",
        "/write/document",
        &json,
        r#"{"key":"a","data":{"tide":"out"}}"#,
    );
    // The relay carries the purge to the log, and the edge follows the log: both are quick, neither is immediate.
    let mut answers = (0..10_000).map(|_| get(&edge, "/read/document/a").body);
    assert!(
        answers.any(|body| body.contains("out")),
        "the old document stays"
    );
    assert_eq!(demo.end(libc::SIGTERM), Some(0));
}

#[test]
fn users_are_limited_each_by_what_they_do() {
    let folder = folder();
    let demo = Demo::start(folder.path());
    let edge = demo.edge();
    let make = |user: &str| {
        let fields = [
            ("content-type", "application/json"),
            ("authorization", user),
        ];
        send(&edge, "POST", "/circles", &fields, r#"{"name":"Tides"}"#).status
    };
    let (ada, ben) = (demo.user("ADA"), demo.user("BEN"));
    // Two a day; requests that Redis did not count in time are counted beside it, another two at most.
    let answers: Vec<u16> = (0..5).map(|_| make(&ben)).collect();
    assert_eq!(answers[..2], [201; 2]);
    assert_eq!(answers[4], 429, "{answers:?}");
    assert_eq!(make(&ada), 201);
    assert_eq!(get(&edge, "/circles").status, 200);
    assert_eq!(make("Bearer of.no.good"), 401);
}

#[test]
fn what_is_a_users_own_is_kept_for_their_token_alone_and_falls_when_it_changes() {
    let folder = folder();
    let demo = Demo::start(folder.path());
    let edge = demo.edge();
    let ask = |user: &str| send(&edge, "GET", "/users/2", &[("authorization", user)], "");
    let (ben, root) = (demo.user("BEN"), demo.user("ROOT"));
    let mut answers = (0..10_000).map(|_| ask(&ben));
    let kept = answers.find(Answer::is_hit).expect("it is kept for Ben");
    assert_eq!(kept.status, 200);
    assert!(kept.field("cache-control").starts_with("private"));

    let other = ask(&root);
    assert!(other.status == 200 && !other.is_hit());
    assert_eq!(get(&edge, "/users/2").status, 401);
    assert_eq!(ask(&demo.user("ADA")).status, 403);
    assert_eq!(ask("Bearer of.no.good").status, 401);

    let change = r#"{"full_name":"Ben of the Quay"}"#;
    let json = [
        ("authorization", &*ben),
        ("content-type", "application/json"),
    ];
    assert_eq!(send(&edge, "PATCH", "/users/2", &json, change).status, 200);
    for user in [&ben, &root] {
        let mut answers = (0..10_000).map(|_| ask(user));
        assert!(
            answers.any(|answer| answer.body.contains("Quay")),
            "the old name stays"
        );
    }
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let nowhere = tempfile::tempdir().unwrap();
    let rows = [
        vec![
            "demo",
            "--listen",
            &address,
            "--admin",
            "127.0.0.1:0",
            "--data",
        ],
        vec![
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            &address,
            "--data",
        ],
    ];
    for arguments in rows {
        let ended = finish(tidegate().args(&arguments).arg(nowhere.path()));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(
            ended.err.contains(&format!("{address} is in use")),
            "{}",
            ended.err
        );
    }
    assert_eq!(
        fs::read_dir(nowhere.path()).unwrap().count(),
        0,
        "nothing was started for it"
    );

    let run = [
        "run",
        "--origin",
        "http://127.0.0.1:1",
        "--listen",
        &address,
    ];
    let ended = finish(tidegate().args(run));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let expected = format!("tidegate: cannot listen on {address}: Address already in use");
    assert!(ended.err.contains(&expected), "{}", ended.err);
}
