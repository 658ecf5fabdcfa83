//! The fields of a stored response, and its tags, in one allocation.
//!
//! A `HeaderMap` costs 104 bytes a field and an allocation for each value; most of what is stored is
//! looked at seldom. Here a field is the number of its name (or the name itself, where it is not among
//! those that are well known), the length of its value and the value; a few fields that many responses
//! have word for word are a number altogether. A map is made of it when one is
//! needed; its values are slices of one copy.

mod known;

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use known::{KNOWN, Known, WHOLE_FROM, WRITTEN_OUT, known, whole_at};

/// The fields that clients get, those that they do not, and the tags.
#[derive(Clone, PartialEq, Eq)]
pub struct Fields {
    /// Two lists of fields, each behind its length in bytes, and the tags to the end.
    block: Box<[u8]>,
}

impl Fields {
    /// Copies what is kept of a response.
    pub fn new<T: AsRef<str>>(headers: &HeaderMap, hidden: &HeaderMap, tags: &[T]) -> Fields {
        let lists = [headers, hidden].map(|list| {
            let fields = list.iter().map(|field| (field, known(field)));
            fields.collect::<Vec<_>>()
        });
        let lengths = lists.each_ref().map(|list| {
            let lengths = list
                .iter()
                .map(|(field, known)| field_length(*field, *known));
            lengths.sum::<usize>()
        });
        let of_tags = tags.iter().map(|tag| text_length(tag.as_ref().len()));
        let of_lists = lengths.into_iter().map(text_length);
        let length = of_lists.chain(of_tags).sum();
        let mut block = Writer(Vec::with_capacity(length));
        for (list, length) in lists.into_iter().zip(lengths) {
            block.number(length);
            for (field, known) in list {
                block.field(field, known);
            }
        }
        for tag in tags {
            block.text(tag.as_ref().as_bytes());
        }
        debug_assert_eq!(block.0.len(), length);
        Fields {
            block: block.0.into_boxed_slice(),
        }
    }

    /// The fields that clients get, with room for `more` others.
    pub fn headers(&self, more: usize) -> HeaderMap {
        map(self.parts().headers, more)
    }

    /// The fields that clients do not get.
    pub fn hidden(&self) -> HeaderMap {
        map(self.parts().hidden, 0)
    }

    /// The first value of a field that clients get.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut headers = self.headers_as_written();
        headers.find_map(|(other, value)| (other == name.as_str()).then_some(value))
    }

    /// Names and values of the fields that clients get.
    pub fn headers_as_written(&self) -> impl Iterator<Item = (&str, &[u8])> {
        Reader(self.parts().headers)
    }

    /// Names and values of those that they do not.
    pub fn hidden_as_written(&self) -> impl Iterator<Item = (&str, &[u8])> {
        Reader(self.parts().hidden)
    }

    /// The tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let mut rest = Reader(self.parts().tags);
        std::iter::from_fn(move || (!rest.0.is_empty()).then(|| utf8(rest.text())))
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.block.len()
    }

    fn parts(&self) -> Parts<'_> {
        let mut rest = Reader(&self.block);
        Parts {
            headers: rest.text(),
            hidden: rest.text(),
            tags: rest.0,
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<_> = self.tags().collect();
        formatter
            .debug_struct("Fields")
            .field("headers", &self.headers(0))
            .field("hidden", &self.hidden())
            .field("tags", &tags)
            .finish()
    }
}

struct Parts<'a> {
    headers: &'a [u8],
    hidden: &'a [u8],
    tags: &'a [u8],
}

/// A map of a list, whose values share one copy of it.
fn map(list: &[u8], more: usize) -> HeaderMap {
    if list.is_empty() && more == 0 {
        return HeaderMap::new();
    }
    let shared = Bytes::copy_from_slice(list);
    let mut map = HeaderMap::with_capacity(fields_in(list) + more);
    let mut rest = Reader(&shared);
    let slice = |value: &[u8]| {
        let value = HeaderValue::from_maybe_shared(shared.slice_ref(value));
        value.expect("a value's own bytes are a value")
    };
    while !rest.0.is_empty() {
        let (name, value) = match rest.field() {
            Field::Whole((name, value)) => (name.clone(), value.clone()),
            Field::Known(name, value) => (name.clone(), slice(value)),
            Field::WrittenOut(name, value) => {
                let name = HeaderName::from_bytes(name).expect("a name's own text is a name");
                (name, slice(value))
            }
        };
        map.append(name, value);
    }
    map
}

fn fields_in(list: &[u8]) -> usize {
    let mut rest = Reader(list);
    let mut count = 0;
    while !rest.0.is_empty() {
        rest.field();
        count += 1;
    }
    count
}

/// How many bytes a number takes.
fn number_length(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

fn text_length(length: usize) -> usize {
    number_length(length) + length
}

fn field_length((name, value): (&HeaderName, &HeaderValue), known: Known) -> usize {
    match known {
        Known::Whole(_) => 1,
        Known::Name(_) => 1 + text_length(value.len()),
        Known::Nothing => 1 + text_length(name.as_str().len()) + text_length(value.len()),
    }
}

struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len());
        self.0.extend_from_slice(text);
    }

    fn field(&mut self, (name, value): (&HeaderName, &HeaderValue), known: Known) {
        match known {
            Known::Whole(number) => return self.0.push(number),
            Known::Name(number) => self.0.push(number),
            Known::Nothing => {
                self.0.push(WRITTEN_OUT);
                self.text(name.as_str().as_bytes());
            }
        }
        self.text(value.as_bytes());
    }
}

/// A field as it stands in a block.
enum Field<'a> {
    Whole(&'static (HeaderName, HeaderValue)),
    Known(&'static HeaderName, &'a [u8]),
    WrittenOut(&'a [u8], &'a [u8]),
}

/// Reads what [`Writer`] wrote: nothing else ever stands in a block.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().expect("a block ends behind a text");
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> usize {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte();
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.number();
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text
    }

    fn field(&mut self) -> Field<'a> {
        match self.byte() {
            WRITTEN_OUT => Field::WrittenOut(self.text(), self.text()),
            number @ WHOLE_FROM.. => Field::Whole(whole_at(number)),
            number => Field::Known(&KNOWN[usize::from(number)], self.text()),
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.field() {
            Field::Whole((name, value)) => (name.as_str(), value.as_bytes()),
            Field::Known(name, value) => (name.as_str(), value),
            Field::WrittenOut(name, value) => (utf8(name), value),
        })
    }
}

fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("it was text when it was written")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::header;

    use super::known::WHOLE;
    use super::*;

    fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
        let line = |(name, value): &(&str, &[u8])| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_bytes(value).expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_was_kept_comes_back() {
        let long = [b'v'; 20_000];
        let name = "n".repeat(300);
        let given = headers(&[
            ("date", b"Sun, 06 Nov 2033 08:49:37 GMT"),
            ("set-cookie", b"a=1"),
            ("x-of-ours", b"\xff obs-text"),
            ("set-cookie", b"b=2"),
            ("etag", b""),
            ("x-long", &long),
            (&name, b"a long name"),
            ("x-robots-tag", &[b'r'; 127]),
            ("x-request-id", &[b'i'; 128]),
        ]);
        let hidden = headers(&[("surrogate-key", b"one two"), ("x-hidden", b"1")]);
        let tags = ["one".to_owned(), String::new(), "drei\u{e4}".to_owned()];
        let none = HeaderMap::new();
        for (headers, hidden, tags) in [
            (&given, &hidden, &tags[..]),
            (&given, &none, &[]),
            (&none, &hidden, &tags),
            (&none, &none, &[]),
        ] {
            let fields = Fields::new(headers, hidden, tags);
            assert_eq!(fields.headers(2), *headers);
            assert_eq!(fields.hidden(), *hidden);
            assert!(fields.tags().eq(tags));
            let written = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()));
            assert!(fields.headers_as_written().eq(written));
            assert_eq!(fields, Fields::new(headers, hidden, tags));
        }
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let headers = headers(&[("etag", b"1"), ("x-of-ours", b"2"), ("x-of-ours", b"3")]);
        let fields = Fields::new::<&str>(&headers, &HeaderMap::new(), &[]);
        assert_eq!(fields.get(&header::ETAG), Some(&b"1"[..]));
        assert_eq!(
            fields.get(&HeaderName::from_static("x-of-ours")),
            Some(&b"2"[..])
        );
        assert_eq!(fields.get(&header::DATE), None);
    }

    #[test]
    fn what_is_known_has_a_number_of_its_own_and_takes_one_byte() {
        let value = HeaderValue::from_static("v");
        let of_names = KNOWN.iter().map(|name| (name, &value, 3));
        let of_wholes = WHOLE.iter().map(|(name, value)| (name, value, 1));
        let mut numbers = HashSet::new();
        for (name, value, bytes) in of_names.chain(of_wholes) {
            let (Known::Name(number) | Known::Whole(number)) = known((name, value)) else {
                panic!("{name}: {value:?} has no number");
            };
            assert!(numbers.insert(number), "{name}: {value:?}");
            let headers = HeaderMap::from_iter([(name.clone(), value.clone())]);
            let fields = Fields::new::<&str>(&headers, &HeaderMap::new(), &[]);
            assert_eq!(fields.weight(), 2 + bytes, "{name}: {value:?}");
            assert_eq!(fields.headers(0), headers);
        }
        assert!(!numbers.contains(&WRITTEN_OUT));
    }
}
