//! A statement by hand, in `psql`, purges real edges.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_services::{Postgres, Redis, psql};

use crate::command::{finish, tidegate};
use crate::http::{Answer, get};
use crate::process::Running;
use crate::running::Demo;

/// How long a change may take to arrive; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

/// Asks again until the answer is as wanted.
fn until(edge: &str, path: &str, what: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = get(edge, path);
        if is_so(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "{path} in vain: {what}, but {}",
            answer.body
        );
    }
}

#[test]
fn a_plain_update_in_psql_purges_what_shows_the_row() {
    let folder = folder();
    let demo = Demo::start(folder.path());
    let edge = demo.edge();
    for path in ["/courses/1", "/courses", "/courses/2"] {
        until(&edge, path, "it is stored", Answer::is_hit);
    }
    let update = "UPDATE courses SET title = 'Changed by hand' WHERE id = 1;";
    psql(&demo.postgres(), update).unwrap();
    for path in ["/courses/1", "/courses"] {
        until(&edge, path, "the change is shown", |answer| {
            answer.body.contains("Changed by hand")
        });
    }
    assert!(get(&edge, "/courses/2").is_hit(), "another course fell too");

    // A statement that touches more than a thousand rows: all of the table falls, by one tag.
    let many = "INSERT INTO courses (title, category, difficulty_level, max_students)
                SELECT 'filler', 'c', 'beginner', 1 FROM generate_series(1, 1001);
                UPDATE courses SET description = 'all of them';";
    psql(&demo.postgres(), many).unwrap();
    until(&edge, "/courses/2", "the change is shown", |answer| {
        answer.body.contains("all of them")
    });
}

#[test]
fn a_plain_update_purges_edges_that_share_no_redis() {
    let postgres = Postgres::ephemeral().unwrap();
    let folder = folder();
    let admins = [free(), free()];
    let origin = Running::start(
        tidegate()
            .args(["origin", "--listen", "127.0.0.1:0", "--seed"])
            .env("DATABASE_URL", postgres.url())
            .env("TIDEGATE_EDGES", admins.join(", "))
            .env("TIDEGATE_ADMIN_TOKEN", "admin")
            .env("TIDEGATE_SERVICE_TOKEN", "secret"),
    );
    let edges = admins.each_ref().map(|admin| {
        let file = folder.path().join(format!("{}.toml", admin.replace(':', "-")));
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"{admin}\"\nadmin_token = \"admin\"\nworkers = 1\n\
             [purge]\nrecord_limit = \"1000/s\"\n\
             [origins.app]\nurl = \"http://{}\"\nheaders = {{ \"x-service-token\" = \"secret\" }}\n\
             [[routes]]\npath = \"/\"\norigin = \"app\"\n",
            origin.address
        );
        fs::write(&file, text).expect("the folder is ours");
        Running::start(tidegate().args(["run", "-c"]).arg(&file))
    });
    let course = psql(&postgres.url(), "SELECT min(id) FROM courses;").unwrap();
    let path = format!("/courses/{}", course.trim());
    for edge in &edges {
        until(&edge.address, &path, "it is stored", Answer::is_hit);
    }
    // More than the edges take at once stands before it in the outbox.
    let update = format!(
        "INSERT INTO documents SELECT lpad(n::text, 4, '0'), '1' FROM generate_series(1, 2700) n;
         BEGIN;
         UPDATE documents SET data = '2' WHERE key <= '0900';
         UPDATE documents SET data = '2' WHERE key BETWEEN '0901' AND '1800';
         UPDATE documents SET data = '2' WHERE key > '1800';
         COMMIT;
         UPDATE courses SET title = 'Changed by hand' WHERE id = {};",
        course.trim()
    );
    psql(&postgres.url(), &update).unwrap();
    for edge in &edges {
        until(&edge.address, &path, "the change is shown", |answer| {
            answer.body.contains("Changed by hand")
        });
    }
}

/// An address that nobody listens on: it was free a moment ago.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn a_database_of_ones_own_is_watched_by_the_printed_sql_and_relayed_by_itself() {
    let postgres = Postgres::ephemeral().unwrap();
    let redis = Redis::ephemeral().unwrap();
    let relay = |command: &mut Command| {
        command
            .args(["relay", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url());
    };
    let mut early = tidegate();
    relay(&mut early);
    let refused = finish(&mut early);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("relay --print-sql"), "{}", refused.err);

    let printed = finish(tidegate().args(["relay", "--print-sql"]));
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    psql(&postgres.url(), &printed.out).unwrap();
    let statements =
        "CREATE TABLE products (id int); SELECT tidegate_watch('products', 'product', 'id');
                      INSERT INTO products VALUES (7);";
    psql(&postgres.url(), statements).unwrap();
    let mut command = tidegate();
    relay(&mut command);
    let relay = Running::start(&mut command);
    let delivered = |answer: &Answer| answer.body.contains("tidegate_outbox_tags_total 1");
    until(
        &relay.address,
        "/metrics",
        "the tag is delivered",
        delivered,
    );
    assert_eq!(get(&relay.address, "/health").status, 200);
    let tables = psql(
        &postgres.url(),
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public';",
    );
    assert_eq!(tables.unwrap().trim(), "2", "it made tables of its own");
}

#[test]
fn what_falls_by_an_update_is_fetched_from_a_replica_that_shows_it_and_from_no_other() {
    let postgres = Postgres::ephemeral().unwrap();
    let replica = postgres.replica().unwrap();
    let redis = Redis::ephemeral().unwrap();
    let folder = folder();
    let origin = Running::start(
        tidegate()
            .args(["origin", "--listen", "127.0.0.1:0", "--seed"])
            .env("DATABASE_URL", postgres.url())
            .env("DATABASE_REPLICA_URL", replica.url())
            .env("TIDEGATE_REPLICA_DEADLINE_MS", "30000")
            .env("REDIS_URL", redis.url())
            .env("TIDEGATE_SERVICE_TOKEN", "secret"),
    );
    let file = folder.path().join("edge.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[redis]\nurl = \"{}\"\n\
         [origins.app]\nurl = \"http://{}\"\nreplicas = true\nheaders = {{ \"x-service-token\" = \"secret\" }}\n\
         [[routes]]\npath = \"/\"\norigin = \"app\"\n",
        redis.url(),
        origin.address
    );
    fs::write(&file, text).expect("the folder is ours");
    let edge = Running::start(tidegate().args(["run", "-c"]).arg(&file));
    const PATH: &str = "/read/document/welcome";
    let update_and_see = |text: &str| {
        let update = format!("UPDATE documents SET data = '\"{text}\"' WHERE key = 'welcome';");
        psql(&postgres.url(), &update).unwrap();
        until(&edge.address, PATH, "the change is shown", |answer| {
            answer.body.contains(text)
        });
    };
    let counted = |metric: &str| {
        let metrics = get(&origin.address, "/metrics").body;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
        value.unwrap_or(0.0)
    };
    let reads = || counted("tidegate_replica_reads_total ");
    update_and_see("early");
    let end = Instant::now() + PATIENCE;
    // Each of these is another page to the edge. The replica gets there when the primary has written its page out.
    for look in 0.. {
        get(&edge.address, &format!("{PATH}?look={look}"));
        if reads() > 0.0 {
            break;
        }
        assert!(Instant::now() < end, "the replica is never read");
    }

    psql(&replica.url(), "SELECT pg_wal_replay_pause();").unwrap();
    let end = Instant::now() + PATIENCE;
    let state = "SELECT pg_get_wal_replay_pause_state();";
    while psql(&replica.url(), state).unwrap().trim() != "paused" {
        assert!(Instant::now() < end, "the replica never holds");
    }
    // A fetch from before this change was recorded may still be answered there. That its text is seen says that the
    // primary was asked, for the record; none asks for less from now on.
    update_and_see("late");
    let before = reads();
    for round in 0..5 {
        update_and_see(&format!("late {round}"));
    }
    assert_eq!(reads(), before, "a replica that is behind was read");
    assert!(counted("tidegate_replica_fallbacks_total{reason=\"Behind\"} ") >= 5.0);
}
