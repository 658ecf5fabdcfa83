//! Edges that share a Redis, and what they do without it.

use redis::AsyncCommands;
use tidegate_services::Redis;

use crate::support::redis::{connected, started, stored};
use crate::support::{Answer, Edge, Gate, Origin, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=3600")
        .with("etag", "\"1\"")
}

#[tokio::test]
async fn what_one_edge_has_fetched_answers_at_another() {
    let redis = started();
    let origin = Origin::always(
        fresh("shared")
            .with("x-kept", "1")
            .with("surrogate-key", "t"),
    );
    let here = Edge::before(&origin).redis(&redis).start();
    let there = Edge::before(&origin)
        .redis(&redis)
        .on_the_clock_of(&here)
        .start();
    here.get("/").await;
    stored(&redis, 1).await;
    here.clock.advance(secs(7));
    let hit = there.get("/").await;
    assert_eq!((hit.text(), hit.cache("detail")), ("shared", Some("redis")));
    assert_eq!(
        (hit.get("age"), hit.get("x-kept"), hit.get("etag")),
        (Some("7"), Some("1"), Some("\"1\""))
    );
    assert_eq!(
        there.get("/").await.cache("detail"),
        Some("memory"),
        "it is brought here"
    );
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn variants_are_shared_too() {
    let redis = started();
    let origin = Origin::by(|asked| {
        fresh(asked.get("accept-language").unwrap_or("none")).with("vary", "accept-language")
    });
    let here = Edge::before(&origin).redis(&redis).start();
    let there = Edge::before(&origin).redis(&redis).start();
    let ask = |edge: &Edge, language: &str| {
        edge.request("GET", "/")
            .with("accept-language", language)
            .send()
    };
    ask(&here, "de").await;
    ask(&here, "fr").await;
    stored(&redis, 3).await;
    for language in ["fr", "de"] {
        let hit = ask(&there, language).await;
        assert_eq!((hit.text(), hit.cache("detail")), (language, Some("redis")));
    }
    assert_eq!(ask(&there, "es").await.cache_status(), "fwd=vary-miss");
}

#[tokio::test]
async fn a_purge_at_one_edge_reaches_the_other_and_the_regional_tier() {
    for order in [
        r#"{"urls": ["edge.test/"]}"#,
        r#"{"tags": ["t"]}"#,
        r#"{"all": true}"#,
    ] {
        let redis = started();
        let origin = Origin::always(fresh("old").with("surrogate-key", "t"));
        let here = Edge::before(&origin).redis(&redis).start();
        let there = Edge::before(&origin).redis(&redis).start();
        here.get("/").await;
        stored(&redis, 1).await;
        assert_eq!(there.get("/").await.cache("detail"), Some("redis"));
        origin.now(fresh("new"));
        assert_eq!(here.order(order).await.status, 200);
        assert_eq!(here.get("/").await.text(), "new", "{order}");
        patiently("the purge", async {
            while there.get("/").await.text() != "new" {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_soft_purge_makes_it_stale_everywhere() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let here = Edge::before(&origin).redis(&redis).start();
    let there = Edge::before(&origin).redis(&redis).start();
    here.get("/").await;
    stored(&redis, 1).await;
    assert_eq!(there.get("/").await.cache_status(), "hit");
    here.order(r#"{"urls": ["edge.test/"], "soft": true}"#)
        .await;
    let stale = async { while there.get("/").await.cache_status() != "fwd=stale" {} };
    patiently("the soft purge", stale).await;
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn purges_at_once_from_everywhere_are_all_recorded_and_in_force() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let edges = [(); 2].map(|()| Edge::before(&origin).redis(&redis).start());
    let paths: Vec<_> = (0..20).map(|path| format!("/{path}")).collect();
    for path in &paths {
        edges[0].get(path).await;
        edges[1].get(path).await;
    }
    origin.now(fresh("new"));
    let purges = paths
        .iter()
        .enumerate()
        .map(|(index, path)| tokio::spawn(edges[index % 2].purge(path)));
    let mut positions = std::collections::BTreeSet::new();
    for purge in purges.collect::<Vec<_>>() {
        let receipt = purge.await.unwrap();
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        assert!(
            positions.insert(receipt.text().to_owned()),
            "each has a position of its own"
        );
    }
    for (index, path) in paths.iter().enumerate() {
        assert_eq!(edges[index % 2].get(path).await.text(), "new");
        let other = &edges[(index + 1) % 2];
        patiently("the purge", async {
            while other.get(path).await.text() != "new" {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_purge_elsewhere_that_overtakes_a_fetch_wins_in_the_regional_tier() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("new"));
    origin.next(fresh("old").after(&gate));
    let here = Edge::before(&origin).redis(&redis).start();
    let there = Edge::before(&origin).redis(&redis).start();
    let mut fetching = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    assert_eq!(there.purge("/").await.status, 200);
    gate.open();
    assert_eq!(fetching.response().await.text(), "old");
    // Whatever is stored of it by now, or will be.
    assert_eq!(there.get("/").await.text(), "new");
    patiently("the purge", async {
        while here.get("/").await.text() != "new" {}
    })
    .await;
}

#[tokio::test]
async fn a_regional_tier_that_does_not_answer_is_a_miss() {
    let redis = started();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with(&format!("log.url = {:?}", redis.url()))
        .with(&format!(
            "redis = {{ url = \"redis://{}\", deadline = \"5ms\" }}",
            silent.local_addr().unwrap()
        ))
        .start();
    for path in 0..10 {
        let response = edge.get(&format!("/{path}")).await;
        assert_eq!((response.status, response.text()), (200, "x"));
    }
    assert_eq!(edge.get("/0").await.cache_status(), "hit");
    let page = edge.admin("GET", "/metrics").send().await;
    for reason in ["deadline", "breaker-open"] {
        let line = format!("tidegate_redis_unavailable_total{{reason={reason:?}}}");
        assert!(page.text().contains(&line), "{line} in\n{}", page.text());
    }
}

#[tokio::test]
async fn an_edge_that_starts_late_knows_the_purges_before_it() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let here = Edge::before(&origin).redis(&redis).start();
    here.get("/").await;
    stored(&redis, 1).await;
    here.purge("/").await;
    let late = Edge::before(&origin).redis(&redis).start();
    assert_ne!(late.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn without_redis_clients_see_no_error_and_a_purge_is_in_force_here_until_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start_in(folder.path()).expect("redis-server is installed");
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with("log.deadline = \"100ms\"")
        .start();
    for path in 0..20 {
        assert_eq!(edge.get(&format!("/{path}")).await.status, 200);
    }
    redis.kill();
    for path in 10..40 {
        let response = edge.get(&format!("/{path}")).await;
        assert_eq!((response.status, response.text()), (200, "x"));
    }
    assert_eq!(edge.get("/1").await.cache_status(), "hit");
    let receipt = edge.purge("/1").await;
    assert_eq!(receipt.status, 503);
    assert!(
        receipt.text().contains("applied here, not recorded"),
        "{}",
        receipt.text()
    );
    for _ in 0..2 {
        assert_eq!(
            edge.get("/1").await.cache_status(),
            "fwd=miss",
            "it bypasses the cache"
        );
    }
    assert_eq!(edge.get("/2").await.cache_status(), "hit", "others do not");

    redis.restart().expect("redis starts again");
    let mut connection = connected(&redis).await;
    let recorded = async {
        loop {
            let log: redis::streams::StreamRangeReply =
                connection.xrange_all("tidegate:log").await.unwrap();
            if log
                .ids
                .iter()
                .any(|entry| format!("{entry:?}").contains("edge.test/1"))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("the record in the log", recorded).await;
    patiently("a hit", async {
        while edge.get("/1").await.cache_status() != "hit" {}
    })
    .await;
}

#[tokio::test]
async fn a_log_that_comes_back_empty_makes_everything_be_asked_for_again() {
    let mut redis = started();
    let origin = Origin::always(fresh("old").with("cache-control", "stale-if-error=3600"));
    let edge = Edge::before(&origin).redis(&redis).start();
    edge.get("/").await;
    edge.get("/other").await;
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    redis.restart().expect("redis starts again");
    let asked = async {
        loop {
            let response = edge.get("/").await;
            if response.cache_status() == "fwd=stale" {
                return;
            }
        }
    };
    patiently("the new log", asked).await;
    assert_eq!(
        origin.last().get("if-none-match"),
        Some("\"1\""),
        "validating is allowed"
    );
    origin.now(Answer::hang_up());
    assert_eq!(
        edge.get("/other").await.status,
        502,
        "serving it stale is not"
    );
}

#[tokio::test]
async fn what_cannot_be_read_in_redis_is_a_miss() {
    let redis = started();
    let origin = Origin::always(fresh("x"));
    let paths = ["/empty", "/text", "/cut", "/changed", "/list"];
    let here = Edge::before(&origin).redis(&redis).start();
    let mut connection = connected(&redis).await;
    for (index, path) in paths.iter().enumerate() {
        let before = stored(&redis, index).await;
        here.get(path).await;
        let keys = stored(&redis, index + 1).await;
        let key = keys.into_iter().find(|key| !before.contains(key)).unwrap();
        let mut bytes: Vec<u8> = connection.get(&key).await.unwrap();
        match *path {
            "/empty" => bytes.clear(),
            "/text" => bytes = b"something else".to_vec(),
            "/cut" => bytes.truncate(bytes.len() - 1),
            "/changed" => *bytes.last_mut().unwrap() ^= 1,
            _ => {}
        }
        if *path == "/list" {
            let () = connection.del(&key).await.unwrap();
            let () = connection.lpush(&key, "a").await.unwrap();
        } else {
            let () = connection.set(&key, bytes).await.unwrap();
        }
    }
    let there = Edge::before(&origin).redis(&redis).start();
    for path in paths {
        let response = there.get(path).await;
        assert_eq!((response.status, response.text()), (200, "x"), "{path}");
        assert_eq!(response.cache_status(), "fwd=uri-miss", "{path}");
    }
}

#[tokio::test]
async fn cut_off_from_the_log_a_route_asks_once_for_each_period_of_trust() {
    let mut redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with("log.trust = \"2s\"")
        .start();
    edge.get("/").await;
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    redis.kill();
    // The follower may still be hearing the last word.
    let distrusted = async {
        loop {
            edge.clock.advance(secs(3));
            if edge.get("/").await.cache_status() == "fwd=stale" {
                return;
            }
        }
    };
    patiently("distrust", distrusted).await;
    assert_eq!(
        edge.get("/").await.cache_status(),
        "hit",
        "asked a moment ago"
    );
    edge.clock.advance(secs(3));
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
    assert_eq!(edge.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn cut_off_from_the_log_a_route_that_says_serve_goes_on() {
    let mut redis = started();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .redis(&redis)
        .with("log.trust = \"2s\"")
        .route("on_partition = \"serve\"")
        .start();
    edge.get("/").await;
    redis.kill();
    for _ in 0..10 {
        edge.clock.advance(secs(3));
        assert_eq!(edge.get("/").await.cache_status(), "hit");
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn an_edge_starts_without_its_redis_and_is_not_ready_before_it_has_caught_up() {
    let mut redis = started();
    redis.kill();
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).redis(&redis).start();
    assert_eq!(edge.get("/").await.text(), "x");
    assert_eq!(edge.admin("GET", "/readyz").send().await.status, 503);
    redis.restart().expect("redis starts again");
    let ready = async { while edge.admin("GET", "/readyz").send().await.status != 200 {} };
    patiently("readiness", ready).await;
}
