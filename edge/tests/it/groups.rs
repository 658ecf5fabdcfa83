//! Cache groups (RFC 9875): responses that fall together, within their own origin.

use crate::support::edge::PURGE_TOKEN;
use crate::support::{Answer, Edge, Fields, Origin, answer};

fn fresh(groups: &str) -> Answer {
    let fresh = answer("x").with("cache-control", "max-age=60");
    fresh.with("cache-groups", groups)
}

/// A path names its groups: `/a/b` is in `a` and in `b`, on whatever host.
fn grouped() -> Origin {
    Origin::by(|asked| {
        let groups = asked.target.trim_matches('/').split('/');
        let groups: Vec<_> = groups.map(|group| format!("{group:?}")).collect();
        fresh(&groups.join(", "))
    })
}

const PATHS: [&str; 4] = ["/a", "/a/b", "/b", "/c"];

/// An edge behind a front that it trusts, so that there are origins of both schemes.
fn before(origin: &Origin) -> Edge {
    let front = "server = { client_address_header = \"x-client\" }";
    Edge::before(origin).with(front).start()
}

async fn ask(edge: &Edge, fields: Fields, path: &str) -> String {
    let request = edge.request("GET", path).with_all(fields);
    request.send().await.cache_status().to_owned()
}

async fn fill(edge: &Edge, fields: Fields) {
    for path in PATHS {
        ask(edge, fields, path).await;
        assert_eq!(ask(edge, fields, path).await, "hit", "{path}");
    }
}

/// What is left of [`PATHS`]. Looked up without fetching anew.
async fn left(edge: &Edge, fields: Fields) -> [bool; 4] {
    let mut left = [false; 4];
    for (path, is_left) in PATHS.iter().zip(&mut left) {
        let request = edge.request("HEAD", path).with_all(fields);
        *is_left = request.send().await.cache_status() == "hit";
    }
    left
}

/// What a write is answered with, and what of its origin is left of [`PATHS`].
const INVALIDATIONS: &[(&str, &str, u16, Fields, [bool; 4])] = &[
    (
        "§3: one group",
        "POST",
        200,
        &[("cache-group-invalidation", "\"a\"")],
        [false, false, true, true],
    ),
    (
        "§3: two groups",
        "DELETE",
        204,
        &[("cache-group-invalidation", "\"b\", \"c\"")],
        [true, false, false, false],
    ),
    (
        "RFC 9651 §3.1: two lines",
        "PUT",
        200,
        &[
            ("cache-group-invalidation", "\"b\""),
            ("cache-group-invalidation", "\"c\""),
        ],
        [true, false, false, false],
    ),
    (
        "§3: of an answer that is an error",
        "POST",
        500,
        &[("cache-group-invalidation", "\"a\"")],
        [false, false, true, true],
    ),
    (
        "§3: names are case-sensitive",
        "POST",
        200,
        &[("cache-group-invalidation", "\"A\"")],
        [true; 4],
    ),
    (
        "§3: a list of strings",
        "POST",
        200,
        &[("cache-group-invalidation", "a")],
        [true; 4],
    ),
    (
        "RFC 9651 §4.2: all or nothing",
        "POST",
        200,
        &[("cache-group-invalidation", "\"a\", b")],
        [true; 4],
    ),
    (
        "§3: not of a safe method's answer",
        "OPTIONS",
        200,
        &[("cache-group-invalidation", "\"a\"")],
        [true; 4],
    ),
];

const HTTPS: Fields = &[("x-forwarded-proto", "https")];
const ELSEWHERE: Fields = &[("host", "else.test")];
const ANOTHER_PORT: Fields = &[("host", "edge.test:81")];

#[tokio::test]
async fn a_write_invalidates_the_groups_that_its_answer_names_in_its_own_origin() {
    for (rule, method, status, fields, expected) in INVALIDATIONS {
        let origin = grouped();
        let edge = before(&origin);
        for same in [&[], HTTPS, ELSEWHERE, ANOTHER_PORT] {
            fill(&edge, same).await;
        }
        origin.next(answer("").status(*status).with_all(fields));
        let written = edge.request(method, "/written").send().await;
        assert_eq!(written.status, *status, "{rule}");
        assert_eq!(
            written.get("cache-group-invalidation"),
            Some(fields[0].1),
            "{rule}: caches before us want it too"
        );
        assert_eq!(left(&edge, &[]).await, *expected, "{rule}");
        for another in [HTTPS, ELSEWHERE, ANOTHER_PORT] {
            assert_eq!(left(&edge, another).await, [true; 4], "{rule}: {another:?}");
        }
    }
}

#[tokio::test]
async fn a_write_to_another_origin_touches_its_groups_alone() {
    for (fields, is_left) in [(HTTPS, true), (ELSEWHERE, true), (&[][..], false)] {
        let origin = grouped();
        let edge = before(&origin);
        fill(&edge, &[]).await;
        fill(&edge, fields).await;
        origin.next(answer("").with("cache-group-invalidation", "\"a\""));
        edge.request("POST", "/written")
            .with_all(fields)
            .send()
            .await;
        assert_eq!(left(&edge, fields).await, [false, false, true, true]);
        assert_eq!(left(&edge, &[]).await, [is_left, is_left, true, true]);
    }
}

#[tokio::test]
async fn the_purge_method_takes_a_group_by_its_name() {
    let origin = grouped();
    let edge = before(&origin);
    fill(&edge, &[]).await;
    fill(&edge, ELSEWHERE).await;
    let purge = edge
        .request("PURGE", "/")
        .with("authorization", PURGE_TOKEN);
    assert_eq!(purge.with("cache-groups", "\"b\"").send().await.status, 200);
    assert_eq!(left(&edge, &[]).await, [true, false, false, true]);
    assert_eq!(left(&edge, ELSEWHERE).await, [true; 4]);
}

#[tokio::test]
async fn thirty_two_groups_of_thirty_two_characters_are_heeded() {
    let names: Vec<_> = (0..32).map(|number| format!("{number:032}")).collect();
    let list: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    let origin = Origin::always(fresh(&list.join(", ")));
    let edge = before(&origin);
    for name in [&names[0], &names[31]] {
        edge.get("/a").await;
        let hit = edge.get("/a").await;
        assert_eq!(hit.cache_status(), "hit");
        assert_eq!(hit.get("cache-groups"), Some(&*list.join(", ")));
        let fallen = format!("{name:?}");
        origin.next(answer("").with("cache-group-invalidation", &fallen));
        edge.request("POST", "/written").send().await;
        assert_eq!(
            edge.get("/a").await.cache_status(),
            "fwd=miss",
            "RFC 9875 §2"
        );
    }
}
