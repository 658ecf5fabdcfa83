//! Queries that are equivalent because the origin says so (No-Vary-Search).

use crate::support::origin::Asked;
use crate::support::redis::{started, stored};
use crate::support::{Edge, Fields, Gate, Origin, answer, fresh, patiently, secs};

const NO_UTM: &str = "params=(\"utm\")";

/// Says what it was asked for, and which parameters make no difference.
fn saying(variance: &'static str) -> Origin {
    Origin::by(move |asked| fresh(&asked.target).with("no-vary-search", variance))
}

/// What the origin says, two requests, and whether the second is a hit on the first.
const QUERIES: &[(&str, &str, &str, bool)] = &[
    ("params=(\"utm\")", "/?a=1&utm=x", "/?utm=y&a=1", true),
    ("params=(\"utm\")", "/?a=1", "/?a=1&utm", true),
    ("params=(\"utm\")", "/?a=1", "/?a=2", false),
    ("params=(\"utm\")", "/?a=1&b=2", "/?b=2&a=1", false),
    ("params=(\"utm\")", "/x?utm=1", "/y?utm=1", false),
    ("params=(\"utm\")", "/", "/?utm=1", true),
    ("key-order", "/?a=1&b=2", "/?b=2&a=1", true),
    ("key-order", "/?a=1&a=2", "/?a=2&a=1", false),
    ("except=(\"id\")", "/?id=1&a", "/?b&id=1", true),
    ("except=(\"id\")", "/?id=1", "/?id=2", false),
    ("params, except=(\"id\")", "/?id=1&a", "/?b&id=1", true),
    ("params", "/?a", "/?b", true),
    // Percent-encoding is one spelling among others.
    ("key-order", "/?a=b", "/?%61=%62", true),
    // What cannot be understood makes everything count.
    ("params=utm", "/?a=1", "/?a=1&utm=x", false),
    (
        "params=(\"utm\"), except=(\"a\")",
        "/?a=1",
        "/?a=1&utm=x",
        false,
    ),
    ("key-order=?0", "/?a=b", "/?%61=b", false),
];

#[tokio::test]
async fn the_origin_says_which_parameters_make_a_difference() {
    for (variance, first, second, is_same) in QUERIES {
        let origin = saying(variance);
        let edge = Edge::before(&origin).start();
        assert_eq!(edge.get(first).await.text(), *first);
        let answer = edge.get(second).await;
        let what = format!("{second} after {first} by {variance}");
        assert_eq!(answer.cache_status() == "hit", *is_same, "{what}");
        let body = if *is_same { first } else { second };
        assert_eq!(answer.text(), *body, "{what}");
        assert_eq!(answer.get("no-vary-search"), Some(*variance), "{what}");
        assert_eq!(edge.get(first).await.cache_status(), "hit", "{what}");
    }
}

#[tokio::test]
async fn an_equivalent_query_is_a_hit_like_any_other() {
    let origin = saying(NO_UTM);
    let edge = Edge::before(&origin).start();
    edge.get("/?utm=1").await;
    edge.clock.advance(secs(7));
    for tier in ["memory", "hot"] {
        let hit = edge.get("/?utm=2").await;
        assert_eq!(
            (hit.cache("detail"), hit.get("age")),
            (Some(tier), Some("7"))
        );
        assert_eq!((hit.cache("ttl"), hit.text()), (Some("53"), "/?utm=1"));
    }
    let part = edge.request("GET", "/?utm=3").with("range", "bytes=0-1");
    assert_eq!(part.send().await.text(), "/?");
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn each_response_says_for_itself_what_it_is_equivalent_to() {
    let origin = Origin::by(|asked| match asked.target.as_str() {
        "/?a=1" => fresh("strict").with("no-vary-search", NO_UTM),
        target => fresh(target).with("no-vary-search", "except=(\"a\")"),
    });
    let edge = Edge::before(&origin).start();
    edge.get("/?a=1").await;
    edge.get("/?a=2").await;
    assert_eq!(edge.get("/?a=2&b=1").await.text(), "/?a=2");
    // By what was heard last this is /?a=1, but not by what the response to that said.
    assert_eq!(edge.get("/?a=1&b=1").await.text(), "/?a=1&b=1");
    assert_eq!(edge.get("/?a=1").await.text(), "/?a=1&b=1");
}

#[tokio::test]
async fn a_response_that_says_nothing_is_for_its_own_query() {
    let origin = saying(NO_UTM);
    let edge = Edge::before(&origin).start();
    edge.get("/?a").await;
    origin.next(fresh("plain"));
    assert_eq!(edge.get("/?b").await.text(), "plain");
    assert_eq!(edge.get("/?b").await.text(), "plain");
    assert_eq!(edge.get("/?b&utm").await.text(), "/?b&utm");
    assert_eq!(origin.requests(), 3);
    // The one that speaks takes the place of the one that does not, once that is stale.
    edge.clock.advance(secs(60));
    assert_eq!(edge.get("/?b").await.text(), "/?b");
    assert_eq!(edge.get("/?utm=1&b").await.text(), "/?b");
    assert_eq!(edge.get("/?b").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_stale_response_is_validated_for_all_its_queries() {
    let origin = Origin::always(
        fresh("x")
            .with("no-vary-search", NO_UTM)
            .with("etag", "\"1\""),
    );
    let edge = Edge::before(&origin).start();
    edge.get("/?utm=1").await;
    edge.clock.advance(secs(60));
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.next(confirmed.with("cache-control", "max-age=60"));
    let validated = edge.get("/?utm=2").await;
    assert_eq!(
        (validated.text(), validated.cache("fwd")),
        ("x", Some("stale"))
    );
    assert_eq!(origin.last().target, "/?utm=2", "asked for as it came");
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
    for path in ["/?utm=1", "/?utm=2", "/?utm=3"] {
        assert_eq!(edge.get(path).await.cache_status(), "hit", "{path}");
    }
}

#[tokio::test]
async fn a_stale_response_is_refreshed_in_the_background_for_all_its_queries() {
    let origin = saying(NO_UTM);
    let edge = Edge::before(&origin)
        .route("stale_while_revalidate = \"1h\"")
        .start();
    edge.get("/?utm=1").await;
    edge.clock.advance(secs(61));
    let stale = edge.get("/?utm=2").await;
    assert_eq!(
        (stale.text(), stale.cache("detail")),
        ("/?utm=1", Some("stale-while-revalidate"))
    );
    patiently("the refresh", async {
        while edge.get("/?utm=3").await.text() != "/?utm=2" {}
    })
    .await;
    assert_eq!(origin.requests(), 2);
}

/// An order, and whether what `/a?x&utm=1` stored is there still for it and for `/a?x&utm=2`.
const PURGES: &[(&str, [bool; 2])] = &[
    (r#"{"urls": ["edge.test/a?x&utm=1"]}"#, [false, false]),
    (r#"{"urls": ["edge.test/a?x&utm=2"]}"#, [true, false]),
    (r#"{"urls": ["edge.test/a?x"]}"#, [true, true]),
    (r#"{"prefixes": ["edge.test/a?x&utm=2"]}"#, [true, false]),
    (r#"{"prefixes": ["edge.test/a"]}"#, [false, false]),
    (r#"{"tags": ["t"]}"#, [false, false]),
    (r#"{"hosts": ["edge.test"]}"#, [false, false]),
];

#[tokio::test]
async fn a_purge_of_either_url_takes_what_is_reached_by_another() {
    for (order, left) in PURGES {
        for (path, is_left) in ["/a?x&utm=1", "/a?x&utm=2"].iter().zip(left) {
            for soft in [false, true] {
                let tagged = fresh("x").with("surrogate-key", "t");
                let origin = Origin::always(tagged.with("no-vary-search", NO_UTM));
                let edge = Edge::before(&origin).start();
                edge.get("/a?x&utm=1").await;
                for _ in 0..2 {
                    assert!(edge.is_stored("/a?x&utm=2").await);
                }
                let order = order.replace('}', &format!(", \"soft\": {soft}}}"));
                assert_eq!(edge.order(&order).await.status, 200);
                assert_eq!(edge.is_stored(path).await, *is_left, "{path}, {order}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_purged_does_not_stand_in_for_an_origin_that_is_down() {
    let mut origin = saying(NO_UTM);
    let edge = Edge::before(&origin)
        .route("stale_if_error = \"1h\"")
        .start();
    edge.get("/?utm=1").await;
    edge.clock.advance(secs(61));
    edge.purge("/?utm=2").await;
    origin.go_down();
    assert_eq!(edge.get("/?utm=2").await.status, 502);
    assert_eq!(edge.get("/?utm=3").await.text(), "/?utm=1");
}

#[tokio::test]
async fn what_is_purged_by_another_url_meanwhile_does_not_stand_in_either() {
    for (purged, is_left) in [("/?utm=1", false), ("/?utm=2", false), ("/?utm=3", true)] {
        let origin = saying(NO_UTM);
        let edge = Edge::before(&origin)
            .route("stale_if_error = \"1h\"")
            .start();
        edge.get("/?utm=1").await;
        edge.clock.advance(secs(61));
        let gate = Gate::closed();
        origin.next(answer("").status(500).after(&gate));
        let mut asking = edge.request("GET", "/?utm=2").begin().await;
        origin.asked_for(2).await;
        edge.purge(purged).await;
        gate.open();
        let answer = asking.response().await;
        assert_eq!(answer.cache("detail") == Some("stale-if-error"), is_left);
        assert_eq!(answer.text() == "/?utm=1", is_left, "{purged}");
    }
}

#[tokio::test]
async fn what_is_stored_for_all_queries_is_not_hidden_by_what_was_stored_for_one() {
    let origin = saying(NO_UTM);
    // On a route with a filter a stale answer of the URL's own comes first.
    let edge = Edge::before(&origin)
        .with("plugins = { tame = { file = \"builtin:misbehaving\" } }")
        .route("plugins = [{ name = \"tame\", grants = [\"clock\", \"log\"], deadline = \"10s\" }]")
        .route("stale_while_revalidate = \"1h\"")
        .start();
    origin.next(fresh("plain"));
    edge.get("/?a").await;
    edge.clock.advance(secs(61));
    patiently("the refresh", async {
        while edge.get("/?a").await.text() == "plain" {}
    })
    .await;
    assert_eq!(edge.get("/?a&utm").await.text(), "/?a");
}

#[tokio::test]
async fn parts_that_equivalent_queries_brought_make_one_whole() {
    for (purged, status) in [("/?utm=9", "hit"), ("/?utm=2", "fwd=partial"), ("/", "hit")] {
        let part = |asked: &Asked| {
            let (body, range) = match asked.get("range") {
                Some("bytes=0-4") => ("01234", "bytes 0-4/10"),
                _ => ("56789", "bytes 5-9/10"),
            };
            let part = fresh(body).status(206).with("content-range", range);
            part.with_all(&[("no-vary-search", NO_UTM), ("etag", "\"1\"")])
        };
        let origin = Origin::by(part);
        let edge = Edge::before(&origin).start();
        let ask = |path: &str, range: &str| {
            let request = edge.request("GET", path);
            request.with("range", range).send()
        };
        assert_eq!(ask("/?utm=1", "bytes=0-4").await.text(), "01234");
        assert_eq!(ask("/?utm=2", "bytes=1-2").await.text(), "12");
        edge.purge(purged).await;
        assert_eq!(ask("/?utm=2", "bytes=5-9").await.text(), "56789");
        assert_eq!(origin.requests(), 2);
        origin.now(fresh("anew"));
        let whole = edge.get("/?utm=3").await;
        assert_eq!(whole.cache_status(), status, "{purged}");
    }
}

#[tokio::test]
async fn equivalent_queries_share_a_fetch_once_it_is_known_which_they_are() {
    let gate = Gate::closed();
    let origin = saying(NO_UTM);
    let edge = Edge::before(&origin).start();
    edge.get("/?first").await;
    origin.next(fresh("one").with("no-vary-search", NO_UTM).after(&gate));
    let mut first = edge.request("GET", "/?utm=1").begin().await;
    origin.asked_for(2).await;
    let mut second = edge.request("GET", "/?utm=2").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(first.response().await.text(), "one");
    let second = second.response().await;
    assert_eq!(second.text(), "one");
    assert!(second.cache("collapsed").is_some());
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn who_shared_a_fetch_in_vain_shares_another_with_those_of_the_same_query() {
    let gate = Gate::closed();
    let origin = Origin::by(|asked| fresh(&asked.target));
    let edge = Edge::before(&origin).start();
    origin.next(fresh("first").with("no-vary-search", NO_UTM));
    edge.get("/?first").await;
    // It does not say any more that these are equivalent.
    origin.next(fresh("one").after(&gate));
    let mut one = edge.request("GET", "/?utm=1").begin().await;
    origin.asked_for(2).await;
    let same = edge.request("GET", "/?utm=1");
    let mut same = same.begin().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(edge.request("GET", "/?utm=2").begin().await);
    }
    edge.settled().await;
    gate.open();
    assert_eq!(one.response().await.text(), "one");
    assert_eq!(same.response().await.text(), "one");
    for other in &mut others {
        assert_eq!(other.response().await.text(), "/?utm=2");
    }
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn a_validation_that_takes_the_word_back_is_not_shared() {
    let gate = Gate::closed();
    let origin = saying(NO_UTM);
    let edge = Edge::before(&origin).start();
    let tagged = fresh("old").with("etag", "\"1\"");
    origin.next(tagged.with("no-vary-search", NO_UTM));
    edge.get("/?utm=1").await;
    edge.clock.advance(secs(60));
    let confirmed = answer("").status(304).with("cache-control", "max-age=60");
    origin.next(confirmed.with("no-vary-search", "key-order").after(&gate));
    let mut one = edge.request("GET", "/?utm=1").begin().await;
    origin.asked_for(2).await;
    let mut other = edge.request("GET", "/?utm=2").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(one.response().await.text(), "old");
    assert_eq!(other.response().await.text(), "/?utm=2");
}

#[tokio::test]
async fn what_is_purged_by_the_url_that_waits_is_not_asked_about() {
    for (purged, condition) in [("/?utm=2", None), ("/?utm=3", Some("\"1\""))] {
        let gate = Gate::closed();
        let origin =
            Origin::always(fresh("x").with("etag", "\"1\"")).with("no-vary-search", NO_UTM);
        let edge = Edge::before(&origin).start();
        edge.get("/?utm=1").await;
        edge.clock.advance(secs(60));
        let private = answer("x").with("cache-control", "private");
        origin.next(private.after(&gate));
        let mut leads = edge.request("GET", "/?utm=4").begin().await;
        origin.asked_for(2).await;
        let mut waits = edge.request("GET", "/?utm=2").begin().await;
        edge.settled().await;
        edge.purge(purged).await;
        gate.open();
        leads.response().await;
        waits.response().await;
        let last = origin.last();
        assert_eq!(
            (&*last.target, last.get("if-none-match")),
            ("/?utm=2", condition)
        );
    }
}

#[tokio::test]
async fn a_purge_of_an_equivalent_url_overtakes_the_fetch() {
    for purged in ["/?utm=1", "/?utm=2"] {
        let gate = Gate::closed();
        let origin = saying(NO_UTM);
        let edge = Edge::before(&origin).start();
        edge.get("/?first").await;
        origin.next(fresh("old").with("no-vary-search", NO_UTM).after(&gate));
        let mut before = edge.request("GET", "/?utm=1").begin().await;
        origin.asked_for(2).await;
        edge.purge(purged).await;
        let mut after = edge.request("GET", "/?utm=2").begin().await;
        edge.settled().await;
        gate.open();
        assert_eq!(before.response().await.text(), "old");
        assert_eq!(after.response().await.text(), "/?utm=2", "{purged}");
        assert_eq!(edge.get("/?utm=2").await.text(), "/?utm=2", "{purged}");
    }
}

#[tokio::test]
async fn variants_of_equivalent_queries_live_side_by_side() {
    let origin = Origin::by(|asked| {
        let language = asked.get("accept-language").unwrap_or("none");
        let answer = fresh(language).with("vary", "accept-language");
        answer.with("no-vary-search", NO_UTM)
    });
    let edge = Edge::before(&origin).start();
    let ask = |language: &str, path: &str| {
        let request = edge.request("GET", path);
        request.with("accept-language", language).send()
    };
    for (language, path, status) in [
        ("de", "/?utm=1", "fwd=uri-miss"),
        ("fr", "/?utm=2", "fwd=vary-miss"),
        ("de", "/?utm=3", "hit"),
        ("fr", "/?utm=1", "hit"),
    ] {
        let answer = ask(language, path).await;
        assert_eq!(
            (answer.text(), answer.cache_status()),
            (language, status),
            "{path}"
        );
    }
}

/// What a route says of keys, what the origin says of queries, and whether `/?a=1&utm=1` and the
/// other request are the same for both together.
const BOTH: &[(&str, &str, &str, Fields, bool)] = &[
    (
        "query = { except = [\"utm\"] }",
        "params=(\"b\")",
        "/?b=1&a=1&utm=2",
        &[],
        true,
    ),
    (
        "query = { except = [\"utm\"] }",
        "params=(\"b\")",
        "/?a=2&utm=1",
        &[],
        false,
    ),
    (
        "query = { only = [\"a\"] }",
        "key-order",
        "/?c=1&a=1",
        &[],
        true,
    ),
    ("query = \"none\"", "params=(\"b\")", "/?c=1", &[], true),
    ("headers = [\"x-a\"]", "params", "/?c=1", &[], true),
    (
        "headers = [\"x-a\"]",
        "params",
        "/?c=1",
        &[("x-a", "1")],
        false,
    ),
];

#[tokio::test]
async fn what_the_route_says_and_what_the_origin_says_come_together() {
    for (policy, variance, path, fields, is_same) in BOTH {
        let origin = saying(variance);
        let edge = Edge::before(&origin)
            .route(&format!("key = {{ {policy} }}"))
            .start();
        edge.get("/?a=1&utm=1").await;
        let answer = edge.request("GET", path).with_all(fields).send().await;
        let what = format!("{path} {fields:?} by {policy} and {variance}");
        assert_eq!(answer.cache_status() == "hit", *is_same, "{what}");
        edge.purge(path).await;
        let answer = edge.request("GET", path).with_all(fields).send().await;
        assert_eq!(answer.cache_status(), "fwd=miss", "{what}");
    }
}

#[tokio::test]
async fn the_region_knows_such_responses_by_their_own_urls() {
    let redis = started();
    let origin = saying(NO_UTM);
    let here = Edge::before(&origin).redis(&redis).start();
    let there = Edge::before(&origin).redis(&redis).start();
    here.get("/?utm=1").await;
    stored(&redis, 1).await;
    assert_eq!(there.get("/?utm=2").await.cache_status(), "fwd=uri-miss");
    let there = Edge::before(&origin).redis(&redis).start();
    assert_eq!(there.get("/?utm=1").await.cache("detail"), Some("redis"));
    assert_eq!(
        there.get("/?utm=3").await.cache("detail"),
        Some("memory"),
        "brought here, it is what it was there"
    );
}
