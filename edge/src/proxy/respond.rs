//! How a stored response becomes an answer: whole, 304, or a part (RFC 9110 §13-14).

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tidegate_semantics::{
    CacheStatus, ContentRange, Precondition, Selection, Terms, Timestamp, evaluate,
    not_modified_headers, select, select_part,
};

use super::encoding::choose_coding;
use super::{Answer, CACHE_STATUS, Proxy};
use crate::body::Body;
use crate::cache::{Content, Entry, Key, Parts, Tier};
use crate::error::problem;
use crate::exchange::Exchange;
use crate::telemetry::Outcome;

/// How many fields of ours an answer has beside those that are stored, about.
const OUR_FIELDS: usize = 3;

impl Proxy {
    /// A fresh stored response.
    pub(super) fn hit(
        &self,
        exchange: &Exchange,
        key: Key,
        entry: &Arc<Entry>,
        tier: Tier,
    ) -> Answer {
        let status = hit_status(&entry.terms, exchange.now, tier.name());
        let head = self
            .cache
            .head(key, entry, tier, exchange.now.0 / 1000, || {
                self.render(entry, exchange.now, &status)
            });
        Answer {
            response: self.answer_from(exchange, key, entry, head),
            status,
            is_told: true,
            outcome: match tier {
                Tier::Hot => Outcome::HitHot,
                Tier::Memory => Outcome::HitMemory,
                Tier::Regional => Outcome::HitRegional,
            },
        }
    }

    /// A stale stored response, and the name of what allows it.
    pub(super) fn stale(
        &self,
        exchange: &Exchange,
        key: Key,
        entry: &Arc<Entry>,
        now: Timestamp,
        detail: &'static str,
    ) -> Answer {
        let status = hit_status(&entry.terms, now, detail);
        self.stored(exchange, (key, entry), now, status, Outcome::Stale)
    }

    /// A stored response as old as it is at `now`, for a reason that `status` tells.
    pub(super) fn stored(
        &self,
        exchange: &Exchange,
        (key, entry): (Key, &Arc<Entry>),
        now: Timestamp,
        status: CacheStatus,
        outcome: Outcome,
    ) -> Answer {
        let head = self.render(entry, now, &status);
        Answer {
            response: self.answer_from(exchange, key, entry, head),
            status,
            is_told: true,
            outcome,
        }
    }

    fn render(&self, entry: &Entry, now: Timestamp, status: &CacheStatus) -> HeaderMap {
        let mut head = entry.fields.headers(OUR_FIELDS);
        head.insert(AGE, HeaderValue::from(entry.terms.age(now).as_secs()));
        let told = if self.settings.tells_key {
            let key = Some(entry.marks.url().to_owned());
            &CacheStatus {
                key,
                ..status.clone()
            }
        } else {
            status
        };
        head.append(CACHE_STATUS, told.to_header_value(&self.settings.name));
        head
    }

    /// Answers the client's conditions and ranges out of a stored response.
    fn answer_from(
        &self,
        exchange: &Exchange,
        key: Key,
        entry: &Entry,
        mut head: HeaderMap,
    ) -> Response<Body> {
        let request = &exchange.headers;
        // The head has what is stored, until a coding is described in it.
        let precondition = evaluate(request, &exchange.method, entry.status, &head);
        let coding = choose_coding(exchange, entry, &mut head);
        if precondition == Precondition::NotModified {
            return not_modified(&head);
        }
        let body = match &entry.content {
            Content::Whole(body) => body,
            Content::Parts(parts) => return stored_part(exchange, entry, parts, head),
        };
        if let Some(coding) = coding {
            return self.encoded(exchange, (key, entry), body, coding, head);
        }
        let length = body.len() as u64;
        match select(&exchange.method, request, entry.status, &head, length) {
            Selection::Whole => whole(&exchange.method, entry.status, body.clone(), head),
            Selection::One(range) => one_part(part(body, &range), &range, Some(length), head),
            Selection::Many(ranges) => many_parts(body, &ranges, head),
            Selection::Unsatisfiable => {
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                let headers = response.headers_mut();
                headers.insert(CONTENT_RANGE, ContentRange::unsatisfied(length));
                copy_cache_fields(&head, headers);
                response
            }
        }
    }
}

fn hit_status(terms: &Terms, now: Timestamp, detail: &'static str) -> CacheStatus {
    CacheStatus {
        hit: true,
        ttl: Some(terms.ttl(now)),
        detail: Some(detail),
        ..CacheStatus::default()
    }
}

/// Whether what is stored of a response suffices for a request: all of it does for any, a part for
/// those that want no more, or only want to know whether it changed.
pub(super) fn serves(entry: &Entry, exchange: &Exchange) -> bool {
    match &entry.content {
        Content::Whole(_) => true,
        Content::Parts(parts) => {
            wanted_part(exchange, entry, parts).is_some()
                || evaluate(
                    &exchange.headers,
                    &exchange.method,
                    entry.status,
                    &entry.headers(),
                ) == Precondition::NotModified
        }
    }
}

/// The part that a request wants, if it is here.
fn wanted_part(
    exchange: &Exchange,
    entry: &Entry,
    parts: &Parts,
) -> Option<(RangeInclusive<u64>, Bytes)> {
    let (method, request) = (&exchange.method, &exchange.headers);
    let range = select_part(method, request, &entry.headers(), parts.complete)?;
    let bytes = entry.content.slice(&range)?;
    Some((range, bytes))
}

/// An answer out of a response of which only parts are stored.
fn stored_part(
    exchange: &Exchange,
    entry: &Entry,
    parts: &Parts,
    head: HeaderMap,
) -> Response<Body> {
    match wanted_part(exchange, entry, parts) {
        Some((range, bytes)) => one_part(bytes, &range, parts.complete, head),
        // Nobody gets here without having asked `serves`. It is no error of the client's, nor the
        // origin's.
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "no such part is stored"),
    }
}

/// What a 304 carries of a head, and what we say of the cache (RFC 9110 §15.4.5).
pub(super) fn not_modified(head: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = not_modified_headers(head);
    copy_cache_fields(head, response.headers_mut());
    response
}

fn copy_cache_fields(head: &HeaderMap, headers: &mut HeaderMap) {
    if let Some(age) = head.get(AGE) {
        headers.insert(AGE, age.clone());
    }
    headers.remove(&CACHE_STATUS);
    for status in head.get_all(CACHE_STATUS) {
        headers.append(CACHE_STATUS, status.clone());
    }
}

fn whole(method: &Method, status: StatusCode, body: Bytes, head: HeaderMap) -> Response<Body> {
    let length = body.len();
    let mut response = if method == Method::HEAD {
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = head;
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    } else {
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = head;
        response
    };
    *response.status_mut() = status;
    response
}

fn one_part(
    bytes: Bytes,
    range: &RangeInclusive<u64>,
    complete: Option<u64>,
    head: HeaderMap,
) -> Response<Body> {
    let content_range = ContentRange {
        first: *range.start(),
        last: *range.end(),
        complete,
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = head;
    let headers = response.headers_mut();
    headers.insert(CONTENT_RANGE, content_range.to_header_value());
    response
}

/// `multipart/byteranges` (RFC 9110 §14.6).
fn many_parts(whole: &Bytes, ranges: &[RangeInclusive<u64>], head: HeaderMap) -> Response<Body> {
    // Random, so that no body can contain it on purpose.
    let boundary = format!("{:016x}", crate::random::word());
    let mut body = BytesMut::new();
    for range in ranges {
        body.put_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(content_type) = head.get(CONTENT_TYPE) {
            body.put_slice(b"Content-Type: ");
            body.put_slice(content_type.as_bytes());
            body.put_slice(b"\r\n");
        }
        let content_range = content_range(range, whole.len());
        body.put_slice(format!("Content-Range: {content_range}\r\n\r\n").as_bytes());
        body.put_slice(&part(whole, range));
    }
    body.put_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let mut response = Response::new(Body::from(body.freeze()));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = head;
    let content_type = value(&format!("multipart/byteranges; boundary={boundary}"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// `select` yields ranges inside the body only.
fn part(body: &Bytes, range: &RangeInclusive<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).expect("an offset into a body in memory fits");
    body.slice(at(*range.start())..=at(*range.end()))
}

fn content_range(range: &RangeInclusive<u64>, length: usize) -> String {
    format!("bytes {}-{}/{length}", range.start(), range.end())
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of visible characters")
}
