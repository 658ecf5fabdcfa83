//! Answers past their freshness: while they are refreshed, or when the origin fails (RFC 5861).

use crate::support::{Answer, Edge, Gate, Origin, answer, patiently, secs};

const REVALIDATE: &str = "max-age=10, stale-while-revalidate=30";
const ON_ERROR: &str = "max-age=10, stale-if-error=30";

#[tokio::test]
async fn a_stale_answer_comes_at_once_and_is_refreshed_exactly_once_behind_it() {
    let origin = Origin::answers("old").with("cache-control", REVALIDATE);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    let gate = Gate::closed();
    origin.now(answer("new").with("cache-control", REVALIDATE).after(&gate));
    for _ in 0..10 {
        let stale = edge.get("/").await;
        assert_eq!((stale.text(), stale.cache_status()), ("old", "hit"));
        assert_eq!(stale.cache("detail"), Some("stale-while-revalidate"));
        assert_eq!(
            (stale.cache("ttl"), stale.get("age")),
            (Some("-1"), Some("11"))
        );
    }
    gate.open();
    while edge.get("/").await.text() != "new" {}
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn workers_that_find_the_same_stale_answer_refresh_it_once_together() {
    let origin = Origin::answers("x").with("cache-control", REVALIDATE);
    let edge = Edge::before(&origin).with("server.workers = 2").start();
    edge.get("/").await;
    for round in 2..12 {
        edge.clock.advance(secs(11));
        let asking: Vec<_> = (0..40).map(|_| tokio::spawn(edge.get("/"))).collect();
        for asking in asking {
            assert_eq!(asking.await.unwrap().text(), "x");
        }
        let refreshed = async { while edge.get("/").await.get("age") != Some("0") {} };
        patiently("the refresh", refreshed).await;
        assert_eq!(origin.requests(), round);
    }
}

#[tokio::test]
async fn a_refresh_carries_nobodys_credentials_and_no_conditions_of_the_client() {
    let origin = Origin::answers("old")
        .with("cache-control", REVALIDATE)
        .with("etag", "\"1\"");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    let stale = edge
        .request("HEAD", "/")
        .with("authorization", "Basic me")
        .with("cookie", "me=1")
        .with("range", "bytes=0-1")
        .with("x-other", "stays")
        .send()
        .await;
    assert_eq!(stale.cache_status(), "hit");
    origin.asked_for(2).await;
    let asked = origin.last();
    assert_eq!(asked.method, "GET");
    for name in ["authorization", "cookie", "range"] {
        assert_eq!(asked.get(name), None, "{name}");
    }
    assert_eq!(
        (asked.get("if-none-match"), asked.get("x-other")),
        (Some("\"1\""), Some("stays"))
    );
}

#[tokio::test]
async fn a_variant_that_depends_on_who_asks_is_validated_in_the_foreground() {
    let origin = Origin::answers("mine")
        .with("cache-control", REVALIDATE)
        .with("vary", "cookie");
    let edge = Edge::before(&origin).start();
    let ask = || edge.request("GET", "/").with("cookie", "me=1").send();
    ask().await;
    edge.clock.advance(secs(11));
    assert_eq!(ask().await.cache_status(), "fwd=stale");
    assert_eq!(origin.last().get("cookie"), Some("me=1"));
}

#[tokio::test]
async fn past_the_window_the_client_waits() {
    let origin = Origin::answers("x").with("cache-control", REVALIDATE);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(40));
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_what_is_stored() {
    let origin = Origin::answers("old").with("cache-control", REVALIDATE);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    for failure in [Answer::hang_up(), answer("sorry").status(503)] {
        origin.now(failure);
        let before = origin.requests();
        // The refresh before this one may still be on its way out.
        while origin.requests() == before {
            assert_eq!(edge.get("/").await.text(), "old");
        }
    }
    assert_eq!(edge.get("/").await.text(), "old");
}

/// How an origin fails.
fn failures() -> [(&'static str, Answer, u16); 5] {
    [
        ("hangs up", Answer::hang_up(), 502),
        ("talks nonsense", Answer::raw("nonsense\r\n\r\n"), 502),
        (
            "sends half a head",
            Answer::raw("HTTP/1.1 200 OK\r\ncontent"),
            502,
        ),
        ("is silent", answer("late").after(&Gate::closed()), 504),
        ("answers 503", answer("sorry").status(503), 503),
    ]
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_origin_that_fails() {
    for (how, failure, _) in failures() {
        let origin = Origin::answers("old").with("cache-control", ON_ERROR);
        let edge = Edge::before(&origin)
            .with("origins.app.timeout = \"200ms\"")
            .start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        origin.now(failure);
        let stale = edge.get("/").await;
        assert_eq!((stale.status, stale.text()), (200, "old"), "{how}");
        assert_eq!(stale.cache("detail"), Some("stale-if-error"), "{how}");
        edge.clock.advance(secs(29));
        assert_ne!(edge.get("/").await.status, 200, "{how}, past the window");
    }
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_origin_that_is_down() {
    let mut origin = Origin::answers("old").with("cache-control", ON_ERROR);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    origin.go_down();
    assert_eq!(edge.get("/").await.text(), "old");
    let other = edge.get("/other").await;
    assert_eq!(other.status, 502);
    assert_eq!(
        other.get("proxy-status"),
        Some("tidegate; error=destination_unavailable")
    );
}

#[tokio::test]
async fn a_head_is_answered_for_like_a_get() {
    let mut origin = Origin::answers("old").with("cache-control", ON_ERROR);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    let ask = || edge.request("HEAD", "/").send();
    origin.next(answer("sorry").status(503));
    let unwell = ask().await;
    origin.go_down();
    let down = ask().await;
    for stale in [unwell, down] {
        assert_eq!(
            (stale.status, stale.get("content-length")),
            (200, Some("3"))
        );
        assert_eq!(stale.cache("detail"), Some("stale-if-error"));
    }
}

#[tokio::test]
async fn the_routes_own_grace_counts_where_the_response_says_nothing() {
    let origin = Origin::answers("old").with("cache-control", "max-age=10");
    let edge = Edge::before(&origin)
        .route("stale_if_error = \"30s\"")
        .start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    origin.now(Answer::hang_up());
    assert_eq!(edge.get("/").await.text(), "old");
}

#[tokio::test]
async fn what_must_be_revalidated_is_never_served_stale() {
    for directive in [
        "must-revalidate",
        "proxy-revalidate",
        "no-cache",
        "s-maxage=10",
    ] {
        let terms =
            format!("{directive}, max-age=10, stale-while-revalidate=30, stale-if-error=30");
        let origin = Origin::answers("old")
            .with("cache-control", &terms)
            .with("etag", "\"1\"");
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        origin.now(Answer::hang_up());
        assert_eq!(edge.get("/").await.status, 502, "{directive}");
    }
}

#[tokio::test]
async fn with_nothing_stored_a_failure_is_told_as_problem_details() {
    for (how, failure, status) in failures() {
        let origin = Origin::always(failure);
        let edge = Edge::before(&origin)
            .with("origins.app.timeout = \"200ms\"")
            .start();
        let response = edge.get("/").await;
        assert_eq!(response.status, status, "{how}");
        if status == 503 {
            assert_eq!(response.text(), "sorry", "the origin's own answer");
            continue;
        }
        assert_eq!(
            response.get("content-type"),
            Some("application/problem+json"),
            "{how}"
        );
        assert!(
            response
                .get("proxy-status")
                .unwrap()
                .starts_with("tidegate; error="),
            "{how}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(problem["status"], status, "{how}");
        assert!(
            problem["detail"].as_str().unwrap().contains("\"app\""),
            "{how}: {problem}"
        );
    }
}

#[tokio::test]
async fn what_was_purged_meanwhile_does_not_stand_in_for_a_failing_origin() {
    let origin = Origin::answers("old").with("cache-control", ON_ERROR);
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(11));
    let gate = Gate::closed();
    origin.now(answer("").status(503).after(&gate));
    let mut asked = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    edge.purge("/").await;
    gate.open();
    let answered = asked.response().await;
    assert_eq!((answered.status, answered.text() == "old"), (502, false));
}

#[tokio::test]
async fn a_refresh_on_nobodys_behalf_is_nobodys_variant() {
    let origin = Origin::by(|request| {
        let cookie = request.get("cookie");
        let answer = answer(cookie.unwrap_or("nobody")).with("cache-control", REVALIDATE);
        // The second answer depends on who asks.
        if cookie.is_none() {
            answer.with("vary", "cookie")
        } else {
            answer
        }
    });
    let edge = Edge::before(&origin).start();
    let ask = || edge.request("GET", "/").with("cookie", "b").send();
    ask().await;
    edge.clock.advance(secs(11));
    assert_eq!(ask().await.cache("detail"), Some("stale-while-revalidate"));
    origin.asked_for(2).await;
    patiently("the refreshed answer is stored", async {
        while edge.get("/").await.cache_status() != "hit" {}
    })
    .await;
    assert_eq!(ask().await.text(), "b");
}

#[tokio::test]
async fn a_refresh_renews_the_variant_that_was_stale_whatever_the_edge_adds() {
    for field in ["x-forwarded-proto", "x-forwarded-host", "via"] {
        let origin = Origin::answers("old")
            .with("cache-control", REVALIDATE)
            .with("vary", field);
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        origin.now(
            answer("new")
                .with("cache-control", REVALIDATE)
                .with("vary", field),
        );
        patiently(field, async {
            while edge.get("/").await.text() != "new" {}
        })
        .await;
        assert_eq!(origin.requests(), 2, "{field}");
    }
}

#[tokio::test]
async fn the_time_that_a_failing_origin_took_counts() {
    // How long a response may be stale, and whether it still stands in when the origin has taken
    // its time to fail; it is a second stale when it is asked for.
    for (window, is_served) in [(60, true), (5, true), (4, false)] {
        let fresh = format!("max-age=10, stale-if-error={window}");
        let origin = Origin::answers("old").with("cache-control", &fresh);
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        let gate = Gate::closed();
        origin.next(answer("").status(503).after(&gate));
        let asking = tokio::spawn(edge.get("/"));
        origin.asked_for(2).await;
        edge.clock.advance(secs(3));
        gate.open();
        let answered = asking.await.expect("it is answered");
        if is_served {
            assert_eq!((answered.status, answered.text()), (200, "old"), "{window}");
            assert_eq!(answered.get("age"), Some("14"), "{window}");
            assert_eq!(answered.cache("ttl"), Some("-4"), "{window}");
        } else {
            assert_eq!(answered.status, 502, "{window}");
        }
    }
}

#[tokio::test]
async fn the_time_that_a_validation_took_counts_as_age() {
    let origin = Origin::answers("x")
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    let gate = Gate::closed();
    let confirmed = answer("")
        .status(304)
        .with("etag", "\"1\"")
        .with("age", "10");
    origin.next(confirmed.with("cache-control", "max-age=60").after(&gate));
    let asking = tokio::spawn(edge.get("/"));
    origin.asked_for(2).await;
    edge.clock.advance(secs(3));
    gate.open();
    let validated = asking.await.expect("it is answered");
    assert_eq!(
        validated.get("age"),
        Some("13"),
        "on its way, and before (§4.2.3)"
    );
}
