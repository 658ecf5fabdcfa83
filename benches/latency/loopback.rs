//! Whole exchanges over loopback on kept connections: a client, an edge with one worker and, behind
//! it, a small origin, each on a thread of its own.
//!
//! A round trip crosses the kernel several times and wakes a thread each time. The two floors tell
//! how much of it that is: an echo of as many bytes, and the origin asked without an edge.

#[path = "../support/client.rs"]
mod client;
#[path = "../support/origin.rs"]
mod origin;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use criterion::Criterion;
use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use crate::filters::RATE_LIMIT;
use client::Client;

pub(crate) fn benches(criterion: &mut Criterion) {
    let origin = origin::start();
    let edge = edge(origin);
    floors(criterion, origin);
    exchanges(criterion, edge.addr());
}

fn floors(criterion: &mut Criterion, origin: SocketAddr) {
    let mut group = criterion.benchmark_group("loopback/floor");
    let mut client = Client::connect(echo());
    group.bench_function("an echo of as many bytes", |bencher| {
        bencher.iter(|| {
            client.get("/page");
        });
    });
    let mut client = Client::connect(origin);
    group.bench_function("the origin without an edge", |bencher| {
        bencher.iter(|| {
            client.get("/page");
        });
    });
    group.finish();
}

fn exchanges(criterion: &mut Criterion, edge: SocketAddr) {
    let mut group = criterion.benchmark_group("loopback/edge");
    let mut client = Client::connect(edge);
    for (name, path, status) in [
        ("a hit", "/page", "; hit"),
        ("a hit behind the rate limit", "/limited/page", "; hit"),
        ("an exchange that is not stored", "/unstored/page", "fwd="),
    ] {
        client.get(path);
        let head = client.get(path);
        assert!(head.contains(status), "{name}: {head}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                client.get(path);
            });
        });
    }
    // Each miss has a URL of its own, and is stored.
    let head = client.get("/page/0");
    assert!(head.contains("fwd="), "a miss: {head}");
    let mut number = 0_u64;
    group.bench_function("a miss", |bencher| {
        bencher.iter(|| {
            number += 1;
            client.get(&format!("/page/{number}"));
        });
    });
    group.finish();
}

fn edge(origin: SocketAddr) -> Edge {
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        workers = 1
        [origins.default]
        url = "http://{origin}"
        [plugins.rate-limit]
        file = "builtin:rate-limit"
        [[routes]]
        path = "/limited"
        origin = "default"
        [[routes.plugins]]
        {RATE_LIMIT}
        [[routes]]
        origin = "default"
        "#
    );
    let config = Config::from_toml(&config, "benchmark").expect("the configuration is right");
    let options = Options {
        builtin_plugins: tidegate_plugins::ALL,
        ..Options::default()
    };
    Edge::start(config, options).expect("an edge starts on a free port")
}

/// A thread that answers whatever it reads with the head and body of a page, without looking.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let address = listener.local_addr().expect("a bound listener");
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut request = [0; 4 << 10];
        let page = page();
        while stream.read(&mut request)? > 0 {
            stream.write_all(&page)?;
        }
        Ok(())
    });
    address
}

/// As many bytes as an answer of it has, about, and well-formed.
fn page() -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\n\
        content-type: text/html; charset=utf-8\r\n\
        cache-control: max-age=3600\r\n\
        etag: \"33a64df551425fcc\"\r\n\
        surrogate-key: courses course:7 teacher:12 term:2033-2 page\r\n\
        content-length: 1024\r\n\
        date: Sun, 06 Nov 2033 08:49:37 GMT\r\n\r\n"
        .to_vec();
    bytes.extend(origin::BODY);
    bytes
}
