//! Edges that count together in one Redis, and what they do without it.

use std::sync::Arc;

use redis::AsyncCommands;
use tidegate_edge::filters::{Limits, LocalLimits, RedisLimits, Take, Window};
use tidegate_services::Redis;
use tokio::task::JoinSet;

use crate::rate_limit::limited;
use crate::support::redis::{connected, started};
use crate::support::{Edge, Origin, patiently, secs};

/// Edges with this rate limit and one Redis.
fn edges(origin: &Origin, redis: &Redis, count: usize, config: &str) -> Vec<Arc<Edge>> {
    let start = |_| Arc::new(limited(origin, config).redis(redis).start());
    (0..count).map(start).collect()
}

/// How many of so many requests to each edge were let through, eight at a time at each.
async fn admitted(edges: &[Arc<Edge>], to_each: usize) -> usize {
    const AT_ONCE: usize = 8;
    let mut clients = JoinSet::new();
    for edge in edges {
        for _ in 0..AT_ONCE {
            let edge = Arc::clone(edge);
            clients.spawn(async move {
                let mut admitted = 0;
                for _ in 0..to_each / AT_ONCE {
                    match edge.get("/").await.status {
                        200 => admitted += 1,
                        429 => {}
                        status => panic!("{status}"),
                    }
                }
                admitted
            });
        }
    }
    clients.join_all().await.into_iter().sum()
}

/// What comes back of this limit in a test's time is less than one unit.
fn once(limit: usize, more: &str) -> String {
    format!("{{ {more} windows = [{{ limit = {limit}, seconds = 31000000 }}] }}")
}

/// How often Redis ran a script.
async fn calls(redis: &Redis) -> usize {
    let mut connection = connected(redis).await;
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .unwrap();
    let calls = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn three_edges_under_parallel_load_admit_the_limit_and_no_more() {
    let redis = started();
    let origin = Origin::answers("hello").with("cache-control", "max-age=3600");
    let edges = edges(&origin, &redis, 3, &once(300, ""));
    let admitted = admitted(&edges, 240).await;
    println!("exact: 720 asked, 300 allowed, {admitted} admitted");
    assert_eq!(admitted, 300);
}

/// The figure that the documentation names comes from this test:
/// `cargo test -p tidegate-edge --test it asynchronous -- --nocapture`.
#[tokio::test]
async fn asynchronous_edges_stay_within_their_bound() {
    let redis = started();
    let origin = Origin::answers("hello").with("cache-control", "max-age=3600");
    const LIMIT: usize = 1_000;
    let edges = edges(&origin, &redis, 3, &once(LIMIT, "mode = \"async\","));
    let admitted = admitted(&edges, 640).await;
    let calls = calls(&redis).await;
    println!("asynchronous: 1920 asked, {LIMIT} allowed, {admitted} admitted, {calls} calls");
    assert!(admitted >= LIMIT, "{admitted}");
    assert!(admitted <= LIMIT + 3 * LIMIT / 64, "{admitted}");
    // Most were decided without asking, and what was let through is known all the same.
    assert!(calls < 1_600, "{calls}");
    let known = patiently("what is owed", async {
        loop {
            let late = edges[0].get("/").await.status;
            let page = remaining(&redis).await;
            if page >= admitted {
                break late;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(known.await, 429);
}

/// How many units of its one limit Redis counts as taken.
async fn remaining(redis: &Redis) -> usize {
    let mut connection = connected(redis).await;
    let keys: Vec<String> = connection.keys("tidegate:limit:*").await.unwrap();
    let arrivals: Vec<(String, f64)> = connection.hgetall(&keys[0]).await.unwrap();
    let (seconds, micros): (f64, f64) = redis::cmd("TIME")
        .query_async(&mut connection)
        .await
        .unwrap();
    let (field, arrival) = &arrivals[0];
    let interval: f64 = field.split('/').nth(1).unwrap().parse().unwrap();
    ((arrival - seconds * 1e6 - micros) / interval).ceil() as usize
}

#[tokio::test]
async fn a_hot_key_of_one_edge_is_exact_too() {
    let origin = Origin::answers("hello").with("cache-control", "max-age=3600");
    let edge = limited(&origin, &once(200, "")).with("server.workers = 3");
    assert_eq!(admitted(&[Arc::new(edge.start())], 480).await, 200);
}

#[tokio::test]
async fn a_count_is_one_call() {
    let redis = started();
    let connection = tidegate_edge::redis::Redis::connect(&redis.url(), secs(10)).unwrap();
    let limits = RedisLimits::new(connection, Arc::new(LocalLimits::new(1, || 0)));
    let windows = [9, 60].map(|limit| Window {
        limit,
        seconds: limit * 10,
    });
    let take = Take {
        name: "name",
        key: "key",
        windows: &windows,
        cost: 1,
        is_asynchronous: false,
    };
    // The first one has the script loaded.
    limits.take(take).await.unwrap();
    let before = calls(&redis).await;
    for _ in 0..3 {
        assert!(limits.take(take).await.unwrap().allowed);
    }
    assert_eq!(calls(&redis).await - before, 3);
}

#[tokio::test]
async fn a_count_is_one_key_that_ends_and_tells_nothing() {
    let redis = started();
    let origin = Origin::answers("hello").with("cache-control", "max-age=3600");
    let config = "{ name = \"secret-name\", key = { header = \"x-key\" }, windows = [{ limit = 9, seconds = 90 }, { limit = 60, seconds = 3600 }] }";
    let edges = edges(&origin, &redis, 1, config);
    let ask = || {
        edges[0]
            .request("GET", "/")
            .with("x-key", "secret-key")
            .send()
    };
    for _ in 0..4 {
        assert_eq!(ask().await.status, 200);
    }
    let mut connection = connected(&redis).await;
    let keys: Vec<String> = connection.keys("*limit*").await.unwrap();
    assert_eq!(keys.len(), 1);
    let kept: Vec<(String, String)> = connection.hgetall(&keys[0]).await.unwrap();
    assert!(!format!("{keys:?} {kept:?}").contains("secret"));
    // Four units of a minute each are taken from the hour.
    let life: i64 = connection.ttl(&keys[0]).await.unwrap();
    assert!((200..=241).contains(&life), "{life}");
}

#[tokio::test]
async fn an_edge_answers_while_redis_is_silent_and_counts_there_again_afterwards() {
    let mut redis = started();
    let origin = Origin::answers("hello").with("cache-control", "max-age=3600");
    // What Redis counted is gone by here only where it was asked for here, as it is when asynchronous.
    for (mode, expected) in [("exact", 5), ("async", 4)] {
        let name = format!("name = \"{mode}\", mode = \"{mode}\",");
        let edge = limited(&origin, &once(5, &name)).redis(&redis);
        let mut redis_of_test = connected(&redis).await;
        let edge = edge.with("redis.deadline = \"50ms\"").start();
        let counted = |edge: &Edge| {
            let answer = edge.get("/");
            async move { answer.await.status }
        };
        assert_eq!(counted(&edge).await, 200);
        let known: Vec<String> = redis_of_test.keys("tidegate:limit:*").await.unwrap();
        redis.pause();
        let mut allowed = 0;
        for _ in 0..8 {
            allowed += usize::from(patiently("an answer", counted(&edge)).await == 200);
        }
        assert_eq!(allowed, expected, "{mode}");
        redis.resume();
        // Here nothing is left of the limit; in Redis, all of it is there again.
        patiently("a count in redis", async {
            while counted(&edge).await != 200 {
                let _: () = redis_of_test.del(&known).await.unwrap();
            }
        })
        .await;
        let _: () = redis_of_test.flushall().await.unwrap();
    }
}
