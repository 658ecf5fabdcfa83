//! `tidegate plugins`: an edge lists its plugins, and replaces them on order, without growing by it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::command::{Ended, finish, tidegate};
use crate::http;
use crate::process::Running;

/// A running edge whose only plugin is a file.
struct Edge {
    running: Running,
    admin: String,
    folder: TempDir,
}

impl Edge {
    fn start(number: u8) -> Edge {
        Edge::start_with(number, "")
    }

    /// One with more settings.
    fn start_with(number: u8, more: &str) -> Edge {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // A host of its own on this machine: no other process is given its ports.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let admin = format!("127.{}.{middle}.{low}:9090", 10 * number + high % 10);
        let settings = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin = "{admin}"
            workers = 1
            admin_token = "t0ken"
            [wasm]
            watch = "0s"
            cache = "code"
            [plugins."the limit"]
            file = "limit.wasm"
            [origins.app]
            url = "http://127.0.0.1:1"
            [[routes]]
            origin = "app"
            name = "all"
            [[routes.plugins]]
            name = "the limit"
            grants = ["limits", "config"]
             config = {{ windows = [{{ limit = 100000, seconds = 1 }}] }}
             {more}
            "#
        );
        fs::write(folder.path().join("edge.toml"), settings).unwrap();
        for name in ["limit.wasm", "idle.wasm"] {
            fs::write(folder.path().join(name), version(1)).unwrap();
        }
        let config = folder.path().join("edge.toml");
        let running = Running::start(tidegate().arg("run").arg("--config").arg(config));
        Edge {
            running,
            admin,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("limit.wasm")
    }

    fn plugins(&self, arguments: &[&str]) -> Ended {
        finish(self.command(arguments).env("TIDEGATE_ADMIN_TOKEN", "t0ken"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tidegate();
        command
            .arg("plugins")
            .args(arguments)
            .args(["--admin", &self.admin]);
        command
    }

    /// Reloads without a process for each.
    fn reload(&self, bytes: &[u8]) {
        fs::write(self.file(), bytes).unwrap();
        let token = [("authorization", "Bearer t0ken")];
        let told = http::send(&self.admin, "POST", "/plugins/reload", &token, "");
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(told.body.contains("\"changed\":true"), "{}", told.body);
    }
}

/// The filter, told apart from itself by a custom section.
fn version(number: u8) -> Vec<u8> {
    [tidegate_plugins::RATE_LIMIT, &[0, 3, 1, b'v', number]].concat()
}

#[test]
fn plugins_are_listed_and_reloaded() {
    let edge = Edge::start(7);
    let listed = edge.plugins(&[]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let lines: Vec<_> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.out);
    assert!(
        lines[0].starts_with("NAME       KIND    VERSION  SHA256"),
        "{}",
        listed.out
    );
    assert!(
        lines[1].starts_with("the limit  filter  1 "),
        "{}",
        listed.out
    );
    assert!(
        lines[1].contains("  all  ") && lines[1].ends_with("limit.wasm"),
        "{}",
        listed.out
    );

    let same = edge.plugins(&["reload", "the limit"]);
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(
        same.out.starts_with("the limit: unchanged, version 1 ("),
        "{}",
        same.out
    );
    fs::write(edge.file(), version(2)).unwrap();
    let newer = edge.plugins(&["reload"]);
    assert!(
        newer.out.starts_with("the limit: version 2 is used now ("),
        "{}",
        newer.out
    );

    fs::write(edge.file(), "half of a").unwrap();
    let refused = edge.plugins(&["reload", "the limit"]);
    assert_eq!((refused.code, &*refused.out), (Some(1), ""));
    assert!(refused.err.contains("is no component"), "{}", refused.err);
    let listed = edge.plugins(&[]);
    assert!(
        listed
            .out
            .contains("the limit: refused 0 s ago: plugin \"the limit\""),
        "{}",
        listed.out
    );
    let json = edge.plugins(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["plugins"][0]["version"], 2);

    let unknown = edge.plugins(&["reload", "a/b"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("no plugin named \"a/b\""),
        "{}",
        unknown.err
    );
    let stranger = finish(&mut edge.command(&[]));
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.err.contains("401"), "{}", stranger.err);
}

#[test]
fn what_was_reloaded_is_told_beside_what_was_not() {
    let edge = Edge::start_with(9, "[plugins.idle]\nfile = \"idle.wasm\"");
    fs::remove_file(edge.folder.path().join("idle.wasm")).unwrap();
    fs::write(edge.file(), version(2)).unwrap();
    let reloaded = edge.plugins(&["reload"]);
    assert_eq!(reloaded.code, Some(1), "{}", reloaded.out);
    assert!(
        reloaded
            .out
            .starts_with("the limit: version 2 is used now ("),
        "{}",
        reloaded.out
    );
    assert!(
        reloaded.err.contains("\"idle\": cannot read"),
        "{}",
        reloaded.err
    );
    let json = edge.plugins(&["reload", "--json"]);
    assert_eq!(json.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["plugins"][0]["plugin"], "the limit");
    assert_eq!(json["kept"][0]["plugin"], "idle");
}

#[test]
fn what_no_route_uses_is_said_to_be_used_by_none() {
    let edge = Edge::start_with(6, "[plugins.idle]\nfile = \"idle.wasm\"");
    fs::write(edge.folder.path().join("idle.wasm"), "half of a").unwrap();
    let reloaded = edge.plugins(&["reload", "idle"]);
    assert_eq!(reloaded.code, Some(0), "{}", reloaded.err);
    assert!(
        reloaded.out.starts_with("idle: no route uses it ("),
        "{}",
        reloaded.out
    );
}

#[test]
fn an_answer_of_something_else_than_an_edge_is_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap().to_string();
    let served = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).unwrap();
                assert_ne!(count, 0, "the request ended early");
                request.extend_from_slice(&part[..count]);
            }
            let page = "<h1>Not here</h1>";
            let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}", page.len());
            write!(stream, "{head}\r\nconnection: close\r\n\r\n{page}").unwrap();
        }
    });
    for more in [&[][..], &["--json"]] {
        let mut command = tidegate();
        let command = command.args(["plugins", "reload", "--admin", &other]);
        let reloaded = finish(command.args(more));
        assert_eq!((reloaded.code, &*reloaded.out), (Some(1), ""));
        assert!(
            reloaded.err.contains("404 Not Found") && !reloaded.err.contains("list of plugins"),
            "{}",
            reloaded.err
        );
    }
    served.join().unwrap();
}

#[test]
fn an_edge_does_not_grow_by_the_plugins_that_it_replaced() {
    const RELOADS: usize = 400;
    const MOST_GROWTH: u64 = 16 << 20;
    let edge = Edge::start(8);
    let versions = [version(1), version(2)];
    let mut first = 0;
    for number in 1..=RELOADS {
        edge.reload(&versions[number % 2]);
        // The filter lets it pass to an origin that is not there.
        assert_eq!(http::get(&edge.running.address, "/").status, 502);
        if number == RELOADS / 4 {
            first = edge.running.resident();
        }
    }
    let growth = edge.running.resident().saturating_sub(first);
    assert!(growth < MOST_GROWTH, "{growth} bytes more than {first}");
}
