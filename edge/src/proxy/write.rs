//! What passes through: writes, which invalidate, and whatever else is not looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONTENT_LENGTH, TRAILER};
use http::response::Parts as ResponseHead;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body as _;
use tidegate_semantics::{
    Forwarded, head_agrees, invalidated, invalidated_groups, is_safe, strip_surrogate_fields,
};
use tokio::sync::oneshot;

use super::fetch::passed;
use super::filtering::{self, Wishes};
use super::job::{READER_PATIENCE, relay_interim};
use super::keeping::{Place, Times, announced_length};
use super::lookup::Unusable;
use super::replicas::Asked;
use super::tunnel::Switched;
use super::{Answer, Proxy, Route, client_url, key_parts, outbound, purge_url, yours};
use crate::body::{self, Arriving, Body};
use crate::cache::{Content, Entry, Filling};
use crate::error::Failure;
use crate::exchange::{Exchange, Upgrade};
use crate::filters::Filters;
use crate::forward::{Outbound, inbound};
use crate::interim::Informer;
use crate::purge::{Lsn, Position, Record, Scope, Seen, url};
use crate::trailers;

/// A request that passes through, detached from its client.
struct Passing {
    proxy: Arc<Proxy>,
    route: Arc<Route>,
    outbound: Outbound,
    body: Body,
    /// Set when the request's body exceeds its limit.
    is_too_large: Arc<AtomicBool>,
    scheme: &'static str,
    authority: String,
    client: std::net::IpAddr,
    url: String,
    /// The client's own, where a filter made that one of it.
    client_url: Option<String>,
    informer: Option<Informer>,
    /// The other protocols in which the client would go on.
    upgrade: Option<Box<Upgrade>>,
    /// Whether the client takes trailers.
    takes_trailers: bool,
    filters: Filters,
    /// What the origin's answer invalidates, whatever filters make of it.
    invalidated: Vec<Record>,
    /// What the client has seen of the database.
    at_least: Option<Lsn>,
    /// What replicas were asked for, and how far the database had got when the origin answered.
    asked: Asked,
    told: Option<Lsn>,
    /// Where the answer to a POST would be stored.
    place: Option<Place>,
    /// What the answer to a HEAD may renew, and where that is stored.
    freshens: Option<(Place, Arc<Entry>)>,
}

/// What the origin answered, before it goes on.
struct Received {
    head: ResponseHead,
    body: Arriving,
    wishes: Wishes,
    times: Times,
    /// Bytes of the body, as announced.
    length: Option<u64>,
    /// The trailers that were announced and may pass.
    trailer: Option<HeaderValue>,
    /// Set where the origin goes on in another protocol.
    switched: Option<Switched>,
}

/// The answer for the client, and whether it is being stored; what the client has seen by it.
type Reply = oneshot::Sender<(
    Result<(Response<Body>, bool), Failure>,
    Option<Seen>,
    Filters,
)>;

impl Proxy {
    /// A request with an unsafe method. It runs in a task of its own: a client that leaves does
    /// not keep what it wrote from being invalidated.
    pub(super) async fn write(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
    ) -> (Answer, Option<Filters>) {
        let mut passing = match self.passing(exchange, route, filters) {
            Ok(passing) => passing,
            Err(refused) => return *refused,
        };
        if route.caches && !exchange.bypass_cache && exchange.method == Method::POST {
            let key = self.cache.key(&key_parts(exchange, route));
            passing.place = Some(Place::of(self, key, exchange, route));
        }
        let (reply, answer) = oneshot::channel();
        tokio::spawn(passing.write(reply));
        let Ok((outcome, seen, filters)) = answer.await else {
            let origin = route.upstream.name().to_owned();
            let reason = "the write was lost".to_owned();
            return (self.failed(Failure::Terminated { origin, reason }), None);
        };
        let mut answer = match outcome {
            Ok((response, is_stored)) => {
                let mut answer = passed(response, Forwarded::Method, None);
                answer.status.stored = is_stored;
                answer
            }
            Err(failure) => self.failed(failure),
        };
        if let Some(seen) = seen {
            answer.response.extensions_mut().insert(seen);
        }
        (answer, Some(filters))
    }

    /// A safe request that is not looked up, or whose response is for one client only. What is
    /// `stale` stands in for an origin that fails, where it may.
    pub(super) async fn forward(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
        stale: Option<Unusable>,
        why: Forwarded,
        ahead: Option<Seen>,
    ) -> (Answer, Option<Filters>) {
        let mut passing = match self.passing(exchange, route, filters) {
            Ok(passing) => passing,
            Err(refused) => return *refused,
        };
        passing.at_least = ahead.and_then(|seen| seen.lsn);
        if let Some(stale) = &stale
            && exchange.method == Method::HEAD
        {
            let key = self.cache.key(&key_parts(exchange, route));
            let place = Place::of(self, key, exchange, route);
            passing.freshens = Some((place, Arc::clone(&stale.entry)));
        }
        let may_stand_in = stale.as_ref().is_some_and(|stale| stale.stale_if_error);
        let outcome = match passing.send().await {
            Ok(response) if may_stand_in && response.status().is_server_error() => {
                Err(Failure::answered(route.upstream.name(), response.status()))
            }
            outcome => outcome,
        };
        let answer = match outcome {
            Ok(response) => passed(response, why, yours::detail(ahead)),
            Err(failure) => self.failed_upstream(exchange, route, stale, failure),
        };
        (answer, Some(passing.filters))
    }

    fn passing(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
    ) -> Result<Box<Passing>, Box<(Answer, Option<Filters>)>> {
        let limit = self.settings.max_body;
        let announced = exchange
            .body
            .as_ref()
            .and_then(|body| body.size_hint().exact());
        if announced.is_some_and(|announced| announced > limit as u64) {
            return Err(Box::new((
                self.failed(Failure::BodyTooLarge(limit)),
                Some(filters),
            )));
        }
        let is_too_large = Arc::new(AtomicBool::new(false));
        let body = match exchange.body.take() {
            None => Body::Empty,
            Some(body) => {
                let timeout = route.upstream.timeout();
                let flag = Arc::clone(&is_too_large);
                let received = body::Received::new(body, timeout, limit).flagging(flag);
                Body::stream(received.with_trailers(true))
            }
        };
        let mut outbound = outbound(exchange, &self.settings);
        let upgrade = exchange.upgrade.take();
        let takes_trailers =
            exchange.version >= Version::HTTP_2 || trailers::are_accepted(&exchange.headers);
        // HTTP/2 has trailers behind a body of known length too.
        if body.size_hint().exact().is_none()
            || (exchange.version >= Version::HTTP_2 && !body.is_end_stream())
        {
            outbound.announce_trailers(&exchange.headers);
        }
        match &upgrade {
            Some(upgrade) => outbound.offer_upgrade(&upgrade.protocols),
            None if takes_trailers => outbound.accept_trailers(),
            None => {}
        }
        Ok(Box::new(Passing {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            outbound,
            body,
            is_too_large,
            scheme: exchange.scheme,
            authority: exchange.authority.as_str().to_owned(),
            client: exchange.client,
            url: purge_url(exchange),
            client_url: client_url(exchange),
            informer: exchange.informer.clone(),
            upgrade,
            takes_trailers,
            filters,
            invalidated: Vec::new(),
            at_least: None,
            asked: Asked::default(),
            told: None,
            place: None,
            freshens: None,
        }))
    }
}

impl Passing {
    /// Sends the request and lets the filters see what comes back.
    async fn receive(&mut self) -> Result<Received, Failure> {
        let fence = self.proxy.log.fence();
        let upstream = &self.route.upstream;
        let asked = self.proxy.ask_replicas(upstream, self.at_least);
        self.asked = asked;
        let freshens = self.freshens.take().and_then(|(place, stale)| {
            let stale = place.unless_purged(stale)?;
            Some((place, stale))
        });
        let requested_at = self.proxy.clock.now();
        let (outbound, body) = (&self.outbound, &mut self.body);
        let (informer, route) = (self.informer.as_ref(), &self.route);
        let mut make = || {
            let mut request = outbound.request(std::mem::take(body));
            asked.say(request.headers_mut());
            relay_interim(&mut request, informer, route);
            request
        };
        let upgrade = self.upgrade.take();
        let answer = match &upgrade {
            None => upstream.send(make).await.map(|answer| (answer, None)),
            Some(_) => Box::pin(upstream.switch(make())).await,
        };
        match &answer {
            Ok(_) => {
                self.route.counters.answered.inc();
            }
            Err(failure) => {
                self.proxy
                    .metrics
                    .count_upstream(upstream.name(), failure.name());
            }
        }
        let (response, tunnel) = answer.map_err(|failure| {
            if self.is_too_large.load(Ordering::Relaxed) {
                Failure::BodyTooLarge(self.proxy.settings.max_body)
            } else {
                failure
            }
        })?;
        let times = Times {
            fence,
            requested_at,
            received_at: self.proxy.clock.now(),
        };
        let (mut head, body) = response.into_parts();
        let length = announced_length(&head.headers);
        let trailer = trailers::announced(&head.headers).filter(|_| self.takes_trailers);
        let switched = Switched::of(tunnel, upgrade, &head.headers);
        inbound(
            &mut head.headers,
            &self.outbound.method,
            &self.proxy.settings.via,
        );
        self.route.drop_tokens(&mut head.headers);
        self.told = self.proxy.told_lsn(&head.extensions, self.asked);
        self.invalidated = self.invalidated_by(head.status, &head.headers);
        if let Some((place, stale)) = freshens {
            freshen(place, &stale, &head, &times);
        }
        let seen = filtering::Seen {
            scheme: self.scheme,
            authority: &self.authority,
            client: self.client,
            lsn: self.asked.lsn(self.told),
        };
        let proxy = &self.proxy;
        let wishes = proxy
            .filter_origin_response(&mut self.filters, seen, &mut self.outbound, &mut head)
            .await?;
        Ok(Received {
            head,
            body,
            wishes,
            times,
            length,
            trailer,
            switched,
        })
    }

    /// Sends a safe request.
    async fn send(&mut self) -> Result<Response<Body>, Failure> {
        let received = self.receive().await?;
        Ok(self.pass(received))
    }

    /// What is received, on its way to the client.
    fn pass(&self, received: Received) -> Response<Body> {
        let Received {
            mut head,
            body,
            trailer,
            switched,
            ..
        } = received;
        strip_surrogate_fields(&mut head.headers);
        if let Some(switched) = switched {
            return switched.answer(head);
        }
        if let Some(trailer) = trailer {
            head.headers.insert(TRAILER, trailer);
        }
        let body = if body.is_end_stream() {
            Body::Empty
        } else {
            let timeout = self.route.upstream.timeout();
            let received = body::Received::new(body, timeout, usize::MAX);
            Body::stream(received.with_trailers(self.takes_trailers))
        };
        Response::from_parts(head, body)
    }

    /// Sends a write, and invalidates before the client hears of it (RFC 9111 §4.4). What was
    /// sent and not answered may have been done, so that invalidates too.
    async fn write(mut self: Box<Self>, reply: Reply) {
        let index = self.proxy.log.index();
        let before = index.changes();
        let answer = self.receive().await;
        let mut records = std::mem::take(&mut self.invalidated);
        if answer.as_ref().is_err_and(Failure::may_have_been_sent) {
            records.extend(self.of_target());
        }
        let lsn = self.asked.lsn(self.told);
        if let Some(lsn) = lsn {
            let stamped = records.into_iter().map(|record| record.with_lsn(lsn));
            records = stamped.collect();
        }
        let (mut fence, mut seen) = (None, None);
        if !records.is_empty() {
            // Not recorded, it is in force here all the same, and is tried again.
            let position = self.proxy.log.append(&records).await.ok();
            let metrics = &self.proxy.metrics;
            metrics.count_purges(records.len(), position.is_some());
            seen = Some(Seen { position, lsn });
            // What is stored of this answer must not fall by its own records, but by any other.
            let applied = self.proxy.log.index().changes().wrapping_sub(before);
            fence = position.filter(|_| applied == records.len() as u64);
        }
        match (answer, fence, self.place.take()) {
            (Ok(received), Some(fence), Some(place)) if received.switched.is_none() => {
                self.keep(received, fence, place, seen, reply).await;
            }
            (answer, _, _) => {
                let response = answer.map(|received| (self.pass(received), false));
                // A client that left does not mind.
                let _ = reply.send((response, seen, self.filters));
            }
        }
    }

    /// Answers, and stores the answer for later GETs where it may be (RFC 9110 §9.3.3).
    async fn keep(
        self: Box<Self>,
        mut received: Received,
        fence: Position,
        mut place: Place,
        seen: Option<Seen>,
        reply: Reply,
    ) {
        let Received {
            head,
            wishes,
            times,
            length,
            ..
        } = &mut received;
        let times = Times { fence, ..*times };
        let wishes = std::mem::take(wishes);
        let method = &self.outbound.method;
        let Ok(kept) = place.admit(method, head, wishes, &times, *length) else {
            let answer = Ok((self.pass(received), false));
            let _ = reply.send((answer, seen, self.filters));
            return;
        };
        let max_entry = self.proxy.settings.max_entry;
        let filling = Filling::new(
            max_entry,
            received.body.size_hint().exact(),
            READER_PATIENCE,
        );
        let reader = filling.reader().expect("nothing of it has gone yet");
        let response = Response::from_parts(received.head, Body::stream(reader));
        let _ = reply.send((Ok((response, true)), seen, self.filters));
        place
            .fill(Arc::new(kept), times, None, (received.body, filling), None)
            .await;
    }

    fn invalidated_by(&self, status: StatusCode, headers: &HeaderMap) -> Vec<Record> {
        let Outbound {
            method,
            path_and_query,
            ..
        } = &self.outbound;
        if is_safe(method) {
            return Vec::new();
        }
        let (scheme, authority) = (self.scheme, self.authority.as_str());
        let uris = invalidated(method, scheme, authority, path_and_query, status, headers);
        let groups = invalidated_groups(method, scheme, authority, status, headers);
        let mut uris = uris.iter();
        // The first is the target.
        let target = uris.next().map(|_| self.of_target());
        let named = uris.map(|uri| Record::hard(Scope::Url(url(authority, uri.as_str()))));
        let groups = Record::tags(groups);
        target
            .into_iter()
            .flatten()
            .chain(named)
            .chain(groups)
            .collect()
    }

    /// The records of what was asked for, by the client and by the filters.
    fn of_target(&self) -> impl Iterator<Item = Record> + use<> {
        let urls = [Some(self.url.clone()), self.client_url.clone()];
        let urls = urls.into_iter().flatten();
        urls.map(|url| Record::hard(Scope::Url(url)))
    }
}

/// Renews what is stored by the answer to a HEAD that agrees with it (RFC 9111 §4.3.5).
fn freshen(mut place: Place, stale: &Entry, head: &ResponseHead, times: &Times) {
    if head.status == StatusCode::OK
        && head_agrees(&with_length(stale), &head.headers)
        && let Some(entry) = place.renew(stale, &head.headers, times)
    {
        place.keep(&entry);
        // The client does not wait for that.
        tokio::spawn(async move { place.keep_in_region(&entry).await });
    }
}

/// The fields of a stored response with the length that an answer to HEAD would have.
fn with_length(entry: &Entry) -> HeaderMap {
    let mut headers = entry.fields.headers(1);
    let length = match &entry.content {
        Content::Whole(body) => Some(body.len() as u64),
        Content::Parts(parts) => parts.complete,
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers
}
