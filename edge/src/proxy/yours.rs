//! Read your writes: whoever wrote gets a token, and whoever brings one to an edge that has not
//! heard of the write yet is answered by the origin.
//!
//! The token is between the edges and the client: neither filters nor origins, keys nor stored
//! responses know of it. It is taken out of the request before anything looks at that, and put on
//! the answer behind everything else.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Answer, Proxy, Route};
use crate::config::ReadYourWrites;
use crate::exchange::Exchange;
use crate::purge::{LIFETIME, Seal, Seen};
use crate::telemetry::Metrics;

const SEEN: HeaderName = HeaderName::from_static("tidegate-seen");

/// What a route does so that clients read their own writes.
#[derive(Clone)]
pub struct Yours {
    /// How the token travels.
    pub by: ReadYourWrites,
    pub seal: Arc<Seal>,
}

impl Yours {
    /// Takes the token out of a request.
    pub(super) fn take(&self, exchange: &mut Exchange) {
        let headers = &mut exchange.headers;
        let token = match self.by {
            ReadYourWrites::Header => headers.remove(SEEN),
            ReadYourWrites::Cookie => take_cookie(headers, SEEN.as_str().as_bytes()),
        };
        // What is no text was not made by us; it counts as a token that is forged.
        exchange.token = token.map(|token| token.to_str().unwrap_or_default().into());
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

impl Proxy {
    /// What the client has seen and this edge has not; `None` where the edge goes on as ever.
    pub(super) fn ahead(&self, exchange: &Exchange, route: &Route) -> Option<Seen> {
        let (yours, token) = (route.yours.as_ref()?, exchange.token.as_deref()?);
        let opened = yours.seal.open(token, exchange.now);
        let is_reached = |seen: &Seen| seen.is_reached_by(self.log.fence());
        let result = match &opened {
            Err(invalid) => invalid.name(),
            Ok(seen) if is_reached(seen) => "reached",
            Ok(_) => "ahead",
        };
        Metrics::count_reason(&self.metrics.seen_tokens, result);
        opened.ok().filter(|_| result == "ahead")
    }

    /// Tells the client of a write what it has seen.
    pub(super) fn tell_seen(
        &self,
        exchange: &Exchange,
        route: &Route,
        seen: &Seen,
        answer: &mut Answer,
    ) {
        if let Some(yours) = &route.yours {
            let token = yours.seal.token(seen, self.clock.now());
            yours.give(exchange, &token, answer.response.headers_mut());
        }
    }
}

/// Takes every cookie of this name out of a request, and leaves the others as they are. The first
/// one's value.
fn take_cookie(headers: &mut HeaderMap, name: &[u8]) -> Option<HeaderValue> {
    let value_of = |pair: &[u8]| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value.to_vec())
    };
    let line = headers.get(COOKIE)?.as_bytes();
    let mut pairs = line.split(|byte| *byte == b';');
    let value = pairs.find_map(value_of)?;
    let others: Vec<&[u8]> = line
        .split(|byte| *byte == b';')
        .filter(|pair| value_of(pair).is_none())
        .collect();
    let others = others.join(&b';').trim_ascii_start().to_vec();
    if others.is_empty() {
        headers.remove(COOKIE);
    } else {
        let others = HeaderValue::from_bytes(&others).expect("parts of a field's value are one");
        headers.insert(COOKIE, others);
    }
    Some(HeaderValue::from_bytes(&value).expect("a part of a field's value is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookie_is_taken_and_the_others_stay_as_they_are() {
        for (line, expected, left) in [
            ("seen=1", Some("1"), None),
            ("seen=1; a=2", Some("1"), Some("a=2")),
            ("a=2; seen=1", Some("1"), Some("a=2")),
            ("a=2; seen=1;b=3", Some("1"), Some("a=2;b=3")),
            ("a=2;  b=\"x y\"; seen=", Some(""), Some("a=2;  b=\"x y\"")),
            ("seen=1; seen=2; a", Some("1"), Some("a")),
            ("unseen=1; seen", None, Some("unseen=1; seen")),
            ("a=seen=1", None, Some("a=seen=1")),
            ("", None, Some("")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(line));
            let taken = take_cookie(&mut headers, b"seen");
            assert_eq!(taken, expected.map(HeaderValue::from_static), "{line}");
            let left = left.map(HeaderValue::from_static);
            assert_eq!(headers.get(COOKIE), left.as_ref(), "{line}");
        }
        assert_eq!(take_cookie(&mut HeaderMap::new(), b"seen"), None);
    }
}
