//! What passes through: writes, which invalidate, and whatever else is not looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::TRAILER;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::Body as _;
use tidegate_semantics::{
    Forwarded, invalidated, invalidated_groups, is_safe, strip_surrogate_fields,
};
use tokio::sync::oneshot;

use super::fetch::passed;
use super::filtering::Seen;
use super::job::relay_interim;
use super::tunnel::Switched;
use super::{Answer, Proxy, Route, Unusable, outbound, purge_url};
use crate::body::{Body, Received};
use crate::error::Failure;
use crate::exchange::{Exchange, Upgrade};
use crate::filters::Filters;
use crate::forward::{Outbound, inbound};
use crate::interim::Informer;
use crate::purge::{Record, Scope, url};
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
    informer: Option<Informer>,
    /// The other protocols in which the client would go on.
    upgrade: Option<Box<Upgrade>>,
    /// Whether the client takes trailers.
    takes_trailers: bool,
    filters: Filters,
    /// What the origin's answer invalidates, whatever filters make of it.
    invalidated: Vec<Record>,
}

impl Proxy {
    /// A request with an unsafe method. It runs in a task of its own: a client that leaves does
    /// not keep what it wrote from being invalidated.
    pub(super) async fn write(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
    ) -> (Answer, Option<Filters>) {
        let passing = match self.passing(exchange, route, filters) {
            Ok(passing) => passing,
            Err(refused) => return *refused,
        };
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            // A client that left does not mind.
            let _ = reply.send(passing.write().await);
        });
        let Ok((outcome, filters)) = answer.await else {
            let origin = route.upstream.name().to_owned();
            let reason = "the write was lost".to_owned();
            return (self.failed(Failure::Terminated { origin, reason }), None);
        };
        let answer = match outcome {
            Ok(response) => passed(response, Forwarded::Method, None),
            Err(failure) => self.failed(failure),
        };
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
    ) -> (Answer, Option<Filters>) {
        let mut passing = match self.passing(exchange, route, filters) {
            Ok(passing) => passing,
            Err(refused) => return *refused,
        };
        let may_stand_in = stale.as_ref().is_some_and(|stale| stale.stale_if_error);
        let outcome = match passing.send().await {
            Ok(response) if may_stand_in && response.status().is_server_error() => {
                Err(Failure::answered(route.upstream.name(), response.status()))
            }
            outcome => outcome,
        };
        let answer = match outcome {
            Ok(response) => passed(response, why, None),
            Err(failure) => self.failed_upstream(exchange, stale, failure),
        };
        (answer, Some(passing.filters))
    }

    fn passing(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        filters: Filters,
    ) -> Result<Passing, Box<(Answer, Option<Filters>)>> {
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
                let received = Received::new(body, timeout, limit).flagging(flag);
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
        Ok(Passing {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            outbound,
            body,
            is_too_large,
            scheme: exchange.scheme,
            authority: exchange.authority.as_str().to_owned(),
            client: exchange.client,
            url: purge_url(exchange),
            informer: exchange.informer.clone(),
            upgrade,
            takes_trailers,
            filters,
            invalidated: Vec::new(),
        })
    }
}

impl Passing {
    /// Sends the request and lets the filters see what comes back.
    async fn send(&mut self) -> Result<Response<Body>, Failure> {
        let outbound = self.outbound.clone();
        let method = outbound.method.clone();
        let mut request = outbound.with_body(std::mem::take(&mut self.body));
        relay_interim(&mut request, self.informer.as_ref());
        let upstream = &self.route.upstream;
        let upgrade = self.upgrade.take();
        let answer = match &upgrade {
            None => upstream.send(request).await.map(|answer| (answer, None)),
            Some(_) => upstream.switch(request).await,
        };
        let result = answer.as_ref().map_or_else(Failure::name, |_| "ok");
        self.proxy.metrics.count_upstream(upstream.name(), result);
        let (response, tunnel) = answer.map_err(|failure| {
            if self.is_too_large.load(Ordering::Relaxed) {
                Failure::BodyTooLarge(self.proxy.settings.max_body)
            } else {
                failure
            }
        })?;
        let (mut parts, body) = response.into_parts();
        let announced = trailers::announced(&parts.headers).filter(|_| self.takes_trailers);
        let switched = Switched::of(tunnel, upgrade, &parts.headers);
        inbound(&mut parts.headers, &method, &self.proxy.settings.via);
        self.invalidated = self.invalidated_by(parts.status, &parts.headers);
        let seen = Seen {
            scheme: self.scheme,
            authority: &self.authority,
            client: self.client,
        };
        let proxy = &self.proxy;
        proxy
            .filter_origin_response(&mut self.filters, seen, &mut self.outbound, &mut parts)
            .await?;
        strip_surrogate_fields(&mut parts.headers);
        if let Some(switched) = switched {
            return Ok(switched.answer(parts));
        }
        if let Some(announced) = announced {
            parts.headers.insert(TRAILER, announced);
        }
        let body = if body.is_end_stream() {
            Body::Empty
        } else {
            let received = Received::new(body, self.route.upstream.timeout(), usize::MAX);
            Body::stream(received.with_trailers(self.takes_trailers))
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Sends a write, and invalidates before the client hears of it (RFC 9111 §4.4). What was
    /// sent and not answered may have been done, so that invalidates too.
    async fn write(mut self) -> (Result<Response<Body>, Failure>, Filters) {
        let answer = self.send().await;
        let mut records = std::mem::take(&mut self.invalidated);
        if answer.as_ref().is_err_and(Failure::may_have_been_sent) {
            records.push(Record::hard(Scope::Url(self.url.clone())));
        }
        if !records.is_empty() {
            // Not recorded, it is in force here all the same, and is tried again.
            let _ = self.proxy.log.append(&records).await;
        }
        (answer, self.filters)
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
        uris.iter()
            .map(|uri| Record::hard(Scope::Url(url(authority, uri.as_str()))))
            .chain(Record::tags(groups))
            .collect()
    }
}
