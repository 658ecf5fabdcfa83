//! `tidegate explain` asks an edge, and says in one line why it got no explanation.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use crate::command::{Ended, finish, tidegate};

/// An admin listener that answers one request with this status and body; returns what it was sent.
fn answering(status: &'static str, body: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    let address = listener.local_addr().expect("it is bound").to_string();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let mut request = String::new();
        let mut part = [0; 4096];
        while !request.ends_with('}') {
            let count = stream.read(&mut part).expect("the request can be read");
            assert_ne!(count, 0, "the request ended early: {request}");
            request.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream
            .write_all(answer.as_bytes())
            .expect("the answer can be sent");
        request
    });
    (address, served)
}

fn explain(admin: &str, more: &[&str]) -> Ended {
    let arguments = ["explain", "http://a.example/", "--admin", admin];
    finish(tidegate().args(arguments).args(more))
}

#[test]
fn every_field_is_sent_also_two_of_one_name_and_the_origin() {
    let (admin, served) = answering("200 OK", r#"{"decision":"fwd=uri-miss","steps":[]}"#);
    let ended = explain(
        &admin,
        &["-H", "accept: a", "-H", "accept: b", "--origin", "canary"],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.ends_with("fwd=uri-miss\n"), "{}", ended.out);
    let request = served.join().unwrap();
    let fields = r#""headers":[["accept","a"],["accept","b"]]"#;
    assert!(request.contains(fields), "{request}");
    assert!(request.contains(r#""origin":"canary""#), "{request}");
}

#[test]
fn what_the_edge_refuses_is_told_by_its_detail() {
    for (status, body, code, told) in [
        (
            "400 Bad Request",
            r#"{"status":400,"detail":"url \"/a\" is not absolute"}"#,
            2,
            &["url \"/a\" is not absolute"][..],
        ),
        (
            "401 Unauthorized",
            r#"{"status":401,"detail":"explaining needs the admin token"}"#,
            1,
            &["401", "needs the admin token", "TIDEGATE_ADMIN_TOKEN"],
        ),
        (
            "502 Bad Gateway",
            "no edge here\n",
            1,
            &["502", "no edge here"],
        ),
    ] {
        let (admin, served) = answering(status, body);
        let ended = explain(&admin, &[]);
        served.join().unwrap();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        for part in told {
            assert!(ended.err.contains(part), "{}", ended.err);
        }
        assert!(!ended.err.contains('{'), "{}", ended.err);
    }
}

#[test]
fn an_edge_that_is_not_there_is_named_and_how_to_name_another() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let ended = explain(&free, &[]);
    assert_eq!(ended.code, Some(1));
    for part in [&free, "--admin"] {
        assert!(ended.err.contains(part), "{}", ended.err);
    }
}
