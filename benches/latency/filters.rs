//! A filter call: the bundled rate limit, in an instance made for the exchange.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, StatusCode};
use tidegate_edge::clock::Clock;
use tidegate_edge::egress::Egress;
use tidegate_edge::filters::{
    Capabilities, Chain, Flow, LocalLimits, Plugins, Purge, PurgeOrder, Source, Subject, Use,
};
use tidegate_edge::keyvalue::KeyValue;
use tidegate_edge::telemetry::GuestMetrics;
use tokio::runtime::Builder;

use crate::messages::{NOW, PATH, request};

/// A limit that a benchmark does not reach, in a route's own words.
pub(crate) const RATE_LIMIT: &str = r#"
name = "rate-limit"
grants = ["limits"]
deadline = "1s"
config = { name = "api", windows = [{ limit = 100_000_000, seconds = 3_600 }] }
"#;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filters/rate-limit in a fresh instance");
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs only a few descriptors");
    let chain = chain();
    let capabilities = Arc::new(Capabilities {
        limits: Arc::new(LocalLimits::new(1_000, || NOW.0)),
        purge: Arc::new(NoPurge),
        keyvalue: KeyValue::in_memory(1 << 20, Clock::system()),
        egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 bench"))),
        metrics: GuestMetrics::default(),
        clock: Clock::system(),
    });
    group.bench_function("on-request", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut subject = subject();
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..rounds {
                    let mut filters = chain.begin(&capabilities);
                    expect_continue(&filters.on_request(&mut subject).await);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("on-request and on-response", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut subject = subject();
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..rounds {
                    let mut filters = chain.begin(&capabilities);
                    expect_continue(&filters.on_request(&mut subject).await);
                    subject.response = Some((StatusCode::OK, HeaderMap::new()));
                    expect_continue(&filters.on_response(&mut subject).await);
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

fn chain() -> Chain {
    let source = Source {
        file: "builtin:rate-limit".to_owned(),
        ..Source::default()
    };
    let sources = [("rate-limit".to_owned(), source)].into();
    let used: Use = toml::from_str(RATE_LIMIT).expect("the line above is right");
    Plugins::load(&sources, tidegate_plugins::ALL)
        .and_then(|plugins| plugins.chain(&[used]))
        .expect("the bundled filter works with this limit")
}

fn subject() -> Subject {
    Subject {
        authority: "learn.example".to_owned(),
        path_and_query: PATH.parse().expect("a path"),
        headers: request(),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        ..Subject::default()
    }
}

/// A filter that refused or failed would time something else.
fn expect_continue(flow: &Flow) {
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

/// A purge log for a filter that does not purge.
struct NoPurge;

impl Purge for NoPurge {
    fn purge<'a>(
        &'a self,
        _: PurgeOrder,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }
}
