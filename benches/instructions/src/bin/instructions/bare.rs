//! The floors: servers that do what must be done on this stack and nothing else. One thread each.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LAST_MODIFIED, SERVER};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use moka::sync::Cache;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

struct Entry {
    fields: HeaderMap,
    body: Bytes,
}

type Store = Cache<Box<str>, Arc<Entry>>;

/// Answers from moka; what is asked for the first time is made up.
pub(crate) fn start_hit() -> SocketAddr {
    start(|listener| async move {
        let store = store();
        loop {
            let stream = accept(&listener).await;
            let store = store.clone();
            let answer =
                service_fn(move |request| ready(Ok::<_, Infallible>(hit(&request, &store))));
            tokio::task::spawn_local(http1::Builder::new().serve_connection(stream, answer));
        }
    })
}

/// The same over HTTP/2.
pub(crate) fn start_hit_http2() -> SocketAddr {
    start(|listener| async move {
        let store = store();
        loop {
            let stream = accept(&listener).await;
            let store = store.clone();
            let answer =
                service_fn(move |request| ready(Ok::<_, Infallible>(hit(&request, &store))));
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::task::spawn_local(server.serve_connection(stream, answer));
        }
    })
}

fn store() -> Store {
    Cache::builder().max_capacity(1_000_000).build()
}

fn hit(request: &Request<Incoming>, store: &Store) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let entry = store.get(path).unwrap_or_else(|| {
        let entry = Arc::new(Entry::of(path));
        store.insert(path.into(), Arc::clone(&entry));
        entry
    });
    let mut response = Response::new(Full::new(entry.body.clone()));
    *response.headers_mut() = entry.fields.clone();
    response
}

impl Entry {
    /// As the origin would answer.
    fn of(path: &str) -> Entry {
        let size = path.split('/').nth(2).and_then(|size| size.parse().ok());
        let fields = [
            (SERVER, "origin"),
            (CONTENT_TYPE, "application/octet-stream"),
            (CACHE_CONTROL, "public, max-age=3600"),
            (LAST_MODIFIED, "Sat, 01 Nov 2025 00:00:00 GMT"),
            (ETAG, "\"v1\""),
        ];
        let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Entry {
            fields: fields.into_iter().collect(),
            body: Bytes::from(vec![b'x'; size.unwrap_or_default()]),
        }
    }
}

/// Passes on to the origin, on connections that are kept.
pub(crate) fn start_pass(origin: SocketAddr) -> SocketAddr {
    start(move |listener| async move {
        let kept = Kept::default();
        loop {
            let stream = accept(&listener).await;
            let kept = Rc::clone(&kept);
            let answer = service_fn(move |request| pass(request, Rc::clone(&kept), origin));
            tokio::task::spawn_local(http1::Builder::new().serve_connection(stream, answer));
        }
    })
}

type Kept = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

async fn pass(
    request: Request<Incoming>,
    kept: Kept,
    origin: SocketAddr,
) -> Result<Response<Lent>, hyper::Error> {
    let idle = kept.borrow_mut().pop();
    let mut connection = match idle {
        Some(connection) => connection,
        None => connect(origin).await?,
    };
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    Ok(response.map(|body| Lent {
        body,
        connection: Some(connection),
        kept,
    }))
}

async fn connect(origin: SocketAddr) -> Result<SendRequest<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(origin)
        .await
        .expect("the origin listens");
    stream.set_nodelay(true).expect("a connected stream");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// A body whose connection is kept when it has ended.
struct Lent {
    body: Incoming,
    connection: Option<SendRequest<Incoming>>,
    kept: Kept,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let is_over = self.body.is_end_stream() || matches!(frame, Poll::Ready(None));
        if is_over && let Some(connection) = self.connection.take() {
            self.kept.borrow_mut().push(connection);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A thread that serves on a free port.
fn start<F: Future<Output = Infallible>>(
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.set_nonblocking(true).expect("a bound listener");
    let address = listener.local_addr().expect("a bound listener");
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs only a few descriptors");
    std::thread::spawn(move || {
        LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).expect("a listener that does not block");
            serve(listener).await
        })
    });
    address
}

async fn accept(listener: &TcpListener) -> TokioIo<TcpStream> {
    let (stream, _) = listener.accept().await.expect("descriptors are left");
    stream.set_nodelay(true).expect("a connected stream");
    TokioIo::new(stream)
}
