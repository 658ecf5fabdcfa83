//! What stored parts of a representation are good for (RFC 9111 §3.3, §3.4).

use std::ops::RangeInclusive;

use http::Method;
use http::header::HeaderMap;

use crate::ranges::{self, Asked, ContentRange};
use crate::validation::EntityTag;

/// The bytes of a stored part that answer a request, as positions in the whole representation; `None` when the part
/// does not hold all that is asked for (RFC 9111 §3.3).
///
/// Only a GET for one range is answered, whose `If-Range` holds. Of a representation of unknown length nobody knows the
/// end, so that a part of it answers only ranges with both ends.
#[must_use]
pub fn select_within(
    method: &Method,
    request: &HeaderMap,
    stored: &HeaderMap,
    part: ContentRange,
) -> Option<RangeInclusive<u64>> {
    if *method != Method::GET || !ranges::may_be_ranged(request, stored) {
        return None;
    }
    let [asked] = ranges::asked(request)?[..] else {
        return None;
    };
    let range = match (asked, part.complete) {
        (asked, Some(length)) => asked.within(length)?,
        (Asked::From { first, last }, None) => first..=last?,
        (Asked::Suffix(_), None) => return None,
    };
    let held = part.first <= *range.start() && *range.end() <= part.last;
    held.then_some(range)
}

/// Whether two parts are of one representation, so that they may be combined: both have the same strong `ETag`
/// (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
#[must_use]
pub fn may_combine(one: &HeaderMap, other: &HeaderMap) -> bool {
    EntityTag::of(one)
        .zip(EntityTag::of(other))
        .is_some_and(|(one, other)| one.is_strongly(other))
}

impl ContentRange {
    /// What both parts are together; `None` when there is a gap between them, or when they disagree on the length of the
    /// whole.
    #[must_use]
    pub fn joined(self, other: ContentRange) -> Option<ContentRange> {
        let complete = match (self.complete, other.complete) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let touches = |one: Self, other: Self| one.first <= other.last.saturating_add(1);
        let last = self.last.max(other.last);
        let fits = complete.is_none_or(|complete| last < complete);
        (touches(self, other) && touches(other, self) && fits).then(|| ContentRange {
            first: self.first.min(other.first),
            last,
            complete,
        })
    }

    /// Whether the part is all there is.
    #[must_use]
    pub fn is_whole(self) -> bool {
        let whole = |complete| self.last.checked_add(1) == Some(complete);
        self.first == 0 && self.complete.is_some_and(whole)
    }
}
