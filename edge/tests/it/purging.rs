//! Purges, by whom and of what, and the races that they win.

use crate::support::edge::PURGE_TOKEN;
use crate::support::{Answer, Edge, Gate, Origin, Response, answer, fresh, patiently, secs};

#[tokio::test]
async fn purge_needs_the_token() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a"]).await;
    for token in [
        None,
        Some("Bearer wrong"),
        Some("purge-please"),
        Some("Basic purge-please"),
    ] {
        let request = edge.request("PURGE", "/a");
        let request = match token {
            Some(token) => request.with("authorization", token),
            None => request,
        };
        let refused = request.send().await;
        assert_eq!(
            (refused.status, refused.get("www-authenticate")),
            (401, Some("Bearer"))
        );
    }
    assert!(edge.is_stored("/a").await);
    let receipt = edge.purge("/a").await;
    assert_eq!(receipt.status, 200);
    let receipt: serde_json::Value = serde_json::from_slice(&receipt.body).unwrap();
    assert_eq!(receipt["records"], 1);
    assert!(receipt["position"].is_string());
    assert!(!edge.is_stored("/a").await);
    assert_eq!(edge.get("/a").await.cache_status(), "fwd=miss");
    assert_eq!(edge.get("/a").await.cache_status(), "hit", "stored anew");
}

#[tokio::test]
async fn without_a_token_set_nobody_purges_in_public() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).without("purge").start();
    edge.fill(&["/a"]).await;
    assert_eq!(edge.purge("/a").await.status, 401);
    assert!(edge.is_stored("/a").await);
    assert_eq!(origin.requests(), 1, "nor does the method reach the origin");
}

#[tokio::test]
async fn every_worker_heeds_a_purge_at_once() {
    let origin = Origin::always(fresh("old"));
    let edge = Edge::before(&origin).with("server.workers = 2").start();
    for round in 0..5 {
        for _ in 0..16 {
            edge.get("/a").await;
        }
        edge.purge("/a").await;
        let body = format!("{round}");
        origin.now(fresh(&body));
        for _ in 0..16 {
            assert_eq!(edge.get("/a").await.text(), body);
        }
    }
    assert_eq!(origin.requests(), 6);
}

#[tokio::test]
async fn a_validated_response_keeps_its_tags_and_is_past_the_purges_before() {
    let origin = Origin::always(fresh("x").with("etag", "\"1\"").with("surrogate-key", "t"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a"]).await;
    assert_eq!(
        edge.order(r#"{"tags": ["t"], "soft": true}"#).await.status,
        200
    );
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.next(confirmed.with("cache-control", "max-age=60"));
    assert_eq!(edge.get("/a").await.cache("fwd-status"), Some("304"));
    assert_eq!(
        edge.get("/a").await.cache_status(),
        "hit",
        "validated after the purge"
    );
    edge.order(r#"{"tags": ["t"]}"#).await;
    assert!(!edge.is_stored("/a").await);
}

#[tokio::test]
async fn a_purge_that_overtakes_a_validation_wins() {
    let origin = Origin::always(fresh("old").with("etag", "\"1\""));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/"]).await;
    edge.clock.advance(secs(60));
    let gate = Gate::closed();
    origin.next(answer("").status(304).with("etag", "\"1\"").after(&gate));
    origin.now(fresh("new"));
    let mut before = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    edge.purge("/").await;
    let mut after = edge.request("GET", "/").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(before.response().await.text(), "old");
    assert_eq!(after.response().await.text(), "new");
    assert_eq!(edge.get("/").await.text(), "new");
}

#[tokio::test]
async fn purge_takes_one_url_with_its_query_and_all_its_variants() {
    let origin = Origin::always(fresh("x").with("vary", "accept-language"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a", "/a?b", "/a/b"]).await;
    let german = || {
        edge.request("GET", "/a")
            .with("accept-language", "de")
            .send()
    };
    german().await;
    assert_eq!(german().await.cache_status(), "hit");
    edge.purge("/a").await;
    assert_eq!(german().await.cache_status(), "fwd=miss");
    assert!(!edge.is_stored("/a").await);
    assert!(edge.is_stored("/a?b").await && edge.is_stored("/a/b").await);
}

#[tokio::test]
async fn purge_with_surrogate_keys_takes_what_carries_one_of_them() {
    let origin =
        Origin::by(|asked| fresh("x").with("surrogate-key", asked.target.trim_matches('/')));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/one", "/two", "/three"]).await;
    let purge = edge
        .request("PURGE", "/three")
        .with("authorization", PURGE_TOKEN);
    assert_eq!(
        purge.with("surrogate-key", "one two").send().await.status,
        200
    );
    assert!(!edge.is_stored("/one").await && !edge.is_stored("/two").await);
    assert!(edge.is_stored("/three").await);
}

#[tokio::test]
async fn a_soft_purge_leaves_what_may_be_served_stale() {
    let origin = Origin::always(fresh("old").with("etag", "\"1\""));
    let edge = Edge::before(&origin)
        .route("stale_while_revalidate = \"10s\"")
        .start();
    let softly = |path: &str| {
        let purge = edge
            .request("PURGE", path)
            .with("authorization", PURGE_TOKEN);
        purge.with("fastly-soft-purge", "1").send()
    };
    edge.fill(&["/a", "/b"]).await;
    let gate = Gate::closed();
    origin.now(fresh("new").after(&gate));
    assert_eq!(softly("/a").await.status, 200);
    let stale = edge.get("/a").await;
    assert_eq!(
        (stale.text(), stale.cache("detail")),
        ("old", Some("stale-while-revalidate"))
    );
    gate.open();
    patiently("the refresh", async {
        while edge.get("/a").await.text() != "new" {}
    })
    .await;

    softly("/b").await;
    edge.clock.advance(secs(11));
    assert_eq!(
        edge.get("/b").await.cache_status(),
        "fwd=stale",
        "counted from the purge"
    );
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn a_hard_purge_leaves_nothing_to_stand_in() {
    let origin = Origin::always(fresh("old").with("etag", "\"1\""));
    let edge = Edge::before(&origin)
        .route("stale_if_error = \"1h\"")
        .start();
    edge.fill(&["/a"]).await;
    edge.purge("/a").await;
    origin.now(Answer::hang_up());
    assert_eq!(edge.get("/a").await.status, 502);
    assert_eq!(origin.last().get("if-none-match"), None);
}

/// An order, and what is left of /a, /a/b and /c.
const ORDERS: &[(&str, [bool; 3])] = &[
    (r#"{"urls": ["http://edge.test/a"]}"#, [false, true, true]),
    (
        r#"{"urls": ["EDGE.test:80/a", "edge.test/c"]}"#,
        [false, true, false],
    ),
    (r#"{"urls": ["other.test/a"]}"#, [true, true, true]),
    (r#"{"tags": ["/a/b"]}"#, [true, false, true]),
    (r#"{"prefixes": ["edge.test/a"]}"#, [false, false, true]),
    (r#"{"hosts": ["edge.test"]}"#, [false, false, false]),
    (r#"{"hosts": ["other.test"]}"#, [true, true, true]),
    (r#"{"all": true}"#, [false, false, false]),
];

#[tokio::test]
async fn an_order_takes_what_it_names() {
    for (order, left) in ORDERS {
        let origin = Origin::by(|asked| fresh("x").with("cache-tag", &asked.target));
        let edge = Edge::before(&origin).start();
        edge.fill(&["/a", "/a/b", "/c"]).await;
        assert_eq!(edge.order(order).await.status, 200, "{order}");
        for (path, is_left) in ["/a", "/a/b", "/c"].iter().zip(left) {
            assert_eq!(edge.is_stored(path).await, *is_left, "{path} after {order}");
        }
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_meant_is_refused_and_says_why() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    for (order, reason) in [
        ("", "body:"),
        ("{", "body:"),
        (r#"{"url": ["edge.test/a"]}"#, "unknown field `url`"),
        (r#"{"urls": "edge.test/a"}"#, "body:"),
        ("{}", "nothing to purge"),
        (r#"{"urls": ["/a"]}"#, "does not begin with a host"),
        (r#"{"prefixes": ["edge.test"]}"#, "has no path"),
        (r#"{"tags": ["a b"]}"#, "white space"),
        (r#"{"hosts": ["*.edge.test"]}"#, "no pattern"),
        ("[[], [], [], [], true]", "body: not a JSON object"),
    ] {
        let refused = edge.order(order).await;
        assert_eq!(refused.status, 400, "{order}");
        assert!(
            refused.text().contains(reason),
            "{order}: {}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn a_purge_by_a_field_that_names_nothing_is_refused() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a"]).await;
    for (field, value) in [
        ("cache-groups", "start page"),
        ("surrogate-key", " "),
        ("cache-tag", ""),
        ("xkey", ""),
    ] {
        let purge = edge
            .request("PURGE", "/a")
            .with("authorization", PURGE_TOKEN);
        let refused = purge.with(field, value).send().await;
        assert_eq!(refused.status, 400, "{field}");
        assert!(refused.text().contains(field), "{}", refused.text());
    }
    assert!(edge.is_stored("/a").await, "nothing else was purged");
}

#[tokio::test]
async fn a_purge_that_overtakes_a_fetch_wins() {
    let (head, tail) = (Gate::closed(), Gate::closed());
    let origin = Origin::always(fresh("new"));
    origin.next(
        fresh("old, ")
            .after(&head)
            .then(&tail, "still old")
            .chunked(),
    );
    origin.next(fresh("old, ").then(&tail, "still old").chunked());
    let edge = Edge::before(&origin).start();
    // Once before the head of the response, once within its body.
    let mut early = edge.request("GET", "/early").begin().await;
    origin.asked_for(1).await;
    let mut within = edge.request("GET", "/within").begin().await;
    within.head().await;
    for path in ["/early", "/within"] {
        edge.purge(path).await;
    }
    head.open();
    tail.open();
    assert_eq!(
        early.response().await.text(),
        "old, still old",
        "it asked before the purge"
    );
    assert_eq!(within.rest().await, ("old, still old".to_owned(), true));
    for path in ["/early", "/within"] {
        assert_eq!(edge.get(path).await.text(), "new");
    }
    assert_eq!(origin.requests(), 4);
}

#[tokio::test]
async fn who_asks_after_a_purge_does_not_join_a_fetch_from_before_it() {
    for scope in [
        r#"{"urls": ["edge.test/"]}"#,
        r#"{"tags": ["t"]}"#,
        r#"{"all": true}"#,
    ] {
        let gate = Gate::closed();
        let origin = Origin::always(fresh("new"));
        origin.next(fresh("old").with("surrogate-key", "t").after(&gate));
        let edge = Edge::before(&origin).start();
        let mut before = edge.request("GET", "/").begin().await;
        origin.asked_for(1).await;
        let mut joined = edge.request("GET", "/").begin().await;
        edge.settled().await;
        edge.order(scope).await;
        let mut after = edge.request("GET", "/").begin().await;
        edge.settled().await;
        gate.open();
        assert_eq!(before.response().await.text(), "old", "{scope}");
        // Who waits is better served with what is new.
        assert_eq!(joined.response().await.text(), "new", "{scope}");
        assert_eq!(after.response().await.text(), "new", "{scope}");
        assert_eq!(edge.get("/").await.text(), "new", "{scope}");
    }
}

#[tokio::test]
async fn a_purge_during_a_background_refresh_wins() {
    let origin = Origin::always(fresh("first"));
    let edge = Edge::before(&origin)
        .route("stale_while_revalidate = \"1h\"")
        .start();
    edge.fill(&["/"]).await;
    edge.clock.advance(secs(61));
    let gate = Gate::closed();
    origin.next(fresh("old").after(&gate));
    origin.now(fresh("new"));
    assert_eq!(edge.get("/").await.text(), "first");
    origin.asked_for(2).await;
    edge.purge("/").await;
    let mut after = edge.request("GET", "/").begin().await;
    edge.settled().await;
    gate.open();
    for response in [after.response().await, edge.get("/").await] {
        assert_eq!(response.text(), "new");
    }
}

#[tokio::test]
async fn a_soft_purge_during_a_validation_is_seen_by_those_who_come_after() {
    let tagged = |body: &str| fresh(body).with("etag", "\"1\"").with("surrogate-key", "t");
    let origin = Origin::always(tagged("old"));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(61));
    let gate = Gate::closed();
    let not_modified = answer("").status(304).with("etag", "\"1\"");
    origin.next(
        not_modified
            .with("cache-control", "max-age=60")
            .after(&gate),
    );
    origin.now(tagged("new"));
    let mut before = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    edge.order(r#"{"tags": ["t"], "soft": true}"#).await;
    let mut after = edge.request("GET", "/").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(before.response().await.text(), "old");
    assert_eq!(after.response().await.text(), "new");
}

fn assert_too_many(refused: &Response, seconds: &str) {
    let told = (refused.status, refused.get("retry-after"));
    assert_eq!(told, (429, Some(seconds)), "{}", refused.text());
    let content_type = refused.get("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
}

#[tokio::test]
async fn purge_requests_are_limited_on_both_listeners_together() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).with("purge.limit = \"2/m\"").start();
    let order = || edge.order(r#"{"tags": ["t"]}"#);
    edge.fill(&["/a"]).await;
    // Whoever has no token takes nothing from those who have.
    for _ in 0..5 {
        assert_eq!(edge.request("PURGE", "/a").send().await.status, 401);
    }
    assert_eq!(edge.purge("/other").await.status, 200);
    assert_eq!(edge.order("{").await.status, 400, "a request all the same");
    assert_too_many(&edge.purge("/a").await, "30");
    assert_too_many(&order().await, "30");
    assert!(edge.is_stored("/a").await, "nothing was purged");
    edge.clock.advance(secs(29));
    assert_too_many(&order().await, "1");
    edge.clock.advance(secs(1));
    assert_eq!(edge.purge("/a").await.status, 200);
    assert_too_many(&edge.purge("/a").await, "30");
    let page = edge.admin("GET", "/metrics").send().await;
    let limited = "tidegate_purge_requests_total{outcome=\"limited\"} 4";
    assert!(page.text().contains(limited), "{}", page.text());
}

#[tokio::test]
async fn the_records_that_purge_requests_come_to_are_limited() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .with("purge.record_limit = \"6/m\"")
        .start();
    let order = |records: usize| {
        let tags: Vec<_> = (0..records).map(|tag| format!("t{tag}")).collect();
        let order = serde_json::json!({ "tags": tags });
        let edge = &edge;
        async move { edge.order(&order.to_string()).await }
    };
    let refused = order(7).await;
    assert_eq!(refused.status, 400);
    let reason = "7 records at once: purge.record_limit allows 6";
    assert!(refused.text().contains(reason), "{}", refused.text());
    assert_eq!(order(4).await.status, 200);
    assert_too_many(&order(3).await, "10");
    assert_eq!(order(2).await.status, 200);
    assert_too_many(&edge.purge("/").await, "10");
    edge.clock.advance(secs(60));
    assert_eq!(order(6).await.status, 200);
}

#[tokio::test]
async fn what_a_write_invalidates_is_never_limited() {
    let origin = Origin::always(fresh("x"));
    let limits = "purge = { limit = \"1/h\", record_limit = \"1/h\" }";
    let edge = Edge::before(&origin).with(limits).start();
    assert_eq!(edge.purge("/other").await.status, 200);
    assert_too_many(&edge.purge("/other").await, "3600");
    for _ in 0..3 {
        edge.fill(&["/a"]).await;
        assert_eq!(edge.request("DELETE", "/a").send().await.status, 200);
        assert!(!edge.is_stored("/a").await);
    }
}
