//! Answers: how long they may be used, by whom, what they fall by, and whether the client has them already.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;

use crate::http::{
    access::Asker,
    conditions::{listed, names},
    error::Problem,
};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// Heeded by Tidegate alone (RFC 9213 section 2.2), which heeds `Vary` as well; other shared caches may not.
const TIDEGATE_CACHE_CONTROL: HeaderName = HeaderName::from_static("tidegate-cache-control");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Who may use an answer, and for how many seconds.
pub(crate) enum Policy {
    /// Everyone. Browsers for `browser` seconds; the edge, which can be purged, for `edge` seconds, a minute longer while
    /// it asks again, and ten while we fail.
    Public { browser: u32, edge: u32 },
    /// Everyone, briefly.
    Brief { seconds: u32 },
    /// The user's own browser (RFC 9111 section 5.2.2.7).
    Private { browser: u32 },
    /// The user's own browser; and the edge, for whoever shows the same token, which is as long as that is good.
    Owned { browser: u32, edge: u32 },
    /// Nobody.
    NoStore,
}

impl Policy {
    /// What only `asker` may see, and falls when it changes: the edge may keep it for `edge` seconds, but never longer than
    /// the asker's token is good. A session may end at any moment, so nothing is kept for one.
    pub(crate) fn of_owner(asker: Asker, now: OffsetDateTime, browser: u32, edge: u32) -> Self {
        let left = asker
            .until
            .map(|until| until.saturating_sub(now.unix_timestamp()));
        match left {
            Some(left @ 1..) => Self::Owned {
                browser,
                edge: u32::try_from(left).map_or(edge, |left| edge.min(left)),
            },
            _ => Self::Private { browser },
        }
    }
}

/// What is not there, which may be made at any moment: its making purges it, and ten seconds heal what that misses.
pub(crate) const NOT_FOUND: Policy = Policy::Brief { seconds: 10 };

/// Sets the fields that caches read. What is for everyone says `public`, without which a cache keeps no answer to a request
/// that showed a token (RFC 9111 section 3.5).
pub(crate) fn cache_headers(headers: &mut HeaderMap, policy: &Policy, tags: &[String]) {
    let (everyone, edge) = match policy {
        Policy::Public { browser, edge } => (
            format!("public, max-age={browser}"),
            Some(format!(
                "public, max-age={edge}, stale-while-revalidate=60, stale-if-error=600"
            )),
        ),
        Policy::Brief { seconds } => (
            format!("public, max-age={seconds}"),
            Some(format!("public, max-age={seconds}")),
        ),
        Policy::Private { browser } => {
            // A browser may be another's next.
            headers.insert(header::VARY, HeaderValue::from_static("authorization"));
            (format!("private, max-age={browser}"), None)
        }
        Policy::Owned { browser, edge } => {
            let owned = format!("public, max-age={edge}");
            headers.insert(TIDEGATE_CACHE_CONTROL, ascii(owned));
            headers.insert(header::VARY, HeaderValue::from_static("authorization"));
            (format!("private, max-age={browser}"), None)
        }
        Policy::NoStore => ("no-store".to_owned(), None),
    };
    headers.insert(header::CACHE_CONTROL, ascii(everyone));
    if let Some(edge) = edge {
        headers.insert(CDN_CACHE_CONTROL, ascii(edge));
    }
    if !tags.is_empty() {
        headers.insert(SURROGATE_KEY, ascii(tags.join(" ")));
    }
}

/// A tag of one kind and value. What is not unreserved in a URI (RFC 3986 section 2.3) is percent-encoded, as the SQL
/// function `tidegate_tag` does it.
pub(crate) fn tag(kind: &str, value: impl std::fmt::Display) -> String {
    format!("{kind}:{}", encoded(&value.to_string()))
}

/// A text of which what is not unreserved in a URI is percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes what is written");
        }
    }
    encoded
}

/// What a GET answers with.
pub(crate) struct Representation {
    body: Bytes,
    etag: Option<String>,
    policy: Policy,
    tags: Vec<String>,
    modified: Option<OffsetDateTime>,
    link: Option<HeaderValue>,
}

impl Representation {
    /// The value as JSON, stored by nobody until `policy` says otherwise.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            body: json(value)?,
            etag: None,
            policy: Policy::NoStore,
            tags: Vec::new(),
            modified: None,
            link: None,
        })
    }

    /// Another validator than the body makes, such as a revision.
    pub(crate) fn etag(mut self, etag: String) -> Self {
        self.etag = Some(etag);
        self
    }

    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub(crate) fn tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags.extend(tags);
        self
    }

    pub(crate) fn modified(mut self, modified: OffsetDateTime) -> Self {
        self.modified = Some(modified);
        self
    }

    /// Where the pages beside this one are.
    pub(crate) fn link(mut self, link: HeaderValue) -> Self {
        self.link = Some(link);
        self
    }

    /// 200 with the body, or 304 when the client says that it has it (RFC 9110 section 13.1.2).
    ///
    /// `If-Modified-Since` is left aside: a second is too coarse for data that may change twice within it.
    pub(crate) fn answer(self, request: &HeaderMap) -> Response {
        let etag = self.etag.unwrap_or_else(|| etag_of(&self.body));
        let unchanged = listed(request, &header::IF_NONE_MATCH)
            .is_some_and(|tags| tags.iter().any(|tag| names(tag, &etag)));
        let mut response = if unchanged {
            Response::new(Body::empty())
        } else {
            Response::new(Body::from(self.body))
        };
        let headers = response.headers_mut();
        cache_headers(headers, &self.policy, &self.tags);
        headers.insert(header::ETAG, ascii(etag));
        if let Some(link) = self.link {
            headers.insert(header::LINK, link);
        }
        if let Some(modified) = self.modified {
            headers.insert(
                header::LAST_MODIFIED,
                ascii(httpdate::fmt_http_date(modified.into())),
            );
        }
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        response
    }
}

/// The answer to a write: the value as JSON, stored by nobody.
pub(crate) fn written(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let mut response = Response::new(Body::from(json(value)?));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    cache_headers(response.headers_mut(), &Policy::NoStore, &[]);
    Ok(response)
}

/// The answer to a write after which a GET shows the value: with the validator that the GET has (RFC 9110 section 8.8.3),
/// so that the next write may demand that nobody else wrote in between.
pub(crate) fn changed(value: &impl Serialize) -> Result<Response, Problem> {
    represented(StatusCode::OK, value)
}

/// The answer to a write that made something, which is now at `location`.
pub(crate) fn created(location: String, value: &impl Serialize) -> Result<Response, Problem> {
    let mut response = represented(StatusCode::CREATED, value)?;
    response
        .headers_mut()
        .insert(header::LOCATION, ascii(location));
    Ok(response)
}

fn represented(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let mut response = written(status, value)?;
    response
        .headers_mut()
        .insert(header::ETAG, ascii(etag(value)?));
    Ok(response)
}

/// The validator of the value's representation.
pub(crate) fn etag(value: &impl Serialize) -> Result<String, Problem> {
    Ok(etag_of(&json(value)?))
}

fn etag_of(body: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(body).to_hex()[..32])
}

/// The answer to a write that leaves nothing to show.
pub(crate) fn gone() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cache_headers(response.headers_mut(), &Policy::NoStore, &[]);
    response
}

fn json(value: &impl Serialize) -> Result<Bytes, Problem> {
    // Our types have string keys and finite numbers; a date beyond the year 9999 is what can fail.
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Problem::invalid(error.to_string()))
}

fn ascii(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("made of digits, fixed words and percent-encoded keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::access::Role;

    #[test]
    fn a_tag_is_one_word_whatever_the_key() {
        for (key, expected) in [
            ("17", "document:17"),
            ("a-b_c.d~e", "document:a-b_c.d~e"),
            ("a b,c/d", "document:a%20b%2Cc%2Fd"),
            ("100%", "document:100%25"),
            ("ü", "document:%C3%BC"),
            ("", "document:"),
        ] {
            assert_eq!(tag("document", key), expected);
        }
    }

    #[test]
    fn nothing_is_kept_for_longer_than_its_owners_token_is_good() {
        let now = OffsetDateTime::from_unix_timestamp(1_000).expect("it is a moment");
        for (until, kept) in [
            (None, None),
            (Some(999), None),
            (Some(1_000), None),
            (Some(1_010), Some("public, max-age=10")),
            (Some(1_400), Some("public, max-age=300")),
            (Some(i64::MAX), Some("public, max-age=300")),
        ] {
            let asker = Asker {
                id: 7,
                role: Role::Student,
                until,
            };
            let mut headers = HeaderMap::new();
            cache_headers(&mut headers, &Policy::of_owner(asker, now, 30, 300), &[]);
            let field = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(field(&TIDEGATE_CACHE_CONTROL), kept, "{until:?}");
            assert_eq!(field(&header::VARY), Some("authorization"));
            assert_eq!(field(&header::CACHE_CONTROL), Some("private, max-age=30"));
            assert_eq!(field(&CDN_CACHE_CONTROL), None);
        }
    }
}
