use tidegate_semantics::{Policy, Refusal, StatusPattern};

use crate::support::{HOUR_EARLIER, HOUR_LATER, Scene, seconds};

/// A route with these lifetimes by status.
fn route(lifetimes: &[(&str, u64)]) -> Policy {
    let lifetimes = lifetimes.iter().map(|(pattern, ttl)| {
        let pattern: StatusPattern = pattern.parse().expect("a pattern");
        (pattern, seconds(*ttl))
    });
    Policy {
        status_ttl: lifetimes.collect(),
        ..Policy::default()
    }
}

/// A rule, a response, and for how many seconds it is fresh or why it is not stored.
type Row<'a> = (&'a str, u16, &'a [&'a str], Result<u64, Refusal>);

fn scene(status: u16, response: &[&str], policy: Policy) -> Scene {
    let mut scene = Scene::new(status, response);
    scene.policy = policy;
    scene
}

#[test]
fn a_pattern_is_a_final_status_or_a_class() {
    for text in ["200", "404", "599", "2xx", "5xx"] {
        let pattern: StatusPattern = text.parse().expect("a pattern");
        assert_eq!(pattern.to_string(), text);
    }
    assert_eq!("5XX".parse(), "5xx".parse::<StatusPattern>());
    for text in [
        "", "4", "40", "4040", "100", "1xx", "6xx", "600", "4x", "4x4", "xx4", " 404", "+40", "*",
        "404,410", "４xx",
    ] {
        let error = text.parse::<StatusPattern>().expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_route_gives_lifetimes_by_status_to_responses_that_state_none() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let expires = format!("Expires: {HOUR_LATER}");
    let lifetimes: &[(&str, u64)] = &[("404", 60), ("502", 1), ("4xx", 5), ("200", 7)];
    let rows: &[Row] = &[
        ("one status", 404, &[], Ok(60)),
        ("its class", 410, &[], Ok(5)),
        ("no heuristic for it", 502, &[], Ok(1)),
        ("no heuristic for it", 403, &[], Ok(5)),
        ("no pattern", 503, &[], Err(Refusal::Status)),
        ("no pattern", 301, &["ETag: \"a\""], Ok(0)),
        ("before a guess", 200, &[&modified], Ok(7)),
        ("§4.2.1, max-age", 404, &["Cache-Control: max-age=9"], Ok(9)),
        (
            "§4.2.1, s-maxage",
            502,
            &["Cache-Control: s-maxage=9"],
            Ok(9),
        ),
        ("§5.3", 404, &[&expires], Ok(3600)),
        ("§5.3, invalid", 404, &["Expires: 0", "ETag: \"a\""], Ok(0)),
        (
            "RFC 9213 §2.1",
            404,
            &["CDN-Cache-Control: max-age=9"],
            Ok(9),
        ),
        (
            "§5.2.2.5",
            404,
            &["Cache-Control: no-store"],
            Err(Refusal::NoStore),
        ),
        (
            "§5.2.2.7",
            502,
            &["Cache-Control: private"],
            Err(Refusal::Private),
        ),
        (
            "§5.2.2.4",
            502,
            &["Cache-Control: no-cache"],
            Err(Refusal::NotFreshNorValidatable),
        ),
        ("§4.1", 404, &["Vary: *"], Err(Refusal::VaryStar)),
        ("§7.3", 404, &["Set-Cookie: a=b"], Err(Refusal::SetCookie)),
        (
            "§5.1",
            404,
            &["Age: 60"],
            Err(Refusal::NotFreshNorValidatable),
        ),
    ];
    for (rule, status, response, expected) in rows {
        let scene = scene(*status, response, route(lifetimes));
        let found = scene
            .refusal()
            .map_or_else(|| Ok(scene.terms().lifetime), Err);
        assert_eq!(
            found,
            expected.map(seconds),
            "{rule}: {status} {response:?}"
        );
    }
}

#[test]
fn the_first_pattern_that_fits_counts() {
    let lifetime = |patterns| scene(404, &[], route(patterns)).terms().lifetime;
    assert_eq!(lifetime(&[("404", 1), ("4xx", 2)]), seconds(1));
    assert_eq!(lifetime(&[("4xx", 2), ("404", 1)]), seconds(2));
}

#[test]
fn a_lifetime_by_status_is_no_statement_of_the_response() {
    let mut authorized = scene(404, &[], route(&[("404", 60)]));
    authorized.request = crate::support::headers(&["Authorization: Basic eDp5"]);
    assert_eq!(authorized.refusal(), Some(Refusal::Authorization), "§3.5");
    let mut posted = scene(404, &["Content-Location: /"], route(&[("404", 60)]));
    posted.method = http::Method::POST;
    assert_eq!(posted.refusal(), Some(Refusal::Method), "RFC 9110 §9.3.3");
    for status in [103, 304, 412] {
        let mut scene = scene(status, &[], route(&[("304", 60), ("412", 60)]));
        scene.request = crate::support::headers(&["If-Match: \"a\""]);
        assert_eq!(scene.refusal(), Some(Refusal::Status), "§3: {status}");
    }
}

#[test]
fn no_lifetime_means_not_stored_where_the_response_states_none() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let rows: &[(u16, &[&str], Option<Refusal>)] = &[
        (404, &[], Some(Refusal::StatusTtl)),
        (404, &["ETag: \"a\""], Some(Refusal::StatusTtl)),
        (404, &[&modified], Some(Refusal::StatusTtl)),
        (
            404,
            &["Cache-Control: public", &modified],
            Some(Refusal::StatusTtl),
        ),
        (503, &[], Some(Refusal::StatusTtl)),
        (404, &["Cache-Control: private"], Some(Refusal::Private)),
        (404, &["Cache-Control: max-age=60"], None),
        (503, &["Cache-Control: max-age=60"], None),
        (200, &[&modified], None),
    ];
    for (status, response, expected) in rows {
        let scene = scene(*status, response, route(&[("404", 0), ("5xx", 0)]));
        assert_eq!(scene.refusal(), *expected, "{status} {response:?}");
    }
}

#[test]
fn lifetimes_take_precedence_in_this_order() {
    let every = |status: u16, response: &[&str]| {
        let policy = Policy {
            ttl: Some(seconds(100)),
            default_ttl: Some(seconds(300)),
            ..route(&[("404", 200), ("410", 0), ("502", 2), ("504", 0)])
        };
        scene(status, response, policy)
    };
    let without_ttl = |status: u16, response: &[&str]| {
        let mut scene = every(status, response);
        scene.policy.ttl = None;
        scene
    };
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let stated = ["Cache-Control: max-age=60"];
    assert_eq!(every(404, &stated).terms().lifetime, seconds(100), "ttl");
    assert_eq!(every(404, &[]).terms().lifetime, seconds(100), "ttl");
    assert_eq!(every(410, &[]).terms().lifetime, seconds(100), "ttl");
    assert_eq!(
        every(502, &[]).terms().lifetime,
        seconds(2),
        "no longer than its status lets it"
    );
    assert_eq!(every(502, &stated).terms().lifetime, seconds(100), "ttl");
    assert_eq!(every(504, &[]).refusal(), Some(Refusal::StatusTtl));
    assert_eq!(
        without_ttl(404, &stated).terms().lifetime,
        seconds(60),
        "stated"
    );
    assert_eq!(
        without_ttl(404, &[&modified]).terms().lifetime,
        seconds(200),
        "status_ttl"
    );
    assert_eq!(
        without_ttl(200, &[&modified]).terms().lifetime,
        seconds(300),
        "default_ttl"
    );
}

#[test]
fn the_routes_windows_are_not_for_errors_that_are_kept_for_a_moment() {
    let windows = |status: u16, response: &[&str]| {
        let policy = Policy {
            stale_while_revalidate: Some(seconds(10)),
            stale_if_error: Some(seconds(20)),
            ..route(&[("404", 60), ("5xx", 1)])
        };
        let terms = scene(status, response, policy).terms();
        (terms.stale_while_revalidate, terms.stale_if_error)
    };
    assert_eq!(windows(502, &[]), (seconds(0), seconds(0)));
    assert_eq!(windows(404, &[]), (seconds(10), seconds(20)));
    let spoken = ["Cache-Control: stale-while-revalidate=3, stale-if-error=4"];
    assert_eq!(windows(502, &spoken), (seconds(3), seconds(4)), "RFC 5861");
    let stated = ["Cache-Control: max-age=60"];
    assert_eq!(windows(502, &stated), (seconds(10), seconds(20)));
}

#[test]
fn a_guess_has_a_limit() {
    let old = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let lifetime = |limit| {
        let policy = Policy {
            heuristic_limit: limit,
            ..Policy::default()
        };
        scene(200, &[old], policy).terms().lifetime
    };
    assert_eq!(Policy::default().heuristic_limit, Some(seconds(86_400)));
    assert_eq!(lifetime(Some(seconds(86_400))), seconds(86_400), "§4.2.2");
    assert!(
        lifetime(None) > seconds(3 * 365 * 86_400),
        "§4.2.2, a tenth of 39 years"
    );
}
