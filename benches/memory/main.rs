//! How many bytes of memory a stored object of 1 KiB takes, and which of its parts take them.
//!
//! First a running edge fetches so many objects from an origin: what the process grew by, as the kernel
//! tells it, beside the bytes that were asked of the allocator and not given back. Then the same object is
//! put together without an edge, part by part. Nothing is timed, so criterion has no part in it.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench memory -- [COUNT]
//! ```

mod counting;
mod parts;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/trial.rs"]
mod trial;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use client::Client;
use counting::{Counting, Live};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let is_trial = trial::is_trial();
    let mut given = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let count = given.next().map(|count| {
        let parsed = count.parse();
        parsed.unwrap_or_else(|_| panic!("COUNT is a number, and not {count:?}"))
    });
    let count = count.unwrap_or(if is_trial { 100 } else { 100_000 });
    println!("{count} objects of 1 KiB; for each of them:");
    fetched(count, "an edge, without tags", "/untagged");
    fetched(count, "an edge, five tags each", "/tagged");
    parts::run(count);
}

/// What a process grows by when its edge has fetched so many objects, each once, and answered from each.
fn fetched(count: usize, what: &str, folder: &str) {
    let origin = origin::start();
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        workers = 1
        [cache]
        memory = "1GiB"
        [origins.default]
        url = "http://{origin}"
        [[routes]]
        origin = "default"
        "#
    );
    let config = Config::from_toml(&config, "benchmark").expect("the configuration is right");
    let edge = Edge::start(config, Options::default()).expect("an edge starts on a free port");
    let mut client = Client::connect(edge.addr());
    // What is made once for all is there before.
    for number in 0..1_000 {
        client.get(&format!("/before{folder}/{number}"));
    }
    let mut ask_for_all = |expected: &str| {
        for number in 0..count {
            let head = client.get(&format!("{folder}/{number}"));
            assert!(head.contains(expected), "{head}");
        }
    };
    let (live, pss) = (Live::now(), pss());
    ask_for_all("fwd=");
    print(what, "stored", count, live, pss);
    ask_for_all("; hit");
    print(what, "and answered from", count, live, pss);
}

fn print(what: &str, then: &str, count: usize, live: Live, pss_before: f64) {
    let grown = live.since();
    let count = count as f64;
    println!(
        "{what}, {then}: {:.0} B of the process, {:.0} B in {:.1} allocations",
        (pss() - pss_before) / count,
        grown.bytes as f64 / count,
        grown.allocations as f64 / count,
    );
}

/// The process's share of memory in bytes, as the kernel tells it.
fn pss() -> f64 {
    let told = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells it");
    let line = told.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: f64 = number
        .and_then(|number| number.parse().ok())
        .expect("in kB");
    kibibytes * 1024.0
}
