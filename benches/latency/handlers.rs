//! A handler call: a component of `wasi:http` that says hello, in an instance made for the exchange
//! and in one that has served before.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use tidegate_edge::body::Body;
use tidegate_edge::clock::Clock;
use tidegate_edge::config::Route;
use tidegate_edge::egress::Egress;
use tidegate_edge::filters::{Capabilities, LocalLimits, Purge, PurgeOrder, Source, Use};
use tidegate_edge::handlers::{Handler, Handlers};
use tidegate_edge::keyvalue::KeyValue;
use tidegate_edge::telemetry::GuestMetrics;
use tokio::runtime::Builder;

use crate::messages::{NOW, request};

/// Which guest, and how often one instance serves.
const ROWS: [(&str, &str, u32); 4] = [
    ("wasi:http 0.3, fresh", "misfit", 1),
    ("wasi:http 0.3, reused", "misfit", 1_000_000),
    ("wasi:http 0.2, fresh", "misfit-classic", 1),
    ("wasi:http 0.2, reused", "misfit-classic", 1_000_000),
];

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handlers/hello");
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs only a few descriptors");
    for (row, guest, reuse) in ROWS {
        let handler = handler(guest, reuse);
        group.bench_function(row, |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        call(&handler).await;
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// A whole exchange, to the last byte of the answer.
async fn call(handler: &Handler) {
    let mut asked = Request::new(Body::Empty);
    *asked.uri_mut() = http::Uri::from_static("/hello");
    *asked.headers_mut() = request();
    let response = handler.call(asked).await.expect("this guest answers");
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await;
    assert_eq!(body.expect("and says hello").to_bytes(), "hello");
}

fn handler(guest: &str, reuse: u32) -> Handler {
    let source: Source = toml::from_str(&format!("file = \"builtin:{guest}\"\nreuse = {reuse}"))
        .expect("these lines are right");
    let route: Route = toml::from_str("").expect("all has defaults");
    let used: Use = toml::from_str("name = \"hello\"").expect("this line is right");
    let sources = [("hello".to_owned(), source)];
    let sources = sources.iter().map(|(name, source)| (name, source));
    let capabilities = Arc::new(Capabilities {
        limits: Arc::new(LocalLimits::new(1_000, || NOW.0)),
        purge: Arc::new(NoPurge),
        keyvalue: KeyValue::in_memory(1 << 20, Clock::system()),
        egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 bench"))),
        metrics: GuestMetrics::default(),
        clock: Clock::system(),
    });
    Handlers::load(sources, tidegate_plugins::spin::ALL)
        .and_then(|handlers| handlers.prepare(&route, &used))
        .expect("the fixture is a handler")
        .on_worker(capabilities, Clock::system())
}

/// A purge log for a guest that does not purge.
struct NoPurge;

impl Purge for NoPurge {
    fn purge<'a>(
        &'a self,
        _: PurgeOrder,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }
}
