//! What hyper alone costs, which nothing built on it can go below: no routes, no rules of HTTP caching, no `Age`, no
//! counters. It has the allocator that Tidegate has.
//!
//!     rivals-bare hit --port P --h2-port Q --workers N     answers from a moka cache, which it fills by itself
//!     rivals-bare pass --port P --origin O --workers N     sends each request on, on kept connections

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use clap::{Args, Parser};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mimalloc::MiMalloc;
use tidegate_rivals::epoll::listen;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
enum Arguments {
    Hit(Hit),
    Pass(Pass),
}

#[derive(Args, Clone)]
struct Hit {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    h2_port: u16,
    #[arg(long)]
    workers: usize,
}

#[derive(Args, Clone)]
struct Pass {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    origin: u16,
    #[arg(long)]
    workers: usize,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments::Hit(hit) => {
            let store: Store = moka::sync::Cache::builder().max_capacity(4_000_000).build();
            on_workers(hit.workers, move || answer_from(store.clone(), hit.clone()))
        }
        Arguments::Pass(pass) => on_workers(pass.workers, move || pass_on(pass.clone())),
    };
    if let Err(error) = outcome {
        eprintln!("rivals-bare: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// As Tidegate's workers are: threads with a runtime and a listener each.
fn on_workers<F: Future<Output = io::Result<()>>>(
    count: usize,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> io::Result<()> {
    let workers: Vec<_> = (0..count)
        .map(|_| {
            let work = work.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                LocalSet::new().block_on(&runtime, work())
            })
        })
        .collect();
    workers.into_iter().try_for_each(|worker| {
        worker
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

// ------------------------------------------------------------------------------------------------------------- hits

struct Entry {
    fields: HeaderMap,
    body: Bytes,
}

type Store = moka::sync::Cache<Box<str>, Arc<Entry>>;

/// What the origin would say for `/c/SIZE/KEY`.
fn entry(path: &str) -> Arc<Entry> {
    let size = path.split('/').nth(2).and_then(|size| size.parse().ok());
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::SERVER, "origin"),
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::LAST_MODIFIED, "Sat, 01 Nov 2025 00:00:00 GMT"),
        (header::ETAG, "\"v1-1024\""),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    let body = Bytes::from(vec![b'x'; size.unwrap_or(1024)]);
    Arc::new(Entry { fields, body })
}

async fn answer(
    request: Request<Incoming>,
    store: Store,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let found = store.get(path).unwrap_or_else(|| {
        let entry = entry(path);
        store.insert(path.into(), entry.clone());
        entry
    });
    let mut response = Response::new(Full::new(found.body.clone()));
    *response.headers_mut() = found.fields.clone();
    Ok(response)
}

async fn answer_from(store: Store, hit: Hit) -> io::Result<()> {
    let of_http1 = TcpListener::from_std(listen(hit.port)?)?;
    let of_http2 = TcpListener::from_std(listen(hit.h2_port)?)?;
    let store_of_http2 = store.clone();
    spawn_local(async move {
        loop {
            let stream = accept(&of_http2).await;
            let store = store_of_http2.clone();
            let service = service_fn(move |request| answer(request, store.clone()));
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            spawn_local(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    loop {
        let stream = accept(&of_http1).await;
        let store = store.clone();
        let service = service_fn(move |request| answer(request, store.clone()));
        let builder = hyper::server::conn::http1::Builder::new();
        spawn_local(builder.serve_connection(TokioIo::new(stream), service));
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        if let Ok((stream, _)) = listener.accept().await
            && stream.set_nodelay(true).is_ok()
        {
            return stream;
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- pass

type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A body that gives its connection back when it has ended.
struct Lent {
    body: Incoming,
    connection: Option<SendRequest<Incoming>>,
    pool: Pool,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if (self.body.is_end_stream() || matches!(polled, Poll::Ready(None)))
            && let Some(connection) = self.connection.take()
        {
            self.pool.borrow_mut().push(connection);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn forward(
    mut request: Request<Incoming>,
    pool: Pool,
    origin: u16,
) -> Result<Response<Lent>, Failure> {
    loop {
        let kept = pool.borrow_mut().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect(origin).await?,
        };
        if connection.ready().await.is_err() {
            continue;
        }
        match connection.try_send_request(request).await {
            Ok(response) => {
                return Ok(response.map(|body| Lent {
                    body,
                    connection: Some(connection),
                    pool,
                }));
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
            },
        }
    }
}

async fn connect(origin: u16) -> Result<SendRequest<Incoming>, Failure> {
    let stream = TcpStream::connect(("127.0.0.1", origin)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    spawn_local(connection);
    Ok(sender)
}

async fn pass_on(pass: Pass) -> io::Result<()> {
    let listener = TcpListener::from_std(listen(pass.port)?)?;
    let pool = Pool::default();
    loop {
        let stream = accept(&listener).await;
        let pool = pool.clone();
        let service = service_fn(move |request| forward(request, pool.clone(), pass.origin));
        let builder = hyper::server::conn::http1::Builder::new();
        spawn_local(builder.serve_connection(TokioIo::new(stream), service));
    }
}
