//! Which stored response answers which request, and from where (RFC 9111 §4).

use crate::support::{Edge, Origin, answer, patiently, secs};

#[tokio::test]
async fn variants_live_side_by_side() {
    let origin = Origin::by(|asked| {
        let language = asked.get("accept-language").unwrap_or("none").to_owned();
        answer(language)
            .with("vary", "Accept-Language")
            .with("cache-control", "max-age=60")
    });
    let edge = Edge::before(&origin).start();
    let ask = |language: &'static str| {
        edge.request("GET", "/")
            .with("accept-language", language)
            .send()
    };
    assert_eq!(ask("de").await.cache_status(), "fwd=uri-miss");
    assert_eq!(ask("fr").await.cache_status(), "fwd=vary-miss");
    assert_eq!(
        edge.get("/").await.cache_status(),
        "fwd=vary-miss",
        "absent equals only absent"
    );
    for language in ["de", "fr", "de"] {
        let hit = ask(language).await;
        assert_eq!((hit.text(), hit.cache_status()), (language, "hit"));
    }
    let hit = edge.get("/").await;
    assert_eq!((hit.text(), hit.cache_status()), ("none", "hit"));
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn the_key_has_the_host_the_path_and_the_query() {
    let origin = Origin::by(|asked| {
        let body = format!("{}{}", asked.get("host").unwrap_or_default(), asked.target);
        answer(body).with("cache-control", "max-age=60")
    });
    let edge = Edge::before(&origin).start();
    let places = [
        ("a.test", "/x"),
        ("a.test", "/x?1"),
        ("a.test", "/x?2"),
        ("b.test", "/x"),
        ("a.test:81", "/x"),
    ];
    for expected in ["fwd=uri-miss", "hit"] {
        for (host, path) in places {
            let response = edge.request("GET", path).with("host", host).send().await;
            assert_eq!(response.text(), format!("{host}{path}"));
            assert_eq!(response.cache_status(), expected, "{host}{path}");
        }
    }
    let spelled = edge
        .request("GET", "/x")
        .with("host", "A.Test:80")
        .send()
        .await;
    assert_eq!(
        (spelled.text(), spelled.cache_status()),
        ("a.test/x", "hit")
    );
}

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get_and_never_stands_in_for_one() {
    let origin = Origin::answers("hello").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    let head = edge.request("HEAD", "/").send().await;
    assert_eq!(
        (head.status, head.get("content-length"), head.text()),
        (200, Some("5"), "")
    );
    assert_eq!(edge.get("/").await.cache_status(), "fwd=uri-miss");
    let head = edge.request("HEAD", "/").send().await;
    assert_eq!(
        (head.cache_status(), head.get("content-length"), head.text()),
        ("hit", Some("5"), "")
    );
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn request_directives_count_only_where_the_route_heeds_them() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let deaf = Edge::before(&origin).start();
    deaf.get("/").await;
    let reload = deaf
        .request("GET", "/")
        .with("cache-control", "no-cache")
        .send()
        .await;
    assert_eq!(reload.cache_status(), "hit");

    let edge = Edge::before(&origin)
        .route("honour_request_directives = true")
        .start();
    let ask = |directive: &'static str| {
        edge.request("GET", "/")
            .with("cache-control", directive)
            .send()
    };
    let nothing = ask("only-if-cached").await;
    assert_eq!(nothing.status, 504, "nothing is stored (§5.2.1.7)");
    edge.get("/").await;
    assert_eq!(ask("only-if-cached").await.cache_status(), "hit");
    assert_eq!(ask("no-cache").await.cache_status(), "fwd=stale");
    edge.clock.advance(secs(10));
    assert_eq!(ask("max-age=9").await.cache_status(), "fwd=stale");
    assert_eq!(ask("max-age=11").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_get_with_a_body_is_not_answered_from_the_store() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let asked = edge.request("GET", "/").body("a query").send().await;
    assert_eq!(
        (asked.cache_status(), origin.last().body),
        ("fwd=bypass", b"a query".to_vec())
    );
}

#[tokio::test]
async fn without_a_budget_a_worker_keeps_nothing_of_its_own() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).with("cache.hot = 0").start();
    edge.get("/").await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.cache("detail"), Some("memory"));
    }
}

#[tokio::test]
async fn memory_stays_within_its_budget() {
    let origin = Origin::always(answer(vec![b'x'; 10_000]).with("cache-control", "max-age=60"));
    let edge = Edge::before(&origin)
        .with("cache.memory = 100_000\ncache.max_entry = 50_000")
        .start();
    for path in 0..50 {
        edge.get(&format!("/{path}")).await;
    }
    // Housekeeping is done by those who come by.
    let tidied = async {
        loop {
            edge.get("/0").await;
            let page = edge.admin("GET", "/metrics").send().await;
            let held = page
                .text()
                .lines()
                .find_map(|line| line.strip_prefix("tidegate_memory_bytes "));
            let held: u64 = held.unwrap().parse().unwrap();
            if (1..=100_000).contains(&held) {
                return;
            }
        }
    };
    patiently("a tidy memory", tidied).await;
}

#[tokio::test]
async fn the_key_is_told_where_that_is_wanted() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    for is_told in [false, true] {
        let edge = Edge::before(&origin)
            .with(&format!("server.cache_status_key = {is_told}"))
            .route("key = { query = { except = [\"utm_*\"] } }")
            .start();
        let expected = is_told.then_some("\"edge.test/a?b=1\"");
        for _ in 0..3 {
            let response = edge.get("/a?b=1&utm_source=x").await;
            assert_eq!(response.cache("key"), expected);
        }
    }
}
