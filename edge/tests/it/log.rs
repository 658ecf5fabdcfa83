//! The purge log in Redis when the stream, or the way to it, is not what it should be.

use std::time::Duration;

use redis::AsyncCommands;
use tidegate_services::Redis;

use crate::support::redis::{LOG, add, connected, recorded, started};
use crate::support::{Answer, Edge, Origin, Way, answer, patiently, secs};

const ALL: &str = r#"{"scope":"all"}"#;

fn fresh(body: &str) -> Answer {
    answer(body).with("cache-control", "max-age=3600")
}

/// The epoch that a purge was recorded in.
pub(crate) async fn epoch(edge: &Edge, path: &str) -> String {
    let receipt = edge.purge(path).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    let (_, rest) = receipt.text().split_once("\"position\":\"").unwrap();
    rest.split_once(':').unwrap().0.to_owned()
}

#[tokio::test]
async fn of_several_logs_in_a_stream_the_last_is_followed() {
    let redis = started();
    let (first, second, third) = ("00000000000000f1", "00000000000000f2", "00000000000000f3");
    add(&redis, "100-0", &[("e", first), ("p", "0-0")]).await;
    add(&redis, "101-0", &[("e", first), ("p", "100-0"), ("r", ALL)]).await;
    add(&redis, "102-0", &[("e", second), ("p", "0-0")]).await;
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    edge.get("/").await;
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    assert_eq!(epoch(&edge, "/other").await, second);

    add(&redis, "*", &[("e", third), ("p", "0-0")]).await;
    assert_eq!(
        epoch(&edge, "/other").await,
        third,
        "answered when it was applied, and so followed"
    );
    assert_eq!(
        edge.get("/").await.cache_status(),
        "fwd=stale",
        "fetched under another log"
    );
    assert_eq!(edge.get("/").await.cache_status(), "hit");
}

/// The stream as it is now, for [`come_back`].
async fn backup(redis: &Redis) -> Vec<u8> {
    let mut connection = connected(redis).await;
    let dump = redis::cmd("DUMP").arg(LOG).to_owned();
    dump.query_async(&mut connection).await.unwrap()
}

/// Puts the stream back in place of the one there is.
async fn come_back(redis: &Redis, backup: Vec<u8>) {
    let mut connection = connected(redis).await;
    let mut restore = redis::cmd("RESTORE");
    restore.arg(LOG).arg(0).arg(backup).arg("REPLACE");
    let () = restore.query_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_log_that_comes_back_from_a_backup_brings_nothing_back() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let edge = Edge::before(&origin).redis(&redis).start();
    let first = epoch(&edge, "/other").await;
    edge.get("/").await;
    let before = backup(&redis).await;
    origin.now(fresh("new"));
    assert_eq!(edge.purge("/").await.status, 200);
    let mut connection = connected(&redis).await;
    let () = connection.del(LOG).await.unwrap();
    let second = epoch(&edge, "/other").await;
    assert_ne!(first, second, "the first log is gone");
    come_back(&redis, before).await;
    let third = epoch(&edge, "/other").await;
    assert!(third != first && third != second, "{third}");
    assert_eq!(edge.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_purge_with_an_id_from_before_a_lost_tail_is_not_taken_for_what_was_lost() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let edge = Edge::before(&origin).redis(&redis).start();
    let first = epoch(&edge, "/other").await;
    let before = backup(&redis).await;
    edge.get("/").await;
    // A server whose clock is ahead.
    let ahead = [("e", &*first), ("p", "0-0"), ("r", ALL)];
    add(&redis, "9999999999999-0", &ahead).await;
    patiently("the record", async {
        while edge.get("/").await.cache_status() == "hit" {}
    })
    .await;
    assert_eq!(edge.get("/").await.text(), "old");
    origin.now(fresh("new"));
    come_back(&redis, before).await;
    assert_eq!(edge.purge("/").await.status, 200);
    assert_eq!(edge.get("/").await.text(), "new");
}

#[tokio::test]
async fn on_another_server_the_log_goes_on_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start_in(folder.path()).expect("redis-server is installed");
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    let before = epoch(&edge, "/other").await;
    edge.get("/").await;
    redis.kill();
    redis.restart().expect("redis starts again");
    // It may have lost its last second, and give out the same ids again.
    patiently("another log", async {
        loop {
            let receipt = edge.purge("/other").await;
            let is_before = receipt.text().contains(&before);
            if receipt.status == 200 && !is_before {
                return;
            }
        }
    })
    .await;
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
}

#[tokio::test]
async fn something_else_in_the_stream_purges_everything_and_forgets_nothing() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    let before = epoch(&edge, "/other").await;
    for strange in [
        &[("a", "b")][..],
        &[("e", "nonsense"), ("p", "0-0")],
        &[("e", &before), ("p", "0-99999999"), ("r", ALL)],
        &[("e", &before), ("p", "0-0"), ("r", "{")],
    ] {
        edge.get("/").await;
        assert_eq!(edge.get("/").await.cache_status(), "hit");
        add(&redis, "*", strange).await;
        assert_eq!(epoch(&edge, "/other").await, before, "after {strange:?}");
        let again = edge.get("/").await;
        assert_eq!(again.cache_status(), "fwd=miss", "after {strange:?}");
    }
    let late = Edge::before(&origin).redis(&redis).start();
    assert_eq!(epoch(&late, "/other").await, before);
}

#[tokio::test]
async fn an_edge_founds_its_log_behind_something_else_in_the_stream() {
    let redis = started();
    add(&redis, "5-0", &[("a", "b")]).await;
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    edge.get("/").await;
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    assert_eq!(edge.purge("/").await.status, 200);
    assert_eq!(edge.get("/").await.cache_status(), "fwd=miss");
}

#[tokio::test]
async fn a_full_counter_goes_on_in_the_next_millisecond() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    let before = epoch(&edge, "/other").await;
    // A server whose clock was set back counts on within the last millisecond.
    let full = [("e", &*before), ("p", "0-0"), ("r", ALL)];
    add(&redis, "9999999999999-1048575", &full).await;
    for counter in 0..2 {
        let receipt = edge.purge("/").await;
        let position = format!("{before}:10000000000000-{counter}\"");
        let text = receipt.text();
        assert!(receipt.status == 200 && text.contains(&position), "{text}");
    }
}

#[tokio::test]
async fn an_id_that_does_not_fit_is_refused() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with("log = { trust = \"2s\", deadline = \"100ms\" }")
        .start();
    let before = epoch(&edge, "/other").await;
    edge.get("/").await;
    edge.get("/purged").await;
    let fields = [("e", &*before), ("p", "0-0"), ("r", ALL)];
    add(&redis, "17592186044416-0", &fields).await;
    let receipt = edge.purge("/purged").await;
    assert_eq!(receipt.status, 503, "{}", receipt.text());
    assert_eq!(edge.get("/purged").await.cache_status(), "fwd=miss");
    // The follower may still be hearing the last word.
    patiently("distrust", async {
        while edge.get("/").await.cache_status() != "fwd=stale" {
            edge.clock.advance(secs(3));
        }
    })
    .await;
}

#[tokio::test]
async fn many_purges_that_could_not_be_recorded_are_appended_once() {
    let mut redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with("log.deadline = \"2s\"")
        .start();
    redis.kill();
    for _ in 0..30 {
        assert_eq!(edge.purge("/a").await.status, 503);
        assert_eq!(edge.purge("/b").await.status, 503);
    }
    redis.restart().expect("redis starts again");
    patiently("hits", async {
        while edge.get("/a").await.cache_status() != "hit"
            || edge.get("/b").await.cache_status() != "hit"
        {}
    })
    .await;
    for url in ["edge.test/a", "edge.test/b"] {
        let times = recorded(&redis, url).await;
        assert!((1..5).contains(&times), "{url}: {times} times");
    }
}

/// An edge that gives up appends by this way soon.
fn by_way(origin: &Origin, redis: &Redis, way: &Way) -> Edge {
    let log = format!("log = {{ url = {:?}, deadline = \"300ms\" }}", way.url());
    Edge::before(origin).redis(redis).with(&log).start()
}

async fn until_purged(edge: &Edge, path: &str) {
    patiently("a purge", async {
        while edge.purge(path).await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_purge_over_a_connection_that_went_silent_is_recorded_over_another() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("x"));
    let edge = by_way(&origin, &redis, &way);
    until_purged(&edge, "/before").await;
    way.silence();
    assert_eq!(edge.purge("/silent").await.status, 503);
    patiently("the record in the log", async {
        while recorded(&redis, "edge.test/silent").await == 0 {}
    })
    .await;
    until_purged(&edge, "/after").await;
}

#[tokio::test]
async fn an_append_again_that_goes_silent_is_given_up_too() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("x"));
    let edge = by_way(&origin, &redis, &way);
    until_purged(&edge, "/before").await;
    // Connections are accepted and scripts wait, so that the silence falls into an append.
    let connection = connected(&redis).await;
    let client = |argument: &'static [&'static str]| {
        let command = redis::cmd("CLIENT").arg(argument).to_owned();
        let mut connection = connection.clone();
        async move { command.query_async::<redis::Value>(&mut connection).await }
    };
    let redis::Value::Int(newest) = client(&["ID"]).await.unwrap() else {
        panic!("a client's id is a number");
    };
    client(&["PAUSE", "600000", "WRITE"]).await.unwrap();
    assert_eq!(edge.purge("/silent").await.status, 503);
    let is_appending = |line: &str| {
        let id = line
            .strip_prefix("id=")
            .and_then(|line| line.split_once(' '));
        let is_newer = id.is_some_and(|(id, _)| id.parse::<i64>().unwrap() > newest);
        is_newer && line.contains("cmd=evalsha")
    };
    patiently("the next append", async {
        loop {
            let list = client(&["LIST"]).await.unwrap();
            let list: String = redis::from_redis_value(list).unwrap();
            if list.lines().any(is_appending) {
                return;
            }
        }
    })
    .await;
    way.silence();
    client(&["UNPAUSE"]).await.unwrap();
    patiently("the end of the purge", async {
        edge.get("/silent").await;
        while edge.get("/silent").await.cache_status() != "hit" {}
    })
    .await;
    assert!(recorded(&redis, "edge.test/silent").await > 0);
}

#[tokio::test]
async fn a_connection_that_went_silent_is_given_up_for_a_new_one() {
    let redis = started();
    let way = Way::to(&redis);
    let deadline = Duration::from_millis(50);
    let tier = tidegate_edge::redis::Redis::connect(&way.url(), deadline).unwrap();
    let ping = redis::cmd("PING");
    let answered = || async {
        while tier.query::<String>(&ping).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tier.warm_up().await;
    patiently("an answer", answered()).await;
    way.silence();
    assert!(tier.query::<String>(&ping).await.is_err());
    patiently("a new connection", answered()).await;
    assert!(tier.is_available());
}
