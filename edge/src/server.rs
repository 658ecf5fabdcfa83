//! Listeners and connections: HTTP/1.1 and HTTP/2 with prior knowledge on one port, drained on
//! request.

mod head_timer;
mod impatient;
mod lingering;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::body::Body;
use crate::interim::InterimIo;
use head_timer::HeadTimer;
use impatient::Impatient;
use lingering::{Lingering, Unread};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Requests under way at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI ";

/// Between two looks at a preface that does not go on.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Limits on what a connection may send, and how slowly.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Bytes of a request head.
    pub max_header: usize,
    /// Until a request head is complete; also how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a client may take nothing of its response.
    pub write_timeout: Duration,
}

/// A request is answered at once, or later.
pub enum Answering {
    AtOnce(Response<Body>),
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// What answers the requests of connections.
pub trait Handler: Send + Sync + 'static {
    /// What is known of a connection.
    type Connection: Clone + Send + Sync + Unpin + 'static;

    /// A connection was accepted; `informer` reaches its client with interim responses.
    fn accept(
        &self,
        peer: SocketAddr,
        informer: Option<crate::interim::Informer>,
    ) -> Self::Connection;

    /// Answers one request.
    fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        connection: &Self::Connection,
    ) -> Answering;
}

/// Binds an address once, for as many listeners as there are workers (SO_REUSEPORT).
///
/// # Errors
/// When the address cannot be had, also when another process listens there.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    if address.port() != 0 {
        // SO_REUSEPORT would let us share a port with another process unnoticed.
        listen(address, false)?;
    }
    let first = listen(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(listen(address, true)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and serves until `drain` says true, then waits for the exchanges under way.
///
/// # Errors
/// When the listener cannot be used on this runtime.
pub async fn serve<H: Handler>(
    listener: StdListener,
    handler: Arc<H>,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The sender goes only when the edge does.
            _ = drain.wait_for(|drain| *drain) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others may be closed meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let connection = serve_connection(
            stream,
            peer,
            Arc::clone(&handler),
            limits,
            drain.clone(),
            graceful.watcher(),
        );
        tokio::spawn(connection);
    }
    drop(listener);
    if let Some(graceful) = Arc::into_inner(graceful) {
        graceful.shutdown().await;
    }
    Ok(())
}

async fn serve_connection<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Arc<H>,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection is gone");
        return;
    }
    let first = tokio::time::timeout(limits.header_timeout, begins_as_http2(&stream));
    let is_http2 = tokio::select! {
        // What was sent before the drain is answered still.
        biased;
        Ok(Ok(is_http2)) = first => is_http2,
        // Whoever has asked nothing does not hold a drain up.
        _ = drain.wait_for(|drain| *drain) => return,
        else => return,
    };
    let (io, unread) = Lingering::new(Impatient::new(stream, limits.write_timeout));
    let (io, informer) = InterimIo::new(TokioIo::new(io));
    let served = if is_http2 {
        // A stream ends by itself there, and its connection goes on.
        unread.never();
        let answers = Answers {
            connection: handler.accept(peer, None),
            handler,
            unread,
            is_http_1_0: AtomicBool::new(false),
        };
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let header_list = u32::try_from(limits.max_header).unwrap_or(u32::MAX);
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(header_list)
            .max_concurrent_streams(MAX_STREAMS);
        builder.keep_alive_interval(Some(limits.header_timeout));
        watcher.watch(builder.serve_connection(io, answers)).await
    } else {
        let answers = Answers {
            connection: handler.accept(peer, Some(informer)),
            handler,
            unread,
            is_http_1_0: AtomicBool::new(false),
        };
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(HeadTimer::default())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_header)
            .max_buf_size(limits.max_header.max(32 << 10) * 2)
            .half_close(true);
        let mut connection = builder.serve_connection(io, answers).with_upgrades();
        let ended = tokio::select! {
            biased;
            served = &mut connection => Some(served),
            _ = drain.wait_for(|drain| *drain) => None,
        };
        let served = match ended {
            Some(served) => served,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if served.as_ref().is_err_and(hyper::Error::is_user)
            && let Some(parts) = connection.into_parts()
            && parts.service.is_http_1_0.load(Ordering::Relaxed)
        {
            let stream = parts.io.into_inner().into_inner();
            reset(stream.into_inner().into_inner());
        }
        // As long as it lives, a drain waits.
        drop(watcher);
        served
    };
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

/// Ends a connection so that its client knows that something is missing: to HTTP/1.0, a plain end
/// is the end of a body without a length (RFC 9112 §8).
fn reset(stream: TcpStream) {
    if let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "a connection cannot be reset");
    }
}

/// Looks at the first bytes without taking them.
async fn begins_as_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    let mut seen = 0;
    let mut pause = Duration::from_millis(1);
    loop {
        let length = stream.peek(&mut first).await?;
        if length == 0 || length == PREFACE.len() || !PREFACE.starts_with(&first[..length]) {
            return Ok(first[..length] == *PREFACE);
        }
        if length == seen {
            // `peek` is ready as long as anything lies there: look less and less often.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        seen = length;
    }
}

struct Answers<H: Handler> {
    handler: Arc<H>,
    connection: H::Connection,
    unread: Unread,
    /// Whether the latest request was one of HTTP/1.0.
    is_http_1_0: AtomicBool,
}

impl<H: Handler> Service<Request<Incoming>> for Answers<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        self.unread.request(!request.body().is_end_stream());
        let is_http_1_0 = request.version() < Version::HTTP_11;
        self.is_http_1_0.store(is_http_1_0, Ordering::Relaxed);
        match self.handler.handle(request, &self.connection) {
            Answering::AtOnce(response) => Answer::AtOnce(Some(response)),
            Answering::Later(response) => Answer::Later(response, self.unread.clone()),
        }
    }
}

/// The future of an [`Answering`]: nothing is boxed where nothing is awaited.
enum Answer {
    AtOnce(Option<Response<Body>>),
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>, Unread),
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::AtOnce(response) => {
                Poll::Ready(Ok(response.take().expect("polled once after it was ready")))
            }
            Answer::Later(response, unread) => {
                let response = ready!(response.as_mut().poll(context));
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    unread.never();
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}
