//! `wasi:http`'s way out, where a guest is the client: the route's `hosts`, and nowhere else.
//!
//! A request without an authority would be one to the application itself, as Spin has them. There
//! is none here: it is refused as a URL that says too little.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::reach::Reach;
use crate::body::{Body, BodyError};
use crate::config::Grant;
use crate::egress::EgressError;
use crate::wasm::Line;

/// The way out of one guest.
pub(super) struct Outbound(Arc<Reach>);

type Sent = Result<(Response<WasiBody>, Transmission), Error>;
/// What becomes of the rest of an exchange.
type Transmission = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// How much of a body is copied out of a guest at a time, in bytes.
const CHUNK: usize = 64 << 10;

impl Outbound {
    pub(super) fn of(reach: Arc<Reach>) -> Outbound {
        Outbound(reach)
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Transmission,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let reach = Arc::clone(&self.0);
        Box::new(async move {
            let response = send(&reach, request, options).await?;
            // Nothing is left to do here: the connection drives itself.
            let done: Transmission = Box::new(std::future::ready(Ok(())));
            Ok((response, done))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

async fn send(
    reach: &Reach,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    let used = &reach.used;
    if !reach.grants(Grant::Http) {
        return Err(Error::HttpRequestDenied);
    }
    let (head, body) = request.into_parts();
    let body = match http_body::Body::is_end_stream(&body) {
        true => Body::Empty,
        false => Body::stream(body.map_err(|error| BodyError::Cut(error.to_string()))),
    };
    let request = Request::from_parts(head, body);
    let timeout = patience(used.http_timeout, options);
    let egress = &reach.capabilities.egress;
    match egress.send(&used.hosts, request, timeout).await {
        Ok(response) => Ok(response.map(|body| body.map_err(into_code).boxed_unsync())),
        Err(error) => {
            tell(reach, &error);
            Err(explain(error))
        }
    }
}

/// Writes into the log what the guest is told with no more than a name. What only the configuration or
/// another build of the guest can help is told to everybody.
fn tell(reach: &Reach, error: &EgressError) {
    let plugin = &reach.used.name;
    let is_lasting = matches!(error, EgressError::Denied(_) | EgressError::Https);
    if is_lasting && matches!(reach.lines.admit(), Line::Written) {
        tracing::warn!(plugin, %error, "a handler's request is refused");
    } else {
        tracing::debug!(plugin, %error, "a handler's request brought no response");
    }
}

/// The route's timeout, or the guest's where that is shorter.
fn patience(most: Duration, options: Option<RequestOptions>) -> Duration {
    let Some(options) = options else {
        return most;
    };
    let asked = [options.first_byte_timeout, options.between_bytes_timeout];
    asked.into_iter().flatten().fold(most, Duration::min)
}

fn explain(error: EgressError) -> Error {
    match error {
        EgressError::Url(_) => Error::HttpRequestUriInvalid,
        EgressError::Method(_) => Error::HttpRequestMethodInvalid,
        EgressError::Denied(_) => Error::HttpRequestDenied,
        EgressError::Https => Error::TlsProtocolError,
        EgressError::Connect { .. } => Error::ConnectionRefused,
        EgressError::Timeout { .. } => Error::HttpResponseTimeout,
        EgressError::Terminated { .. } => Error::ConnectionTerminated,
        EgressError::Protocol { .. } => Error::HttpProtocolError,
        EgressError::TooLarge { .. } => Error::HttpResponseBodySize(None),
    }
}

fn into_code(error: BodyError) -> Error {
    match error {
        BodyError::Cut(_) => Error::ConnectionTerminated,
        BodyError::Timeout(_) => Error::ConnectionReadTimeout,
        BodyError::TooLarge(limit) => Error::HttpResponseBodySize(u64::try_from(limit).ok()),
    }
}
