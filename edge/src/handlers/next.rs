//! `wasi:http/handler` as a middleware imports it: what comes behind it on its route.

use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{self, Request as GuestRequest, Response as GuestResponse};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::state::State;
use super::told;
use crate::body::{Body, BodyError};

/// What is behind a middleware: the next one, or filters, cache and origin.
pub trait Next: Send + Sync {
    /// Answers a request of the middleware. What it asks may be anything.
    fn answer(self: Arc<Self>, request: Request<Body>) -> Onward;
}

/// What [`Next::answer`] comes to.
pub type Onward = Pin<Box<dyn Future<Output = Result<Response<Body>, NotPassed>> + Send>>;

/// Why a middleware's request goes no further: it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// A method that ends at the edge.
    Method,
    /// A target that is no path, or another host's.
    Target,
    /// The request goes on without the middleware already.
    LeftOut,
}

/// Links what comes next. Where nothing does, because the guest is a handler, it is told so.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("wasi:http/handler@0.3.0")?;
    instance.func_wrap_concurrent("handle", |accessor, (request,)| {
        Box::pin(async move { Ok((handle(accessor, request).await?,)) })
    })
}

async fn handle(
    accessor: &Accessor<State>,
    request: Resource<GuestRequest>,
) -> wasmtime::Result<Result<Resource<GuestResponse>, ErrorCode>> {
    let taken = accessor.with(|mut access| {
        let state = access.data_mut();
        let next = state.next.clone();
        let request = state.table.delete(request)?;
        let Some(next) = next else {
            let reason = "this component is a route's handler: nothing comes next";
            return Ok(Err(ErrorCode::InternalError(Some(reason.to_owned()))));
        };
        // Whether the request went well is told by its response.
        let request = request.into_http(&mut access, std::future::ready(Ok(())));
        match request {
            Ok((request, _)) => Ok(Ok((next, request))),
            Err(error) => error.downcast().map(Err),
        }
    });
    let (next, request): (Arc<dyn Next>, Request<WasiBody>) = match taken? {
        Ok(taken) => taken,
        Err(code) => return Ok(Err(code)),
    };
    let mut request = request.map(from_guest);
    told::strip(request.headers_mut());
    // A task of its own: what it computes is not the guest's running time.
    let mut onward = AbortedWhenDropped(tokio::spawn(next.answer(request)));
    let response = match (&mut onward.0).await {
        Ok(Ok(response)) => response,
        Ok(Err(NotPassed::Method)) => return Ok(Err(ErrorCode::HttpRequestMethodInvalid)),
        Ok(Err(NotPassed::Target)) => return Ok(Err(ErrorCode::HttpRequestUriInvalid)),
        Ok(Err(NotPassed::LeftOut)) => return Ok(Err(ErrorCode::HttpRequestDenied)),
        Err(_) => return Ok(Err(ErrorCode::InternalError(None))),
    };
    accessor.with(|mut access| {
        let state = access.data_mut();
        let response = response.map(|body| body.map_err(into_code));
        let (response, _) = p3::Response::from_http(state.http().hooks, response);
        Ok(Ok(state.table.push(response)?))
    })
}

fn from_guest(body: WasiBody) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return Body::Empty;
    }
    Body::stream(body.map_err(|error| BodyError::Cut(error.to_string())))
}

fn into_code(error: BodyError) -> Error {
    match error {
        BodyError::Cut(_) => Error::HttpResponseIncomplete,
        BodyError::Timeout(_) => Error::ConnectionReadTimeout,
        BodyError::TooLarge(limit) => Error::HttpResponseBodySize(u64::try_from(limit).ok()),
    }
}

/// A task that nobody waits for any more ends.
struct AbortedWhenDropped<T>(JoinHandle<T>);

impl<T> Drop for AbortedWhenDropped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
