//! What a message loses and gains as it passes through (RFC 9110 §7.6).

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;
use tidegate_semantics::{remove_fields, strip_hop_by_hop};

use crate::body::Body;
use crate::exchange::{Exchange, FORWARDED_PROTO};
use crate::trailers;
use crate::upstream::strip_lsn;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What an origin is told beside what the client said, about.
const FIELDS_ADDED: usize = 6;

/// A request for an origin, without a body.
#[derive(Clone)]
pub struct Outbound {
    pub method: Method,
    pub path_and_query: PathAndQuery,
    pub headers: HeaderMap,
}

impl Outbound {
    /// The client's request as an origin shall see it; `via` is our name in `Via`.
    pub fn of(exchange: &Exchange, via: &HeaderValue) -> Outbound {
        let mut headers = HeaderMap::clone(&exchange.headers);
        headers.reserve(FIELDS_ADDED);
        strip_hop_by_hop(&mut headers);
        // The body's own size decides the framing, never what was received. And the last is of an
        // upgrade that is not offered (RFC 9113 §3.1).
        remove_fields(&mut headers, |name| {
            matches!(
                name,
                "content-length" | "transfer-encoding" | "http2-settings"
            )
        });
        strip_lsn(&mut headers);
        headers.insert(HOST, authority(exchange));
        headers.append(VIA, via.clone());
        say_who_asked(&mut headers, exchange);
        Outbound {
            method: exchange.method.clone(),
            path_and_query: exchange.path_and_query.clone(),
            headers,
        }
    }

    /// The same request on nobody's behalf, for a refresh in the background.
    pub fn anonymous(mut self) -> Outbound {
        self.headers.remove(AUTHORIZATION);
        self.headers.remove(COOKIE);
        self
    }

    /// Offers the origin other protocols (RFC 9110 §7.8).
    pub fn offer_upgrade(&mut self, protocols: &HeaderValue) {
        self.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        self.headers.insert(UPGRADE, protocols.clone());
    }

    /// Announces the trailers of the request to come, as far as they may pass.
    pub fn announce_trailers(&mut self, received: &HeaderMap) {
        if let Some(announced) = trailers::announced(received) {
            self.headers.insert(TRAILER, announced);
        }
    }

    /// Asks the origin for trailers (RFC 9110 §10.1.4).
    pub fn accept_trailers(&mut self) {
        self.headers
            .insert(CONNECTION, HeaderValue::from_static("te"));
        self.headers
            .insert(TE, HeaderValue::from_static("trailers"));
    }

    /// A message for the connection.
    pub fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        let is_chunked =
            request.body().size_hint().exact().is_none() || self.headers.contains_key(TRAILER);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path_and_query.clone());
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        if is_chunked {
            // Left to itself, hyper leaves the body of such a GET behind.
            request
                .headers_mut()
                .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        request
    }
}

/// Says for whom a request is forwarded, and what of that they asked. The last line of
/// `X-Forwarded-For` is what is known here; those before it are what was said.
pub(crate) fn say_who_asked(headers: &mut HeaderMap, exchange: &Exchange) {
    headers.insert(FORWARDED_HOST, authority(exchange));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(exchange.scheme));
    headers.append(FORWARDED_FOR, client(exchange));
}

/// Takes back what [`say_who_asked`] said, out of fields that somebody else may have changed since.
pub(crate) fn unsay_who_asked(headers: &mut HeaderMap, exchange: &Exchange) {
    for name in [FORWARDED_HOST, FORWARDED_PROTO] {
        headers.remove(&name);
        for line in exchange.headers.get_all(&name) {
            headers.append(&name, line.clone());
        }
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().cloned();
    let mut lines: Vec<HeaderValue> = lines.collect();
    if lines.pop_if(|last| *last == client(exchange)).is_some() {
        headers.remove(FORWARDED_FOR);
        for line in lines {
            headers.append(FORWARDED_FOR, line);
        }
    }
}

fn authority(exchange: &Exchange) -> HeaderValue {
    HeaderValue::try_from(exchange.authority.as_str())
        .expect("an authority is made of visible characters")
}

fn client(exchange: &Exchange) -> HeaderValue {
    HeaderValue::try_from(written(exchange.client))
        .expect("an address is made of visible characters")
}

/// Those of IPv4 are written here: the library's way is ten times as long.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let mut text = String::with_capacity(15);
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push('.');
                }
                for (unit, has_digit) in [(100, octet >= 100), (10, octet >= 10), (1, true)] {
                    if has_digit {
                        text.push(char::from(b'0' + octet / unit % 10));
                    }
                }
            }
            text
        }
        IpAddr::V6(address) => address.to_string(),
    }
}

/// An origin's fields as they go on: without hop-by-hop ones, without framing, with our `Via`.
/// The length of a response to HEAD says what GET would have brought, and stays.
pub fn inbound(headers: &mut HeaderMap, method: &Method, via: &HeaderValue) {
    strip_hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
    if method != Method::HEAD {
        headers.remove(CONTENT_LENGTH);
    }
    headers.append(VIA, via.clone());
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_written_as_the_library_does() {
        for octet in 0..=255 {
            let address = IpAddr::from(Ipv4Addr::new(octet, 255 - octet, octet / 2, octet / 26));
            assert_eq!(written(address), address.to_string());
        }
    }
}
