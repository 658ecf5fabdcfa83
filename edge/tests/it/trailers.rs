//! Trailer fields: passed on where they may be, and never a part of anything stored (RFC 9110 §6.5).

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};

use crate::support::{Answer, Edge, Origin, answer, http_2};

fn summed() -> Answer {
    answer("text")
        .chunked()
        .with(
            "trailer",
            "X-Sum, Content-Length, Set-Cookie, X-Forwarded-For",
        )
        .trailing("X-Sum", "1")
        .trailing("Content-Length", "9")
        .trailing("Set-Cookie", "a=b")
        .trailing("X-Forwarded-For", "192.0.2.1")
        .trailing("X-Undeclared", "2")
}

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

#[tokio::test]
async fn trailers_of_a_passed_response_reach_a_client_that_takes_them() {
    let origin = Origin::always(summed());
    let edge = Edge::before(&origin).route("cache = false").start();
    for (te, ours) in [
        (Some("trailers"), fields(&[("x-sum", "1")])),
        (Some("gzip, Trailers"), fields(&[("x-sum", "1")])),
        (Some("gzip"), Vec::new()),
        (None, Vec::new()),
    ] {
        let request = edge.request("GET", "/");
        let request = match te {
            Some(te) => request.with("te", te).with("connection", "te"),
            None => request,
        };
        let response = request.send().await;
        assert_eq!((response.text(), response.is_complete), ("text", true));
        assert_eq!(response.trailers, ours, "{te:?}");
        let announced = (!ours.is_empty()).then_some("x-sum");
        assert_eq!(response.get("trailer"), announced, "{te:?}");
        for name in ["x-sum", "x-undeclared", "set-cookie"] {
            assert_eq!(response.get(name), None, "never merged: {name}");
        }
        let told = origin.last();
        let takes = announced.map(|_| "trailers");
        assert_eq!(told.get("te"), takes, "RFC 9110 §10.1.4");
        assert_eq!(
            told.get("connection"),
            takes.map(|_| "te"),
            "RFC 9110 §10.1.4"
        );
    }
}

#[tokio::test]
async fn trailers_of_an_answer_to_a_write_are_passed_on() {
    let origin = Origin::always(summed());
    let edge = Edge::before(&origin).start();
    let response = edge
        .request("POST", "/")
        .with("te", "trailers")
        .body("x")
        .send()
        .await;
    assert_eq!(response.trailers, fields(&[("x-sum", "1")]));
}

#[tokio::test]
async fn a_stored_response_has_no_trailers_and_neither_has_the_miss_that_stored_it() {
    let origin = Origin::always(summed().with("cache-control", "max-age=60"));
    let edge = Edge::before(&origin).start();
    for status in ["fwd=uri-miss", "hit"] {
        let response = edge.request("GET", "/").with("te", "trailers").send().await;
        assert_eq!(response.cache_status(), status);
        assert_eq!((response.text(), response.is_complete), ("text", true));
        assert_eq!(response.trailers, Vec::new(), "{status}");
        for name in ["trailer", "x-sum", "x-undeclared"] {
            assert_eq!(response.get(name), None, "{status}, {name}");
        }
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_origin_as_far_as_they_may() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("[origins.app]\nheaders = { x-token = \"s3cret\" }")
        .start();
    let mut connection = edge.connect().await;
    connection
        .write(
            b"POST / HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\
            trailer: X-Sum, Host, Authorization, Cache-Control, X-Token, X-Told\r\nx-told: head\r\n\r\n\
            4\r\ntext\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: x\r\nCache-Control: no-store\r\n\
            X-Token: forged\r\nX-Told: forged\r\nX-Undeclared: 2\r\n\r\n",
        )
        .await;
    assert_eq!(connection.response().await.status, 200);
    let asked = origin.last();
    assert_eq!(asked.body, b"text");
    assert_eq!(asked.get("trailer"), Some("x-sum"));
    assert_eq!(asked.trailers, fields(&[("x-sum", "1")]));
    assert_eq!(asked.head.all("x-token").collect::<Vec<_>>(), ["s3cret"]);
    assert_eq!(asked.head.all("x-told").collect::<Vec<_>>(), ["head"]);
}

#[tokio::test]
async fn a_body_of_known_length_announces_no_trailers() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let request = edge.request("POST", "/").with("trailer", "x-sum");
    assert_eq!(request.body("text").send().await.status, 200);
    assert_eq!(origin.last().get("trailer"), None);
    assert_eq!(origin.last().get("content-length"), Some("4"));
}

#[tokio::test]
async fn trailers_pass_between_http_2_and_http_1() {
    let origin = Origin::always(summed());
    let edge = Edge::before(&origin).start();
    let mut sender = http_2(&edge).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", "3".parse().unwrap());
    trailers.insert("set-cookie", "a=b".parse().unwrap());
    let body = Full::new(Bytes::from("text")).with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = http::Request::post("http://edge.test/")
        .header("trailer", "x-check, set-cookie")
        .body(body)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(origin.last().trailers, fields(&[("x-check", "3")]));
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    assert_eq!(trailers.get("x-sum").unwrap(), "1");
    for name in ["content-length", "set-cookie", "x-forwarded-for"] {
        assert!(!trailers.contains_key(name), "{name}");
    }
    assert_eq!(collected.to_bytes(), "text");
}
