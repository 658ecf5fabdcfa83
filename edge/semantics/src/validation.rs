//! Validators and conditions: asking the origin whether a stored response still holds, renewing it with the answer, and
//! answering a client's own conditions (RFC 9111 §4.3, RFC 9110 §8.8 and §13).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::fields;
use crate::time::{Timestamp, parse_date};

/// An entity tag, taken apart (RFC 9110 §8.8.3). A tag without its quotes is taken as it is: it equals itself only.
#[derive(Clone, Copy)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (weak, opaque) = match value.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, value),
        };
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    /// The tag of a response, if it has one.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::ETAG)?.as_bytes())
    }

    /// Strong comparison (RFC 9110 §8.8.3.2).
    pub(crate) fn is_strongly(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (RFC 9110 §8.8.3.2).
    fn is_weakly(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// When the response says it was last modified; `None` when it does not, or not validly.
fn last_modified(headers: &HeaderMap) -> Option<Timestamp> {
    parse_date(fields::only(headers, &header::LAST_MODIFIED)?)
}

/// Whether a stored response can be validated: it has an `ETag`, or a valid `Last-Modified`.
#[must_use]
pub fn has_validator(stored: &HeaderMap) -> bool {
    EntityTag::of(stored).is_some() || last_modified(stored).is_some()
}

/// Turns a request into one that validates `stored`: the client's conditions and ranges go, and the stored `ETag` (a
/// weak one too) and `Last-Modified` take their place (RFC 9111 §4.3.1).
pub fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) {
    drop_conditions(request);
    if EntityTag::of(stored).is_some()
        && let Some(tag) = stored.get(header::ETAG)
    {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if last_modified(stored).is_some()
        && let Some(date) = stored.get(header::LAST_MODIFIED)
    {
        request.insert(header::IF_MODIFIED_SINCE, date.clone());
    }
}

/// Removes conditions and ranges: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `If-Range`
/// and `Range`.
pub fn drop_conditions(request: &mut HeaderMap) {
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ] {
        request.remove(name);
    }
}

/// Whether a 304 speaks of the stored response (RFC 9111 §4.3.4): a strong `ETag` must be the stored one exactly, a weak
/// one weakly, a `Last-Modified` alone must be the stored one. A 304 without validators speaks of the response that was
/// asked about.
#[must_use]
pub fn confirms(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let dates_agree = || match last_modified(not_modified) {
        Some(date) => last_modified(stored) == Some(date),
        None => true,
    };
    let Some(tag) = EntityTag::of(not_modified) else {
        return dates_agree();
    };
    EntityTag::of(stored).is_some_and(|kept| {
        if tag.weak {
            tag.is_weakly(kept)
        } else {
            tag.is_strongly(kept)
        }
    })
}

/// Whether the 200 to a HEAD agrees with the stored GET response, so that it may renew it like a 304: the validators it
/// has and its `Content-Length` are the stored ones. If not, the stored response is stale (RFC 9111 §4.3.5).
#[must_use]
pub fn head_agrees(stored: &HeaderMap, head: &HeaderMap) -> bool {
    let agrees = |name: HeaderName| match head.get(&name) {
        Some(value) => stored.get(&name) == Some(value),
        None => true,
    };
    agrees(header::ETAG) && agrees(header::LAST_MODIFIED) && agrees(header::CONTENT_LENGTH)
}

/// The stored fields, renewed by those of a 304 that [`confirms`] them (RFC 9111 §3.2, §4.3.4).
///
/// A field of the 304 replaces the stored one with all its lines; fields absent from it stay. `Content-Length`,
/// `Content-Encoding`, `Content-Type` and `Content-Range` describe the stored body and never change. `Age` and `Date`
/// belong to the message rather than to the representation, so the stored ones go even when the 304 has none: with them
/// the renewed response would look as old as the first.
#[must_use]
pub fn merge_not_modified(stored: &HeaderMap, fresh: &HeaderMap) -> HeaderMap {
    let mut fresh = fresh.clone();
    fields::strip_hop_by_hop(&mut fresh);
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ] {
        fresh.remove(name);
    }
    let mut merged = stored.clone();
    merged.remove(header::AGE);
    merged.remove(header::DATE);
    for name in fresh.keys() {
        merged.remove(name);
    }
    for (name, value) in &fresh {
        merged.append(name, value.clone());
    }
    merged
}

/// What a client's conditions say of a stored response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// There are none that apply: serve the response.
    None,
    /// The client has it already: answer 304 with [`not_modified_headers`].
    NotModified,
    /// `If-Match` or `If-Unmodified-Since`: only the origin can tell whether they fail, so the request is forwarded as it
    /// is, not answered from the store (RFC 9111 §4.3.2).
    Failed,
}

/// Evaluates a client's conditions against a fresh stored response (RFC 9111 §4.3.2, RFC 9110 §13.2.2).
///
/// `If-None-Match` wins over `If-Modified-Since`. Only GET and HEAD are answered, and only of a stored 2xx.
#[must_use]
pub fn evaluate(
    request: &HeaderMap,
    method: &Method,
    status: StatusCode,
    stored: &HeaderMap,
) -> Precondition {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Precondition::None;
    }
    if request.contains_key(header::IF_MATCH) || request.contains_key(header::IF_UNMODIFIED_SINCE) {
        return Precondition::Failed;
    }
    if !status.is_success() {
        return Precondition::None;
    }
    let client_has_it = if request.contains_key(header::IF_NONE_MATCH) {
        names_stored_tag(request, stored)
    } else {
        is_unmodified_since(request, stored)
    };
    if client_has_it {
        Precondition::NotModified
    } else {
        Precondition::None
    }
}

/// Weak comparison with any member of the list; `*` means whatever there is (RFC 9110 §13.1.2).
fn names_stored_tag(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let tag = EntityTag::of(stored);
    fields::list(request, &header::IF_NONE_MATCH).any(|member| {
        member == b"*"
            || EntityTag::parse(member)
                .zip(tag)
                .is_some_and(|(asked, kept)| asked.is_weakly(kept))
    })
}

/// `If-Modified-Since` is no earlier than the stored `Last-Modified`, or `Date` where there is none; a value that is no
/// date, or not the only one, is ignored (RFC 9111 §4.3.2, RFC 9110 §13.1.3).
fn is_unmodified_since(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let asked = fields::only(request, &header::IF_MODIFIED_SINCE).and_then(parse_date);
    let Some(asked) = asked else { return false };
    let modified = if stored.contains_key(header::LAST_MODIFIED) {
        last_modified(stored)
    } else {
        fields::only(stored, &header::DATE).and_then(parse_date)
    };
    modified.is_some_and(|modified| modified <= asked)
}

/// The fields of a 304 of ours: the stored ones without those that describe the body it does not have. `Last-Modified`
/// too goes where an `ETag` says more (RFC 9110 §15.4.5).
#[must_use]
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    fields::strip_hop_by_hop(&mut headers);
    for name in [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("repr-digest"),
    ] {
        headers.remove(name);
    }
    if EntityTag::of(stored).is_some() {
        headers.remove(header::LAST_MODIFIED);
    }
    headers
}

/// The `Last-Modified` of a response, if it is strong: at least a second before its `Date` (RFC 9110 §8.8.2.2).
pub(crate) fn strong_last_modified(headers: &HeaderMap) -> Option<Timestamp> {
    let date = fields::only(headers, &header::DATE).and_then(parse_date)?;
    last_modified(headers).filter(|modified| *modified < date)
}

/// Whether an `If-Range` value names the stored representation: by its strong `ETag`, or by a `Last-Modified` that is
/// strong because it lies at least a second before `Date` (RFC 9110 §13.1.5, §8.8.2.2).
pub(crate) fn is_unchanged_for_range(condition: &HeaderValue, stored: &HeaderMap) -> bool {
    let condition = condition.as_bytes();
    if let Some(asked) = parse_date(condition) {
        return strong_last_modified(stored) == Some(asked);
    }
    EntityTag::parse(condition)
        .zip(EntityTag::of(stored))
        .is_some_and(|(asked, kept)| asked.is_strongly(kept))
}
