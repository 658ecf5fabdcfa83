//! Looking a request up: what the tiers have for it, whether that may be used, and what is missing.

use std::sync::Arc;

use http::HeaderName;
use tidegate_semantics::{Forwarded, Reuse, Stale, Standing, Timestamp, reuse};

use super::respond::serves;
use super::{Answer, Proxy, Route, key_parts};
use crate::cache::{Entry, Found, Key, Tier};
use crate::config::OnPartition;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::purge::{Marks, Seen, Verdict};
use crate::telemetry::Metrics;

/// A stored response that may not be used as it is.
pub(super) struct Unusable {
    pub(super) key: Key,
    pub(super) entry: Arc<Entry>,
    pub(super) reason: Stale,
    /// It may stand in when the origin fails.
    pub(super) stale_if_error: bool,
}

/// What has to be asked of the origin.
pub(super) struct Missing {
    /// Under which it is looked for, and fetched for all who look for the same.
    pub(super) key: Key,
    /// The key of its own URL; another one where equivalent queries have a key in common.
    pub(super) own: Key,
    /// What is said of it in `Cache-Status`.
    pub(super) why: Forwarded,
    pub(super) stale: Option<Unusable>,
    /// What is stored of the representation: not what the request wants, but fresh.
    pub(super) partial: Option<Arc<Entry>>,
    /// What the client has seen and this edge has not: then nothing that is here is used.
    pub(super) ahead: Option<Seen>,
    /// The fields by which the response varies, where a fetch under way has shown that.
    pub(super) varies: Option<Vec<HeaderName>>,
    /// What the response is called in the purge log, where a fetch under way has shown that.
    pub(super) marks: Option<Marks>,
}

/// What looking up came to.
pub(super) enum LookedUp {
    Answer(Box<Answer>),
    Validate(Unusable),
    /// Of what is wanted, not enough is stored.
    Partial(Arc<Entry>),
    Missing(Forwarded),
}

impl LookedUp {
    /// The better of two: what answers, then what can be asked about, then what says more.
    fn or(self, other: LookedUp) -> LookedUp {
        use LookedUp::{Answer, Missing, Partial, Validate};
        match (&self, &other) {
            (Answer(_), _) => self,
            (_, Answer(_)) => other,
            (Missing(_), Validate(_) | Partial(_)) => other,
            (Missing(Forwarded::UriMiss), Missing(_)) => other,
            _ => self,
        }
    }
}

impl Missing {
    pub(super) fn new(own: Key, key: Key, why: Forwarded) -> Missing {
        Missing {
            key,
            own,
            why,
            stale: None,
            partial: None,
            ahead: None,
            varies: None,
            marks: None,
        }
    }
}

impl Proxy {
    /// Looks for a response under its own URL, then for one that equivalent queries share.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        own: Key,
        shared: Key,
        exchange: &Exchange,
        route: &Arc<Route>,
    ) -> LookedUp {
        let look_here = |key| match self.cache.find_here(key, &exchange.headers) {
            Found::Entry(entry, tier) => self.use_or_not(shared, exchange, route, entry, tier),
            Found::OtherVariant => LookedUp::Missing(Forwarded::VaryMiss),
            Found::Nothing => LookedUp::Missing(Forwarded::UriMiss),
        };
        let mut here = look_here(own);
        if shared != own && !matches!(here, LookedUp::Answer(_)) {
            here = here.or(look_here(shared));
        }
        if let LookedUp::Answer(_) = here {
            return here;
        }
        // Another edge of the region may have a newer one.
        let parts = key_parts(exchange, route);
        let index = self.log.index();
        match self
            .cache
            .find_in_region(&parts, &exchange.headers, index)
            .await
        {
            Ok(Some(entry)) => {
                let there = self.use_or_not(shared, exchange, route, entry, Tier::Regional);
                here.or(there)
            }
            Ok(None) => here,
            Err(error) => {
                tracing::debug!(%error, "going on without the regional tier");
                Metrics::count_reason(&self.metrics.regional_unavailable, error.name());
                here
            }
        }
    }

    fn use_or_not(
        self: &Arc<Self>,
        key: Key,
        exchange: &Exchange,
        route: &Arc<Route>,
        entry: Arc<Entry>,
        tier: Tier,
    ) -> LookedUp {
        let decided = self.decide(exchange, route, &entry);
        if decided.is_some() && !serves(&entry, exchange) {
            return LookedUp::Partial(entry);
        }
        match decided {
            None => LookedUp::Missing(Forwarded::Miss),
            Some(Reuse::Fresh) => LookedUp::Answer(Box::new(self.hit(exchange, key, &entry, tier))),
            // What depends on who asks cannot be refreshed behind their back.
            Some(Reuse::StaleWhileRevalidate)
                if entry.vary.depends_on_user() || route.key_depends_on_user(exchange) =>
            {
                LookedUp::Validate(Unusable {
                    key,
                    entry,
                    reason: Stale::Expired,
                    stale_if_error: true,
                })
            }
            Some(Reuse::StaleWhileRevalidate) => {
                self.refresh(key, exchange, route, &entry);
                let stale = self.stale(
                    exchange,
                    key,
                    &entry,
                    exchange.now,
                    "stale-while-revalidate",
                );
                LookedUp::Answer(Box::new(stale))
            }
            Some(Reuse::Validate {
                reason,
                stale_if_error,
            }) => LookedUp::Validate(Unusable {
                key,
                entry,
                reason,
                stale_if_error,
            }),
            Some(Reuse::Unsatisfiable) => {
                LookedUp::Answer(Box::new(self.failed(Failure::OnlyIfCached)))
            }
        }
    }

    /// What may be done with a stored response; `None` when it was purged.
    pub(super) fn decide(
        &self,
        exchange: &Exchange,
        route: &Route,
        entry: &Entry,
    ) -> Option<Reuse> {
        let standing = match self.judge(exchange, entry) {
            Verdict::Purged => return None,
            Verdict::Usable(_) if self.must_ask(exchange.now, route, entry.asked_at()) => {
                Standing::BelowFloor
            }
            Verdict::Usable(standing) => standing,
        };
        Some(reuse(
            &exchange.headers,
            &entry.terms,
            exchange.now,
            standing,
            &route.policy,
        ))
    }

    /// Cut off from the purge log, a route may want what it has validated once per `log.trust`. What
    /// was asked of the origin at `asked_at` is as old as that, however late it came; and what an
    /// edge with another clock has asked for in the future is of any age.
    pub(super) fn must_ask(&self, now: Timestamp, route: &Route, asked_at: Timestamp) -> bool {
        let trust = self.log.trust();
        route.on_partition == OnPartition::Revalidate
            && !self.log.is_trusted(now)
            && (now.since(asked_at) > trust || asked_at.since(now) > trust)
    }
}
