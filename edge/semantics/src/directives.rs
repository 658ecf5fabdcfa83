//! Cache directives (RFC 9111 §5.2): how `Cache-Control` is read, in responses and in requests.
//!
//! The reading errs towards not caching: what restricts is recognised even in a malformed neighbourhood
//! (`max-age=60; private`), what permits only when it is well formed.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};

use crate::fields::{self, Members};

/// The directives of a response that a shared cache heeds (RFC 9111 §5.2.2, RFC 5861).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directives {
    pub max_age: Option<Seconds>,
    pub s_maxage: Option<Seconds>,
    pub stale_while_revalidate: Option<Seconds>,
    pub stale_if_error: Option<Seconds>,
    pub no_store: bool,
    /// `no-cache` without field names: never reused unvalidated.
    pub no_cache: bool,
    /// The fields that `no-cache="…"` withholds from unvalidated reuse.
    pub withheld: Vec<HeaderName>,
    /// `private`, with or without field names: the qualified form is taken for the plain one, as RFC 9111 §5.2.2.7
    /// says many caches do.
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
}

/// The argument of a directive that takes delta-seconds (RFC 9111 §1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seconds {
    /// Saturated at 2^31 seconds.
    Valid(Duration),
    /// Present, but not a number: a response with it is taken for stale (RFC 9111 §4.2.1).
    Invalid,
}

impl Seconds {
    /// The duration meant; an invalid one is none at all.
    #[must_use]
    pub fn or_zero(self) -> Duration {
        match self {
            Self::Valid(duration) => duration,
            Self::Invalid => Duration::ZERO,
        }
    }

    fn parse(argument: &Argument<'_>) -> Self {
        match argument {
            Argument::Value(text) => delta_seconds(text).map_or(Self::Invalid, Self::Valid),
            Argument::Absent | Argument::Malformed => Self::Invalid,
        }
    }
}

/// Reads delta-seconds: digits alone, saturating at 2^31 (RFC 9111 §1.2.2).
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    fields::digits(text).map(|seconds| Duration::from_secs(seconds.min(1 << 31)))
}

/// What stands behind a directive's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Argument<'a> {
    Absent,
    /// The token, or the quoted string without its quotes and escapes.
    Value(Cow<'a, [u8]>),
    /// Something that is neither.
    Malformed,
}

impl Directives {
    /// Reads the `Cache-Control` lines of a response.
    #[must_use]
    pub fn of(response: &HeaderMap) -> Self {
        Self::of_field(response, &header::CACHE_CONTROL)
    }

    /// Reads the lines of any field that has the syntax of `Cache-Control`.
    pub(crate) fn of_field(response: &HeaderMap, name: &HeaderName) -> Self {
        let mut directives = Self::default();
        let unterminated = each(response, name, |name, argument, malformed| {
            directives.apply(name, &argument);
            directives.restrict(malformed);
        });
        if unterminated {
            directives.max_age = directives.max_age.map(|_| Seconds::Invalid);
            directives.s_maxage = directives.s_maxage.map(|_| Seconds::Invalid);
        }
        directives
    }

    /// Whether a stale response must be validated, come what may: `must-revalidate`, `proxy-revalidate`, or an
    /// applicable `s-maxage` (RFC 9111 §4.2.4).
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    /// Takes one directive in. Of duplicates the first counts (RFC 9111 §4.2.1).
    pub(crate) fn apply(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        let plain = *argument == Argument::Absent;
        if is("max-age") {
            self.max_age.get_or_insert_with(|| Seconds::parse(argument));
        } else if is("s-maxage") {
            self.s_maxage
                .get_or_insert_with(|| Seconds::parse(argument));
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate
                .get_or_insert_with(|| Seconds::parse(argument));
        } else if is("stale-if-error") {
            self.stale_if_error
                .get_or_insert_with(|| Seconds::parse(argument));
        } else if is("no-store") {
            self.no_store = true;
        } else if is("private") {
            self.private = true;
        } else if is("no-cache") {
            match field_names(argument) {
                Some(names) => self.withheld.extend(names),
                None => self.no_cache = true,
            }
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("public") {
            self.public |= plain;
        } else if is("must-understand") {
            self.must_understand |= plain;
        }
    }

    /// Looks for words that restrict in text that is no well-formed directive: `max-age=60; private` was meant.
    fn restrict(&mut self, malformed: &[u8]) {
        for word in malformed.split(|byte| !fields::is_token_byte(*byte)) {
            if [&b"no-store"[..], b"private", b"no-cache"]
                .iter()
                .any(|directive| word.eq_ignore_ascii_case(directive))
            {
                self.apply(word, &Argument::Absent);
            }
        }
    }
}

/// The field names of a qualified directive; `None` when it is unqualified, or so malformed that it must count as such.
fn field_names(argument: &Argument<'_>) -> Option<Vec<HeaderName>> {
    let Argument::Value(text) = argument else {
        return None;
    };
    let names: Option<Vec<_>> = Members::of(text)
        .map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    names.filter(|names| !names.is_empty())
}

/// The directives of a request (RFC 9111 §5.2.1); heeded only where the route says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestDirectives {
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Seconds>,
    /// `max-stale` without an argument accepts any staleness: [`Duration::MAX`].
    pub max_stale: Option<Duration>,
    pub min_fresh: Option<Seconds>,
    /// RFC 5861 §4: it may stand in requests too.
    pub stale_if_error: Option<Seconds>,
}

impl RequestDirectives {
    /// Reads the `Cache-Control` lines of a request. `Pragma` is ignored.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        let mut directives = Self::default();
        each(request, &header::CACHE_CONTROL, |name, argument, _| {
            directives.apply(name, &argument);
        });
        directives
    }

    fn apply(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age.get_or_insert_with(|| Seconds::parse(argument));
        } else if is("min-fresh") {
            self.min_fresh
                .get_or_insert_with(|| Seconds::parse(argument));
        } else if is("stale-if-error") {
            self.stale_if_error
                .get_or_insert_with(|| Seconds::parse(argument));
        } else if is("max-stale") {
            self.max_stale.get_or_insert_with(|| match argument {
                Argument::Absent => Duration::MAX,
                argument => Seconds::parse(argument).or_zero(),
            });
        }
    }
}

/// Calls `visit` with the name, the argument and the malformed remainder (mostly empty) of each directive; returns
/// whether a quote was never closed.
fn each(
    headers: &HeaderMap,
    field: &HeaderName,
    mut visit: impl FnMut(&[u8], Argument<'_>, &[u8]),
) -> bool {
    let mut unterminated = false;
    for line in headers.get_all(field) {
        let mut members = Members::of(line.as_bytes());
        for member in members.by_ref() {
            let (name, argument, malformed) = directive(member);
            visit(name, argument, malformed);
        }
        unterminated |= members.unterminated;
    }
    unterminated
}

/// Takes one directive apart: `token [ "=" ( token / quoted-string ) ]`, with no space anywhere (RFC 9111 §5.2).
fn directive(member: &[u8]) -> (&[u8], Argument<'_>, &[u8]) {
    let end = token_end(member);
    let (name, rest) = member.split_at(end);
    let Some(value) = rest.strip_prefix(b"=") else {
        let argument = if rest.is_empty() {
            Argument::Absent
        } else {
            Argument::Malformed
        };
        return (name, argument, rest);
    };
    if !value.is_empty() && token_end(value) == value.len() {
        return (name, Argument::Value(Cow::Borrowed(value)), b"");
    }
    if value.first() == Some(&b'"') && fields::quoted_string(value) == Some(value.len()) {
        return (
            name,
            Argument::Value(unescaped(&value[1..value.len() - 1])),
            b"",
        );
    }
    (name, Argument::Malformed, rest)
}

fn token_end(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !fields::is_token_byte(*byte))
        .unwrap_or(text.len())
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let escaped = if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        };
        plain.extend(escaped);
    }
    Cow::Owned(plain)
}
