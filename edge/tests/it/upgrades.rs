//! Upgrades: a client and an origin that go on in another protocol (RFC 9110 §7.8).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Empty;

use crate::support::client::Connection;
use crate::support::{Answer, Edge, Fields, Origin, answer, http_2, patiently, wait_until};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nhost: edge.test\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a2V5\r\n\r\n";

fn switching(protocol: &str) -> Answer {
    Answer::switching(protocol, "", &Arc::default())
}

/// A connection that has asked for a WebSocket, and these bytes behind.
async fn asking(edge: &Edge, behind: &str) -> Connection {
    let mut connection = edge.connect().await;
    connection
        .write(format!("{WEBSOCKET}{behind}").as_bytes())
        .await;
    connection
}

#[tokio::test]
async fn a_granted_upgrade_carries_bytes_both_ways() {
    let origin = Origin::always(switching("websocket"));
    let edge = Edge::before(&origin).start();
    let mut connection = asking(&edge, "").await;
    let switched = connection.head().await;
    assert_eq!(switched.status, 101);
    assert_eq!(switched.get("connection"), Some("upgrade"));
    assert_eq!(switched.get("upgrade"), Some("websocket"));
    for framing in ["content-length", "transfer-encoding"] {
        assert_eq!(switched.get(framing), None, "RFC 9110 §8.6, {framing}");
    }
    for text in ["hello", "again"] {
        connection.write(text.as_bytes()).await;
        assert_eq!(connection.body(5).await, text);
    }
    let asked = origin.last();
    assert_eq!(
        asked.head.all("connection").collect::<Vec<_>>(),
        ["upgrade"]
    );
    assert_eq!(asked.get("upgrade"), Some("websocket"));
    assert_eq!(asked.get("sec-websocket-key"), Some("a2V5"));
    assert_eq!(asked.get("via"), Some("1.1 tidegate"));
}

#[tokio::test]
async fn what_either_side_sent_along_with_its_last_message_is_not_lost() {
    let switching = Answer::switching("websocket", "welcome ", &Arc::default());
    let origin = Origin::always(switching);
    let edge = Edge::before(&origin).start();
    let mut connection = asking(&edge, "first words").await;
    assert_eq!(connection.head().await.status, 101);
    assert_eq!(connection.body(19).await, "welcome first words");
}

#[tokio::test]
async fn any_method_without_a_body_may_ask_for_an_upgrade() {
    let origin = Origin::always(switching("x"));
    let edge = Edge::before(&origin).start();
    for method in ["HEAD", "OPTIONS", "POST", "DELETE", "BREW"] {
        let mut connection = edge.connect().await;
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: edge.test\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 0\r\n\r\n"
        );
        connection.write(request.as_bytes()).await;
        assert_eq!(connection.head().await.status, 101, "{method}");
        connection.write(b"hello").await;
        assert_eq!(connection.body(5).await, "hello", "{method}");
    }
}

#[tokio::test]
async fn more_than_any_buffer_holds_goes_both_ways_at_once() {
    let origin = Origin::always(switching("websocket"));
    let edge = Edge::before(&origin).start();
    let mut connection = asking(&edge, "").await;
    connection.head().await;
    let piece = [b'x'; 64 << 10];
    for _ in 0..64 {
        connection.write(&piece).await;
        assert_eq!(connection.body(piece.len()).await.len(), piece.len());
    }
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let origin = Origin::always(switching("websocket"));
    let edge = Edge::before(&origin).start();
    let mut connection = asking(&edge, "").await;
    connection.head().await;
    connection.write(b"the last word").await;
    connection.finish().await;
    assert_eq!(
        connection.rest().await,
        ("the last word".to_owned(), true),
        "what was on its way arrives"
    );
}

#[tokio::test]
async fn an_upgrade_has_a_connection_of_its_own() {
    let origin = Origin::by(|asked| match asked.target.as_str() {
        "/chat" => switching("websocket"),
        _ => answer("x"),
    });
    let edge = Edge::before(&origin).start();
    edge.get("/warm").await;
    edge.settled().await;
    let mut connection = asking(&edge, "").await;
    connection.head().await;
    let tunnel = origin.last().connection;
    assert_ne!(tunnel, origin.request(0).connection);
    for path in ["/a", "/b", "/c"] {
        edge.get(path).await;
        assert_ne!(origin.last().connection, tunnel);
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer_and_what_follows_are_requests() {
    let origin =
        Origin::by(|asked| answer(asked.target.clone()).with("cache-control", "max-age=60"));
    let edge = Edge::before(&origin).start();
    let next = "GET /next HTTP/1.1\r\nhost: edge.test\r\n\r\n";
    for asked in [2, 3] {
        let mut connection = asking(&edge, next).await;
        let refused = connection.response().await;
        assert_eq!((refused.status, refused.text()), (200, "/chat"));
        assert_eq!(refused.cache_status(), "fwd=bypass");
        assert_eq!(refused.get("upgrade"), None);
        assert_eq!(connection.response().await.text(), "/next");
        // The upgrade is asked of the origin each time, what follows it is a request to us.
        assert_eq!(origin.requests(), asked, "{:?}", origin.last());
    }
}

#[tokio::test]
async fn what_is_stored_does_not_answer_an_upgrade() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    edge.get("/chat").await;
    assert_eq!(edge.get("/chat").await.cache_status(), "hit");
    origin.now(switching("websocket"));
    assert_eq!(asking(&edge, "").await.head().await.status, 101);
    assert_eq!(edge.get("/chat").await.cache_status(), "hit");
}

/// Why an upgrade is not offered to the origin, the request line and the fields.
const NOT_OFFERED: &[(&str, &str, Fields)] = &[
    (
        "RFC 9113 §3.1, h2c is gone",
        "GET / HTTP/1.1",
        &[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ],
    ),
    (
        "it would pass by routes and cache",
        "GET / HTTP/1.1",
        &[("connection", "upgrade"), ("upgrade", "HTTP/2.0, TLS/1.2")],
    ),
    (
        "RFC 9110 §7.8, not nominated",
        "GET / HTTP/1.1",
        &[("upgrade", "websocket")],
    ),
    (
        "RFC 9110 §7.8, HTTP/1.0",
        "GET / HTTP/1.0",
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    ),
    (
        "RFC 9110 §7.8, a body would have to be read first",
        "POST / HTTP/1.1",
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("content-length", "4"),
        ],
    ),
];

#[tokio::test]
async fn an_upgrade_that_may_not_be_offered_is_ignored() {
    for (why, line, fields) in NOT_OFFERED {
        let origin = Origin::by(|asked| match asked.get("upgrade") {
            Some(protocol) => switching(protocol),
            None => answer("ordinary"),
        });
        let edge = Edge::before(&origin).start();
        let mut connection = edge.connect().await;
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!("{line}\r\nhost: edge.test\r\n{fields}\r\nbody");
        connection.write(request.as_bytes()).await;
        let ignored = connection.response().await;
        assert_eq!((ignored.status, ignored.text()), (200, "ordinary"), "{why}");
        let asked = origin.request(0);
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(asked.get(name), None, "{why}, {name}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_to_cleartext_http_2_is_answered_from_the_cache() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    for status in ["fwd=uri-miss", "hit"] {
        let response = edge
            .request("GET", "/")
            .with("connection", "upgrade, http2-settings")
            .with("upgrade", "h2c")
            .with("http2-settings", "AAMAAABkAAQAAP__")
            .send()
            .await;
        assert_eq!(response.cache_status(), status);
    }
}

#[tokio::test]
async fn one_protocol_of_several_is_offered_without_the_forbidden_ones() {
    let origin = Origin::always(switching("b"));
    let edge = Edge::before(&origin).start();
    let request = edge
        .request("GET", "/")
        .with("connection", "upgrade")
        .with("upgrade", "h2c, a/1")
        .with("upgrade", "b");
    let mut connection = request.begin().await;
    assert_eq!(connection.head().await.get("upgrade"), Some("b"));
    assert_eq!(origin.last().get("upgrade"), Some("a/1, b"));
}

#[tokio::test]
async fn a_switch_to_what_was_not_offered_is_a_bad_gateway() {
    for (what, bytes) in [
        (
            "another protocol",
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        ),
        (
            "no protocol, RFC 9110 §15.2.2",
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\n\r\n",
        ),
    ] {
        let origin = Origin::always(Answer::raw(bytes));
        let edge = Edge::before(&origin).start();
        let mut connection = asking(&edge, "").await;
        assert_eq!(connection.response().await.status, 502, "{what}");
        connection.write(WEBSOCKET.as_bytes()).await;
        assert_eq!(connection.response().await.status, 502, "{what}");
    }
}

#[tokio::test]
async fn an_origin_that_is_down_refuses_an_upgrade_with_502() {
    let mut origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    origin.go_down();
    assert_eq!(asking(&edge, "").await.response().await.status, 502);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_passes_is_ended() {
    let origin = Origin::always(switching("websocket"));
    let edge = Edge::before(&origin)
        .with("origins.app.tunnel_timeout = \"20ms\"")
        .start();
    let mut connection = asking(&edge, "").await;
    assert_eq!(connection.head().await.status, 101);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_drain_ends_tunnels_when_everything_else_has_ended() {
    let origin = Origin::always(switching("websocket"));
    let edge = Edge::before(&origin)
        .with("server.drain_timeout = \"1h\"")
        .start();
    let mut connection = asking(&edge, "").await;
    connection.head().await;
    let drained = tokio::task::spawn_blocking(move || edge.drain());
    patiently("the drain", drained).await.unwrap();
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_tunnel() {
    let ended = Arc::default();
    let origin = Origin::always(Answer::switching("websocket", "", &ended));
    let edge = Edge::before(&origin).start();
    let mut connection = asking(&edge, "").await;
    connection.head().await;
    drop(connection);
    wait_until("the end at the origin", || {
        ended.load(Ordering::Relaxed) == 1
    })
    .await;
}

#[tokio::test]
async fn http_2_has_no_upgrade() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut sender = http_2(&edge).await;
    let connect = http::Request::connect("edge.test:80").body(Empty::<Bytes>::new());
    let refused = sender.send_request(connect.unwrap()).await.unwrap();
    assert_eq!(refused.status(), 501, "RFC 8441 is not offered");
    assert_eq!(origin.requests(), 0);
}
