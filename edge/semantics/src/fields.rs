//! Fields as such: which of them end at this hop, and how repeated lines and lists are read.

use http::header::{self, HeaderMap, HeaderName};

/// Whether a field concerns one connection or one proxy only (RFC 9110 §7.6.1, §11.7; RFC 9111 §3.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes the fields of these names, in lower case. Most messages have none of them, and a look at each name costs less
/// than a search for each.
pub fn remove_fields(headers: &mut HeaderMap, is_meant: impl Fn(&str) -> bool) {
    while let Some(name) = headers.keys().find(|name| is_meant(name.as_str())) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Fields meant for every recipient. A sender must not nominate them (RFC 9110 §7.6.1); one that does is either
/// confused or wants us to forget the routing, the framing or the caching of a message, so the nomination is ignored.
const NEVER_NOMINATED: [HeaderName; 15] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("tidegate-cache-control"),
    HeaderName::from_static("surrogate-control"),
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::VARY,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// Removes what is meant for this hop only: the hop-by-hop fields and those that `Connection` nominates, whatever their
/// values (RFC 9110 §7.6.1, RFC 9111 §3.1).
///
/// Nominated fields go, except those that route, frame or govern the caching of a message (`Host`, `Content-*`,
/// `Cache-Control`, `Vary` and the like). Strip a message before anything is decided from it, so that what was decided
/// on and what was forwarded are the same.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    remove_fields(headers, is_hop_by_hop);
}

/// Removes what `Connection` nominates, for those who look at a message before it goes on: what ends at this hop makes no
/// difference to what the next one answers. `TE`, `Trailer` and `Upgrade` stay, which are nominated whenever they are
/// meant.
pub fn strip_nominated(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    for name in nominated(headers) {
        if ![header::TE, header::TRAILER, header::UPGRADE].contains(&name) {
            headers.remove(name);
        }
    }
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    list(headers, &header::CONNECTION)
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .filter(|name| !NEVER_NOMINATED.contains(name))
        .collect()
}

/// The whole value of a field: its lines joined by `, ` (RFC 9110 §5.2); `None` when there is no such line.
#[must_use]
pub fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut value = lines.next()?.as_bytes().to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes());
    }
    Some(value)
}

/// The only line of a field; `None` when it is absent or repeated.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then(|| line.as_bytes())
}

/// The members of a list field over all its lines, in order, trimmed, without empty ones (RFC 9110 §5.6.1).
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| Members::of(line.as_bytes()))
}

/// The members of one line of a list field: parted by commas outside of quoted strings, trimmed, without empty ones.
///
/// A quote that is never closed opens no string: a comma after it parts as any other, so that it cannot hide a member.
pub(crate) struct Members<'a> {
    rest: Option<&'a [u8]>,
    /// Whether a quote was met that is never closed.
    pub(crate) unterminated: bool,
}

impl<'a> Members<'a> {
    pub(crate) fn of(line: &'a [u8]) -> Self {
        Self {
            rest: Some(line),
            unterminated: false,
        }
    }

    fn comma(&mut self, text: &[u8]) -> Option<usize> {
        let mut position = 0;
        while position < text.len() {
            match text[position] {
                b',' => return Some(position),
                b'"' if !self.unterminated => match quoted_string(&text[position..]) {
                    Some(length) => position += length,
                    None => {
                        self.unterminated = true;
                        position += 1;
                    }
                },
                _ => position += 1,
            }
        }
        None
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let text = self.rest?;
            let member = match self.comma(text) {
                Some(comma) => {
                    self.rest = Some(&text[comma + 1..]);
                    &text[..comma]
                }
                None => {
                    self.rest = None;
                    text
                }
            };
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    }
}

/// The length of the quoted string that `text` begins with, both quotes included (RFC 9110 §5.6.4).
pub(crate) fn quoted_string(text: &[u8]) -> Option<usize> {
    let mut position = 1;
    while position < text.len() {
        match text[position] {
            b'\\' => position += 2,
            b'"' => return Some(position + 1),
            _ => position += 1,
        }
    }
    None
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An unsigned number of digits alone, saturating at the top; `None` for anything else, also the empty text.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit().then(|| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
    })
}
