//! The bytes of a representation: all of them, or the parts that some 206 brought
//! (RFC 9111 §3.3-3.4).

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use tidegate_semantics::ContentRange;

/// The bytes that are stored of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Whole(Bytes),
    /// Boxed: most of what is stored is whole.
    Parts(Box<Parts>),
}

/// Parts of a representation: in order, neither overlapping nor adjoining, never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The length of the whole representation in bytes, where the origin has told it.
    pub complete: Option<u64>,
    parts: Vec<(u64, Bytes)>,
}

/// The one piece that is missing between stored bytes before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub before: Bytes,
    /// First and last byte position that is missing.
    pub missing: RangeInclusive<u64>,
    pub after: Bytes,
}

impl Gap {
    /// Bytes that are missing.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.end() - self.missing.start() + 1
    }

    /// The length of the whole.
    pub fn complete(&self) -> u64 {
        self.missing.end() + 1 + self.after.len() as u64
    }
}

/// Parts kept of one representation; with one more, only the newest is kept.
const MAX_PARTS: usize = 64;

impl Content {
    /// All of it, if all of it is here.
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Content::Whole(bytes) => Some(bytes),
            Content::Parts(_) => None,
        }
    }

    /// Bytes that are here.
    pub fn len(&self) -> usize {
        match self {
            Content::Whole(bytes) => bytes.len(),
            Content::Parts(parts) => parts.len(),
        }
    }

    /// Whether there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, if all of them are here.
    pub fn slice(&self, range: &RangeInclusive<u64>) -> Option<Bytes> {
        match self {
            Content::Whole(bytes) => slice(0, bytes, range),
            Content::Parts(parts) => parts.slice(range),
        }
    }

    /// These bytes with a part of the same representation added: whole, if none is missing then.
    /// `None` when the two contradict each other, or would be more than `limit` bytes.
    pub fn with(&self, part: &Parts, limit: usize) -> Option<Content> {
        let stored = match self {
            Content::Whole(bytes) => {
                let is_within = part.complete.is_none_or(|all| all == bytes.len() as u64)
                    && part.end() <= bytes.len() as u64;
                return is_within.then(|| self.clone());
            }
            Content::Parts(stored) => stored,
        };
        let complete = match (stored.complete, part.complete) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => other.or(one),
        };
        let mut pieces: Vec<_> = stored.parts.iter().chain(&part.parts).cloned().collect();
        pieces.sort_by_key(|(first, _)| *first);
        let parts = joined(pieces);
        let combined = Parts { complete, parts };
        let fits = combined.len() <= limit
            && combined.parts.len() <= MAX_PARTS
            && complete.is_none_or(|all| combined.end() <= all);
        fits.then(|| combined.into_content())
    }
}

impl Parts {
    /// One part, as a 206 describes it; `None` when the bytes are not those it announced.
    pub fn of(range: &ContentRange, bytes: Bytes) -> Option<Parts> {
        let end = range.last.checked_add(1)?;
        let is_it = end.checked_sub(range.first) == Some(bytes.len() as u64)
            && !bytes.is_empty()
            && range.complete.is_none_or(|complete| end <= complete);
        is_it.then(|| Parts {
            complete: range.complete,
            parts: vec![(range.first, bytes)],
        })
    }

    /// Whole, if nothing is missing.
    pub fn into_content(mut self) -> Content {
        match (&self.parts[..], self.complete) {
            ([(0, bytes)], Some(complete)) if bytes.len() as u64 == complete => {
                Content::Whole(self.parts.remove(0).1)
            }
            _ => Content::Parts(Box::new(self)),
        }
    }

    /// Which parts are here, in order: first and last byte positions.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let parts = self.parts.iter();
        parts.map(|(first, bytes)| *first..=*first + bytes.len() as u64 - 1)
    }

    /// What is missing, if that is one piece and the length of the whole is known.
    pub fn gap(&self) -> Option<Gap> {
        let complete = self.complete?;
        let (before, after) = match &self.parts[..] {
            [(0, before)] => (before.clone(), Bytes::new()),
            [(first, after)] if first + after.len() as u64 == complete => {
                (Bytes::new(), after.clone())
            }
            [(0, before), (first, after)] if first + after.len() as u64 == complete => {
                (before.clone(), after.clone())
            }
            _ => return None,
        };
        let (first, end) = (before.len() as u64, complete - after.len() as u64);
        (first < end).then(|| Gap {
            before,
            missing: first..=end - 1,
            after,
        })
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The position behind the last byte.
    fn end(&self) -> u64 {
        let last = self.parts.last();
        last.map_or(0, |(first, bytes)| first + bytes.len() as u64)
    }

    fn slice(&self, range: &RangeInclusive<u64>) -> Option<Bytes> {
        let mut parts = self.parts.iter();
        parts.find_map(|(first, bytes)| slice(*first, bytes, range))
    }
}

/// The bytes of a range out of a piece that begins at `first`, if it has all of them.
fn slice(first: u64, piece: &Bytes, range: &RangeInclusive<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start().checked_sub(first)?).ok()?;
    let to = usize::try_from(range.end().checked_sub(first)?).ok()?;
    (from <= to && to < piece.len()).then(|| piece.slice(from..=to))
}

/// Sorted pieces, with those in one that overlap or adjoin. Where two have the same bytes, those of
/// the same representation, it does not matter whose are taken.
fn joined(pieces: Vec<(u64, Bytes)>) -> Vec<(u64, Bytes)> {
    let mut joined: Vec<(u64, BytesMut)> = Vec::new();
    for (first, bytes) in pieces {
        let end = first + bytes.len() as u64;
        match joined.last_mut() {
            Some((start, piece)) if *start + piece.len() as u64 >= first => {
                let known = *start + piece.len() as u64;
                // No more than the piece has: it begins at `known` or before.
                let new = usize::try_from(end.saturating_sub(known)).unwrap_or(bytes.len());
                piece.extend_from_slice(&bytes[bytes.len() - new..]);
            }
            _ => joined.push((first, BytesMut::from(&bytes[..]))),
        }
    }
    let frozen = |(first, piece): (u64, BytesMut)| (first, piece.freeze());
    joined.into_iter().map(frozen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &'static str, complete: Option<u64>) -> Parts {
        let (range, bytes) = text.split_once(' ').expect("a range and its bytes");
        let (first, last) = range.split_once('-').expect("first and last");
        let range = ContentRange {
            first: first.parse().expect("a number"),
            last: last.parse().expect("a number"),
            complete,
        };
        Parts::of(&range, Bytes::from_static(bytes.as_bytes())).expect("as announced")
    }

    #[test]
    fn bytes_that_are_not_those_announced_are_no_part() {
        let range = ContentRange {
            first: 2,
            last: 4,
            complete: None,
        };
        assert_eq!(Parts::of(&range, Bytes::from_static(b"ab")), None);
        assert_eq!(Parts::of(&range, Bytes::from_static(b"abcd")), None);
        let beyond = ContentRange {
            complete: Some(4),
            ..range
        };
        assert_eq!(Parts::of(&beyond, Bytes::from_static(b"abc")), None);
    }

    #[test]
    fn parts_are_combined_where_they_fit_and_are_whole_when_nothing_is_missing() {
        // What is stored, what is added, and the ranges then, or "whole", or "no".
        let rows: &[(&str, &str, &str)] = &[
            ("0-2 012", "3-5 345", "0-5"),
            ("3-5 345", "0-2 012", "0-5"),
            ("0-4 01234", "3-9 3456789", "whole"),
            ("0-2 012", "7-9 789", "0-2 7-9"),
            ("2-7 234567", "3-4 34", "2-7"),
            ("3-4 34", "2-7 234567", "2-7"),
            ("5-9 56789", "0-4 01234", "whole"),
        ];
        for (stored, added, expected) in rows {
            let stored = Content::Parts(Box::new(part(stored, Some(10))));
            let told = match stored.with(&part(added, Some(10)), 100) {
                None => "no".to_owned(),
                Some(Content::Whole(bytes)) => {
                    assert_eq!(bytes, "0123456789", "{added}");
                    "whole".to_owned()
                }
                Some(Content::Parts(parts)) => {
                    for range in parts.ranges() {
                        let bytes = parts.slice(&range).expect("it is here");
                        let all = b"0123456789";
                        let at = |position: u64| usize::try_from(position).expect("small");
                        assert_eq!(bytes, all[at(*range.start())..=at(*range.end())], "{added}");
                    }
                    let ranges = parts.ranges();
                    let text = ranges.map(|range| format!("{}-{}", range.start(), range.end()));
                    text.collect::<Vec<_>>().join(" ")
                }
            };
            assert_eq!(told, *expected, "{stored:?} with {added}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_is_too_large_is_not_combined() {
        let stored = Content::Parts(Box::new(part("0-2 012", Some(10))));
        assert_eq!(
            stored.with(&part("3-5 345", Some(11)), 100),
            None,
            "lengths"
        );
        assert_eq!(stored.with(&part("3-5 345", Some(10)), 5), None, "limit");
        assert!(stored.with(&part("3-5 345", None), 6).is_some());
        let whole = Content::Whole(Bytes::from_static(b"0123"));
        assert_eq!(whole.with(&part("0-1 01", Some(4)), 9), Some(whole.clone()));
        assert_eq!(whole.with(&part("0-1 01", Some(5)), 9), None);
        assert_eq!(whole.with(&part("3-4 34", None), 9), None);
    }

    #[test]
    fn one_missing_piece_is_a_gap() {
        let gap = |stored: Content| match stored {
            Content::Parts(parts) => parts.gap().map(|gap| {
                let (first, last) = gap.missing.into_inner();
                (gap.before.len(), first, last, gap.after.len())
            }),
            Content::Whole(_) => None,
        };
        let one = |text| Content::Parts(Box::new(part(text, Some(10))));
        let two = |a, b| one(a).with(&part(b, Some(10)), 100).expect("they fit");
        assert_eq!(gap(one("0-2 012")), Some((3, 3, 9, 0)));
        assert_eq!(gap(one("7-9 789")), Some((0, 0, 6, 3)));
        assert_eq!(gap(two("0-2 012", "7-9 789")), Some((3, 3, 6, 3)));
        assert_eq!(gap(one("3-5 345")), None, "two pieces are missing");
        let unknown = Content::Parts(Box::new(part("0-2 012", None)));
        assert_eq!(gap(unknown), None, "nobody knows how much");
    }

    #[test]
    fn ranges_are_cut_out_of_what_is_here_only() {
        let stored = Content::Parts(Box::new(part("3-6 3456", Some(10))));
        assert_eq!(stored.slice(&(4..=5)).as_deref(), Some(&b"45"[..]));
        assert_eq!(stored.slice(&(3..=6)).as_deref(), Some(&b"3456"[..]));
        for outside in [2..=4, 5..=7, 0..=9, 8..=9] {
            assert_eq!(stored.slice(&outside), None, "{outside:?}");
        }
    }
}
