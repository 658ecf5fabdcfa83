//! The listener: connections of HTTP/1.1, none of which is waited for without end, and all of which end what they are at
//! when we stop.
//!
//! What cannot be parsed as a request is answered by the parser (400, 431), before there is anything that could make a
//! problem of it.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::sleep};

/// How long a client may take for a request's head, the time in which it asks for nothing included. Edges use a connection
/// again that has been idle for half of it.
pub(crate) const HEAD: Duration = Duration::from_secs(60);
/// The pause after a connection could not be accepted, as when there are too many.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stopped`, and those that are under way then. A head may take as long as `head`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    head: Duration,
    stopped: impl Future<Output = ()>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    let connections = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Small answers go out at once; a connection on which that cannot be said is about to end.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_client_that_does_not_end_its_head_or_asks_for_nothing_is_let_go() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let head = Duration::from_millis(50);
        let never = std::future::pending();
        tokio::spawn(serve(listener, Router::new(), head, never));
        for sent in [
            "",
            "GET / HTTP/1.1\r\nhost:",
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let reading = timeout(PATIENCE, client.read_to_end(&mut answer));
            assert!(reading.await.is_ok(), "it waits for more than {sent:?}");
        }
    }
}
