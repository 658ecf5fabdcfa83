//! The admin listener: health, readiness, metrics, purging.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::body::Body;
use crate::cache::Memory;
use crate::config::Secret;
use crate::error::{Failure, problem};
use crate::filters;
use crate::interim::Informer;
use crate::purge::{Followed, Log, Order, Receipt};
use crate::server::{Answering, Handler};
use crate::telemetry::Metrics;

/// Bytes of a request body at most.
const MAX_BODY: usize = 4 << 20;

/// What administration may see and do.
pub struct Admin {
    pub name: String,
    pub log: Log,
    pub memory: Memory,
    pub metrics: Metrics,
    pub token: Option<Secret>,
    /// Whether changes need no token: only somebody on this machine can reach the listener.
    pub is_local: bool,
    pub followed: Followed,
    /// Whether the edge is being drained.
    pub draining: watch::Receiver<bool>,
}

impl Handler for Admin {
    type Connection = SocketAddr;

    fn accept(&self, peer: SocketAddr, _informer: Option<Informer>) -> SocketAddr {
        peer
    }

    fn handle(self: &Arc<Self>, request: Request<Incoming>, _peer: &SocketAddr) -> Answering {
        let admin = Arc::clone(self);
        // An announced body that nobody asked for would be taken for the next request.
        let must_close =
            request.headers().contains_key(EXPECT) && request.version() < Version::HTTP_2;
        Answering::Later(Box::pin(async move {
            let mut response = admin.answer(request).await;
            if must_close {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }))
    }
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_read => text("text/plain", "ok\n".to_owned()),
            "/readyz" if is_read => self.ready(),
            "/metrics" if is_read => {
                let failures = filters::failures().into_iter();
                let failures =
                    failures.map(|(plugin, kind, count)| (plugin, kind.name().to_owned(), count));
                let page = self.metrics.encode(self.memory.usage(), failures);
                text(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    page,
                )
            }
            "/purge" if request.method() == Method::POST => self.purge(request).await,
            "/healthz" | "/readyz" | "/metrics" => {
                refused(StatusCode::METHOD_NOT_ALLOWED, "use GET")
            }
            "/purge" => refused(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
            path => refused(
                StatusCode::NOT_FOUND,
                &format!("no {path:?} here: there are /healthz, /readyz, /metrics and /purge"),
            ),
        }
    }

    fn ready(&self) -> Response<Body> {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        if *self.draining.borrow() {
            refused(status, "draining")
        } else if !*self.followed.borrow() {
            refused(status, "not caught up with the purge log yet")
        } else {
            text("text/plain", "ready\n".to_owned())
        }
    }

    async fn purge(&self, request: Request<Incoming>) -> Response<Body> {
        let is_allowed = match &self.token {
            Some(token) => token.is_carried_by(request.headers()),
            None => self.is_local,
        };
        if !is_allowed {
            let failure = Failure::Unauthorized("purging needs the admin token");
            return failure.into_response(&self.name);
        }
        let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let order: Order = match serde_json::from_slice(&body) {
            Ok(order) => order,
            Err(error) => return refused(StatusCode::BAD_REQUEST, &format!("body: {error}")),
        };
        let records = match order.into_records() {
            Ok(records) => records,
            Err(reason) => return refused(StatusCode::BAD_REQUEST, &reason),
        };
        match Receipt::of(&self.log, &self.metrics, &records).await {
            Ok(receipt) => text("application/json", receipt.to_json()),
            Err(error) => Failure::NotRecorded(error.to_string()).into_response(&self.name),
        }
    }
}

fn text(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refused(status: StatusCode, detail: &str) -> Response<Body> {
    problem(status, detail)
}
