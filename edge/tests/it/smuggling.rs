//! Bytes that two parsers could cut in different places: each request here is refused before
//! anything is forwarded, or reaches the origin once, with one framing (RFC 9112 §11.2).
//!
//! The named ones have been failures of other proxies.

mod bodies;
mod heads;

use crate::support::client::Connection;
use crate::support::{Edge, Origin, answer};

/// What a client would like to see taken for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: edge.test\r\n\r\n";

fn echoing() -> Origin {
    Origin::by(|asked| {
        let body = format!("{} {}", asked.method, asked.target);
        answer(body).with("cache-control", "max-age=60")
    })
}

async fn sent(edge: &Edge, bytes: &[u8]) -> Connection {
    let mut connection = edge.connect().await;
    connection.write(bytes).await;
    connection.finish().await;
    connection
}

/// Everything the edge answers on a connection.
async fn statuses(connection: &mut Connection) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(response) = connection.answer_to("GET").await {
        statuses.push(response.status);
        if !response.is_complete {
            break;
        }
    }
    statuses
}

/// Every request that reached the origin has one framing, and its body is all of what it frames.
fn assert_one_framing(origin: &Origin, rule: &str) {
    for index in 0..origin.requests() {
        let asked = origin.request(index);
        let framings =
            asked.head.all("content-length").count() + asked.head.all("transfer-encoding").count();
        assert!(framings <= 1, "{rule}: {asked:?}");
        assert_ne!(asked.target, "/smuggled", "{rule}");
    }
}

#[tokio::test]
async fn the_body_of_a_request_for_what_is_stored_is_never_the_next_request() {
    let length = SMUGGLED.len();
    for (what, head, body) in [
        (
            "a length",
            format!("content-length: {length}"),
            SMUGGLED.to_owned(),
        ),
        (
            "chunks",
            "transfer-encoding: chunked".to_owned(),
            format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        ),
    ] {
        for method in ["GET", "HEAD", "PURGE", "BREW"] {
            let origin = echoing();
            let edge = Edge::before(&origin).start();
            edge.get("/stored").await;
            assert_eq!(edge.get("/stored").await.cache_status(), "hit");
            let mut connection = edge.connect().await;
            let request = format!(
                "{method} /stored HTTP/1.1\r\nhost: edge.test\r\n{head}\r\n\r\n{body}GET /next HTTP/1.1\r\nhost: edge.test\r\n\r\n"
            );
            connection.write(request.as_bytes()).await;
            connection.response_to(method).await;
            if let Some(next) = connection.answer_to("GET").await {
                assert_eq!(next.text(), "GET /next", "{method} with {what}");
            }
            assert_one_framing(&origin, method);
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_later_than_its_answer_is_not_the_next_request() {
    let origin = echoing();
    let edge = Edge::before(&origin).start();
    for head in [
        format!(
            "PURGE / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: {}\r\n\r\n",
            SMUGGLED.len()
        ),
        format!(
            "GET http:x HTTP/1.1\r\nhost: edge.test\r\ncontent-length: {}\r\n\r\n",
            SMUGGLED.len()
        ),
    ] {
        let mut connection = edge.connect().await;
        connection.write(head.as_bytes()).await;
        let refused = connection.response().await.status;
        assert!(matches!(refused, 400 | 401), "{refused}");
        connection.write(SMUGGLED.as_bytes()).await;
        assert!(connection.answer_to("GET").await.is_none(), "{head}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn bytes_pipelined_after_an_upgrade_are_requests_to_us() {
    let origin = echoing();
    let edge = Edge::before(&origin).start();
    for upgrade in ["websocket", "h2c", "HTTP/1.1"] {
        let before = origin.requests();
        let mut connection = edge.connect().await;
        // Refused by the origin, or not even offered; what follows asks for what only we answer.
        let upgrade = format!(
            "GET /{upgrade} HTTP/1.1\r\nhost: edge.test\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\nPURGE /raw HTTP/1.1\r\nhost: edge.test\r\n\r\n"
        );
        connection.write(upgrade.as_bytes()).await;
        assert_eq!(connection.response().await.status, 200);
        assert_eq!(connection.response().await.status, 401, "{upgrade}");
        assert_eq!(origin.requests() - before, 1, "{upgrade}");
    }
}

#[tokio::test]
async fn http_1_0_with_a_transfer_encoding_is_refused() {
    let origin = echoing();
    let edge = Edge::before(&origin).start();
    for fields in [
        "transfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "connection: keep-alive\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
    ] {
        let request =
            format!("POST / HTTP/1.0\r\nhost: edge.test\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let mut connection = sent(&edge, request.as_bytes()).await;
        assert_eq!(statuses(&mut connection).await, [400], "{fields}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn two_hosts_with_one_path_are_two_keys() {
    let origin = Origin::by(|asked| {
        let host = asked.get("host").unwrap_or_default().to_owned();
        answer(host).with("cache-control", "max-age=60")
    });
    let edge = Edge::before(&origin).start();
    for status in ["fwd=uri-miss", "hit"] {
        for host in ["a.test", "b.test", "a.test:8080", "a.test.", "test"] {
            let response = edge.request("GET", "/").with("host", host).send().await;
            assert_eq!(
                (response.text(), response.cache_status()),
                (host, status),
                "{host}"
            );
        }
    }
    // The same two, as a proxy is asked.
    for (target, host, text) in [
        ("http://a.test/", "a.test", "a.test"),
        ("http://B.test:80/", "b.test", "b.test"),
        ("http://a.test:8080/", "a.test:8080", "a.test:8080"),
    ] {
        let response = edge.request("GET", target).with("host", host).send().await;
        assert_eq!(
            (response.text(), response.cache_status()),
            (text, "hit"),
            "{target}"
        );
    }
    for (target, host) in [
        ("http://a.test/", "b.test"),
        ("http://a.test:8080/", "a.test"),
        ("http://a.test@b.test/", "b.test"),
        ("http://b.test/", "a.test\r\nhost: b.test"),
    ] {
        let response = edge.request("GET", target).with("host", host).send().await;
        assert_eq!(response.status, 400, "{target} at {host}");
    }
}

#[tokio::test]
async fn the_body_of_a_safe_request_reaches_the_origin_in_either_framing() {
    let origin = echoing();
    let edge = Edge::before(&origin).start();
    for method in ["GET", "HEAD", "OPTIONS", "BREW"] {
        for body in [
            "content-length: 4\r\n\r\ntext",
            "transfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        ] {
            let request = format!("{method} / HTTP/1.1\r\nhost: edge.test\r\n{body}");
            let mut connection = edge.connect().await;
            connection.write(request.as_bytes()).await;
            assert_eq!(connection.response_to(method).await.status, 200, "{method}");
            assert_eq!(origin.last().body, b"text", "{method} {body:?}");
        }
    }
}
