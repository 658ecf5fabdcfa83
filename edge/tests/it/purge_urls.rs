//! By which URLs purges reach what a filter led elsewhere, and what has too many tags for them.

use crate::support::{Answer, Edge, Gate, Origin, answer, secs};

/// A filter leads `/led?…` to `/elsewhere?…`.
const LEADING: &str = r#"
    [plugins.leader]
    file = "builtin:misbehaving"
"#;
const LED: &str = r#"
    [[plugins]]
    name = "leader"
    grants = ["clock", "log"]
    deadline = "10s"
"#;

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"")
}

fn leading(origin: &Origin, route: &str) -> Edge {
    Edge::before(origin)
        .with(LEADING)
        .route(LED)
        .route(route)
        .start()
}

/// The URL that a client wrote, and what is named by purges of it.
const ASKED: &[&str] = &[
    r#"{"urls": ["edge.test/led?a"]}"#,
    r#"{"prefixes": ["edge.test/led"]}"#,
];

#[tokio::test]
async fn what_a_filter_led_elsewhere_falls_by_the_url_that_the_client_wrote() {
    for order in ASKED {
        let origin = Origin::always(fresh("old"));
        let edge = leading(&origin, "");
        edge.get("/led?a").await;
        assert_eq!(origin.last().target, "/elsewhere?a");
        for path in ["/led?a", "/elsewhere?a"] {
            assert_eq!(edge.get(path).await.cache_status(), "hit", "{path}");
        }
        origin.now(fresh("new"));
        assert_eq!(edge.order(order).await.status, 200);
        // Nobody who wrote the other URL is told anything.
        assert_eq!(edge.get("/elsewhere?a").await.text(), "old", "{order}");
        assert_eq!(edge.get("/led?a").await.text(), "new", "{order}");
        assert_eq!(edge.get("/led?a").await.cache_status(), "hit", "{order}");
        assert_eq!(edge.get("/elsewhere?a").await.text(), "new", "{order}");
        assert_eq!(origin.requests(), 2);
    }
}

#[tokio::test]
async fn the_purge_method_takes_what_its_own_url_was_led_to() {
    let origin = Origin::always(fresh("old"));
    let edge = leading(&origin, "");
    edge.get("/led?a").await;
    edge.get("/led?b").await;
    origin.now(fresh("new"));
    assert_eq!(edge.purge("/led?a").await.status, 200);
    assert_eq!(edge.get("/led?a").await.text(), "new");
    assert_eq!(edge.get("/led?b").await.text(), "old");
}

#[tokio::test]
async fn what_fell_by_the_clients_url_is_neither_asked_about_nor_stands_in() {
    for soft in [false, true] {
        let origin = Origin::always(fresh("old"));
        let edge = leading(&origin, "stale_if_error = \"1h\"");
        edge.get("/led?a").await;
        edge.order(&format!(
            "{{\"urls\": [\"edge.test/led?a\"], \"soft\": {soft}}}"
        ))
        .await;
        origin.now(answer("sorry").status(503));
        let response = edge.get("/led?a").await;
        let (text, validator) = if soft {
            ("old", Some("\"1\""))
        } else {
            ("sorry", None)
        };
        assert_eq!(response.text(), text);
        assert_eq!(origin.last().get("if-none-match"), validator);
    }
}

#[tokio::test]
async fn a_purge_of_the_clients_url_overtakes_the_fetch_that_it_was_led_to() {
    for order in ASKED {
        let gate = Gate::closed();
        let origin = Origin::always(fresh("new"));
        origin.next(fresh("old").after(&gate));
        let edge = leading(&origin, "");
        let mut before = edge.request("GET", "/led?a").begin().await;
        origin.asked_for(1).await;
        edge.order(order).await;
        let mut after = edge.request("GET", "/led?a").begin().await;
        let mut elsewhere = edge.request("GET", "/elsewhere?a").begin().await;
        edge.settled().await;
        gate.open();
        assert_eq!(before.response().await.text(), "old", "{order}");
        assert_eq!(after.response().await.text(), "new", "{order}");
        let elsewhere = elsewhere.response().await;
        assert!(["old", "new"].contains(&elsewhere.text()), "{order}");
        assert_eq!(edge.get("/led?a").await.text(), "new", "{order}");
        assert_eq!(origin.requests(), 2, "{order}");
    }
}

#[tokio::test]
async fn a_validation_that_the_clients_url_was_purged_during_renews_nothing_for_it() {
    let origin = Origin::always(fresh("old"));
    let edge = leading(&origin, "");
    edge.get("/led?a").await;
    edge.clock.advance(secs(60));
    let gate = Gate::closed();
    origin.next(answer("").status(304).with("etag", "\"1\"").after(&gate));
    origin.now(fresh("new"));
    let mut before = edge.request("GET", "/led?a").begin().await;
    origin.asked_for(2).await;
    edge.purge("/led?a").await;
    gate.open();
    assert_eq!(before.response().await.text(), "old");
    assert_eq!(edge.get("/led?a").await.text(), "new");
}

#[tokio::test]
async fn a_write_that_was_led_elsewhere_invalidates_both_urls() {
    for is_answered in [true, false] {
        let origin = Origin::always(fresh("old"));
        let edge = leading(&origin, "");
        // Found by one URL only: the first is led, the second has a filter that leads nowhere.
        edge.get("/led?a").await;
        edge.get("/elsewhere?b").await;
        origin.now(fresh("new"));
        origin.next(if is_answered {
            answer("done")
        } else {
            Answer::hang_up()
        });
        edge.request("POST", "/led?a").body("x").send().await;
        assert_eq!(origin.last().target, "/elsewhere?a");
        for (path, text) in [("/led?a", "new"), ("/elsewhere?b", "old")] {
            assert_eq!(edge.get(path).await.text(), text, "{path} {is_answered}");
        }
    }
}

fn tagged(count: usize) -> Answer {
    let tags: Vec<_> = (0..count).map(|tag| format!("t{tag}")).collect();
    fresh("x").with("surrogate-key", &tags.join(" "))
}

#[tokio::test]
async fn what_has_more_tags_than_the_limit_is_not_stored_and_loses_none() {
    for (count, is_stored) in [(256, true), (257, false)] {
        let origin = Origin::always(tagged(count));
        let edge = Edge::before(&origin).start();
        let first = edge.get("/").await;
        assert_eq!(first.cache("stored").is_some(), is_stored, "{count}");
        assert_eq!(edge.get("/").await.cache_status() == "hit", is_stored);
        if !is_stored {
            assert_eq!(first.cache("detail"), Some("too-many-tags"));
        }
        // The last of them counts as the first does.
        edge.order(&format!("{{\"tags\": [\"t{}\"]}}", count - 1))
            .await;
        assert_ne!(edge.get("/").await.cache_status(), "hit", "{count}");
    }
}

#[tokio::test]
async fn a_304_that_brings_more_tags_than_the_limit_leaves_none_out() {
    let origin = Origin::always(tagged(256));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.next(confirmed.with("surrogate-key", "one-more"));
    let response = edge.get("/").await;
    assert_eq!((response.status, response.text()), (200, "x"));
    // Not renewed with some of them: fetched anew, with those that it has.
    assert_eq!(origin.requests(), 3);
    assert_eq!(origin.last().get("if-none-match"), None);
    edge.order(r#"{"tags": ["t255"]}"#).await;
    assert_ne!(edge.get("/").await.cache_status(), "hit");
}

/// A part of four bytes, with these tags.
fn part(range: &str, tags: std::ops::Range<usize>) -> Answer {
    let (first, last) = range.split_once('-').expect("two places");
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let tags: Vec<_> = tags.map(|tag| format!("t{tag}")).collect();
    fresh(&"0123"[first..=last])
        .status(206)
        .with("content-range", &format!("bytes {range}/4"))
        .with("surrogate-key", &tags.join(" "))
}

#[tokio::test]
async fn what_was_put_together_falls_by_the_tags_of_each_part() {
    for is_completed in [false, true] {
        for (tag, is_left) in [("t0", false), ("t1", false), ("t2", true)] {
            let origin = Origin::always(fresh("new"));
            origin.next(part("0-1", 0..1));
            origin.next(part("2-3", 1..2));
            let edge = Edge::before(&origin).start();
            let ask = |range| edge.request("GET", "/").with("range", range).send();
            ask("bytes=0-1").await;
            if is_completed {
                // The edge asks for what is missing of the whole.
                assert_eq!(edge.get("/").await.text(), "0123");
            } else {
                ask("bytes=2-3").await;
            }
            assert_eq!(edge.get("/").await.cache_status(), "hit");
            edge.order(&format!("{{\"tags\": [{tag:?}]}}")).await;
            let response = edge.get("/").await;
            let text = if is_left { "0123" } else { "new" };
            assert_eq!(response.text(), text, "{tag}, completed: {is_completed}");
        }
    }
}

#[tokio::test]
async fn parts_with_more_tags_together_than_the_limit_are_not_put_together() {
    let origin = Origin::always(fresh("whole"));
    origin.next(part("0-1", 0..200));
    origin.next(part("2-3", 200..400));
    let edge = Edge::before(&origin).start();
    let ask = |range| edge.request("GET", "/").with("range", range).send();
    ask("bytes=0-1").await;
    ask("bytes=2-3").await;
    assert_eq!(ask("bytes=2-3").await.cache_status(), "hit");
    origin.next(part("0-1", 0..200));
    assert_eq!(ask("bytes=0-1").await.cache("fwd"), Some("partial"));
    // Nor by asking for the rest.
    origin.next(part("2-3", 200..400));
    assert_eq!(edge.get("/").await.text(), "whole");
}
