//! `Cache-Status`: what this cache did with a request (RFC 9211).

use std::fmt::Write as _;

use http::StatusCode;
use http::header::HeaderValue;

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Forwarded {
    /// Nothing suitable was stored, and no other word says why.
    Miss,
    /// Nothing was stored for the URI.
    UriMiss,
    /// Something was stored for the URI, but for other selecting fields.
    VaryMiss,
    /// What was stored was stale.
    Stale,
    /// The method is never answered from the store.
    Method,
    /// The cache was configured not to handle the request.
    Bypass,
    /// The request's own directives forbade what was stored.
    Request,
    /// Only a part of what was asked for was stored.
    Partial,
}

impl Forwarded {
    /// All of them, in their order.
    pub const ALL: [Forwarded; 8] = [
        Self::Miss,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Stale,
        Self::Method,
        Self::Bypass,
        Self::Request,
        Self::Partial,
    ];

    /// The token of RFC 9211 §2.2.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Method => "method",
            Self::Bypass => "bypass",
            Self::Request => "request",
            Self::Partial => "partial",
        }
    }
}

/// One cache's member of `Cache-Status`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CacheStatus {
    /// The request was not forwarded. Excludes `fwd` and what belongs to it, which then are not shown.
    pub hit: bool,
    pub fwd: Option<Forwarded>,
    /// The status of the origin's answer.
    pub fwd_status: Option<StatusCode>,
    /// The remaining freshness in seconds; negative when stale.
    pub ttl: Option<i64>,
    /// The answer was stored.
    pub stored: bool,
    /// The request was joined to another's fetch.
    pub collapsed: bool,
    /// The cache key, shown on request.
    pub key: Option<String>,
    /// The tier, or the name of a refusal.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// The field's value, as in `tidegate; hit; ttl=30; detail=memory`. What is no token is quoted, and what may not
    /// stand in a quoted string is percent-encoded.
    #[must_use]
    pub fn to_header_value(&self, cache_name: &str) -> HeaderValue {
        let mut text = String::with_capacity(64);
        push_name(&mut text, cache_name);
        if self.hit {
            text.push_str("; hit");
        } else {
            self.push_forwarding(&mut text);
        }
        if let Some(ttl) = self.ttl {
            // Integers have at most fifteen digits (RFC 9651 §3.3.1).
            const MOST: i64 = 999_999_999_999_999;
            text.push_str("; ttl=");
            push_integer(&mut text, ttl.clamp(-MOST, MOST));
        }
        if let Some(key) = &self.key {
            text.push_str("; key=");
            push_string(&mut text, key);
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            push_name(&mut text, detail);
        }
        HeaderValue::try_from(text).expect("only visible ASCII and spaces were written")
    }

    fn push_forwarding(&self, text: &mut String) {
        if let Some(reason) = self.fwd {
            text.push_str("; fwd=");
            text.push_str(reason.name());
        }
        if let Some(status) = self.fwd_status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
    }
}

fn push_integer(text: &mut String, integer: i64) {
    if integer < 0 {
        text.push('-');
    }
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut left = integer.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend(digits[first..].iter().copied().map(char::from));
}

/// A token if it is one, else a string (RFC 9651 §3.3.3, §3.3.4).
fn push_name(text: &mut String, name: &str) {
    let begins_token = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    let is_token = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    if begins_token && is_token {
        text.push_str(name);
    } else {
        push_string(text, name);
    }
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                write!(text, "%{byte:02X}").expect("writing to a string does not fail");
            }
        }
    }
    text.push('"');
}
