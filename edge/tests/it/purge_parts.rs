//! Parts of a representation on either side of a purge (RFC 9111 §3.3-3.4).

use crate::support::client::Request;
use crate::support::orders::{hard_orders, orders};
use crate::support::{Answer, Edge, Gate, Origin, answer, secs};

/// A part of four bytes; before a purge and after it they carry the same tag, so that only the purge
/// tells them apart.
fn part(body: &str, range: &str) -> Answer {
    fresh(&body[place(range)])
        .status(206)
        .with("content-range", &format!("bytes {range}/4"))
}

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"")
        .with("surrogate-key", "t")
}

fn place(range: &str) -> std::ops::RangeInclusive<usize> {
    let (first, last) = range.split_once('-').expect("two places");
    first.parse().unwrap()..=last.parse().unwrap()
}

/// What an origin with this body answers.
fn serve(origin: &Origin, body: &'static str) {
    origin.now_by(move |asked| match asked.get("range") {
        Some(range) => part(body, range.trim_start_matches("bytes=")),
        None => fresh(body),
    });
}

fn ask(edge: &Edge, range: &str) -> Request {
    let range = format!("bytes={range}");
    edge.request("GET", "/").with("range", &range)
}

#[tokio::test]
async fn a_part_that_a_purge_overtook_is_used_for_nothing_after_it() {
    for order in orders() {
        let gate = Gate::closed();
        let origin = Origin::always(fresh("none"));
        origin.next(part("abcd", "0-1").after(&gate));
        let edge = Edge::before(&origin).start();
        let mut before = ask(&edge, "0-1").begin().await;
        origin.asked_for(1).await;
        assert_eq!(edge.order(&order).await.status, 200);
        serve(&origin, "ABCD");
        let mut after = ask(&edge, "0-1").begin().await;
        edge.settled().await;
        let other = ask(&edge, "2-3").send().await;
        assert_eq!(other.text(), "CD", "{order}");
        gate.open();
        assert_eq!(
            before.response().await.text(),
            "ab",
            "{order}: it asked before"
        );
        assert_eq!(after.response().await.text(), "AB", "{order}");
        assert_eq!(edge.get("/").await.text(), "ABCD", "{order}");
        assert_eq!(ask(&edge, "0-1").send().await.text(), "AB", "{order}");
    }
}

#[tokio::test]
async fn the_rest_that_comes_after_a_hard_purge_completes_nothing_from_before_it() {
    for order in hard_orders() {
        let origin = Origin::always(fresh("none"));
        serve(&origin, "abcd");
        let edge = Edge::before(&origin).start();
        ask(&edge, "0-1").send().await;
        edge.order(&order).await;
        serve(&origin, "ABCD");
        assert_eq!(ask(&edge, "2-3").send().await.text(), "CD", "{order}");
        assert_eq!(ask(&edge, "0-1").send().await.text(), "AB", "{order}");
        assert_eq!(edge.get("/").await.text(), "ABCD", "{order}");
    }
}

#[tokio::test]
async fn a_purge_while_the_rest_is_asked_for_takes_the_whole_that_comes_of_it() {
    for order in orders() {
        let gate = Gate::closed();
        let origin = Origin::always(fresh("none"));
        origin.next(part("abcd", "0-1"));
        origin.next(part("abcd", "2-3").after(&gate));
        serve(&origin, "ABCD");
        let edge = Edge::before(&origin).start();
        ask(&edge, "0-1").send().await;
        let mut whole = edge.request("GET", "/").begin().await;
        origin.asked_for(2).await;
        assert_eq!(origin.last().get("range"), Some("bytes=2-3"), "{order}");
        edge.order(&order).await;
        gate.open();
        assert_eq!(
            whole.response().await.text(),
            "abcd",
            "{order}: it asked before"
        );
        edge.clock.advance(secs(1));
        let later = edge.get("/").await;
        assert_ne!(later.cache_status(), "hit", "{order}");
        assert_eq!(later.text(), "ABCD", "{order}");
    }
}

#[tokio::test]
async fn who_wants_a_part_after_a_purge_waits_for_no_part_from_before_it() {
    for order in orders() {
        let tail = Gate::closed();
        let origin = Origin::always(fresh("none"));
        let begun = fresh("a").status(206).announcing(2);
        origin.next(begun.with("content-range", "bytes 0-1/4").then(&tail, "b"));
        serve(&origin, "ABCD");
        let edge = Edge::before(&origin).start();
        let mut before = ask(&edge, "0-1").begin().await;
        before.head().await;
        edge.order(&order).await;
        // The old part has not come to its end, and need not.
        let after = ask(&edge, "0-1").send().await;
        assert_eq!((after.status, after.text()), (206, "AB"), "{order}");
        tail.open();
        assert_eq!(before.rest().await, ("ab".to_owned(), true), "{order}");
        assert_eq!(ask(&edge, "0-1").send().await.text(), "AB", "{order}");
    }
}
