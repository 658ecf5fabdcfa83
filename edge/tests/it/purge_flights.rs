//! Purges that overtake fetches: what was asked for before a purge is not used after it, whoever
//! waits for it and wherever it is by then.

use crate::support::orders::{hard_orders, orders, soft_orders};
use crate::support::redis::started;
use crate::support::{Answer, Edge, Gate, Origin, Way, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("surrogate-key", "t")
}

fn not_modified() -> Answer {
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    confirmed.with("cache-control", "max-age=60")
}

/// Where a fetch is when a purge overtakes it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    BeforeTheHead,
    WithinTheBody,
    /// All of the body has gone to the client; its end is still to come.
    BeforeTheEnd,
}

const MOMENTS: [Moment; 3] = [
    Moment::BeforeTheHead,
    Moment::WithinTheBody,
    Moment::BeforeTheEnd,
];

/// The gates of the old response, and what it is as a whole.
fn old(moment: Moment, head: &Gate, tail: &Gate) -> (Answer, &'static str) {
    let begun = fresh("old").chunked().after(head);
    match moment {
        Moment::BeforeTheEnd => (begun.then(tail, ""), "old"),
        _ => (begun.then(tail, ", still old"), "old, still old"),
    }
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_is_not_used_after_it() {
    for moment in MOMENTS {
        for order in orders() {
            let (head, tail) = (Gate::closed(), Gate::closed());
            let (answer, whole) = old(moment, &head, &tail);
            let origin = Origin::always(fresh("new"));
            origin.next(answer);
            let edge = Edge::before(&origin).start();
            let mut before = edge.request("GET", "/").begin().await;
            origin.asked_for(1).await;
            if moment != Moment::BeforeTheHead {
                head.open();
                before.head().await;
                assert_eq!(before.body(3).await, "old");
            }
            assert_eq!(edge.order(&order).await.status, 200);
            head.open();
            tail.open();
            let got = if moment == Moment::BeforeTheHead {
                before.response().await.text().to_owned()
            } else {
                format!("old{}", before.rest().await.0)
            };
            assert_eq!(got, whole, "{order} {moment:?}: it asked before the purge");
            // However soon after: what is stored of it meanwhile makes no difference.
            for _ in 0..3 {
                assert_eq!(edge.get("/").await.text(), "new", "{order} {moment:?}");
            }
            assert_eq!(origin.requests(), 2, "{order} {moment:?}");
        }
    }
}

#[tokio::test]
async fn who_asks_after_a_purge_of_any_kind_waits_for_no_fetch_from_before_it() {
    for moment in MOMENTS {
        for order in orders() {
            let (head, tail) = (Gate::closed(), Gate::closed());
            let origin = Origin::always(fresh("new"));
            origin.next(old(moment, &head, &tail).0);
            let edge = Edge::before(&origin).start();
            let mut before = edge.request("GET", "/").begin().await;
            origin.asked_for(1).await;
            let mut joined = edge.request("GET", "/").begin().await;
            edge.settled().await;
            if moment != Moment::BeforeTheHead {
                head.open();
                before.head().await;
                joined.head().await;
            }
            edge.order(&order).await;
            let mut after = Vec::new();
            for _ in 0..3 {
                after.push(edge.request("GET", "/").begin().await);
            }
            edge.settled().await;
            // By its tags the flight is known only now.
            head.open();
            for after in &mut after {
                // The old response has not come to its end, and need not.
                assert_eq!(after.response().await.text(), "new", "{order} {moment:?}");
            }
            assert_eq!(origin.requests(), 2, "{order} {moment:?}: one for all");
            tail.open();
            if moment == Moment::BeforeTheHead {
                assert_eq!(joined.response().await.text(), "new", "{order}");
            }
            assert_eq!(edge.get("/").await.text(), "new", "{order} {moment:?}");
        }
    }
}

#[tokio::test]
async fn a_purge_that_does_not_match_leaves_a_flight_as_it_is() {
    for order in [
        r#"{"urls": ["edge.test/other"]}"#,
        r#"{"tags": ["other"]}"#,
        r#"{"prefixes": ["edge.test/other"]}"#,
        r#"{"hosts": ["other.test"]}"#,
    ] {
        let gate = Gate::closed();
        let origin = Origin::always(fresh("x").after(&gate));
        let edge = Edge::before(&origin).start();
        let mut before = edge.request("GET", "/").begin().await;
        origin.asked_for(1).await;
        edge.order(order).await;
        let mut after = edge.request("GET", "/").begin().await;
        edge.settled().await;
        gate.open();
        before.response().await;
        assert_eq!(after.response().await.cache("collapsed"), Some(""));
        assert_eq!(origin.requests(), 1, "{order}");
    }
}

#[tokio::test]
async fn purges_one_after_another_are_each_waited_out() {
    let gates = [Gate::closed(), Gate::closed()];
    let origin = Origin::always(fresh("third"));
    origin.next(fresh("first").after(&gates[0]));
    origin.next(fresh("second").after(&gates[1]));
    let edge = Edge::before(&origin).start();
    let mut asked = Vec::new();
    for (gate, requests) in gates.iter().zip(1..) {
        asked.push(edge.request("GET", "/").begin().await);
        edge.settled().await;
        gate.open();
        origin.asked_for(requests).await;
        edge.order(r#"{"tags": ["t"]}"#).await;
    }
    let mut last = edge.request("GET", "/").begin().await;
    assert_eq!(last.response().await.text(), "third");
    assert_eq!(edge.get("/").await.text(), "third");
    for mut asked in asked {
        asked.response().await;
    }
    assert_eq!(edge.get("/").await.text(), "third");
}

#[tokio::test]
async fn a_purge_during_a_refresh_of_any_kind_wins() {
    for order in hard_orders() {
        let origin = Origin::always(fresh("first"));
        let edge = Edge::before(&origin)
            .route("stale_while_revalidate = \"1h\"")
            .start();
        edge.get("/").await;
        edge.clock.advance(secs(61));
        let gate = Gate::closed();
        origin.next(fresh("old").after(&gate));
        origin.now(fresh("new"));
        assert_eq!(edge.get("/").await.text(), "first");
        origin.asked_for(2).await;
        edge.order(&order).await;
        let mut after = edge.request("GET", "/").begin().await;
        edge.settled().await;
        gate.open();
        for response in [after.response().await, edge.get("/").await] {
            assert_eq!(response.text(), "new", "{order}");
        }
    }
}

#[tokio::test]
async fn what_a_refresh_brings_from_before_a_soft_purge_is_stale() {
    for order in soft_orders() {
        let origin = Origin::always(fresh("first"));
        let edge = Edge::before(&origin)
            .route("stale_while_revalidate = \"1h\"")
            .start();
        edge.get("/").await;
        edge.clock.advance(secs(61));
        let gate = Gate::closed();
        origin.next(fresh("old").after(&gate));
        origin.now(fresh("new"));
        assert_eq!(edge.get("/").await.text(), "first");
        origin.asked_for(2).await;
        edge.order(&order).await;
        gate.open();
        // Whatever is served until the new one is here is told to be stale.
        patiently("the new one", async {
            loop {
                let response = edge.get("/").await;
                if response.text() == "new" {
                    return;
                }
                let detail = response.cache("detail");
                assert_eq!(detail, Some("stale-while-revalidate"), "{order}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_purge_of_any_kind_that_overtakes_a_validation_wins() {
    for order in orders() {
        let origin = Origin::always(fresh("old").with("etag", "\"1\""));
        let edge = Edge::before(&origin).start();
        edge.get("/").await;
        edge.clock.advance(secs(60));
        let gate = Gate::closed();
        origin.next(not_modified().after(&gate));
        origin.now(fresh("new"));
        let mut before = edge.request("GET", "/").begin().await;
        origin.asked_for(2).await;
        edge.order(&order).await;
        let mut after = edge.request("GET", "/").begin().await;
        edge.settled().await;
        gate.open();
        assert_eq!(before.response().await.text(), "old", "{order}");
        assert_eq!(after.response().await.text(), "new", "{order}");
        assert_eq!(edge.get("/").await.text(), "new", "{order}");
    }
}

#[tokio::test]
async fn a_304_renews_only_what_it_was_asked_about() {
    let origin = Origin::always(fresh("one").with("etag", "\"1\""));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    let gate = Gate::closed();
    origin.next(not_modified().with("x-renewed", "yes").after(&gate));
    let mut validating = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    // Something else takes its place meanwhile.
    let made = fresh("two").with("etag", "\"2\"");
    origin.next(made.with("content-location", "/"));
    edge.request("POST", "/").body("x").send().await;
    gate.open();
    assert_eq!(validating.response().await.text(), "one");
    let hit = edge.get("/").await;
    assert_eq!((hit.cache_status(), hit.text()), ("hit", "two"));
    assert_eq!(
        (hit.get("etag"), hit.get("x-renewed")),
        (Some("\"2\""), None)
    );
}

#[tokio::test]
async fn of_two_validations_at_once_the_304_does_not_bring_back_what_the_other_replaced() {
    let always = |body: &str, tag: &str| {
        answer(body)
            .with("cache-control", "no-cache")
            .with("etag", tag)
    };
    let origin = Origin::always(always("one", "\"1\""));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let gate = Gate::closed();
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.next(confirmed.with("x-renewed", "yes").after(&gate));
    let mut first = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    edge.clock.advance(secs(1));
    origin.next(always("two", "\"2\""));
    assert_eq!(edge.get("/").await.text(), "two");
    gate.open();
    assert_eq!(first.response().await.text(), "one");
    origin.now(answer("").status(304).with("etag", "\"2\""));
    let validated = edge.get("/").await;
    assert_eq!(origin.last().get("if-none-match"), Some("\"2\""));
    assert_eq!(
        (validated.text(), validated.get("x-renewed")),
        ("two", None)
    );
}

/// A log, and a regional tier on another way, that can be held up.
async fn slow_look_up(origin: &Origin, routes: &str) -> (tidegate_services::Redis, Way, Edge) {
    let redis = started();
    let way = Way::to(&redis);
    let edge = Edge::before(origin)
        .redis(&redis)
        .with(&format!("log.url = {:?}", redis.url()))
        .with(&format!("redis.url = {:?}", way.url()))
        .route(routes)
        .start();
    (redis, way, edge)
}

#[tokio::test]
async fn what_is_purged_between_look_up_and_sending_is_not_asked_about() {
    for order in hard_orders() {
        let origin = Origin::always(fresh("old").with("etag", "\"1\""));
        let (_redis, way, edge) = slow_look_up(&origin, "stale_if_error = \"1h\"").await;
        edge.get("/").await;
        edge.clock.advance(secs(61));
        way.hold();
        // Found stale in memory; the region is asked for a newer one.
        let mut asking = edge.request("GET", "/").begin().await;
        edge.settled().await;
        assert_eq!(origin.requests(), 1, "{order}");
        edge.order(&order).await;
        origin.next(answer("sorry").status(503));
        way.release();
        let answered = asking.response().await;
        assert_eq!(origin.last().get("if-none-match"), None, "{order}");
        assert_eq!(answered.text(), "sorry", "{order}: nor does it stand in");
    }
}

#[tokio::test]
async fn what_is_fetched_after_a_purge_that_came_during_the_look_up_is_used() {
    let origin = Origin::always(fresh("new"));
    let (_redis, way, edge) = slow_look_up(&origin, "").await;
    way.hold();
    let mut asking = edge.request("GET", "/").begin().await;
    edge.settled().await;
    edge.order(r#"{"all": true}"#).await;
    way.release();
    assert_eq!(asking.response().await.text(), "new");
    // The fence was read when the request was sent, not when it was looked up.
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    assert_eq!(origin.requests(), 1);
}
