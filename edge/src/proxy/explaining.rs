//! What the proxy would do with a request, and which rules say so: the code that decides is asked,
//! and nothing is stored, counted as a hit, or refreshed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tidegate_semantics::{Forwarded, Reuse, Standing, drop_conditions, is_safe, storing};

use super::respond::serves;
use super::{Proxy, Route, is_guarded, key_parts, outbound, purge_url};
use crate::body::Body;
use crate::cache::{Content, Entry, Found, KeyParts, Tier};
use crate::exchange::{Connection, Exchange};
use crate::explanation::{Explanation, Question};
use crate::forward::inbound;
use crate::purge::Verdict;

/// A stored response that the request selects, and where it was found.
type Selected = (Arc<Entry>, Tier);

impl Proxy {
    /// Explains what would be done with a request.
    ///
    /// # Errors
    /// What in the question is no request.
    pub async fn explain(self: &Arc<Self>, question: &Question) -> Result<Explanation, String> {
        let mut told = Explanation::default();
        let parts = parts(question)?;
        let is_https = parts.uri.scheme_str() == Some("https");
        let exchange = match Exchange::of(parts, &nobody(), self.clock.now()) {
            Ok(exchange) => Exchange {
                scheme: if is_https { "https" } else { "http" },
                ..exchange
            },
            Err(failure) => {
                told.tell("request", "RFC 9110", format!("refused: {failure}"));
                told.decision = failure.name().to_owned();
                return Ok(told);
            }
        };
        let path = exchange.path_and_query.path();
        let Some(route) = self.router.find(exchange.authority.as_str(), path) else {
            told.tell("route", "config", "none fits");
            told.decision = "destination_not_found".to_owned();
            return Ok(told);
        };
        told.tell(
            "route",
            "config",
            format!("{:?} to origin {:?}", route.name, route.upstream.name()),
        );
        if let Some(why) = self.passes_by(&exchange, route, &mut told) {
            told.decision = format!("fwd={}", why.name());
            return Ok(told);
        }
        let selected = self.select(&exchange, route, &mut told).await;
        let is_served = match &selected {
            Some((entry, tier)) => self.explain_stored(&exchange, route, entry, *tier, &mut told),
            None => false,
        };
        if !is_served && question.fetch {
            self.explain_fetched(&exchange, route, &mut told).await;
        }
        Ok(told)
    }

    /// Why the cache is not looked into, if it is not.
    fn passes_by(
        &self,
        exchange: &Exchange,
        route: &Route,
        told: &mut Explanation,
    ) -> Option<Forwarded> {
        if !route.chain.is_empty() {
            told.tell(
                "filters",
                "config",
                "not run: they may act on what they see",
            );
        }
        if !is_safe(&exchange.method) {
            told.tell(
                "method",
                "RFC 9111 §4.4",
                format!("{} passes, and invalidates its target", exchange.method),
            );
            return Some(Forwarded::Method);
        }
        if !matches!(exchange.method, Method::GET | Method::HEAD) {
            told.tell("method", "RFC 9111 §3", "never answered from the store");
            return Some(Forwarded::Method);
        }
        if !route.caches {
            told.tell("route", "config", "cache = false");
            return Some(Forwarded::Bypass);
        }
        if is_guarded(exchange) {
            told.tell(
                "preconditions",
                "RFC 9110 §13.1.1",
                "the origin's to decide",
            );
            return Some(Forwarded::Request);
        }
        None
    }

    /// Looks the key up in every tier.
    async fn select(
        &self,
        exchange: &Exchange,
        route: &Route,
        told: &mut Explanation,
    ) -> Option<Selected> {
        let parts = key_parts(exchange, route);
        if route.key_policy.is_some() {
            told.tell("key policy", "config", "routes.key says what counts");
        }
        told.tell(
            "key",
            "RFC 9111 §2",
            format!("{} ({})", parts, &parts.shared(b"")[..16]),
        );
        let key = self.cache.key(&parts);
        let own = self.cache.peek(key, &exchange.headers);
        if let Some(shared) = self.stored_for_equivalent(&parts, exchange)
            && match &own {
                Found::Entry(own, _) => {
                    !self.is_used(exchange, route, own) && self.is_used(exchange, route, &shared)
                }
                Found::OtherVariant | Found::Nothing => true,
            }
        {
            told.tell("search", "No-Vary-Search", "stored for an equivalent query");
            return Some((shared, Tier::Memory));
        }
        match own {
            Found::Entry(entry, tier) => return Some((entry, tier)),
            Found::OtherVariant => {
                told.tell(
                    "variant",
                    "RFC 9111 §4.1",
                    "others are stored, none for this request",
                );
                told.decision = format!("fwd={}", Forwarded::VaryMiss.name());
            }
            Found::Nothing => {
                told.tell("memory", "tier", "nothing is stored");
                told.decision = format!("fwd={}", Forwarded::UriMiss.name());
            }
        }
        match self
            .cache
            .peek_in_region(&parts, &exchange.headers, self.log.index())
            .await
        {
            Ok(Some(entry)) => return Some((entry, Tier::Regional)),
            Ok(None) => told.tell("redis", "tier", "nothing is stored"),
            Err(error) => told.tell("redis", "tier", format!("no answer: {error}")),
        }
        None
    }

    /// What is stored for another query that it says is equivalent.
    fn stored_for_equivalent(
        &self,
        parts: &KeyParts<'_>,
        exchange: &Exchange,
    ) -> Option<Arc<Entry>> {
        let key = self.cache.search_key(parts)?;
        let Found::Entry(entry, _) = self.cache.peek(key, &exchange.headers) else {
            return None;
        };
        self.is_for(exchange, &entry.marks, entry.variance.as_deref())
            .then_some(entry)
    }

    /// Whether a stored response answers without waiting for the origin.
    fn is_used(&self, exchange: &Exchange, route: &Route, entry: &Entry) -> bool {
        matches!(
            self.decide(exchange, route, entry),
            Some(Reuse::Fresh | Reuse::StaleWhileRevalidate)
        )
    }

    /// What may be done with a stored response; whether it is served.
    fn explain_stored(
        &self,
        exchange: &Exchange,
        route: &Route,
        entry: &Entry,
        tier: Tier,
        told: &mut Explanation,
    ) -> bool {
        let pieces = match &entry.content {
            Content::Whole(_) => "whole",
            Content::Parts(_) => "parts",
        };
        let bytes = entry.content.len();
        told.tell(
            "stored",
            tier.name(),
            format!("{} in {bytes} bytes, {pieces}", entry.status.as_u16()),
        );
        told.tell_all(entry.vary.explain(&exchange.headers));
        told.tell("tags", "RFC 9875 §2", entry.tags.join(" "));
        told.tell("url", "purge log", entry.marks.url());
        told.tell(
            "fence",
            "purge log",
            format!("{}, the log is at {}", entry.fence, self.log.fence()),
        );
        let standing = match self.judge(exchange, entry) {
            Verdict::Purged => {
                told.tell("purges", "purge log", "a later record matches: unusable");
                told.decision = format!("fwd={}", Forwarded::Miss.name());
                return false;
            }
            Verdict::Usable(Standing::Valid) if self.must_ask(exchange, route, entry) => {
                told.tell("log", "config", "not heard for log.trust: to be validated");
                Standing::BelowFloor
            }
            Verdict::Usable(standing) => standing,
        };
        let (request, now) = (&exchange.headers, exchange.now);
        let policy = &route.policy;
        told.tell_all(tidegate_semantics::reuse::explain(
            request,
            &entry.terms,
            now,
            standing,
            policy,
        ));
        if !serves(entry, exchange) {
            told.tell(
                "parts",
                "RFC 9111 §3.3",
                "not enough is stored for this request",
            );
            told.decision = format!("fwd={}", Forwarded::Partial.name());
            return false;
        }
        let decided = tidegate_semantics::reuse(request, &entry.terms, now, standing, policy);
        let ttl = entry.terms.ttl(now);
        told.decision = match decided {
            Reuse::Fresh => format!("hit; ttl={ttl}; detail={}", tier.name()),
            Reuse::StaleWhileRevalidate => {
                format!("hit; ttl={ttl}; detail=stale-while-revalidate")
            }
            Reuse::Validate { reason, .. } => {
                format!("fwd={}; detail={}", Forwarded::Stale.name(), reason.name())
            }
            Reuse::Unsatisfiable => "only_if_cached".to_owned(),
        };
        matches!(decided, Reuse::Fresh | Reuse::StaleWhileRevalidate)
    }

    /// Asks the origin, and tells whether its answer would be stored.
    async fn explain_fetched(&self, exchange: &Exchange, route: &Route, told: &mut Explanation) {
        let mut outbound = outbound(exchange, &self.settings);
        drop_conditions(&mut outbound.headers);
        outbound.method = Method::GET;
        let requested_at = self.clock.now();
        let answer = route.upstream.send(outbound.with_body(Body::Empty)).await;
        let response = match answer {
            Ok(response) => response,
            Err(failure) => {
                told.tell("origin", failure.name(), failure.to_string());
                return;
            }
        };
        let received_at = self.clock.now();
        let (mut head, _) = response.into_parts();
        inbound(&mut head.headers, &Method::GET, &self.settings.via);
        told.tell("origin", "asked now", format!("answered {}", head.status));
        let asked = tidegate_semantics::Exchange {
            method: &Method::GET,
            path: exchange.path_and_query.as_str(),
            request: &exchange.headers,
            status: head.status,
            response: &head.headers,
            requested_at,
            received_at,
        };
        told.tell_all(storing::explain(&asked, &route.policy));
        let verdict = match storing::storable(&asked, &route.policy) {
            storing::Storable::Keep(terms) => {
                format!("; stored; ttl={}", terms.ttl(self.clock.now()))
            }
            storing::Storable::Refuse(refusal) => format!("; detail={}", refusal.name()),
        };
        told.decision.push_str(&verdict);
        told.tell("url", "purge log", purge_url(exchange));
    }
}

/// The request of a question.
fn parts(question: &Question) -> Result<Parts, String> {
    let url: Uri = question
        .url
        .parse()
        .map_err(|error| format!("url {:?}: {error}", question.url))?;
    if url.authority().is_none() || url.scheme().is_none() {
        return Err(format!("url {:?} is not absolute", question.url));
    }
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| format!("method {:?} is none", question.method))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = url;
    // In which the target alone names the host.
    parts.version = Version::HTTP_2;
    for (name, value) in &question.headers {
        let field = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("header {name:?} is no field name"))?;
        let value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("header {name:?}: its value is none"))?;
        parts.headers.append(field, value);
    }
    Ok(parts)
}

/// The connection of a request that nobody made.
fn nobody() -> Connection {
    Connection {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        informer: None,
        client_address_header: None,
    }
}
