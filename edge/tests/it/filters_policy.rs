//! Filters set lifetimes: for an exchange before anything is asked, and for a response that comes.

use crate::filters_support::{SCRIPTED, scripted};
use crate::support::{Edge, Origin, answer, fresh, secs};

/// Whether a GET is answered from the cache.
async fn is_hit(edge: &Edge) -> bool {
    edge.get("/").await.cache_status() == "hit"
}

#[tokio::test]
async fn a_request_filter_sets_the_lifetimes_of_what_is_fetched() {
    for world in SCRIPTED {
        for (policy, says, lifetime) in [
            ("{ ttl = 5 }", "max-age=100", 5),
            ("{ default_ttl = 30 }", "public", 30),
            ("{ default_ttl = 30 }", "max-age=10", 10),
        ] {
            let origin = Origin::answers("x").with("cache-control", says);
            let steps = format!("on_request = [{{ policy = {policy} }}]");
            let edge = scripted(&origin, &[(world, &steps)]).start();
            edge.get("/").await;
            edge.clock.advance(secs(lifetime - 1));
            assert!(is_hit(&edge).await, "{world}: {policy}, {says}");
            edge.clock.advance(secs(1));
            assert!(!is_hit(&edge).await, "{world}: {policy}, {says}");
        }
    }
}

#[tokio::test]
async fn what_forbids_storing_does_so_whatever_a_filter_says() {
    for world in SCRIPTED {
        let origin = Origin::answers("x").with("cache-control", "private");
        let steps = "on_request = [{ policy = { ttl = 60, default_ttl = 60 } }], \
                     on_origin_response = [{ ttl = 60 }]";
        let edge = scripted(&origin, &[(world, steps)]).start();
        edge.get("/").await;
        assert!(!is_hit(&edge).await, "{world}");
    }
}

#[tokio::test]
async fn lifetimes_of_several_filters_add_up_and_the_last_decides_where_they_differ() {
    let origin = Origin::answers("x").with("cache-control", "max-age=100");
    let first = "on_request = [{ policy = { ttl = 5, stale_while_revalidate = 10 } }]";
    let second = "on_request = [{ policy = { ttl = 50 } }]";
    let edge = scripted(&origin, &[("scripted", first), ("scripted-values", second)]).start();
    edge.get("/").await;
    edge.clock.advance(secs(49));
    assert!(is_hit(&edge).await);
    edge.clock.advance(secs(2));
    let stale = edge.get("/").await;
    assert_eq!(stale.cache("detail"), Some("stale-while-revalidate"));
    // The refresh goes by the lifetimes of the exchange that set it off.
    while edge.get("/").await.get("age") != Some("0") {}
    edge.clock.advance(secs(49));
    let renewed = edge.get("/").await;
    assert_eq!(
        (renewed.cache_status(), renewed.cache("ttl")),
        ("hit", Some("1"))
    );
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_filter_has_the_clients_directives_heeded() {
    for world in SCRIPTED {
        for (policy, asked) in [("{}", 1), ("{ honour_request_directives = true }", 2)] {
            let origin = Origin::always(fresh("x"));
            let steps = format!("on_request = [{{ policy = {policy} }}]");
            let edge = scripted(&origin, &[(world, &steps)]).start();
            edge.get("/").await;
            let insisting = edge.request("GET", "/").with("cache-control", "no-cache");
            insisting.send().await;
            assert_eq!(origin.requests(), asked, "{world}: {policy}");
        }
    }
}

#[tokio::test]
async fn lifetimes_given_to_a_response_outweigh_its_fields_and_outlast_a_validation() {
    for world in SCRIPTED {
        let said = "max-age=1, stale-while-revalidate=0, stale-if-error=0";
        let stored = answer("x")
            .with("cache-control", said)
            .with("etag", "\"1\"");
        let origin = Origin::always(stored.clone());
        let steps = "on_origin_response = [{ ttl = 10 }, { stale_while_revalidate = 5 }, \
                     { stale_if_error = 60 }]";
        let edge = scripted(&origin, &[(world, steps)]).start();
        edge.get("/").await;
        for round in 1..=2 {
            let fresh = edge.get("/").await;
            assert_eq!(
                (fresh.cache_status(), fresh.cache("ttl")),
                ("hit", Some("10"))
            );
            edge.clock.advance(secs(16));
            origin.now(answer("").status(503));
            let stale = edge.get("/").await;
            assert_eq!(stale.text(), "x", "{world}, {round}");
            assert_eq!(
                stale.cache("detail"),
                Some("stale-if-error"),
                "{world}, {round}"
            );
            // Nothing but a 304 from now on: the filter does not see it.
            origin.now(answer("").status(304).with("etag", "\"1\""));
            assert_eq!(edge.get("/").await.text(), "x", "{world}, {round}");
        }
        edge.clock.advance(secs(14));
        let stale = edge.get("/").await;
        assert_eq!(
            stale.cache("detail"),
            Some("stale-while-revalidate"),
            "{world}"
        );
    }
}

#[tokio::test]
async fn a_filter_turns_serving_stale_off() {
    for world in SCRIPTED {
        let said = "max-age=10, stale-while-revalidate=60, stale-if-error=60";
        let origin = Origin::answers("x").with("cache-control", said);
        let steps = "on_origin_response = [{ stale_while_revalidate = 0 }, { stale_if_error = 0 }]";
        let edge = scripted(&origin, &[(world, steps)]).start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        origin.now(answer("").status(503));
        assert_eq!(edge.get("/").await.status, 503, "{world}");
    }
}

#[tokio::test]
async fn lifetimes_given_to_a_response_do_not_outweigh_must_revalidate() {
    for world in SCRIPTED {
        let origin = Origin::answers("x").with("cache-control", "max-age=10, must-revalidate");
        let steps =
            "on_origin_response = [{ stale_while_revalidate = 60 }, { stale_if_error = 60 }]";
        let edge = scripted(&origin, &[(world, steps)]).start();
        edge.get("/").await;
        edge.clock.advance(secs(11));
        origin.now(answer("").status(503));
        assert_eq!(edge.get("/").await.status, 503, "{world}");
    }
}

#[tokio::test]
async fn a_status_set_before_storing_is_everybodys_and_one_set_behind_it_the_clients() {
    for world in SCRIPTED {
        let origin = Origin::always(fresh("gone"));
        let edge = scripted(
            &origin,
            &[(world, "on_origin_response = [{ status = 410 }]")],
        )
        .start();
        for cached in [false, true] {
            let response = edge.get("/").await;
            assert_eq!((response.status, response.text()), (410, "gone"), "{world}");
            assert_eq!(response.cache_status() == "hit", cached, "{world}");
        }
        let origin = Origin::always(fresh("x").with("etag", "\"1\""));
        let edge = scripted(&origin, &[(world, "on_response = [{ status = 404 }]")]).start();
        assert_eq!(edge.get("/").await.status, 404, "{world}");
        let hit = edge.get("/").await;
        assert_eq!((hit.status, hit.cache_status()), (404, "hit"), "{world}");
    }
    // What a client gets instead of the body cannot be turned into anything else.
    let origin = Origin::always(fresh("x").with("etag", "\"1\""));
    let edge = scripted(&origin, &[("scripted", "on_response = [{ status = 404 }]")]).start();
    edge.get("/").await;
    let known = edge.request("GET", "/").with("if-none-match", "\"1\"");
    let not_modified = known.send().await;
    assert_eq!(not_modified.status, 304);
    assert_eq!(not_modified.get("x-refused"), Some("forbidden"));
}

#[tokio::test]
async fn a_write_invalidates_by_what_the_origin_answered_whatever_a_filter_makes_of_it() {
    let origin = Origin::always(fresh("x"));
    let edge = scripted(
        &origin,
        &[("scripted", "on_origin_response = [{ status = 500 }]")],
    )
    .route("status_ttl = { 5xx = \"1h\" }")
    .start();
    edge.get("/").await;
    assert!(is_hit(&edge).await);
    assert_eq!(edge.request("POST", "/").body("y").send().await.status, 500);
    assert!(!is_hit(&edge).await);
}

const REVALIDATE: &str = "max-age=10, stale-while-revalidate=60";

/// Answers with the group that the cookie says, and "nobody's" without one.
fn by_cookie() -> Origin {
    Origin::by(|asked| {
        let body = asked.get("cookie").unwrap_or("nobody's").to_owned();
        answer(body).with("cache-control", REVALIDATE)
    })
}

#[tokio::test]
async fn what_is_stored_under_a_key_that_says_who_asks_is_not_refreshed_behind_their_back() {
    for world in SCRIPTED {
        // The key is extended by one filter, and the cookie was read by another before or after it.
        let key = "on_request = [{ key = \"$x-group\" }]";
        let reads = "on_request = [{ set = [\"x-group\", \"$cookie\"] }]";
        for filters in [
            vec![(world, "on_request = [{ key = \"$cookie\" }]")],
            vec![(world, reads), ("scripted", key)],
        ] {
            let origin = by_cookie();
            let edge = scripted(&origin, &filters).start();
            let ask = || edge.request("GET", "/").with("cookie", "group=a").send();
            assert_eq!(ask().await.text(), "group=a");
            edge.clock.advance(secs(11));
            let validated = ask().await;
            assert_eq!(validated.text(), "group=a", "{world}");
            assert_eq!(validated.cache("fwd"), Some("stale"), "{world}");
            assert_eq!(origin.requests(), 2, "{world}");
            assert_eq!(origin.last().get("cookie"), Some("group=a"), "{world}");
            assert_eq!(ask().await.text(), "group=a", "{world}");
        }
    }
}

#[tokio::test]
async fn a_key_that_says_nothing_of_the_user_lets_a_stale_response_be_refreshed_behind() {
    let key = "on_request = [{ key = \"$x-device\" }]";
    // By value a filter is given the cookie too, so there is none here.
    for (world, cookie) in [("scripted", Some("me=1")), ("scripted-values", None)] {
        let origin = Origin::answers("old").with("cache-control", REVALIDATE);
        let edge = scripted(&origin, &[(world, key)]).start();
        let ask = || {
            let request = edge.request("GET", "/").with("x-device", "phone");
            match cookie {
                Some(cookie) => request.with("cookie", cookie),
                None => request,
            }
            .send()
        };
        ask().await;
        edge.clock.advance(secs(11));
        origin.now(answer("new").with("cache-control", REVALIDATE));
        let stale = ask().await;
        assert_eq!(
            stale.cache("detail"),
            Some("stale-while-revalidate"),
            "{world}"
        );
        while ask().await.text() != "new" {}
        assert_eq!(origin.last().get("cookie"), None, "{world}");
        assert_eq!(origin.last().get("x-device"), Some("phone"), "{world}");
        assert_eq!(origin.requests(), 2, "{world}");
    }
}
