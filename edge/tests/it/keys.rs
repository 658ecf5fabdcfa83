//! What counts for a key, as the route says, and how purges find what is stored under it.

use tidegate_edge::config::Config;

use crate::support::redis::{started, stored};
use crate::support::{Edge, Fields, Gate, Origin, fresh, patiently, secs};

/// Says what it was asked for.
fn echoing() -> Origin {
    Origin::by(|asked| fresh(&asked.target))
}

fn before(origin: &Origin, key: &str) -> Edge {
    Edge::before(origin)
        .route(&format!("key = {{ {key} }}"))
        .start()
}

const ONLY: &str = "query = { only = [\"a\", \"b*\"] }";
const EXCEPT: &str = "query = { except = [\"utm_*\", \"fbclid\"] }";

/// A policy, two requests, and whether the second is a hit on the first.
const QUERIES: &[(&str, &str, &str, bool)] = &[
    ("", "/?a=1", "/?a=1", true),
    ("", "/?a=1&b=2", "/?b=2&a=1", false),
    ("", "/", "/?", false),
    ("query = \"none\"", "/?a=1", "/?b=2", true),
    ("query = \"none\"", "/?a=1", "/", true),
    ("query = \"none\"", "/a", "/b", false),
    (ONLY, "/?a=1&c=2", "/?c=3&a=1", true),
    (ONLY, "/?a=1&c=2", "/?a=2&c=2", false),
    (ONLY, "/?bb=1", "/?bb=2", false),
    (ONLY, "/?a=1", "/?A=1", false),
    // What an origin would read as `a` counts as `a`.
    (ONLY, "/", "/?%61=1", false),
    (EXCEPT, "/?a=1&utm_source=x", "/?fbclid=y&a=1", true),
    (EXCEPT, "/?a=1&b=2", "/?b=2&a=1", false),
    (EXCEPT, "/?utm_source=x", "/", true),
    ("sort_query = true", "/?b=2&a=1", "/?a=1&b=2", true),
    ("sort_query = true", "/?a=1&a=2", "/?a=2&a=1", false),
    ("prefix = \"v2\"", "/?a=1", "/?a=1", true),
];

#[tokio::test]
async fn the_policy_decides_which_parameters_make_a_difference() {
    for (policy, first, second, is_same) in QUERIES {
        let origin = echoing();
        let edge = before(&origin, policy);
        assert_eq!(edge.get(first).await.text(), *first);
        let answer = edge.get(second).await;
        let what = format!("{second} after {first} by {policy:?}");
        assert_eq!(answer.cache_status() == "hit", *is_same, "{what}");
        let body = if *is_same { first } else { second };
        assert_eq!(answer.text(), *body, "{what}");
        assert_eq!(edge.get(first).await.cache_status(), "hit", "{what}");
    }
}

#[tokio::test]
async fn the_origin_gets_the_request_as_it_came() {
    let origin = echoing();
    let edge = before(
        &origin,
        "query = { only = [\"a\"] }, sort_query = true, cookies = [\"c\"]",
    );
    let target = "/p?z=1&utm_source=x&a=2&&a=1";
    let answer = edge
        .request("GET", target)
        .with("cookie", "b=1; c=2")
        .send()
        .await;
    assert_eq!(answer.text(), target);
    assert_eq!(origin.last().get("cookie"), Some("b=1; c=2"));
}

/// A policy, the fields of two requests, and whether the second is a hit on the first.
const FIELDS: &[(&str, Fields, Fields, bool)] = &[
    (
        "headers = [\"X-Device\"]",
        &[("x-device", "tv")],
        &[("X-DEVICE", "tv"), ("x", "y")],
        true,
    ),
    (
        "headers = [\"x-device\"]",
        &[("x-device", "tv")],
        &[("x-device", "phone")],
        false,
    ),
    ("headers = [\"x-device\"]", &[], &[("x-device", "")], false),
    (
        "headers = [\"x-device\"]",
        &[],
        &[("x-devices", "tv")],
        true,
    ),
    (
        "headers = [\"x-device\"]",
        &[("x-device", "a, b")],
        &[("x-device", "a"), ("x-device", "b")],
        false,
    ),
    (
        "headers = [\"a\", \"b\"]",
        &[("a", "1")],
        &[("b", "1")],
        false,
    ),
    (
        "cookies = [\"currency\"]",
        &[("cookie", "currency=EUR; a=1")],
        &[("cookie", "b=2; currency=EUR")],
        true,
    ),
    (
        "cookies = [\"currency\"]",
        &[("cookie", "currency=EUR")],
        &[("cookie", "currency=USD")],
        false,
    ),
    (
        "cookies = [\"currency\"]",
        &[("cookie", "a=1")],
        &[("cookie", "currency=")],
        false,
    ),
    (
        "cookies = [\"currency\"]",
        &[("cookie", "a=1")],
        &[("cookie", "xcurrency=EUR; Currency=EUR")],
        true,
    ),
    (
        "headers = [\"a\"], cookies = [\"a\"]",
        &[("a", "1")],
        &[("cookie", "a=1")],
        false,
    ),
    (
        "headers = [\"cookie\"]",
        &[("cookie", "a=1")],
        &[("cookie", "a=2")],
        false,
    ),
];

#[tokio::test]
async fn the_policy_decides_which_fields_and_cookies_make_a_difference() {
    for (policy, first, second, is_same) in FIELDS {
        let origin = Origin::always(fresh("x"));
        let edge = before(&origin, policy);
        let ask = |fields: Fields| edge.request("GET", "/").with_all(fields).send();
        ask(first).await;
        let answer = ask(second).await;
        let what = format!("{second:?} after {first:?} by {policy}");
        assert_eq!(answer.cache_status() == "hit", *is_same, "{what}");
        assert_eq!(ask(first).await.cache_status(), "hit", "{what}");
    }
}

#[tokio::test]
async fn requests_that_the_policy_takes_for_the_same_share_a_fetch() {
    let origin = Origin::always(fresh("no"));
    let gate = Gate::closed();
    origin.next(fresh("one").after(&gate));
    let edge = before(&origin, EXCEPT);
    let mut first = edge.request("GET", "/?utm_a=1").begin().await;
    origin.asked_for(1).await;
    let mut second = edge.request("GET", "/?utm_b=2").begin().await;
    edge.settled().await;
    gate.open();
    assert_eq!(first.response().await.text(), "one");
    let second = second.response().await;
    assert_eq!(second.text(), "one");
    assert!(second.cache("collapsed").is_some());
    assert_eq!(origin.requests(), 1);
}

/// A policy, the URL that is stored, an order, and whether it takes it.
const PURGES: &[(&str, &str, &str, bool)] = &[
    (
        EXCEPT,
        "/a?utm_source=x",
        r#"{"urls": ["edge.test/a?utm_source=y"]}"#,
        true,
    ),
    (
        EXCEPT,
        "/a?utm_source=x",
        r#"{"urls": ["edge.test/a"]}"#,
        true,
    ),
    (
        EXCEPT,
        "/a?b&utm_source=x",
        r#"{"urls": ["edge.test/a"]}"#,
        false,
    ),
    (
        EXCEPT,
        "/a?b&utm_source=x",
        r#"{"prefixes": ["edge.test/a?b&c"]}"#,
        true,
    ),
    (EXCEPT, "/a?b", r#"{"prefixes": ["edge.test/a?c"]}"#, true),
    (EXCEPT, "/a?b", r#"{"prefixes": ["edge.test/b?b"]}"#, false),
    ("", "/a?b", r#"{"prefixes": ["edge.test/a?b"]}"#, true),
    ("", "/a?b", r#"{"prefixes": ["edge.test/a?c"]}"#, false),
    (
        "sort_query = true",
        "/a?d&c",
        r#"{"urls": ["edge.test/a?c&d"]}"#,
        true,
    ),
    (
        "query = \"none\"",
        "/a?d",
        r#"{"urls": ["edge.test/a?c"]}"#,
        true,
    ),
    (
        "cookies = [\"c\"]",
        "/a?d",
        r#"{"urls": ["edge.test/a?d"]}"#,
        true,
    ),
];

#[tokio::test]
async fn a_purge_finds_what_the_policy_takes_for_the_same() {
    for (policy, stored, order, is_taken) in PURGES {
        for soft in [false, true] {
            let origin = echoing();
            let edge = before(&origin, policy);
            edge.get(stored).await;
            let order = order.replace('}', &format!(", \"soft\": {soft}}}"));
            assert_eq!(edge.order(&order).await.status, 200);
            let is_left = edge.get(stored).await.cache_status() == "hit";
            assert_eq!(is_left, !is_taken, "{stored} after {order} by {policy:?}");
        }
    }
}

#[tokio::test]
async fn the_method_purges_by_any_of_the_urls_and_so_does_a_write() {
    let origin = Origin::by(|asked| fresh(&asked.method));
    let edge = before(&origin, EXCEPT);
    for method in ["PURGE", "POST"] {
        edge.get("/a?utm_source=x").await;
        assert_eq!(edge.get("/a").await.cache_status(), "hit");
        let request = edge.request(method, "/a?utm_source=y");
        let request = request.with("authorization", crate::support::edge::PURGE_TOKEN);
        assert_eq!(request.send().await.status, 200);
        assert_eq!(
            edge.get("/a?utm_source=x").await.cache_status(),
            "fwd=miss",
            "{method}"
        );
    }
}

#[tokio::test]
async fn what_a_cookie_keys_is_not_refreshed_behind_its_owner() {
    for (policy, in_background) in [
        ("cookies = [\"c\"]", false),
        ("headers = [\"cookie\"]", false),
        ("headers = [\"x-device\"]", true),
    ] {
        let origin = Origin::by(|asked| fresh(asked.get("cookie").unwrap_or("nobody")));
        let edge = Edge::before(&origin)
            .route(&format!(
                "stale_while_revalidate = \"1h\"\nkey = {{ {policy} }}"
            ))
            .start();
        let ask = || {
            let fields = [("cookie", "c=1"), ("x-device", "tv")];
            edge.request("GET", "/").with_all(&fields).send()
        };
        ask().await;
        edge.clock.advance(secs(61));
        let answer = ask().await;
        let is_stale = answer.cache("detail") == Some("stale-while-revalidate");
        assert_eq!(is_stale, in_background, "{policy}");
        if in_background {
            origin.asked_for(2).await;
            assert_eq!(origin.last().get("x-device"), Some("tv"));
        } else {
            assert_eq!((answer.text(), answer.cache_status()), ("c=1", "fwd=stale"));
            assert_eq!(origin.last().get("cookie"), Some("c=1"));
        }
    }
}

#[tokio::test]
async fn edges_share_what_they_store_where_their_policies_are_the_same() {
    let redis = started();
    let origin = echoing();
    let with = |policy: &str| {
        let edge = Edge::before(&origin).redis(&redis);
        edge.route(&format!("key = {{ {policy} }}")).start()
    };
    let (here, there) = (with(EXCEPT), with(EXCEPT));
    here.get("/?utm_source=x").await;
    stored(&redis, 1).await;
    let hit = there.get("/?utm_source=y").await;
    assert_eq!(hit.cache("detail"), Some("redis"));
    here.purge("/?utm_source=z").await;
    patiently("the purge", async {
        while there.get("/?utm_source=y").await.cache_status() == "hit" {}
    })
    .await;
    here.get("/?b").await;
    stored(&redis, 2).await;
    for other in ["", "prefix = \"v2\"", "query = { except = [\"utm_*\"] }"] {
        let answer = with(other).get("/?b").await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss", "{other:?}");
    }
}

/// Two routes: what a filter of the first leads elsewhere is stored by the policy of the first, and
/// named by purges as the policy of the second has it.
const LED: &str = r#"
    [plugins.leader]
    file = "builtin:misbehaving"
    [[routes]]
    path = "/led"
    origin = "app"
    key = { query = "none" }
    [[routes.plugins]]
    name = "leader"
    grants = ["clock", "log"]
    deadline = "10s"
    [[routes]]
    origin = "app"
"#;

#[tokio::test]
async fn what_a_filter_leads_to_another_url_is_purged_by_that_one() {
    for (purged, left) in [
        ("1", [false, false]),
        ("2", [true, false]),
        ("3", [true, true]),
    ] {
        let origin = echoing();
        let edge = Edge::before(&origin).with(LED).start();
        assert_eq!(edge.get("/led?p=1").await.text(), "/elsewhere?p=1");
        assert_eq!(edge.get("/led?p=2").await.text(), "/elsewhere?p=1");
        edge.purge(&format!("/elsewhere?p={purged}")).await;
        for (path, is_left) in ["/led?p=1", "/led?p=2"].iter().zip(left) {
            let found = edge.request("HEAD", path).send().await;
            assert_eq!(
                found.cache_status() == "hit",
                is_left,
                "{path}, purged {purged}"
            );
        }
    }
}

#[test]
fn the_annotated_example_of_a_policy_is_a_good_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tidegate.toml");
    let text = std::fs::read_to_string(file).expect("the example is there");
    let (_, example) = text
        .split_once("# [routes.key]\n")
        .expect("it shows a policy");
    let lines = example
        .lines()
        .map(|line| line.trim_start().trim_start_matches("# "));
    let lines: Vec<_> = lines.take_while(|line| line.contains(" = ")).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    let text = format!(
        "[origins.app]\nurl = \"http://a\"\n[[routes]]\norigin = \"app\"\n[routes.key]\n{}\n",
        lines.join("\n")
    );
    Config::from_toml(&text, "tidegate.toml").expect("a good policy");
}

/// Settings of `[routes.key]`, and what the error says of them.
const REFUSED: &[(&str, &str)] = &[
    (
        "headers = [\"a b\"]",
        "route \"shop\": key.headers: \"a b\" is no field name",
    ),
    (
        "headers = [\"a\", \"A\"]",
        "route \"shop\": key.headers: \"A\" stands there twice",
    ),
    (
        "headers = [\"range\"]",
        "route \"shop\": key.headers: \"range\" is not sent",
    ),
    (
        "cookies = [\"a=b\"]",
        "route \"shop\": key.cookies: \"a=b\" is no cookie name",
    ),
    (
        "cookies = [\"a\", \"b\", \"a\"]",
        "route \"shop\": key.cookies: \"a\" stands there twice",
    ),
    (
        "query = { only = [] }",
        "route \"shop\": key.query.only names no parameter",
    ),
    (
        "query = { except = [\"a\", \"a\"] }",
        "route \"shop\": key.query.except: \"a\" stands there twice",
    ),
    (
        "query = { except = [\"\"] }",
        "route \"shop\": key.query.except: \"\" is no parameter name",
    ),
    (
        "query = { except = [\"*a\"] }",
        "route \"shop\": key.query.except: \"*a\" is no parameter name",
    ),
    (
        "query = { only = [\"a=1\"] }",
        "route \"shop\": key.query.only: \"a=1\" is no parameter name",
    ),
    ("query = \"some\"", "unknown variant `some`"),
    ("query = { without = [\"a\"] }", "unknown variant `without`"),
    ("cookie = [\"a\"]", "unknown field `cookie`"),
];

#[test]
fn a_policy_that_cannot_be_meant_is_refused_by_name() {
    for (settings, reason) in REFUSED {
        let text = format!(
            "[origins.app]\nurl = \"http://a\"\n[[routes]]\nname = \"shop\"\norigin = \"app\"\n[routes.key]\n{settings}\n"
        );
        let error = Config::from_toml(&text, "edge.toml")
            .expect_err(settings)
            .to_string();
        assert!(error.contains(reason), "{settings}: {error}");
    }
}
