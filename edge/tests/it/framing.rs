//! Responses that an origin delimits wrongly, twice or not at all: none is passed on as something
//! else, and none leaves bytes behind for the next (RFC 9112 §5, §6).

use crate::support::{Answer, Edge, Origin, answer};

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Its body reaches the client whole, and is kept.
    Kept(&'static str),
    /// Its body reaches the client whole, and is not kept.
    Passed(&'static str),
    /// The client sees that it broke off.
    Broken,
    /// 502.
    Refused,
}

use Fate::{Broken, Kept, Passed, Refused};

/// What the connection of the origin does behind its bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Closes,
    /// It could be used again, and must not be.
    Stays,
    /// It could be used again, and may be.
    MayStay,
}

use Then::{Closes, MayStay, Stays};

/// The rule, what the origin sends behind a status line and a field that lets it be kept, what its
/// connection does, and what becomes of it.
const RESPONSES: &[(&str, &str, Then, Fate)] = &[
    (
        "RFC 9112 §6.3, fewer bytes than the length",
        "content-length: 10\r\n\r\nshort",
        Closes,
        Broken,
    ),
    (
        "RFC 9112 §6.3, more bytes than the length",
        "content-length: 4\r\n\r\ntextmore",
        Stays,
        Kept("text"),
    ),
    (
        "RFC 9112 §6.3, an answer to nothing behind the body",
        "content-length: 4\r\n\r\ntextHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Kept("text"),
    ),
    (
        "RFC 9112 §6.3, an answer to nothing behind the chunks",
        "transfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        Stays,
        Kept("text"),
    ),
    (
        "RFC 9110 §8.6, equal lengths",
        "content-length: 4\r\ncontent-length: 4\r\n\r\ntext",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9110 §8.6, a list of equal lengths",
        "content-length: 4, 4\r\n\r\ntext",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §6.3, differing lengths",
        "content-length: 4\r\ncontent-length: 5\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §6.3, a list of differing lengths",
        "content-length: 4, 5\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9110 §8.6, +4",
        "content-length: +4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9110 §8.6, empty",
        "content-length:\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9110 §8.6, over 2^64",
        "content-length: 18446744073709551620\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §6.3, a length beside chunked",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Kept("text"),
    ),
    (
        "RFC 9112 §6.3, chunked beside a length",
        "transfer-encoding: chunked\r\ncontent-length: 200\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Kept("text"),
    ),
    (
        "RFC 9112 §8, no last chunk",
        "transfer-encoding: chunked\r\n\r\n4\r\ntext\r\n",
        Closes,
        Broken,
    ),
    (
        "RFC 9112 §8, no end of the last chunk",
        "transfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n",
        Closes,
        Broken,
    ),
    (
        "RFC 9112 §7.1, no size",
        "transfer-encoding: chunked\r\n\r\nxyz\r\ntext\r\n0\r\n\r\n",
        Stays,
        Broken,
    ),
    (
        "RFC 9112 §7.1, a chunk longer than its size",
        "transfer-encoding: chunked\r\n\r\n2\r\ntext\r\n0\r\n\r\n",
        Stays,
        Broken,
    ),
    (
        "RFC 9112 §7.1, a size that overflows",
        "transfer-encoding: chunked\r\n\r\n10000000000000004\r\ntext\r\n0\r\n\r\n",
        Stays,
        Broken,
    ),
    (
        "RFC 9112 §7.1.1, extensions",
        "transfer-encoding: chunked\r\n\r\n4;a=b\r\ntext\r\n0;c\r\n\r\n",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §6.3, an unknown coding reads until close",
        "transfer-encoding: foo\r\n\r\ntext",
        Closes,
        Passed("text"),
    ),
    (
        "RFC 9112 §6.3, an unknown coding beside a length",
        "transfer-encoding: foo\r\ncontent-length: 2\r\n\r\ntext",
        Closes,
        Passed("text"),
    ),
    (
        "RFC 9112 §7.4, identity is unknown by now",
        "transfer-encoding: identity\r\n\r\ntext",
        Closes,
        Passed("text"),
    ),
    (
        "RFC 9112 §6.1, what we cannot undo",
        "transfer-encoding: gzip, chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §6.1, what nobody can undo",
        "transfer-encoding: foo, chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §6.1, chunked not last",
        "transfer-encoding: chunked, foo\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Closes,
        Refused,
    ),
    (
        "RFC 9112 §6.1, chunked twice",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Refused,
    ),
    ("RFC 9112 §6.3, neither", "\r\ntext", Closes, Kept("text")),
    (
        "RFC 9112 §5.2, a folded line is one with a space",
        "x-folded: a\r\n b\r\ncontent-length: 4\r\n\r\ntext",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §5.2, a folded length",
        "content-length:\r\n 4\r\n\r\ntext",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §5.2, a folded coding",
        "transfer-encoding:\r\n chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §5.2, two codings on folded lines",
        "transfer-encoding: foo,\r\n chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §5.1, a space before the colon",
        "content-length : 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §2.2, a bare CR",
        "x-a: a\rb\r\ncontent-length: 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §2.2, a bare CR before what would be a field",
        "x-a: a\rset-cookie: b\r\ncontent-length: 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9110 §5.5, a NUL",
        "x-a: a\0b\r\ncontent-length: 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §2.2, lines that end with LF",
        "x-a: a\nx-b: b\ncontent-length: 4\n\ntext",
        MayStay,
        Kept("text"),
    ),
    (
        "RFC 9112 §5, no colon",
        "nothing\r\ncontent-length: 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
    (
        "RFC 9112 §5, no name",
        ": a\r\ncontent-length: 4\r\n\r\ntext",
        Stays,
        Refused,
    ),
];

#[tokio::test]
async fn a_response_is_delimited_as_the_rules_say_or_refused() {
    for (rule, bytes, then, fate) in RESPONSES {
        let bytes = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{bytes}");
        let scripted = Answer::raw(&bytes);
        let scripted = match then {
            Closes => scripted,
            Stays | MayStay => scripted.staying(),
        };
        let origin = Origin::always(scripted);
        let edge = Edge::before(&origin).start();
        let mut connection = edge.request("GET", "/").begin().await;
        let response = connection.answer_to("GET").await;
        let seen = match &response {
            None => Broken,
            Some(response) if response.status == 502 => Refused,
            Some(response) if !response.is_complete => Broken,
            Some(response) => {
                assert_eq!(response.status, 200, "{rule}");
                for name in ["content-length", "transfer-encoding"] {
                    assert!(response.head.all(name).count() <= 1, "{rule}: {name}");
                }
                match fate {
                    Kept(body) if response.text() == *body => *fate,
                    Passed(body) if response.text() == *body => *fate,
                    _ => Passed("something else"),
                }
            }
        };
        assert_eq!(seen, *fate, "{rule}: {response:?}");
        edge.settled().await;
        origin.now(answer("next"));
        let next = edge.get("/").await;
        match fate {
            Kept(body) => assert_eq!((next.cache_status(), next.text()), ("hit", *body), "{rule}"),
            _ => assert_eq!((next.status, next.text()), (200, "next"), "{rule}"),
        }
        assert_eq!(edge.get("/other").await.text(), "next", "{rule}");
        if *then == Stays {
            let first = origin.request(0).connection;
            let others = (1..origin.requests()).map(|index| origin.request(index).connection);
            assert!(others.into_iter().all(|other| other != first), "{rule}");
        }
    }
}

/// Heads that are none: each is a 502 and the end of the connection.
const NO_HEADS: &[(&str, &str)] = &[
    (
        "RFC 9112 §6.1, HTTP/1.0",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "RFC 9112 §2.3",
        "HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "RFC 9112 §2.3",
        "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "RFC 9112 §2.3",
        "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    ("no version", "ICY 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("HTTP/0.9", "<html>hello</html>\r\n\r\n"),
    (
        "RFC 9112 §4, a digit too few",
        "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "RFC 9112 §4, a digit too many",
        "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "RFC 9110 §15, below 100",
        "HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "RFC 9110 §15.2, 100 has no body",
        "HTTP/1.1 100 Continue\r\ncontent-length: 4\r\n\r\ntextHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    ("nothing", "\r\n\r\n\r\n"),
];

#[tokio::test]
async fn what_is_no_head_is_a_bad_gateway_and_the_end_of_the_connection() {
    for (rule, bytes) in NO_HEADS {
        let origin = Origin::always(Answer::raw(bytes).staying());
        let edge = Edge::before(&origin)
            .with("origins.app.timeout = \"300ms\"")
            .start();
        let status = edge.get("/").await.status;
        assert!(matches!(status, 502 | 504), "{rule}: {status}");
        origin.now(answer("next"));
        assert_eq!(edge.get("/").await.text(), "next", "{rule}");
        assert_ne!(
            origin.request(0).connection,
            origin.last().connection,
            "{rule}"
        );
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_a_bad_gateway() {
    for (length, status) in [(40_000, 200), (70_000, 502)] {
        let origin = Origin::always(answer("x").with("x-long", &"a".repeat(length)));
        let edge = Edge::before(&origin).start();
        assert_eq!(edge.get("/").await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_folded_line_reaches_clients_as_one() {
    let bytes = "HTTP/1.1 200 OK\r\nx-folded: a\r\n\t b\r\n  c\r\ncontent-length: 0\r\n\r\n";
    let origin = Origin::always(Answer::raw(bytes));
    let edge = Edge::before(&origin).start();
    let response = edge.get("/").await;
    let words: Vec<_> = response
        .get("x-folded")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(words, ["a", "b", "c"], "RFC 9112 §5.2");
}

#[tokio::test]
async fn bytes_where_there_is_no_body_end_the_connection() {
    for (what, method, bytes, status) in [
        (
            "204 and a length",
            "GET",
            "HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\ntext",
            204,
        ),
        (
            "204 and chunks",
            "GET",
            "HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
            204,
        ),
        (
            "304 and a length",
            "GET",
            "HTTP/1.1 304 No\r\ncontent-length: 4\r\n\r\ntext",
            304,
        ),
        (
            "HEAD",
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntext",
            200,
        ),
    ] {
        let origin = Origin::always(Answer::raw(bytes).staying());
        let edge = Edge::before(&origin).start();
        let mut connection = edge.request(method, "/").begin().await;
        let response = connection.response_to(method).await;
        assert_eq!(
            (response.status, response.body.len()),
            (status, 0),
            "{what}"
        );
        origin.now(answer("next"));
        let next = "GET /next HTTP/1.1\r\nhost: edge.test\r\n\r\n";
        connection.write(next.as_bytes()).await;
        assert_eq!(connection.response().await.text(), "next", "{what}");
        assert_ne!(
            origin.request(0).connection,
            origin.last().connection,
            "{what}"
        );
    }
}

#[tokio::test]
async fn the_length_of_an_answer_to_head_is_one_number_or_none() {
    for (lengths, status, ours) in [
        ("content-length: 4", 200, Some("4")),
        ("content-length: 4\r\ncontent-length: 4", 200, Some("4")),
        ("content-length: 4, 4", 200, Some("4")),
        ("content-length: 4\r\ncontent-length: 5", 502, None),
        ("content-length: +4", 502, None),
        ("content-length: 4\r\ntransfer-encoding: chunked", 200, None),
    ] {
        let origin = Origin::always(Answer::raw(&format!(
            "HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n"
        )));
        let edge = Edge::before(&origin).start();
        let response = edge.request("HEAD", "/").send().await;
        assert_eq!(response.status, status, "{lengths}");
        if status == 200 {
            let all: Vec<_> = response.head.all("content-length").collect();
            assert_eq!(all, Vec::from_iter(ours), "{lengths}");
        }
    }
}

#[tokio::test]
async fn an_unknown_coding_is_named_and_not_stored() {
    let origin = Origin::always(
        answer("text")
            .with("transfer-encoding", "foo")
            .with("cache-control", "max-age=60")
            .until_close(),
    );
    let edge = Edge::before(&origin).start();
    for requests in 1..3 {
        let response = edge.get("/").await;
        assert_eq!((response.text(), response.is_complete), ("text", true));
        assert_eq!(response.cache("detail"), Some("transfer-coding"));
        assert_eq!(response.get("transfer-encoding"), Some("chunked"));
        assert_eq!(origin.requests(), requests);
    }
}
