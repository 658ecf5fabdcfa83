//! Stored parts of a representation: which requests they answer, and when they may be combined (RFC 9111 §3.3-3.4).

use std::ops::RangeInclusive;

use http::Method;
use http::header::{self, HeaderMap, HeaderName};

use crate::fields;
use crate::ranges::{may_be_ranged, single_range};
use crate::validation::{EntityTag, strong_last_modified};

/// The one part that a request asks for of a representation of which parts are stored: byte positions, both ends
/// included. `complete` is the length of the whole, where it is known.
///
/// `None` when the request asks for anything else: the whole, several parts, a part that cannot be told without the
/// length, or one under an `If-Range` that does not hold.
#[must_use]
pub fn select_part(
    method: &Method,
    request: &HeaderMap,
    stored: &HeaderMap,
    complete: Option<u64>,
) -> Option<RangeInclusive<u64>> {
    if *method != Method::GET || !may_be_ranged(request, stored) {
        return None;
    }
    single_range(request, complete)
}

/// Whether two responses carry parts of one representation for certain: they have the same strong validator
/// (RFC 9111 §3.4). A `Last-Modified` counts where neither has an `ETag`, and if it is strong (RFC 9110 §8.8.2.2).
#[must_use]
pub fn are_of_one_representation(one: &HeaderMap, other: &HeaderMap) -> bool {
    // Two codings of one resource may share a date, and are two representations (RFC 9110 §8.8.1).
    if one.get(header::CONTENT_ENCODING) != other.get(header::CONTENT_ENCODING) {
        return false;
    }
    match (EntityTag::of(one), EntityTag::of(other)) {
        (Some(one), Some(other)) => one.is_strongly(other),
        (None, None) => {
            let date = strong_last_modified(one);
            date.is_some() && date == strong_last_modified(other)
        }
        _ => false,
    }
}

/// The validator with which a further part may be asked for by `If-Range`: a strong `ETag`, else a strong
/// `Last-Modified` (RFC 9110 §13.1.5).
#[must_use]
pub fn range_validator(stored: &HeaderMap) -> Option<HeaderName> {
    match EntityTag::of(stored) {
        Some(tag) => tag.is_strongly(tag).then_some(header::ETAG),
        None => strong_last_modified(stored).map(|_| header::LAST_MODIFIED),
    }
}

/// The fields of the combined response: those of the newer one, and of the stored ones those that it does not have;
/// never `Content-Range` and `Content-Length`, which told of a part (RFC 9111 §3.4).
#[must_use]
pub fn merge_part(stored: &HeaderMap, part: &HeaderMap) -> HeaderMap {
    let mut merged = part.clone();
    fields::strip_hop_by_hop(&mut merged);
    for name in stored.keys() {
        // The age and the date are the message's own.
        if merged.contains_key(name) || *name == header::AGE || *name == header::DATE {
            continue;
        }
        for value in stored.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged.remove(header::CONTENT_RANGE);
    merged.remove(header::CONTENT_LENGTH);
    merged
}
