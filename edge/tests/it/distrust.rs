//! What is not trusted is used in no way: not softly, not in flight, not by another clock, and not
//! because the log goes by another name.

use redis::AsyncCommands;

use crate::support::redis::{LOG, connected, started};
use crate::support::{Answer, Edge, Gate, Origin, Way, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body).with("cache-control", "max-age=3600")
}

/// An edge at the end of a way to its log, which it trusts for two seconds.
fn following(origin: &Origin, way: &Way) -> Edge {
    let log = format!("log = {{ url = {:?}, trust = \"2s\" }}", way.url());
    Edge::before(origin)
        .with(&log)
        .route("stale_while_revalidate = \"10m\"\nstale_if_error = \"10m\"")
        .start()
}

#[tokio::test]
async fn what_was_purged_softly_is_not_served_stale_behind_a_silent_log() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("old").with("etag", "\"1\""));
    let edge = following(&origin, &way);
    edge.get("/").await;
    let soft = r#"{"urls": ["edge.test/"], "soft": true}"#;
    assert_eq!(edge.order(soft).await.status, 200);
    origin.now(answer("sorry").status(503));
    assert_eq!(edge.get("/").await.text(), "old", "while the log is heard");
    way.hold();
    edge.clock.advance(secs(3));
    for _ in 0..2 {
        // It may join the refresh that was begun before.
        assert!(edge.get("/").await.status >= 500);
    }
}

#[tokio::test]
async fn behind_a_silent_log_nobody_joins_a_fetch_that_began_long_ago() {
    let redis = started();
    let way = Way::to(&redis);
    let gate = Gate::closed();
    let origin = Origin::always(fresh("new"));
    let edge = following(&origin, &way);
    origin.next(fresh("old").after(&gate));
    let mut early = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    way.hold();
    edge.clock.advance(secs(3));
    let mut late = edge.request("GET", "/").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(early.response().await.text(), "old");
    assert_eq!(late.response().await.text(), "new");
    assert_eq!(edge.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_copy_from_the_future_is_not_trusted_for_that() {
    let (redis, log) = (started(), started());
    let way = Way::to(&log);
    let origin = Origin::always(fresh("old"));
    let edge = |url: &str| {
        let log = format!("log = {{ url = {url:?}, trust = \"2s\", deadline = \"10s\" }}");
        Edge::before(&origin).redis(&redis).with(&log)
    };
    let (ahead, own) = (edge(&log.url()).start(), edge(&way.url()).start());
    ahead.clock.advance(secs(3_000));
    ahead.get("/").await;
    crate::support::redis::stored(&redis, 1).await;
    patiently("the copy", async {
        while own.get("/").await.cache_status() != "hit" {}
    })
    .await;
    way.hold();
    origin.now(fresh("new"));
    own.clock.advance(secs(3));
    assert_eq!(own.get("/").await.text(), "new");
}

#[tokio::test]
async fn what_was_purged_stays_purged_whatever_the_log_is_called() {
    // An origin whose validator says nothing.
    let origin = Origin::by(|asked| match asked.get("if-none-match") {
        Some(_) => answer("").status(304).with("etag", "\"1\""),
        None => fresh("x").with("etag", "\"1\""),
    });
    for order in [
        r#"{"urls": ["edge.test/a"]}"#,
        r#"{"prefixes": ["edge.test/a"]}"#,
        r#"{"hosts": ["edge.test"]}"#,
        r#"{"all": true}"#,
    ] {
        let redis = started();
        let edge = Edge::before(&origin).redis(&redis).start();
        edge.get("/a").await;
        assert_eq!(edge.order(order).await.status, 200);
        let () = connected(&redis).await.del(LOG).await.unwrap();
        // Recorded in another log, and so that one is followed.
        assert_eq!(edge.purge("/other").await.status, 200);
        let again = edge.get("/a").await;
        assert_eq!(again.cache_status(), "fwd=miss", "before it: {order}");
        patiently("a log that stays", async {
            while edge.get("/a").await.cache_status() != "hit" {}
        })
        .await;

        let () = connected(&redis).await.del(LOG).await.unwrap();
        assert_eq!(edge.purge("/other").await.status, 200);
        assert_eq!(edge.order(order).await.status, 200);
        let again = edge.get("/a").await;
        assert_eq!(again.cache_status(), "fwd=miss", "after it: {order}");
    }
}

#[tokio::test]
async fn what_is_renewed_by_way_of_an_equivalent_url_keeps_its_own() {
    let origin = Origin::by(|asked| match asked.get("if-none-match") {
        Some(_) => answer("").status(304).with("etag", "\"1\""),
        None => fresh(&asked.target)
            .with("etag", "\"1\"")
            .with("no-vary-search", "params=(\"utm\")"),
    });
    let edge = Edge::before(&origin).start();
    edge.get("/a?utm=1").await;
    edge.clock.advance(secs(3_601));
    assert_eq!(edge.get("/a?utm=2").await.cache("fwd-status"), Some("304"));
    assert_eq!(edge.get("/a?utm=3").await.text(), "/a?utm=1");
    edge.purge("/a?utm=1").await;
    assert_eq!(edge.get("/a?utm=3").await.text(), "/a?utm=3");
}

#[tokio::test]
async fn many_writes_at_once_share_a_connection_to_the_log() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("done");
    let edge = following(&origin, &way);
    assert_eq!(edge.purge("/").await.status, 200);
    let before = way.connections();
    way.hold();
    let mut writing = Vec::new();
    for number in 0..50 {
        let path = format!("/{number}");
        writing.push(edge.request("PUT", &path).body("new").begin().await);
    }
    origin.asked_for(50).await;
    way.release();
    for mut write in writing {
        assert_eq!(write.response().await.status, 200);
    }
    let opened = way.connections() - before;
    assert!(opened <= 3, "{opened} connections for 50 writes");
}
