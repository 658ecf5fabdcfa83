//! A client that speaks HTTP/2 from its first byte (RFC 9113 §3.3).

use std::error::Error;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Edge;

/// A connection to the edge, for requests with such bodies. It ends with the last handle on it.
pub(crate) async fn http_2<B>(edge: &Edge) -> SendRequest<B>
where
    B: hyper::body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let stream = TcpStream::connect(edge.address()).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}
