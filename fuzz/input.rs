//! Messages out of arbitrary bytes.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tidegate_semantics::{Exchange, Policy, Storable, Timestamp, storable};

/// The beginning of 2026, when everything here happens.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// The two halves around the first empty line; the second is empty where there is none.
#[must_use]
pub fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, b""),
    }
}

/// The lines of a text that may stand in a field, as lines of this field.
#[must_use]
pub fn field(name: &'static str, text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for value in values(text) {
        fields.append(HeaderName::from_static(name), value);
    }
    fields
}

/// The lines of a text that may stand in a field.
pub fn values(text: &[u8]) -> impl Iterator<Item = HeaderValue> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok())
}

/// Lines of names and values; what is no such line is left out.
#[must_use]
pub fn fields(text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// What the rules say of a 200 to a plain GET.
#[must_use]
pub fn judged(response: &HeaderMap) -> Storable {
    let exchange = Exchange {
        method: &Method::GET,
        path: "/",
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response,
        requested_at: NOW,
        received_at: NOW,
    };
    storable(&exchange, &Policy::default())
}
