//! `tidegate purge` fails when the edge does not take it, and says what the edge said; `tidegate purges` shows the list.

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
        let is_whole = |request: &str| match request.starts_with("GET ") {
            true => request.ends_with("\r\n\r\n"),
            false => request.ends_with('}'),
        };
        while !is_whole(&request) {
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
fn an_order_that_makes_no_sense_to_the_edge_ends_with_2() {
    for (answer, code) in [
        ("400 Bad Request", 2),
        ("429 Too Many Requests", 1),
        ("503 Service Unavailable", 1),
    ] {
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 11\r\n\r\nwhat it is\n").leak();
        let (admin, served) = answering(answer);
        let ended = finish(tidegate().args(["purge", "--tag", "a b", "--admin", &admin]));
        served.join().unwrap();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains("what it is"), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
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

#[test]
fn whoever_waits_for_edges_is_told_which_have_not_applied_it() {
    const RECEIPT: &str = r#"{"position":"p","records":1,"edges":[{"instance":"a1","region":"fra","state":"applied","applied_ms":3},{"instance":"b2","region":"ams","state":"silent"},{"instance":"c3","region":"sin","state":"waiting"}]}"#;
    let answer = |status: &str| {
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{RECEIPT}",
            RECEIPT.len()
        );
        answering(answer.leak())
    };
    for (status, code, told) in [
        ("200 OK", 0, ""),
        ("202 Accepted", 1, "b2 (ams) is silent, c3 (sin) is waiting"),
    ] {
        let (admin, served) = answer(status);
        let arguments = [
            "purge",
            "--all",
            "--wait",
            "all",
            "--timeout",
            "5s",
            "--admin",
            &admin,
        ];
        let ended = finish(tidegate().args(arguments));
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert_eq!(ended.out.trim_end(), RECEIPT, "for scripts, either way");
        assert!(ended.err.contains(told), "{}", ended.err);
        let request = served.join().unwrap();
        let order = r#"{"all":true,"timeout":"5000ms","wait":"all"}"#;
        assert!(request.ends_with(order), "{request}");
    }
}

#[test]
fn what_cannot_be_waited_for_is_a_mistake_of_the_command() {
    for arguments in [
        ["--wait", "everybody"],
        ["--timeout", "soon"],
        ["--timeout", "5"],
    ] {
        let ended = finish(tidegate().args(["purge", "--all"]).args(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(arguments[1]), "{}", ended.err);
    }
}

#[test]
fn recent_purges_are_shown_with_their_spread() {
    const LIST: &str = r#"{"purges":[{"position":"p","at":0,"scope":"tag","value":"cour\u001bses","mode":"soft","applied":1,"max_ms":12,"edges":[{"instance":"a1","region":"fra","state":"applied","applied_ms":12},{"instance":"b2","region":"ams","state":"waiting"}]},{"position":"o","at":99999999999999,"scope":"all","mode":"hard","applied":0,"edges":[]}]}"#;
    let list = || {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{LIST}",
            LIST.len()
        );
        answering(answer.leak())
    };
    let (admin, served) = list();
    let arguments = ["purges", "--limit", "7", "--admin", &admin];
    let ended = finish(
        tidegate()
            .args(arguments)
            .env("TIDEGATE_ADMIN_TOKEN", "secret"),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.out);
    for part in [
        " d ",
        "1/2 (b2 waiting)",
        "12 ms",
        "soft",
        "tag",
        "cour\u{fffd}ses",
    ] {
        assert!(lines[1].contains(part), "{part} in {}", ended.out);
    }
    for part in ["0 s", "0/0", "hard", "all"] {
        assert!(lines[2].contains(part), "{part} in {}", ended.out);
    }
    let request = served.join().unwrap();
    assert!(
        request.starts_with("GET /purges?limit=7 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer secret\r\n"),
        "{request}"
    );

    let (admin, served) = list();
    let ended = finish(tidegate().args(["purges", "--json", "--admin", &admin]));
    served.join().unwrap();
    assert_eq!((ended.code, ended.out.trim_end()), (Some(0), LIST));
}

#[test]
fn a_list_of_purges_that_is_none_is_said() {
    for answer in [
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\nno token\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let (admin, served) = answering(answer);
        let ended = finish(tidegate().args(["purges", "--admin", &admin]));
        served.join().unwrap();
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains(&admin), "{}", ended.err);
    }
}
