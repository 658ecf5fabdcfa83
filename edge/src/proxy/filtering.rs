//! Moves the parts of an exchange into the filters' hands and back.
//!
//! On a route whose filters see every request, they are tried at once, as a hit without filters is: most
//! never wait, and then neither does what is stored. Whoever has to wait goes on from there, as a task. Over HTTP/2,
//! where a connection's requests are begun one after the other without a pause, none is tried.

use std::future::pending;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::response::Parts;
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use tidegate_semantics::CacheStatus;
use tokio::task::{JoinError, JoinSet};

use super::{Answer, Proxy, Route, encoding};
use crate::body::Body;
use crate::cache::Given;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::filters::{self, Filters, Flow, Subject};
use crate::forward::Outbound;
use crate::purge::Lsn;
use crate::server::Answering;
use crate::telemetry::Outcome;

/// What filters see of a request beside the message itself.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) scheme: &'static str,
    pub(super) authority: &'a str,
    pub(super) client: IpAddr,
    /// How far the database had got when it was answered.
    pub(super) lsn: Option<Lsn>,
}

/// What the filters ask of the storing of an origin's response.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) given: Given,
    pub(super) tags: Vec<String>,
    pub(super) refuse_storing: bool,
    /// A filter that might have refused it has failed.
    pub(super) has_missed: bool,
}

/// An exchange that its request filters have seen.
pub(super) struct Filtered {
    pub(super) exchange: Exchange,
    /// The route that it came by.
    pub(super) route: Arc<Route>,
    /// The same, or what filters chose in its place.
    pub(super) chosen: Arc<Route>,
    pub(super) filters: Filters,
    /// Where a filter gave an answer, or failed on a fail-closed route.
    pub(super) answer: Option<Answer>,
}

impl Proxy {
    /// Answers an exchange of a route whose filters see every request: at once where they do not wait
    /// and what is asked for is at hand.
    pub(super) fn filter_at_once(
        self: &Arc<Self>,
        exchange: Exchange,
        route: Arc<Route>,
    ) -> Answering {
        let mut filtering = Box::pin(Arc::clone(self).filter_request(exchange, route));
        // Who is not ready is polled again, as a task, and so waits with a waker of its own.
        match filtering
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(filtered) => match self.answer_filtered_at_once(filtered) {
                Ok(response) => Answering::AtOnce(response),
                Err(filtered) => Answering::Later(Box::pin(Arc::clone(self).go_on(filtered))),
            },
            Poll::Pending => {
                let mut waiting = JoinSet::new();
                waiting.spawn(filtering);
                Answering::Later(Arc::clone(self).go_on_later(waiting))
            }
        }
    }

    /// The connection polls an answer only when what is before it has gone out, and a filter's instance
    /// must not wait for that: its task goes on by itself, and ends with whoever waits for it.
    fn go_on_later(
        self: Arc<Self>,
        mut waiting: JoinSet<Box<Filtered>>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            match waiting
                .join_next()
                .await
                .map(|joined| joined.map_err(JoinError::try_into_panic))
            {
                Some(Ok(filtered)) => self.go_on(filtered).await,
                Some(Err(Ok(panic))) => resume_unwind(panic),
                // The worker is being dropped, and this with it.
                Some(Err(Err(_))) | None => pending().await,
            }
        })
    }

    /// What a filter answered, or a hit, where nobody has to wait for it.
    fn answer_filtered_at_once(
        self: &Arc<Self>,
        mut filtered: Box<Filtered>,
    ) -> Result<Response<Body>, Box<Filtered>> {
        let is_plain = filtered.exchange.body.is_none() && filtered.exchange.token.is_none();
        if !is_plain || filtered.filters.has_on_response() {
            return Err(filtered);
        }
        let answer = match filtered.answer.take() {
            // Its key is told as well.
            Some(answer) if self.settings.tells_key => {
                filtered.answer = Some(answer);
                return Err(filtered);
            }
            None => self.answer_at_once(&filtered.exchange, &filtered.chosen),
            given => given,
        };
        let Some(mut answer) = answer else {
            return Err(filtered);
        };
        filtered.filters.deliver(answer.response.headers_mut());
        encoding::insist(&mut answer);
        Ok(self.finish(answer, &filtered.route))
    }

    /// Runs `on-request`. What filters choose in its place becomes the route.
    pub(super) async fn filter_request(
        self: Arc<Self>,
        exchange: Exchange,
        route: Arc<Route>,
    ) -> Box<Filtered> {
        let mut filtered = Box::new(Filtered {
            filters: route.chain.begin(&self.capabilities),
            chosen: Arc::clone(&route),
            exchange,
            route,
            answer: None,
        });
        // Orders to this edge go no further.
        if filtered.exchange.method.as_str() == "PURGE" {
            return filtered;
        }
        if filtered.filters.has_on_request() {
            self.run_on_request(&mut filtered).await;
        }
        if filtered.answer.is_none() {
            let Filtered {
                exchange, chosen, ..
            } = &mut *filtered;
            self.keep_apart(exchange, chosen);
            encoding::negotiate(exchange, chosen);
        }
        filtered
    }

    async fn run_on_request(&self, filtered: &mut Filtered) {
        let Filtered {
            exchange,
            route,
            filters,
            ..
        } = filtered;
        let asked = exchange.path_and_query.clone();
        let mut subject = lend(exchange);
        subject.origins = Some(Arc::clone(&route.origins));
        let flow = filters.on_request(&mut subject).await;
        if subject.path_and_query != asked {
            // A middleware may have led it elsewhere already.
            exchange.rewritten_from.get_or_insert(asked);
        }
        exchange.path_and_query = subject.path_and_query;
        exchange.headers = subject.headers.into();
        exchange.key_extra = match subject.origin {
            0 => subject.key_extra,
            chosen => route.key_extra(chosen, &subject.key_extra),
        };
        exchange.key_depends_on_user = subject.has_shown_user && !exchange.key_extra.is_empty();
        exchange.bypass_cache |= subject.bypass_cache;
        if let Some(chosen) = route.chosen(subject.origin, subject.policy.as_deref()) {
            filtered.chosen = chosen;
        }
        filtered.answer = match flow {
            Flow::Continue => None,
            Flow::Failed(failure) => Some(self.failed(plugin_failed(failure))),
            Flow::Respond(response) => Some(Answer {
                response: response.map(Body::from),
                status: CacheStatus {
                    detail: Some("plugin"),
                    ..CacheStatus::default()
                },
                is_told: false,
                outcome: Outcome::Filtered,
            }),
        };
    }

    /// Runs `on-origin-response`: once for each response of an origin, before it is stored.
    ///
    /// # Errors
    /// When a filter fails and its route is fail-closed.
    pub(super) async fn filter_origin_response(
        &self,
        filters: &mut Filters,
        seen: Seen<'_>,
        outbound: &mut Outbound,
        response: &mut Parts,
    ) -> Result<Wishes, Failure> {
        if !filters.has_on_origin_response() {
            return Ok(Wishes::default());
        }
        let mut subject = Subject {
            method: outbound.method.clone(),
            scheme: seen.scheme,
            authority: seen.authority.to_owned(),
            path_and_query: outbound.path_and_query.clone(),
            headers: std::mem::take(&mut outbound.headers),
            client: seen.client,
            lsn: seen.lsn,
            response: Some((response.status, std::mem::take(&mut response.headers))),
            ..Subject::default()
        };
        let flow = filters.on_origin_response(&mut subject).await;
        outbound.headers = subject.headers;
        give_back(
            subject.response,
            &mut response.status,
            &mut response.headers,
        );
        match flow {
            Flow::Failed(failure) => Err(plugin_failed(failure)),
            Flow::Continue | Flow::Respond(_) => Ok(Wishes {
                given: Given {
                    ttl: subject.ttl,
                    stale_while_revalidate: subject.stale_while_revalidate,
                    stale_if_error: subject.stale_if_error,
                },
                tags: subject.tags,
                refuse_storing: subject.refuse_storing,
                has_missed: subject.has_missed,
            }),
        }
    }

    /// Runs `on-response`: on each delivery, whoever answered.
    pub(super) async fn filter_response(
        &self,
        filters: &mut Filters,
        exchange: &mut Exchange,
        answer: &mut Answer,
    ) {
        if !filters.has_on_response() {
            filters.deliver(answer.response.headers_mut());
            return;
        }
        let mut subject = lend(exchange);
        let headers = std::mem::take(answer.response.headers_mut());
        subject.response = Some((answer.response.status(), headers));
        let flow = filters.on_response(&mut subject).await;
        let mut status = answer.response.status();
        give_back(subject.response, &mut status, answer.response.headers_mut());
        *answer.response.status_mut() = status;
        exchange.path_and_query = subject.path_and_query;
        exchange.headers = subject.headers.into();
        if let Flow::Failed(failure) = flow {
            *answer = self.failed(plugin_failed(failure));
            // What those before it have said is said of whoever answers.
            filters.deliver(answer.response.headers_mut());
        }
    }
}

fn lend(exchange: &mut Exchange) -> Subject {
    Subject {
        method: exchange.method.clone(),
        scheme: exchange.scheme,
        authority: exchange.authority.as_str().to_owned(),
        path_and_query: std::mem::replace(
            &mut exchange.path_and_query,
            PathAndQuery::from_static("/"),
        ),
        headers: exchange.headers.take(),
        client: exchange.client,
        key_extra: std::mem::take(&mut exchange.key_extra),
        ..Subject::default()
    }
}

fn give_back(
    response: Option<(StatusCode, http::HeaderMap)>,
    status: &mut StatusCode,
    headers: &mut http::HeaderMap,
) {
    if let Some((filtered, fields)) = response {
        *status = filtered;
        *headers = fields;
    }
}

fn plugin_failed(failure: filters::Failure) -> Failure {
    Failure::Plugin {
        plugin: failure.plugin,
        kind: failure.kind.name(),
    }
}
