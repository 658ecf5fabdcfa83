//! What a message loses and gains on its way through, and how origins are reached (RFC 9110 §7.6).

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::{Answer, Edge, Fields, Gate, Origin, answer, http_2, patiently};

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_stay_on_their_hop() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    edge.request("GET", "/")
        .with("connection", "keep-alive, x-mine")
        .with("x-mine", "1")
        .with("keep-alive", "timeout=5")
        .with("te", "trailers")
        .with("proxy-connection", "keep-alive")
        .with("x-other", "2")
        .send()
        .await;
    for name in [
        "connection",
        "x-mine",
        "keep-alive",
        "te",
        "proxy-connection",
    ] {
        assert_eq!(origin.last().get(name), None, "{name}");
    }
    assert_eq!(origin.last().get("x-other"), Some("2"));
}

#[tokio::test]
async fn via_and_the_forwarded_fields_tell_where_a_message_came_along() {
    let origin = Origin::answers("x").with("via", "1.1 far");
    let edge = Edge::before(&origin).start();
    let response = edge
        .request("GET", "/")
        .with("via", "1.0 near")
        .with("x-forwarded-for", "192.0.2.1")
        .with("x-forwarded-host", "forged")
        .with("x-forwarded-proto", "forged")
        .send()
        .await;
    let asked = origin.last();
    let all = |name: &'static str| asked.head.all(name).collect::<Vec<_>>();
    assert_eq!(all("via"), ["1.0 near", "1.1 tidegate"]);
    assert_eq!(all("x-forwarded-for"), ["192.0.2.1", "127.0.0.1"]);
    assert_eq!(all("x-forwarded-host"), ["edge.test"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(
        response.head.all("via").collect::<Vec<_>>(),
        ["1.1 far", "1.1 tidegate"]
    );
}

#[tokio::test]
async fn an_origins_own_settings_reach_it() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("[server]\nclient_address_header = \"x-client\"")
        .with("[origins.app]\nhost = \"inner.test\"\nheaders = { x-token = \"s3cret\" }")
        .start();
    let request = edge
        .request("GET", "/")
        .with("x-client", "192.0.2.9")
        .with("x-token", "forged");
    request.send().await;
    let asked = origin.last();
    assert_eq!(asked.head.all("host").collect::<Vec<_>>(), ["inner.test"]);
    assert_eq!(asked.head.all("x-token").collect::<Vec<_>>(), ["s3cret"]);
    assert_eq!(asked.get("x-forwarded-for"), Some("192.0.2.9"));
}

/// Whether a front is trusted, what it says, and what the origin is told.
const FRONTS: &[(bool, Fields, Option<&str>, Option<&str>)] = &[
    (true, &[("x-forwarded-proto", "https")], Some("https"), None),
    (true, &[("x-forwarded-proto", "HTTPS")], Some("https"), None),
    (true, &[("x-forwarded-proto", "http")], Some("http"), None),
    (true, &[("x-forwarded-proto", "ftp")], Some("http"), None),
    (true, &[], Some("http"), None),
    (
        true,
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "http"),
        ],
        Some("http"),
        None,
    ),
    (
        true,
        &[("forwarded", "for=192.0.2.1")],
        Some("http"),
        Some("for=192.0.2.1"),
    ),
    (false, &[("x-forwarded-proto", "https")], Some("http"), None),
    (
        false,
        &[("forwarded", "for=192.0.2.1;proto=https")],
        Some("http"),
        None,
    ),
];

#[tokio::test]
async fn only_a_trusted_front_is_believed_about_the_scheme_and_the_way_before() {
    let origin = Origin::answers("x");
    for (is_trusted, fields, scheme, forwarded) in FRONTS {
        let mut edge = Edge::before(&origin);
        if *is_trusted {
            edge = edge.with("server.client_address_header = \"x-client\"");
        }
        let edge = edge.start();
        edge.request("GET", "/").with_all(fields).send().await;
        let asked = origin.last();
        let told = (asked.get("x-forwarded-proto"), asked.get("forwarded"));
        assert_eq!(told, (*scheme, *forwarded), "{is_trusted} {fields:?}");
        assert_eq!(asked.head.all("x-forwarded-proto").count(), 1, "{fields:?}");
    }
}

/// Asks until the origin has seen one connection twice: then it is kept.
async fn keep_a_connection(origin: &Origin, edge: &Edge) {
    let work = async {
        loop {
            edge.get("/warm").await;
            edge.get("/warm").await;
            let requests = origin.requests();
            if origin.request(requests - 1).connection == origin.request(requests - 2).connection {
                return;
            }
        }
    };
    patiently("a connection that is kept", work).await;
    edge.settled().await;
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced_once_where_that_is_safe() {
    for (method, body, status, tries) in [
        ("GET", None, 200, 2),
        ("HEAD", None, 200, 2),
        ("DELETE", None, 200, 2),
        ("POST", None, 502, 1),
        ("POST", Some("text"), 502, 1),
        ("PUT", Some("text"), 502, 1),
    ] {
        let origin = Origin::answers("x");
        let edge = Edge::before(&origin).start();
        keep_a_connection(&origin, &edge).await;
        let before = origin.requests();
        origin.next(Answer::hang_up());
        let request = edge.request(method, "/");
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        assert_eq!(request.send().await.status, status, "{method} {body:?}");
        assert_eq!(origin.requests() - before, tries, "{method} {body:?}");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_replaced() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    origin.next(Answer::hang_up());
    assert_eq!(edge.get("/").await.status, 502);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn what_an_origin_may_not_send_is_a_bad_gateway() {
    for (what, bytes) in [
        (
            "an unknown coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a switch nobody asked for",
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        ),
        ("no status", "HTTP/1.1 OK\r\n\r\n"),
    ] {
        let origin = Origin::always(Answer::raw(bytes));
        let edge = Edge::before(&origin).start();
        assert_eq!(edge.get("/").await.status, 502, "{what}");
    }
}

#[tokio::test]
async fn interim_responses_come_in_order_on_a_miss_and_never_on_a_hit() {
    let scripted = answer("x").with("cache-control", "max-age=60");
    let scripted = scripted
        .informing(102, "x-step", "1")
        .informing(103, "link", "</a.css>");
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin).start();
    let miss = edge.get("/").await;
    let interim: Vec<_> = miss
        .interim
        .iter()
        .map(|(status, head)| (*status, head.fields.clone()))
        .collect();
    let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(
        interim,
        [
            (102, field("x-step", "1")),
            (103, field("link", "</a.css>"))
        ]
    );
    assert_eq!((miss.text(), miss.get("link")), ("x", None), "never merged");
    let hit = edge.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.interim.len(), hit.get("link")),
        ("hit", 0, None)
    );

    let silent = Edge::before(&origin)
        .with("server.interim_responses = false")
        .start();
    assert_eq!(silent.get("/").await.interim.len(), 0);
}

#[tokio::test]
async fn a_request_that_was_sent_reaches_the_origin_at_most_twice() {
    let gate = Gate::closed();
    let origin = Origin::always(answer("x").after(&gate));
    let edge = Edge::before(&origin).start();
    // Three connections that are kept.
    let mut asking = Vec::new();
    for path in ["/0", "/1", "/2"] {
        asking.push(edge.request("GET", path).begin().await);
    }
    origin.asked_for(3).await;
    gate.open();
    for connection in &mut asking {
        assert_eq!(connection.response().await.status, 200);
    }
    edge.settled().await;
    origin.now(Answer::hang_up());
    assert_eq!(edge.get("/").await.status, 502);
    assert_eq!(origin.requests() - 3, 2);
}

#[tokio::test]
async fn routes_to_one_origin_share_its_connections() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("[[routes]]\npath = \"/warm\"\norigin = \"app\"\n[[routes]]\norigin = \"app\"")
        .start();
    keep_a_connection(&origin, &edge).await;
    let kept = origin.last().connection;
    edge.get("/other").await;
    assert_eq!(origin.last().connection, kept);
}

#[tokio::test]
async fn interim_responses_do_not_put_off_the_timeout() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = origin.local_addr().unwrap();
    let informing = std::thread::spawn(move || {
        let (mut stream, _) = origin.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        // Often enough that no timeout passes without one, until the edge goes.
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        while stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            .is_ok()
        {
            if stream.read(&mut [0; 1]).is_ok() {
                return;
            }
        }
    });
    let unused = Origin::answers("x");
    let edge = Edge::before(&unused)
        .with(&format!(
            "origins.app = {{ url = \"http://{address}\", timeout = \"100ms\" }}"
        ))
        .start();
    let response = patiently("a timeout", edge.get("/")).await;
    assert_eq!(response.status, 504);
    drop(edge);
    informing.join().unwrap();
}

#[tokio::test]
async fn interim_responses_lose_what_ends_at_this_hop() {
    let scripted = answer("x")
        .informing(
            103,
            "link",
            "</a.css>\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: 5\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\nupgrade: x",
        )
        .informing(100, "x-ours", "1")
        .informing(199, "x-unknown", "1")
        .informing(103, "link", "</b.js>");
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin).start();
    let response = edge.get("/").await;
    let interim: Vec<_> = response
        .interim
        .iter()
        .map(|(status, head)| (*status, head.fields.as_slice()))
        .collect();
    let field = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
    assert_eq!(
        interim,
        [
            (103, &field("link", "</a.css>")[..]),
            (199, &field("x-unknown", "1")[..]),
            (103, &field("link", "</b.js>")[..]),
        ],
        "RFC 9110 §15.2; 100 is between each two neighbours"
    );
}

#[tokio::test]
async fn an_interim_response_reaches_only_who_waits_for_the_answer() {
    let origin = Origin::always(
        answer("x")
            .with("etag", "\"1\"")
            .with("cache-control", "max-age=1, stale-while-revalidate=60"),
    );
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let gate = Gate::closed();
    let renewed = answer("")
        .status(304)
        .with("cache-control", "max-age=60")
        .informing(103, "link", "</a.css>")
        .after(&gate);
    origin.now(renewed.clone());
    edge.clock.advance(Duration::from_secs(2));
    // Behind the backs of those who are served what is stale.
    let mut connection = edge.request("GET", "/").begin().await;
    let stale = connection.response().await;
    assert_eq!((stale.text(), stale.interim.len()), ("x", 0));
    origin.asked_for(2).await;
    gate.open();
    edge.settled().await;
    connection
        .write(b"GET / HTTP/1.1\r\nhost: edge.test\r\n\r\n")
        .await;
    assert_eq!(connection.response().await.interim.len(), 0);
    // Before one who waits for the validation.
    edge.clock.advance(Duration::from_secs(200));
    let validated = edge.get("/").await;
    assert_eq!((validated.status, validated.text()), (200, "x"));
    let interim: Vec<_> = validated
        .interim
        .iter()
        .map(|(status, _)| *status)
        .collect();
    assert_eq!(interim, [103]);
    assert_eq!(validated.get("link"), None, "never merged");
}

#[tokio::test]
async fn a_client_that_reads_late_gets_the_interim_responses_that_fit_and_the_answer() {
    let mut scripted = answer("x");
    for number in 0..2000 {
        scripted = scripted.informing(103, "x-number", &number.to_string());
    }
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin).start();
    let mut connection = edge.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    edge.settled().await;
    let response = connection.response().await;
    assert_eq!((response.status, response.text()), (200, "x"));
    let numbers: Vec<usize> = response
        .interim
        .iter()
        .map(|(_, head)| head.get("x-number").unwrap().parse().unwrap())
        .collect();
    assert!(!numbers.is_empty() && numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn interim_responses_are_not_relayed_over_http_2() {
    let origin = Origin::always(answer("x").informing(103, "link", "</a.css>"));
    let edge = Edge::before(&origin).start();
    let mut sender = http_2(&edge).await;
    let request = http::Request::get("http://edge.test/");
    let body = http_body_util::Empty::<bytes::Bytes>::new();
    let response = sender.send_request(request.body(body).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"), "never merged");
}

#[tokio::test]
async fn methods_and_statuses_that_nobody_knows_pass_through() {
    let origin = Origin::by(|asked| {
        let status = asked.target.trim_start_matches('/').parse();
        answer("x").status(status.unwrap_or(200))
    });
    let edge = Edge::before(&origin).start();
    for status in [218, 299, 399, 418, 499, 599, 600, 999] {
        let response = edge.get(&format!("/{status}")).await;
        assert_eq!((response.status, response.text()), (status, "x"));
        let line = format!("HTTP/1.1 {status} Scripted");
        assert_eq!(response.head.line, line, "its reason as well");
    }
    for method in ["BREW", "brew", "M-SEARCH", "REPORT", "QUERY"] {
        let response = edge.request(method, "/").body("text").send().await;
        assert_eq!((response.status, response.text()), (200, "x"), "{method}");
        let asked = origin.last();
        assert_eq!(
            (asked.method.as_str(), asked.body.as_slice()),
            (method, &b"text"[..])
        );
    }
}
