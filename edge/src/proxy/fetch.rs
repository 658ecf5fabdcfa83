//! Getting what is not stored: from the origin, or from whoever is getting it already.
//!
//! A fetch (`job`) outlives the client that began it (`driven`). It lands in one of five ways (`Landing`): a response that
//! may be stored, a stored one that was validated, one that another edge of the region fetched, a
//! response for one client alone, or a failure. Only the first three are shared, and only while they
//! are fresh.

use std::sync::Arc;

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tidegate_semantics::{
    CacheStatus, Forwarded, Precondition, Reuse, Stale, Standing, Terms, Timestamp, Variance, Vary,
    evaluate, reuse,
};
use tokio::sync::oneshot;

use super::driven::drive;
use super::encoding::mark_shared;
use super::job::{Delivery, Job};
use super::lookup::{Missing, Unusable};
use super::respond::{not_modified, serves};
use super::waiting::Nearby;
use super::{Answer, Proxy, Route, yours};
use crate::body::Body;
use crate::cache::{Entry, Found, Head, Key, Landing, Lead, Role, Tier};
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::filters::Filters;
use crate::purge::{Marks, Position, Verdict};
use crate::telemetry::Outcome;

/// Flights that a request joins before it goes for itself.
const ROUNDS: usize = 3;

impl Proxy {
    /// Gets a response from the origin, or from whoever is getting it already.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
        mut missing: Missing,
    ) -> (Answer, Option<Filters>) {
        let mut begin = missing.flight(missing.key, exchange, route);
        let mut flight = begin;
        let mut is_by_search = missing.key != missing.own;
        let mut orders = 0;
        for _ in 0..ROUNDS {
            let follow = match self.cache.join(flight) {
                Role::Lead(lead) => {
                    return self.lead(exchange, route, filters, missing, lead).await;
                }
                Role::Follow(follow) => follow,
            };
            let landing = follow.landing().await;
            let is_regional = matches!(landing, Landing::Regional(_));
            match landing {
                Landing::Shared(head, filling) => {
                    if !head.vary.matches(&exchange.headers) {
                        // Those who want the same other variant share a flight of their own.
                        let names = names(&head.vary);
                        let variant = Vary::select(&names, &exchange.headers);
                        flight = flight.derive(&variant.variant());
                        missing.varies = Some(names);
                        continue;
                    }
                    let is_ours = || {
                        let variance = Variance::of(&head.headers);
                        self.is_for(exchange, &head.marks, Some(&variance))
                    };
                    if is_by_search && !is_ours() {
                        // What was known of equivalent queries is no longer so.
                        is_by_search = false;
                        begin = missing.flight(missing.own, exchange, route);
                        flight = begin;
                        continue;
                    }
                    if let Some(later) =
                        self.overtaken(exchange, &head.marks, head.fence, &mut orders)
                    {
                        flight = begin.derive(&later);
                        missing.marks = Some(head.marks.clone());
                        continue;
                    }
                    if !self.is_fresh(exchange, route, (&head.terms, head.requested_at)) {
                        break;
                    }
                    let Some(reader) = filling.reader() else {
                        break;
                    };
                    self.metrics.collapsed.inc();
                    let body = Body::stream(reader);
                    let answer = self.shared(exchange, &head, body, missing.told(), true);
                    return (answer, Some(filters));
                }
                Landing::Validated(entry) | Landing::Regional(entry) => {
                    if let Some(later) =
                        self.overtaken(exchange, &entry.marks, entry.fence, &mut orders)
                    {
                        flight = begin.derive(&later);
                        missing.marks = Some(entry.marks.clone());
                        continue;
                    }
                    if is_regional && !entry.vary.matches(&exchange.headers) {
                        let names = names(&entry.vary);
                        let variant = Vary::select(&names, &exchange.headers);
                        flight = flight.derive(&variant.variant());
                        missing.varies = Some(names);
                        continue;
                    }
                    if !entry.vary.matches(&exchange.headers) || !serves(&entry, exchange) {
                        break;
                    }
                    let is_ours =
                        || self.is_for(exchange, &entry.marks, entry.variance().map(|it| &**it));
                    if is_by_search && !is_ours() {
                        is_by_search = false;
                        begin = missing.flight(missing.own, exchange, route);
                        flight = begin;
                        continue;
                    }
                    if !self.is_fresh(exchange, route, (&entry.terms, entry.asked_at())) {
                        break;
                    }
                    self.metrics.collapsed.inc();
                    let (found, told) = ((missing.key, &entry), missing.told());
                    let answer = if is_regional {
                        self.fetched_nearby(exchange, found, told)
                    } else {
                        self.validated(exchange, found, told, true)
                    };
                    return (answer, Some(filters));
                }
                Landing::Alone => break,
                Landing::Failed(failure) => {
                    let answer = self.failed_upstream(exchange, route, missing.stale, failure);
                    return (answer, Some(filters));
                }
            }
        }
        self.fetch_alone(exchange, route, filters, missing).await
    }

    /// Names the flight to join instead of one that a purge overtook; `None` when none did. A purge
    /// that the log does not have has no position: a flight is after it if it was joined under a
    /// name that counts it, which `orders` remembers.
    fn overtaken(
        &self,
        exchange: &Exchange,
        marks: &Marks,
        fence: Position,
        orders: &mut u64,
    ) -> Option<[u8; 16]> {
        let index = self.log.index();
        let mut unrecorded = index.unrecorded_orders(marks);
        let mut has_matched = index.has_matched_since(marks, fence);
        for other in self.other_marks(exchange, marks) {
            unrecorded += index.unrecorded_orders(&other);
            has_matched |= index.has_matched_since(&other, fence);
        }
        if unrecorded <= *orders && !has_matched {
            return None;
        }
        *orders = unrecorded;
        let mut later = [0; 16];
        later[..8].copy_from_slice(&fence.seq.to_le_bytes());
        later[8..].copy_from_slice(&unrecorded.to_le_bytes());
        Some(later)
    }

    /// Gets a response without waiting for anybody, nor anybody for us. What may be stored is.
    pub(super) async fn fetch_alone(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
        missing: Missing,
    ) -> (Answer, Option<Filters>) {
        // What the client would have a part or a comparison of goes through as it is: fetched for
        // one client alone, nothing is gained by asking for all of it.
        if has_conditions(&exchange.headers) {
            let ahead = missing.ahead;
            let Missing { stale, why, .. } = missing;
            let forwarded = self.forward(exchange, route, filters, stale, why, ahead);
            return Box::pin(forwarded).await;
        }
        self.lead(exchange, route, filters, missing, Lead::alone())
            .await
    }

    /// Whether others than the one who asked may have a response without asking themselves.
    /// It was asked for at `asked_at`.
    fn is_fresh(
        &self,
        exchange: &Exchange,
        route: &Route,
        (terms, asked_at): (&Terms, Timestamp),
    ) -> bool {
        let now = self.clock.now();
        let request = &exchange.headers;
        reuse(request, terms, now, Standing::Valid, &route.policy) == Reuse::Fresh
            && !self.must_ask(now, route, asked_at)
    }

    async fn lead(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
        missing: Missing,
        lead: Lead,
    ) -> (Answer, Option<Filters>) {
        // The one before us may have landed between our look-up and our joining.
        let may_have_landed = lead.is_shared() && missing.ahead.is_none();
        let other = (missing.key != missing.own).then_some(missing.key);
        for key in std::iter::once(missing.own).chain(other) {
            if may_have_landed
                && let Found::Entry(entry, tier) = self.cache.find_here(key, &exchange.headers)
                && let Some(Reuse::Fresh) = self.decide(exchange, route, &entry)
                && serves(&entry, exchange)
            {
                lead.land(Landing::Validated(Arc::clone(&entry)));
                return (self.hit(exchange, key, &entry, tier), Some(filters));
            }
        }
        exchange.headers.share();
        let job = Job::new(self, exchange, route, filters, &missing);
        let told = missing.told();
        let ahead = missing.ahead;
        let Missing {
            key, why, stale, ..
        } = missing;
        let (reply, delivery) = oneshot::channel();
        let driven = drive(Box::pin(job.run(lead, Some(reply))), delivery);
        let Ok((delivery, filters)) = driven.await else {
            let origin = route.upstream.name().to_owned();
            let reason = "the fetch was lost".to_owned();
            return (self.failed(Failure::Terminated { origin, reason }), None);
        };
        let answer = match delivery {
            Delivery::Shared(head, body) => self.shared(exchange, &head, body, told, false),
            // Its new fields may not hold what the client asked for under: `If-Range`, say.
            Delivery::Validated(entry) if !serves(&entry, exchange) => {
                let forwarded = self.forward(exchange, route, filters, None, why, ahead);
                return Box::pin(forwarded).await;
            }
            Delivery::Validated(entry) => self.validated(exchange, (key, &entry), told, false),
            Delivery::Regional(Nearby { entry, waited }) if waited => {
                self.metrics.collapsed.inc();
                self.fetched_nearby(exchange, (key, &entry), told)
            }
            Delivery::Regional(Nearby { entry, .. }) => {
                self.hit(exchange, key, &entry, Tier::Regional)
            }
            Delivery::Private(response, reason) => passed(response, why, Some(reason.name())),
            Delivery::Failed(failure) => self.failed_upstream(exchange, route, stale, failure),
        };
        (answer, Some(filters))
    }

    /// Renews a stale entry behind the client's back; nothing if somebody does so already.
    pub(super) fn refresh(
        self: &Arc<Self>,
        key: Key,
        exchange: &Exchange,
        route: &Arc<Route>,
        entry: &Arc<Entry>,
    ) {
        let Role::Lead(lead) = self.cache.join(key) else {
            return;
        };
        self.metrics.refreshes.inc();
        let filters = route.chain.begin(&self.capabilities);
        let unusable = Unusable {
            key,
            entry: Arc::clone(entry),
            reason: Stale::Expired,
            stale_if_error: true,
        };
        let missing = Missing {
            stale: Some(unusable),
            ..Missing::new(key, key, Forwarded::Stale)
        };
        let job = Job::new(self, exchange, route, filters, &missing).anonymous();
        tokio::spawn(job.run(lead, None));
    }

    /// A response that is being stored while it is read.
    fn shared(
        &self,
        exchange: &Exchange,
        head: &Arc<Head>,
        body: Body,
        told: CacheStatus,
        collapsed: bool,
    ) -> Answer {
        let status = CacheStatus {
            fwd_status: Some(head.answered),
            ttl: Some(head.terms.ttl(exchange.now)),
            stored: !collapsed,
            collapsed,
            ..told
        };
        let condition = evaluate(
            &exchange.headers,
            &exchange.method,
            head.status,
            &head.headers,
        );
        let response = if condition == Precondition::NotModified {
            not_modified(&head.headers)
        } else {
            let mut response = Response::new(body);
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers.clone();
            mark_shared(exchange, head, &mut response);
            response
        };
        Answer {
            response,
            status,
            is_told: false,
            outcome: Outcome::Miss,
        }
    }

    /// A stored response that the origin has just confirmed.
    fn validated(
        &self,
        exchange: &Exchange,
        (key, entry): (Key, &Arc<Entry>),
        told: CacheStatus,
        collapsed: bool,
    ) -> Answer {
        // The origin took its time, and the response is that much older.
        let now = self.clock.now();
        let status = CacheStatus {
            fwd: Some(Forwarded::Stale),
            fwd_status: Some(StatusCode::NOT_MODIFIED),
            ttl: Some(entry.terms.ttl(now)),
            stored: !collapsed,
            collapsed,
            ..told
        };
        self.stored(exchange, (key, entry), now, status, Outcome::Revalidated)
    }

    /// The origin failed: a stored response stands in where it may (RFC 5861 §4).
    pub(super) fn failed_upstream(
        &self,
        exchange: &Exchange,
        route: &Route,
        stale: Option<Unusable>,
        failure: Failure,
    ) -> Answer {
        let now = self.clock.now();
        match stale {
            Some(unusable)
                if failure.is_upstream() && self.may_stand_in(exchange, route, &unusable, now) =>
            {
                tracing::debug!(%failure, reason = unusable.reason.name(), "served stale");
                self.stale(
                    exchange,
                    unusable.key,
                    &unusable.entry,
                    now,
                    "stale-if-error",
                )
            }
            _ => self.failed(failure),
        }
    }

    /// Whether a stale response may still be served: while the origin was asked it may have been
    /// purged, or have become too old.
    pub(super) fn may_stand_in(
        &self,
        exchange: &Exchange,
        route: &Route,
        unusable: &Unusable,
        now: Timestamp,
    ) -> bool {
        let Verdict::Usable(standing @ (Standing::Valid | Standing::SoftPurged(_))) =
            self.judge(exchange, &unusable.entry)
        else {
            return false;
        };
        let (request, terms) = (&exchange.headers, &unusable.entry.terms);
        let decided = reuse(request, terms, now, standing, &route.policy);
        unusable.stale_if_error
            && !self.must_ask(now, route, unusable.entry.asked_at())
            && match decided {
                Reuse::Validate { stale_if_error, .. } => stale_if_error,
                decided => decided != Reuse::Unsatisfiable,
            }
    }
}

/// A response that passes through and is not stored, for the reason `detail` names.
pub(super) fn passed(
    response: Response<Body>,
    why: Forwarded,
    detail: Option<&'static str>,
) -> Answer {
    let status = CacheStatus {
        fwd: Some(why),
        fwd_status: Some(response.status()),
        detail,
        ..CacheStatus::default()
    };
    Answer {
        response,
        status,
        is_told: false,
        outcome: Outcome::Pass,
    }
}

fn names(vary: &Vary) -> Vec<http::HeaderName> {
    vary.names().cloned().collect()
}

impl Missing {
    /// What `Cache-Status` says of it: why the origin is asked, and what is wrong with what is
    /// stored.
    fn told(&self) -> CacheStatus {
        let stale = self.stale.as_ref().map(|stale| stale.reason.name());
        CacheStatus {
            fwd: Some(self.why),
            detail: yours::detail(self.ahead).or(stale),
            ..CacheStatus::default()
        }
    }

    /// The flight to join first: those who ask for the same part share one of their own.
    fn flight(&self, key: Key, exchange: &Exchange, route: &Route) -> Key {
        if !self.asks_for_a_part(exchange, route) {
            return key;
        }
        let mut part = Vec::new();
        for name in [RANGE, IF_RANGE] {
            let value = exchange.headers.get(name).map(HeaderValue::as_bytes);
            part.extend_from_slice(value.unwrap_or_default());
            part.push(0);
        }
        key.derive(&part)
    }

    /// Whether the origin is asked for the part that the client wants. It is not where a whole
    /// response is stored: if that holds no more, all of the new one is wanted.
    pub(super) fn asks_for_a_part(&self, exchange: &Exchange, route: &Route) -> bool {
        let mut ranges = exchange.headers.get_all(RANGE).iter();
        let stale = self.stale.as_ref();
        route.forwards_ranges
            && exchange.method == Method::GET
            && ranges.next().is_some()
            && ranges.next().is_none()
            && stale.is_none_or(|stale| stale.entry.content.whole().is_none())
    }
}

/// Whether the client wants a part, or something only if it differs.
fn has_conditions(headers: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE]
        .iter()
        .any(|name| headers.contains_key(name))
}
