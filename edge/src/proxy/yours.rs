//! Read your writes: whoever wrote gets a token, and whoever brings one to an edge that has not
//! heard of the write yet is answered by the origin.
//!
//! The token is between the edges and the client: neither filters nor origins, keys nor stored
//! responses know of it. It is taken out of the request before anything looks at that, and put on
//! the answer behind everything else; what an origin says under its name is dropped as it comes.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Answer, Proxy, Route};
use crate::config::ReadYourWrites;
use crate::exchange::Exchange;
use crate::purge::{Invalid, LIFETIME, Seal, Seen, Token};
use crate::telemetry::Metrics;

const SEEN: HeaderName = HeaderName::from_static("tidegate-seen");

/// The cookie's name.
const NAME: &[u8] = b"tidegate-seen";

/// Of a request's tokens, how many are tried. A browser may hold cookies of one name for several
/// paths and domains, and another site of the domain may have set them.
const TRIED: usize = 16;

/// What a route does so that clients read their own writes.
#[derive(Clone)]
pub struct Yours {
    /// How the token travels.
    pub by: ReadYourWrites,
    pub seal: Arc<Seal>,
}

impl Yours {
    /// Takes the token out of a request: the first that says something, of those that come as the
    /// route has it. Those that come otherwise are taken out too.
    pub(super) fn take(&self, exchange: &mut Exchange) {
        let headers = &mut exchange.headers;
        let (fields, cookies) = (take_fields(headers), take_cookies(headers, NAME));
        let mut tokens = match self.by {
            ReadYourWrites::Header => fields,
            ReadYourWrites::Cookie => cookies,
        };
        let says = |token: &str| self.seal.open(token, exchange.now).is_ok();
        let place = tokens.iter().take(TRIED).position(|it| says(it));
        let place = place.unwrap_or(0);
        exchange.token = (place < tokens.len()).then(|| tokens.swap_remove(place));
    }

    /// What the client of an exchange says it has seen; `None` where it says nothing.
    fn brought(&self, exchange: &Exchange) -> Option<Result<Token, Invalid>> {
        let token = exchange.token.as_deref()?;
        Some(self.seal.open(token, exchange.now))
    }

    /// Gives the client of a write its token. No cache behind us may give it to others.
    fn give(&self, exchange: &Exchange, token: &str, headers: &mut HeaderMap) {
        let is_targeted = |name: &&HeaderName| name.as_str().ends_with("-cache-control");
        let targeted: Vec<HeaderName> = headers.keys().filter(is_targeted).cloned().collect();
        for name in targeted {
            headers.remove(name);
        }
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        let value = |text: &str| HeaderValue::try_from(text).expect("made of visible characters");
        match self.by {
            ReadYourWrites::Header => {
                headers.insert(SEEN, value(token));
            }
            ReadYourWrites::Cookie => {
                let secure = match exchange.scheme {
                    "https" => "; Secure",
                    _ => "",
                };
                let cookie = format!(
                    "{SEEN}={token}; Max-Age={}; Path=/; HttpOnly; SameSite=Lax{secure}",
                    LIFETIME.as_secs()
                );
                headers.append(SET_COOKIE, value(&cookie));
            }
        }
    }
}

impl Route {
    /// Drops what an origin says under the token's name: stored, it would be everybody's.
    pub(super) fn drop_tokens(&self, response: &mut HeaderMap) {
        if self.yours.is_none() {
            return;
        }
        response.remove(SEEN);
        let is_ours = |cookie: &HeaderValue| value_of(cookie.as_bytes(), NAME).is_some();
        if !response.get_all(SET_COOKIE).iter().any(is_ours) {
            return;
        }
        let all = response.get_all(SET_COOKIE).iter();
        let others: Vec<HeaderValue> = all.filter(|cookie| !is_ours(cookie)).cloned().collect();
        response.remove(SET_COOKIE);
        for cookie in others {
            response.append(SET_COOKIE, cookie);
        }
    }
}

impl Proxy {
    /// What the client has seen and this edge has not; `None` where the edge goes on as ever.
    pub(super) fn ahead(&self, exchange: &Exchange, route: &Route) -> Option<Seen> {
        let brought = route.yours.as_ref()?.brought(exchange)?;
        let is_reached = |token: &Token| token.is_reached_by(self.log.fence(), exchange.now);
        let result = match &brought {
            Err(invalid) => invalid.name(),
            Ok(token) if is_reached(token) => "reached",
            Ok(_) => "ahead",
        };
        Metrics::count_reason(&self.metrics.seen_tokens, result);
        let token = brought.ok().filter(|_| result == "ahead")?;
        Some(token.seen)
    }

    /// Tells the client of a write what it has seen: by this one, and by those before it.
    pub(super) fn tell_seen(
        &self,
        exchange: &Exchange,
        route: &Route,
        seen: &Seen,
        answer: &mut Answer,
    ) {
        let Some(yours) = &route.yours else {
            return;
        };
        let mut token = Token::new(*seen, self.clock.now());
        if let Some(Ok(earlier)) = yours.brought(exchange) {
            token = token.after(earlier);
        }
        let token = yours.seal.write(&token);
        yours.give(exchange, &token, answer.response.headers_mut());
    }
}

/// What `Cache-Status` says of an answer for a client that is `ahead` of the edge.
pub(super) fn detail(ahead: Option<Seen>) -> Option<&'static str> {
    ahead.map(|_| "read-your-writes")
}

/// Takes every token that comes as a field out of a request.
fn take_fields(headers: &mut HeaderMap) -> Vec<Box<str>> {
    let tokens = headers.get_all(SEEN).iter();
    let tokens = tokens.map(|token| text(token.as_bytes())).collect();
    headers.remove(SEEN);
    tokens
}

/// Takes every cookie of this name out of a request, and leaves the others as they are. Their
/// values.
fn take_cookies(headers: &mut HeaderMap, name: &[u8]) -> Vec<Box<str>> {
    let Some(line) = headers.get(COOKIE).map(HeaderValue::as_bytes) else {
        return Vec::new();
    };
    let pairs = || line.split(|byte| *byte == b';');
    let values = pairs().filter_map(|pair| value_of(pair, name));
    let values: Vec<Box<str>> = values.map(text).collect();
    if values.is_empty() {
        return values;
    }
    let others = pairs().filter(|pair| value_of(pair, name).is_none());
    let others: Vec<&[u8]> = others.collect();
    let others = others.join(&b';').trim_ascii_start().to_vec();
    if others.is_empty() {
        headers.remove(COOKIE);
    } else {
        let others = HeaderValue::from_bytes(&others).expect("parts of a field's value are one");
        headers.insert(COOKIE, others);
    }
    values
}

/// The value of a cookie of this name, with whatever attributes follow it; `None` for others.
fn value_of<'a>(cookie: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let equals = cookie.iter().position(|byte| *byte == b'=')?;
    let (own_name, value) = (&cookie[..equals], &cookie[equals + 1..]);
    (own_name.trim_ascii() == name).then(|| value.trim_ascii())
}

/// A token's text. What is no text was not made by us; it counts as a token that is forged.
fn text(token: &[u8]) -> Box<str> {
    std::str::from_utf8(token).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_are_taken_and_the_others_stay_as_they_are() {
        let cases: [(&str, &[&str], Option<&str>); 11] = [
            ("seen=1", &["1"], None),
            ("seen=1; a=2", &["1"], Some("a=2")),
            ("a=2; seen=1", &["1"], Some("a=2")),
            ("a=2; seen=1;b=3", &["1"], Some("a=2;b=3")),
            ("a=2;  b=\"x y\"; seen=", &[""], Some("a=2;  b=\"x y\"")),
            ("seen=1; a; seen=2=3", &["1", "2=3"], Some("a")),
            ("a; seen = 1 ", &["1"], Some("a")),
            ("unseen=1; seen", &[], Some("unseen=1; seen")),
            ("a=seen=1", &[], Some("a=seen=1")),
            ("seen1=1; Seen=1", &[], Some("seen1=1; Seen=1")),
            ("", &[], Some("")),
        ];
        for (line, expected, left) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(line));
            let taken = take_cookies(&mut headers, b"seen");
            let taken: Vec<&str> = taken.iter().map(|value| &**value).collect();
            assert_eq!(taken, expected, "{line}");
            let left = left.map(HeaderValue::from_static);
            assert_eq!(headers.get(COOKIE), left.as_ref(), "{line}");
        }
        assert!(take_cookies(&mut HeaderMap::new(), b"seen").is_empty());
    }
}
