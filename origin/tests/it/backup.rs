//! What is backed up comes back, by the very commands that `docs/backup.md` names.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use hyper::StatusCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tidegate_origin::Activity;
use tidegate_services::{Postgres, Redis, psql};

use crate::support::{House, activity, config, patiently, told};

const DOCUMENT: &str = include_str!("../../../docs/backup.md");

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("backup")
}

/// A folder that the servers' user may write into, with the scripts where that user can reach them.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.open("");
        fs::create_dir(place.path("scripts")).unwrap();
        place.open("scripts");
        for script in fs::read_dir(scripts()).unwrap() {
            let script = script.unwrap();
            let copy = place.path("scripts").join(script.file_name());
            fs::copy(script.path(), copy).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path as an argument.
    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn open(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn folder(&self, name: &str) -> PathBuf {
        fs::create_dir(self.path(name)).unwrap();
        self.open(name);
        self.path(name)
    }

    /// Runs a script by the user of the server, with its programs.
    fn run(&self, postgres: &Postgres, script: &str, arguments: &[&str]) -> Output {
        let mut command = postgres.command(self.path("scripts").join(script));
        output(command.args(arguments))
    }

    fn done(&self, postgres: &Postgres, script: &str, arguments: &[&str]) {
        succeeded(script, &self.run(postgres, script, arguments));
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

#[track_caller]
fn succeeded(script: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
}

async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Every row of every table, and where every sequence stands: a sum for each.
async fn contents(url: &str) -> BTreeMap<String, String> {
    let mut connection = connection(url).await;
    let names: Vec<(String, String)> = sqlx::query_as(
        "SELECT oid::regclass::text, relkind::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut contents = BTreeMap::new();
    for (name, kind) in names {
        let sum = match kind.as_str() {
            "S" => format!("SELECT last_value || ' ' || is_called FROM {name}"),
            _ => format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '')
                 FROM {name} AS t"
            ),
        };
        let sum: String = sqlx::query_scalar(AssertSqlSafe(sum))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        contents.insert(name, sum);
    }
    contents
}

/// The statements that make the tables, without what differs from one dump to the next.
fn schema(postgres: &Postgres, url: &str) -> Vec<String> {
    let dumped = output(postgres.command("pg_dump").args(["--schema-only", url]));
    succeeded("pg_dump", &dumped);
    let text = String::from_utf8(dumped.stdout).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    // A condition is printed with more or fewer parentheses after it has been read back.
    lines.map(|line| line.replace(['(', ')'], "")).collect()
}

/// Something in every table that the origin writes.
async fn used(house: &House) {
    let ada = house.user("ada").await;
    house.course(3).await;
    let transaction = json!({"user_id": ada, "amount": "19.99", "transaction_type": "purchase"});
    house
        .post_as("once", "/write/transaction", transaction)
        .await
        .expect(StatusCode::OK);
    let document = json!({"key": "sea ✓", "data": {"n": [1.5, null, "ü\\'\""]}});
    house
        .post("/write/document", document)
        .await
        .expect(StatusCode::OK);
    house
        .sql(
            "INSERT INTO enrollments (user_id, course_id) SELECT users.id, courses.id FROM users, courses;
             UPDATE courses SET current_enrollment = 1;
             SELECT tidegate_make_event_days(now() - interval '1 day', now());
             INSERT INTO reactions VALUES ('course:1', 'like', 7);
             INSERT INTO reaction_batches VALUES (gen_random_uuid());
             INSERT INTO drafts VALUES (1, 'diary', 5, '{\"text\": \"…\"}');
             INSERT INTO circles (id, name, member_count) VALUES (1, 'Sailors', 1);
             INSERT INTO circle_members (circle_id, user_id) SELECT 1, id FROM users;
             INSERT INTO messages (circle_id, author_id, text) SELECT 1, id, 'Ahoy…' FROM users;
             INSERT INTO journal_entries (user_id, day, text) SELECT id, '2026-01-01', 'Calm.' FROM users;
             INSERT INTO search_logs (query, search_type) VALUES ('tides', 'full_text')",
        )
        .await;
}

#[test]
fn every_script_is_in_the_document_and_says_how_it_is_used() {
    for script in fs::read_dir(scripts()).unwrap() {
        let path = script.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            DOCUMENT.contains(&format!("/{name} ")),
            "{name} is not in docs/backup.md"
        );
        let used = output(&mut Command::new(&path));
        let said = String::from_utf8(used.stderr).unwrap();
        assert_eq!(used.status.code(), Some(2), "{name}: {said}");
        assert!(
            said.starts_with(&format!("usage: origin/backup/{name} ")),
            "{name}: {said}"
        );
    }
}

#[tokio::test]
async fn a_dump_is_restored_into_a_fresh_server_row_by_row() {
    let place = Place::new();
    let (old, new) = (
        Postgres::ephemeral().unwrap(),
        Postgres::ephemeral().unwrap(),
    );
    // Tags that nobody has taken yet are dumped, too.
    let sink = House::sink();
    sink.refuses
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let house = House::with(old.url(), sink).await;
    used(&house).await;
    house.origin.shutdown().await;

    let file = place.text("dump");
    place.done(&old, "dump", &[&old.url(), &file]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others may read it");
    place.done(&new, "restore", &[&file, &new.url()]);
    let before = contents(&old.url()).await;
    assert!(before["outbox"] != "0 " && before["users"].starts_with("1 "));
    assert_eq!(contents(&new.url()).await, before);
    let (made, wanted) = (schema(&new, &new.url()), schema(&old, &old.url()));
    let differs = made
        .iter()
        .zip(&wanted)
        .find(|(made, wanted)| made != wanted);
    assert_eq!((differs, made.len()), (None, wanted.len()));

    // Over what is there already nothing is restored, and nothing of it is lost.
    let again = place.run(&new, "restore", &[&file, &new.url()]);
    assert!(!again.status.success());
    assert_eq!(contents(&new.url()).await, before);

    // An origin goes on where the other one was: it delivers what waited, and knows what it has done.
    let house = House::before(new.url()).await;
    house.sink.wait_for(&["courses", "documents"]).await;
    let listed = house.get("/courses").await.expect(StatusCode::OK).json();
    assert_eq!(listed[0]["current_enrollment"], 1);
    let repeat = json!({"user_id": 1, "amount": "19.99", "transaction_type": "purchase"});
    house
        .post_as("once", "/write/transaction", repeat)
        .await
        .expect(StatusCode::OK);
    assert_eq!(house.number("SELECT count(*) FROM transactions").await, 1);
    house.user("ben").await;
}

#[tokio::test]
async fn a_server_is_recovered_to_a_moment_between_two_writes() {
    let place = Place::new();
    place.folder("wal");
    let archive = format!(
        "archive_command={} \"%p\" \"{}/%f\"",
        place.text("scripts/archive-wal"),
        place.text("wal")
    );
    let primary = Postgres::ephemeral_with(&["archive_mode=on", &archive]).unwrap();
    let house = House::before(primary.url()).await;
    used(&house).await;
    place.done(&primary, "base", &[&primary.url(), &place.text("base")]);

    let write = async |key: &str| {
        let document = json!({"key": key, "data": 1});
        house
            .post("/write/document", document)
            .await
            .expect(StatusCode::OK);
    };
    write("first").await;
    let (lsn, time): (String, String) = sqlx::query_as(
        "SELECT pg_create_restore_point('the moment')::text, clock_timestamp()::text",
    )
    .fetch_one(&house.pool)
    .await
    .unwrap();
    write("second").await;
    house.origin.shutdown().await;
    let last = psql(
        &primary.url(),
        "SELECT pg_walfile_name(pg_current_wal_insert_lsn()); SELECT FROM pg_switch_wal();",
    )
    .unwrap();
    let last = place.path("wal").join(last.trim());
    patiently("the log is archived", || async { last.exists() }).await;
    // A file that comes again is kept as it is; another one of its name is refused.
    let kept = place.text("wal/kept");
    let (one, other) = (place.text("one"), place.text("other"));
    fs::write(&one, "1").unwrap();
    fs::write(&other, "2").unwrap();
    for (file, is_taken) in [(&one, true), (&one, true), (&other, false)] {
        let archived = place.run(&primary, "archive-wal", &[file, &kept]);
        assert_eq!(archived.status.success(), is_taken, "{file}");
    }
    assert_eq!(fs::read(&kept).unwrap(), b"1");

    for (kind, value) in [
        ("name", "the moment"),
        ("lsn", lsn.as_str()),
        ("time", time.as_str()),
    ] {
        let folder = place.folder(kind);
        let data = place.text(&format!("{kind}/data"));
        let (base, wal) = (place.text("base"), place.text("wal"));
        place.done(&primary, "recover", &[&base, &wal, &data, kind, value]);
        let recovered = Postgres::start_in(&folder).unwrap();
        // It answers reads before it has come to the moment.
        patiently("it is a primary of its own", || async {
            let state = "SELECT pg_is_in_recovery();";
            psql(&recovered.url(), state).unwrap().trim() == "f"
        })
        .await;
        let house = House::before(recovered.url()).await;
        for (key, status) in [("first", StatusCode::OK), ("second", StatusCode::NOT_FOUND)] {
            let document = house.get(&format!("/read/document/{key}")).await;
            assert_eq!(document.status, status, "{key} by {kind}");
        }
        // It is written to, and leaves the archive of the other one alone.
        house.user("ben").await;
        let mode = psql(&recovered.url(), "SHOW archive_mode;").unwrap();
        assert_eq!(mode.trim(), "off", "{kind}");
    }
}

/// Every key with what it holds and when it ends.
async fn keys(redis: &Redis) -> BTreeMap<Vec<u8>, (redis::Value, redis::Value)> {
    let all: Vec<Vec<u8>> =
        redis::from_redis_value(told(redis, redis::cmd("KEYS").arg("*")).await).unwrap();
    let mut keys = BTreeMap::new();
    for key in all {
        let held = told(redis, redis::cmd("DUMP").arg(&key)).await;
        let ends = told(redis, redis::cmd("PEXPIRETIME").arg(&key)).await;
        keys.insert(key, (held, ends));
    }
    keys
}

#[tokio::test]
async fn a_redis_that_is_copied_while_it_is_used_comes_back_with_all_it_had_answered_for() {
    let place = Place::new();
    let folder = place.folder("old");
    let old = Redis::start_in(&folder).unwrap();
    let postgres = Postgres::ephemeral().unwrap();
    let house = House::told(tidegate_origin::Config {
        // Nobody takes anything away.
        activity: Activity {
            events_workers: 0,
            ..activity(&old)
        },
        ..config(postgres.url())
    })
    .await;
    for n in 0..20 {
        let event =
            json!({"user_id": n, "event_type": "course_view", "event_data": {"course_id": 1}});
        house
            .post("/events", event)
            .await
            .expect(StatusCode::ACCEPTED);
    }
    let reaction = json!({"reaction": "like"});
    house
        .post("/reactions/course:1", reaction)
        .await
        .expect(StatusCode::ACCEPTED);
    for (name, arguments) in [
        ("SET", &["text", "what\nit says"][..]),
        ("SADD", &["set", "1", "2"]),
        ("SET", &["gone soon", "x", "EX", "3600"]),
        ("XADD", &["tidegate:log", "1-1", "tag", "courses"]),
    ] {
        told(&old, redis::cmd(name).arg(arguments)).await;
    }

    let script = |name: &str| Command::new(scripts().join(name));
    let (url, copy) = (old.url(), place.path("copy"));
    let copied = output(script("copy-redis").arg(&url).arg(&folder).arg(&copy));
    succeeded("copy-redis", &copied);
    let setting = told(
        &old,
        redis::cmd("CONFIG")
            .arg("GET")
            .arg("auto-aof-rewrite-percentage"),
    )
    .await;
    let setting: Vec<String> = redis::from_redis_value(setting).unwrap();
    assert_eq!(setting[1], "100", "the log is rewritten no more");
    let before = keys(&old).await;
    assert!(before.len() >= 6, "{:?}", before.keys());
    // What comes after the copy is not in it.
    told(&old, redis::cmd("SET").arg("late").arg("x")).await;

    let fresh = place.folder("new");
    let restore = || output(script("restore-redis").arg(&copy).arg(&fresh));
    succeeded("restore-redis", &restore());
    let new = Redis::start_in(&fresh).unwrap();
    assert_eq!(keys(&new).await, before);
    assert!(
        !restore().status.success(),
        "a server's file is written over"
    );

    // The events that had been answered for are taken from there.
    house.origin.shutdown().await;
    let house = House::told(tidegate_origin::Config {
        activity: activity(&new),
        ..config(postgres.url())
    })
    .await;
    patiently("the events are in the table", || async {
        house.number("SELECT count(*) FROM events").await == 20
    })
    .await;

    let memory = Redis::ephemeral().unwrap();
    let refused = output(
        script("copy-redis")
            .arg(memory.url())
            .arg(&folder)
            .arg("none"),
    );
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("appendonly"), "{said}");
    assert_eq!(refused.status.code(), Some(1));
}
