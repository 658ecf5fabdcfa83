//! Middleware: components around all that the edge does with a request, the first outermost.
//!
//! A middleware is handed the request, and hands one on, as often as it likes: to the next
//! middleware, and behind the last to filters, cache and origin. So it runs for hits too. What it
//! hands on is looked at again as if it came from outside; the host stays that of the client, and so
//! does what is said of the client in `X-Forwarded-…`, of which it sees what an origin would.
//! Interim responses, upgrades and trailers do not go through it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tidegate_semantics::{CacheStatus, strip_hop_by_hop};

use super::{Answer, CACHE_STATUS, Proxy, Route};
use crate::body::{Arriving, Body, Received, is_about_its_body, unless_empty};
use crate::error::Failure;
use crate::exchange::{Exchange, MAX_TARGET, canonical, join_cookies, rooted};
use crate::forward::{say_who_asked, unsay_who_asked};
use crate::handlers::{Lent, Middleware, Next, NotPassed, Onward};
use crate::telemetry::Outcome;

/// Bytes of a body that the server reads behind an answer, so that its connection stays.
const READ_AT_ONCE: u64 = 8 << 10;

/// What is behind a middleware.
struct Behind {
    proxy: Arc<Proxy>,
    route: Arc<Route>,
    /// Which of the route's middleware comes next.
    next: usize,
    /// The exchange as the middleware was handed it, without its body.
    exchange: Exchange,
    fate: OnceLock<Fate>,
}

/// What has become of what is behind a middleware. Whichever comes first stays.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// The middleware has asked it.
    Asked,
    /// The middleware was given up and left out; whatever it asks from then on goes nowhere.
    LeftOut,
}

impl Behind {
    fn was_asked(&self) -> bool {
        self.fate.get() == Some(&Fate::Asked)
    }

    /// Whether it is from now on, or was before.
    fn becomes(&self, fate: Fate) -> bool {
        *self.fate.get_or_init(|| fate) == fate
    }
}

impl Proxy {
    /// Has the route's middleware from the `at`th on answer an exchange, and what is behind them.
    pub(super) fn surround(
        self: Arc<Self>,
        mut exchange: Exchange,
        route: Arc<Route>,
        at: usize,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            let Some(middleware) = route.middleware.get(at) else {
                return self.respond(exchange, route).await;
            };
            let limit = self.settings.max_body;
            let announced = exchange.body.as_ref().map(http_body::Body::size_hint);
            if announced.is_some_and(|announced| announced.lower() > limit as u64) {
                let mut response = self.finish(self.failed(Failure::BodyTooLarge(limit)), &route);
                close(&mut response, &exchange);
                return response;
            }
            let (lent, body) = Lent::out(exchange.body.take());
            let is_too_large = Arc::<AtomicBool>::default();
            let body = body.map_or(Body::Empty, |body| {
                let received = Received::new(body, middleware.timeout(), limit);
                Body::stream(received.flagging(Arc::clone(&is_too_large)))
            });
            let behind = Arc::new(Behind {
                proxy: Arc::clone(&self),
                route: Arc::clone(&route),
                next: at + 1,
                exchange: exchange.without_body(),
                fate: OnceLock::new(),
            });
            let request = handed(&exchange, body);
            let next = Arc::clone(&behind) as Arc<dyn Next>;
            let answered = middleware.answer(request, next).await;
            let answered = answered.and_then(|response| passable(response, &exchange, middleware));
            // Whatever the middleware makes of a body that it was not sent to its end.
            let answered = match is_too_large.load(Ordering::Relaxed) {
                true => Err(Failure::BodyTooLarge(limit)),
                false => answered,
            };
            let failure = match answered {
                Ok(mut response) => {
                    if !behind.was_asked() {
                        response = self.finish(answered_itself(response), &route);
                    } else if !response.headers().contains_key(CACHE_STATUS) {
                        // What was asked is counted, but this is not its answer.
                        let told = by_plugin().to_header_value(&self.settings.name);
                        response.headers_mut().append(CACHE_STATUS, told);
                    }
                    close_if_unread(&mut response, &exchange, &lent);
                    return response;
                }
                Err(failure) => failure,
            };
            if matches!(failure, Failure::Plugin { .. })
                && middleware.is_fail_open()
                && behind.becomes(Fate::LeftOut)
                && let Ok(body) = lent.take_back()
            {
                exchange.body = body;
                // It may have been going to take away what must not be shared.
                exchange.bypass_cache = true;
                return self.surround(exchange, Arc::clone(&route), at + 1).await;
            }
            let mut response = self.finish(self.failed(failure), &route);
            close_if_unread(&mut response, &exchange, &lent);
            response
        })
    }
}

impl Next for Behind {
    fn answer(self: Arc<Self>, request: Request<Body>) -> Onward {
        Box::pin(async move {
            let mut exchange = taken_up(&self.exchange, request)?;
            // Whether the cache may answer depends on it.
            if !is_about_its_body(&exchange.method)
                && let Some(body) = exchange.body.take()
            {
                exchange.body = unless_empty(body).await.map(Arriving::guest);
            }
            if !self.becomes(Fate::Asked) {
                return Err(NotPassed::LeftOut);
            }
            let (proxy, route) = (Arc::clone(&self.proxy), Arc::clone(&self.route));
            Ok(proxy.surround(exchange, route, self.next).await)
        })
    }
}

/// The request as a middleware sees it: by the client's URL.
fn handed(exchange: &Exchange, body: Body) -> Request<Body> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match exchange.scheme {
        "https" => Scheme::HTTPS,
        _ => Scheme::HTTP,
    });
    parts.authority = Some(exchange.authority.clone());
    parts.path_and_query = Some(shown(exchange).clone());
    let mut request = Request::new(body);
    *request.method_mut() = exchange.method.clone();
    *request.uri_mut() = Uri::from_parts(parts).expect("a scheme, a host and a path are a URL");
    *request.headers_mut() = HeaderMap::clone(&exchange.headers);
    // The body goes by its own length.
    request.headers_mut().remove(CONTENT_LENGTH);
    request.headers_mut().remove(TRANSFER_ENCODING);
    say_who_asked(request.headers_mut(), exchange);
    request
}

/// The path and query as a middleware sees them. That of `OPTIONS *` is an empty one in a URL
/// (RFC 9112 §3.2.4), for which guests have "/".
fn shown(exchange: &Exchange) -> &PathAndQuery {
    static EMPTY: PathAndQuery = PathAndQuery::from_static("/");
    match exchange.path_and_query.as_str() {
        "*" => &EMPTY,
        _ => &exchange.path_and_query,
    }
}

/// The exchange that a middleware goes on with.
fn taken_up(handed: &Exchange, request: Request<Body>) -> Result<Exchange, NotPassed> {
    let (head, body) = request.into_parts();
    if matches!(head.method, Method::CONNECT | Method::TRACE) || head.method.as_str() == "PURGE" {
        return Err(NotPassed::Method);
    }
    let authority = head.uri.authority().cloned().map(canonical).transpose();
    if authority.is_ok_and(|authority| authority.is_none_or(|named| named == handed.authority)) {
        let path_and_query = rooted(&head.uri).map_err(|_| NotPassed::Target)?;
        if path_and_query.as_str() == "*" || path_and_query.as_str().len() > MAX_TARGET {
            return Err(NotPassed::Target);
        }
        let mut exchange = handed.without_body();
        // What was for all of the host is, as long as nothing is made of it.
        let is_as_shown = path_and_query == *shown(handed) && head.method == handed.method;
        if !is_as_shown && path_and_query != exchange.path_and_query {
            let asked = std::mem::replace(&mut exchange.path_and_query, path_and_query);
            exchange.rewritten_from.get_or_insert(asked);
        }
        exchange.method = head.method;
        exchange.headers = passable_fields(head.headers, handed).into();
        exchange.body = match body {
            Body::Empty => None,
            body => Some(Arriving::guest(body)),
        };
        return Ok(exchange);
    }
    Err(NotPassed::Target)
}

/// A request's fields without those of a connection, which are not the middleware's to set.
fn passable_fields(mut headers: HeaderMap, handed: &Exchange) -> HeaderMap {
    strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(HOST);
    if let Some(host) = handed.headers.get(HOST) {
        headers.insert(HOST, host.clone());
    }
    unsay_who_asked(&mut headers, handed);
    join_cookies(&mut headers);
    headers
}

/// A middleware's response as it may go on.
fn passable(
    response: Response<Arriving>,
    exchange: &Exchange,
    middleware: &Middleware,
) -> Result<Response<Body>, Failure> {
    let status = response.status();
    if status.is_informational() {
        return Err(middleware.wrong("an interim status instead of a final one"));
    }
    let has_body = exchange.method != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = response.map(|body| match has_body {
        true => Body::stream(Received::new(body, middleware.timeout(), usize::MAX)),
        false => Body::Empty,
    });
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
    // A body's own length decides. The length of none says what a GET would have brought.
    if has_body || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(response)
}

/// What a middleware answers without asking what is behind it.
fn answered_itself(response: Response<Body>) -> Answer {
    Answer {
        response,
        status: by_plugin(),
        is_told: false,
        outcome: Outcome::Filtered,
    }
}

fn by_plugin() -> CacheStatus {
    CacheStatus {
        detail: Some("plugin"),
        ..CacheStatus::default()
    }
}

/// Says that the connection closes where nobody has read the body. One that was announced would be
/// taken for the next request, and for more of it than it reads at once the server does not wait.
fn close_if_unread(response: &mut Response<Body>, exchange: &Exchange, lent: &Lent) {
    let is_announced = exchange.expects_continue && lent.is_untouched();
    if is_announced || lent.is_left_with_over(READ_AT_ONCE) {
        close(response, exchange);
    }
}

fn close(response: &mut Response<Body>, exchange: &Exchange) {
    if exchange.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}
