//! The messages that most benchmarks share: a browser's request for a page, and the page.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_semantics::{Basis, Terms, Timestamp};

/// When everything happens.
pub(crate) const NOW: Timestamp = Timestamp(2_014_879_777_000);

/// The page's tags.
pub(crate) const TAGS: [&str; 5] = ["courses", "course:7", "teacher:12", "term:2033-2", "page"];

/// The page's URL as the purge log writes it.
pub(crate) const URL: &str = "learn.example/courses/7/lessons?page=2&order=newest";

/// The page's path, with its query.
pub(crate) const PATH: &str = "/courses/7/lessons?page=2&order=newest";

/// A map of these lines, each a name and a value.
pub(crate) fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// What a browser sends with a GET.
pub(crate) fn request() -> HeaderMap {
    headers(&[
        ("host", "learn.example"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://learn.example/courses"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("upgrade-insecure-requests", "1"),
        ("priority", "u=0, i"),
    ])
}

/// The page's fields as an origin sends them, with all that the rules look at.
pub(crate) fn response() -> HeaderMap {
    headers(&[
        ("date", "Sun, 06 Nov 2033 08:49:37 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        (
            "cache-control",
            "public, max-age=60, s-maxage=300, stale-while-revalidate=30, stale-if-error=600",
        ),
        ("cdn-cache-control", "max-age=600"),
        ("expires", "Sun, 06 Nov 2033 08:50:37 GMT"),
        ("last-modified", "Sun, 06 Nov 2033 07:49:37 GMT"),
        ("etag", "\"33a64df551425fcc\""),
        ("vary", "accept-encoding, accept-language"),
        (
            "surrogate-key",
            "courses course:7 teacher:12 term:2033-2 page",
        ),
        ("cache-groups", "\"lessons\""),
        ("x-content-type-options", "nosniff"),
        ("connection", "keep-alive"),
    ])
}

/// Terms under which the page is fresh at [`NOW`].
pub(crate) fn terms() -> Terms {
    Terms {
        born: NOW.minus(Duration::from_secs(10)),
        lifetime: Duration::from_secs(600),
        stale_while_revalidate: Duration::from_secs(30),
        stale_if_error: Duration::from_secs(600),
        must_revalidate: false,
        always_validate: false,
        basis: Basis::MaxAge,
    }
}
