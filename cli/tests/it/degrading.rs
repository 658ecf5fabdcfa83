//! PostgreSQL dies and comes back, with a real edge before a real origin: what was read is still served and says that it
//! is stale, writes are refused for a moment, events are accepted, and nothing that was accepted is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tidegate_services::Postgres;

use crate::command::{finish, tidegate};
use crate::http::{Answer, get, send};
use crate::running::Demo;

/// How long anything may take to arrive; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn until(what: &str, mut ask: impl FnMut() -> Answer, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "not {what}: {} {}, {}",
            answer.status,
            answer.field("cache-status"),
            answer.body
        );
    }
}

fn view(edge: &str) -> Answer {
    let event = r#"{"event_type":"course_view","event_data":{"course_id":3}}"#;
    send(edge, "POST", "/events", &JSON, event)
}

#[test]
fn without_postgres_reads_are_stale_writes_refused_and_events_accepted() {
    let mut postgres = Postgres::ephemeral().unwrap();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let url = postgres.url();
    let demo = Demo::start_with(folder.path(), |command| {
        command.env("DATABASE_URL", url);
    });
    let edge = demo.edge();
    let stored = until("stored", || get(&edge, "/courses/3"), Answer::is_hit);

    postgres.kill();
    let softly = finish(
        tidegate()
            .args(["purge", "--soft", "--tag", "course:3"])
            .args(["--admin", &demo.admin()])
            .env("TIDEGATE_ADMIN_TOKEN", demo.admin_token()),
    );
    assert_eq!(softly.code, Some(0), "{}", softly.err);

    // For a minute because it is refreshed behind the client's back, in vain; then because that fails.
    let stale = until(
        "said to be stale",
        || get(&edge, "/courses/3"),
        |answer| answer.field("cache-status").contains("detail=stale-"),
    );
    assert_eq!((stale.status, &stale.body), (200, &stored.body));

    let person = r#"{"email":"a@b.example","username":"abcd","full_name":"A B"}"#;
    for refused in [
        send(&edge, "POST", "/users", &JSON, person),
        get(&edge, "/courses/1"),
    ] {
        assert_eq!(refused.status, 503, "{}", refused.body);
        let wait: u32 = refused.field("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let accepted = view(&edge);
    assert_eq!(accepted.status, 202, "{}", accepted.body);

    postgres.restart().unwrap();
    let mut asked = 0;
    until(
        "counted, as was promised",
        || {
            // Each time another URL, since the edge keeps an answer for a minute.
            asked += 1;
            get(&edge, &format!("/courses/3/views?asked={asked}"))
        },
        |answer| answer.status == 200 && answer.body.contains("\"views\":1"),
    );
    until(
        "written again",
        || send(&edge, "POST", "/users", &JSON, person),
        |answer| answer.status == 201,
    );
}
