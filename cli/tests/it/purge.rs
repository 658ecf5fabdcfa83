//! `tidegate purge` fails when the edge does not take it, and says what the edge said.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::command::{finish, tidegate};

/// An admin listener that answers one request so; returns what was sent to it.
fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
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
        stream
            .write_all(answer.as_bytes())
            .expect("the answer can be sent");
        request
    });
    (address, served)
}

#[test]
fn it_sends_what_was_asked_for_with_the_token_and_prints_the_receipt() {
    let (admin, served) = answering("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"seq\":\"1\"}");
    let arguments = [
        "purge", "--tag", "a", "--tag", "b", "--soft", "--admin", &admin,
    ];
    let ended = finish(
        tidegate()
            .args(arguments)
            .env("TIDEGATE_ADMIN_TOKEN", "secret"),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "{\"seq\":\"1\"}\n");
    let request = served.join().unwrap();
    assert!(request.starts_with("POST /purge HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: Bearer secret\r\n"),
        "{request}"
    );
    assert!(
        request.ends_with(r#"{"soft":true,"tags":["a","b"]}"#),
        "{request}"
    );
}

#[test]
fn a_refusal_ends_with_1_and_is_shown() {
    let (admin, served) =
        answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\nno token\n");
    let ended = finish(tidegate().args(["purge", "--all", "--admin", &admin]));
    served.join().unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("401") && ended.err.contains("no token"),
        "{}",
        ended.err
    );
}

#[test]
fn an_edge_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let ended = finish(tidegate().args(["purge", "--all", "--admin", &free]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains(&free), "{}", ended.err);
}
