use http::{HeaderMap, Method};
use tidegate_semantics::{Policy, Refusal, stored_fields};

use crate::support::{DATE, HOUR_EARLIER, HOUR_LATER, NOW, Scene, headers, seconds};

#[test]
fn a_response_is_stored_or_refused_by_its_own_fields() {
    use Refusal::*;
    let expires = format!("Expires: {HOUR_LATER}");
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let date = format!("Date: {DATE}");
    let rows: &[(&str, u16, &[&str], Option<Refusal>)] = &[
        (
            "§3, nothing to go by",
            200,
            &[],
            Some(NotFreshNorValidatable),
        ),
        ("§3, only a validator", 200, &["ETag: \"a\""], None),
        ("§3, only a weak validator", 200, &["ETag: W/\"a\""], None),
        ("§4.2.1", 200, &["Cache-Control: max-age=60"], None),
        (
            "§5.2.2.10, s-maxage suffices",
            200,
            &["Cache-Control: s-maxage=60"],
            None,
        ),
        ("§5.3", 200, &[&date, &expires], None),
        ("§4.2.2", 200, &[&date, &modified], None),
        (
            "§4.2.1, stale at once, no validator",
            200,
            &["Cache-Control: max-age=0"],
            Some(NotFreshNorValidatable),
        ),
        (
            "§4.2.1, stale at once, validator",
            200,
            &["Cache-Control: max-age=0", "ETag: \"a\""],
            None,
        ),
        (
            "RFC 5861 §3, stale but of use",
            200,
            &["Cache-Control: max-age=0, stale-while-revalidate=9"],
            None,
        ),
        (
            "RFC 5861 §4, stale but of use",
            200,
            &["Cache-Control: max-age=0, stale-if-error=9"],
            None,
        ),
        (
            "§4.2.4, stale and of no use",
            200,
            &["Cache-Control: s-maxage=0, stale-if-error=9"],
            Some(NotFreshNorValidatable),
        ),
        (
            "§5.1, too old on arrival",
            200,
            &["Cache-Control: max-age=60", "Age: 60"],
            Some(NotFreshNorValidatable),
        ),
        ("§5.2.2.5", 200, &["Cache-Control: no-store"], Some(NoStore)),
        (
            "§5.2.2.5, any case, beside freshness",
            200,
            &["Cache-Control: max-age=60, No-StOrE"],
            Some(NoStore),
        ),
        (
            "§5.2.2.5, separate line",
            200,
            &["Cache-Control: max-age=60", "Cache-Control: no-store"],
            Some(NoStore),
        ),
        (
            "§5.2.2.5, with an argument",
            200,
            &["Cache-Control: max-age=60, no-store=1"],
            Some(NoStore),
        ),
        (
            "§5.2.2.5, only quoted",
            200,
            &["Cache-Control: max-age=60, x=\"no-store\""],
            None,
        ),
        (
            "§5.2.2.7",
            200,
            &["Cache-Control: private, max-age=60"],
            Some(Private),
        ),
        (
            "§5.2.2.7, any case",
            200,
            &["Cache-Control: PRIVATE, max-age=60"],
            Some(Private),
        ),
        (
            "§5.2.2.7, beside public",
            200,
            &["Cache-Control: public, private, max-age=60"],
            Some(Private),
        ),
        (
            "§5.2.2.7, qualified",
            200,
            &["Cache-Control: private=\"set-cookie\", max-age=60"],
            Some(Private),
        ),
        (
            "§5.2.2.7, behind a semicolon",
            200,
            &["Cache-Control: max-age=60; private"],
            Some(Private),
        ),
        (
            "§5.2.2.7, behind an open quote",
            200,
            &["Cache-Control: max-age=60, x=\"a, private"],
            Some(Private),
        ),
        (
            "§5.2.2.4, stored with a validator",
            200,
            &["Cache-Control: no-cache", "ETag: \"a\""],
            None,
        ),
        (
            "§5.2.2.4, of no use without one",
            200,
            &["Cache-Control: no-cache, max-age=60"],
            Some(NotFreshNorValidatable),
        ),
        (
            "§5.2.2.4, qualified",
            200,
            &["Cache-Control: no-cache=\"a\", max-age=60"],
            None,
        ),
        (
            "§5.2.2.3, known status",
            200,
            &["Cache-Control: must-understand, no-store, max-age=60"],
            None,
        ),
        (
            "§5.2.2.3, unknown status",
            499,
            &["Cache-Control: must-understand, no-store, max-age=60"],
            Some(UnknownMustUnderstand),
        ),
        (
            "§5.2.2.3, unknown status, no no-store",
            599,
            &["Cache-Control: must-understand, max-age=60"],
            Some(UnknownMustUnderstand),
        ),
        (
            "§5.2.2.3, private all the same",
            200,
            &["Cache-Control: must-understand, private, max-age=60"],
            Some(Private),
        ),
        (
            "§5.2.2.3, with an argument is another",
            599,
            &["Cache-Control: must-understand=1, max-age=60"],
            None,
        ),
        (
            "§5.2.2.3, and does not undo no-store",
            200,
            &["Cache-Control: must-understand=1, no-store, max-age=60"],
            Some(NoStore),
        ),
        (
            "§5.2.2.3, no freshness",
            202,
            &["Cache-Control: must-understand, no-store", "ETag: \"a\""],
            Some(Status),
        ),
        (
            "§5.2.2.5, nothing but quotes around",
            200,
            &["Cache-Control: max-age=60, \"no-store\""],
            Some(NoStore),
        ),
        (
            "§5.2.2.5, among tabs",
            200,
            &["Cache-Control: max-age=60,\tno-store\t"],
            Some(NoStore),
        ),
        (
            "§5.4, Pragma",
            200,
            &["Pragma: no-cache", "Cache-Control: max-age=60"],
            None,
        ),
        (
            "§5.4, Pragma alone",
            200,
            &["Pragma: no-cache", &modified],
            None,
        ),
        (
            "§4.2.2, an invalid Last-Modified",
            200,
            &["Last-Modified: 0"],
            Some(NotFreshNorValidatable),
        ),
        (
            "§4.2.2, no number beats a guess",
            200,
            &["Cache-Control: max-age=x", &modified],
            None,
        ),
        (
            "§3, no guess for it",
            203,
            &["Expires: 0"],
            Some(NotFreshNorValidatable),
        ),
        (
            "RFC 8246",
            200,
            &["Cache-Control: immutable, max-age=60"],
            None,
        ),
        (
            "§3, interim",
            103,
            &["Cache-Control: max-age=60"],
            Some(Status),
        ),
        (
            "§4.3.3, answers a condition",
            304,
            &["Cache-Control: max-age=60"],
            Some(Status),
        ),
        (
            "§3, answers no condition, for there was none",
            412,
            &["Cache-Control: max-age=60"],
            None,
        ),
        (
            "§3, validator without freshness",
            201,
            &["ETag: \"a\""],
            Some(Status),
        ),
        (
            "§5.2.2.9, public makes up for it",
            201,
            &["ETag: \"a\"", "Cache-Control: public"],
            None,
        ),
        (
            "§4.1",
            200,
            &["Cache-Control: max-age=60", "Vary: *"],
            Some(VaryStar),
        ),
        (
            "§4.1, anywhere",
            200,
            &["Cache-Control: max-age=60", "Vary: Accept, , *"],
            Some(VaryStar),
        ),
        (
            "§4.1, second line",
            200,
            &["Cache-Control: max-age=60", "Vary: Accept", "Vary: *"],
            Some(VaryStar),
        ),
        (
            "§4.1, junk",
            200,
            &["Cache-Control: max-age=60", "Vary: a b"],
            Some(VaryStar),
        ),
        (
            "§3.3, not asked for",
            206,
            &["Cache-Control: max-age=60", "Content-Range: bytes 0-1/9"],
            Some(PartialContent),
        ),
        (
            "§7.3, Set-Cookie by itself",
            200,
            &["Cache-Control: max-age=60", "Set-Cookie: a=b"],
            None,
        ),
    ];
    for (rule, status, response, expected) in rows {
        assert_eq!(
            Scene::new(*status, response).refusal(),
            *expected,
            "{rule}: {status} {response:?}"
        );
    }
}

#[test]
fn any_final_status_with_explicit_freshness_is_stored() {
    for status in [
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 414, 499, 500, 501, 502, 503,
        504, 599,
    ] {
        let scene = Scene::new(status, &["Cache-Control: max-age=60"]);
        assert_eq!(scene.refusal(), None, "§3: {status}");
    }
}

#[test]
fn heuristic_freshness_is_for_the_listed_statuses_or_public_ones() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let rows: &[(&[u16], bool)] = &[
        (
            &[200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501],
            true,
        ),
        (
            &[201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599],
            false,
        ),
    ];
    for (statuses, assumed) in rows {
        for status in *statuses {
            let refusal = Scene::new(*status, &[&modified]).refusal();
            assert_eq!(
                refusal.is_none(),
                *assumed,
                "§4.2.2, RFC 9110 §15.1: {status}"
            );
            let public = Scene::new(*status, &[&modified, "Cache-Control: public"]);
            assert_eq!(
                public.terms().lifetime,
                seconds(360),
                "§4.2.2, public: {status}"
            );
        }
    }
}

#[test]
fn a_response_to_authorization_is_shared_only_where_it_says_so() {
    let rows: &[(&str, Option<Refusal>)] = &[
        ("max-age=60", Some(Refusal::Authorization)),
        ("max-age=60, proxy-revalidate", Some(Refusal::Authorization)),
        ("max-age=60, public", None),
        ("max-age=60, must-revalidate", None),
        ("s-maxage=60", None),
        ("s-maxage=a60, max-age=60", Some(Refusal::Authorization)),
        ("s-maxage=60, private", Some(Refusal::Private)),
        ("public=1, max-age=60", Some(Refusal::Authorization)),
        ("max-age=60, x=\"public\"", Some(Refusal::Authorization)),
        ("PUBLIC, max-age=60", None),
        (
            "s-maxage=0, stale-while-revalidate=9",
            Some(Refusal::NotFreshNorValidatable),
        ),
        ("public, private, max-age=60", Some(Refusal::Private)),
    ];
    for (control, expected) in rows {
        let mut scene = Scene::new(200, &[&format!("Cache-Control: {control}")]);
        scene.request = headers(&["Authorization: Basic eDp5"]);
        assert_eq!(scene.refusal(), *expected, "§3.5: {control}");
    }
}

#[test]
fn only_get_and_a_described_post_are_stored() {
    let described: &[&str] = &["Cache-Control: max-age=60", "Content-Location: /form?a=1"];
    let absolute: &[&str] = &[
        "Cache-Control: max-age=60",
        "Content-Location: http://a.test/form?a=1",
    ];
    let rows: &[(&str, Method, &[&str], Option<Refusal>)] = &[
        ("§3, GET", Method::GET, described, None),
        ("§3, HEAD", Method::HEAD, described, Some(Refusal::Method)),
        ("§3, PUT", Method::PUT, described, Some(Refusal::Method)),
        (
            "§3, OPTIONS",
            Method::OPTIONS,
            described,
            Some(Refusal::Method),
        ),
        ("RFC 9110 §9.3.3", Method::POST, described, None),
        ("RFC 9110 §9.3.3, absolute", Method::POST, absolute, None),
        (
            "RFC 9110 §9.3.3, another origin",
            Method::POST,
            &[
                "Cache-Control: max-age=60",
                "Content-Location: http://b.test/form?a=1",
            ],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, another resource",
            Method::POST,
            &["Cache-Control: max-age=60", "Content-Location: /other"],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, without the query",
            Method::POST,
            &["Cache-Control: max-age=60", "Content-Location: /form"],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, two",
            Method::POST,
            &[
                "Cache-Control: max-age=60",
                "Content-Location: /form?a=1",
                "Content-Location: /form?a=1",
            ],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, an assumed lifetime",
            Method::POST,
            &[
                "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
                "Content-Location: /form?a=1",
            ],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, another scheme's port",
            Method::POST,
            &[
                "Cache-Control: max-age=60",
                "Content-Location: http://a.test:80/form?a=1",
            ],
            None,
        ),
        (
            "RFC 9110 §9.3.3, an error",
            Method::DELETE,
            described,
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, none",
            Method::POST,
            &["Cache-Control: max-age=60"],
            Some(Refusal::Method),
        ),
        (
            "RFC 9110 §9.3.3, no freshness",
            Method::POST,
            &["ETag: \"a\"", "Content-Location: /form?a=1"],
            Some(Refusal::Method),
        ),
    ];
    for (rule, method, response, expected) in rows {
        let mut scene = Scene::new(200, response);
        scene.method = method.clone();
        scene.path = "/form?a=1";
        scene.request = headers(&["Host: A.test"]);
        assert_eq!(scene.refusal(), *expected, "{rule}");
    }
}

#[test]
fn a_part_is_stored_only_if_asked_for_and_well_described() {
    let rows: &[(u16, &[&str], Option<Refusal>)] = &[
        (206, &["Content-Range: bytes 0-1/9"], None),
        (206, &["Content-Range: bytes 0-1/*"], None),
        (206, &[], Some(Refusal::PartialContent)),
        (
            206,
            &["Content-Range: bytes 1-0/9"],
            Some(Refusal::PartialContent),
        ),
        (
            206,
            &["Content-Range: bytes 0-9/9"],
            Some(Refusal::PartialContent),
        ),
        (
            206,
            &["Content-Range: bytes */9"],
            Some(Refusal::PartialContent),
        ),
        (
            206,
            &["Content-Range: lines 0-1/9"],
            Some(Refusal::PartialContent),
        ),
        (
            206,
            &["Content-Range: bytes 0-1/9", "Content-Range: bytes 0-1/9"],
            Some(Refusal::PartialContent),
        ),
        (
            206,
            &["Content-Type: multipart/byteranges; boundary=x"],
            Some(Refusal::PartialContent),
        ),
        (
            416,
            &["Content-Range: bytes */9"],
            Some(Refusal::PartialContent),
        ),
        (200, &[], None),
    ];
    for (status, response, expected) in rows {
        let mut scene = Scene::new(*status, response);
        scene
            .response
            .extend(headers(&["Cache-Control: max-age=60"]));
        scene.request = headers(&["Range: bytes=0-1"]);
        assert_eq!(scene.refusal(), *expected, "§3.3: {status} {response:?}");
    }
}

#[test]
fn a_cookie_is_shared_only_with_freshness_that_the_response_states() {
    use Refusal::SetCookie;
    let expires = format!("Expires: {HOUR_LATER}");
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let rows: &[(&str, &[&str], Option<Refusal>)] = &[
        ("max-age", &["Cache-Control: max-age=60"], None),
        ("s-maxage", &["Cache-Control: s-maxage=60"], None),
        ("Expires", &[&expires], None),
        ("targeted", &["CDN-Cache-Control: max-age=60"], None),
        ("nothing", &["ETag: \"a\""], Some(SetCookie)),
        ("public alone", &["Cache-Control: public"], Some(SetCookie)),
        ("a guess", &[&modified], Some(SetCookie)),
        (
            "stale at once",
            &["Cache-Control: max-age=0", "ETag: \"a\""],
            Some(SetCookie),
        ),
        (
            "no number",
            &["Cache-Control: max-age=x", "ETag: \"a\""],
            Some(SetCookie),
        ),
        ("no date", &["Expires: 0", "ETag: \"a\""], Some(SetCookie)),
    ];
    for (name, response, expected) in rows {
        let mut scene = Scene::new(200, response);
        scene.response.extend(headers(&["Set-Cookie: a=b"]));
        assert_eq!(scene.refusal(), *expected, "§7.3, {name}");
        scene.policy.default_ttl = Some(seconds(60));
        assert_eq!(scene.refusal(), *expected, "§7.3, {name}, default_ttl");
        scene.policy.ttl = Some(seconds(60));
        assert_eq!(scene.refusal(), *expected, "§7.3, {name}, ttl");
    }
}

#[test]
fn a_route_adds_its_own_refusals() {
    let fresh = |more: &str| Scene::new(200, &["Cache-Control: max-age=60", more]);

    let mut cookie = fresh("Set-Cookie: a=b");
    assert_eq!(cookie.refusal(), None);
    cookie.policy.store_set_cookie = false;
    assert_eq!(cookie.refusal(), Some(Refusal::SetCookie));

    let mut tagged = fresh("Surrogate-Key: a b c");
    tagged.policy.max_tags = 3;
    assert_eq!(tagged.refusal(), None);
    tagged.policy.max_tags = 2;
    assert_eq!(tagged.refusal(), Some(Refusal::TooManyTags));

    let mut asked = fresh("X-A: b");
    asked.request = headers(&["Cache-Control: no-store"]);
    assert_eq!(asked.refusal(), None, "ignored by default");
    asked.policy.honour_request_directives = true;
    assert_eq!(asked.refusal(), Some(Refusal::RequestNoStore), "§5.2.1.5");
}

#[test]
fn armour_refuses_a_type_that_contradicts_the_extension() {
    let rows: &[(&'static str, &str, bool)] = &[
        ("/account/x.css", "text/html", true),
        ("/account/x%2ecss", "text/html", true),
        ("/account%2Fx%2Ecss", "text/html", true),
        ("/account/x.CSS?v=1", "text/html; charset=utf-8", true),
        ("/account;x.js", "text/html", true),
        ("/api/me.png", "application/json", true),
        ("/api/me.zip", "application/json", true),
        ("/a/x.svg", "application/xhtml+xml", true),
        ("/a/x.css", "text/css; charset=utf-8", false),
        ("/a/x.js", "Application/JavaScript", false),
        ("/a/x.png", "image/webp", false),
        ("/a/x.woff2", "application/font-woff2", false),
        ("/a/x.pdf", "application/pdf", false),
        ("/a/x.mp4", "video/mp4", false),
        ("/a/x.zip", "application/octet-stream", false),
        ("/a/x.unheard", "text/html", false),
        ("/a.css/page", "text/html", false),
        ("/page", "text/html", false),
        ("/page?file=x.css", "text/html", false),
    ];
    for (path, kind, deceptive) in rows {
        let mut scene = Scene::new(
            200,
            &[
                "Cache-Control: max-age=60",
                &format!("Content-Type: {kind}"),
            ],
        );
        scene.path = path;
        let expected = deceptive.then_some(Refusal::Deception);
        assert_eq!(scene.refusal(), expected, "{path} as {kind}");
        scene.policy.deception_armour = false;
        assert_eq!(scene.refusal(), None, "{path} as {kind}, without armour");
    }
}

#[test]
fn a_routes_lifetimes_stand_in_for_the_responses() {
    let with = |status: u16, response: &[&str], policy: Policy| {
        let mut scene = Scene::new(status, response);
        scene.policy = policy;
        scene
    };
    let ttl = || Policy {
        ttl: Some(seconds(5)),
        ..Policy::default()
    };
    let default_ttl = || Policy {
        default_ttl: Some(seconds(5)),
        ..Policy::default()
    };

    assert_eq!(
        with(200, &["Cache-Control: max-age=60"], ttl())
            .terms()
            .lifetime,
        seconds(5)
    );
    assert_eq!(with(200, &[], ttl()).terms().lifetime, seconds(5));
    assert_eq!(with(500, &[], ttl()).refusal(), Some(Refusal::Status));
    assert_eq!(
        with(200, &["Cache-Control: private"], ttl()).refusal(),
        Some(Refusal::Private)
    );
    assert_eq!(
        with(200, &["Cache-Control: max-age=60"], default_ttl())
            .terms()
            .lifetime,
        seconds(60)
    );
    assert_eq!(with(200, &[], default_ttl()).terms().lifetime, seconds(5));
    assert_eq!(
        with(500, &[], default_ttl()).refusal(),
        Some(Refusal::Status)
    );

    let grace = Policy {
        stale_while_revalidate: Some(seconds(7)),
        stale_if_error: Some(seconds(8)),
        ..Policy::default()
    };
    let silent = with(200, &["Cache-Control: max-age=60"], grace.clone()).terms();
    assert_eq!(
        (silent.stale_while_revalidate, silent.stale_if_error),
        (seconds(7), seconds(8))
    );
    let said = "Cache-Control: max-age=60, stale-while-revalidate=0, stale-if-error=1";
    let spoken = with(200, &[said], grace).terms();
    assert_eq!(
        (spoken.stale_while_revalidate, spoken.stale_if_error),
        (seconds(0), seconds(1))
    );
    assert_eq!(spoken.useless_after(false), NOW.plus(seconds(61)));
    assert_eq!(spoken.useless_after(true), NOW.plus(seconds(61 + 86_400)));
}

#[test]
fn stored_fields_are_all_but_the_hop_by_hop_and_the_withheld() {
    let response = headers(&[
        "Cache-Control: max-age=60, no-cache=\"Secret, Other\"",
        "Connection: nominated, close",
        "Nominated: 1",
        "Keep-Alive: junk",
        "Secret: 1",
        "other: 2",
        "Unknown: kept",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
    ]);
    let stored = stored_fields(&response, &Policy::default());
    let expected = headers(&[
        "Cache-Control: max-age=60, no-cache=\"Secret, Other\"",
        "Unknown: kept",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
    ]);
    assert_eq!(stored, expected, "§3.1, §5.2.2.4");
    assert_eq!(
        stored_fields(&HeaderMap::new(), &Policy::default()),
        HeaderMap::new()
    );
}

#[test]
fn every_refusal_has_a_name_of_its_own() {
    let mut names: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Refusal::ALL.len());
}
