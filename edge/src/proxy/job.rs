//! One fetch: asks the origin, lets the filters see the answer, decides whether it may be stored,
//! and streams it to all who wait.
//!
//! The log position is read before the request is sent; what comes of the fetch carries it as its
//! fence, so a purge that overtakes the fetch wins.

mod rest;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, IF_RANGE, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;
use tidegate_semantics::{confirms, drop_conditions, make_conditional};
use tokio::sync::oneshot;

use super::filtering::Seen;
use super::keeping::{NotStored, Place, Times, announced_length};
use super::lookup::Missing;
use super::waiting::Nearby;
use super::{Proxy, Route, outbound};
use crate::body::{Arriving, Body, Received};
use crate::cache::{Entry, Filling, Gap, Head, Landing, Lead};
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::filters::Filters;
use crate::forward::{Outbound, inbound};
use crate::interim::Informer;
use crate::purge::{Lsn, Marks, Position};
use crate::upstream::strip_lsn;
use rest::Rest;

/// How long a body that is not kept waits for a client that does not read.
pub(super) const READER_PATIENCE: Duration = Duration::from_secs(20);

/// Everything a fetch needs, once the client may be gone.
pub(super) struct Job {
    pub(super) place: Place,
    /// Filtered, the client's conditions dropped.
    pub(super) outbound: Outbound,
    pub(super) stale: Option<Arc<Entry>>,
    stale_if_error: bool,
    /// What is stored of the representation, where the client wants all of it.
    pub(super) partial: Option<Arc<Entry>>,
    /// What a fetch under way has shown of the response: by which fields it varies, and what it is
    /// called in the purge log.
    pub(super) varies: Option<Vec<HeaderName>>,
    pub(super) marks: Option<Marks>,
    filters: Filters,
    informer: Option<Informer>,
    client: IpAddr,
    /// What the client has seen of the database.
    at_least: Option<Lsn>,
}

/// What the client that leads a fetch gets of it.
pub(super) enum Delivery {
    Shared(Arc<Head>, Body),
    Validated(Arc<Entry>),
    Regional(Nearby),
    Private(Response<Body>, NotStored),
    Failed(Failure),
}

type Reply = oneshot::Sender<(Delivery, Filters)>;

impl Job {
    /// The fetch that an exchange needs.
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        exchange: &Exchange,
        route: &Arc<Route>,
        filters: Filters,
        missing: &Missing,
    ) -> Box<Job> {
        let mut outbound = outbound(exchange, &proxy.settings);
        drop_conditions(&mut outbound.headers);
        let asks_for_a_part = missing.asks_for_a_part(exchange, route);
        if asks_for_a_part {
            for name in [RANGE, IF_RANGE] {
                if let Some(value) = exchange.headers.get(&name) {
                    outbound.headers.insert(name, value.clone());
                }
            }
        }
        let stale = missing.stale.as_ref();
        let mut place = Place::of(proxy, missing.key, exchange, route);
        if !asks_for_a_part && place.request.contains_key(RANGE) {
            // What was not asked for is not what comes.
            Arc::make_mut(&mut place.request).remove(RANGE);
        }
        Box::new(Job {
            place,
            outbound,
            stale: stale.map(|unusable| Arc::clone(&unusable.entry)),
            stale_if_error: stale.is_some_and(|unusable| unusable.stale_if_error),
            partial: missing.partial.clone().filter(|_| !asks_for_a_part),
            varies: missing.varies.clone(),
            marks: missing.marks.clone(),
            filters,
            informer: exchange.informer.clone(),
            client: exchange.client,
            at_least: missing.ahead.and_then(|seen| seen.lsn),
        })
    }

    /// The same on nobody's behalf: what comes of it is nobody's variant.
    pub(super) fn anonymous(mut self: Box<Self>) -> Box<Job> {
        self.outbound = self.outbound.anonymous();
        self.outbound.method = Method::GET;
        drop_conditions(&mut self.outbound.headers);
        let request = Arc::make_mut(&mut self.place.request);
        request.remove(AUTHORIZATION);
        request.remove(COOKIE);
        self.informer = None;
        self
    }

    /// Fetches, lands, delivers, and stays until everything is stored.
    pub(super) async fn run(mut self: Box<Self>, lead: Lead, reply: Option<Reply>) {
        if lead.is_shared()
            && self.place.proxy.cache.has_region()
            && let Some(nearby) = Box::pin(self.wait_in_region()).await
        {
            lead.land(Landing::Regional(Arc::clone(&nearby.entry)));
            drop(lead);
            return self.deliver(reply, Delivery::Regional(nearby));
        }
        match self.ask().await {
            Err(failure) => {
                lead.land(Landing::Failed(failure.clone()));
                drop(lead);
                self.deliver(reply, Delivery::Failed(failure));
            }
            Ok(Asked::Validated(entry)) => {
                self.place.keep(&entry);
                lead.land(Landing::Validated(Arc::clone(&entry)));
                drop(lead);
                if let Some(reply) = reply {
                    // A client that left does not mind.
                    let _ = reply.send((Delivery::Validated(Arc::clone(&entry)), self.filters));
                }
                self.place.keep_in_region(&entry).await;
            }
            Ok(Asked::Refused(response, reason)) => {
                let proxy = &self.place.proxy;
                // An error is gone with the next response, most likely.
                let status = response.status();
                let is_part = status == StatusCode::PARTIAL_CONTENT;
                if reason.holds_for_everybody() && !status.is_server_error() && !is_part {
                    proxy.cache.remember_pass(self.place.key, proxy.clock.now());
                }
                lead.land(Landing::Alone);
                drop(lead);
                proxy.count_not_stored(reason);
                let timeout = self.place.route.upstream.timeout();
                let response =
                    response.map(|body| Body::stream(Received::new(body, timeout, usize::MAX)));
                self.deliver(reply, Delivery::Private(response, reason));
            }
            Ok(Asked::Storable(storable, body)) => self.store(storable, body, lead, reply).await,
        }
    }

    fn deliver(self: Box<Self>, reply: Option<Reply>, delivery: Delivery) {
        if let Some(reply) = reply {
            // A client that left does not mind.
            let _ = reply.send((delivery, self.filters));
        }
    }

    /// Asks the origin: whether what is stored holds, or for what is missing of it, or, if it
    /// answers neither, for all of it.
    async fn ask(&mut self) -> Result<Asked, Failure> {
        // Read before anything is sent: what the origin says is as old as this.
        let fence = self.place.proxy.log.fence();
        let stale = self.stale.take();
        if let Some(stale) = stale.and_then(|entry| self.place.unless_purged(entry)) {
            let mut outbound = self.outbound.clone();
            let stored = stale.headers();
            make_conditional(&mut outbound.headers, &stored);
            keep_range(&mut outbound.headers, &self.outbound.headers);
            let (response, times) = self.send(Some(&outbound), fence).await?;
            if response.status() != StatusCode::NOT_MODIFIED {
                if self.stale_if_error && response.status().is_server_error() {
                    let origin = self.place.route.upstream.name();
                    return Err(Failure::answered(origin, response.status()));
                }
                return self.sort(response, times, None).await;
            }
            if confirms(&stored, response.headers())
                && let Some(entry) = self.place.renew(&stale, response.headers(), &times)
            {
                return Ok(Asked::Validated(entry));
            }
        }
        let partial = self.partial.take();
        let partial = partial.and_then(|entry| self.place.unless_purged(entry));
        if let Some(rest) = partial.and_then(|entry| Rest::of(&entry)) {
            let mut outbound = self.outbound.clone();
            rest.ask_for(&mut outbound.headers);
            let (response, times) = self.send(Some(&outbound), fence).await?;
            let is_useless = match response.status() {
                StatusCode::PARTIAL_CONTENT => !rest.is_completed_by(response.headers()),
                status => status == StatusCode::RANGE_NOT_SATISFIABLE,
            };
            if !is_useless {
                return self.sort(response, times, Some(rest)).await;
            }
        }
        self.ask_for_all().await
    }

    async fn ask_for_all(&mut self) -> Result<Asked, Failure> {
        let fence = self.place.proxy.log.fence();
        let (response, times) = self.send(None, fence).await?;
        self.sort(response, times, None).await
    }

    /// Sends the job's request, or one that was made of it.
    async fn send(
        &mut self,
        changed: Option<&Outbound>,
        fence: Position,
    ) -> Result<(Response<Arriving>, Times), Failure> {
        let Job {
            place,
            outbound,
            informer,
            at_least,
            ..
        } = self;
        let (proxy, route) = (&place.proxy, &place.route);
        let upstream = &route.upstream;
        let outbound = changed.unwrap_or(outbound);
        let asked = proxy.ask_replicas(upstream, *at_least);
        let requested_at = proxy.clock.now();
        let make = || {
            let mut request = outbound.request(Body::Empty);
            asked.say(request.headers_mut());
            relay_interim(&mut request, informer.as_ref(), route);
            request
        };
        let answer = upstream.send(make).await;
        match &answer {
            Ok(_) => {
                route.counters.answered.inc();
            }
            Err(failure) => {
                proxy
                    .metrics
                    .count_upstream(upstream.name(), failure.name());
            }
        }
        let times = Times {
            fence,
            requested_at,
            received_at: proxy.clock.now(),
        };
        let mut response = answer?;
        route.drop_tokens(response.headers_mut());
        proxy.told_lsn(response.extensions(), asked);
        Ok((response, times))
    }

    /// Lets the filters see the response, and finds out whether it may be stored. `rest` is what
    /// was asked for, where that was not all.
    async fn sort(
        &mut self,
        response: Response<Arriving>,
        times: Times,
        rest: Option<Rest>,
    ) -> Result<Asked, Failure> {
        let (mut parts, body) = response.into_parts();
        let announced = announced_length(&parts.headers);
        inbound(
            &mut parts.headers,
            &self.outbound.method,
            &self.place.proxy.settings.via,
        );
        let seen = Seen {
            scheme: self.place.parts.as_parts().scheme,
            authority: self.place.parts.as_parts().authority,
            client: self.client,
            lsn: None,
        };
        let mut wishes = self
            .place
            .proxy
            .filter_origin_response(&mut self.filters, seen, &mut self.outbound, &mut parts)
            .await?;
        let answered = parts.status;
        let rest = rest.filter(|_| answered == StatusCode::PARTIAL_CONTENT);
        if let Some(rest) = &rest {
            rest.complete(&mut parts);
            // What falls with a part of it falls with all of it.
            let tags = rest.entry.fields.tags();
            wishes.tags.extend(tags.map(str::to_owned));
        }
        let method = &self.outbound.method;
        let admitted = self
            .place
            .admit(method, &mut parts, wishes, &times, announced);
        match (admitted, rest) {
            (Ok(mut head), rest) => {
                head.answered = answered;
                let storable = Arrival {
                    head,
                    times,
                    gap: rest.map(|rest| rest.gap),
                };
                Ok(Asked::Storable(Box::new(storable), body))
            }
            // A part for a client that asked for all is no answer: it is asked for anew.
            (Err(_), Some(_)) => {
                drop(body);
                Box::pin(self.ask_for_all()).await
            }
            (Err(refused), None) => Ok(Asked::Refused(Response::from_parts(parts, body), refused)),
        }
    }

    /// Streams a response to all who wait, and stores it when it is complete.
    async fn store(
        mut self: Box<Self>,
        arrival: Box<Arrival>,
        body: Arriving,
        lead: Lead,
        reply: Option<Reply>,
    ) {
        let Arrival { head, times, gap } = *arrival;
        let length = match &gap {
            Some(gap) => Some(gap.complete()),
            None => body.size_hint().exact(),
        };
        let max_entry = self.place.proxy.settings.max_entry;
        let filling = Filling::new(max_entry, length, READER_PATIENCE);
        let head = Arc::new(head);
        // A reader that nobody reads would hold the source back.
        let reader = reply.as_ref().and_then(|_| filling.reader());
        let is_shared = !head.terms.always_validate && head.terms.is_fresh(times.received_at);
        let is_regional = is_shared && head.range.is_none();
        let lease = &mut self.place.lease;
        lease.take_if(|lease| !is_regional || length.is_some_and(|it| !lease.covers(it)));
        lead.land(if is_shared {
            Landing::Shared(Arc::clone(&head), filling.clone())
        } else {
            // To be asked for each time: what is kept serves to compare.
            Landing::Alone
        });
        if let (Some(reply), Some(reader)) = (reply, reader) {
            let delivery = Delivery::Shared(Arc::clone(&head), Body::stream(reader));
            let _ = reply.send((delivery, self.filters));
        }
        self.place
            .fill(head, times, gap, (body, filling), Some(lead))
            .await;
    }
}

/// Sends the origin's interim responses on to the client, without their hop-by-hop fields.
pub(super) fn relay_interim(
    request: &mut http::Request<Body>,
    informer: Option<&Informer>,
    route: &Arc<Route>,
) {
    let Some(informer) = informer.cloned() else {
        return;
    };
    let route = Arc::clone(route);
    hyper::ext::on_informational(request, move |interim| {
        let mut headers = interim.headers().clone();
        tidegate_semantics::strip_hop_by_hop(&mut headers);
        strip_lsn(&mut headers);
        route.drop_tokens(&mut headers);
        headers.remove(http::header::CONTENT_LENGTH);
        informer.push(interim.status(), &headers);
    });
}

/// What the origin's answer turned out to be.
enum Asked {
    Storable(Box<Arrival>, Arriving),
    Validated(Arc<Entry>),
    Refused(Response<Arriving>, NotStored),
}

/// A response that may be stored, and whose body is on its way.
struct Arrival {
    head: Head,
    times: Times,
    /// What is stored already before and after what arrives.
    gap: Option<Gap>,
}

/// The part that the client wants is asked for also where what is stored is validated, and under
/// the client's condition, in case it is not what is stored any more.
fn keep_range(headers: &mut HeaderMap, asked: &HeaderMap) {
    for name in [RANGE, IF_RANGE] {
        if let Some(value) = asked.get(&name) {
            headers.insert(name, value.clone());
        }
    }
}
