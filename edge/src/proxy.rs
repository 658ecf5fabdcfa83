//! The life of a request, top to bottom.
//!
//! ```text
//! handle    begin the exchange → request filters → answer → finish
//! answer    resolve → response filters
//! resolve   key → look up → reuse → hit | stale and refresh | fetch | forward
//! ```
//!
//! Deciding is left to `tidegate-semantics` and the purge log; this module acts on what they say.
//! What filters choose in place of the route is in `choosing`, what is found in `lookup`, how a fetch is shared in `fetch` and how it is done in `job`, how it
//! waits for another edge's in `waiting`, how its answer is stored in `keeping`, how a write goes through and what it invalidates in `write`,
//! what an upgrade comes to in `tunnel`, how a stored response becomes an answer in `respond`, and
//! how answers are encoded for those who take them so in `encoding`.

mod choosing;
mod driven;
mod encoding;
mod explaining;
mod fetch;
mod filtering;
mod job;
mod keeping;
mod lookup;
mod middleware;
mod purging;
mod replicas;
mod respond;
mod search;
mod tunnel;
mod waiting;
mod write;
mod yours;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use tidegate_semantics::{CacheStatus, Forwarded, Policy, Reuse, is_safe, only_if_cached};

use crate::body::Body;
use crate::cache::{Cache, Found, KeyParts, KeyPolicy};
use crate::clock::Clock;
use crate::config::{OnPartition, Secret};
use crate::encoding::Compression;
use crate::error::Failure;
use crate::exchange::{Connection, Exchange};
use crate::filters::{Capabilities, Chain, Filters};
use crate::forward::Outbound;
use crate::handlers::Middleware;
use crate::purge::{Log, Orders, Seen, url};
use crate::router::{Router, Unrouted};
use crate::server::Answering;
use crate::telemetry::{Metrics, Outcome, RouteCounters};
use crate::upstream::Destination;
use filtering::Filtered;
use lookup::{LookedUp, Missing};
use respond::serves;
pub use yours::Yours;

/// An origin would answer behind the filters of one route what another one guards.
const AMBIGUOUS: &str = "the path may be read as another route's, or none's: begin it with one slash, without \"..\" and %2F";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// One worker's way of answering requests.
pub struct Proxy {
    pub settings: Settings,
    pub router: Router<Arc<Route>>,
    pub clock: Clock,
    pub cache: Cache,
    pub log: Log,
    /// Where purges are ordered.
    pub orders: Arc<Orders>,
    pub capabilities: Arc<Capabilities>,
    pub metrics: Metrics,
}

/// What the configuration says about the whole proxy.
#[derive(Clone)]
pub struct Settings {
    /// The name in `Cache-Status` and `Proxy-Status`.
    pub name: String,
    /// What we append to `Via`.
    pub via: HeaderValue,
    /// Whether `Cache-Status` tells keys.
    pub tells_key: bool,
    /// Bytes of a request body at most.
    pub max_body: usize,
    /// Bytes of a stored body at most.
    pub max_entry: usize,
    pub purge_token: Option<Secret>,
}

/// A route, ready to be used.
#[derive(Clone)]
pub struct Route {
    pub name: String,
    /// Host and path as the configuration has them: what this route is, and no other.
    pub pattern: Arc<str>,
    pub policy: Policy,
    /// What counts for the key; the URL as it is when there is none.
    pub key_policy: Option<Arc<KeyPolicy>>,
    pub caches: bool,
    /// Content codings made at the edge.
    pub compression: Option<Arc<Compression>>,
    pub on_partition: OnPartition,
    /// Set where clients read their own writes at every edge.
    pub yours: Option<Yours>,
    /// Whether a range that is not stored is asked of the origin as it is; otherwise all of the
    /// representation is.
    pub forwards_ranges: bool,
    pub upstream: Destination,
    /// The same route to each other origin that a request filter may choose.
    pub others: Vec<Arc<Route>>,
    /// The names of all of them, its own first.
    pub origins: Arc<[String]>,
    pub chain: Chain,
    /// What is around everything below, the first outermost.
    pub middleware: Arc<[Middleware]>,
    pub counters: RouteCounters,
}

impl Route {
    /// Whether an exchange's key may say who asks, so that what is stored under it cannot be
    /// refreshed on nobody's behalf.
    fn key_depends_on_user(&self, exchange: &Exchange) -> bool {
        let by_policy = self.key_policy.as_ref();
        exchange.key_depends_on_user || by_policy.is_some_and(|policy| policy.depends_on_user())
    }
}

/// A response, and what is to be said and counted of it.
struct Answer {
    response: Response<Body>,
    /// What the cache did: for `Cache-Status`, the log and the metrics alike.
    status: CacheStatus,
    /// The head says it already, or there is nothing to say.
    is_told: bool,
    outcome: Outcome,
}

impl Proxy {
    /// Answers a request. A hit is answered without waiting, unless a filter waits.
    pub fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Answering {
        let mut exchange = match Exchange::begin(request, connection, self.clock.now()) {
            Ok(exchange) => exchange,
            Err(failure) => return Answering::AtOnce(self.refuse(failure)),
        };
        let route = match self.route(&exchange) {
            Ok(route) => route,
            Err(failure) => return Answering::AtOnce(self.refuse(failure)),
        };
        if let Some(yours) = &route.yours {
            yours.take(&mut exchange);
        }
        if !route.middleware.is_empty() && exchange.method.as_str() != "PURGE" {
            exchange.informer = None;
            exchange.upgrade = None;
            return Answering::Later(Arc::clone(self).surround(exchange, route, 0));
        }
        let runs_on_hits = route.chain.runs_on_hits();
        if runs_on_hits && exchange.version < Version::HTTP_2 {
            return self.filter_at_once(exchange, route);
        }
        if !runs_on_hits && exchange.token.is_none() {
            encoding::negotiate(&mut exchange, &route);
            if let Some(answer) = self.answer_at_once(&exchange, &route) {
                return Answering::AtOnce(self.finish(answer, &route));
            }
        }
        Answering::Later(Box::pin(Arc::clone(self).respond(exchange, route)))
    }

    /// The route that an exchange takes.
    fn route(&self, exchange: &Exchange) -> Result<Arc<Route>, Failure> {
        let (authority, path) = (exchange.authority.as_str(), exchange.path_and_query.path());
        let route = self.router.find(authority, path);
        route.cloned().map_err(|reason| match reason {
            Unrouted::NoRoute => Failure::NoRoute(format!("{authority}{path}")),
            Unrouted::Ambiguous => Failure::BadRequest(AMBIGUOUS),
        })
    }

    /// Answers a request that may have to wait.
    async fn respond(self: Arc<Self>, exchange: Exchange, route: Arc<Route>) -> Response<Body> {
        let filtered = Arc::clone(&self).filter_request(exchange, route).await;
        self.go_on(filtered).await
    }

    /// Answers a request that its filters have seen.
    async fn go_on(self: Arc<Self>, filtered: Box<Filtered>) -> Response<Body> {
        let Filtered {
            mut exchange,
            route,
            chosen,
            filters,
            answer: given,
        } = *filtered;
        let informer = exchange.informer.clone();
        let must_close = exchange.expects_continue && exchange.body.is_some();
        let mut answer = {
            // In one place: it is large.
            let answer = pin!(self.answer(&mut exchange, &chosen, filters, given));
            match informer {
                Some(informer) => informer.drive(answer).await,
                None => answer.await,
            }
        };
        if self.settings.tells_key {
            let url = purge_url(&exchange);
            answer.status.key = Some(self.log.index().canonical(&url).into_owned());
        }
        let mut response = self.finish(answer, &route);
        // An announced body that nobody read would be taken for the next request.
        if must_close && exchange.body.is_some() && exchange.version < Version::HTTP_2 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A hit, if finding it takes no waiting.
    fn answer_at_once(self: &Arc<Self>, exchange: &Exchange, route: &Arc<Route>) -> Option<Answer> {
        if !route.caches || !exchange.is_lookup() || is_guarded(exchange) {
            return None;
        }
        let parts = key_parts(exchange, route);
        let hit = |key| {
            let Found::Entry(entry, tier) = self.cache.find_here(key, &exchange.headers) else {
                return None;
            };
            match self.decide(exchange, route, &entry) {
                Some(Reuse::Fresh) if serves(&entry, exchange) => {
                    Some(self.hit(exchange, key, &entry, tier))
                }
                _ => None,
            }
        };
        hit(self.cache.key(&parts)).or_else(|| hit(self.cache.search_key(&parts)?))
    }

    async fn answer(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
        given: Option<Answer>,
    ) -> Answer {
        if exchange.method.as_str() == "PURGE" {
            return Box::pin(self.purge(exchange)).await;
        }
        let (mut answer, filters) = match given {
            Some(answer) => (answer, Some(filters)),
            None => self.resolve(exchange, route, filters).await,
        };
        let seen = answer.response.extensions_mut().remove::<Seen>();
        self.encode_first(exchange, &mut answer);
        if let Some(mut filters) = filters {
            self.filter_response(&mut filters, exchange, &mut answer)
                .await;
            encoding::insist(&mut answer);
        }
        if let Some(seen) = seen {
            self.tell_seen(exchange, route, &seen, &mut answer);
        }
        answer
    }

    async fn resolve(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
    ) -> (Answer, Option<Filters>) {
        if !is_safe(&exchange.method) {
            return self.write(exchange, route, filters).await;
        }
        let ahead = self.ahead(exchange, route);
        if !route.caches || !exchange.is_lookup() {
            let why = match exchange.method {
                Method::GET | Method::HEAD => Forwarded::Bypass,
                _ => Forwarded::Method,
            };
            let forwarded = self.forward(exchange, route, filters, None, why, ahead);
            return Box::pin(forwarded).await;
        }
        if is_guarded(exchange) {
            let why = Forwarded::Request;
            let forwarded = self.forward(exchange, route, filters, None, why, ahead);
            return Box::pin(forwarded).await;
        }
        let parts = key_parts(exchange, route);
        let own = self.cache.key(&parts);
        let key = self.cache.search_key(&parts).unwrap_or(own);
        let looked_up = match ahead {
            None => self.look_up(own, key, exchange, route).await,
            Some(_) => LookedUp::Missing(Forwarded::Request),
        };
        let mut missing = match looked_up {
            LookedUp::Answer(answer) => return (*answer, Some(filters)),
            LookedUp::Validate(unusable) => Missing {
                stale: Some(unusable),
                ..Missing::new(own, key, Forwarded::Stale)
            },
            LookedUp::Partial(entry) => Missing {
                partial: Some(entry),
                ..Missing::new(own, key, Forwarded::Partial)
            },
            LookedUp::Missing(why) => Missing::new(own, key, why),
        };
        missing.ahead = ahead;
        if only_if_cached(&exchange.headers, &route.policy) {
            return (self.failed(Failure::OnlyIfCached), Some(filters));
        }
        if exchange.method == Method::HEAD {
            let Missing { stale, why, .. } = missing;
            let forwarded = self.forward(exchange, route, filters, stale, why, ahead);
            return Box::pin(forwarded).await;
        }
        let is_for_one = match &missing.stale {
            Some(stale) => stale.entry.terms.always_validate,
            None => self.cache.passes(key, exchange.now),
        };
        if is_for_one || ahead.is_some() {
            return self.fetch_alone(exchange, route, filters, missing).await;
        }
        self.fetch(exchange, route, filters, missing).await
    }

    /// Says what the cache did, and counts it.
    fn finish(&self, answer: Answer, route: &Route) -> Response<Body> {
        let mut response = answer.response;
        let status = &answer.status;
        if !answer.is_told {
            response
                .headers_mut()
                .append(CACHE_STATUS, status.to_header_value(&self.settings.name));
        }
        route.counters.count(answer.outcome, status.fwd);
        tracing::trace!(
            target: "tidegate::access",
            route = route.name,
            status = response.status().as_u16(),
            outcome = answer.outcome.name(),
            forwarded = status.fwd.map(Forwarded::name),
            detail = status.detail,
        );
        response
    }

    /// An answer of our own, outside any route.
    fn refuse(&self, failure: Failure) -> Response<Body> {
        tracing::debug!(%failure, "request refused");
        let Answer {
            mut response,
            status,
            ..
        } = self.failed(failure);
        let headers = response.headers_mut();
        headers.append(CACHE_STATUS, status.to_header_value(&self.settings.name));
        // What else the client meant by these bytes is anybody's guess.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// An answer of our own on a route.
    fn failed(&self, failure: Failure) -> Answer {
        let status = CacheStatus {
            detail: Some(failure.name()),
            ..CacheStatus::default()
        };
        Answer {
            response: failure.into_response(&self.settings.name),
            status,
            is_told: false,
            outcome: Outcome::Failed,
        }
    }
}

/// Whether the request shall only be done if the origin's state is as the client knows it
/// (RFC 9110 §13.1.1, §13.1.4): what is stored cannot tell.
fn is_guarded(exchange: &Exchange) -> bool {
    let headers = &exchange.headers;
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// The parts of an exchange's key. Nothing is allocated where the route has no policy.
fn key_parts<'a>(exchange: &'a Exchange, route: &Route) -> KeyParts<'a> {
    let path_and_query = exchange.path_and_query.as_str();
    let (path_and_query, selection) = match &route.key_policy {
        None => (Cow::Borrowed(path_and_query), Vec::new()),
        Some(policy) => (
            policy.path_and_query(path_and_query),
            policy.selection(&exchange.headers),
        ),
    };
    KeyParts {
        scheme: exchange.scheme,
        authority: exchange.authority.as_str(),
        path_and_query,
        extra: &exchange.key_extra,
        selection,
    }
}

/// The URL by which purges name what an exchange asks for.
fn purge_url(exchange: &Exchange) -> String {
    url(
        exchange.authority.as_str(),
        exchange.path_and_query.as_str(),
    )
}

/// The URL by which the client knows it, where a filter led the exchange to another one.
fn client_url(exchange: &Exchange) -> Option<String> {
    let asked = exchange.rewritten_from.as_ref()?;
    Some(url(exchange.authority.as_str(), asked.as_str()))
}

/// The request for the origin.
fn outbound(exchange: &Exchange, settings: &Settings) -> Outbound {
    let mut outbound = Outbound::of(exchange, &settings.via);
    encoding::ask_for_identity(exchange, &mut outbound);
    outbound
}
