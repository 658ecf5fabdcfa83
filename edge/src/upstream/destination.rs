//! Where a route's requests go: over a connection to an origin, or into what answers in its place.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};

use super::{Tunnel, Upstream, framing, replicas};
use crate::body::{Arriving, Body};
use crate::error::Failure;

/// What [`Answers::answer`] comes to.
pub type Answer<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Arriving>, Failure>> + Send + 'a>>;

/// What answers requests in an origin's place.
pub trait Answers: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// How long it may be silent.
    fn timeout(&self) -> Duration;

    /// Answers a request in origin form, with `Host`. The body of the response follows its head.
    fn answer(&self, request: Request<Body>) -> Answer<'_>;

    /// A failure that says that the answer is no response.
    fn wrong(&self, reason: &str) -> Failure;
}

/// Where a route's requests go. Cheap to clone.
#[derive(Clone)]
pub enum Destination {
    Origin(Arc<Upstream>),
    Handler(Arc<dyn Answers>),
}

impl Destination {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Destination::Origin(upstream) => upstream.name(),
            Destination::Handler(handler) => handler.name(),
        }
    }

    /// How long it may be silent.
    pub fn timeout(&self) -> Duration {
        match self {
            Destination::Origin(upstream) => upstream.timeout(),
            Destination::Handler(handler) => handler.timeout(),
        }
    }

    /// Whether it reads from replicas, and wants to know how far they must be.
    pub fn has_replicas(&self) -> bool {
        match self {
            Destination::Origin(upstream) => upstream.has_replicas(),
            Destination::Handler(_) => false,
        }
    }

    /// Sends a request in origin form and waits for the head of the response. `make` makes it, each
    /// time that it is needed: again only without a body.
    ///
    /// # Errors
    /// A [`Failure`] that names the destination.
    pub async fn send(
        &self,
        mut make: impl FnMut() -> Request<Body>,
    ) -> Result<Response<Arriving>, Failure> {
        match self {
            Destination::Origin(upstream) => upstream.send(make).await,
            Destination::Handler(handler) => ask(&**handler, make()).await,
        }
    }

    /// Sends a request that offers other protocols. What answers in an origin's place speaks none.
    ///
    /// # Errors
    /// A [`Failure`] that names the destination.
    pub async fn switch(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Arriving>, Option<Tunnel>), Failure> {
        match self {
            Destination::Origin(upstream) => upstream.switch(request).await,
            Destination::Handler(handler) => Ok((ask(&**handler, request).await?, None)),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Origin(upstream) => write!(formatter, "origin {:?}", upstream.name()),
            Destination::Handler(handler) => write!(formatter, "handler {:?}", handler.name()),
        }
    }
}

/// Asks for a response, and holds it to what a connection's has by its nature: a final status, one
/// length, and a body only where there may be one (RFC 9112 §6.3).
async fn ask(handler: &dyn Answers, request: Request<Body>) -> Result<Response<Arriving>, Failure> {
    let method = request.method().clone();
    let mut response = handler.answer(request).await?;
    let status = response.status();
    if status.is_informational() {
        return Err(handler.wrong("an interim status instead of a final one"));
    }
    let headers = response.headers_mut();
    replicas::strip(headers);
    framing::unite_lengths(headers).map_err(|reason| handler.wrong(&reason))?;
    if method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        *response.body_mut() = Arriving::Nothing;
    }
    if status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response)
}
