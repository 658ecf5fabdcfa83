//! Names, and whole fields, that are a number where they are kept. The numbers are this process's own:
//! nothing that is written elsewhere has them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use http::header::{self, HeaderName, HeaderValue};

/// What of a field has a number.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Whole(u8),
    Name(u8),
    Nothing,
}

pub(super) fn known((name, value): (&HeaderName, &HeaderValue)) -> Known {
    let Some(place) = PLACES.get(name) else {
        return Known::Nothing;
    };
    let mut wholes = place.wholes.clone();
    match wholes.find(|number| whole_at(*number).1 == *value) {
        Some(number) => Known::Whole(number),
        None => Known::Name(place.name),
    }
}

pub(super) fn whole_at(number: u8) -> &'static (HeaderName, HeaderValue) {
    &WHOLE[usize::from(number - WHOLE_FROM)]
}

/// Where a name stands in the two lists.
struct Place {
    name: u8,
    /// The numbers of the fields that have it.
    wholes: Range<u8>,
}

static PLACES: LazyLock<HashMap<&'static HeaderName, Place>> = LazyLock::new(|| {
    let number = |at: usize| u8::try_from(at).expect("there are fewer than 128");
    let places = KNOWN.iter().enumerate().map(|(at, name)| {
        let has_name = |(of_name, _): &(HeaderName, HeaderValue)| of_name == name;
        let first = WHOLE.iter().position(has_name).unwrap_or(0);
        let count = WHOLE[first..].iter().take_while(|field| has_name(field));
        let from = WHOLE_FROM + number(first);
        let place = Place {
            name: number(at),
            wholes: from..from + number(count.count()),
        };
        (name, place)
    });
    places.collect()
});

/// Names that need one byte: the place in this list. The list is this process's own.
pub(super) static KNOWN: [HeaderName; 56] = [
    header::DATE,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::SERVER,
    header::EXPIRES,
    header::VARY,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_STATUS,
    header::CDN_CACHE_CONTROL,
    header::LINK,
    header::LOCATION,
    header::REFERRER_POLICY,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VIA,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_DNS_PREFETCH_CONTROL,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    HeaderName::from_static("cache-groups"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("cross-origin-embedder-policy"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("no-vary-search"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-robots-tag"),
];

/// Fields that need one byte, name and value together: their places, counted from [`WHOLE_FROM`]. Those of one name
/// stand together.
pub(super) static WHOLE: [(HeaderName, HeaderValue); 52] = [
    whole(header::CONTENT_TYPE, "text/html; charset=utf-8"),
    whole(header::CONTENT_TYPE, "text/html; charset=UTF-8"),
    whole(header::CONTENT_TYPE, "text/html"),
    whole(header::CONTENT_TYPE, "application/json"),
    whole(header::CONTENT_TYPE, "application/json; charset=utf-8"),
    whole(header::CONTENT_TYPE, "text/css"),
    whole(header::CONTENT_TYPE, "text/css; charset=utf-8"),
    whole(header::CONTENT_TYPE, "text/javascript"),
    whole(header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
    whole(header::CONTENT_TYPE, "application/javascript"),
    whole(header::CONTENT_TYPE, "text/plain"),
    whole(header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    whole(header::CONTENT_TYPE, "application/octet-stream"),
    whole(header::CONTENT_TYPE, "image/jpeg"),
    whole(header::CONTENT_TYPE, "image/png"),
    whole(header::CONTENT_TYPE, "image/webp"),
    whole(header::CONTENT_TYPE, "image/avif"),
    whole(header::CONTENT_TYPE, "image/gif"),
    whole(header::CONTENT_TYPE, "image/svg+xml"),
    whole(header::CONTENT_TYPE, "image/x-icon"),
    whole(header::CONTENT_TYPE, "font/woff"),
    whole(header::CONTENT_TYPE, "font/woff2"),
    whole(header::CONTENT_TYPE, "application/xml"),
    whole(header::CONTENT_TYPE, "text/xml"),
    whole(header::CONTENT_TYPE, "application/pdf"),
    whole(header::CONTENT_TYPE, "application/wasm"),
    whole(header::CONTENT_TYPE, "video/mp4"),
    whole(header::CONTENT_TYPE, "video/mp2t"),
    whole(header::ACCEPT_RANGES, "bytes"),
    whole(header::ACCEPT_RANGES, "none"),
    whole(header::CONTENT_ENCODING, "gzip"),
    whole(header::CONTENT_ENCODING, "br"),
    whole(header::CONTENT_ENCODING, "zstd"),
    whole(header::VARY, "Accept-Encoding"),
    whole(header::VARY, "accept-encoding"),
    whole(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    whole(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    whole(header::X_FRAME_OPTIONS, "DENY"),
    whole(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    whole(header::X_XSS_PROTECTION, "0"),
    whole(header::X_XSS_PROTECTION, "1; mode=block"),
    whole(header::REFERRER_POLICY, "no-referrer"),
    whole(header::REFERRER_POLICY, "same-origin"),
    whole(header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    whole(header::SERVER, "nginx"),
    whole(header::SERVER, "Apache"),
    whole(header::SERVER, "AmazonS3"),
    whole(header::CACHE_CONTROL, "no-cache"),
    whole(header::CACHE_CONTROL, "max-age=31536000"),
    whole(header::CACHE_CONTROL, "public, max-age=31536000"),
    whole(header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    whole(header::CACHE_CONTROL, "public, max-age=3600"),
];

const fn whole(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// The first number of a whole field.
pub(super) const WHOLE_FROM: u8 = 128;
/// Stands for a name that is written out.
pub(super) const WRITTEN_OUT: u8 = u8::MAX;
