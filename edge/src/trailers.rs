//! Trailer fields: which of them may pass on, and how they are announced (RFC 9110 §6.5).
//!
//! They travel behind the body they belong to, and nowhere else: never merged into a head, never
//! stored.

use http::header::{HeaderName, TE, TRAILER};
use http::{HeaderMap, HeaderValue};

/// What a recipient needs before the body, or believes only of a head: framing, routing,
/// conditions, authentication, how the content is read, and whether it may be cached
/// (RFC 9110 §6.5.1). Every other field may pass.
const NEVER_TRAILING: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "forwarded",
    "max-forwards",
    "via",
    "expect",
    "range",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "authentication-info",
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "location",
    "retry-after",
    "age",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cache-status",
    "cache-tag",
    "cdn-cache-control",
    "date",
    "expires",
    "last-modified",
    "no-vary-search",
    "pragma",
    "surrogate-control",
    "surrogate-key",
    "tidegate-lsn",
    "tidegate-seen",
    "vary",
    "warning",
    "xkey",
];

/// Whether a field may stand behind a body.
fn may_trail(name: &HeaderName) -> bool {
    let name = name.as_str();
    !NEVER_TRAILING.contains(&name)
        && !name.starts_with("x-forwarded-")
        && !name.ends_with("-cache-control")
}

/// Removes what may not stand behind a body.
pub fn strip(trailers: &mut HeaderMap) {
    let unfit: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !may_trail(name))
        .cloned()
        .collect();
    for name in unfit {
        trailers.remove(name);
    }
}

/// The fields that a head announces in `Trailer` and that may pass, as our own `Trailer`.
pub fn announced(head: &HeaderMap) -> Option<HeaderValue> {
    list(head.get_all(TRAILER).iter().flat_map(names))
}

/// Takes back the announcement of fields that stand in the head: none is said twice.
pub fn prefer_head(head: &mut HeaderMap) {
    if !head.contains_key(TRAILER) {
        return;
    }
    let announced = head.get_all(TRAILER).iter().flat_map(names);
    let left = list(announced.filter(|name| !head.contains_key(name)));
    match left {
        Some(left) => head.insert(TRAILER, left),
        None => head.remove(TRAILER),
    };
}

/// Whether the sender of a request takes trailers (RFC 9110 §10.1.4).
pub fn are_accepted(request: &HeaderMap) -> bool {
    let lines = request.get_all(TE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case("trailers"))
}

fn names(line: &HeaderValue) -> Vec<HeaderName> {
    let members = line.as_bytes().split(|byte| *byte == b',');
    members
        .filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
        .collect()
}

fn list(names: impl Iterator<Item = HeaderName>) -> Option<HeaderValue> {
    let names: Vec<HeaderName> = names.filter(may_trail).collect();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    if names.is_empty() {
        return None;
    }
    Some(HeaderValue::try_from(names.join(", ")).expect("tokens, commas and spaces are a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        fields.collect()
    }

    #[test]
    fn only_what_may_trail_is_announced() {
        for (trailer, ours) in [
            ("X-Sum, X-Time", Some("x-sum, x-time")),
            (" x-sum ,, content-length", Some("x-sum")),
            ("set-cookie, x-forwarded-for, example-cache-control", None),
            ("a b, \"x\"", None),
            ("", None),
        ] {
            let announced = announced(&head(&[("trailer", trailer)]));
            assert_eq!(announced, ours.map(HeaderValue::from_static), "{trailer}");
        }
        assert_eq!(announced(&HeaderMap::new()), None);
    }

    #[test]
    fn what_the_head_says_is_not_said_behind_the_body() {
        let mut both = head(&[("trailer", "x-token, x-sum"), ("x-token", "ours")]);
        prefer_head(&mut both);
        assert_eq!(both["trailer"], "x-sum");
        let mut one = head(&[("trailer", "x-token"), ("x-token", "ours")]);
        prefer_head(&mut one);
        assert!(!one.contains_key("trailer"));
    }

    #[test]
    fn what_frames_routes_or_governs_is_stripped() {
        let mut trailers = head(&[
            ("x-sum", "1"),
            ("content-length", "9"),
            ("host", "evil"),
            ("cache-control", "max-age=9"),
            ("authorization", "x"),
            ("x-forwarded-for", "192.0.2.1"),
        ]);
        strip(&mut trailers);
        assert_eq!(trailers, head(&[("x-sum", "1")]));
    }

    #[test]
    fn trailers_are_accepted_by_a_member_of_te() {
        for (te, accepted) in [
            ("trailers", true),
            ("gzip;q=1, Trailers", true),
            ("gzip", false),
        ] {
            assert_eq!(are_accepted(&head(&[("te", te)])), accepted, "{te}");
        }
    }
}
