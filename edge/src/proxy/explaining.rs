//! What the proxy would do with a request, and which rules say so: the code that decides is asked,
//! and nothing is stored, counted as a hit, or refreshed.

mod asking;
mod question;

use std::sync::Arc;

use http::Method;
use tidegate_semantics::{
    CacheStatus, Coding, Forwarded, Reuse, Stale, Standing, is_safe, only_if_cached,
};

use super::encoding::negotiate;
use super::lookup::{Missing, Unusable};
use super::respond::serves;
use super::{Proxy, Route, is_guarded, key_parts};
use crate::cache::{Content, Entry, Found, KeyParts, Tier};
use crate::error::Failure;
use crate::exchange::{Exchange, asks_to_upgrade};
use crate::explanation::{Explanation, Question};
use crate::purge::Verdict;
use question::{nobody, parts};

/// A stored response that the request selects, and where it was found.
type Selected = (Arc<Entry>, Tier);

/// What becomes of a request by what is stored.
enum Prospect {
    Answer(CacheStatus),
    Ask(Missing),
}

impl Proxy {
    /// Explains what would be done with a request.
    ///
    /// # Errors
    /// What in the question is no request.
    pub async fn explain(self: &Arc<Self>, question: &Question) -> Result<Explanation, String> {
        let mut told = Explanation::default();
        let status = self.foresee(question, &mut told).await?;
        told.decision = words(&status);
        Ok(told)
    }

    /// What `Cache-Status` would say.
    async fn foresee(
        self: &Arc<Self>,
        question: &Question,
        told: &mut Explanation,
    ) -> Result<CacheStatus, String> {
        let parts = parts(question)?;
        let is_https = parts.uri.scheme_str() == Some("https");
        let asks_to_upgrade = asks_to_upgrade(&parts.headers);
        let mut exchange = match Exchange::of(parts, &nobody(), self.clock.now()) {
            Ok(exchange) => Exchange {
                scheme: if is_https { "https" } else { "http" },
                ..exchange
            },
            Err(failure) => {
                told.tell("request", "RFC 9110", format!("refused: {failure}"));
                return Ok(failed(&failure));
            }
        };
        let route = match self.route(&exchange) {
            Ok(route) => route,
            Err(failure) => {
                told.tell("route", "config", format!("none: {failure}"));
                return Ok(failed(&failure));
            }
        };
        let route = match &question.origin {
            None => route,
            Some(origin) => route.by_way_of(origin, &mut exchange)?,
        };
        let route = &route;
        told.tell(
            "route",
            "config",
            format!("{:?} to {}", route.name, route.upstream),
        );
        if exchange.method.as_str() == "PURGE" {
            return Ok(self.explain_purge(&exchange, told));
        }
        if let Some(yours) = &route.yours {
            yours.take(&mut exchange);
        }
        negotiate(&mut exchange, route);
        if let Some(wish) = &exchange.encoding {
            let coding = wish.coding.map_or("identity", Coding::name);
            told.tell("coding", "RFC 9110 §12.5.3", coding);
        }
        if let Some(why) = passes_by(&exchange, route, asks_to_upgrade, told) {
            return Ok(CacheStatus {
                fwd: Some(why),
                ..CacheStatus::default()
            });
        }
        let missing = match self.explain_looking_up(&exchange, route, told).await {
            Prospect::Answer(status) => return Ok(status),
            Prospect::Ask(missing) => missing,
        };
        if only_if_cached(&exchange.headers, &route.policy) {
            let finding = "nothing usable is stored: 504, and the origin is not asked";
            told.tell("request-only-if-cached", "RFC 9111 §5.2.1.7", finding);
            return Ok(failed(&Failure::OnlyIfCached));
        }
        if exchange.method == Method::HEAD {
            told.tell("method", "RFC 9111 §3", "the answer to HEAD is not stored");
        }
        if !question.fetch {
            return Ok(asked(&missing));
        }
        Ok(self.explain_asking(&exchange, route, missing, told).await)
    }

    /// What `PURGE` comes to, which no origin sees.
    fn explain_purge(&self, exchange: &Exchange, told: &mut Explanation) -> CacheStatus {
        let (finding, is_allowed) = match &self.settings.purge_token {
            Some(token) if token.is_carried_by(&exchange.headers) => ("purges at the edge", true),
            Some(_) => ("handled at the edge: it needs the purge token", false),
            None => ("handled at the edge, and off: no purge.token is set", false),
        };
        told.tell("method", "purge", finding);
        if is_allowed {
            return CacheStatus::default();
        }
        failed(&Failure::Unauthorized(finding))
    }

    /// Whether something stored answers, or what has to be asked.
    async fn explain_looking_up(
        &self,
        exchange: &Exchange,
        route: &Route,
        told: &mut Explanation,
    ) -> Prospect {
        let selected = self.select(exchange, route, told).await;
        let parts = key_parts(exchange, route);
        let own = self.cache.key(&parts);
        let key = self.cache.search_key(&parts).unwrap_or(own);
        match selected {
            Ok(selected) => {
                let missing = |why| Missing::new(own, key, why);
                self.explain_stored(exchange, route, selected, missing, told)
            }
            Err(why) => Prospect::Ask(Missing::new(own, key, why)),
        }
    }

    /// Looks the key up in every tier.
    async fn select(
        &self,
        exchange: &Exchange,
        route: &Route,
        told: &mut Explanation,
    ) -> Result<Selected, Forwarded> {
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
            return Ok((shared, Tier::Memory));
        }
        let why = match own {
            Found::Entry(entry, tier) => return Ok((entry, tier)),
            Found::OtherVariant => {
                told.tell(
                    "variant",
                    "RFC 9111 §4.1",
                    "others are stored, none for this request",
                );
                Forwarded::VaryMiss
            }
            Found::Nothing => {
                told.tell("memory", "tier", "nothing is stored");
                Forwarded::UriMiss
            }
        };
        let index = self.log.index();
        match self
            .cache
            .peek_in_region(&parts, &exchange.headers, index)
            .await
        {
            Ok(Some(entry)) => return Ok((entry, Tier::Regional)),
            // There may be no such tier.
            Ok(None) => {}
            Err(error) => told.tell("redis", "tier", format!("no answer: {error}")),
        }
        Err(why)
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
        self.is_for(exchange, &entry.marks, entry.variance().map(|it| &**it))
            .then_some(entry)
    }

    /// Whether a stored response answers without waiting for the origin.
    fn is_used(&self, exchange: &Exchange, route: &Route, entry: &Entry) -> bool {
        matches!(
            self.decide(exchange, route, entry),
            Some(Reuse::Fresh | Reuse::StaleWhileRevalidate)
        )
    }

    /// What may be done with a stored response. `missing` is what is asked where it does not answer.
    fn explain_stored(
        &self,
        exchange: &Exchange,
        route: &Route,
        (entry, tier): Selected,
        missing: impl Fn(Forwarded) -> Missing,
        told: &mut Explanation,
    ) -> Prospect {
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
        told.tell("tags", TAGS, quoted(entry.fields.tags()));
        told.tell("url", "purge log", entry.marks.url());
        told.tell(
            "fence",
            "purge log",
            format!("{}, the log is at {}", entry.fence, self.log.fence()),
        );
        let standing = match self.judge(exchange, &entry) {
            Verdict::Purged => {
                told.tell("purges", "purge log", "a later record matches: unusable");
                return Prospect::Ask(missing(Forwarded::Miss));
            }
            Verdict::Usable(_) if self.must_ask(exchange.now, route, entry.asked_at()) => {
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
        if !serves(&entry, exchange) {
            told.tell(
                "parts",
                "RFC 9111 §3.3",
                "not enough is stored for this request",
            );
            return Prospect::Ask(Missing {
                partial: Some(entry),
                ..missing(Forwarded::Partial)
            });
        }
        let decided = tidegate_semantics::reuse(request, &entry.terms, now, standing, policy);
        let hit = |detail| {
            Prospect::Answer(CacheStatus {
                hit: true,
                ttl: Some(entry.terms.ttl(now)),
                detail: Some(detail),
                ..CacheStatus::default()
            })
        };
        let (reason, stale_if_error) = match decided {
            Reuse::Fresh => return hit(tier.name()),
            // What depends on who asks cannot be refreshed behind their back.
            Reuse::StaleWhileRevalidate
                if entry.vary.depends_on_user() || route.key_depends_on_user(exchange) =>
            {
                (Stale::Expired, true)
            }
            Reuse::StaleWhileRevalidate => return hit("stale-while-revalidate"),
            Reuse::Validate {
                reason,
                stale_if_error,
            } => (reason, stale_if_error),
            Reuse::Unsatisfiable => return Prospect::Answer(failed(&Failure::OnlyIfCached)),
        };
        let missing = missing(Forwarded::Stale);
        Prospect::Ask(Missing {
            stale: Some(Unusable {
                key: missing.key,
                entry,
                reason,
                stale_if_error,
            }),
            ..missing
        })
    }
}

/// Which fields tags are read from.
const TAGS: &str = "Surrogate-Key, Cache-Tag, xkey, RFC 9875";

/// A decision in the words of `Cache-Status`, without the cache's name.
fn words(status: &CacheStatus) -> String {
    let member = status.to_header_value("edge");
    let words = member.to_str().unwrap_or_default().split_once("; ");
    words
        .map_or("handled at the edge", |(_, words)| words)
        .to_owned()
}

/// What is said of an answer of the edge's own.
fn failed(failure: &Failure) -> CacheStatus {
    CacheStatus {
        detail: Some(failure.name()),
        ..CacheStatus::default()
    }
}

/// What is said of a request that goes to the origin.
fn asked(missing: &Missing) -> CacheStatus {
    CacheStatus {
        fwd: Some(missing.why),
        detail: missing.stale.as_ref().map(|stale| stale.reason.name()),
        ..CacheStatus::default()
    }
}

/// Tags may hold what would part them.
fn quoted<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = tags.map(|tag| format!("{tag:?}")).collect();
    if quoted.is_empty() {
        return "none".to_owned();
    }
    quoted.join(", ")
}

/// Why the cache is not looked into, if it is not.
fn passes_by(
    exchange: &Exchange,
    route: &Route,
    asks_to_upgrade: bool,
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
    if asks_to_upgrade {
        told.tell("upgrade", "RFC 9110 §7.8", "the origin's to take or leave");
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
