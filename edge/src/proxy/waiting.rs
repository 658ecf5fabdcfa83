//! Waiting for another edge of the region that fetches the same.
//!
//! Who leads a fetch here asks for the region's lease first. While another edge has it, what that one
//! stores in Redis is waited for: a look every few milliseconds, less and less often, and never for
//! longer than a lease holds. Then, and whenever there is nothing to wait for, the fetch goes on by
//! itself.
//!
//! What is found is judged as in any look-up, so no purge that this edge knows is undone by waiting,
//! and none that could not be recorded.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, RANGE};
use tidegate_semantics::{CacheStatus, Reuse, Standing, reuse};
use tokio::time::Instant;

use super::job::Job;
use super::{Answer, Proxy};
use crate::cache::{Claimed, Entry, Key, Tier};
use crate::exchange::Exchange;
use crate::purge::{Marks, Verdict};
use crate::telemetry::{Metrics, Outcome};

/// The first pause between two looks; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What another edge has fetched.
pub(super) struct Nearby {
    pub(super) entry: Arc<Entry>,
    /// Whether it was not there at once.
    pub(super) waited: bool,
}

impl Job {
    /// Takes the region's lease, or waits for who has it. `None` when this one is to fetch, with or
    /// without the lease.
    pub(super) async fn wait_in_region(&mut self) -> Option<Nearby> {
        if !self.may_be_shared() {
            return None;
        }
        let proxy = Arc::clone(&self.place.proxy);
        let parts = self.place.parts.as_parts();
        let mut claim = proxy.cache.claim(&parts)?;
        let index = proxy.log.index();
        let marks = self.marks();
        if let Some(names) = self.known_names() {
            claim.select(&names, &parts, &self.place.request);
        }
        if let Some(stale) = &self.stale {
            claim.pass_over(stale);
        }
        let until = Instant::now() + claim.patience();
        let mut pause = FIRST_PAUSE;
        let mut place = None;
        let result = loop {
            // What matches a purge that has no position is fetched here, and stays here.
            if index.unrecorded_orders(&marks) > 0 {
                break "alone";
            }
            let positions = (proxy.log.fence(), index.last_match(&marks));
            let asked = claim.ask(positions, &parts, &self.place.request, index);
            match asked.await {
                Ok(Claimed::Held(lease)) => {
                    self.place.lease = Some(lease);
                    break "held";
                }
                Ok(Claimed::Alone) => break "alone",
                Ok(Claimed::Stored(entry)) if self.may_use(&entry) => {
                    if proxy
                        .cache
                        .bring(&parts, &self.place.request, &entry, index)
                    {
                        let waited = place.is_some();
                        proxy
                            .metrics
                            .count_lease(if waited { "waited" } else { "found" });
                        return Some(Nearby { entry, waited });
                    }
                }
                Ok(Claimed::Stored(_) | Claimed::Other) => {}
                Ok(Claimed::Waiting) => {
                    if place.is_none() {
                        place = proxy.cache.wait_in_region();
                    }
                    if place.is_none() {
                        break "full";
                    }
                    tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                Err(error) => {
                    tracing::debug!(%error, "going on without a lease");
                    Metrics::count_reason(&proxy.metrics.regional_unavailable, error.name());
                    // It may have been granted all the same.
                    self.place.lease = Some(claim.into_lease());
                    break "unavailable";
                }
            }
            if Instant::now() >= until {
                break "lapsed";
            }
        };
        proxy.metrics.count_lease(result);
        None
    }

    /// Whether what comes is likely to be of use to others, and theirs to this one: not where it
    /// depends on who asks, where only a part is asked for, or where the client insists on the origin.
    fn may_be_shared(&self) -> bool {
        let request = &self.place.request;
        let insists = self.place.route.policy.honour_request_directives
            && (request.contains_key(CACHE_CONTROL) || request.contains_key(PRAGMA));
        !insists
            && self.partial.is_none()
            && !self.outbound.headers.contains_key(RANGE)
            && !request.contains_key(AUTHORIZATION)
    }

    /// The fields by which the response varies, as far as that is known before it is here.
    fn known_names(&self) -> Option<Vec<HeaderName>> {
        let stale = self.stale.as_ref().map(|stale| &stale.vary);
        let of_stale = stale.filter(|vary| !vary.is_empty());
        let names = || of_stale.map(|vary| vary.names().cloned().collect());
        self.varies.clone().or_else(names)
    }

    /// What the response is called in the purge log, as far as that is known before it is here.
    fn marks(&self) -> Marks {
        let stale = self.stale.as_ref().map(|stale| &stale.marks);
        let index = self.place.proxy.log.index();
        let known = self.marks.as_ref().or(stale).cloned();
        known.unwrap_or_else(|| index.marks(&self.place.url, []))
    }

    /// Whether a response from the region may be used as it is.
    fn may_use(&self, entry: &Entry) -> bool {
        let place = &self.place;
        let now = place.proxy.clock.now();
        let Verdict::Usable(standing) = place.judge(entry) else {
            return false;
        };
        let standing = if place.proxy.must_ask(now, &place.route, entry.asked_at()) {
            Standing::BelowFloor
        } else {
            standing
        };
        let policy = &place.route.policy;
        reuse(&place.request, &entry.terms, now, standing, policy) == Reuse::Fresh
    }
}

impl Proxy {
    /// A response for which this request waited while another edge fetched it.
    pub(super) fn fetched_nearby(
        &self,
        exchange: &Exchange,
        (key, entry): (Key, &Arc<Entry>),
        told: CacheStatus,
    ) -> Answer {
        // That one took its time, and the response is that much older.
        let now = self.clock.now();
        let status = CacheStatus {
            ttl: Some(entry.terms.ttl(now)),
            collapsed: true,
            detail: Some(Tier::Regional.name()),
            ..told
        };
        self.stored(exchange, (key, entry), now, status, Outcome::Miss)
    }
}
