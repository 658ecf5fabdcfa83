//! Content codings: which one a client would have a response in, whether a response may be encoded on its way, and what
//! its fields say then (RFC 9110 §8.4, §12.5.3).
//!
//! An encoded form is another representation of the same resource: it has a validator of its own, no byte ranges, and
//! no digest that was made of the identity form.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::fields;
use crate::time::parse_date;
use crate::vary::weight;

/// A content coding that we can make (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// All of them.
    pub const ALL: [Coding; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name in `Accept-Encoding`, `Content-Encoding` and the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Whether `name` means this coding; `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
    fn is_called(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// In which of the codings `offered` (the best first) a client would have its response; `None` is identity.
///
/// Identity for who asks for nothing, for a `Range` (parts of an encoded form, which has no strong validator, could not
/// be put together), and for who asks for `no-transform` (RFC 9111 §5.2.1.6). A coding of which something is said that is
/// no weight is not taken for acceptable. Where nothing is acceptable, not even identity, it is identity all the same:
/// RFC 9110 §12.5.3 lets a server disregard the field.
#[must_use]
pub fn negotiate(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    if !request.contains_key(header::ACCEPT_ENCODING)
        || request.contains_key(header::RANGE)
        || is_not_to_be_transformed(request)
    {
        return None;
    }
    let any = weight_of(request, |name| name == b"*").unwrap_or(0);
    let identity = weight_of(request, |name| name.eq_ignore_ascii_case(b"identity")).unwrap_or(any);
    let mut best: Option<(Coding, u16)> = None;
    for coding in offered {
        let weight = weight_of(request, |name| coding.is_called(name)).unwrap_or(any);
        if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((*coding, weight));
        }
    }
    best.filter(|(_, weight)| *weight >= identity)
        .map(|(coding, _)| coding)
}

/// The weight in thousandths of the first member of `Accept-Encoding` whose name fits.
fn weight_of(request: &HeaderMap, is_meant: impl Fn(&[u8]) -> bool) -> Option<u16> {
    fields::list(request, &header::ACCEPT_ENCODING).find_map(|member| {
        let (name, parameter) = match member.iter().position(|byte| *byte == b';') {
            Some(semicolon) => (&member[..semicolon], Some(&member[semicolon + 1..])),
            None => (member, None),
        };
        is_meant(name.trim_ascii_end()).then(|| match parameter {
            Some(parameter) => weight(parameter.trim_ascii_start()).unwrap_or(0),
            None => 1000,
        })
    })
}

/// Whether a response is a whole representation in identity form that nobody forbids to transform
/// (RFC 9110 §7.7, §8.4, §15; RFC 9111 §5.2.2.6).
#[must_use]
pub fn may_be_encoded(status: StatusCode, response: &HeaderMap) -> bool {
    let has_content = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    has_content
        && !response.contains_key(header::CONTENT_ENCODING)
        && !response.contains_key(header::CONTENT_RANGE)
        && !is_not_to_be_transformed(response)
}

/// Whether the media type of a response is one of `types`: `type/subtype` or `type/*`, in lower case.
#[must_use]
pub fn is_of_type(response: &HeaderMap, types: &[String]) -> bool {
    let Some(content_type) = fields::only(response, &header::CONTENT_TYPE) else {
        return false;
    };
    let end = content_type.iter().position(|byte| *byte == b';');
    let essence = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
    types.iter().any(|listed| match listed.strip_suffix('*') {
        Some(family) => essence
            .get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes())),
        None => essence.eq_ignore_ascii_case(listed.as_bytes()),
    })
}

/// Whether `Cache-Control` says `no-transform`, also beside something malformed: `max-age=60; no-transform` was meant.
fn is_not_to_be_transformed(message: &HeaderMap) -> bool {
    fields::list(message, &header::CACHE_CONTROL).any(|member| {
        let unquoted = member
            .split(|byte| *byte == b'"')
            .next()
            .unwrap_or_default();
        unquoted
            .split(|byte| !fields::is_token_byte(*byte))
            .any(|word| word.eq_ignore_ascii_case(b"no-transform"))
    })
}

/// Says in a response that it depends on `Accept-Encoding` (RFC 9110 §12.5.5), once, whatever form it has.
pub fn vary_on_coding(response: &mut HeaderMap) {
    let says_so = fields::list(response, &header::VARY).any(|member| {
        member == b"*" || member.eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str().as_bytes())
    });
    if says_so {
        return;
    }
    let vary = match fields::combined(response, &header::VARY) {
        None => HeaderValue::from_static("Accept-Encoding"),
        Some(named) => HeaderValue::from_bytes(&[named.as_slice(), b", Accept-Encoding"].concat())
            .expect("field values joined by a comma are one"),
    };
    response.insert(header::VARY, vary);
}

/// Makes the fields of an identity form those of its encoded form: `Content-Encoding`, a weak tag, and nothing that
/// speaks of the identity form's bytes (RFC 9110 §8.4, §8.8.1, §14.3; RFC 9530). Twice is as good as once.
///
/// The length is left to whoever knows it.
pub fn describe_encoded(response: &mut HeaderMap, coding: Coding) {
    response.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(coding.name()),
    );
    forget_identity(response);
}

/// Removes what speaks of the identity form's bytes, from the fields or the trailers of an encoded form, and weakens its
/// tag.
pub fn forget_identity(fields: &mut HeaderMap) {
    for name in [
        header::ACCEPT_RANGES,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("repr-digest"),
    ] {
        fields.remove(name);
    }
    weaken_tag(fields);
}

/// The bytes of an encoded form may differ from one time to the next, so its tag can only be weak (RFC 9110 §8.8.1).
fn weaken_tag(response: &mut HeaderMap) {
    if let Some(tag) = response.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        response.insert(header::ETAG, weak);
    }
}

/// Weakens the tag of an origin's 304 where the client named the weak form alone: it keeps an encoded form of ours, and
/// a strong tag would speak of another one (RFC 9111 §4.3.4).
pub fn weaken_confirmed_tag(request: &HeaderMap, not_modified: &mut HeaderMap) {
    let Some(tag) = not_modified.get(header::ETAG).cloned() else {
        return;
    };
    let names = |wanted: &[u8]| {
        fields::list(request, &header::IF_NONE_MATCH).any(|member| member == wanted)
    };
    if !names(tag.as_bytes()) && names(&[b"W/", tag.as_bytes()].concat()) {
        weaken_tag(not_modified);
    }
}

/// Turns weak tags in `If-Match` into strong ones: they are those of encoded forms, which [`describe_encoded`] weakened, and
/// the origin knows its representation by the strong one. What the origin itself calls weak does not match by that, since
/// both tags must be strong to match (RFC 9110 §8.8.3.2, §13.1.1).
pub fn strengthen_demanded_tags(request: &mut HeaderMap) {
    let is_weak = |member: &[u8]| member.starts_with(b"W/\"");
    if !fields::list(request, &header::IF_MATCH).any(is_weak) {
        return;
    }
    let given = fields::list(request, &header::IF_MATCH);
    let strong = fields::list(request, &header::IF_MATCH)
        .filter(|member| is_weak(member))
        .map(|member| &member[2..]);
    let all: Vec<&[u8]> = given.chain(strong).collect();
    if let Ok(all) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        request.insert(header::IF_MATCH, all);
    }
}

/// Whether a client would have a part if a date still holds (`If-Range`). A date cannot tell the forms of one
/// representation apart, so it is no strong validator of a response that is encoded for some
/// (RFC 9110 §8.8.1, §13.1.5): the part asked for may be one of an encoded form.
#[must_use]
pub fn has_dated_range(request: &HeaderMap) -> bool {
    request.contains_key(header::RANGE)
        && request
            .get(header::IF_RANGE)
            .is_some_and(|condition| parse_date(condition.as_bytes()).is_some())
}
