//! Requests of guests, against a server that says what it was sent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{AllowedHosts, Egress, EgressError};
use crate::body::{Body, BodyError};

/// Longer than any test takes.
const PATIENT: Duration = Duration::from_secs(30);

/// Answers every request head with the same bytes, and `{sent}` in them with what was sent.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn answering(answer: &'static str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    let mut sent = String::new();
                    loop {
                        let length = stream.read(&mut buffer).await.unwrap_or(0);
                        if length == 0 {
                            return;
                        }
                        sent.push_str(&String::from_utf8_lossy(&buffer[..length]));
                        if !sent.contains("\r\n\r\n") {
                            continue;
                        }
                        let body = std::mem::take(&mut sent);
                        let answer = answer
                            .replace("{length}", &body.len().to_string())
                            .replace("{sent}", &body);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Server {
            address,
            connections,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn allowed(&self) -> AllowedHosts {
        AllowedHosts::parse(&[self.address.to_string()]).unwrap()
    }
}

const ECHO: &str = "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n{sent}";

fn egress() -> Egress {
    Egress::new(HeaderValue::from_static("1.1 test"))
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::Empty).unwrap()
}

#[tokio::test]
async fn the_fields_of_the_connection_are_ours_and_the_others_are_the_guests() {
    let server = Server::answering(ECHO).await;
    let request = Request::post(server.url("/a?b"))
        .header("host", "other")
        .header("connection", "x-nominated")
        .header("x-nominated", "1")
        .header("transfer-encoding", "gzip")
        .header("content-length", "7")
        .header("te", "trailers")
        .header("expect", "100-continue")
        .header("upgrade", "websocket")
        .header("tidegate-lsn", "1")
        .header("x-kept", "yes")
        .body(Body::from(Bytes::from_static(b"body")))
        .unwrap();
    let response = egress()
        .fetch(&server.allowed(), request, PATIENT, 1 << 20)
        .await
        .unwrap();
    assert_eq!(response.headers().get("x-kept").unwrap(), "1");
    assert_eq!(response.headers().get("x-hop"), None);
    assert_eq!(response.headers().get("connection"), None);
    let sent = String::from_utf8(response.into_body().to_vec()).unwrap();
    let sent = sent.to_ascii_lowercase();
    assert!(sent.starts_with("post /a?b http/1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\nbody"), "{sent}");
    for expected in [
        &format!("host: {}\r\n", server.address),
        "via: 1.1 test\r\n",
        "content-length: 4\r\n",
        "x-kept: yes\r\n",
    ] {
        assert!(sent.contains(expected), "{expected} in {sent}");
    }
    for ours in [
        "other",
        "x-nominated",
        "gzip",
        "trailers",
        "expect",
        "upgrade",
        "lsn",
    ] {
        assert!(!sent.contains(ours), "{ours} in {sent}");
    }
}

/// A body of which nothing is known before it comes.
struct Later(tokio::sync::oneshot::Receiver<Bytes>);

impl http_body::Body for Later {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.0.is_terminated() {
            return Poll::Ready(None);
        }
        let part = Pin::new(&mut self.0).poll(context);
        part.map(|part| part.ok().map(|part| Ok(Frame::data(part))))
    }
}

#[tokio::test]
async fn a_body_may_follow_when_the_head_of_the_response_is_there() {
    let server = Server::answering(ECHO).await;
    let (part, later) = tokio::sync::oneshot::channel();
    let request = Request::get(server.url("/")).body(Body::stream(Later(later)));
    let short = Duration::from_millis(500);
    let (egress, allowed) = (egress(), server.allowed());
    let response = egress.send(&allowed, request.unwrap(), short).await;
    assert_eq!(response.unwrap().status(), 200);
    part.send(Bytes::from("late")).unwrap();
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_not_asked() {
    let server = Server::answering(ECHO).await;
    let egress = egress();
    let other = AllowedHosts::parse(&["127.0.0.1:1".to_owned(), "localhost".to_owned()]).unwrap();
    for allowed in [AllowedHosts::default(), other] {
        let refused = egress.send(&allowed, get(&server.url("/")), PATIENT).await;
        assert!(matches!(refused, Err(EgressError::Denied(_))));
    }
    let allowed = server.allowed();
    let port = server.address.port();
    for (url, expected) in [
        ("/relative".to_owned(), "invalid"),
        (format!("ftp://127.0.0.1:{port}/"), "invalid"),
        (format!("https://127.0.0.1:{port}/"), "denied"),
        (format!("http://user@127.0.0.1:{port}/"), "invalid"),
        (format!("http://127.0.0.1:{port}@other/"), "invalid"),
        (format!("http://localhost:{port}/"), "denied"),
        (format!("http://127.0.0.1:+{port}/"), "invalid"),
        ("http://127.0.0.1:/".to_owned(), "invalid"),
        ("http://127.0.0.1:65536/".to_owned(), "invalid"),
        ("http://127.0.0.1:x/".to_owned(), "invalid"),
    ] {
        let refused = egress.send(&allowed, get(&url), PATIENT).await;
        assert_eq!(refused.map(drop).unwrap_err().name(), expected, "{url}");
    }
    let mut connect = get(&server.url("/"));
    *connect.method_mut() = http::Method::CONNECT;
    let refused = egress.send(&allowed, connect, PATIENT).await;
    assert!(matches!(refused, Err(EgressError::Method(_))));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn connections_are_used_again_and_a_redirect_is_an_answer() {
    let server = Server::answering(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let egress = egress();
    for _ in 0..5 {
        let allowed = server.allowed();
        let request = get(&server.url("/").to_uppercase().replace("HTTP", "http"));
        let response = egress.fetch(&allowed, request, PATIENT, 10).await.unwrap();
        assert_eq!(response.status(), 302);
        // The connection is taken back by tasks of its own.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_is_collected_up_to_its_bound() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789").await;
    let egress = egress();
    let allowed = server.allowed();
    let fetch = |most| egress.fetch(&allowed, get(&server.url("/")), PATIENT, most);
    assert_eq!(&fetch(10).await.unwrap().into_body()[..], b"0123456789");
    let error = fetch(9).await.unwrap_err();
    assert!(
        matches!(error, EgressError::TooLarge { most: 9, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn every_way_to_fail_has_its_name() {
    let brief = Duration::from_millis(20);
    for (answer, timeout, expected) in [
        ("", brief, "timeout"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0",
            brief,
            "timeout",
        ),
        ("nonsense\r\n\r\n", PATIENT, "protocol"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: strange\r\n\r\n",
            PATIENT,
            "protocol",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            PATIENT,
            "protocol",
        ),
    ] {
        let server = Server::answering(answer).await;
        let (allowed, request) = (server.allowed(), get(&server.url("/")));
        let error = egress().fetch(&allowed, request, timeout, 100).await;
        assert_eq!(error.unwrap_err().name(), expected, "{answer}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let allowed = AllowedHosts::parse(&[address.to_string()]).unwrap();
    let request = get(&format!("http://{address}/"));
    let error = egress().fetch(&allowed, request, PATIENT, 100).await;
    assert_eq!(error.unwrap_err().name(), "connect");
}
