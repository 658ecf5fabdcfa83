//! What a write invalidates is in the log before its client hears of it, and whatever becomes of it.

use tidegate_services::Redis;

use crate::filters_support::scripted;
use crate::support::client::Connection;
use crate::support::redis::{recorded, started};
use crate::support::{Answer, Edge, Gate, Origin, Way, answer, fresh, patiently};

/// A write invalidates by its URL, by what it names, by groups, and by a plugin's tags.
const INVALIDATE: &str = r#"
    [plugins.invalidate]
    file = "builtin:invalidate"
"#;
const RULES: &str = r#"
    [[plugins]]
    name = "invalidate"
    grants = ["purge"]
    deadline = "10s"
    [[plugins.config.rules]]
    methods = ["POST"]
    path = "/written"
    tags = ["by-plugin"]
"#;

/// An edge whose log is at the end of a way; the regional tier is not.
fn edge_before(origin: &Origin, redis: &Redis, way: &Way, deadline: &str) -> Edge {
    Edge::before(origin)
        .redis(redis)
        .with(&format!(
            "log = {{ url = {:?}, deadline = {deadline:?} }}",
            way.url()
        ))
        .with(INVALIDATE)
        .route(RULES)
        .start()
}

/// What the write makes fall, and by what name it is in the log.
fn paths() -> [(&'static str, &'static str); 4] {
    [
        ("/written", "edge.test/written"),
        ("/named", "edge.test/named"),
        ("/grouped", "others"),
        ("/by-plugin", "by-plugin"),
    ]
}

fn origin() -> Origin {
    Origin::by(|asked| match asked.target.as_str() {
        "/grouped" => fresh("x").with("cache-groups", "\"others\""),
        "/by-plugin" => fresh("x").with("surrogate-key", "by-plugin"),
        _ => fresh("x"),
    })
}

fn done() -> Answer {
    answer("done")
        .with("location", "/named")
        .with("cache-group-invalidation", "\"others\"")
}

async fn fill(edge: &Edge) {
    for (path, _) in paths() {
        edge.fill(&[path]).await;
    }
}

async fn write(edge: &Edge) -> Connection {
    edge.request("POST", "/written").body("x").begin().await
}

/// Whether the answer is on its way by now.
async fn is_answered(edge: &Edge, connection: &mut Connection) -> bool {
    for _ in 0..8 {
        edge.settled().await;
    }
    connection.has_more().await
}

#[tokio::test]
async fn a_write_is_answered_after_what_it_invalidates_is_recorded() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = origin();
    let edge = edge_before(&origin, &redis, &way, "1h");
    fill(&edge).await;
    let gate = Gate::closed();
    origin.next(done().after(&gate));
    let mut writing = write(&edge).await;
    origin.asked_for(5).await;
    way.hold();
    gate.open();
    assert!(!is_answered(&edge, &mut writing).await);
    for (path, _) in paths() {
        assert_eq!(edge.get(path).await.cache_status(), "hit", "{path}");
    }
    way.release();
    assert_eq!(writing.response_to("POST").await.text(), "done");
    for (path, name) in paths() {
        assert_eq!(recorded(&redis, name).await, 1, "{name}");
        assert_ne!(edge.get(path).await.cache_status(), "hit", "{path}");
    }
}

#[tokio::test]
async fn a_write_waits_for_the_log_no_longer_than_its_deadline() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = origin();
    let edge = edge_before(&origin, &redis, &way, "100ms");
    fill(&edge).await;
    way.hold();
    origin.next(done());
    assert_eq!(write(&edge).await.response_to("POST").await.text(), "done");
    for (path, name) in paths() {
        assert_eq!(recorded(&redis, name).await, 0, "{name}");
        assert_eq!(edge.get(path).await.cache_status(), "fwd=miss", "{path}");
    }
    way.release();
    for (path, name) in paths() {
        patiently(name, async { while recorded(&redis, name).await == 0 {} }).await;
        patiently(path, async {
            while edge.get(path).await.cache_status() != "hit" {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_write_is_recorded_though_its_client_left() {
    // Before the origin has answered, and while the log takes its time.
    for leaves_early in [true, false] {
        let redis = started();
        let way = Way::to(&redis);
        let origin = origin();
        let edge = edge_before(&origin, &redis, &way, "1h");
        fill(&edge).await;
        let gate = Gate::closed();
        origin.next(done().after(&gate));
        let mut writing = write(&edge).await;
        origin.asked_for(5).await;
        if leaves_early {
            drop(writing);
            edge.settled().await;
            gate.open();
        } else {
            way.hold();
            gate.open();
            assert!(!is_answered(&edge, &mut writing).await);
            drop(writing);
            edge.settled().await;
            way.release();
        }
        for (path, name) in paths() {
            patiently(name, async { while recorded(&redis, name).await == 0 {} }).await;
            patiently(path, async {
                while edge.request("HEAD", path).send().await.cache_status() == "hit" {}
            })
            .await;
        }
    }
}

/// What an origin that was sent a write may do instead of answering it.
fn failures() -> [(&'static str, Answer, u16); 4] {
    [
        ("hangs up", Answer::hang_up(), 502),
        ("talks nonsense", Answer::raw("nonsense\r\n\r\n"), 502),
        (
            "sends half a head",
            Answer::raw("HTTP/1.1 200 OK\r\ncontent"),
            502,
        ),
        ("is silent", answer("late").after(&Gate::closed()), 504),
    ]
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_recorded_before_its_failure_is_told() {
    for (how, failure, status) in failures() {
        let redis = started();
        let origin = Origin::always(fresh("x"));
        let edge = Edge::before(&origin)
            .redis(&redis)
            .with("origins.app.timeout = \"300ms\"")
            .start();
        edge.get("/written").await;
        origin.next(failure);
        let answered = write(&edge).await.response_to("POST").await;
        assert_eq!(answered.status, status, "{how}");
        assert_eq!(recorded(&redis, "edge.test/written").await, 1, "{how}");
        assert_eq!(
            edge.get("/written").await.cache_status(),
            "fwd=miss",
            "{how}"
        );
    }
}

#[tokio::test]
async fn a_write_at_one_edge_reaches_the_others() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = origin();
    let here = edge_before(&origin, &redis, &way, "10s");
    let there = Edge::before(&origin).redis(&redis).start();
    fill(&there).await;
    origin.next(done());
    write(&here).await.response_to("POST").await;
    for (path, _) in paths() {
        patiently(path, async {
            while there.request("HEAD", path).send().await.cache_status() == "hit" {}
        })
        .await;
    }
}

/// A part that is refused would have kept it apart.
#[tokio::test]
async fn what_a_post_brings_is_not_stored_where_a_filter_sends_it_past_the_cache() {
    for steps in [
        "on_request = [\"bypass\"]",
        "on_request = [{ key = \"$x-tenant\" }]",
    ] {
        let origin = Origin::always(fresh("made by a post").with("content-location", "/a"));
        let edge = scripted(&origin, &[("scripted", steps)]).start();
        let tenant = "a".repeat(2_000);
        let posting = edge.request("POST", "/a").with("x-tenant", &tenant);
        let posted = posting.body("new").send().await;
        assert_eq!(posted.cache("stored"), None, "{steps}");
        assert_ne!(edge.get("/a").await.cache_status(), "hit", "{steps}");
    }
}

#[tokio::test]
async fn what_a_post_stored_falls_by_a_purge_within_its_body() {
    let origin = Origin::always(fresh("made by a get"));
    let edge = Edge::before(&origin).start();
    let gate = Gate::closed();
    let made = fresh("made ").chunked().with("content-location", "/a");
    origin.next(made.then(&gate, "by a post"));
    let mut posting = edge.request("POST", "/a").body("new").begin().await;
    assert_eq!(posting.head().await.cache("stored"), Some(""));
    edge.purge("/a").await;
    gate.open();
    assert_eq!(posting.rest().await, ("made by a post".to_owned(), true));
    assert_eq!(edge.get("/a").await.text(), "made by a get");
}

#[tokio::test]
async fn what_a_post_stored_is_not_used_where_its_records_are_not_in_the_log() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("made by a get"));
    let edge = edge_before(&origin, &redis, &way, "100ms");
    way.hold();
    let made = fresh("made by a post");
    origin.next(made.with("content-location", "/written"));
    let posted = write(&edge).await.response_to("POST").await;
    assert_eq!(
        (posted.text(), posted.cache("stored")),
        ("made by a post", None)
    );
    assert_eq!(edge.get("/written").await.text(), "made by a get");
}
