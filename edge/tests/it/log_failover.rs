//! A purge log that another server takes over without its last records: they are heeded by those who
//! never read them.

use redis::AsyncCommands;
use redis::streams::StreamRangeReply;
use tidegate_services::Redis;

use crate::log_lost::{Pair, fresh, is_asked_about};
use crate::support::redis::{LOG, add, connected, recorded, started};
use crate::support::{Edge, patiently};

async fn is_new(edge: &Edge, path: &str) {
    patiently("what is new", async {
        while edge.get(path).await.text() != "new" {}
    })
    .await;
}

/// Gives a server the log of another, as far as it goes by now.
async fn copy(from: &Redis, to: &Redis) {
    let log: StreamRangeReply = connected(from).await.xrange_all(LOG).await.unwrap();
    for entry in log.ids {
        let field = |name: &str| {
            entry
                .get::<String>(name)
                .map(|value| (name.to_owned(), value))
        };
        let fields: Vec<_> = ["e", "p", "r", "a"].into_iter().filter_map(field).collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        add(to, &entry.id, &fields).await;
    }
}

/// A server with the log as it was a moment ago, and its tail on the one before alone: a purge of /a
/// that the first edge has applied and the second has not.
async fn with_a_lost_tail() -> (Redis, Redis, Pair) {
    let (first, second) = (started(), started());
    let pair = Pair::on(&first).await;
    pair.agree("/other").await;
    copy(&first, &second).await;
    pair.ways[1].hold();
    pair.origin.now(fresh("new"));
    assert_eq!(pair.edges[0].purge("/a").await.status, 200);
    assert_eq!(recorded(&second, "edge.test/a").await, 0);
    (first, second, pair)
}

#[tokio::test]
async fn a_purge_on_a_lost_tail_is_heeded_by_those_who_never_read_it() {
    let (_first, second, pair) = with_a_lost_tail().await;
    for way in &pair.ways {
        way.lead_to(&second);
    }
    pair.ways[1].release();
    for edge in &pair.edges {
        is_new(edge, "/a").await;
        is_asked_about(edge, "/b").await;
    }
    pair.agree("/a").await;
}

#[tokio::test]
async fn a_lost_tail_is_noticed_where_its_place_was_given_out_again() {
    let (_first, second, pair) = with_a_lost_tail().await;
    // The second edge goes on there before the first has come.
    pair.ways[0].cut();
    pair.ways[1].lead_to(&second);
    pair.ways[1].release();
    patiently("the other server", async {
        while pair.edges[1].purge("/more").await.status != 200 {}
        while recorded(&second, "edge.test/more").await == 0 {}
    })
    .await;
    // Another server may have lost anything, whoever tells of it.
    assert_eq!(pair.edges[1].get("/a").await.text(), "new");
    pair.ways[0].lead_to(&second);
    for edge in &pair.edges {
        is_asked_about(edge, "/b").await;
    }
    pair.agree("/a").await;
}

#[tokio::test]
async fn a_purge_that_was_recorded_in_one_of_two_logs_at_once_is_heeded_in_the_other() {
    // The other has the beginning of the same log, or nothing.
    for has_beginning in [true, false] {
        let (first, second) = (started(), started());
        let pair = Pair::on(&first).await;
        pair.agree("/other").await;
        if has_beginning {
            copy(&first, &second).await;
        }
        pair.ways[1].lead_to(&second);
        // It has applied all that is recorded there so far, and fetches under that log.
        patiently("the other server", async {
            while pair.edges[1].purge("/more").await.status != 200 {}
            while recorded(&second, "edge.test/more").await == 0 {}
            while pair.edges[1].purge("/last").await.status != 200 {}
        })
        .await;
        patiently("what is stored there", async {
            while pair.edges[1].get("/a").await.cache_status() != "hit" {}
        })
        .await;
        pair.origin.now(fresh("new"));
        assert_eq!(pair.edges[0].purge("/a").await.status, 200);
        assert_eq!(
            pair.edges[1].get("/a").await.text(),
            "old",
            "nobody has told"
        );
        pair.ways[0].lead_to(&second);
        is_new(&pair.edges[1], "/a").await;
        is_new(&pair.edges[0], "/a").await;
        patiently("the first edge's connection", async {
            while pair.edges[0].purge("/last").await.status != 200 {}
        })
        .await;
        pair.agree("/a").await;
    }
}
