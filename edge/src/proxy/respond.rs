//! How a stored response becomes an answer: whole, 304, or a part (RFC 9110 §13-14).

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tidegate_semantics::{
    CacheStatus, Precondition, Selection, Terms, Timestamp, evaluate, has_dated_range,
    not_modified_headers, select,
};

use super::encoding::{Form, choose_form};
use super::{Answer, CACHE_STATUS, Proxy};
use crate::body::Body;
use crate::cache::{Entry, Key, Tier};
use crate::exchange::Exchange;
use crate::telemetry::Outcome;

impl Proxy {
    /// A fresh stored response.
    pub(super) fn hit(
        &self,
        exchange: &Exchange,
        key: Key,
        entry: &Arc<Entry>,
        tier: Tier,
    ) -> Answer {
        let head = self
            .cache
            .head(key, entry, tier, exchange.now.0 / 1000, || {
                let status = hit_status(&entry.terms, exchange.now, tier.name());
                self.render(entry, exchange.now, &status)
            });
        Answer {
            response: self.answer_from(exchange, entry, head),
            status: None,
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
        entry: &Arc<Entry>,
        detail: &'static str,
    ) -> Answer {
        let status = hit_status(&entry.terms, exchange.now, detail);
        Answer {
            response: self.answer_from(exchange, entry, self.render(entry, exchange.now, &status)),
            status: None,
            outcome: Outcome::Stale,
        }
    }

    /// A stored response for a reason that `status` tells.
    pub(super) fn stored(
        &self,
        exchange: &Exchange,
        entry: &Arc<Entry>,
        status: &CacheStatus,
        outcome: Outcome,
    ) -> Answer {
        Answer {
            response: self.answer_from(exchange, entry, self.render(entry, exchange.now, status)),
            status: None,
            outcome,
        }
    }

    fn render(&self, entry: &Entry, now: Timestamp, status: &CacheStatus) -> HeaderMap {
        let mut head = entry.headers.clone();
        head.insert(AGE, HeaderValue::from(entry.terms.age(now).as_secs()));
        head.append(CACHE_STATUS, status.to_header_value(&self.settings.name));
        head
    }

    /// Answers the client's conditions and ranges out of a stored response.
    fn answer_from(
        &self,
        exchange: &Exchange,
        entry: &Entry,
        mut head: HeaderMap,
    ) -> Response<Body> {
        let request = &exchange.headers;
        let form = choose_form(exchange, entry, &mut head);
        if evaluate(request, &exchange.method, entry.status, &entry.headers)
            == Precondition::NotModified
        {
            return not_modified(&head);
        }
        if let Form::Encoded(coding) = form {
            return self.encoded(exchange, entry, coding, head);
        }
        let length = entry.body.len() as u64;
        let selection = match form {
            Form::Identity if has_dated_range(request) => Selection::Whole,
            _ => select(
                &exchange.method,
                request,
                entry.status,
                &entry.headers,
                length,
            ),
        };
        match selection {
            Selection::Whole => whole(&exchange.method, entry.status, entry.body.clone(), head),
            Selection::One(range) => one_part(entry, &range, head),
            Selection::Many(ranges) => many_parts(entry, &ranges, head),
            Selection::Unsatisfiable => {
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                let complete = format!("bytes */{length}");
                let headers = response.headers_mut();
                headers.insert(CONTENT_RANGE, value(&complete));
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

fn one_part(entry: &Entry, range: &RangeInclusive<u64>, head: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::from(part(&entry.body, range)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = head;
    let content_range = value(&content_range(range, entry.body.len()));
    response.headers_mut().insert(CONTENT_RANGE, content_range);
    response
}

/// `multipart/byteranges` (RFC 9110 §14.6).
fn many_parts(entry: &Entry, ranges: &[RangeInclusive<u64>], head: HeaderMap) -> Response<Body> {
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
        let content_range = content_range(range, entry.body.len());
        body.put_slice(format!("Content-Range: {content_range}\r\n\r\n").as_bytes());
        body.put_slice(&part(&entry.body, range));
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
