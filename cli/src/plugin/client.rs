//! A client that asks an edge as a scenario says.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::scenario::Request;

/// The field that tells the edge where a request comes from.
pub(super) const CLIENT_ADDRESS: &str = "tidegate-test-client";
/// Longer than anything takes that ends.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the edge answered.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Asks, over a connection of its own.
///
/// # Errors
/// A message, when no answer came.
pub(super) async fn ask(edge: SocketAddr, request: &Request) -> Result<Response, String> {
    match tokio::time::timeout(DEADLINE, exchange(edge, request)).await {
        Ok(answer) => answer.map_err(|error| format!("no answer: {error}")),
        Err(_) => Err(format!("no answer within {DEADLINE:?}")),
    }
}

/// The request as it is sent.
///
/// # Errors
/// What of it is nothing that HTTP knows.
pub(super) fn sent(request: &Request) -> Result<http::Request<Full<Bytes>>, String> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("{:?} is no method", request.method))?;
    let target: Option<Uri> = request.path.parse().ok();
    let target = target.filter(|_| request.path.starts_with('/'));
    let target = target.ok_or_else(|| format!("{:?} is no path", request.path))?;
    let mut sent = http::Request::builder()
        .method(method)
        .uri(target)
        .header(http::header::HOST, &request.host);
    if let Some(client) = request.client {
        sent = sent.header(CLIENT_ADDRESS, client.to_string());
    }
    for (name, values) in &request.headers {
        for value in values.values() {
            sent = sent.header(name, value);
        }
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    sent.body(body).map_err(|error| error.to_string())
}

async fn exchange(
    edge: SocketAddr,
    request: &Request,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(edge).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is the answer's.
    tokio::spawn(async { drop(connection.await) });
    let answer = sender.send_request(sent(request)?).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
