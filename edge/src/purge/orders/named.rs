//! What an order names, in the spelling in which requests ask for it.
//!
//! A purge of something that no request can ask for would be recorded, and do nothing. So hosts are
//! read as those of requests are, and what is plainly meant otherwise is refused.

use std::fmt::Write;

use http::uri::Authority;

use crate::exchange::canonical;

/// Bytes of a URL, and of a tag.
const MAX_URL: usize = 8 << 10;
const MAX_TAG: usize = 4 << 10;

/// The canonical authority and the rest of a URL with or without scheme. The rest begins with "/"
/// unless there is none: an empty path before a query is "/" (RFC 9110 §4.2.3). What is not ASCII in
/// it is encoded, as clients do.
///
/// # Errors
/// What is no URL of HTTP, or none that a request can have.
pub(super) fn url(text: &str) -> Result<(String, String), String> {
    if text.len() > MAX_URL {
        return Err(format!(
            "{:?}... is longer than {MAX_URL} bytes",
            start(text)
        ));
    }
    let (default_port, rest) = match text.split_once("://") {
        None => ("", text),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("", rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (":443", rest),
        Some((scheme, _)) => return Err(format!("{text:?}: scheme {scheme:?} is not http")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let path = &path[..path.find('#').unwrap_or(path.len())];
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} contains white space"));
    }
    let mut encoded = String::with_capacity(path.len() + 1);
    if path.starts_with('?') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    Ok((authority(text, host)?, encoded))
}

fn authority(text: &str, host: &str) -> Result<String, String> {
    if !host.is_ascii() {
        return Err(format!(
            "{text:?}: requests name that host in ASCII (xn--...): so must a purge"
        ));
    }
    if host.contains('*') {
        return Err(format!("{text:?}: a host is one host, and no pattern"));
    }
    let read = Authority::try_from(host).ok();
    let read = read.and_then(|read| canonical(read).ok());
    read.map(|authority| authority.as_str().to_owned())
        .ok_or_else(|| format!("{text:?} does not begin with a host"))
}

/// A URL up to somewhere behind its host, in the same two parts.
///
/// # Errors
/// As [`url`], and what purges a whole host or means a pattern.
pub(super) fn prefix(text: &str) -> Result<(String, String), String> {
    let (authority, path) = url(text)?;
    if path.is_empty() {
        return Err(format!(
            "prefix {text:?} has no path: purge the host instead"
        ));
    }
    if path.ends_with('*') {
        return Err(format!(
            "prefix {text:?} ends with *: whatever follows is meant without it"
        ));
    }
    Ok((authority, path))
}

/// A tag that a response can carry.
///
/// # Errors
/// Why none can.
pub(super) fn tag(tag: String) -> Result<String, String> {
    if tag.len() > MAX_TAG {
        return Err(format!(
            "tag {:?}... is longer than {MAX_TAG} bytes",
            start(&tag)
        ));
    }
    if tag.is_empty() || tag.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("tag {tag:?} is empty or contains white space"));
    }
    Ok(tag)
}

fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::{prefix, tag, url};

    #[test]
    fn urls_are_named_as_requests_ask_for_them() {
        for (text, host, path) in [
            ("http://Example.org:80/A?b", "example.org", "/A?b"),
            ("HTTPS://example.org:443", "example.org", ""),
            ("example.org:8080/a#b", "example.org:8080", "/a"),
            ("http://example.org?b", "example.org", "/?b"),
            ("example.org#b", "example.org", ""),
            ("example.org:/a", "example.org", "/a"),
            ("[::1]:8080/", "[::1]:8080", "/"),
            ("example.org/ü?ö", "example.org", "/%C3%BC?%C3%B6"),
        ] {
            let expected = (host.to_owned(), path.to_owned());
            assert_eq!(url(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_request_can_have_is_refused_and_why() {
        let long = format!("h/{}", "a".repeat(8 << 10));
        for (text, reason) in [
            ("/only/a/path", "does not begin with a host"),
            ("", "does not begin with a host"),
            ("user@h/a", "does not begin with a host"),
            ("[::1", "does not begin with a host"),
            ("h:99999/a", "does not begin with a host"),
            ("h:x", "does not begin with a host"),
            ("h\0/a", "does not begin with a host"),
            ("ftp://h/a", "scheme \"ftp\" is not http"),
            ("h/a b", "white space"),
            ("*.example.org", "no pattern"),
            ("bücher.example/a", "in ASCII"),
            (&long, "longer than 8192 bytes"),
        ] {
            let refused = url(text).expect_err(text);
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn a_prefix_has_a_path_and_no_star_and_a_tag_has_bounds() {
        let query = ("h".to_owned(), "/?b".to_owned());
        assert_eq!(prefix("http://h?b"), Ok(query), "a query at the root");
        assert!(prefix("h").is_err_and(|why| why.contains("no path")));
        assert!(prefix("h/a/*").is_err_and(|why| why.contains("ends with *")));
        assert!(tag("a b".to_owned()).is_err_and(|why| why.contains("white space")));
        assert!(tag("a".repeat(4_097)).is_err_and(|why| why.contains("longer")));
        assert!(tag("a".repeat(4_096)).is_ok());
    }
}
