//! The rate limit that ships, before a real origin: whom it counts, what it says, whom it refuses.

use crate::support::{Edge, Origin, Response};

/// An edge with a rate limit; who asks is said by `x-client`.
pub(crate) fn limited(origin: &Origin, config: &str) -> crate::support::edge::Builder {
    Edge::before(origin)
        .with("server.client_address_header = \"x-client\"")
        .with("plugins.r.file = \"builtin:rate-limit\"")
        .route(&format!(
            "plugins = [{{ name = \"r\", grants = [\"limits\"], deadline = \"5s\", config = {config} }}]"
        ))
}

async fn ask(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Response {
    edge.request("GET", path).with_all(fields).send().await
}

/// The statuses of one request with each of these.
async fn statuses(edge: &Edge, requests: &[(&str, &[(&str, &str)])]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (path, fields) in requests {
        statuses.push(ask(edge, path, fields).await.status);
    }
    statuses
}

/// The samples of a limit on `/metrics`: allowed, refused, dry-run.
async fn counted(edge: &Edge, limit: &str) -> Vec<String> {
    let page = edge.admin("GET", "/metrics").send().await;
    let prefix = format!("tidegate_limited_requests_total{{limit=\"{limit}\",outcome=\"");
    let rows = page
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix));
    let mut rows: Vec<String> = rows.map(|row| row.replace("\"}", "")).collect();
    rows.sort();
    rows
}

const ONE: &str = "windows = [{ limit = 1, seconds = 60 }]";

#[tokio::test]
async fn a_client_over_its_limit_is_refused_until_its_time_has_come() {
    let origin = Origin::answers("hello").with("cache-control", "max-age=60");
    let edge = limited(
        &origin,
        "{ name = \"proxied\", windows = [{ limit = 2, seconds = 10 }] }",
    )
    .start();
    let ann = [("x-client", "192.0.2.1")];
    for (outcome, standing) in [
        ("fwd=uri-miss", "\"proxied\";r=1;t=5"),
        ("hit", "\"proxied\";r=0;t=5"),
    ] {
        let answer = ask(&edge, "/", &ann).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.cache_status().starts_with(outcome),
            "{}",
            answer.cache_status()
        );
        assert_eq!(answer.get("ratelimit"), Some(standing));
        assert_eq!(answer.get("ratelimit-policy"), Some("\"proxied\";q=2;w=10"));
    }
    let refused = ask(&edge, "/", &ann).await;
    assert_eq!(
        (refused.status, refused.get("retry-after")),
        (429, Some("5"))
    );
    assert_eq!(
        refused.get("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(refused.get("ratelimit"), Some("\"proxied\";r=0;t=5"));
    assert_eq!(
        ask(&edge, "/", &[("x-client", "192.0.2.2")]).await.status,
        200
    );
    edge.clock.advance(crate::support::secs(5));
    assert_eq!(
        statuses(&edge, &[("/", &ann), ("/", &ann)]).await,
        [200, 429]
    );
    assert_eq!(origin.requests(), 1, "refusals are not stored, nor asked");
    assert_eq!(
        counted(&edge, "proxied").await,
        ["allowed 4", "dry-run 0", "refused 2"]
    );
}

#[tokio::test]
async fn limits_of_one_route_count_what_each_is_for() {
    let origin = Origin::answers("hello");
    let limit = |name: &str, most: u32, path: &str| {
        format!(
            "{{ name = \"r\", grants = [\"limits\"], deadline = \"5s\", config = {{ name = \"{name}\", \
             only = {{ methods = [\"POST\"], paths = [\"{path}\"] }}, \
             windows = [{{ limit = {most}, seconds = 60 }}] }} }}"
        )
    };
    let messages = limit("messages", 2, "/circles/{id}/messages");
    let circles = limit("circles", 1, "/circles");
    let edge = Edge::before(&origin)
        .with("plugins.r.file = \"builtin:rate-limit\"")
        .route(&format!("plugins = [{messages}, {circles}]"))
        .start();
    for (method, path, status) in [
        ("POST", "/circles", 200),
        ("POST", "/circles", 429),
        ("GET", "/circles", 200),
        ("POST", "/circles/1/messages", 200),
        ("POST", "//circles/%32/messages", 200),
        ("POST", "/circles/3/messages", 429),
        ("GET", "/circles/3/messages", 200),
        ("POST", "/circles/3/members", 200),
    ] {
        let answer = edge.request(method, path).send().await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(
        counted(&edge, "messages").await,
        ["allowed 2", "dry-run 0", "refused 1"]
    );
}

#[tokio::test]
async fn a_key_of_several_parts_counts_each_combination_apart() {
    let origin = Origin::answers("hello");
    let edge = limited(
        &origin,
        &format!("{{ key = [\"client\", \"path\"], {ONE} }}"),
    )
    .start();
    let (ann, ben) = (("x-client", "2001:db8::1"), ("x-client", "2001:db8:0:1::1"));
    let neighbour = ("x-client", "2001:db8::2");
    assert_eq!(
        statuses(
            &edge,
            &[
                ("/a", &[ann]),
                ("/b", &[ann]),
                ("/a", &[ben]),
                ("/a?query", &[ann]),
                ("/%61", &[ben]),
                ("/b", &[neighbour]),
            ]
        )
        .await,
        [200, 200, 200, 429, 429, 429]
    );
}

#[tokio::test]
async fn nobody_escapes_by_leaving_the_key_out() {
    let origin = Origin::answers("hello");
    for key in ["{ header = \"x-key\" }", "{ cookie = \"s\" }"] {
        let edge = limited(&origin, &format!("{{ key = {key}, {ONE} }}")).start();
        let ann = ("x-client", "192.0.2.1");
        assert_eq!(
            statuses(
                &edge,
                &[
                    ("/", &[ann, ("x-key", "1"), ("cookie", "a=b; s=1")]),
                    ("/", &[ann, ("x-key", "1"), ("cookie", "s=1")]),
                    ("/", &[ann, ("x-key", "2"), ("cookie", "s=2")]),
                    ("/", &[ann]),
                    // An empty one is none, and neither are two.
                    ("/", &[ann, ("x-key", ""), ("cookie", "s=")]),
                    (
                        "/",
                        &[ann, ("x-key", "3"), ("x-key", "4"), ("cookie", "s=3; s=4")]
                    ),
                    ("/", &[("x-client", "192.0.2.2")]),
                ]
            )
            .await,
            [200, 429, 200, 200, 429, 429, 200],
            "{key}"
        );
    }
}

#[tokio::test]
async fn who_lacks_the_key_may_be_refused_instead() {
    let origin = Origin::answers("hello");
    let edge = limited(
        &origin,
        &format!("{{ key = {{ header = \"x-key\" }}, without = \"refuse\", {ONE} }}"),
    )
    .start();
    assert_eq!(
        statuses(&edge, &[("/", &[]), ("/", &[("x-key", "1")])]).await,
        [400, 200]
    );
}

/// Signed with `KEY` by HS256, except the last two.
const KEY: &str = "a key that only the edge and its issuer have";
const ANN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.wEA8zzPJvYFZJBYS4cu4C5JDsEvkkgi_DgoIsPkM0i4";
const ANN_AGAIN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJqdGkiOiIyIn0.-UnJTtf4s-ort4h2xxfDllEG92tdhu1Z00U0Daj4bmM";
const BEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW4ifQ.uxRzSglKWRvgqNToJvXQOHis_HPkjjCpa4zAuP5zGLw";
const EXPIRED_IN_2023: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjYXQiLCJleHAiOjE3MDAwMDAwMDB9._cPE5EodBu8OlWnfZA5ZtvzJ-t4MSJ2WQiZ6occmsg4";
const NOT_BEFORE_2100: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkYW4iLCJuYmYiOjQxMDI0NDQ4MDB9.Dfp-EESyNbeHJU30bQ9hQsoM1yhjwxbwKPi_estzWAA";
const UNTIL_2100: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJldmUiLCJleHAiOjQxMDI0NDQ4MDB9._IAYv87kUDJfyCren3wjjnjOG4iW34nt-DZycWq_Boc";
const BY_ANOTHER_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJmYXkifQ.A0t1ZULHTIj5mXW-1V1bp1DnM82vvyfKXhjps20ZmsQ";
const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJnaWwifQ.";

#[tokio::test]
async fn a_claim_counts_only_from_a_token_that_is_signed_and_in_its_time() {
    let origin = Origin::answers("hello");
    for (without, forged) in [("client", 429), ("refuse", 401)] {
        let edge = limited(&origin, "{}")
            .with("plugins.r.file = \"builtin:rate-limit-jwt\"")
            .route(&format!(
                "[[plugins]]\nname = \"r\"\ngrants = [\"limits\", \"clock\", \"secrets\"]\ndeadline = \"5s\"\n\
                 secrets = {{ jwt = \"{KEY}\" }}\n\
                 [plugins.config]\nkey = {{ claim = \"sub\" }}\ntoken = {{ secret = \"jwt\" }}\n\
                 without = \"{without}\"\n{ONE}"
            ))
            .start();
        let mut answers = Vec::new();
        for token in [ANN, ANN_AGAIN, BEN, UNTIL_2100] {
            let bearer = format!("Bearer {token}");
            let fields = [("authorization", bearer.as_str())];
            answers.push(ask(&edge, "/", &fields).await.status);
        }
        assert_eq!(answers, [200, 429, 200, 200]);
        if without == "client" {
            assert_eq!(ask(&edge, "/", &[]).await.status, 200);
        }
        for token in [
            EXPIRED_IN_2023,
            NOT_BEFORE_2100,
            BY_ANOTHER_KEY,
            UNSIGNED,
            "x",
        ] {
            let bearer = format!("Bearer {token}");
            let fields = [("authorization", bearer.as_str())];
            let answer = ask(&edge, "/", &fields).await;
            assert_eq!(answer.status, forged, "{token}");
        }
        // By the edge's own clock.
        edge.clock
            .advance(crate::support::secs(80 * 366 * 24 * 3_600));
        let bearer = format!("Bearer {UNTIL_2100}");
        let late = ask(&edge, "/", &[("authorization", bearer.as_str())]).await;
        let nobody = if without == "client" { 200 } else { 401 };
        assert_eq!(late.status, nobody, "{without}");
    }
}

#[tokio::test]
async fn the_plain_guest_says_which_one_knows_claims() {
    let plugins = crate::filters_support::load(&[("r", "builtin:rate-limit")]).unwrap();
    let line = format!(
        "name = \"r\"\ngrants = [\"limits\"]\nconfig = {{ key = {{ claim = \"sub\" }}, token = {{ secret = \"jwt\" }}, {ONE} }}"
    );
    let error = plugins
        .chain(&[crate::filters_support::used(&line)])
        .err()
        .expect("it knows no claims");
    assert!(
        error.to_string().contains("builtin:rate-limit-jwt"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_that_is_missing_or_short_is_refused_when_the_route_is_loaded() {
    let plugins = crate::filters_support::load(&[("r", "builtin:rate-limit-jwt")]).unwrap();
    for (secrets, part) in [
        ("{ other = \"x\" }", "no secret \"jwt\""),
        ("{ jwt = \"x\" }", "32 bytes or more"),
    ] {
        let line = format!(
            "name = \"r\"\ngrants = [\"limits\", \"clock\", \"secrets\"]\nsecrets = {secrets}\n\
             config = {{ key = {{ claim = \"sub\" }}, token = {{ secret = \"jwt\" }}, {ONE} }}"
        );
        let error = plugins
            .chain(&[crate::filters_support::used(&line)])
            .err()
            .expect("it is no key");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_request_may_cost_more_than_one() {
    let origin = Origin::answers("hello");
    let edge = limited(
        &origin,
        "{ cost = 3, windows = [{ limit = 10, seconds = 60 }] }",
    )
    .start();
    let mut standings = Vec::new();
    for _ in 0..4 {
        let answer = edge.get("/").await;
        standings.push((
            answer.status,
            answer.get("ratelimit").unwrap_or_default().to_owned(),
        ));
    }
    let expected = [
        (200, "\"default\";r=7;t=42"),
        (200, "\"default\";r=4;t=24"),
        (200, "\"default\";r=1;t=6"),
        (429, "\"default\";r=1;t=12"),
    ];
    assert_eq!(
        standings,
        expected.map(|(status, text)| (status, text.to_owned()))
    );
}

#[tokio::test]
async fn a_dry_run_refuses_nobody_and_counts_whom_it_would() {
    let origin = Origin::answers("hello");
    for (name, told, fields) in [("tried", false, ""), ("told", true, "fields = true, ")] {
        let edge = limited(
            &origin,
            &format!("{{ name = \"{name}\", dry_run = true, {fields}{ONE} }}"),
        )
        .start();
        for _ in 0..3 {
            let answer = edge.get("/").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.get("ratelimit").is_some(), told);
            assert_eq!(answer.get("ratelimit-policy").is_some(), told);
        }
        assert_eq!(
            counted(&edge, name).await,
            ["allowed 1", "dry-run 2", "refused 0"]
        );
    }
}

#[tokio::test]
async fn who_and_what_is_exempt_is_not_counted() {
    let origin = Origin::answers("hello");
    let edge = limited(
        &origin,
        &format!("{{ exempt = {{ clients = [\"10.0.0.0/8\"], paths = [\"/health\"] }}, {ONE} }}"),
    )
    .start();
    let (inside, outside) = (("x-client", "10.1.2.3"), ("x-client", "192.0.2.1"));
    assert_eq!(
        statuses(
            &edge,
            &[
                ("/", &[inside]),
                ("/", &[inside]),
                ("/health", &[outside]),
                ("/health?now", &[outside]),
                ("/", &[outside]),
                ("/health", &[outside]),
                ("/health/../", &[outside]),
            ]
        )
        .await,
        [200, 200, 200, 200, 200, 200, 429]
    );
}

#[tokio::test]
async fn routes_that_share_a_name_share_their_counts() {
    let origin = Origin::answers("hello");
    let line = |windows: &str| {
        format!(
            "plugins = [{{ name = \"r\", grants = [\"limits\"], deadline = \"5s\", config = {{ name = \"shared\", {windows} }} }}]"
        )
    };
    let edge = Edge::before(&origin)
        .with("plugins.r.file = \"builtin:rate-limit\"")
        .with(&format!(
            "[[routes]]\norigin = \"app\"\npath = \"/a\"\n{}\n[[routes]]\norigin = \"app\"\npath = \"/b\"\n{}\n[[routes]]\norigin = \"app\"\npath = \"/c\"\n{}",
            line(ONE),
            line(ONE),
            line("windows = [{ limit = 1, seconds = 10 }]"),
        ))
        .start();
    assert_eq!(
        statuses(&edge, &[("/a", &[]), ("/b", &[]), ("/c", &[]), ("/a", &[])]).await,
        [200, 429, 200, 429]
    );
}
