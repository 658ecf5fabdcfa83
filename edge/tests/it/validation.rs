//! How a stale response is validated, and how the edge answers conditions itself (RFC 9111 §4.3).

use crate::support::{Answer, Edge, Fields, Origin, answer, secs};

const CHANGED: &str = "Tue, 15 Nov 1994 12:45:26 GMT";

fn tagged(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"")
}

fn not_modified() -> Answer {
    answer("")
        .status(304)
        .with("etag", "\"1\"")
        .with("cache-control", "max-age=60")
}

#[tokio::test]
async fn a_304_renews_the_stored_entry() {
    let origin = Origin::always(tagged("hello").with("x-kept", "1").with("x-changed", "old"));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.next(not_modified().with("x-changed", "new"));
    let renewed = edge.get("/").await;
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
    assert_eq!((renewed.status, renewed.text()), (200, "hello"));
    assert_eq!(
        (renewed.cache_status(), renewed.cache("fwd-status")),
        ("fwd=stale", Some("304"))
    );
    edge.clock.advance(secs(59));
    let hit = edge.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.get("age"), hit.text()),
        ("hit", Some("59"), "hello")
    );
    for response in [&renewed, &hit] {
        assert_eq!(
            (response.get("x-kept"), response.get("x-changed")),
            (Some("1"), Some("new"))
        );
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_stale_entry_without_an_etag_is_validated_by_its_date() {
    let origin = Origin::answers("x")
        .with("cache-control", "max-age=60")
        .with("last-modified", CHANGED);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.next(answer("").status(304));
    assert_eq!(edge.get("/").await.text(), "x");
    assert_eq!(origin.last().get("if-modified-since"), Some(CHANGED));
}

#[tokio::test]
async fn a_changed_response_takes_the_place_of_the_stale_one() {
    let origin = Origin::always(tagged("old"));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.now(
        answer("new")
            .with("cache-control", "max-age=60")
            .with("etag", "\"2\""),
    );
    assert_eq!(edge.get("/").await.text(), "new");
    let hit = edge.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.text(), hit.get("etag")),
        ("hit", "new", Some("\"2\""))
    );
}

#[tokio::test]
async fn a_request_guarded_by_the_origins_state_is_the_origins_to_answer() {
    let origin = Origin::by(|request| match request.get("if-match") {
        Some("\"1\"") | None => tagged("hello"),
        Some(_) => answer("").status(412),
    });
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let guarded = edge.request("GET", "/").with("if-match", "\"2\"");
    assert_eq!(guarded.send().await.status, 412);
}

#[tokio::test]
async fn the_clients_conditions_and_ranges_never_take_the_place_of_ours() {
    let origin = Origin::always(tagged("hello"));
    let edge = Edge::before(&origin).start();
    let conditions = [
        ("if-none-match", "\"other\""),
        ("if-modified-since", CHANGED),
        ("if-range", "\"other\""),
        ("range", "bytes=0-1"),
    ];
    let ask = || edge.request("GET", "/").with_all(&conditions).send();
    ask().await;
    for (name, _) in &conditions[..2] {
        assert_eq!(origin.last().get(name), None, "{name} on a miss");
    }
    edge.clock.advance(secs(60));
    ask().await;
    let asked = origin.last();
    assert_eq!(origin.requests(), 2);
    assert_eq!(
        asked.head.all("if-none-match").collect::<Vec<_>>(),
        ["\"1\""],
        "ours alone"
    );
    for (name, _) in &conditions[1..] {
        assert_eq!(asked.get(name), None, "{name} when validating");
    }
}

#[tokio::test]
async fn the_origins_304_to_us_never_becomes_the_clients() {
    let origin = Origin::always(tagged("hello"));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.next(not_modified());
    let other = edge
        .request("GET", "/")
        .with("if-none-match", "\"0\"")
        .send()
        .await;
    assert_eq!((other.status, other.text()), (200, "hello"));
    edge.clock.advance(secs(60));
    origin.next(not_modified());
    let same = edge
        .request("GET", "/")
        .with("if-none-match", "\"1\"")
        .send()
        .await;
    assert_eq!((same.status, same.text()), (304, ""));
}

/// A condition, and whether a stored response with ETag "1" and a Last-Modified is answered 304.
const CONDITIONS: &[(&str, Fields, bool)] = &[
    ("RFC 9110 §13.1.2", &[("if-none-match", "\"1\"")], true),
    (
        "RFC 9110 §13.1.2, weak",
        &[("if-none-match", "W/\"1\"")],
        true,
    ),
    (
        "RFC 9110 §13.1.2, a list",
        &[("if-none-match", "\"0\", \"1\"")],
        true,
    ),
    ("RFC 9110 §13.1.2, any", &[("if-none-match", "*")], true),
    (
        "RFC 9110 §13.1.2, another",
        &[("if-none-match", "\"2\"")],
        false,
    ),
    ("RFC 9110 §13.1.3", &[("if-modified-since", CHANGED)], true),
    (
        "RFC 9110 §13.1.3, later",
        &[("if-modified-since", "Wed, 16 Nov 1994 12:45:26 GMT")],
        true,
    ),
    (
        "RFC 9110 §13.1.3, earlier",
        &[("if-modified-since", "Mon, 14 Nov 1994 12:45:26 GMT")],
        false,
    ),
    (
        "RFC 9110 §13.2.2",
        &[("if-none-match", "\"2\""), ("if-modified-since", CHANGED)],
        false,
    ),
];

#[tokio::test]
async fn the_edge_answers_conditions_itself_on_a_miss_and_on_a_hit() {
    for (rule, conditions, is_not_modified) in CONDITIONS {
        let origin = Origin::always(
            tagged("hello")
                .with("last-modified", CHANGED)
                .with("content-type", "text/plain"),
        );
        let edge = Edge::before(&origin).start();
        for expected in ["fwd=uri-miss", "hit"] {
            let response = edge.request("GET", "/").with_all(conditions).send().await;
            let status = if *is_not_modified { 304 } else { 200 };
            assert_eq!(
                (response.status, response.cache_status()),
                (status, expected),
                "{rule}"
            );
            assert_eq!(response.get("etag"), Some("\"1\""), "{rule}");
            assert_eq!(response.get("cache-control"), Some("max-age=60"), "{rule}");
            if *is_not_modified {
                assert_eq!(
                    (response.get("content-type"), response.text()),
                    (None, ""),
                    "{rule}"
                );
            }
            // Read whole, so that it is stored: a 304 may come before the body has.
            assert_eq!(edge.get("/").await.text(), "hello", "{rule}");
        }
        assert_eq!(origin.requests(), 1, "{rule}");
    }
}

#[tokio::test]
async fn a_304_that_speaks_of_something_else_is_asked_again_without_conditions() {
    let origin = Origin::always(tagged("old"));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.next(answer("").status(304).with("etag", "\"2\""));
    origin.next(
        answer("new")
            .with("cache-control", "max-age=60")
            .with("etag", "\"2\""),
    );
    let response = edge.get("/").await;
    assert_eq!((response.status, response.text()), (200, "new"));
    assert_eq!(origin.requests(), 3);
    assert_eq!(origin.last().get("if-none-match"), None);
    assert_eq!(edge.get("/").await.text(), "new");
}

#[tokio::test]
async fn no_cache_is_stored_and_validated_each_time() {
    let origin = Origin::answers("x")
        .with("cache-control", "no-cache, max-age=60")
        .with("etag", "\"1\"");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    for requests in 2..4 {
        origin.next(answer("").status(304).with("etag", "\"1\""));
        assert_eq!(edge.get("/").await.text(), "x");
        assert_eq!(origin.requests(), requests);
        assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
    }
}

#[tokio::test]
async fn a_validation_carries_the_fields_that_select_the_variant() {
    let origin = Origin::always(tagged("x").with("vary", "accept-language"));
    let edge = Edge::before(&origin).start();
    let ask = || {
        edge.request("GET", "/")
            .with("accept-language", "de")
            .send()
    };
    ask().await;
    edge.clock.advance(secs(60));
    origin.next(not_modified().with("vary", "accept-language"));
    ask().await;
    assert_eq!(origin.last().get("accept-language"), Some("de"));
    assert_eq!(ask().await.cache_status(), "hit");
}

#[tokio::test]
async fn a_304_keeps_the_tags_that_it_does_not_name() {
    for named in ["", "b"] {
        let origin = Origin::always(
            tagged("hello")
                .with("surrogate-key", "a")
                .with("cache-groups", "\"g\""),
        );
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(60));
        origin.next(not_modified().with("surrogate-key", named));
        edge.get("/").await;
        assert_eq!(edge.get("/").await.cache_status(), "hit");
        edge.order(r#"{"tags": ["a"]}"#).await;
        assert_ne!(
            edge.get("/").await.cache_status(),
            "hit",
            "304 with {named:?}"
        );
    }
}

#[tokio::test]
async fn why_what_is_stored_was_not_used_is_told_and_counted() {
    // The origin's Cache-Control, what happens to what is stored, and the reason.
    for (cache_control, soft_purge, reason) in [
        ("max-age=60", false, "expired"),
        ("max-age=3600", true, "soft-purged"),
        ("no-cache", false, "no-cache"),
    ] {
        let origin = Origin::answers("x")
            .with("cache-control", cache_control)
            .with("etag", "\"1\"");
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(60));
        if soft_purge {
            edge.order(r#"{"all": true, "soft": true}"#).await;
        }
        let asked = edge.get("/").await;
        assert_eq!(
            (asked.cache("fwd"), asked.cache("detail")),
            (Some("stale"), Some(reason))
        );
        let page = edge.admin("GET", "/metrics").send().await;
        assert!(
            page.text()
                .contains("tidegate_forwarded_total{reason=\"stale\"} 1"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_field_that_ends_at_this_hop_selects_no_variant() {
    let origin = Origin::by(|asked| {
        let language = asked.get("accept-language").unwrap_or("none").to_owned();
        tagged(&language).with("vary", "accept-language")
    });
    let edge = Edge::before(&origin).start();
    let nominated = [("accept-language", "de"), ("connection", "accept-language")];
    let poisoned = edge.request("GET", "/").with_all(&nominated).send().await;
    assert_eq!(poisoned.text(), "none", "the origin never sees it");
    let german = edge
        .request("GET", "/")
        .with("accept-language", "de")
        .send()
        .await;
    assert_eq!(german.text(), "de");
}

#[tokio::test]
async fn what_depends_on_the_clients_address_is_stored_for_nobody() {
    let origin = Origin::always(tagged("yours").with("vary", "x-forwarded-for"));
    let edge = Edge::before(&origin).start();
    for requests in 1..3 {
        let answered = edge.get("/").await;
        assert_eq!(answered.cache("detail"), Some("vary-on-address"));
        assert_eq!(origin.requests(), requests);
    }
}

#[tokio::test]
async fn what_a_304_without_a_date_renews_is_dated_by_us() {
    let origin = Origin::always(tagged("x").with("date", CHANGED));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    origin.next(not_modified());
    let renewed = edge.get("/").await.get("date").map(str::to_owned);
    edge.clock.advance(secs(5));
    let hit = edge.get("/").await;
    assert_eq!(hit.cache_status(), "hit");
    assert_eq!(hit.get("date"), renewed.as_deref(), "it stays as stored");
}
