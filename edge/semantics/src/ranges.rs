//! Parts of a stored representation (RFC 9110 §14).

use std::ops::RangeInclusive;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::fields;
use crate::validation::is_unchanged_for_range;

/// More ranges than this in one request are not served as such (RFC 9110 §14.2, §17.15).
pub const MOST_RANGES: usize = 16;

/// Which part of a stored representation a request asks for. Ranges are of byte positions, both ends included, and lie
/// within the representation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// One part: 206 with `Content-Range`.
    One(RangeInclusive<u64>),
    /// Several parts, in the order asked for: 206 as `multipart/byteranges`.
    Many(Vec<RangeInclusive<u64>>),
    /// No part that exists: 416.
    Unsatisfiable,
}

/// Which part of a stored response with `length` bytes of body a request asks for.
///
/// Only a GET of a stored 200 has parts. `Range` is ignored when it is malformed, of another unit, repeated, asks for
/// more than [`MOST_RANGES`] parts or for more bytes than there are, or when `If-Range` does not hold.
#[must_use]
pub fn select(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    length: u64,
) -> Selection {
    if *method != Method::GET || status != StatusCode::OK {
        return Selection::Whole;
    }
    let Some(ranges) = fields::only(request, &header::RANGE).and_then(parse_ranges) else {
        return Selection::Whole;
    };
    if !may_be_ranged(request, stored) || ranges.len() > MOST_RANGES {
        return Selection::Whole;
    }
    let mut parts: Vec<_> = ranges
        .iter()
        .filter_map(|range| range.within(length))
        .collect();
    match parts.len() {
        // A suffix of an empty representation is all of it.
        0 if length == 0 && ranges.iter().any(|range| range.is_nonempty_suffix()) => {
            Selection::Whole
        }
        0 => Selection::Unsatisfiable,
        1 => Selection::One(parts.remove(0)),
        _ => {
            let asked = parts.iter().fold(0u64, |sum, part| {
                sum.saturating_add(part.end() - part.start())
                    .saturating_add(1)
            });
            if asked > length {
                Selection::Whole
            } else {
                Selection::Many(parts)
            }
        }
    }
}

/// The only range of a request, if it asks for one and that can be told; see [`crate::select_part`].
pub(crate) fn single_range(
    request: &HeaderMap,
    complete: Option<u64>,
) -> Option<RangeInclusive<u64>> {
    let ranges = fields::only(request, &header::RANGE).and_then(parse_ranges)?;
    let [range] = ranges[..] else { return None };
    match (range, complete) {
        (range, Some(complete)) => range.within(complete),
        (
            Asked::From {
                first,
                last: Some(last),
            },
            None,
        ) => Some(first..=last),
        _ => None,
    }
}

/// Whether `If-Range`, if there is one, holds.
pub(crate) fn may_be_ranged(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut conditions = request.get_all(header::IF_RANGE).iter();
    match (conditions.next(), conditions.next()) {
        (None, _) => true,
        (Some(condition), None) => is_unchanged_for_range(condition, stored),
        (Some(_), Some(_)) => false,
    }
}

/// One range as asked for (RFC 9110 §14.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// `first-last` or `first-`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Suffix(u64),
}

impl Asked {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        if first.is_empty() {
            return Some(Self::Suffix(fields::digits(last)?));
        }
        let first = fields::digits(first)?;
        if last.is_empty() {
            return Some(Self::From { first, last: None });
        }
        let last = fields::digits(last)?;
        (first <= last).then_some(Self::From {
            first,
            last: Some(last),
        })
    }

    /// The bytes meant, if there are any.
    pub(crate) fn within(self, length: u64) -> Option<RangeInclusive<u64>> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From { first, last } => {
                (first <= end).then(|| first..=last.map_or(end, |last| last.min(end)))
            }
            Self::Suffix(0) => None,
            Self::Suffix(suffix) => Some(length.saturating_sub(suffix)..=end),
        }
    }

    fn is_nonempty_suffix(&self) -> bool {
        matches!(self, Self::Suffix(length) if *length > 0)
    }
}

/// The ranges of `bytes=…`; `None` if anything about them is malformed.
fn parse_ranges(value: &[u8]) -> Option<Vec<Asked>> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let ranges: Option<Vec<_>> = fields::Members::of(set).map(Asked::parse).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

/// Which part of a representation a 206 carries (RFC 9110 §14.4). Byte positions, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    /// The length of the whole representation, where it is known.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// `bytes 0-99/200`, or `bytes 0-99/*`.
    #[must_use]
    pub fn to_header_value(&self) -> HeaderValue {
        let Self {
            first,
            last,
            complete,
        } = self;
        let text = match complete {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        };
        HeaderValue::try_from(text).expect("digits and punctuation are visible ASCII")
    }

    /// What a 416 says of a representation: `bytes */200`.
    #[must_use]
    pub fn unsatisfied(complete: u64) -> HeaderValue {
        HeaderValue::try_from(format!("bytes */{complete}"))
            .expect("digits and punctuation are visible ASCII")
    }
}

/// Reads the `Content-Range` of a 206; `None` when it is malformed, of another unit, or that of a 416.
#[must_use]
pub fn parse_content_range(value: &HeaderValue) -> Option<ContentRange> {
    let (unit, rest) = value.as_bytes().split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (range, complete) = (&rest[..slash], &rest[slash + 1..]);
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (
        fields::digits(&range[..dash])?,
        fields::digits(&range[dash + 1..])?,
    );
    let complete = match complete {
        b"*" => None,
        digits => Some(fields::digits(digits)?),
    };
    // A number that does not fit was saturated, and says nothing.
    if [Some(last), complete].contains(&Some(u64::MAX)) {
        return None;
    }
    let within = complete.is_none_or(|complete| last < complete);
    (first <= last && within).then_some(ContentRange {
        first,
        last,
        complete,
    })
}
