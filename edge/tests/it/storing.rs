//! What is stored, and what it is used for again (RFC 9111 §3, §4).

use tidegate_semantics::format_date;

use crate::support::{Answer, Edge, Fields, Gate, Origin, answer, secs};

#[tokio::test]
async fn a_fresh_response_is_served_again_with_its_age_until_its_lifetime_is_over() {
    let origin = Origin::answers("hello").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    let miss = edge.get("/a").await;
    assert_eq!((miss.status, miss.text()), (200, "hello"));
    assert_eq!(
        (miss.cache_status(), miss.cache("ttl")),
        ("fwd=uri-miss", Some("60"))
    );
    assert_eq!((miss.cache("stored"), miss.get("age")), (Some(""), None));
    edge.clock.advance(secs(59));
    let hit = edge.get("/a").await;
    assert_eq!(
        (hit.text(), hit.cache_status(), hit.get("age")),
        ("hello", "hit", Some("59"))
    );
    assert_eq!(
        (hit.cache("ttl"), hit.cache("detail")),
        (Some("1"), Some("memory"))
    );
    assert_eq!(edge.get("/a").await.cache("detail"), Some("hot"));
    edge.clock.advance(secs(1));
    assert_eq!(edge.get("/a").await.cache_status(), "fwd=stale");
    assert_eq!(origin.requests(), 2);
}

/// The fields of a response, and whether it answers a second request.
const STORED: &[(&str, u16, Fields, bool)] = &[
    ("§4.2.1: nothing to go by", 200, &[], false),
    (
        "§5.2.2.10",
        200,
        &[("cache-control", "max-age=0, s-maxage=9")],
        true,
    ),
    (
        "§5.2.2.5",
        200,
        &[("cache-control", "max-age=9, no-store")],
        false,
    ),
    (
        "§5.2.2.7",
        200,
        &[("cache-control", "max-age=9, private")],
        false,
    ),
    (
        "§5.2.2.4",
        200,
        &[("cache-control", "max-age=9, no-cache")],
        false,
    ),
    (
        "RFC 9213 §2.2",
        200,
        &[
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=9"),
        ],
        true,
    ),
    ("§3, a 404", 404, &[("cache-control", "max-age=9")], true),
    ("§3, a 404 without freshness", 404, &[], false),
    ("§3, a 500", 500, &[("cache-control", "max-age=9")], true),
    (
        "§3, an unknown status",
        599,
        &[("cache-control", "max-age=9")],
        true,
    ),
    (
        "§4.1, anything may select it",
        200,
        &[("cache-control", "max-age=9"), ("vary", "*")],
        false,
    ),
    (
        "§7.3",
        200,
        &[("cache-control", "max-age=9"), ("set-cookie", "a=b")],
        true,
    ),
    (
        "§4.2.3, older than it lives",
        200,
        &[("cache-control", "max-age=9"), ("age", "9")],
        false,
    ),
];

#[tokio::test]
async fn what_may_be_stored_answers_the_next_request_and_nothing_else_does() {
    for (rule, status, fields, is_stored) in STORED {
        let origin = Origin::always(answer("body").status(*status).with_all(fields));
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        let second = edge.get("/").await;
        assert_eq!((second.status, second.text()), (*status, "body"), "{rule}");
        assert_eq!(second.cache_status() == "hit", *is_stored, "{rule}");
        assert_eq!(origin.requests(), if *is_stored { 1 } else { 2 }, "{rule}");
    }
}

#[tokio::test]
async fn a_refusal_to_store_is_named() {
    for (fields, detail) in [
        (("cache-control", "no-store"), "no-store"),
        (("cache-control", "private"), "private"),
        (("vary", "*"), "vary-star"),
        (("content-type", "text/plain"), "not-fresh-nor-validatable"),
    ] {
        let origin = Origin::answers("x").with(fields.0, fields.1);
        let edge = Edge::before(&origin).start();
        assert_eq!(edge.get("/").await.cache("detail"), Some(detail));
    }
}

#[tokio::test]
async fn a_tenth_of_the_time_since_last_modified_is_a_lifetime() {
    let origin = Origin::answers("old");
    let edge = Edge::before(&origin).start();
    let changed = edge.clock.now().minus(secs(1000));
    origin.now(answer("old").with("last-modified", format_date(changed).to_str().unwrap()));
    edge.get("/").await;
    edge.clock.advance(secs(99));
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    edge.clock.advance(secs(1));
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
}

#[tokio::test]
async fn expires_counts_from_date() {
    let origin = Origin::answers("dated");
    let edge = Edge::before(&origin).start();
    let now = edge.clock.now();
    let date = |seconds| {
        format_date(now.plus(secs(seconds)))
            .to_str()
            .unwrap()
            .to_owned()
    };
    origin.now(
        answer("dated")
            .with("date", &date(0))
            .with("expires", &date(30)),
    );
    edge.get("/").await;
    edge.clock.advance(secs(29));
    let hit = edge.get("/").await;
    assert_eq!((hit.cache_status(), hit.get("age")), ("hit", Some("29")));
    assert_eq!(
        hit.get("date"),
        Some(date(0).as_str()),
        "Date stays as it was stored"
    );
    edge.clock.advance(secs(1));
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
}

#[tokio::test]
async fn an_authorized_response_is_shared_only_where_it_says_so() {
    for (cache_control, is_shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
    ] {
        let origin = Origin::answers("mine").with("cache-control", cache_control);
        let edge = Edge::before(&origin).start();
        edge.request("GET", "/")
            .with("authorization", "Basic me")
            .send()
            .await;
        let second = edge.get("/").await;
        assert_eq!(second.cache_status() == "hit", is_shared, "{cache_control}");
    }
}

#[tokio::test]
async fn unknown_fields_are_replayed_and_hop_by_hop_ones_are_not() {
    let origin = Origin::answers("x")
        .with("cache-control", "max-age=60")
        .with("x-custom", "kept")
        .with("connection", "x-hop")
        .with("x-hop", "dropped")
        .with("keep-alive", "timeout=5")
        .with("surrogate-key", "one two");
    let edge = Edge::before(&origin).start();
    for expected in ["fwd=uri-miss", "hit"] {
        let response = edge.get("/").await;
        assert_eq!(response.cache_status(), expected);
        assert_eq!(response.get("x-custom"), Some("kept"));
        for name in ["x-hop", "keep-alive", "surrogate-key"] {
            assert_eq!(response.get(name), None, "{name} in {expected}");
        }
    }
}

#[tokio::test]
async fn a_page_under_a_name_that_promises_a_style_sheet_is_not_stored() {
    let origin = Origin::answers("<p>balance</p>")
        .with("cache-control", "max-age=60")
        .with("content-type", "text/html");
    let edge = Edge::before(&origin).start();
    let response = edge.get("/account/x.css").await;
    assert_eq!(response.cache("detail"), Some("deception"));
    assert_eq!(
        edge.get("/account/x.css").await.cache_status(),
        "fwd=uri-miss"
    );
}

#[tokio::test]
async fn the_routes_own_ttl_overrules_the_origin_and_its_default_fills_a_gap() {
    let origin = Origin::answers("x").with("cache-control", "max-age=1");
    let edge = Edge::before(&origin).route("ttl = \"1m\"").start();
    edge.get("/").await;
    edge.clock.advance(secs(59));
    assert_eq!(edge.get("/").await.cache_status(), "hit");

    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).route("default_ttl = \"1m\"").start();
    edge.get("/").await;
    edge.clock.advance(secs(59));
    assert_eq!(edge.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn lifetimes_by_status_count_where_the_response_states_none() {
    // Status, its own Cache-Control, and whether the next request, five seconds later, is a hit.
    for (status, cache_control, is_hit) in [
        (404, "", true),
        (410, "", false),
        (502, "", true),
        (503, "", true),
        (503, "no-store", false),
        (503, "max-age=1", false),
        (200, "", false),
    ] {
        let origin = Origin::always(
            answer("x")
                .status(status)
                .with("cache-control", cache_control),
        );
        let lifetimes =
            r#"status_ttl = { "5xx" = "10s", "404" = "1m", "410" = "0s", "503" = "6s" }"#;
        let edge = Edge::before(&origin).route(lifetimes).start();
        edge.get("/").await;
        edge.clock.advance(secs(5));
        let hit = edge.get("/").await.cache_status() == "hit";
        assert_eq!(hit, is_hit, "{status} with {cache_control:?}");
    }
}

#[tokio::test]
async fn a_route_without_a_cache_looks_nothing_up_and_keeps_nothing() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).route("cache = false").start();
    for _ in 0..2 {
        assert_eq!(edge.get("/").await.cache_status(), "fwd=bypass");
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn an_incomplete_response_is_never_stored_and_the_client_sees_the_break() {
    let freshly = |answer: Answer| answer.with("cache-control", "max-age=60");
    for (name, scripted) in [
        (
            "short of its length",
            freshly(answer("half")).announcing(8).breaking_off(),
        ),
        (
            "chunked, without an end",
            freshly(answer("half")).chunked().breaking_off(),
        ),
    ] {
        let origin = Origin::always(scripted);
        let edge = Edge::before(&origin).start();
        let response = edge.get("/").await;
        assert_eq!(
            (response.text(), response.is_complete),
            ("half", false),
            "{name}"
        );
        origin.now(freshly(answer("whole")));
        let again = edge.get("/").await;
        assert_eq!(
            (again.text(), again.cache_status()),
            ("whole", "fwd=uri-miss"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn fields_that_no_cache_names_go_to_the_first_client_alone() {
    let origin = Origin::answers("x")
        .with("cache-control", "max-age=60, no-cache=\"x-once\"")
        .with("x-once", "secret")
        .with("x-kept", "1");
    let edge = Edge::before(&origin).start();
    assert_eq!(edge.get("/").await.get("x-once"), Some("secret"));
    let hit = edge.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.get("x-once"), hit.get("x-kept")),
        ("hit", None, Some("1"))
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_and_not_stored() {
    let stalled = answer("half").then(&Gate::closed(), "late").chunked();
    let origin = Origin::always(stalled.with("cache-control", "max-age=60"));
    let edge = Edge::before(&origin)
        .with("origins.app.timeout = \"100ms\"")
        .start();
    let response = edge.get("/").await;
    assert_eq!((response.text(), response.is_complete), ("half", false));
    origin.now(answer("whole").with("cache-control", "max-age=60"));
    assert_eq!(edge.get("/").await.text(), "whole");
}

#[tokio::test]
async fn the_time_a_response_was_on_its_way_counts_as_age() {
    let gate = Gate::closed();
    let origin = Origin::always(
        answer("late")
            .with("cache-control", "max-age=60")
            .after(&gate),
    );
    let edge = Edge::before(&origin).start();
    let mut asking = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    edge.clock.advance(secs(2));
    gate.open();
    asking.response().await;
    assert_eq!(edge.get("/").await.get("age"), Some("2"), "§4.2.3");
}

#[tokio::test]
async fn no_age_is_negative() {
    let origin = Origin::answers("early");
    let edge = Edge::before(&origin).start();
    let tomorrow = format_date(edge.clock.now().plus(secs(86_400)));
    let dated = answer("early").with("date", tomorrow.to_str().unwrap());
    origin.now(dated.with("cache-control", "max-age=60"));
    edge.get("/").await;
    let hit = edge.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.get("age"), hit.cache("ttl")),
        ("hit", Some("0"), Some("60"))
    );
}

#[tokio::test]
async fn responses_without_a_body_are_stored_like_others() {
    for status in [204, 301, 308, 410] {
        let empty = answer("").status(status).with("location", "/elsewhere");
        let origin = Origin::always(empty.with("cache-control", "max-age=60"));
        let edge = Edge::before(&origin).start();
        for expected in ["fwd=uri-miss", "hit"] {
            let response = edge.get("/").await;
            assert_eq!(
                (response.status, response.cache_status()),
                (status, expected)
            );
            assert_eq!(
                (response.get("location"), response.text()),
                (Some("/elsewhere"), "")
            );
        }
    }
}
