//! How a response is written between processes: a version, a checksum, lengths before everything.
//!
//! How new a response is stands at a fixed place ([`RECENCY`]), so that Redis can compare two without
//! reading either. An unknown version, a wrong checksum or anything out of bounds is no response: a
//! miss.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_semantics::{Basis, Terms, Timestamp, Vary};

use crate::content::Content;
use crate::fields::Fields;
use crate::recency::Recency;
use crate::response::{Given, Stored};

/// The version of the encoding; any other is not read.
pub const VERSION: u8 = 4;
const CHECKSUM: usize = 16;
/// A body is this many times as large as what is kept in memory with it, or is copied.
const SLICED: usize = 32;
/// Where the [`Recency`] of what is written stands: behind the version, the checksum and the kind.
pub const RECENCY: Range<usize> = 18..18 + Recency::BYTES;

/// What stands under a key between processes.
pub enum Encoded {
    /// The response itself, and its URL as the purge log names it (`authority/path?query`).
    Response(Box<Stored>, String),
    /// The response depends on these request fields; each variant has a key of its own.
    Varies(Vec<HeaderName>),
}

const RESPONSE: u8 = 0;
const VARIES: u8 = 1;

/// Writes a whole response with its URL; `None` for parts, which stay in their process.
pub fn encode(stored: &Stored, url: &str) -> Option<Vec<u8>> {
    let body = stored.content.whole()?;
    let mut out = Writer::new(RESPONSE, Recency::of(stored));
    out.text(url.as_bytes());
    out.number(stored.status.as_u16().into());
    let terms = &stored.terms;
    out.number(terms.born.0);
    for duration in [
        terms.lifetime,
        terms.stale_while_revalidate,
        terms.stale_if_error,
    ] {
        out.duration(duration);
    }
    out.number(terms.must_revalidate.into());
    out.number(terms.always_validate.into());
    out.number(terms.basis.number().into());
    out.number(stored.fields.tags().count() as u64);
    for tag in stored.fields.tags() {
        out.text(tag.as_bytes());
    }
    out.number(stored.vary.fields.len() as u64);
    for (name, value) in &stored.vary.fields {
        out.text(name.as_str().as_bytes());
        out.number(value.is_some().into());
        out.text(value.as_deref().unwrap_or_default());
    }
    let fields = &stored.fields;
    out.fields(|| fields.headers_as_written());
    out.fields(|| fields.hidden_as_written());
    let given = stored.given();
    for duration in [
        given.ttl,
        given.stale_while_revalidate,
        given.stale_if_error,
    ] {
        out.number(duration.is_some().into());
        out.duration(duration.unwrap_or_default());
    }
    out.text(body);
    Some(out.finish())
}

/// Writes the names of the request fields on which a response depends, and how new that one is.
pub fn encode_varies<'a>(names: impl Iterator<Item = &'a HeaderName>, recency: Recency) -> Vec<u8> {
    let names: Vec<_> = names.collect();
    let mut out = Writer::new(VARIES, recency);
    out.number(names.len() as u64);
    for name in names {
        out.text(name.as_str().as_bytes());
    }
    out.finish()
}

/// Reads either; `None` for whatever this version does not understand.
pub fn decode(bytes: &Bytes) -> Option<Encoded> {
    let mut input = Reader::open(bytes)?;
    let kind = input.byte()?;
    let recency = input.recency()?;
    match kind {
        RESPONSE => input
            .response(recency)
            .map(|(stored, url)| Encoded::Response(Box::new(stored), url)),
        VARIES => {
            let names = (0..input.count()?).map(|_| input.name());
            Some(Encoded::Varies(names.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8, recency: Recency) -> Writer {
        let mut bytes = vec![VERSION];
        bytes.extend([0; CHECKSUM]);
        bytes.push(kind);
        bytes.extend(recency.to_bytes());
        Writer(bytes)
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend(text);
    }

    fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn fields<'a, I: Iterator<Item = (&'a str, &'a [u8])>>(&mut self, fields: impl Fn() -> I) {
        self.number(fields().count() as u64);
        for (name, value) in fields() {
            self.text(name.as_bytes());
            self.text(value);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let checksum = blake3::hash(&self.0[1 + CHECKSUM..]);
        self.0[1..=CHECKSUM].copy_from_slice(&checksum.as_bytes()[..CHECKSUM]);
        self.0
    }
}

struct Reader<'a> {
    whole: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn open(whole: &'a Bytes) -> Option<Reader<'a>> {
        let (version, rest) = whole.split_first()?;
        let (checksum, rest) = rest.split_at_checked(CHECKSUM)?;
        let right = *version == VERSION && blake3::hash(rest).as_bytes()[..CHECKSUM] == *checksum;
        right.then_some(Reader { whole, rest })
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A number of things, each of at least eight bytes.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.rest.len() / 8).then_some(count)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }

    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.text()?).ok()
    }

    fn duration(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(self.number()?))
    }

    fn optional_duration(&mut self) -> Option<Option<Duration>> {
        let is_there = self.number()? == 1;
        let duration = self.duration()?;
        Some(is_there.then_some(duration))
    }

    /// A field that selects a variant.
    fn selecting(&mut self) -> Option<(HeaderName, Option<Vec<u8>>)> {
        let name = self.name()?;
        let is_present = self.number()? == 1;
        let value = self.text()?.to_vec();
        Some((name, is_present.then_some(value)))
    }

    fn fields(&mut self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        for _ in 0..self.count()? {
            // No copies: they are copied into one piece when all of them have been read.
            let value = |text| HeaderValue::from_maybe_shared(self.whole.slice_ref(text)).ok();
            let (name, value) = (self.name()?, value(self.text()?)?);
            fields.try_append(name, value).ok()?;
        }
        Some(fields)
    }

    /// A slice of all that was read, unless what that would keep in memory beside it is worth a copy.
    fn body(&mut self) -> Option<Bytes> {
        let body = self.text()?;
        let beside = self.whole.len() - body.len();
        Some(if beside > body.len() / SLICED {
            Bytes::copy_from_slice(body)
        } else {
            self.whole.slice_ref(body)
        })
    }

    fn recency(&mut self) -> Option<Recency> {
        Some(Recency::from_bytes(
            self.take(Recency::BYTES)?.try_into().ok()?,
        ))
    }

    fn response(&mut self, recency: Recency) -> Option<(Stored, String)> {
        let url = self.string()?;
        let status = StatusCode::from_u16(u16::try_from(self.number()?).ok()?).ok()?;
        let born = Timestamp(self.number()?);
        let lifetime = self.duration()?;
        let stale_while_revalidate = self.duration()?;
        let stale_if_error = self.duration()?;
        let must_revalidate = self.number()? == 1;
        let always_validate = self.number()? == 1;
        let basis = Basis::from_number(u8::try_from(self.number()?).ok()?)?;
        let tags = (0..self.count()?)
            .map(|_| self.string())
            .collect::<Option<Vec<_>>>()?;
        let fields = (0..self.count()?).map(|_| self.selecting());
        let vary = Vary {
            fields: fields.collect::<Option<_>>()?,
        };
        let headers = self.fields()?;
        let hidden = self.fields()?;
        let given = Given {
            ttl: self.optional_duration()?,
            stale_while_revalidate: self.optional_duration()?,
            stale_if_error: self.optional_duration()?,
        };
        let body = self.body()?;
        let stored = Stored {
            status,
            fields: Fields::new(&headers, &hidden, &tags),
            given: given.stored(),
            content: Content::Whole(body),
            terms: Terms {
                born,
                lifetime,
                stale_while_revalidate,
                stale_if_error,
                must_revalidate,
                always_validate,
                basis,
            },
            vary,
            fence: recency.fence,
            fetched_at: recency.fetched_at,
        };
        self.rest.is_empty().then_some((stored, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn response() -> Stored {
        let mut headers = HeaderMap::new();
        headers.append(
            "x-bytes",
            HeaderValue::from_bytes(b"\xff obs-text").expect("a value"),
        );
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        let hidden = HeaderMap::from_iter([(
            HeaderName::from_static("surrogate-key"),
            HeaderValue::from_static("one two"),
        )]);
        let fields = [
            (http::header::ACCEPT, None),
            (http::header::ACCEPT_LANGUAGE, Some(b"de".to_vec())),
        ];
        let vary = Vary {
            fields: fields.into(),
        };
        Stored {
            status: StatusCode::from_u16(299).expect("a status"),
            fields: Fields::new(&headers, &hidden, &["one", "two"]),
            given: Given {
                ttl: Some(Duration::from_secs(7)),
                stale_while_revalidate: None,
                stale_if_error: Some(Duration::from_secs(8)),
            }
            .stored(),
            content: Content::Whole(Bytes::from_static(b"hello")),
            terms: Terms {
                born: Timestamp(1_700_000_000_000),
                lifetime: Duration::from_secs(60),
                stale_while_revalidate: Duration::from_millis(1_500),
                stale_if_error: Duration::ZERO,
                must_revalidate: true,
                always_validate: false,
                basis: Basis::Heuristic,
            },
            vary,
            fence: Position { epoch: 9, seq: 42 },
            fetched_at: Timestamp(1_700_000_000_001),
        }
    }

    fn written() -> Vec<u8> {
        encode(&response(), "example.org/a?b").expect("it is whole")
    }

    #[test]
    fn a_response_comes_back_as_it_was() {
        let stored = response();
        let Some(Encoded::Response(read, url)) = decode(&written().into()) else {
            panic!("what was written can be read");
        };
        assert_eq!(read.status, stored.status);
        assert_eq!(read.fields, stored.fields);
        assert_eq!(read.given, stored.given);
        assert_eq!(read.content, stored.content);
        assert_eq!(read.terms, stored.terms);
        assert_eq!(read.vary, stored.vary);
        assert_eq!(read.fence, stored.fence);
        assert_eq!(read.fetched_at, stored.fetched_at);
        assert_eq!(url, "example.org/a?b");
    }

    #[test]
    fn the_names_of_varying_fields_come_back() {
        let names = [http::header::ACCEPT, http::header::COOKIE];
        let written = encode_varies(names.iter(), Recency::of(&response()));
        let Some(Encoded::Varies(names)) = decode(&written.into()) else {
            panic!("what was written can be read");
        };
        assert_eq!(names, [http::header::ACCEPT, http::header::COOKIE]);
    }

    #[test]
    fn how_new_it_is_stands_in_its_place() {
        let recency = Recency::of(&response());
        let names = [http::header::ACCEPT];
        for written in [written(), encode_varies(names.iter(), recency)] {
            assert_eq!(written[RECENCY], recency.to_bytes());
        }
    }

    #[test]
    fn a_small_body_does_not_keep_what_was_read_with_it() {
        for (length, is_copied) in [(5, true), (100_000, false)] {
            let stored = Stored {
                content: Content::Whole(vec![b'a'; length].into()),
                ..response()
            };
            let written = Bytes::from(encode(&stored, "example.org/").expect("it is whole"));
            let Some(Encoded::Response(read, _)) = decode(&written) else {
                panic!("what was written can be read");
            };
            let body = read.content.whole().expect("it is whole");
            assert_eq!(body.len(), length);
            let is_slice = written.as_ptr_range().contains(&body.as_ptr());
            assert_eq!(is_slice, !is_copied, "{length}");
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_no_entry() {
        let written = written();
        for length in 0..written.len() {
            let cut = Bytes::copy_from_slice(&written[..length]);
            assert!(decode(&cut).is_none(), "cut to {length}");
        }
        for at in 0..written.len() {
            let mut changed = written.clone();
            changed[at] ^= 1;
            assert!(decode(&changed.into()).is_none(), "changed at {at}");
        }
    }

    #[test]
    fn the_fuzz_target_starts_from_what_can_be_read() {
        // Without such seeds it would hardly ever get behind the first length.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/codec");
        for name in ["response", "varies"] {
            let seed = std::fs::read(format!("{folder}/{name}")).expect("the seed is there");
            let mut sealed = vec![VERSION];
            sealed.extend_from_slice(&blake3::hash(&seed).as_bytes()[..CHECKSUM]);
            sealed.extend_from_slice(&seed);
            assert!(decode(&sealed.into()).is_some(), "{name}");
        }
    }
}
