//! What the origin says, where what is stored does not suffice: asked as a fetch would ask, and told
//! instead of kept.

use std::sync::Arc;

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use tidegate_semantics::{
    CacheStatus, confirms, drop_conditions, has_validator, make_conditional, storing,
};

use super::{asked, failed};
use crate::body::{Arriving, Body};
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::explanation::Explanation;
use crate::forward::{Outbound, inbound};
use crate::proxy::filtering::Wishes;
use crate::proxy::keeping::{NotStored, Place, Times, announced_length};
use crate::proxy::lookup::Missing;
use crate::proxy::{Proxy, Route, outbound};

impl Proxy {
    /// Asks the origin, and tells what would come of its answer, or of its failure.
    pub(super) async fn explain_asking(
        self: &Arc<Self>,
        exchange: &Exchange,
        route: &Arc<Route>,
        missing: Missing,
        told: &mut Explanation,
    ) -> CacheStatus {
        let answer = if exchange.method == Method::HEAD {
            self.explain_forwarded(exchange, route, &missing, told)
                .await
        } else {
            self.explain_fetched(exchange, route, &missing, told).await
        };
        let failure = match answer {
            Ok(status) => return status,
            Err(failure) => failure,
        };
        told.tell("origin", failure.name(), failure.to_string());
        let now = self.clock.now();
        match &missing.stale {
            Some(stale)
                if failure.is_upstream() && self.may_stand_in(exchange, route, stale, now) =>
            {
                told.tell("stand-in", "RFC 5861 §4", "what is stored is served");
                CacheStatus {
                    hit: true,
                    ttl: Some(stale.entry.terms.ttl(now)),
                    detail: Some("stale-if-error"),
                    ..CacheStatus::default()
                }
            }
            _ => failed(&failure),
        }
    }

    /// Asks as the client does.
    async fn explain_forwarded(
        &self,
        exchange: &Exchange,
        route: &Route,
        missing: &Missing,
        told: &mut Explanation,
    ) -> Result<CacheStatus, Failure> {
        let outbound = outbound(exchange, &self.settings);
        let (response, _) = self.ask(route, outbound, told).await?;
        unless_replaced(missing, route, &response)?;
        if missing.stale.is_some() {
            let finding = "renews what is stored if it agrees with it";
            told.tell("head", "RFC 9111 §4.3.5", finding);
        }
        Ok(CacheStatus {
            fwd: Some(missing.why),
            fwd_status: Some(response.status()),
            ..CacheStatus::default()
        })
    }

    /// Asks whether what is stored holds, or for what is missing.
    async fn explain_fetched(
        self: &Arc<Self>,
        exchange: &Exchange,
        route: &Arc<Route>,
        missing: &Missing,
        told: &mut Explanation,
    ) -> Result<CacheStatus, Failure> {
        let place = Place::of(self, missing.key, exchange, route);
        let mut plain = outbound(exchange, &self.settings);
        drop_conditions(&mut plain.headers);
        let asks_for_a_part = missing.asks_for_a_part(exchange, route);
        let ask_for_the_part = |headers: &mut HeaderMap| {
            for name in [RANGE, IF_RANGE] {
                if let Some(value) = exchange.headers.get(&name)
                    && asks_for_a_part
                {
                    headers.insert(name, value.clone());
                }
            }
        };
        if let Some(stale) = &missing.stale
            && let stored = &stale.entry.headers()
            && has_validator(stored)
        {
            let mut outbound = plain.clone();
            make_conditional(&mut outbound.headers, stored);
            ask_for_the_part(&mut outbound.headers);
            let (response, times) = self.ask(route, outbound, told).await?;
            unless_replaced(missing, route, &response)?;
            if response.status() != StatusCode::NOT_MODIFIED {
                told.tell("validation", "RFC 9111 §4.3.3", "another one takes over");
                return Ok(self.explain_arrived(exchange, &place, response, &times, missing, told));
            }
            if confirms(stored, response.headers())
                && let Some(entry) = place.renew(&stale.entry, response.headers(), &times)
            {
                told.tell("validation", "RFC 9111 §4.3.3", "confirmed");
                return Ok(CacheStatus {
                    fwd_status: Some(StatusCode::NOT_MODIFIED),
                    ttl: Some(entry.terms.ttl(self.clock.now())),
                    stored: true,
                    ..asked(missing)
                });
            }
            let finding = "not of what is stored, or not to be kept any more: asked for anew";
            told.tell("validation", "RFC 9111 §4.3.4", finding);
        }
        ask_for_the_part(&mut plain.headers);
        let (response, times) = self.ask(route, plain, told).await?;
        unless_replaced(missing, route, &response)?;
        Ok(self.explain_arrived(exchange, &place, response, &times, missing, told))
    }

    /// Sends a request, of whose answer the body is left.
    async fn ask(
        &self,
        route: &Route,
        mut outbound: Outbound,
        told: &mut Explanation,
    ) -> Result<(Response<Arriving>, Times), Failure> {
        let fence = self.log.fence();
        let asked = self.ask_replicas(&route.upstream, None);
        asked.say(&mut outbound.headers);
        let requested_at = self.clock.now();
        let sent = route.upstream.send(|| outbound.request(Body::Empty));
        let mut response = sent.await?;
        route.drop_tokens(response.headers_mut());
        self.told_lsn(response.extensions(), asked);
        let finding = format!("answered {}", response.status());
        told.tell("origin", "asked now", finding);
        let times = Times {
            fence,
            requested_at,
            received_at: self.clock.now(),
        };
        Ok((response, times))
    }

    /// Tells whether an answer of the origin would be stored.
    fn explain_arrived(
        &self,
        exchange: &Exchange,
        place: &Place,
        response: Response<Arriving>,
        times: &Times,
        missing: &Missing,
        told: &mut Explanation,
    ) -> CacheStatus {
        let (mut head, _) = response.into_parts();
        let length = announced_length(&head.headers);
        inbound(&mut head.headers, &Method::GET, &self.settings.via);
        let happened = tidegate_semantics::Exchange {
            method: &Method::GET,
            path: exchange.path_and_query.as_str(),
            request: &exchange.headers,
            status: head.status,
            response: &head.headers,
            requested_at: times.requested_at,
            received_at: times.received_at,
        };
        told.tell_all(storing::explain(&happened, &place.route.policy));
        told.tell("url", "purge log", place.url.as_str());
        let status = CacheStatus {
            fwd_status: Some(head.status),
            ..asked(missing)
        };
        match place.admit(&Method::GET, &mut head, Wishes::default(), times, length) {
            Ok(kept) => CacheStatus {
                ttl: Some(kept.terms.ttl(exchange.now)),
                stored: true,
                ..status
            },
            Err(reason) => {
                if !matches!(reason, NotStored::Refused(_)) {
                    told.tell("storing", "edge", format!("refused: {}", reason.name()));
                }
                CacheStatus {
                    detail: Some(reason.name()),
                    ..status
                }
            }
        }
    }
}

/// # Errors
/// The failure that an answer counts as where something stored may be served instead.
fn unless_replaced(
    missing: &Missing,
    route: &Route,
    response: &Response<Arriving>,
) -> Result<(), Failure> {
    let status = response.status();
    match &missing.stale {
        Some(stale) if stale.stale_if_error && status.is_server_error() => {
            Err(Failure::answered(route.upstream.name(), status))
        }
        _ => Ok(()),
    }
}
