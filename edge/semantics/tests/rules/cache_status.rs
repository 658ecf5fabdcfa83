use http::StatusCode;
use tidegate_semantics::{CacheStatus, Forwarded};

#[test]
fn a_cache_status_says_what_was_done() {
    let base = CacheStatus::default;
    let key = |key: &str| CacheStatus {
        hit: true,
        key: Some(key.to_owned()),
        ..base()
    };
    let rows = [
        (
            "§2.1",
            CacheStatus {
                hit: true,
                ttl: Some(30),
                detail: Some("memory"),
                ..base()
            },
            "tidegate; hit; ttl=30; detail=memory",
        ),
        (
            "§2.4, stale",
            CacheStatus {
                hit: true,
                ttl: Some(-3),
                ..base()
            },
            "tidegate; hit; ttl=-3",
        ),
        (
            "§2.2, §2.3, §2.5, §2.6",
            CacheStatus {
                fwd: Some(Forwarded::Stale),
                fwd_status: Some(StatusCode::NOT_MODIFIED),
                stored: true,
                collapsed: true,
                ..base()
            },
            "tidegate; fwd=stale; fwd-status=304; stored; collapsed",
        ),
        (
            "§2.1, excludes fwd",
            CacheStatus {
                hit: true,
                fwd: Some(Forwarded::Miss),
                stored: true,
                ..base()
            },
            "tidegate; hit",
        ),
        (
            "§2.7",
            key("http://a/\"b\\"),
            "tidegate; hit; key=\"http://a/\\\"b\\\\\"",
        ),
        (
            "§2.7, no text",
            key("ü\n"),
            "tidegate; hit; key=\"%C3%BC%0A\"",
        ),
        (
            "§2.8, no token",
            CacheStatus {
                detail: Some("two words"),
                ..base()
            },
            "tidegate; detail=\"two words\"",
        ),
        (
            "§2.8, no token",
            CacheStatus {
                detail: Some(""),
                ..base()
            },
            "tidegate; detail=\"\"",
        ),
        (
            "RFC 9651 §3.3.1",
            CacheStatus {
                ttl: Some(i64::MIN),
                ..base()
            },
            "tidegate; ttl=-999999999999999",
        ),
    ];
    for (rule, status, expected) in rows {
        let value = status.to_header_value("tidegate");
        assert_eq!(value, expected, "RFC 9211 {rule}");
        let parsed = sfv::Parser::new(value.as_bytes()).parse::<sfv::List>();
        assert_eq!(
            parsed.ok().map(|list| list.len()),
            Some(1),
            "RFC 9211 §2: {expected}"
        );
    }
    assert_eq!(
        base().to_header_value("my edge"),
        "\"my edge\"",
        "RFC 9211 §2"
    );
}

#[test]
fn every_reason_is_a_token_of_the_rfc() {
    let names: Vec<_> = Forwarded::ALL.iter().map(|reason| reason.name()).collect();
    let expected = [
        "miss",
        "uri-miss",
        "vary-miss",
        "stale",
        "method",
        "bypass",
        "request",
        "partial",
    ];
    assert_eq!(names, expected, "RFC 9211 §2.2");
}
