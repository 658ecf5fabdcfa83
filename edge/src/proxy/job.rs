//! One fetch: asks the origin, lets the filters see the answer, decides whether it may be stored,
//! and streams it to all who wait.
//!
//! The log position is read before the request is sent; what comes of the fetch carries it as its
//! fence, so a purge that overtakes the fetch wins.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, DATE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_semantics::{
    Policy, Storable, Terms, Timestamp, Vary, confirms, drop_conditions, format_date,
    make_conditional, merge_not_modified, storable, stored_fields, strip_surrogate_fields, tags,
};
use tokio::sync::oneshot;

use super::filtering::Seen;
use super::{Proxy, Route, Unusable, key_parts, outbound, purge_url};
use crate::body::{Body, Received};
use crate::cache::{Entry, Filling, Head, Key, Landing, Lead, OwnedKeyParts, Stored};
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::filters::Filters;
use crate::forward::{Outbound, inbound};
use crate::interim::Informer;
use crate::purge::Position;
use crate::telemetry::Metrics;

/// How long a body that is not kept waits for a client that does not read.
const READER_PATIENCE: Duration = Duration::from_secs(20);

/// Everything a fetch needs, once the client may be gone.
pub(super) struct Job {
    proxy: Arc<Proxy>,
    route: Arc<Route>,
    key: Key,
    parts: OwnedKeyParts,
    url: String,
    /// Filtered, conditions dropped.
    outbound: Outbound,
    /// The client's own fields, which select the variant.
    request: HeaderMap,
    stale: Option<Arc<Entry>>,
    stale_if_error: bool,
    filters: Filters,
    informer: Option<Informer>,
    client: IpAddr,
}

/// What the client that leads a fetch gets of it.
pub(super) enum Delivery {
    Shared(Arc<Head>, Body),
    Validated(Arc<Entry>),
    Private(Response<Body>, Option<&'static str>),
    Failed(Failure),
}

type Reply = oneshot::Sender<(Delivery, Filters)>;

impl Job {
    /// The fetch that an exchange needs.
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        key: Key,
        exchange: &Exchange,
        route: &Arc<Route>,
        filters: Filters,
        stale: Option<&Unusable>,
    ) -> Job {
        let mut outbound = outbound(exchange, &proxy.settings);
        drop_conditions(&mut outbound.headers);
        Job {
            proxy: Arc::clone(proxy),
            route: Arc::clone(route),
            key,
            parts: key_parts(exchange, route).to_owned(),
            url: purge_url(exchange),
            outbound,
            request: exchange.headers.clone(),
            stale: stale.map(|unusable| Arc::clone(&unusable.entry)),
            stale_if_error: stale.is_some_and(|unusable| unusable.stale_if_error),
            filters,
            informer: exchange.informer.clone(),
            client: exchange.client,
        }
    }

    /// The same on nobody's behalf: what comes of it is nobody's variant.
    pub(super) fn anonymous(mut self) -> Job {
        self.outbound = self.outbound.anonymous();
        self.outbound.method = Method::GET;
        self.request.remove(AUTHORIZATION);
        self.request.remove(COOKIE);
        self.informer = None;
        self
    }

    /// Fetches, lands, delivers, and stays until everything is stored.
    pub(super) async fn run(mut self, lead: Lead, reply: Option<Reply>) {
        match self.ask().await {
            Err(failure) => {
                lead.land(Landing::Failed(failure.clone()));
                drop(lead);
                self.deliver(reply, Delivery::Failed(failure));
            }
            Ok(Asked::Validated(entry)) => {
                let parts = self.parts.as_parts();
                self.proxy.cache.keep(&parts, Arc::clone(&entry));
                lead.land(Landing::Validated(Arc::clone(&entry)));
                drop(lead);
                let (proxy, parts) = (Arc::clone(&self.proxy), self.parts.clone());
                self.deliver(reply, Delivery::Validated(Arc::clone(&entry)));
                keep_in_region(&proxy, &parts, &entry).await;
            }
            Ok(Asked::Refused(response, reason)) => {
                // An error is gone with the next response, most likely.
                if reason.holds_for_everybody && !response.status().is_server_error() {
                    self.proxy
                        .cache
                        .remember_pass(self.key, self.proxy.clock.now());
                }
                lead.land(Landing::Alone);
                drop(lead);
                Metrics::count_reason(&self.proxy.metrics.not_stored, reason.name);
                let response = response.map(|body| self.received(body));
                self.deliver(reply, Delivery::Private(response, Some(reason.name)));
            }
            Ok(Asked::Storable(head, body)) => self.store(*head, body, lead, reply).await,
        }
    }

    fn deliver(self, reply: Option<Reply>, delivery: Delivery) {
        if let Some(reply) = reply {
            // A client that left does not mind.
            let _ = reply.send((delivery, self.filters));
        }
    }

    fn received(&self, body: Incoming) -> Body {
        Body::stream(Received::new(
            body,
            self.route.upstream.timeout(),
            usize::MAX,
        ))
    }

    /// Asks the origin, once more without conditions if its 304 speaks of something else.
    async fn ask(&mut self) -> Result<Asked, Failure> {
        if let Some(stale) = self.stale.take() {
            let mut outbound = self.outbound.clone();
            make_conditional(&mut outbound.headers, &stale.headers);
            let (response, times) = self.send(outbound).await?;
            if response.status() != StatusCode::NOT_MODIFIED {
                if self.stale_if_error && response.status().is_server_error() {
                    let origin = self.route.upstream.name();
                    return Err(Failure::answered(origin, response.status()));
                }
                return self.sort(response, times).await;
            }
            if confirms(&stale.headers, response.headers())
                && let Some(entry) = self.renew(&stale, response.headers(), &times)
            {
                return Ok(Asked::Validated(entry));
            }
        }
        let (response, times) = self.send(self.outbound.clone()).await?;
        self.sort(response, times).await
    }

    async fn send(&mut self, outbound: Outbound) -> Result<(Response<Incoming>, Times), Failure> {
        let proxy = &self.proxy;
        // Read before the request is sent: what the origin says is as old as this.
        let fence = proxy.log.fence();
        let requested_at = proxy.clock.now();
        let mut request = outbound.with_body(Body::Empty);
        relay_interim(&mut request, self.informer.as_ref());
        let method = request.method().clone();
        let answer = self.route.upstream.send(request).await;
        let result = answer.as_ref().map_or_else(Failure::name, |_| "ok");
        proxy
            .metrics
            .count_upstream(self.route.upstream.name(), result);
        let mut response = answer?;
        let length = response.headers().get(CONTENT_LENGTH).cloned();
        inbound(response.headers_mut(), &method, &proxy.settings.via);
        let times = Times {
            fence,
            requested_at,
            received_at: proxy.clock.now(),
            announced: length.is_some(),
        };
        Ok((response, times))
    }

    /// The stored response with what a 304 changes; `None` if it may not be stored any more.
    fn renew(&self, stale: &Entry, not_modified: &HeaderMap, times: &Times) -> Option<Arc<Entry>> {
        let mut known = stale.headers.clone();
        known.extend(stale.hidden.clone());
        let headers = merge_not_modified(&known, not_modified);
        // Tags of both: one too many purges too much, one too few too little.
        let mut all_tags = tags(
            self.parts.as_parts().scheme,
            self.parts.as_parts().authority,
            &headers,
        );
        for tag in &stale.tags {
            if !all_tags.contains(tag) {
                all_tags.push(tag.clone());
            }
        }
        let policy = self.policy(stale.filter_ttl);
        if all_tags.len() > policy.max_tags {
            // Fetched anew, it has only those that it has now.
            return None;
        }
        let terms = self.terms(stale.status, &headers, times, &policy).ok()?;
        let vary = Vary::of(&headers, &self.request).ok()?;
        let mut headers = owned(&stored_fields(&headers, &policy));
        let hidden = take_surrogate_fields(&mut headers);
        let parts = Stored {
            status: stale.status,
            headers,
            hidden,
            filter_ttl: stale.filter_ttl,
            body: stale.body.clone(),
            terms,
            vary,
            tags: all_tags,
            fence: times.fence,
            fetched_at: times.received_at,
        };
        Some(Arc::new(Entry::new(
            parts,
            &self.url,
            self.proxy.log.index(),
        )))
    }

    /// Lets the filters see the response, and finds out whether it may be stored.
    async fn sort(&mut self, response: Response<Incoming>, times: Times) -> Result<Asked, Failure> {
        let (mut parts, body) = response.into_parts();
        let seen = Seen {
            scheme: self.parts.as_parts().scheme,
            authority: self.parts.as_parts().authority,
            client: self.client,
        };
        let wishes = self
            .proxy
            .filter_origin_response(&mut self.filters, seen, &mut self.outbound, &mut parts)
            .await?;
        let policy = self.policy(wishes.ttl);
        let mut all_tags = tags(
            self.parts.as_parts().scheme,
            self.parts.as_parts().authority,
            &parts.headers,
        );
        all_tags.extend(wishes.tags);
        let length = times.announced.then(|| body.size_hint().exact()).flatten();
        let is_too_large =
            length.is_some_and(|length| length > self.proxy.settings.max_entry as u64);
        let refused = if wishes.refuse_storing {
            Some(NotStored::for_everybody("plugin"))
        } else if is_too_large {
            Some(NotStored::for_everybody("too-large"))
        } else if all_tags.len() > policy.max_tags {
            Some(NotStored::for_everybody("too-many-tags"))
        } else {
            None
        };
        let decided = match refused {
            Some(refused) => Err(refused),
            None => self
                .terms(parts.status, &parts.headers, &times, &policy)
                .and_then(|terms| {
                    let vary = Vary::of(&parts.headers, &self.request).map_err(NotStored::from)?;
                    Ok((terms, vary))
                }),
        };
        let hidden = take_surrogate_fields(&mut parts.headers);
        let (terms, vary) = match decided {
            Ok(decided) => decided,
            Err(refused) => return Ok(Asked::Refused(Response::from_parts(parts, body), refused)),
        };
        let mut stored = owned(&stored_fields(&parts.headers, &policy));
        if !stored.contains_key(DATE) {
            // RFC 9110 §6.6.1: what is kept needs to say when it was made.
            stored.insert(DATE, format_date(times.received_at));
        }
        let index = self.proxy.log.index();
        let head = Head {
            status: parts.status,
            stored,
            hidden: owned(&hidden),
            filter_ttl: wishes.ttl,
            headers: parts.headers,
            terms,
            vary,
            marks: index.marks(&self.url, all_tags.iter().map(String::as_str)),
            tags: all_tags,
            fence: times.fence,
        };
        Ok(Asked::Storable(Box::new((head, times.received_at)), body))
    }

    /// The route's policy, with the lifetime that a filter gave.
    fn policy(&self, filter_ttl: Option<Duration>) -> Policy {
        Policy {
            ttl: filter_ttl.or(self.route.policy.ttl),
            ..self.route.policy.clone()
        }
    }

    fn terms(
        &self,
        status: StatusCode,
        response: &HeaderMap,
        times: &Times,
        policy: &Policy,
    ) -> Result<Terms, NotStored> {
        let exchange = tidegate_semantics::Exchange {
            method: &self.outbound.method,
            path: self.outbound.path_and_query.path(),
            request: &self.request,
            status,
            response,
            requested_at: times.requested_at,
            received_at: times.received_at,
        };
        match storable(&exchange, policy) {
            Storable::Keep(terms) => Ok(terms),
            Storable::Refuse(refusal) => Err(refusal.into()),
        }
    }

    /// Streams a response to all who wait, and stores it when it is complete.
    async fn store(
        self,
        (head, fetched_at): (Head, Timestamp),
        body: Incoming,
        lead: Lead,
        reply: Option<Reply>,
    ) {
        let length = body.size_hint().exact();
        let filling = Filling::new(self.proxy.settings.max_entry, length, READER_PATIENCE);
        let head = Arc::new(head);
        // A reader that nobody reads would hold the source back.
        let reader = reply.as_ref().and_then(|_| filling.reader());
        let is_shared = !head.terms.always_validate && head.terms.is_fresh(fetched_at);
        lead.land(if is_shared {
            Landing::Shared(Arc::clone(&head), filling.clone())
        } else {
            // To be asked for each time: what is kept serves to compare.
            Landing::Alone
        });
        let mut lead = Some(lead);
        let Job {
            proxy,
            route,
            key,
            parts,
            url,
            filters,
            ..
        } = self;
        if let (Some(reply), Some(reader)) = (reply, reader) {
            let _ = reply.send((
                Delivery::Shared(Arc::clone(&head), Body::stream(reader)),
                filters,
            ));
        }
        let mut body = Received::new(body, route.upstream.timeout(), usize::MAX);
        while let Some(frame) = body.frame().await {
            let part = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    tracing::debug!(%error, url, "a response broke off and is not stored");
                    filling.abort(error);
                    return;
                }
            };
            if filling.push(part).await.is_err() {
                return;
            }
            if !filling.is_whole() {
                // It has outgrown its limit: nobody can join any more.
                if lead.take().is_some() {
                    Metrics::count_reason(&proxy.metrics.not_stored, "too-large");
                    proxy.cache.remember_pass(key, proxy.clock.now());
                }
            }
        }
        let Some(body) = filling.finish() else {
            return;
        };
        let entry = Arc::new(Entry::new(
            Stored {
                status: head.status,
                headers: head.stored.clone(),
                hidden: head.hidden.clone(),
                filter_ttl: head.filter_ttl,
                body,
                terms: head.terms.clone(),
                vary: head.vary.clone(),
                tags: head.tags.clone(),
                fence: head.fence,
                fetched_at,
            },
            &url,
            proxy.log.index(),
        ));
        proxy.cache.keep(&parts.as_parts(), Arc::clone(&entry));
        drop(lead);
        keep_in_region(&proxy, &parts, &entry).await;
    }
}

async fn keep_in_region(proxy: &Proxy, parts: &OwnedKeyParts, entry: &Entry) {
    if let Err(error) = proxy
        .cache
        .insert_in_region(&parts.as_parts(), entry, proxy.clock.now())
        .await
    {
        tracing::debug!(%error, "not stored in the regional tier");
        Metrics::count_reason(&proxy.metrics.regional_unavailable, error.name());
    }
}

/// Sends the origin's interim responses on to the client, without their hop-by-hop fields.
pub(super) fn relay_interim(request: &mut http::Request<Body>, informer: Option<&Informer>) {
    let Some(informer) = informer.cloned() else {
        return;
    };
    hyper::ext::on_informational(request, move |interim| {
        let mut headers = interim.headers().clone();
        tidegate_semantics::strip_hop_by_hop(&mut headers);
        headers.remove(CONTENT_LENGTH);
        informer.push(interim.status(), &headers);
    });
}

/// What the origin's answer turned out to be.
enum Asked {
    Storable(Box<(Head, Timestamp)>, Incoming),
    Validated(Arc<Entry>),
    Refused(Response<Incoming>, NotStored),
}

/// When an exchange with the origin took place.
struct Times {
    fence: Position,
    requested_at: Timestamp,
    received_at: Timestamp,
    /// Whether the origin announced the length of its body.
    announced: bool,
}

/// Why a response is not stored.
struct NotStored {
    name: &'static str,
    /// Not only for this request: nobody shall wait for another's fetch for a while.
    holds_for_everybody: bool,
}

impl NotStored {
    fn for_everybody(name: &'static str) -> NotStored {
        NotStored {
            name,
            holds_for_everybody: true,
        }
    }
}

impl From<tidegate_semantics::Refusal> for NotStored {
    fn from(refusal: tidegate_semantics::Refusal) -> NotStored {
        use tidegate_semantics::Refusal;
        let of_the_request = matches!(refusal, Refusal::Authorization | Refusal::RequestNoStore);
        NotStored {
            name: refusal.name(),
            holds_for_everybody: !of_the_request,
        }
    }
}

/// Takes out what is not for clients, and is wanted again when the response is renewed.
fn take_surrogate_fields(headers: &mut HeaderMap) -> HeaderMap {
    let mut hidden = headers.clone();
    strip_surrogate_fields(headers);
    for name in headers.keys() {
        hidden.remove(name);
    }
    hidden
}

/// Fields that do not pin the buffer they were read into.
fn owned(headers: &HeaderMap) -> HeaderMap {
    let copy = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let copied = http::HeaderValue::from_bytes(value.as_bytes()).ok()?;
        Some((name.clone(), copied))
    };
    headers.iter().filter_map(copy).collect()
}
