//! The admin listener: health, readiness, metrics, purging, explaining, plugins.

mod plugins;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::body::Body;
use crate::cache::Memory;
use crate::clock::Clock;
use crate::config::Secret;
use crate::error::{Failure, problem};
use crate::explanation::{Explanation, Question};
use crate::filters;
use crate::interim::Informer;
use crate::purge::{Followed, Log, Order, Orders, Receipt};
use crate::server::{Answering, Handler};
use crate::telemetry::Metrics;
use crate::wasm::Roster;
use plugins::Wanted;

/// Bytes of a request body at most.
const MAX_BODY: usize = 4 << 20;

/// Recent purges told to who does not say how many.
const RECENT: usize = 20;

/// What can say how requests would be answered.
pub trait Explains: Send + Sync {
    /// Explains what would be done with a request; an error says what in the question is none.
    fn explain<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Result<Explanation, String>> + Send + 'a>>;
}

/// What administration may see and do.
pub struct Admin {
    pub name: String,
    pub clock: Clock,
    pub log: Log,
    /// Where purges are ordered.
    pub orders: Arc<Orders>,
    pub memory: Memory,
    pub metrics: Metrics,
    pub token: Option<Secret>,
    /// Whether changes need no token: only somebody on this machine can reach the listener.
    pub is_local: bool,
    pub followed: Followed,
    pub explains: Arc<dyn Explains>,
    pub roster: Arc<Roster>,
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
                let taken = filters::taken().into_iter();
                self.metrics
                    .note_limits(taken.map(|(limit, taken, count)| (limit, taken.name(), count)));
                self.metrics.note_lines_left_out(filters::lines_left_out());
                self.metrics.note_log_silence(self.log.silence());
                let page = self.metrics.encode(self.memory.usage(), failures);
                text(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    page,
                )
            }
            "/purge" if request.method() == Method::POST => self.purge(request).await,
            "/purges" if is_read => self.purges(&request).await,
            "/explain" => self.explain(request).await,
            "/healthz" | "/readyz" | "/metrics" | "/purges" => {
                refused(StatusCode::METHOD_NOT_ALLOWED, "use GET")
            }
            "/purge" => refused(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
            path => match Wanted::by(path) {
                Some(wanted) => self.plugins(&request, wanted).await,
                None => refused(
                    StatusCode::NOT_FOUND,
                    &format!(
                        "no {path:?} here: there are /healthz, /readyz, /metrics, /purge, /purges, /explain and /plugins"
                    ),
                ),
            },
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

    fn is_allowed(&self, request: &Request<Incoming>) -> bool {
        match &self.token {
            Some(token) => token.is_carried_by(request.headers()),
            None => self.is_local,
        }
    }

    /// `GET /explain?url=…`, or the same as JSON by POST.
    async fn explain(&self, request: Request<Incoming>) -> Response<Body> {
        if !self.is_allowed(&request) {
            let failure = Failure::Unauthorized("explaining needs the admin token");
            return failure.into_response(&self.name);
        }
        let question = match *request.method() {
            Method::GET => Question::from_query(request.uri().query().unwrap_or_default()),
            Method::POST => from_json(request).await,
            _ => return refused(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST"),
        };
        let explanation = match question {
            Ok(question) => self.explains.explain(&question).await,
            Err(reason) => Err(reason),
        };
        match explanation {
            Ok(explanation) => {
                let json = serde_json::to_string(&explanation).expect("texts alone");
                text("application/json", json)
            }
            Err(reason) => refused(StatusCode::BAD_REQUEST, &reason),
        }
    }

    async fn purge(&self, request: Request<Incoming>) -> Response<Body> {
        if !self.is_allowed(&request) {
            let failure = Failure::Unauthorized("purging needs the admin token");
            return failure.into_response(&self.name);
        }
        match self.carry_out(request).await {
            Ok(receipt) => {
                let mut response = text("application/json", receipt.to_json());
                *response.status_mut() = receipt.status();
                response
            }
            Err(failure) => failure.into_response(&self.name),
        }
    }

    async fn carry_out(&self, request: Request<Incoming>) -> Result<Receipt, Failure> {
        let now = self.clock.now();
        self.orders.admit_request(now)?;
        let order: Order = from_json(request).await.map_err(Failure::NotMeant)?;
        let patience = self.orders.patience(order.wait, order.timeout);
        let patience = patience.map_err(Failure::NotMeant)?;
        let records = order.into_records().map_err(Failure::NotMeant)?;
        self.orders.admit_records(records.len(), now)?;
        let receipt = self.orders.answer(&records, patience).await;
        receipt.map_err(|error| Failure::NotRecorded(error.to_string()))
    }

    /// `GET /purges?limit=…`: what was purged lately. Values may be URLs that not everybody may
    /// know.
    async fn purges(&self, request: &Request<Incoming>) -> Response<Body> {
        if !self.is_allowed(request) {
            let failure = Failure::Unauthorized("the list of purges needs the admin token");
            return failure.into_response(&self.name);
        }
        let query = request.uri().query().unwrap_or_default();
        let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "limit");
        let limit = match asked.map(|(_, limit)| limit.parse()) {
            None => RECENT,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return refused(StatusCode::BAD_REQUEST, "limit: is no number"),
        };
        match self.orders.recent(limit).await {
            Ok(recent) => {
                let json = serde_json::to_string(&recent).expect("texts and numbers alone");
                text("application/json", json)
            }
            Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }
}

/// A request's body, read as JSON.
async fn from_json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, String> {
    let body = Limited::new(request.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    // A list would be taken for the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("body: not a JSON object".to_owned());
    }
    serde_json::from_slice(&body).map_err(|error| format!("body: {error}"))
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
