//! A client's wish to go on in another protocol (RFC 9110 §7.8).

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

/// What a client offers, as far as it may be offered to an origin.
pub struct Upgrade {
    /// The protocols, in the client's order.
    pub protocols: HeaderValue,
    /// The client's connection, once a 101 has been sent.
    pub client: OnUpgrade,
}

impl Upgrade {
    /// The upgrade that a request asks for. `None` where it asks for none that could be had: over
    /// HTTP/1.0, or with a body, which would have to be read first, the field is ignored, as
    /// anybody may ignore it.
    pub fn asked(request: &mut Request<Incoming>) -> Option<Box<Upgrade>> {
        // Nearly every request asks for none, and hyper has noticed.
        if request.extensions().get::<OnUpgrade>().is_none()
            || request.version() != Version::HTTP_11
            || !request.body().is_end_stream()
        {
            return None;
        }
        let protocols = protocols(request.headers())?;
        Some(Box::new(Upgrade {
            protocols,
            client: hyper::upgrade::on(request),
        }))
    }
}

/// Whether a request with these fields asks for an upgrade that may be offered to an origin.
pub fn is_asked(headers: &HeaderMap) -> bool {
    protocols(headers).is_some()
}

/// The protocols of an upgrade that `Connection` nominates too. Other forms of HTTP, and TLS with
/// HTTP inside, are not offered: what came through them would pass by routes, filters and cache
/// (`h2c` is gone besides, RFC 9113 §3.1).
fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    if !members(headers, &CONNECTION).any(|member| member.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let offered: Vec<&str> = members(headers, &UPGRADE)
        .filter(|protocol| {
            let name = protocol.split('/').next().unwrap_or_default();
            let is_plain = |byte| byte == b'/' || is_token_byte(byte);
            protocol.bytes().all(is_plain)
                && !["h2c", "h2", "http", "tls"]
                    .iter()
                    .any(|hidden| name.eq_ignore_ascii_case(hidden))
        })
        .collect();
    if offered.is_empty() {
        return None;
    }
    HeaderValue::try_from(offered.join(", ")).ok()
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn members<'a>(
    headers: &'a HeaderMap,
    name: &http::HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_offered_without_those_that_hide_http() {
        for (connection, upgrade, offered) in [
            ("upgrade", "websocket", Some("websocket")),
            ("keep-alive, Upgrade", "a/1, b", Some("a/1, b")),
            ("upgrade", "h2c, websocket", Some("websocket")),
            ("upgrade, http2-settings", "h2c", None),
            ("upgrade", "HTTP/2.0, TLS/1.0, H2C", None),
            ("keep-alive", "websocket", None),
            ("upgrade", "h2c;x, h2c foo, chat", Some("chat")),
            ("upgrade", " , ", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            let offered = offered.map(HeaderValue::from_static);
            assert_eq!(protocols(&headers), offered, "{connection}; {upgrade}");
        }
    }
}
