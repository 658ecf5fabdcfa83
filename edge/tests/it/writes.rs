//! What a write makes fall (RFC 9111 §4.4).

use crate::support::{Answer, Edge, Fields, Gate, Origin, answer, fresh, patiently};

/// What a write is answered with, and what is left of /a, /made, /other.
const WRITES: &[(&str, u16, Fields, [bool; 3])] = &[
    ("§4.4, the target", 200, &[], [false, true, true]),
    (
        "§4.4, Location",
        201,
        &[("location", "/made")],
        [false, false, true],
    ),
    (
        "§4.4, relative",
        201,
        &[("location", "made")],
        [false, false, true],
    ),
    (
        "§4.4, Content-Location",
        200,
        &[("content-location", "http://edge.test/other")],
        [false, true, false],
    ),
    (
        "§4.4, another origin",
        201,
        &[("location", "http://else.test/made")],
        [false, true, true],
    ),
    (
        "§4.4, a redirection",
        303,
        &[("location", "/made")],
        [false, false, true],
    ),
    (
        "§4.4, a client's error",
        404,
        &[("location", "/made")],
        [true, true, true],
    ),
    ("§4.4, a server's error", 500, &[], [true, true, true]),
    (
        "RFC 9875 §3",
        200,
        &[("cache-group-invalidation", "\"others\"")],
        [false, true, false],
    ),
];

#[tokio::test]
async fn a_write_invalidates_what_its_answer_names() {
    for (rule, status, fields, left) in WRITES {
        for method in ["POST", "PUT", "DELETE", "FROBNICATE"] {
            let origin = Origin::by(|asked| match asked.target.as_str() {
                "/other" => fresh("x").with("cache-groups", "\"others\""),
                _ => fresh("x"),
            });
            let edge = Edge::before(&origin).start();
            edge.fill(&["/a", "/made", "/other"]).await;
            origin.next(answer("done").status(*status).with_all(fields));
            let response = edge.request(method, "/a").body("text").send().await;
            assert_eq!(
                (response.status, response.cache_status()),
                (*status, "fwd=method"),
                "{rule}"
            );
            assert_eq!(
                (origin.last().method.as_str(), origin.last().body),
                (method, b"text".to_vec())
            );
            for (path, is_left) in ["/a", "/made", "/other"].iter().zip(left) {
                assert_eq!(
                    edge.is_stored(path).await,
                    *is_left,
                    "{path}: {method}, {rule}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_write_whose_client_left_still_invalidates() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a"]).await;
    let gate = Gate::closed();
    origin.next(answer("done").after(&gate));
    let writer = edge.request("POST", "/a").body("text").begin().await;
    origin.asked_for(2).await;
    drop(writer);
    edge.settled().await;
    assert!(edge.is_stored("/a").await);
    gate.open();
    patiently("the invalidation", async {
        while edge.is_stored("/a").await {}
    })
    .await;
}

#[tokio::test]
async fn a_write_that_was_sent_and_not_answered_invalidates() {
    let mut origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a", "/b"]).await;
    origin.next(Answer::hang_up());
    assert_eq!(
        edge.request("POST", "/a").body("text").send().await.status,
        502
    );
    assert!(!edge.is_stored("/a").await);
    origin.go_down();
    assert_eq!(
        edge.request("POST", "/b").body("text").send().await.status,
        502
    );
    assert!(edge.is_stored("/b").await, "it was never sent");
}

#[tokio::test]
async fn a_safe_method_invalidates_nothing() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin).start();
    edge.fill(&["/a"]).await;
    for method in ["OPTIONS", "HEAD"] {
        edge.request(method, "/a").send().await;
    }
    assert!(edge.is_stored("/a").await);
}

#[tokio::test]
async fn a_write_that_grew_too_large_on_its_way_invalidates_what_it_may_have_changed() {
    let origin = Origin::always(fresh("x"));
    let edge = Edge::before(&origin)
        .with("server = { max_body_bytes = 10 }")
        .start();
    edge.fill(&["/a"]).await;
    let mut chunked = edge.connect().await;
    chunked
        .write(b"POST /a HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n6\r\naaaaaa\r\n6\r\naaaaaa\r\n0\r\n\r\n")
        .await;
    assert_eq!(chunked.response().await.status, 413);
    assert!(!edge.is_stored("/a").await);
}

/// The answer to a POST that describes its own target.
fn describing(location: &str, cache_control: &str) -> Answer {
    answer("made by a post")
        .with("content-location", location)
        .with("cache-control", cache_control)
}

#[tokio::test]
async fn a_post_whose_answer_is_the_target_itself_serves_later_gets() {
    // RFC 9110 §9.3.3: stated freshness, and the target's own URL; an absolute one too.
    let rows = [
        ("/a?b=1", "max-age=60", true),
        ("http://edge.test/a?b=1", "max-age=60", true),
        ("http://other.test/a?b=1", "max-age=60", false),
        ("/a", "max-age=60", false),
        ("/other", "max-age=60", false),
        ("/a?b=1", "", false),
        ("/a?b=1", "max-age=60, no-store", false),
        ("/a?b=1", "max-age=60, private", false),
    ];
    for (location, cache_control, is_kept) in rows {
        let origin = Origin::always(fresh("made by a get"));
        let edge = Edge::before(&origin).start();
        edge.get("/a?b=1").await;
        origin.next(describing(location, cache_control));
        let posted = edge.request("POST", "/a?b=1").body("new").send().await;
        assert_eq!(posted.text(), "made by a post");
        assert_eq!(
            posted.cache("stored").is_some(),
            is_kept,
            "{location} {cache_control}"
        );
        let later = edge.get("/a?b=1").await;
        // What was stored before the write is not served after it.
        let expected = if is_kept {
            "made by a post"
        } else {
            "made by a get"
        };
        assert_eq!(later.text(), expected, "{location} {cache_control}");
        assert_eq!(
            later.cache_status() == "hit",
            is_kept,
            "{location} {cache_control}"
        );
    }
}

#[tokio::test]
async fn what_a_post_stored_falls_by_the_next_write_and_by_purges() {
    for is_purge in [false, true] {
        let origin = Origin::always(fresh("made by a get"));
        let edge = Edge::before(&origin).start();
        origin.next(describing("/a", "max-age=60"));
        edge.request("POST", "/a").body("new").send().await;
        assert!(edge.is_stored("/a").await);
        if is_purge {
            edge.purge("/a").await;
        } else {
            edge.request("DELETE", "/a").send().await;
        }
        assert_eq!(edge.get("/a").await.text(), "made by a get");
    }
}

#[tokio::test]
async fn a_purge_during_a_post_keeps_its_answer_from_being_stored() {
    let origin = Origin::always(fresh("made by a get"));
    let edge = Edge::before(&origin).start();
    let gate = Gate::closed();
    origin.next(describing("/a", "max-age=60").after(&gate));
    let posting = tokio::spawn(edge.request("POST", "/a").body("new").send());
    origin.asked_for(1).await;
    edge.purge("/a").await;
    gate.open();
    assert_eq!(posting.await.expect("it is answered").cache("stored"), None);
    assert_eq!(edge.get("/a").await.text(), "made by a get");
}

#[tokio::test]
async fn what_a_post_stored_is_kept_for_the_variant_that_it_is() {
    let origin = Origin::always(fresh("made by a get"));
    let edge = Edge::before(&origin).start();
    origin.next(describing("/a", "max-age=60").with("vary", "accept"));
    let post = edge.request("POST", "/a").with("accept", "text/plain");
    post.body("new").send().await;
    let get = |accept| edge.request("GET", "/a").with("accept", accept).send();
    assert_eq!(get("text/plain").await.text(), "made by a post");
    assert_eq!(get("text/html").await.text(), "made by a get");
}

#[tokio::test]
async fn a_redirect_after_a_post_is_not_the_page() {
    // RFC 9110 §8.7: only in a 2xx is it the target's own representation.
    let origin = Origin::always(fresh("made by a get"));
    let edge = Edge::before(&origin).start();
    origin.next(describing("/a", "max-age=60").status(302));
    let posted = edge.request("POST", "/a").body("new").send().await;
    assert_eq!(posted.cache("stored"), None);
    assert_eq!(edge.get("/a").await.text(), "made by a get");
}
