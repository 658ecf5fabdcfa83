//! What a filter costs: a call, in an instance made for it and in one that has served others; the
//! edge's own share of it; and how long it takes to be rid of one that does not end.
//!
//! The filter is what many are (`plugins/typical`): it looks at `Authorization`, counts the client,
//! sets a field and removes one, of a request with twelve fields.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench plugins -- [FILTER]
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_edge::clock::Clock;
use tidegate_edge::egress::Egress;
use tidegate_edge::filters::{
    Capabilities, Chain, Flow, LocalLimits, Plugins, Purge, PurgeOrder, Source, Subject, Use,
};
use tidegate_edge::keyvalue::KeyValue;
use tidegate_edge::telemetry::GuestMetrics;
use tokio::runtime::{Builder, Runtime};

/// The route's line for the filter that is called.
const TYPICAL: &str = "name = \"typical\"\ngrants = [\"limits\"]\ndeadline = \"1s\"\nconfig = ";
/// What it does.
const WORKS: &str = "{ limit = 100_000_000, marks = true }";
/// What it does not do: the call itself remains.
const IDLES: &str = "{ limit = 1, idle = true }";

/// The fields of a request as a browser sends it.
const FIELDS: [(&str, &str); 12] = [
    ("accept", "text/html,application/xhtml+xml"),
    ("accept-encoding", "gzip, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("cache-control", "max-age=0"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("referer", "https://learn.example/courses"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
    ),
];

fn calls(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("a filter's call");
    for (name, settings) in [("fresh", ""), ("reused", "reuse = 1000000")] {
        let works = chain("typical", settings, &format!("{TYPICAL}{WORKS}"));
        let idles = chain("typical", settings, &format!("{TYPICAL}{IDLES}"));
        group.bench_function(format!("{name}, on-request"), |bencher| {
            bencher.iter_custom(|rounds| bench.on_request(&works, rounds));
        });
        group.bench_function(format!("{name}, on-request and on-response"), |bencher| {
            bencher.iter_custom(|rounds| bench.exchange(&works, rounds));
        });
        group.bench_function(format!("{name}, on-request that does nothing"), |bencher| {
            bencher.iter_custom(|rounds| bench.on_request(&idles, rounds));
        });
    }
    let line = "name = \"invalidate\"\ngrants = [\"purge\"]\nconfig = { rules = [] }";
    let without = chain("invalidate", "", line);
    group.bench_function("no such hook", |bencher| {
        bencher.iter_custom(|rounds| bench.on_request(&without, rounds));
    });
    let nobody = chain("invalidate", "", "");
    group.bench_function("no filter", |bencher| {
        bencher.iter_custom(|rounds| bench.on_request(&nobody, rounds));
    });
    group.finish();
}

fn subjects(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a filter's subject");
    group.bench_function("made", |bencher| bencher.iter_with_large_drop(subject));
    group.bench_function("copied", |bencher| {
        let subject = subject();
        bencher.iter_batched(|| (), |()| subject.clone(), BatchSize::SmallInput);
    });
    group.finish();
}

/// How long a guest that does not end is there: with the default deadline of 10 ms.
fn endless(criterion: &mut Criterion) {
    let bench = Bench::new();
    let line = "name = \"misbehaving\"\ngrants = [\"clock\", \"log\"]\non_failure = \"open\"";
    let looping = chain("misbehaving", "", line);
    let mut group = criterion.benchmark_group("a guest that loops");
    group.sample_size(10);
    group.bench_function("until it is ended", |bencher| {
        bencher.iter_custom(|rounds| {
            bench.timed(rounds, async || {
                let mut subject = Subject {
                    path_and_query: "/loop".parse().expect("a path"),
                    ..Subject::default()
                };
                let mut filters = looping.begin(&bench.capabilities);
                expect_continue(&filters.on_request(&mut subject).await);
            })
        });
    });
    group.finish();
}

/// What the calls are made with.
struct Bench {
    runtime: Runtime,
    capabilities: Arc<Capabilities>,
    subject: Subject,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime needs only a few descriptors"),
            capabilities: Arc::new(Capabilities {
                limits: Arc::new(LocalLimits::new(1_000, now)),
                purge: Arc::new(NoPurge),
                keyvalue: KeyValue::in_memory(1 << 20, Clock::system()),
                egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 bench"))),
                metrics: GuestMetrics::default(),
                clock: Clock::system(),
            }),
            subject: subject(),
        }
    }

    fn on_request(&self, chain: &Chain, rounds: u64) -> Duration {
        let token = self.subject.headers["authorization"].clone();
        let mut subject = self.subject.clone();
        self.timed(rounds, async || {
            // What the filter took away the round before.
            subject.headers.insert("authorization", token.clone());
            let mut filters = chain.begin(&self.capabilities);
            expect_continue(&filters.on_request(&mut subject).await);
        })
    }

    fn exchange(&self, chain: &Chain, rounds: u64) -> Duration {
        let token = self.subject.headers["authorization"].clone();
        let mut subject = self.subject.clone();
        self.timed(rounds, async || {
            subject.headers.insert("authorization", token.clone());
            subject.response = None;
            let mut filters = chain.begin(&self.capabilities);
            expect_continue(&filters.on_request(&mut subject).await);
            subject.response = Some((StatusCode::OK, HeaderMap::new()));
            expect_continue(&filters.on_response(&mut subject).await);
        })
    }

    fn timed(&self, rounds: u64, mut round: impl AsyncFnMut()) -> Duration {
        self.runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..rounds {
                round().await;
            }
            start.elapsed()
        })
    }
}

/// Milliseconds: the counters are asked for the time as in a running edge.
fn now() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_millis() as u64)
}

fn chain(plugin: &str, settings: &str, line: &str) -> Chain {
    let source = format!("file = \"builtin:{plugin}\"\n{settings}");
    let source: Source = toml::from_str(&source).expect("the settings above are right");
    let sources = [(plugin.to_owned(), source)].into();
    let used: Vec<Use> = match line {
        "" => Vec::new(),
        line => vec![toml::from_str(line).expect("the lines above are right")],
    };
    Plugins::load(&sources, tidegate_plugins::WITH_FIXTURES)
        .and_then(|plugins| plugins.chain(&used))
        .expect("the bundled filters work with these lines")
}

fn subject() -> Subject {
    let fields = FIELDS.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    Subject {
        authority: "learn.example".to_owned(),
        path_and_query: "/courses/17".parse().expect("a path"),
        headers: HeaderMap::from_iter(fields),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        ..Subject::default()
    }
}

/// A filter that refused or failed would time something else.
fn expect_continue(flow: &Flow) {
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

/// A purge log for filters that do not purge.
struct NoPurge;

impl Purge for NoPurge {
    fn purge<'a>(
        &'a self,
        _: PurgeOrder,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }
}

criterion_group! {
    name = plugins;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = calls, subjects, endless,
}

criterion_main!(plugins);
