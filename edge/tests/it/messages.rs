//! Messages from clients: what is refused, how connections go on (RFC 9110, RFC 9112).

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Edge, Gate, Origin, answer, http_2, patiently};

/// A request as bytes, and the status that refuses it.
const REFUSED: &[(&str, &str, u16)] = &[
    ("RFC 9112 §3.2, no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    (
        "RFC 9112 §3.2, no Host beside an absolute target",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §3.2, two",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §3.2, empty",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §7.2, a space",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §7.2, a user",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §7.2, a path",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §7.2, no port",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §3.2, no path",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §3.2.3",
        "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    ("RFC 9112 §3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (
        "RFC 9112 §3.2.2, not the Host's",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §3.2.2",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §9.3.6",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        501,
    ),
    (
        "RFC 9110 §9.3.8, it would show what the origin alone is told",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        501,
    ),
    ("RFC 9112 §5.1", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (
        "RFC 9112 §2.2, a bare CR",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        400,
    ),
    (
        "RFC 9110 §5.5, a NUL",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §6.3, two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        400,
    ),
    (
        "RFC 9112 §6.3, no length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        400,
    ),
    (
        "RFC 9112 §6.1, gzip",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "RFC 9112 §6.1, twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "RFC 9112 §6.1, two lines",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "RFC 9112 §6.3, not chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §6.3, not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "RFC 9112 §6.1, HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
];

#[tokio::test]
async fn what_could_be_meant_in_two_ways_is_refused_and_ends_the_connection() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (rule, bytes, status) in REFUSED {
        let mut connection = edge.connect().await;
        connection.write(bytes.as_bytes()).await;
        let refused = connection.response().await;
        assert_eq!(refused.status, *status, "{rule}");
        assert!(connection.is_closed().await, "{rule}");
    }
    assert_eq!(origin.requests(), 0, "nothing of it was forwarded");
}

#[tokio::test]
async fn heads_targets_and_bodies_have_their_limits() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server = { max_header_bytes = 32768, max_body_bytes = 10 }")
        .start();
    let long = |length| "a".repeat(length);
    let head = edge
        .request("GET", "/")
        .with("x-long", &long(40_000))
        .send()
        .await;
    assert_eq!(head.status, 431);
    let target = edge.get(&format!("/{}", long(16 << 10))).await;
    assert_eq!(target.status, 414);
    let body = edge.request("POST", "/").body(&long(11)).send().await;
    assert_eq!(
        (body.status, body.get("content-type")),
        (413, Some("application/problem+json"))
    );
    assert_eq!(origin.requests(), 0);
    let mut chunked = edge.connect().await;
    chunked
        .write(b"POST / HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n6\r\naaaaaa\r\n6\r\naaaaaa\r\n0\r\n\r\n")
        .await;
    assert_eq!(chunked.response().await.status, 413);
    let most = edge.request("POST", "/").body(&long(10)).send().await;
    assert_eq!((most.status, origin.last().body.len()), (200, 10));
}

#[tokio::test]
async fn a_length_beside_chunked_is_dropped_and_the_connection_ends() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut connection = edge.connect().await;
    connection
        .write(b"POST / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: edge.test\r\n\r\n")
        .await;
    assert_eq!(connection.response().await.status, 200);
    assert!(connection.is_closed().await);
    assert_eq!(
        (origin.requests(), origin.last().body),
        (1, b"abc".to_vec())
    );
    assert!(
        origin.last().get("content-length").is_none()
            || origin.last().get("transfer-encoding").is_none()
    );
}

#[tokio::test]
async fn a_request_that_no_route_fits_is_told_so() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .route("host = \"*.test\"\npath = \"/app\"")
        .start();
    for (host, path, status) in [
        ("edge.test", "/app/x", 200),
        ("edge.test:8080", "/app", 200),
        ("edge.test", "/apple", 404),
        ("edge.example", "/app", 404),
    ] {
        let response = edge.request("GET", path).with("host", host).send().await;
        assert_eq!(response.status, status, "{host}{path}");
        if status == 404 {
            assert_eq!(response.cache("detail"), Some("destination_not_found"));
        }
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_question_about_the_whole_server_reaches_the_origin() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let response = edge.request("OPTIONS", "*").send().await;
    assert_eq!((response.status, origin.last().target.as_str()), (200, "*"));
}

#[tokio::test]
async fn an_absolute_target_is_a_path_at_its_host() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (target, path) in [
        ("http://B.test:80/x?y", "/x?y"),
        ("http://b.test", "/"),
        ("http://b.test?y", "/?y"),
    ] {
        let response = edge
            .request("GET", target)
            .with("host", "b.test")
            .send()
            .await;
        assert_eq!(
            (response.status, origin.last().target.as_str()),
            (200, path)
        );
        assert_eq!(origin.last().get("host"), Some("b.test"));
    }
}

#[tokio::test]
async fn an_early_answer_to_a_body_that_waits_for_100_ends_the_connection() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut connection = edge.connect().await;
    connection
        .write(b"PURGE / HTTP/1.1\r\nhost: edge.test\r\nexpect: 100-continue\r\ncontent-length: 40\r\n\r\n")
        .await;
    let refused = connection.response().await;
    assert_eq!((refused.status, refused.interim.len()), (401, 0));
    assert!(
        connection.is_closed().await,
        "or the next request is taken for the body"
    );
}

#[tokio::test]
async fn a_body_that_waits_for_100_is_asked_for_where_it_is_wanted() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let request = edge
        .request("POST", "/")
        .with("expect", "100-continue")
        .body("text");
    let response = request.send().await;
    assert_eq!((response.status, response.interim[0].0), (200, 100));
    assert_eq!(origin.last().body, b"text");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin =
        Origin::by(|asked| answer(asked.target.clone()).with("cache-control", "max-age=60"));
    let edge = Edge::before(&origin).start();
    edge.get("/stored").await;
    let mut connection = edge.connect().await;
    let paths = ["/missing", "/stored", "/other", "/stored"];
    let requests: String = paths
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: edge.test\r\n\r\n"))
        .concat();
    connection.write(requests.as_bytes()).await;
    for path in paths {
        assert_eq!(connection.response().await.text(), path);
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_chunks_and_no_interim_responses() {
    let origin = Origin::always(answer("text").chunked().informing(103, "link", "</a.css>"));
    let edge = Edge::before(&origin).start();
    let mut connection = edge.connect().await;
    connection
        .write(b"GET / HTTP/1.0\r\nhost: edge.test\r\n\r\n")
        .await;
    let response = connection.response().await;
    assert_eq!(
        (response.text(), response.interim.len()),
        ("text", 0),
        "RFC 9110 §15.2"
    );
    assert_eq!(response.get("transfer-encoding"), None);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_shares_the_cache() {
    let origin = Origin::answers("both").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let mut sender = http_2(&edge).await;
    for (path, status) in [("/", "hit"), ("/new", "fwd=uri-miss")] {
        let request = http::Request::get(format!("http://edge.test{path}"));
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        let ours = response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(ours.starts_with(&format!("tidegate; {status}")), "{ours}");
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "both"
        );
    }
    assert_eq!(origin.last().get("host"), Some("edge.test"));
}

#[tokio::test]
async fn an_empty_path_before_a_query_is_the_root_to_the_cache_and_to_purges() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    assert_eq!(
        edge.get("http://edge.test?x").await.cache_status(),
        "fwd=uri-miss"
    );
    assert_eq!(
        edge.get("/?x").await.cache_status(),
        "hit",
        "RFC 9110 §4.2.3"
    );
    for order in [
        "{\"urls\": [\"http://edge.test?x\"]}",
        "{\"prefixes\": [\"edge.test?x\"]}",
        "{\"urls\": [\"http://edge.test/?x\"]}",
    ] {
        assert_eq!(edge.order(order).await.status, 200, "{order}");
        let again = edge.get("http://edge.test?x").await;
        assert_ne!(again.cache_status(), "hit", "{order}");
    }
}

#[tokio::test]
async fn the_crumbs_of_a_cookie_are_put_together() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut sender = http_2::<Empty<Bytes>>(&edge).await;
    let request = http::Request::get("http://edge.test/")
        .header("cookie", "a=1")
        .header("cookie", "b=2; c=3")
        .header("cookie", "d=4");
    let answered = sender.send_request(request.body(Empty::new()).unwrap());
    assert_eq!(answered.await.unwrap().status(), 200);
    let asked = origin.last();
    let cookies: Vec<_> = asked.head.all("cookie").collect();
    assert_eq!(cookies, ["a=1; b=2; c=3; d=4"], "RFC 9113 §8.2.3");
}

#[tokio::test]
async fn a_preface_in_pieces_begins_http_2() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut stream = TcpStream::connect(edge.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in ["P", "R", "I * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        edge.settled().await;
    }
    // SETTINGS, empty.
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut frame = [0; 9];
    patiently("SETTINGS", stream.read_exact(&mut frame))
        .await
        .unwrap();
    assert_eq!(frame[3], 4, "RFC 9113 §3.4");
}

/// What is refused before its body was read, and with which status.
const EARLY: &[(&str, &str, u16)] = &[
    (
        "a length over the limit",
        "POST / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: 8388608\r\n\r\n",
        413,
    ),
    (
        "more chunks than the limit",
        "POST / HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n800000\r\n",
        413,
    ),
    (
        "no token",
        "PURGE / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: 8388608\r\n\r\n",
        401,
    ),
    (
        "no route",
        "POST /nowhere HTTP/1.1\r\nhost: elsewhere\r\ncontent-length: 8388608\r\n\r\n",
        404,
    ),
    (
        "a request that could be meant in two ways",
        "POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 8388608\r\n\r\n",
        400,
    ),
    (
        "no length at all",
        "POST / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: x\r\n\r\n",
        400,
    ),
];

#[tokio::test]
async fn a_client_that_is_still_sending_gets_to_read_why_it_is_refused() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.max_body_bytes = 10")
        .route("host = \"edge.test\"")
        .start();
    // More than the sockets hold: without somebody who reads it, it does not get away.
    let body = vec![b'x'; 8 << 20];
    for (what, head, status) in EARLY {
        let mut connection = edge.connect().await;
        connection.write(head.as_bytes()).await;
        // A reset would overtake the answer, in some clients.
        assert!(connection.is_taken(&body).await, "RFC 9112 §9.6, {what}");
        let refused = connection.answer_to("POST").await;
        let refused = refused.map(|refused| (refused.status, refused.is_complete));
        assert_eq!(refused, Some((*status, true)), "{what}");
        assert!(connection.is_closed().await, "{what}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn an_origin_that_answers_early_and_goes_is_heard() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = origin.local_addr().unwrap();
    let refusing = std::thread::spawn(move || {
        for _ in 0..8 {
            let (mut stream, _) = origin.accept().unwrap();
            let mut head = [0; 64];
            std::io::Read::read_exact(&mut stream, &mut head).unwrap();
            let refusal = b"HTTP/1.1 403 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
            std::io::Write::write_all(&mut stream, refusal).unwrap();
            // Dropped with bytes unread, it resets the connection.
        }
    });
    let unused = Origin::answers("x");
    let edge = Edge::before(&unused)
        .with(&format!("origins.app.url = \"http://{address}\""))
        .start();
    let body = "x".repeat(4 << 20);
    for _ in 0..8 {
        let refused = edge.request("POST", "/").body(&body).send().await;
        assert_eq!((refused.status, refused.text()), (403, "no"));
    }
    refusing.join().unwrap();
}

#[tokio::test]
async fn an_http_1_0_client_sees_that_a_response_broke_off() {
    for route in ["cache = true", "cache = false"] {
        let gate = Gate::closed();
        let scripted = answer("half").then(&gate, "").chunked().breaking_off();
        let origin = Origin::always(scripted.with("cache-control", "max-age=60"));
        let edge = Edge::before(&origin).route(route).start();
        let mut stream = TcpStream::connect(edge.address()).await.unwrap();
        let request = b"GET / HTTP/1.0\r\nhost: edge.test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // Its head is there, and the first half of its body.
        let mut read = Vec::new();
        while !read.ends_with(b"half") {
            let more = patiently("the first half", stream.read_buf(&mut read)).await;
            assert!(more.unwrap() > 0);
        }
        gate.open();
        let end = patiently("the end", stream.read_buf(&mut read)).await;
        let reset = end.expect_err("an end would complete the body");
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset, "{route}");
    }
}

#[tokio::test]
async fn an_early_answer_over_http_2_ends_its_stream_and_nothing_else() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.max_body_bytes = 10")
        .start();
    let mut sender = http_2(&edge).await;
    for (length, status) in [(8 << 20, 413), (10, 200), (11, 413), (0, 200)] {
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; length]));
        let request = http::Request::post("http://edge.test/").body(body).unwrap();
        let answered = patiently("an answer", sender.send_request(request)).await;
        assert_eq!(answered.unwrap().status(), status, "{length}");
    }
    assert_eq!(origin.requests(), 2);
}
