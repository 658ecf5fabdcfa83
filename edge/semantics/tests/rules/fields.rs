use http::header::{ACCEPT, CONNECTION};
use tidegate_semantics::{combined, strip_hop_by_hop};

use crate::support::headers;

#[test]
fn what_ends_at_this_hop_is_removed() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "the set",
            &[
                "Connection: x",
                "Keep-Alive: a",
                "Proxy-Connection: b",
                "TE: c",
                "Trailer: d",
                "Upgrade: f",
            ],
            &[],
        ),
        ("framing", &["Transfer-Encoding: chunked"], &[]),
        (
            "proxies'",
            &[
                "Proxy-Authenticate: a",
                "Proxy-Authentication-Info: b",
                "Proxy-Authorization: c",
            ],
            &[],
        ),
        (
            "nominated",
            &["Connection: a, B", "A: 1", "b: 2", "C: 3"],
            &["C: 3"],
        ),
        (
            "nominated on two lines",
            &["Connection: a", "Connection: b", "A: 1", "B: 2"],
            &[],
        ),
        (
            "nominated junk",
            &["Connection: a b, =, ,\"", "A: 1"],
            &["A: 1"],
        ),
        ("every line of it", &["Connection: a", "A: 1", "A: 2"], &[]),
        (
            "routing stays",
            &["Connection: Host", "Host: a.test"],
            &["Host: a.test"],
        ),
        (
            "framing stays",
            &["Connection: Content-Length", "Content-Length: 1"],
            &["Content-Length: 1"],
        ),
        (
            "caching stays",
            &[
                "Connection: Cache-Control, Vary, Tidegate-Cache-Control",
                "Cache-Control: a",
                "Vary: b",
                "Tidegate-Cache-Control: c",
            ],
            &["Cache-Control: a", "Vary: b", "Tidegate-Cache-Control: c"],
        ),
        (
            "the rest stays",
            &["Foo: 1", "Set-Cookie: a", "Set-Cookie: b"],
            &["Foo: 1", "Set-Cookie: a", "Set-Cookie: b"],
        ),
    ];
    for (rule, before, after) in rows {
        let mut fields = headers(before);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(after), "RFC 9110 §7.6.1, {rule}");
    }
}

#[test]
fn repeated_lines_are_one_value() {
    let fields = headers(&["Accept: a", "Accept: b, c"]);
    assert_eq!(
        combined(&fields, &ACCEPT).as_deref(),
        Some(&b"a, b, c"[..]),
        "RFC 9110 §5.2"
    );
    assert_eq!(combined(&fields, &CONNECTION), None);
}
