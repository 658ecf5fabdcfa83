//! A small origin: one thread that answers every GET with a page of 1 KiB.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

pub(crate) static BODY: [u8; 1 << 10] = [b'a'; 1 << 10];

/// Starts it, for as long as the process lives.
pub(crate) fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.set_nonblocking(true).expect("a bound listener");
    let address = listener.local_addr().expect("a bound listener");
    let runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime needs only a few descriptors");
    std::thread::spawn(move || runtime.block_on(serve(listener)));
    address
}

async fn serve(listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let serving =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        // A connection that breaks ends the benchmark at its other end.
        tokio::spawn(async { drop(serving.await) });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_stored = !request.uri().path().starts_with("/unstored");
    let cache_control = if is_stored {
        "max-age=86400"
    } else {
        "no-store"
    };
    let response = Response::builder()
        .header(CONTENT_TYPE, "text/html; charset=utf-8")
        .header(CACHE_CONTROL, cache_control)
        .header(ETAG, "\"33a64df551425fcc\"")
        .body(Full::new(Bytes::from_static(&BODY)));
    let mut response = response.expect("a status and three valid fields");
    if let Some(tags) = tags(request.uri().path()) {
        let name = HeaderName::from_static("surrogate-key");
        response.headers_mut().insert(name, tags);
    }
    Ok(response)
}

/// The tags of a page: none below `/untagged`, so many below `/tags-50`, five elsewhere.
fn tags(path: &str) -> Option<HeaderValue> {
    const FIVE: &str = "courses course:7 teacher:12 term:2033-2 page";
    let Some(rest) = path.strip_prefix("/tags-") else {
        let is_tagged = !path.starts_with("/untagged");
        return is_tagged.then_some(HeaderValue::from_static(FIVE));
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let count = rest[..end].parse().unwrap_or(0);
    let tags: Vec<_> = (0..count)
        .map(|number| format!("course:{number}"))
        .collect();
    (count > 0).then(|| HeaderValue::try_from(tags.join(" ")).expect("letters, digits and spaces"))
}
