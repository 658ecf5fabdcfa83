//! An edge that stops: what is under way is finished, nothing new begins.

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Edge, Gate, Origin, answer, patiently};

const PATIENT: &str = "server.drain_timeout = \"1h\"";

/// Drains aside; a test goes on meanwhile.
fn draining(edge: Edge) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(move || edge.drain())
}

async fn refuses(address: std::net::SocketAddr) {
    let work = async { while TcpStream::connect(address).await.is_ok() {} };
    patiently("new connections to be refused", work).await;
}

#[tokio::test]
async fn requests_under_way_are_finished_and_new_connections_refused() {
    let (head, tail) = (Gate::closed(), Gate::closed());
    let origin = Origin::always(
        answer("first ")
            .after(&head)
            .then(&tail, "second")
            .chunked(),
    );
    let edge = Edge::before(&origin)
        .with(PATIENT)
        .with("server.workers = 2")
        .start();
    let address = edge.address();
    let mut connection = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let drained = draining(edge);
    refuses(address).await;
    head.open();
    connection.head().await;
    assert_eq!(connection.body(6).await, "first ");
    assert!(!drained.is_finished());
    tail.open();
    assert_eq!(connection.rest().await, ("second".to_owned(), true));
    assert!(connection.is_closed().await);
    patiently("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_a_drain_up() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).with(PATIENT).start();
    let mut used = edge.request("GET", "/").begin().await;
    used.response().await;
    let mut silent = edge.connect().await;
    edge.settled().await;
    let drained = draining(edge);
    assert!(used.is_closed().await);
    assert!(silent.is_closed().await);
    patiently("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_with_its_timeout() {
    let origin = Origin::always(answer("never").after(&Gate::closed()));
    let edge = Edge::before(&origin)
        .with("server.drain_timeout = \"50ms\"")
        .start();
    let _waiting = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    patiently("the drain", draining(edge)).await.unwrap();
}

#[tokio::test]
async fn administration_goes_on_until_the_workers_have_ended() {
    let gate = Gate::closed();
    let origin = Origin::always(answer("x").after(&gate));
    let edge = Edge::before(&origin).with(PATIENT).start();
    let address = edge.address();
    let health = || edge.admin("GET", "/healthz");
    let (first, second) = (health(), health());
    let ready = edge.admin("GET", "/readyz");
    let purge = edge.admin("POST", "/purge").body("{\"all\": true}");
    let reload = edge.admin("POST", "/plugins/reload");
    assert_eq!(first.send().await.status, 200);
    let mut connection = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let drained = draining(edge);
    refuses(address).await;
    assert_eq!(second.send().await.status, 200);
    // Nothing new shall be sent here.
    assert_eq!(ready.send().await.status, 503);
    assert_eq!(purge.send().await.status, 200);
    // Nor is a compiler waited for.
    let reload = reload.send().await;
    assert!(reload.status == 503 && reload.text().contains("stops"));
    gate.open();
    assert_eq!(connection.response().await.status, 200);
    patiently("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_client_has_left_is_finished_before_a_drain_ends() {
    let gate = Gate::closed();
    let origin = Origin::always(answer("x").after(&gate));
    let edge = Edge::before(&origin).with(PATIENT).start();
    let address = edge.address();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post("http://edge.test/").body(Empty::<Bytes>::new());
    let asking = tokio::spawn(sender.send_request(request.unwrap()));
    origin.asked_for(1).await;
    asking.abort();
    connection.abort();
    drop(sender);
    edge.settled().await;
    let drained = draining(edge);
    refuses(address).await;
    for _ in 0..100 {
        assert!(!drained.is_finished());
        refuses(address).await;
        tokio::task::yield_now().await;
    }
    gate.open();
    patiently("the drain", drained).await.unwrap();
    assert_eq!(origin.cut_off(), 0);
}
