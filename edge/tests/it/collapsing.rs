//! Many requests, one fetch: who shares it, and who must not.

use crate::support::{Answer, Edge, Gate, Origin, answer, fresh, patiently, secs};

/// The first request is answered when `first` opens, all others as `then` says.
fn first_and_then(first: Answer, then: Answer) -> Origin {
    let origin = Origin::always(then);
    origin.next(first);
    origin
}

#[tokio::test]
async fn two_hundred_cold_requests_are_one_at_the_origin() {
    let gate = Gate::closed();
    let origin = Origin::always(fresh("shared").after(&gate));
    let edge = Edge::before(&origin).with("server.workers = 2").start();
    let mut connections = Vec::new();
    for _ in 0..200 {
        connections.push(edge.request("GET", "/").begin().await);
    }
    gate.open();
    for mut connection in connections {
        assert_eq!(connection.response().await.text(), "shared");
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_follower_that_joins_in_the_middle_of_a_body_gets_the_whole() {
    let gate = Gate::closed();
    let origin = Origin::always(fresh("first ").then(&gate, "second").chunked());
    let edge = Edge::before(&origin).start();
    let mut leader = edge.request("GET", "/").begin().await;
    leader.head().await;
    assert_eq!(leader.body(6).await, "first ");
    let mut follower = edge.request("GET", "/").begin().await;
    let head = follower.head().await;
    assert_eq!(
        (head.cache_status(), head.cache("collapsed")),
        ("fwd=uri-miss", Some(""))
    );
    assert_eq!(
        follower.body(6).await,
        "first ",
        "it streams while the body arrives"
    );
    gate.open();
    for mut connection in [leader, follower] {
        assert_eq!(connection.rest().await, ("second".to_owned(), true));
    }
    assert_eq!(edge.get("/").await.text(), "first second");
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_leader_that_leaves_does_not_end_the_fetch() {
    let (head, tail) = (Gate::closed(), Gate::closed());
    let origin = Origin::always(fresh("first ").after(&head).then(&tail, "second").chunked());
    let edge = Edge::before(&origin).start();
    let leader = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut second = edge.request("GET", "/").begin().await;
    let mut third = edge.request("GET", "/").begin().await;
    drop(leader);
    edge.settled().await;
    head.open();
    second.head().await;
    third.head().await;
    drop(second);
    edge.settled().await;
    tail.open();
    assert_eq!(third.rest().await, ("first second".to_owned(), true));
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_fetch_that_everybody_left_is_stored_all_the_same() {
    let gate = Gate::closed();
    let origin = Origin::always(fresh("kept").after(&gate));
    let edge = Edge::before(&origin).start();
    let leader = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    drop(leader);
    edge.settled().await;
    gate.open();
    let work = async { while edge.get("/").await.cache_status() != "hit" {} };
    patiently("a hit", work).await;
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_response_that_may_not_be_shared_lets_all_go_in_parallel_and_is_remembered() {
    let (first, others) = (Gate::closed(), Gate::closed());
    let private = |gate: &Gate| answer("mine").with("cache-control", "private").after(gate);
    let origin = first_and_then(private(&first), private(&others));
    let edge = Edge::before(&origin).start();
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(edge.request("GET", "/").begin().await);
    }
    origin.asked_for(1).await;
    edge.settled().await;
    assert_eq!(origin.requests(), 1, "they wait for the first");
    first.open();
    // Nobody is answered before all have asked: they do not queue behind each other.
    origin.asked_for(5).await;
    for _ in 0..3 {
        connections.push(edge.request("GET", "/").begin().await);
    }
    origin.asked_for(8).await;
    others.open();
    for mut connection in connections {
        assert_eq!(connection.response().await.text(), "mine");
    }
    assert_eq!(origin.requests(), 8);
}

#[tokio::test]
async fn a_key_that_was_not_shareable_is_stored_as_soon_as_it_may_be() {
    let origin = first_and_then(
        answer("mine").with("cache-control", "private"),
        fresh("ours"),
    );
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    assert_eq!(edge.get("/").await.cache("stored"), Some(""));
    assert_eq!(edge.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn nobody_is_given_what_must_be_asked_for_each_time() {
    for cache_control in ["no-cache", "max-age=0", "max-age=0, must-revalidate"] {
        let gate = Gate::closed();
        let origin = Origin::by({
            let gate = gate.clone();
            move |request| {
                answer(request.get("cookie").unwrap_or("nobody"))
                    .with("cache-control", cache_control)
                    .with("etag", "\"1\"")
                    .after(&gate)
            }
        });
        let edge = Edge::before(&origin).start();
        let ask = |cookie: &'static str| {
            let request = edge.request("GET", "/me").with("cookie", cookie);
            async move { request.begin().await }
        };
        let mut one = ask("one").await;
        origin.asked_for(1).await;
        let mut other = ask("other").await;
        edge.settled().await;
        gate.open();
        assert_eq!(one.response().await.text(), "one", "{cache_control}");
        assert_eq!(other.response().await.text(), "other", "{cache_control}");
    }
}

#[tokio::test]
async fn one_clients_authorization_does_not_mark_the_key_for_others() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    let theirs = edge
        .request("GET", "/")
        .with("authorization", "Basic me")
        .send()
        .await;
    assert_eq!(theirs.cache("detail"), Some("authorization"));
    assert_eq!(edge.get("/").await.cache("stored"), Some(""));
}

#[tokio::test]
async fn a_failing_origin_fails_all_who_wait_at_once() {
    let gate = Gate::closed();
    let origin = Origin::always(Answer::hang_up().after(&gate));
    let edge = Edge::before(&origin).start();
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(edge.request("GET", "/").begin().await);
    }
    origin.asked_for(1).await;
    edge.settled().await;
    gate.open();
    for mut connection in connections {
        assert_eq!(connection.response().await.status, 502);
    }
    assert_eq!(
        origin.requests(),
        1,
        "a dead origin is not tried once for each"
    );
}

#[tokio::test]
async fn those_who_wait_get_their_own_variant() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::by(move |asked| {
        let language = asked.get("accept-language").unwrap_or_default();
        fresh(language).with("vary", "accept-language").after(&held)
    });
    let edge = Edge::before(&origin).start();
    let languages = ["de", "fr", "fr", "de", "fr"];
    let mut connections = Vec::new();
    for language in languages {
        connections.push(
            edge.request("GET", "/")
                .with("accept-language", language)
                .begin()
                .await,
        );
        origin.asked_for(1).await;
    }
    edge.settled().await;
    gate.open();
    for (mut connection, language) in connections.into_iter().zip(languages) {
        assert_eq!(connection.response().await.text(), language);
    }
    assert_eq!(origin.requests(), 2, "those who want the same share");
}

#[tokio::test]
async fn a_validation_is_shared_too() {
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x").with("etag", "\"1\""));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(60));
    let confirmed = answer("")
        .status(304)
        .with("etag", "\"1\"")
        .with("cache-control", "max-age=60");
    origin.now(confirmed.after(&gate));
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(edge.request("GET", "/").begin().await);
    }
    origin.asked_for(2).await;
    edge.settled().await;
    gate.open();
    for mut connection in connections {
        let response = connection.response().await;
        assert_eq!((response.status, response.text()), (200, "x"));
    }
    assert_eq!(origin.requests(), 2);
}
