//! What the answer to a HEAD says of a stored GET (RFC 9111 §4.3.5).

use crate::support::{Answer, Edge, Gate, Origin, answer, secs};

const BODY: &str = "0123456789";

fn stored() -> Answer {
    stored_as(BODY, "\"1\"").with("x-version", "one")
}

fn stored_as(body: &str, tag: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("etag", tag)
}

/// The answer to a HEAD: the length is that of the GET's body.
fn head(tag: &str, length: usize) -> Answer {
    answer(vec![b'x'; length])
        .with("cache-control", "max-age=60")
        .with("etag", tag)
        .with("x-version", "two")
}

async fn stale() -> (Origin, Edge) {
    let origin = Origin::always(stored());
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    (origin, edge)
}

#[tokio::test]
async fn a_head_that_agrees_freshens_what_is_stored() {
    let (origin, edge) = stale().await;
    origin.next(head("\"1\"", BODY.len()));
    let answered = edge.request("HEAD", "/").send().await;
    assert_eq!(
        (answered.status, answered.cache("fwd")),
        (200, Some("stale"))
    );
    assert_eq!(origin.last().method, "HEAD");
    edge.clock.advance(secs(59));
    let hit = edge.get("/").await;
    assert_eq!((hit.cache_status(), hit.text()), ("hit", BODY));
    assert_eq!(
        hit.get("x-version"),
        Some("two"),
        "its fields are the new ones"
    );
    assert_eq!(hit.get("age"), Some("59"));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_head_that_disagrees_leaves_what_is_stored_stale() {
    for (what, disagreeing) in [
        ("another tag", head("\"2\"", BODY.len())),
        ("another length", head("\"1\"", BODY.len() + 1)),
        ("another status", head("\"1\"", BODY.len()).status(404)),
        (
            "no leave to store",
            answer(BODY)
                .with("etag", "\"1\"")
                .with("cache-control", "no-store"),
        ),
    ] {
        let (origin, edge) = stale().await;
        origin.next(disagreeing);
        edge.request("HEAD", "/").send().await;
        let later = edge.get("/").await;
        assert_ne!(later.cache_status(), "hit", "{what}");
        assert_eq!(later.get("x-version"), Some("one"), "{what}");
    }
}

#[tokio::test]
async fn a_head_renews_nothing_that_was_purged_meanwhile() {
    let (origin, edge) = stale().await;
    let gate = Gate::closed();
    origin.next(head("\"1\"", BODY.len()).after(&gate));
    let asking = tokio::spawn(edge.request("HEAD", "/").send());
    origin.asked_for(2).await;
    edge.purge("/").await;
    gate.open();
    asking.await.expect("it is answered");
    assert_ne!(edge.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_head_of_nothing_stored_stores_nothing() {
    let origin = Origin::always(stored());
    let edge = Edge::before(&origin).start();
    for requests in 1..3 {
        let answered = edge.request("HEAD", "/").send().await;
        assert_eq!(
            (answered.status, answered.get("content-length")),
            (200, Some("10"))
        );
        assert_eq!(origin.requests(), requests);
    }
}

#[tokio::test]
async fn a_head_that_comes_late_brings_nothing_older_back() {
    let (origin, edge) = stale().await;
    let gate = Gate::closed();
    origin.next(head("\"1\"", BODY.len()).after(&gate));
    let asking = tokio::spawn(edge.request("HEAD", "/").send());
    origin.asked_for(2).await;
    edge.clock.advance(secs(1));
    origin.now(stored_as("newer", "\"2\""));
    assert_eq!(edge.get("/").await.text(), "newer");
    edge.clock.advance(secs(1));
    gate.open();
    asking.await.expect("it is answered");
    let hit = edge.get("/").await;
    assert_eq!((hit.cache_status(), hit.text()), ("hit", "newer"));
}
