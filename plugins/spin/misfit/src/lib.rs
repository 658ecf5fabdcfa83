//! A fixture: streams, and everything that a handler may do wrong. The path says what.
//!
//! Of the query, `status`, `body`, `count`, `size`, `url` and `method` are instructions; every other
//! pair becomes a field of the response: `?cache-control=max-age%3D60&surrogate-key=a`.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use spin_sdk::http::{
    BoxBody, EmptyBody, FullBody, IntoResponse, Request, Response, box_body, send,
};
use spin_sdk::wasip3::clocks::monotonic_clock::wait_for;
use spin_sdk::{http_service, wasip3};

/// How many requests this instance has seen.
static SEEN: AtomicU32 = AtomicU32::new(0);

#[http_service]
async fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    let query = Query::of(&request);
    let path = request.uri().path().to_owned();
    let body: BoxBody = match path.as_str() {
        // The request's body, while it arrives.
        "/echo" => box_body(request.into_body()),
        // `count` parts of `size` bytes.
        "/parts" => parts(query.number("count", 3), query.number("size", 1)),
        // What the guest was told.
        "/told" => full(told(request).await),
        // Which of its instance's requests this is.
        "/seen" => full(seen.to_string()),
        "/fetch" => return fetch(&query, request).await,
        "/trap" => panic!("as asked"),
        "/trap-after-head" => after_head(async || panic!("as asked")),
        "/loop" => spin_forever(),
        "/loop-after-head" => after_head(async || spin_forever()),
        "/hog" => hog(),
        "/hog-after-head" => after_head(async || hog()),
        "/recurse" => full(recurse(0).to_string()),
        // Waits for longer than anybody does.
        "/stall" => stall().await,
        "/stall-after-head" => after_head(async || stall().await),
        // Answers, and goes on: the body is whole before the guest is done. Without the pause the edge
        // would not come to see the answer.
        "/loop-after-answer" => {
            wasip3::spawn(async {
                wait_for(50_000_000).await;
                spin_forever()
            });
            full(query.body())
        }
        "/fail" => anyhow::bail!("as asked"),
        // Calls the edge over and over.
        "/flood" => loop {
            std::hint::black_box(wasip3::http::types::Fields::new());
        },
        // The same, and gives nothing back.
        "/litter" => loop {
            std::mem::forget(wasip3::http::types::Fields::new());
        },
        // `count` lines of `size` bytes.
        "/log" => {
            let line = "l".repeat(query.number("size", 10));
            for _ in 0..query.number("count", 1) {
                println!("{line}");
                eprintln!("{line}");
            }
            full(query.body())
        }
        "/environment" => full(format!(
            "{:?} {:?} {:?}",
            std::env::vars().collect::<Vec<_>>(),
            std::env::args().collect::<Vec<_>>(),
            std::fs::read_dir("/").map(|_| ())
        )),
        _ => full(query.body()),
    };
    query.response(body)
}

/// Sends a request to `url`, with the body of this one, and passes the answer on.
async fn fetch(query: &Query, request: Request) -> anyhow::Result<Response<BoxBody>> {
    let outbound = Request::builder()
        .method(query.get("method").unwrap_or("GET"))
        .uri(query.get("url").unwrap_or_default());
    let response = match query.get("method") {
        Some(_) => send(outbound.body(request.into_body())?).await,
        None => send(outbound.body(EmptyBody::new())?).await,
    };
    match response {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let mut response = query.response(box_body(body))?;
            *response.status_mut() = head.status;
            Ok(response)
        }
        Err(code) => query.response(full(format!("{code:?}"))),
    }
}

async fn told(request: Request) -> String {
    let mut told = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        told += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    told
}

fn parts(count: usize, size: usize) -> BoxBody {
    streamed(async move |mut parts| {
        for _ in 0..count {
            if parts.send(Bytes::from(vec![b'.'; size])).await.is_err() {
                break;
            }
        }
    })
}

/// A body whose first part is sent before `then` happens.
fn after_head(then: impl AsyncFnOnce() + 'static) -> BoxBody {
    streamed(async move |mut parts| {
        // The second is taken when the first has left this guest.
        for part in ["first", "second"] {
            let _ = parts.send(Bytes::from(part)).await;
            let _ = parts.flush().await;
        }
        then().await;
    })
}

fn streamed(write: impl AsyncFnOnce(mpsc::Sender<Bytes>) + 'static) -> BoxBody {
    // Not the SDK's own, which takes a thousand parts before it makes the writer wait.
    let (sender, parts) = mpsc::channel::<Bytes>(0);
    wasip3::spawn(async move { write(sender).await });
    let frames = parts.map(|part| Ok::<_, anyhow::Error>(Frame::data(part)));
    box_body(StreamBody::new(frames))
}

fn full(body: impl Into<Bytes>) -> BoxBody {
    box_body(FullBody::new(body.into()))
}

async fn stall() -> ! {
    loop {
        wait_for(1_000_000_000_000).await;
    }
}

fn spin_forever() -> ! {
    loop {
        std::hint::black_box(());
    }
}

fn hog() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "as asked")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1)) + 1)
}

/// The instructions of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request) -> Query {
        let query = request.uri().query().unwrap_or_default();
        Query(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    fn body(&self) -> String {
        self.get("body").unwrap_or("hello").to_owned()
    }

    fn response(&self, body: BoxBody) -> anyhow::Result<Response<BoxBody>> {
        let mut response = Response::builder().status(self.get("status").unwrap_or("200"));
        for (name, value) in &self.0 {
            if !["status", "body", "count", "size", "url", "method"].contains(&name.as_str()) {
                response = response.header(name, value);
            }
        }
        Ok(response.body(body)?)
    }
}
