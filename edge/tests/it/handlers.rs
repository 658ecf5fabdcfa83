//! Components that answer in an origin's place: what they answer is cached like an origin's.

use serde_json::{Value, json};

use crate::support::edge::Builder;
use crate::support::{Edge, patiently, secs};

/// One of each kind: `wasi:http` 0.3, and 0.2.
const KINDS: [&str; 2] = ["misfit", "misfit-classic"];

/// Fresh for a minute.
const FRESH: &str = "cache-control=max-age%3D60";

/// A handler with one instance, which tells in `/seen` how many requests it has had.
fn counting(name: &str) -> Builder {
    Edge::answered_by(name, "misfit").with(&format!(
        "[plugins.{name}]\nreuse = 1000\ninstances = 1\nwait = \"20s\""
    ))
}

#[tokio::test]
async fn what_a_handler_answers_is_stored() {
    for kind in KINDS {
        let edge = Edge::answered_by("stored", kind).start();
        let path = format!("/a?{FRESH}&x-mine=1&body=mine");
        let miss = edge.get(&path).await;
        assert_eq!((miss.status, miss.text()), (200, "mine"), "{kind}");
        assert_eq!(miss.cache_status(), "fwd=uri-miss", "{kind}");
        assert_eq!(miss.cache("stored"), Some(""), "{kind}");
        edge.clock.advance(secs(7));
        let hit = edge.get(&path).await;
        assert_eq!((hit.cache_status(), hit.text()), ("hit", "mine"), "{kind}");
        assert_eq!(hit.get("age"), Some("7"), "{kind}");
        assert_eq!(hit.get("x-mine"), Some("1"), "{kind}");
        let other = edge.get("/b?cache-control=no-store").await;
        assert_eq!(other.cache("stored"), None, "{kind}");
    }
}

#[tokio::test]
async fn a_guest_is_told_the_clients_url_and_what_an_origin_would_be() {
    for kind in KINDS {
        let edge = Edge::answered_by("told", kind).start();
        let asked = edge
            .request("POST", "/told?a=b")
            .with("x-mine", "1")
            .with("connection", "x-hop")
            .with("x-hop", "1")
            .with("tidegate-lsn", "1:0/1")
            .with("spin-full-url", "http://forged.test/")
            .with("spin-client-addr", "192.0.2.1")
            .body("four")
            .send()
            .await;
        let told: Vec<&str> = asked.text().lines().collect();
        let first = told[0].to_ascii_lowercase();
        assert!(first.contains("post"), "{kind}: {first}");
        assert!(
            first.contains("http://edge.test/told?a=b"),
            "{kind}: {first}"
        );
        for line in [
            "x-mine: 1",
            "via: 1.1 tidegate",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: edge.test",
            "x-forwarded-proto: http",
            "content-length: 4",
            "spin-full-url: http://edge.test/told?a=b",
            "spin-path-info: /told",
        ] {
            assert!(told.contains(&line), "{kind}: {line} in {told:?}");
        }
        for name in [
            "x-hop",
            "connection",
            "tidegate-lsn",
            "host",
            "spin-client-addr",
        ] {
            let is_it = |line: &&str| line.starts_with(&format!("{name}:"));
            assert!(!told.iter().any(is_it), "{kind}: {name}");
        }
    }
}

#[tokio::test]
async fn options_of_the_whole_host_reach_a_handler_as_those_of_its_root() {
    for kind in KINDS {
        let edge = Edge::answered_by("options", kind).start();
        let asked = edge.request("OPTIONS", "*").send().await;
        assert_eq!((asked.status, asked.text()), (200, "hello"), "{kind}");
    }
    let edge = Edge::answered_by("tells-options", "gate").start();
    let asked = edge.request("OPTIONS", "*").with("gate", "told");
    let asked = asked.send().await;
    let mut told = asked.text().lines();
    assert_eq!(told.next(), Some("OPTIONS http://edge.test/"));
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_call() {
    let edge = counting("collapsed").start();
    let path = format!("/seen?{FRESH}");
    let mut connections = Vec::new();
    for _ in 0..50 {
        connections.push(edge.request("GET", &path).begin().await);
    }
    for mut connection in connections {
        assert_eq!(connection.response().await.text(), "1");
    }
    assert_eq!(edge.get("/seen").await.text(), "2");
}

#[tokio::test]
async fn purges_by_tag_and_url_reach_what_a_handler_answered() {
    let edge = counting("purged").start();
    let path = format!("/seen?{FRESH}&surrogate-key=one%20two");
    for expected in ["1", "1"] {
        let response = edge.get(&path).await;
        assert_eq!(response.text(), expected);
        assert_eq!(response.get("surrogate-key"), None, "it is not for clients");
    }
    edge.order(r#"{"tags": ["two"]}"#).await;
    assert_eq!(edge.get(&path).await.text(), "2");
    edge.purge(&path).await;
    assert_eq!(edge.get(&path).await.text(), "3");
    assert_eq!(edge.get(&path).await.text(), "3");
}

#[tokio::test]
async fn a_write_goes_to_the_handler_and_invalidates() {
    for kind in KINDS {
        let edge = Edge::answered_by("written", kind).start();
        let path = format!("/a?{FRESH}");
        edge.fill(&[&path]).await;
        let written = edge.request("PUT", &path).body("x").send().await;
        assert_eq!(written.status, 200, "{kind}");
        assert_eq!(edge.get(&path).await.cache_status(), "fwd=miss", "{kind}");
    }
}

#[tokio::test]
async fn what_is_stale_is_validated_by_the_guest() {
    for kind in KINDS {
        let edge = Edge::answered_by("validated", kind).start();
        let path = format!("/told?{FRESH}&etag=%22a%22");
        let first = edge.get(&path).await;
        assert!(!first.text().contains("if-none-match"), "{kind}");
        edge.clock.advance(secs(61));
        let second = edge.get(&path).await;
        assert!(second.text().contains("if-none-match: \"a\""), "{kind}");
        // A client's own condition is answered from what is stored.
        let known = edge.request("GET", &path).with("if-none-match", "\"a\"");
        assert_eq!(known.send().await.status, 304, "{kind}");
    }
}

#[tokio::test]
async fn a_304_of_the_guests_has_no_body_and_leaves_the_connection_in_step() {
    for kind in KINDS {
        let edge = Edge::answered_by("condition", kind).start();
        let mut connection = edge.connect().await;
        for method in ["GET", "HEAD", "GET"] {
            for (status, path) in [
                (304, "/a?status=304&etag=%22a%22&cache-control=no-store"),
                (200, "/b?cache-control=no-store&body=whole"),
            ] {
                let request = format!("{method} {path} HTTP/1.1\r\nhost: edge.test\r\n\r\n");
                connection.write(request.as_bytes()).await;
                let response = connection.response_to(method).await;
                let body = if (method, status) == ("GET", 200) {
                    "whole"
                } else {
                    ""
                };
                assert_eq!((response.status, response.text()), (status, body), "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_reaches_the_guest_and_what_is_stored_answers_it() {
    for kind in KINDS {
        let edge = Edge::answered_by("head", kind).start();
        let path = format!("/a?{FRESH}&x-mine=1");
        let asked = edge.request("HEAD", &path).send().await;
        assert_eq!(
            (asked.status, asked.get("x-mine")),
            (200, Some("1")),
            "{kind}"
        );
        edge.fill(&[&path]).await;
        let stored = edge.request("HEAD", &path).send().await;
        assert_eq!(stored.cache_status(), "hit", "{kind}");
        assert_eq!(stored.get("content-length"), Some("5"), "{kind}");
    }
}

#[tokio::test]
async fn a_part_of_what_a_handler_answered_is_served() {
    let edge = Edge::answered_by("part", "misfit").start();
    let path = format!("/a?{FRESH}&body=abcdef");
    edge.fill(&[&path]).await;
    let part = edge
        .request("GET", &path)
        .with("range", "bytes=1-3")
        .send()
        .await;
    assert_eq!((part.status, part.text()), (206, "bcd"));
    assert_eq!(part.cache_status(), "hit");
}

#[tokio::test]
async fn what_is_stale_is_served_while_the_handler_answers_anew() {
    let edge = counting("refreshed").start();
    let path = "/seen?cache-control=max-age%3D10,stale-while-revalidate%3D60";
    assert_eq!(edge.get(path).await.text(), "1");
    edge.clock.advance(secs(11));
    let stale = edge.get(path).await;
    assert_eq!((stale.text(), stale.cache_status()), ("1", "hit"));
    let renewed = async { while edge.get(path).await.text() != "2" {} };
    patiently("what the refresh brought", renewed).await;
}

#[tokio::test]
async fn what_is_stale_stands_in_for_a_handler_that_fails() {
    let edge = Edge::answered_by("standin", "misfit")
        .with("[plugins.standin]\ninstances = 1\nwait = \"1ms\"")
        .start();
    let path = "/a?cache-control=max-age%3D10,stale-if-error%3D60";
    assert_eq!(edge.get(path).await.text(), "hello");
    edge.clock.advance(secs(11));
    let mut busy = edge.request("GET", "/stall-after-head").begin().await;
    busy.head().await;
    let stale = edge.get(path).await;
    assert_eq!((stale.status, stale.text()), (200, "hello"));
    assert_eq!(stale.cache("detail"), Some("stale-if-error"));
    assert_eq!(edge.get("/other").await.status, 503);
}

#[tokio::test]
async fn an_explanation_names_the_handler_and_asks_it() {
    let edge = Edge::answered_by("explained", "misfit").start();
    let url = format!("http://edge.test/a?{FRESH}");
    let question = json!({ "url": url }).to_string();
    let told = edge.admin("POST", "/explain").body(&question).send().await;
    let told: Value = serde_json::from_str(told.text()).expect("an explanation is JSON");
    assert!(
        told.to_string().contains("to handler \\\"explained\\\""),
        "{told}"
    );
    assert_eq!(
        told["decision"],
        "fwd=uri-miss; fwd-status=200; stored; ttl=60"
    );
}

#[tokio::test]
async fn compression_encodes_what_a_handler_answered() {
    let edge = Edge::answered_by("compressed", "misfit")
        .route("compression = { min_size = \"1B\" }")
        .start();
    let path = format!("/parts?{FRESH}&count=10&size=1000&content-type=text/plain");
    let response = edge
        .request("GET", &path)
        .with("accept-encoding", "gzip")
        .send()
        .await;
    assert_eq!(response.get("content-encoding"), Some("gzip"));
    assert!(response.body.len() < 1_000, "{}", response.body.len());
}

/// Settings that make no sense of a handler, and what the error says of them.
const REFUSED: &[(&str, &str)] = &[
    (
        "handler = { name = \"own\", on_failure = \"open\" }",
        "nobody to answer",
    ),
    ("handler = { name = \"gone\" }", "no plugin named \"gone\""),
    (
        "origin = \"app\"\nhandler = { name = \"own\" }",
        "both an origin and a handler",
    ),
    ("", "neither an origin nor a handler"),
    (
        "origin = \"app\"\nplugins = [{ name = \"own\", timeout = \"1s\" }]",
        "a filter has a deadline",
    ),
];

#[test]
fn a_handler_that_makes_no_sense_is_refused() {
    for (route, expected) in REFUSED {
        let text = format!(
            "[origins.app]\nurl = \"http://a\"\n[plugins.own]\nfile = \"a.wasm\"\n[[routes]]\n{route}"
        );
        let error = tidegate_edge::config::Config::from_toml(&text, "test").unwrap_err();
        assert!(error.to_string().contains(expected), "{route}: {error}");
    }
}
