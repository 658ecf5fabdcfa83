//! A purge log that is gone, cut short, or another one: nothing stale is served for that.

use redis::AsyncCommands;
use redis::streams::StreamRangeReply;
use tidegate_services::Redis;

use crate::log::epoch;
use crate::support::redis::{LOG, add, connected, started};
use crate::support::{Answer, Edge, Origin, Way, answer, patiently};

pub(crate) fn fresh(body: &str) -> Answer {
    answer(body)
        .with(
            "cache-control",
            "max-age=3600, stale-if-error=3600, stale-while-revalidate=3600",
        )
        .with("etag", &format!("{body:?}"))
}

/// An edge that shares nothing but the log.
fn following(origin: &Origin, log: &str) -> Edge {
    Edge::before(origin)
        .with(&format!(
            "log = {{ url = {log:?}, trust = \"1d\", deadline = \"10s\" }}"
        ))
        .start()
}

const PATHS: [&str; 2] = ["/a", "/b"];

/// Two edges on ways of their own to one server, and what they have stored.
pub(crate) struct Pair {
    pub(crate) origin: Origin,
    pub(crate) ways: [Way; 2],
    pub(crate) edges: [Edge; 2],
}

impl Pair {
    pub(crate) async fn on(redis: &Redis) -> Pair {
        let origin = Origin::always(fresh("old"));
        let ways = [Way::to(redis), Way::to(redis)];
        let edges = [0, 1].map(|number: usize| following(&origin, &ways[number].url()));
        for edge in &edges {
            edge.fill(&PATHS).await;
        }
        Pair {
            origin,
            ways,
            edges,
        }
    }

    /// A purge of `path` here reaches the other edge.
    pub(crate) async fn agree(&self, path: &str) {
        self.edges[1].get(path).await;
        assert_eq!(self.edges[0].purge(path).await.status, 200);
        patiently("the purge", async {
            while self.edges[1]
                .request("HEAD", path)
                .send()
                .await
                .cache_status()
                == "hit"
            {}
        })
        .await;
    }
}

/// Waits until what was stored before is used no more, and shows that it is asked about.
pub(crate) async fn is_asked_about(edge: &Edge, path: &str) {
    patiently("the end of trust in it", async {
        loop {
            let response = edge.get(path).await;
            if response.cache_status() == "hit" {
                assert_ne!(response.cache("detail"), Some("stale-while-revalidate"));
                continue;
            }
            assert_eq!(response.cache("fwd"), Some("stale"), "{path}");
            assert_eq!(response.cache("detail"), Some("below-floor"), "{path}");
            return;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_trimmed_before_it_was_read_puts_everything_older_in_doubt() {
    // All but the last, and one in the middle.
    for is_one in [false, true] {
        let redis = started();
        let pair = Pair::on(&redis).await;
        let [purging, behind] = &pair.edges;
        pair.ways[1].hold();
        pair.origin.now(fresh("new"));
        // The first of them may be on its way already.
        for path in ["/first", "/a", "/last"] {
            assert_eq!(purging.purge(path).await.status, 200);
        }
        let mut connection = connected(&redis).await;
        if is_one {
            let log: StreamRangeReply = connection.xrange_all(LOG).await.unwrap();
            let entry = log
                .ids
                .iter()
                .find(|entry| format!("{entry:?}").contains("edge.test/a"));
            let _: u64 = connection.xdel(LOG, &[&entry.unwrap().id]).await.unwrap();
        } else {
            let trim = redis::streams::StreamMaxlen::Equals(1);
            let _: u64 = connection.xtrim(LOG, trim).await.unwrap();
        }
        pair.ways[1].release();
        for path in PATHS {
            is_asked_about(behind, path).await;
            assert_eq!(behind.get(path).await.text(), "new", "{path}");
        }
        assert_eq!(
            purging.get("/b").await.cache_status(),
            "hit",
            "it missed nothing"
        );
        pair.agree("/b").await;
    }
}

#[tokio::test]
async fn a_log_that_begins_again_with_lower_ids_is_noticed_by_who_waits_for_higher_ones() {
    let redis = started();
    // A server whose clock goes far ahead.
    let ahead = [("e", "00000000000000f1"), ("p", "0-0")];
    add(&redis, "9999999999999-0", &ahead).await;
    let pair = Pair::on(&redis).await;
    pair.agree("/other").await;
    let before = epoch(&pair.edges[0], "/other").await;
    assert_eq!(before, ahead[0].1);
    let mut connection = connected(&redis).await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    pair.origin.now(fresh("new"));
    for edge in &pair.edges {
        for path in PATHS {
            is_asked_about(edge, path).await;
        }
    }
    pair.agree("/a").await;
    let last: StreamRangeReply = connection.xrevrange_all(LOG).await.unwrap();
    assert!(
        last.ids[0].id.as_str() < "9999999999999-0",
        "its ids are lower"
    );
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_another_log() {
    for command in ["DEL", "UNLINK"] {
        let redis = started();
        let pair = Pair::on(&redis).await;
        let before = epoch(&pair.edges[0], "/other").await;
        let mut connection = connected(&redis).await;
        let _: u64 = redis::cmd(command)
            .arg(LOG)
            .query_async(&mut connection)
            .await
            .unwrap();
        for edge in &pair.edges {
            is_asked_about(edge, "/a").await;
        }
        assert_ne!(epoch(&pair.edges[0], "/other").await, before);
        pair.agree("/b").await;
    }
}

#[tokio::test]
async fn below_the_floor_nothing_stands_in_for_an_origin_that_fails() {
    let redis = started();
    let pair = Pair::on(&redis).await;
    let mut connection = connected(&redis).await;
    let _: u64 = connection.del(LOG).await.unwrap();
    is_asked_about(&pair.edges[0], "/a").await;
    pair.origin.now(answer("sorry").status(503));
    assert_eq!(pair.edges[0].get("/b").await.text(), "sorry");
}

#[tokio::test]
async fn a_purge_at_the_moment_of_replacement_is_not_lost() {
    let redis = started();
    let pair = Pair::on(&redis).await;
    let [here, there] = &pair.edges;
    for round in 0..8 {
        let body = format!("{round}");
        pair.origin.now(fresh(&body));
        let purging = tokio::spawn(here.purge("/a"));
        let mut connection = connected(&redis).await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(purging.await.unwrap().status, 200, "{round}");
        assert_eq!(here.get("/a").await.text(), body, "it was told so");
        patiently("the purge", async {
            while there.get("/a").await.text() != body {}
        })
        .await;
    }
}

#[tokio::test]
async fn edges_that_found_a_log_at_once_found_one() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let builder = Edge::before(&origin).with(&format!(
                "log = {{ url = {:?}, trust = \"1d\", deadline = \"10s\" }}",
                redis.url()
            ));
            std::thread::spawn(move || builder.start())
        })
        .collect();
    let edges: Vec<_> = starting
        .into_iter()
        .map(|edge| edge.join().unwrap())
        .collect();
    let first = epoch(&edges[0], "/other").await;
    for edge in &edges {
        edge.get("/a").await;
        assert_eq!(epoch(edge, "/other").await, first);
        assert_eq!(edge.get("/a").await.cache_status(), "hit");
    }
    edges[3].purge("/a").await;
    for edge in &edges {
        patiently("the purge", async {
            while edge.request("HEAD", "/a").send().await.cache_status() == "hit" {}
        })
        .await;
    }
}

#[tokio::test]
async fn edges_that_lose_a_log_together_need_one_new_one() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let edges = [(); 4].map(|()| following(&origin, &redis.url()));
    for edge in &edges {
        edge.fill(&PATHS).await;
    }
    assert_eq!(edges[0].purge("/b").await.status, 200);
    for edge in &edges {
        patiently("the purge", async {
            while edge.request("HEAD", "/b").send().await.cache_status() == "hit" {}
        })
        .await;
    }
    let mut connection = connected(&redis).await;
    let _: u64 = connection.del(LOG).await.unwrap();
    for edge in &edges {
        is_asked_about(edge, "/a").await;
    }
    for edge in &edges {
        epoch(edge, "/other").await;
    }
    let log: StreamRangeReply = connection.xrange_all(LOG).await.unwrap();
    let foundings = log.ids.iter().filter(|entry| !entry.contains_key("r"));
    assert_eq!(foundings.count(), 1);
}
