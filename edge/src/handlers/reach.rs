//! What a handler reaches beyond its exchange, and by which worker's means.
//!
//! Everything that a route grants its handler comes in here: a host interface asks the `Reach` in
//! its store's state whether the route has granted it, and with what.

use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::clock::Clock;
use crate::config::{Grant, Use};
use crate::filters::Capabilities;

/// What the guest of a route reaches, by one worker's means.
pub(super) struct Reach {
    /// What the route says of it.
    pub(super) used: Arc<Use>,
    /// The worker's connections and counters.
    #[allow(dead_code, reason = "no host interface of handlers uses them yet")]
    pub(super) capabilities: Capabilities,
    pub(super) clock: Clock,
}

impl Reach {
    pub(super) fn grants(&self, grant: Grant) -> bool {
        self.used.grants.contains(&grant)
    }
}

/// `wasi:http`'s way out, where a guest is the client: nowhere.
pub(super) struct Outbound;

type Sent = Result<(Response<WasiBody>, Transmission), Error>;
/// What becomes of the rest of an exchange.
type Transmission = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// How much of a body is copied out of a guest at a time, in bytes.
const CHUNK: usize = 64 << 10;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Transmission,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}
