//! What the regional tier promises under purges: what was purged does not come back through it, and
//! what is newer is not lost in it.

use redis::AsyncCommands;
use tidegate_edge::config::Config;
use tidegate_services::Redis;

use crate::lease::{go_on, looked, looks, pause_scripts, paused};
use crate::support::edge::Builder;
use crate::support::redis::{connected, started, stored};
use crate::support::{Answer, Edge, Gate, Origin, Way, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=3600")
        .with("surrogate-key", "t")
}

/// An edge whose log is at `log` and whose region is `redis`.
fn with_log(origin: &Origin, redis: &Redis, log: &str) -> Builder {
    let edge = Edge::before(origin).redis(redis);
    edge.with(&format!("log.url = {log:?}"))
}

/// What stands in the region.
async fn contents(redis: &Redis) -> Vec<(String, Vec<u8>)> {
    let mut connection = connected(redis).await;
    let mut keys: Vec<String> = connection.keys("tidegate:c:*").await.unwrap();
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let value = connection.get(&key).await.unwrap();
        all.push((key, value));
    }
    all
}

async fn forget(redis: &Redis) {
    let mut connection = connected(redis).await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
}

const ORDERS: [&str; 3] = [
    r#"{"urls": ["edge.test/"]}"#,
    r#"{"tags": ["t"]}"#,
    r#"{"all": true}"#,
];

#[tokio::test]
async fn a_late_write_of_an_edge_that_lags_takes_nobodys_place() {
    for order in ORDERS {
        let (redis, log) = (started(), started());
        let way = Way::to(&log);
        let gate = Gate::closed();
        let origin = Origin::always(fresh("new"));
        origin.next(fresh("old").after(&gate));
        let lagging = with_log(&origin, &redis, &way.url()).start();
        let here = with_log(&origin, &redis, &log.url()).start();
        let mut late = lagging.request("GET", "/").begin().await;
        origin.asked_for(1).await;
        way.hold();
        assert_eq!(here.order(order).await.status, 200);
        assert_eq!(here.get("/").await.text(), "new", "{order}");
        stored(&redis, 1).await;
        let before = (contents(&redis).await, looks(&redis).await);
        gate.open();
        assert_eq!(late.response().await.text(), "old");
        looked(&redis, before.1, 1).await;
        assert_eq!(contents(&redis).await, before.0, "{order}");
        let third = with_log(&origin, &redis, &log.url()).start();
        let response = third.get("/").await;
        assert_eq!(
            (response.text(), response.cache("detail")),
            ("new", Some("redis"))
        );
        assert_eq!(origin.requests(), 2);
        way.release();
        patiently("the purge", async {
            while lagging.get("/").await.text() != "new" {}
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_edge_that_lags_has_stored_is_used_by_nobody_who_knows_the_purge() {
    for order in ORDERS {
        let (redis, log) = (started(), started());
        let way = Way::to(&log);
        let gate = Gate::closed();
        let origin = Origin::always(fresh("new"));
        origin.next(fresh("old").after(&gate));
        let lagging = with_log(&origin, &redis, &way.url()).start();
        let here = with_log(&origin, &redis, &log.url()).start();
        let mut late = lagging.request("GET", "/").begin().await;
        origin.asked_for(1).await;
        way.hold();
        assert_eq!(here.order(order).await.status, 200);
        gate.open();
        assert_eq!(late.response().await.text(), "old");
        stored(&redis, 1).await;
        assert_eq!(lagging.get("/").await.text(), "old", "it cannot know");
        let response = here.get("/").await;
        assert_eq!(response.text(), "new", "{order}");
        // Brought into memory it would be as bad.
        assert_eq!(here.get("/").await.text(), "new", "{order}");
        way.release();
    }
}

#[tokio::test]
async fn a_variant_of_an_edge_that_lags_does_not_hide_a_newer_response() {
    let (redis, log) = (started(), started());
    let way = Way::to(&log);
    let gate = Gate::closed();
    let origin = Origin::always(fresh("new"));
    origin.next(fresh("old").with("vary", "accept-language").after(&gate));
    let lagging = with_log(&origin, &redis, &way.url()).start();
    let here = with_log(&origin, &redis, &log.url()).start();
    let mut late = lagging.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    way.hold();
    assert_eq!(here.order(ORDERS[0]).await.status, 200);
    assert_eq!(here.get("/").await.text(), "new");
    let newer = stored(&redis, 1).await;
    gate.open();
    assert_eq!(late.response().await.text(), "old");
    assert_eq!(
        stored(&redis, 2).await.len(),
        2,
        "its own variant is stored"
    );
    let third = with_log(&origin, &redis, &log.url()).start();
    let response = third.get("/").await;
    assert_eq!(
        (response.text(), response.cache("detail")),
        ("new", Some("redis"))
    );
    let mut connection = connected(&redis).await;
    let () = connection.del(&newer).await.unwrap();
    way.release();
}

#[tokio::test]
async fn a_purge_reaches_every_variant_in_the_region() {
    for order in ORDERS {
        let redis = started();
        let origin = Origin::by(|asked| {
            fresh(asked.get("accept-language").unwrap_or_default()).with("vary", "accept-language")
        });
        let here = Edge::before(&origin).redis(&redis).start();
        let ask = |edge: &Edge, language: &str| {
            let request = edge.request("GET", "/");
            request.with("accept-language", language).send()
        };
        for language in ["de", "fr"] {
            ask(&here, language).await;
        }
        stored(&redis, 3).await;
        assert_eq!(here.order(order).await.status, 200);
        origin.now_by(|asked| {
            let language = asked.get("accept-language").unwrap_or_default();
            fresh(&format!("new {language}")).with("vary", "x-other")
        });
        // Afterwards other fields count.
        let late = Edge::before(&origin).redis(&redis).start();
        assert_eq!(ask(&late, "fr").await.text(), "new fr", "{order}");
        let before = origin.requests();
        patiently("the new ones in the region", async {
            loop {
                let edge = Edge::before(&origin).redis(&redis).start();
                let response = ask(&edge, "de").await;
                assert_eq!(response.text(), "new fr", "no field that counts differs");
                if response.cache("detail") == Some("redis") {
                    return;
                }
            }
        })
        .await;
        assert_eq!(origin.requests(), before);
    }
}

#[tokio::test]
async fn a_purge_that_was_not_recorded_neither_reads_nor_writes_the_region() {
    let redis = started();
    let folder = tempfile::tempdir().unwrap();
    let mut log = Redis::start_in(folder.path()).expect("redis-server is installed");
    let origin = Origin::always(fresh("old"));
    let url = log.url();
    let start = || {
        let edge = with_log(&origin, &redis, &url);
        edge.with("log.deadline = \"100ms\"").start()
    };
    let (here, there) = (start(), start());
    here.get("/").await;
    here.get("/other").await;
    stored(&redis, 2).await;
    assert_eq!(there.get("/").await.cache("detail"), Some("redis"));
    let before = contents(&redis).await;
    log.kill();
    assert_eq!(here.purge("/").await.status, 503);
    origin.now(fresh("new"));
    for _ in 0..3 {
        let response = here.get("/").await;
        assert_eq!(
            (response.text(), response.cache_status()),
            ("new", "fwd=miss")
        );
    }
    // What is stored after it here would have been written by then.
    here.get("/later").await;
    stored(&redis, 3).await;
    let after = contents(&redis).await;
    assert!(
        before.iter().all(|entry| after.contains(entry)),
        "nothing was replaced"
    );
    assert_eq!(
        here.get("/other").await.cache_status(),
        "hit",
        "others are none of its business"
    );
    for _ in 0..2 {
        let response = there.get("/").await;
        assert_eq!((response.text(), response.cache_status()), ("old", "hit"));
    }
    log.restart().expect("redis starts again");
    // Recorded, it reaches everybody and everything from before.
    for edge in [&there, &here] {
        patiently("the record", async {
            while edge.get("/").await.text() != "new" {}
        })
        .await;
    }
    patiently("a hit", async {
        while here.get("/").await.cache_status() != "hit" {}
    })
    .await;
    let late = start();
    assert_eq!(late.get("/").await.text(), "new");
}

#[tokio::test]
async fn what_was_under_way_during_a_purge_that_was_not_recorded_falls_by_its_record() {
    let redis = started();
    let folder = tempfile::tempdir().unwrap();
    let mut log = Redis::start_in(folder.path()).expect("redis-server is installed");
    let gate = Gate::closed();
    let origin = Origin::always(fresh("new"));
    origin.next(fresh("old").after(&gate));
    let url = log.url();
    let start = || {
        let edge = with_log(&origin, &redis, &url);
        edge.with("log.deadline = \"100ms\"").start()
    };
    let (here, there) = (start(), start());
    let mut late = there.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    log.kill();
    assert_eq!(here.purge("/").await.status, 503);
    gate.open();
    assert_eq!(late.response().await.text(), "old");
    stored(&redis, 1).await;
    assert_eq!(here.get("/").await.text(), "new", "not from the region");
    log.restart().expect("redis starts again");
    patiently("the record", async {
        while there.get("/").await.text() != "new" {}
    })
    .await;
    assert_eq!(start().get("/").await.text(), "new");
}

#[tokio::test]
async fn an_older_copy_in_the_region_does_not_come_after_a_newer_response() {
    let redis = started();
    let tail = Gate::closed();
    let origin = Origin::always(answer("new").with("cache-control", "max-age=10"));
    origin.next(fresh("old").then(&tail, ", all of it"));
    let start = || {
        Edge::before(&origin)
            .redis(&redis)
            .with("redis.lease = \"0s\"")
    };
    let here = start().start();
    // What this one fetches stays with it.
    let there = start().with("redis.max_entry = 1").on_the_clock_of(&here);
    let there = there.start();
    let mut slow = here.request("GET", "/").begin().await;
    slow.head().await;
    here.clock.advance(secs(1));
    assert_eq!(there.get("/").await.text(), "new");
    tail.open();
    assert_eq!(slow.rest().await, ("old, all of it".to_owned(), true));
    stored(&redis, 1).await;
    // The newer one expires, the older one has not.
    here.clock.advance(secs(20));
    origin.now(fresh("newest"));
    let response = there.get("/").await;
    assert_eq!(
        (response.text(), response.cache_status()),
        ("newest", "fwd=stale")
    );
    assert_eq!(there.get("/").await.cache("detail"), Some("memory"));
}

#[tokio::test]
async fn a_purge_between_finding_and_asking_drops_what_was_found() {
    for order in ORDERS {
        let (redis, log) = (started(), started());
        let short = answer("old").with_all(&[
            ("cache-control", "max-age=10"),
            ("etag", "\"1\""),
            ("surrogate-key", "t"),
        ]);
        let origin = Origin::always(short);
        let here = with_log(&origin, &redis, &log.url()).start();
        let there = with_log(&origin, &redis, &log.url())
            .on_the_clock_of(&here)
            .start();
        here.get("/").await;
        stored(&redis, 1).await;
        here.clock.advance(secs(20));
        // It is found, expired; before the origin is asked about it, it is purged.
        pause_scripts(&redis).await;
        let mut asking = there.request("GET", "/").begin().await;
        paused(&redis, 1).await;
        assert_eq!(there.order(order).await.status, 200);
        origin.now(fresh("new"));
        go_on(&redis).await;
        assert_eq!(asking.response().await.text(), "new", "{order}");
        assert_eq!(origin.last().get("if-none-match"), None, "{order}");
        assert_eq!(there.get("/").await.cache_status(), "hit");
    }
}

#[tokio::test]
async fn a_purge_while_the_region_is_asked_is_in_force_on_what_it_answers() {
    let (mut redis, log) = (started(), started());
    let origin = Origin::always(fresh("old"));
    let here = with_log(&origin, &redis, &log.url()).start();
    let there = with_log(&origin, &redis, &log.url()).start();
    here.get("/").await;
    stored(&redis, 1).await;
    redis.pause();
    let mut asking = there.request("GET", "/").begin().await;
    there.settled().await;
    assert_eq!(there.order(ORDERS[1]).await.status, 200);
    origin.now(fresh("new"));
    redis.resume();
    assert_eq!(asking.response().await.text(), "new");
}

#[tokio::test]
async fn a_region_that_forgets_at_random_breaks_nothing() {
    let (redis, log) = (started(), started());
    let origin = Origin::by(|asked| {
        fresh(asked.get("accept-language").unwrap_or_default()).with("vary", "accept-language")
    });
    let edges = [(); 2].map(|()| with_log(&origin, &redis, &log.url()).start());
    for round in 0..20 {
        for (index, language) in ["de", "fr"].into_iter().enumerate() {
            let edge = &edges[(round + index) % 2];
            let request = edge.request("GET", "/").with("accept-language", language);
            let response = request.send().await;
            assert_eq!((response.status, response.text()), (200, language));
        }
        let all = contents(&redis).await;
        match (round % 4, all.get(round % all.len().max(1))) {
            (0, _) | (_, None) => forget(&redis).await,
            (_, Some((key, _))) => {
                // One of them: the response, or the names of what it varies on.
                let mut connection = connected(&redis).await;
                let () = connection.del(key).await.unwrap();
            }
        }
        if round % 3 == 0 {
            assert_eq!(edges[round % 2].order(ORDERS[1]).await.status, 200);
        }
    }
}

#[tokio::test]
async fn edges_that_follow_different_logs_do_not_trust_each_others_entries() {
    let (redis, one, other) = (started(), started(), started());
    let origin = Origin::always(fresh("x").with("etag", "\"1\""));
    let here = with_log(&origin, &redis, &one.url()).start();
    let there = with_log(&origin, &redis, &other.url()).start();
    here.get("/").await;
    stored(&redis, 1).await;
    let response = there.get("/").await;
    assert_eq!(response.cache_status(), "fwd=stale");
    assert_eq!(response.cache("detail"), Some("below-floor"));
}

#[test]
fn a_shared_tier_always_comes_with_a_shared_log() {
    let read = |log: &str| {
        let text = format!(
            r#"
            redis.url = "redis://l2.example/"
            {log}
            [origins.app]
            url = "http://127.0.0.1:1"
            [[routes]]
            origin = "app"
            "#
        );
        Config::from_toml(&text, "test")
    };
    for (log, expected) in [
        ("", "redis://l2.example/"),
        ("log.trust = \"1s\"", "redis://l2.example/"),
        ("log.url = \"redis://log.example/\"", "redis://log.example/"),
    ] {
        let config = read(log).expect(log);
        let url = config.log_url().expect("the log is shared");
        assert_eq!(url.expose(), expected, "{log:?}");
    }
    for refused in [
        "log.url = \"\"",
        "log.url = \"none\"",
        "log.url = false",
        "log.in_process = true",
        "log = false",
    ] {
        assert!(read(refused).is_err(), "{refused}");
    }
}
