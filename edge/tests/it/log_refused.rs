//! A purge log that does not take what it is given: a purge that could not be recorded.

use redis::AsyncCommands;
use tidegate_services::Redis;

use crate::support::orders::orders;
use crate::support::redis::{LOG, connected, recorded, started};
use crate::support::{Answer, Edge, Gate, Origin, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=3600")
        .with("surrogate-key", "t")
        .with("etag", "\"1\"")
}

/// An edge with its log there, which is given up soon.
fn following(origin: &Origin, redis: &Redis) -> Edge {
    Edge::before(origin)
        .with(&format!(
            "log = {{ url = {:?}, trust = \"1d\", deadline = \"250ms\" }}",
            redis.url()
        ))
        .start()
}

async fn command(redis: &Redis, words: &[&str]) -> redis::Value {
    let mut connection = connected(redis).await;
    let (name, arguments) = words.split_first().expect("a command has a name");
    let command = redis::cmd(name).arg(arguments).to_owned();
    command
        .query_async(&mut connection)
        .await
        .expect("it is done")
}

/// A purge by way of a log that is well again is recorded.
async fn is_recorded_again(edge: &Edge, redis: &Redis, text: &str) {
    patiently("the record in the log", async {
        while recorded(redis, text).await == 0 {}
    })
    .await;
    patiently("the end of the bypass", async {
        while edge.get("/").await.cache_status() != "hit" {}
    })
    .await;
}

type Commands = &'static [&'static [&'static str]];

/// How a log is made to refuse, and to take again.
const REFUSALS: &[(&str, Commands, Commands)] = &[
    (
        "something else is at its key",
        &[&["DEL", LOG], &["SET", LOG, "text"]],
        &[&["DEL", LOG]],
    ),
    (
        "it is out of memory",
        &[&["CONFIG", "SET", "maxmemory", "1"]],
        &[&["CONFIG", "SET", "maxmemory", "0"]],
    ),
    (
        "it is a replica now",
        &[&["REPLICAOF", "127.0.0.1", "1"]],
        &[&["REPLICAOF", "NO", "ONE"]],
    ),
    (
        "scripts are not allowed",
        &[&["ACL", "SETUSER", "default", "-evalsha", "-eval"]],
        &[&["ACL", "SETUSER", "default", "+evalsha", "+eval"]],
    ),
];

#[tokio::test]
async fn a_purge_that_the_log_refuses_is_applied_here_and_told_not_to_be_recorded() {
    for (how, refuse, take) in REFUSALS {
        let redis = started();
        let origin = Origin::always(fresh("old"));
        let edge = following(&origin, &redis);
        edge.get("/").await;
        assert_eq!(edge.get("/").await.cache_status(), "hit");
        for words in *refuse {
            command(&redis, words).await;
        }
        let receipt = edge.order(r#"{"tags": ["t"]}"#).await;
        assert_eq!(receipt.status, 503, "{how}");
        assert!(
            receipt.text().contains("applied here, not recorded"),
            "{how}"
        );
        origin.now(fresh("new"));
        for _ in 0..3 {
            let response = edge.get("/").await;
            assert_eq!(
                (response.text(), response.cache_status()),
                ("new", "fwd=miss"),
                "{how}"
            );
            assert_eq!(origin.last().get("if-none-match"), None, "{how}");
        }
        for words in *take {
            command(&redis, words).await;
        }
        is_recorded_again(&edge, &redis, "\\\"t\\\"").await;
    }
}

#[tokio::test]
async fn what_is_fetched_while_a_purge_is_not_recorded_serves_nobody_else() {
    for order in orders() {
        let mut redis = started();
        let origin = Origin::always(fresh("old"));
        let edge = following(&origin, &redis);
        edge.get("/").await;
        redis.kill();
        assert_eq!(edge.order(&order).await.status, 503, "{order}");
        for asked in 2..5 {
            let body = format!("{asked}");
            origin.now(fresh(&body));
            assert_eq!(edge.get("/").await.text(), body, "{order}");
            assert_eq!(origin.requests(), asked, "{order}");
        }
        redis.restart().expect("redis starts again");
        is_recorded_again(&edge, &redis, "scope").await;
    }
}

#[tokio::test]
async fn each_unrecorded_order_counts_for_who_asks_after_it() {
    let mut redis = started();
    let (tail, second, third) = (Gate::closed(), Gate::closed(), Gate::closed());
    let origin = Origin::always(fresh("last"));
    let edge = following(&origin, &redis);
    edge.settled().await;
    redis.kill();
    origin.next(fresh("first").chunked().then(&tail, ""));
    let mut first = edge.request("GET", "/").begin().await;
    first.head().await;
    // Who asks after an order leads a fetch, and who asks after it was ordered again another one.
    let mut asking = Vec::new();
    for (requests, body, gate) in [(2, "second", &second), (3, "third", &third)] {
        assert_eq!(edge.order(r#"{"tags": ["t"]}"#).await.status, 503);
        origin.next(fresh(body).after(gate));
        for _ in 0..2 {
            asking.push(edge.request("GET", "/").begin().await);
        }
        origin.asked_for(requests).await;
        edge.settled().await;
        assert_eq!(
            origin.requests(),
            requests,
            "those who ask after the same order share"
        );
    }
    third.open();
    for late in &mut asking[2..] {
        assert_eq!(late.response().await.text(), "third");
    }
    second.open();
    assert_eq!(asking[0].response().await.text(), "second");
    // Who waits is better served with what is newer.
    assert_eq!(asking[1].response().await.text(), "last");
    tail.open();
    assert_eq!(first.rest().await, ("first".to_owned(), true));
    assert_eq!(edge.get("/").await.text(), "last");
}

#[tokio::test]
async fn more_unrecorded_purges_than_are_kept_purge_everything() {
    let mut redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = following(&origin, &redis);
    edge.get("/").await;
    redis.kill();
    let order = |tags: std::ops::Range<usize>| {
        let tags: Vec<_> = tags.map(|tag| format!("{:?}", format!("n{tag}"))).collect();
        format!("{{\"tags\": [{}]}}", tags.join(", "))
    };
    assert_eq!(edge.order(&order(0..256)).await.status, 503);
    assert_eq!(
        edge.get("/").await.cache_status(),
        "hit",
        "as many as are kept"
    );
    assert_eq!(edge.order(&order(256..257)).await.status, 503);
    assert_eq!(edge.get("/").await.cache_status(), "fwd=miss");
    redis.restart().expect("redis starts again");
    is_recorded_again(&edge, &redis, "all").await;
}

#[tokio::test]
async fn what_is_appended_again_does_not_wait_for_what_has_not_come_back() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = following(&origin, &redis);
    let acl = |rules: &'static [&'static str]| {
        let words = [&["ACL", "SETUSER", "default"], rules].concat();
        let redis = &redis;
        async move { command(redis, &words).await }
    };
    // The log can be written and not read: what is appended does not come back.
    acl(&["-xread"]).await;
    // The read that waits may still bring something back.
    while edge.purge("/before").await.status == 200 {}
    assert_eq!(edge.purge("/first").await.status, 503);
    patiently("the first, appended again", async {
        while recorded(&redis, "edge.test/first").await < 2 {}
    })
    .await;
    acl(&["-eval", "-evalsha"]).await;
    assert_eq!(edge.purge("/second").await.status, 503);
    assert_eq!(recorded(&redis, "edge.test/second").await, 0);
    acl(&["+eval", "+evalsha"]).await;
    patiently("the second", async {
        while recorded(&redis, "edge.test/second").await == 0 {}
    })
    .await;
    assert_eq!(
        recorded(&redis, "edge.test/first").await,
        2,
        "once more is enough"
    );
    acl(&["+xread"]).await;
    for path in ["/first", "/second"] {
        patiently("the end of the bypass", async {
            edge.get(path).await;
            while edge.get(path).await.cache_status() != "hit" {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_replica_of_the_log_is_followed_and_takes_nothing() {
    let (primary, replica) = (started(), started());
    let origin = Origin::always(fresh("old"));
    let writes = following(&origin, &primary);
    let port = primary.port().to_string();
    command(&replica, &["REPLICAOF", "127.0.0.1", &port]).await;
    patiently("the replica", async {
        let mut connection = connected(&replica).await;
        while !connection.exists(LOG).await.unwrap_or(false) {}
    })
    .await;
    let reads = following(&origin, &replica);
    reads.get("/").await;
    assert_eq!(reads.get("/").await.cache_status(), "hit");
    assert_eq!(reads.purge("/other").await.status, 503);
    origin.now(fresh("new"));
    assert_eq!(writes.purge("/").await.status, 200);
    patiently("the purge", async {
        while reads.get("/").await.text() != "new" {}
    })
    .await;
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_not_trusted() {
    for (how, refuse, _) in &REFUSALS[..1] {
        let redis = started();
        let origin = Origin::always(fresh("x"));
        let edge = following(&origin, &redis);
        edge.get("/").await;
        for words in *refuse {
            command(&redis, words).await;
        }
        // The follower may still be hearing the last word.
        patiently("distrust", async {
            while edge.get("/").await.cache_status() != "fwd=stale" {
                edge.clock.advance(secs(86_401));
            }
        })
        .await;
        assert_eq!(
            edge.get("/").await.cache_status(),
            "hit",
            "{how}: asked a moment ago"
        );
    }
}
