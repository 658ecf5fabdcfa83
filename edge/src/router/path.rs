//! How a path is read: in its normal form (RFC 3986 §6.2.2), and in the other ways in which an origin
//! may read it.
//!
//! Nearly all origins take `/%6dembers` and `/./members` for `/members`. Of a path that goes up (`..`)
//! or has an encoded slash that is not known: one origin takes `/a/../b` for `/b`, another finds `/a`
//! at its beginning. So it is of one that begins with two slashes: as a reference, `//a/b` is the path
//! `/b` of the host `a` (RFC 3986 §4.2).

use std::borrow::Cow;

/// What an encoded slash is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncodedSlash {
    /// A character of its segment.
    Data,
    /// The end of a segment.
    Slash,
}

/// What `..` leads out of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    /// The segment before it; empty ones are none.
    Segment,
    /// The segment before it, which may be an empty one (RFC 3986 §5.2.4 to the letter).
    AnySegment,
    /// Nothing: it is a name like others.
    Nothing,
}

/// Whether a path is in its normal form and can be read in no other way.
pub(super) fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut at = 0;
    // Both look at a few bytes, of few paths.
    while let Some(next) = bytes[at..]
        .iter()
        .position(|byte| matches!(byte, b'%' | b'/'))
    {
        at += next + 1;
        let is_plain = match bytes[at - 1] {
            b'%' => escape(&bytes[at..])
                .is_none_or(|(byte, is_upper)| is_upper && byte != b'/' && !is_unreserved(byte)),
            _ => !matches!(
                bytes[at..],
                [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
            ),
        };
        if !is_plain {
            return false;
        }
    }
    true
}

/// The path in its normal form: unreserved characters decoded, the rest of the percent-encoding in
/// capitals, without empty segments, `.` and `..`.
pub(super) fn normal(path: &str, slash: EncodedSlash) -> String {
    resolved(&decoded(path, slash), Up::Segment)
}

/// The other ways to read a path, where there are any.
pub(super) fn other_readings(path: &str) -> Vec<(String, EncodedSlash)> {
    let (closed, open) = (
        decoded(path, EncodedSlash::Data),
        decoded(path, EncodedSlash::Slash),
    );
    let mut readings = Vec::new();
    if let Some(reference) = path.strip_prefix("//") {
        let behind = reference.find('/').map_or("/", |slash| &reference[slash..]);
        for slash in [EncodedSlash::Data, EncodedSlash::Slash] {
            readings.push((normal(behind, slash), slash));
        }
    }
    if path.contains('%') && path.split('/').any(|segment| segment == "..") {
        // Gone up before anything is decoded.
        let gone_up = resolved(path, Up::Segment);
        for slash in [EncodedSlash::Data, EncodedSlash::Slash] {
            readings.push((resolved(&decoded(&gone_up, slash), Up::Nothing), slash));
        }
    }
    let mut go_up = |decoded: &str, slash| {
        if decoded.split('/').any(|segment| segment == "..") {
            for up in [Up::AnySegment, Up::Nothing] {
                readings.push((resolved(decoded, up), slash));
            }
        }
    };
    go_up(&closed, EncodedSlash::Data);
    if open != closed {
        go_up(&open, EncodedSlash::Slash);
        readings.push((resolved(&open, Up::Segment), EncodedSlash::Slash));
    }
    readings
}

/// Decodes what means the same encoded and not.
fn decoded(path: &str, slash: EncodedSlash) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match escape(&rest.as_bytes()[1..]) {
            Some((byte, _)) if is_unreserved(byte) => {
                decoded.push(char::from(byte));
                3
            }
            Some((b'/', _)) if slash == EncodedSlash::Slash => {
                decoded.push('/');
                3
            }
            Some(_) => {
                decoded.push_str(&rest[..3].to_ascii_uppercase());
                3
            }
            // Not percent-encoding, though it looks like it.
            None => {
                decoded.push('%');
                1
            }
        };
        rest = &rest[length..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Merges slashes, removes `.`, and goes up.
fn resolved(path: &str, up: Up) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut last = "";
    for segment in path.split('/').skip(1) {
        last = segment;
        match segment {
            "" if up != Up::AnySegment => {}
            "." => {}
            ".." if up != Up::Nothing => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in segments.into_iter().filter(|segment| !segment.is_empty()) {
        resolved.push('/');
        resolved.push_str(segment);
    }
    let ends_open = match last {
        "" | "." => true,
        ".." => up != Up::Nothing,
        _ => false,
    };
    if ends_open || resolved.is_empty() {
        resolved.push('/');
    }
    resolved
}

/// The byte that two digits stand for, and whether their letters are capitals.
fn escape(digits: &[u8]) -> Option<(u8, bool)> {
    let [high, low, ..] = digits else {
        return None;
    };
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = u8::try_from(value(*high)? << 4 | value(*low)?).ok()?;
    let is_upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Some((byte, is_upper))
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EncodedSlash, is_plain, normal, other_readings};

    /// Paths and their normal forms.
    const NORMAL: &[(&str, &str)] = &[
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/.well-known/a", "/.well-known/a"),
        ("/a/...", "/a/..."),
        ("/a%20b%C3%A4", "/a%20b%C3%A4"),
        ("/100%/%zz%4", "/100%/%zz%4"),
        ("/%+1", "/%+1"),
        ("/a\\b;c=d", "/a\\b;c=d"),
        ("/%6dembers", "/members"),
        ("/%7Ea%c3%a4", "/~a%C3%A4"),
        // Decoded once: an origin that decodes twice has itself to blame.
        ("/%256d", "/%256d"),
        ("/%%61", "/%a"),
        ("/a%2fb", "/a%2Fb"),
        ("//a///b//", "/a/b/"),
        ("//", "/"),
        ("/./a/./b/.", "/a/b/"),
        ("/%2e/a", "/a"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/%2E./b", "/b"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/a//../b", "/b"),
        ("/ä/%61", "/ä/a"),
    ];

    #[test]
    fn a_path_has_one_normal_form() {
        for (path, expected) in NORMAL {
            assert_eq!(normal(path, EncodedSlash::Data), *expected, "{path}");
            assert_eq!(normal(expected, EncodedSlash::Data), *expected, "twice");
        }
    }

    #[test]
    fn what_is_plain_is_normal_and_has_no_other_reading() {
        for (path, expected) in NORMAL {
            let is_only = path == expected && !path.contains("%2F");
            assert_eq!(is_plain(path), is_only, "{path}");
            if is_only {
                assert!(other_readings(path).is_empty(), "{path}");
            }
        }
        // Not a path, and nothing to be read otherwise.
        assert!(is_plain("*") && is_plain(""));
    }

    #[test]
    fn what_goes_up_or_has_an_encoded_slash_can_be_read_otherwise() {
        for (path, expected) in [
            ("/%6d//a/./b", &[][..]),
            ("//a/%62", &["/b", "/b"]),
            ("//a", &["/", "/"]),
            ("///a", &["/a", "/a"]),
            (
                "/s/../a/%2e%2e/s",
                &["/a/../s", "/a/../s", "/s", "/s/../a/../s"],
            ),
            ("/a%2fb", &["/a/b"]),
            ("/a/../b", &["/b", "/a/../b"]),
            ("/a//../b", &["/a/b", "/a/../b"]),
            ("/a/..%2fb", &["/b", "/a/../b", "/b"]),
            ("/a%2f%2e%2e", &["/", "/a/..", "/"]),
        ] {
            let readings = other_readings(path);
            let readings: Vec<&str> = readings.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(readings, expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_plain_is_left_alone(path in "/[/.%026eEfFa]{0,10}") {
            let normal = normal(&path, EncodedSlash::Data);
            prop_assert!(normal.starts_with('/'));
            if is_plain(&path) {
                prop_assert_eq!(&normal, &path);
                prop_assert!(other_readings(&path).is_empty());
            } else {
                prop_assert!(normal != path || !other_readings(&path).is_empty());
            }
        }
    }
}
