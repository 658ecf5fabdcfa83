//! A client that asks an edge as a scenario says.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
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

async fn exchange(
    edge: SocketAddr,
    request: &Request,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(edge).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is the answer's.
    tokio::spawn(async { drop(connection.await) });
    let mut asked = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.path)
        .header(http::header::HOST, &request.host);
    if let Some(client) = request.client {
        asked = asked.header(CLIENT_ADDRESS, client.to_string());
    }
    for (name, values) in &request.headers {
        for value in values.values() {
            asked = asked.header(name, value);
        }
    }
    let asked = asked.body(Full::new(Bytes::from(request.body.clone())))?;
    let answer = sender.send_request(asked).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
