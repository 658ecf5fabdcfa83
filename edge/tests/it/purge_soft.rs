//! Hard and soft purges of one thing, and how long what is softly purged may still be served.

use crate::support::orders::{hard_orders, orders, soft_orders};
use crate::support::{Answer, Edge, Origin, answer, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=3600")
        .with("surrogate-key", "t")
        .with("etag", "\"1\"")
}

fn unwell() -> Answer {
    answer("sorry").status(503)
}

async fn filled(route: &str) -> (Origin, Edge) {
    let origin = Origin::always(fresh("old"));
    let edge = Edge::before(&origin).route(route).start();
    edge.get("/").await;
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    (origin, edge)
}

#[tokio::test]
async fn a_hard_purge_of_any_kind_forbids_validators_and_stale_use() {
    for order in hard_orders() {
        let (origin, edge) =
            filled("stale_if_error = \"1h\"\nstale_while_revalidate = \"1h\"").await;
        edge.order(&order).await;
        origin.now(unwell());
        for _ in 0..2 {
            let response = edge.get("/").await;
            assert_eq!(
                (response.status, response.text()),
                (503, "sorry"),
                "{order}"
            );
            assert_eq!(origin.last().get("if-none-match"), None, "{order}");
        }
    }
}

#[tokio::test]
async fn what_is_softly_purged_is_stale_at_every_look_up() {
    for order in soft_orders() {
        let (origin, edge) = filled("stale_if_error = \"1h\"").await;
        edge.order(&order).await;
        origin.now(unwell());
        for times in 1..5 {
            let stale = edge.get("/").await;
            assert_eq!((stale.status, stale.text()), (200, "old"), "{order}");
            assert_eq!(stale.cache("detail"), Some("stale-if-error"), "{order}");
            assert_eq!(origin.requests(), 1 + times, "{order}: asked each time");
            assert_eq!(origin.last().get("if-none-match"), Some("\"1\""), "{order}");
        }
    }
}

#[tokio::test]
async fn soft_staleness_counts_from_when_the_purge_was_applied() {
    for order in soft_orders() {
        let (origin, edge) =
            filled("stale_if_error = \"20s\"\nstale_while_revalidate = \"10s\"").await;
        // However long it was fresh before.
        edge.clock.advance(secs(1_000));
        edge.order(&order).await;
        origin.now(unwell());
        let served = |detail: &'static str| {
            let asking = edge.get("/");
            let order = order.clone();
            async move {
                let response = asking.await;
                assert_eq!(response.text(), "old", "{order} {detail}");
                assert_eq!(response.cache("detail"), Some(detail), "{order}");
            }
        };
        served("stale-while-revalidate").await;
        edge.clock.advance(secs(9));
        served("stale-while-revalidate").await;
        edge.clock.advance(secs(2));
        served("stale-if-error").await;
        edge.clock.advance(secs(8));
        served("stale-if-error").await;
        edge.clock.advance(secs(2));
        assert_eq!(edge.get("/").await.text(), "sorry", "{order}: past both");
    }
}

#[tokio::test]
async fn of_a_hard_and_a_soft_purge_the_hard_one_counts_whatever_their_order() {
    for hard in hard_orders() {
        for soft in soft_orders() {
            for orders in [[&hard, &soft], [&soft, &hard]] {
                let (origin, edge) =
                    filled("stale_if_error = \"1h\"\nstale_while_revalidate = \"1h\"").await;
                for order in orders {
                    assert_eq!(edge.order(order).await.status, 200);
                }
                origin.now(unwell());
                let response = edge.get("/").await;
                assert_eq!(response.text(), "sorry", "{orders:?}");
                assert_eq!(origin.last().get("if-none-match"), None, "{orders:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_304_after_a_soft_purge_makes_fresh_again_until_the_next_purge() {
    for order in soft_orders() {
        let (origin, edge) = filled("").await;
        edge.order(&order).await;
        let confirmed = answer("").status(304).with("etag", "\"1\"");
        origin.next(confirmed.with("cache-control", "max-age=3600"));
        assert_eq!(
            edge.get("/").await.cache("fwd-status"),
            Some("304"),
            "{order}"
        );
        assert_eq!(edge.get("/").await.cache_status(), "hit", "{order}");
        edge.order(&order).await;
        assert_eq!(edge.get("/").await.cache_status(), "fwd=stale", "{order}");
    }
}

#[tokio::test]
async fn a_purge_of_any_kind_reaches_what_every_worker_holds() {
    for order in orders() {
        let origin = Origin::always(fresh("old"));
        let edge = Edge::before(&origin).with("server.workers = 2").start();
        let mut hot = 0;
        for _ in 0..32 {
            hot += usize::from(edge.get("/").await.cache("detail") == Some("hot"));
        }
        assert!(hot > 0, "workers hold it themselves");
        origin.now(fresh("new"));
        assert_eq!(edge.order(&order).await.status, 200);
        for _ in 0..32 {
            assert_eq!(edge.get("/").await.text(), "new", "{order}");
        }
        assert_eq!(origin.requests(), 2, "{order}");
    }
}

#[tokio::test]
async fn a_head_that_a_soft_purge_overtook_freshens_nothing() {
    use crate::support::Gate;
    for order in soft_orders() {
        let (origin, edge) = filled("").await;
        edge.clock.advance(secs(3_600));
        let gate = Gate::closed();
        origin.next(fresh("old").after(&gate));
        let mut asking = edge.request("HEAD", "/").begin().await;
        origin.asked_for(2).await;
        edge.order(&order).await;
        gate.open();
        assert_eq!(asking.response_to("HEAD").await.status, 200);
        edge.settled().await;
        let response = edge.get("/").await;
        assert_eq!(response.cache_status(), "fwd=stale", "{order}");
        assert_eq!(edge.get("/").await.cache_status(), "hit", "{order}");
    }
}
