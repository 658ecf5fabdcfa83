use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use tidegate_semantics::{invalidated, invalidated_groups, is_safe, strip_surrogate_fields, tags};

use crate::support::headers;

fn fallen(method: &str, status: u16, lines: &[&str]) -> Vec<String> {
    let target = PathAndQuery::from_static("/a/b?q=1");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let status = StatusCode::from_u16(status).expect("a status");
    let uris = invalidated(&method, "https", "a.test", &target, status, &headers(lines));
    uris.iter().map(ToString::to_string).collect()
}

#[test]
fn a_non_error_answer_to_an_unsafe_method_invalidates() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOO"] {
        for status in [200, 201, 204, 302, 303] {
            assert_eq!(
                fallen(method, status, &[]),
                ["/a/b?q=1"],
                "§4.4: {method} {status}"
            );
        }
        for status in [103, 400, 404, 500, 503, 599] {
            assert!(
                fallen(method, status, &[]).is_empty(),
                "§4.4: {method} {status}"
            );
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(
            fallen(method, 200, &["Location: /x"]).is_empty(),
            "§4.4: {method}"
        );
        assert!(is_safe(
            &Method::from_bytes(method.as_bytes()).expect("a method")
        ));
    }
}

#[test]
fn location_and_content_location_fall_too_on_the_same_origin() {
    let rows = [
        ("path", "/x", Some("/x")),
        ("path and query", "/x?y", Some("/x?y")),
        ("fragment", "/x?y#z", Some("/x?y")),
        ("relative", "c", Some("/a/c")),
        ("relative, up", "../c?d", Some("/c?d")),
        ("relative, too far up", "../../../c", Some("/c")),
        ("relative, here", ".", Some("/a/")),
        ("dots inside", "/x/./y/../z", Some("/x/z")),
        ("dots at the end", "/x/y/..", Some("/x/")),
        ("dots in the query", "/x?../y", Some("/x?../y")),
        ("query alone", "?r=2", Some("/a/b?r=2")),
        ("absolute", "https://a.test/x", Some("/x")),
        ("absolute, case", "HTTPS://A.Test/x", Some("/x")),
        ("absolute, default port", "https://a.test:443/x", Some("/x")),
        ("absolute, no path", "https://a.test", Some("/")),
        ("absolute, query only", "https://a.test?x", Some("/?x")),
        ("no scheme", "//a.test/x", Some("/x")),
        ("another scheme", "http://a.test/x", None),
        ("another host", "https://b.test/x", None),
        ("another host, no scheme", "//b.test/x", None),
        ("another port", "https://a.test:8443/x", None),
        ("user information", "https://u@a.test/x", None),
        ("no hierarchy", "mailto:a@a.test", None),
        ("the target", "/a/b?q=1", None),
        ("empty", "", None),
        ("no URI", "/x y", None),
    ];
    for field in ["Location", "Content-Location"] {
        for (rule, reference, expected) in rows {
            let uris = fallen("POST", 200, &[&format!("{field}: {reference}")]);
            let mut all = vec!["/a/b?q=1"];
            all.extend(expected);
            assert_eq!(uris, all, "§4.4, {field}, {rule}: {reference}");
        }
    }
    let both = fallen("PUT", 200, &["Location: /x", "Content-Location: /y"]);
    assert_eq!(both, ["/a/b?q=1", "/x", "/y"], "§4.4");
}

#[test]
fn tags_are_read_from_every_field_that_carries_them() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "spaces or commas",
            &["Surrogate-Key: a b,c ,  d"],
            &["a", "b", "c", "d"],
        ),
        ("commas", &["Cache-Tag: a b, c,,d"], &["a b", "c", "d"]),
        ("both", &["xkey: a b,c"], &["a", "b", "c"]),
        ("lines", &["xkey: a", "xkey: b"], &["a", "b"]),
        (
            "once",
            &["Surrogate-Key: a b a", "Cache-Tag: b, c"],
            &["a", "b", "c"],
        ),
        (
            "RFC 9875 §2",
            &["Cache-Groups: \"g\", \"h i\";x"],
            &["group:https://a.test g", "group:https://a.test h i"],
        ),
        (
            "RFC 9875 §2, lines",
            &["Cache-Groups: \"g\"", "Cache-Groups: \"h\""],
            &["group:https://a.test g", "group:https://a.test h"],
        ),
        ("RFC 9875 §2, no string", &["Cache-Groups: g, \"h\""], &[]),
        (
            "RFC 9875 §2, an inner list",
            &["Cache-Groups: (\"g\")"],
            &[],
        ),
        (
            "RFC 9875 §2, case counts",
            &["Cache-Groups: \"g\", \"G\""],
            &["group:https://a.test g", "group:https://a.test G"],
        ),
        (
            "RFC 9875 §2, escapes",
            &["Cache-Groups: \"a\\\"b\""],
            &["group:https://a.test a\"b"],
        ),
        (
            "RFC 9875 §2, empty name",
            &["Cache-Groups: \"\""],
            &["group:https://a.test "],
        ),
        (
            "RFC 9651 §4.2, malformed",
            &["Cache-Groups: \"g\", \""],
            &[],
        ),
        ("none", &[], &[]),
    ];
    for (rule, lines, expected) in rows {
        assert_eq!(
            tags("https", "A.test:443", &headers(lines)),
            *expected,
            "{rule}: {lines:?}"
        );
    }
}

#[test]
fn a_group_is_invalidated_by_its_own_origin_and_an_unsafe_method() {
    let response = headers(&["Cache-Group-Invalidation: \"g\", \"g\", \"h\""]);
    let fallen = |method, authority| {
        invalidated_groups(&method, "https", authority, StatusCode::OK, &response)
    };
    assert_eq!(
        fallen(Method::POST, "a.test"),
        ["group:https://a.test g", "group:https://a.test h"],
        "RFC 9875 §3"
    );
    assert!(
        fallen(Method::GET, "a.test").is_empty(),
        "RFC 9875 §3: safe"
    );
    for status in [204, 303, 400, 409, 500, 503] {
        let status = StatusCode::from_u16(status).expect("a status");
        let groups = invalidated_groups(&Method::POST, "https", "a.test", status, &response);
        assert_eq!(groups.len(), 2, "RFC 9875 §3 asks for no status: {status}");
    }
    let interim = StatusCode::from_u16(103).expect("a status");
    assert!(
        invalidated_groups(&Method::POST, "https", "a.test", interim, &response).is_empty(),
        "RFC 9110 §15.2: no answer yet"
    );
    let unknown = Method::from_bytes(b"MEND").expect("a method");
    assert_eq!(
        fallen(unknown, "a.test").len(),
        2,
        "RFC 9110 §9.2.1: not known to be safe"
    );
    let member = tags("https", "a.test", &headers(&["Cache-Groups: \"g\""]));
    assert!(
        fallen(Method::PUT, "a.test").contains(&member[0]),
        "RFC 9875 §2.1"
    );
    assert!(
        !fallen(Method::PUT, "b.test").contains(&member[0]),
        "RFC 9875 §2.1: another origin"
    );
}

#[test]
fn clients_do_not_see_what_is_meant_for_surrogates() {
    let mut fields = headers(&[
        "Surrogate-Key: a",
        "Cache-Tag: b",
        "xkey: c",
        "Surrogate-Control: d",
        "Cache-Groups: \"e\"",
        "CDN-Cache-Control: max-age=1",
    ]);
    strip_surrogate_fields(&mut fields);
    assert_eq!(
        fields,
        headers(&["Cache-Groups: \"e\"", "CDN-Cache-Control: max-age=1"])
    );
}
