//! How a response is delimited, where hyper is more lenient than we (RFC 9112 §6).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

/// The marks of codings that we know and cannot undo: passed on, their content would be taken for
/// what it is not.
const KNOWN: [&str; 6] = [
    "chunked",
    "compress",
    "deflate",
    "gzip",
    "x-compress",
    "x-gzip",
];

/// Marks a response whose transfer coding nobody here knows: it is passed on as it came, until the
/// connection closes, and is not to be stored (RFC 9112 §6.3).
#[derive(Clone, Copy)]
pub struct UnknownCoding;

/// Checks the transfer codings, and says whether one of them is unknown.
///
/// # Errors
/// What cannot be passed on.
pub(super) fn check_codings(headers: &HeaderMap) -> Result<Option<UnknownCoding>, String> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(None);
    }
    let line = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let lines: Vec<String> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .map(line)
        .collect();
    let codings = lines.join(",");
    if codings == "chunked" {
        return Ok(None);
    }
    let mut names = codings
        .split(',')
        .map(|coding| coding.split(';').next().unwrap_or_default().trim());
    if names.any(|name| KNOWN.contains(&name)) {
        return Err(format!("transfer coding {codings:?}"));
    }
    Ok(Some(UnknownCoding))
}

/// Leaves one length of several equal ones.
///
/// # Errors
/// When they differ, or one is no length. hyper looks at them only where a body follows.
pub(super) fn unite_lengths(headers: &mut HeaderMap) -> Result<(), String> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(first), second) = (lines.next(), lines.next()) else {
        return Ok(());
    };
    let is_plain = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if second.is_none() && is_plain(first) && !first.is_empty() {
        return Ok(());
    }
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let digits = member.trim_ascii();
            let number = std::str::from_utf8(digits)
                .ok()
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u64>().ok());
            if number.is_none() || length.is_some_and(|length| number != Some(length)) {
                return Err(format!("content-length {line:?}"));
            }
            length = number;
        }
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_coding_is_ours_unknown_or_an_error() {
        for (codings, expected) in [
            (&["chunked"][..], Ok(false)),
            (&["Chunked"], Ok(false)),
            (&["foo"], Ok(true)),
            (&["foo;x=1", "bar"], Ok(true)),
            (&["identity"], Ok(true)),
            (&[""], Ok(true)),
            (&["gzip"], Err(())),
            (&["gzip, chunked"], Err(())),
            (&["foo, chunked"], Err(())),
            (&["chunked, foo"], Err(())),
            (&["chunked", "chunked"], Err(())),
        ] {
            let headers = lines(TRANSFER_ENCODING, codings);
            let checked = check_codings(&headers).map(|unknown| unknown.is_some());
            assert_eq!(checked.map_err(|_| ()), expected, "{codings:?}");
        }
    }

    #[test]
    fn equal_lengths_are_one_and_others_are_an_error() {
        for (lengths, expected) in [
            (&["5"][..], Ok(Some("5"))),
            (&[], Ok(None)),
            (&["5", "5"], Ok(Some("5"))),
            (&["5, 5"], Ok(Some("5"))),
            (&["5, 6"], Err(())),
            (&["5", "6"], Err(())),
            (&["+5"], Err(())),
            (&[""], Err(())),
            (&["5,"], Err(())),
        ] {
            let mut headers = lines(CONTENT_LENGTH, lengths);
            let united = unite_lengths(&mut headers).map_err(|_| ());
            let united = united.map(|()| headers.get(CONTENT_LENGTH));
            let expected = expected.map(|length| length.map(HeaderValue::from_static));
            assert_eq!(
                united.map(Option::<&HeaderValue>::cloned),
                expected,
                "{lengths:?}"
            );
        }
    }
}
