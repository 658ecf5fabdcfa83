//! What guests add to a request over the wire: CPU time of an edge in a process of its own, for the same hit
//! with and without them, in turn.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench guests -- [REQUESTS] [ROUNDS]
//! ```
//!
//! CPU time is counted for the edge alone, by the scheduler's own accounting; so what the clients cost and
//! whatever else the machine does changes it little. The first way is what the others are compared with.

mod edge;
mod processor;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/origin.rs"]
mod origin;

use std::net::SocketAddr;
use std::time::Instant;

use client::Client;
use edge::{Child, WAYS, Way};

/// As the edge has it that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that ask at once, each waiting for its answer.
const CLIENTS: usize = 16;

fn main() {
    if let Some(address) = std::env::var_os(edge::ORIGIN) {
        edge::run(&address.to_string_lossy());
        return;
    }
    // Cargo says that this is a benchmark, and how it is run beside the tests.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(|argument| {
            let parsed = argument.parse();
            parsed.unwrap_or_else(|_| panic!("a number is wanted, and not {argument:?}"))
        })
        .collect();
    let default = if is_test { (64, 1) } else { (100_000, 5) };
    let requests = given.first().copied().unwrap_or(default.0);
    let rounds = given.get(1).copied().unwrap_or(default.1).max(1);
    let child = Child::start(origin::start());
    for way in WAYS {
        load(child.address, way, CLIENTS * 8);
    }
    let mut measured = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        for (way, times) in WAYS.iter().zip(&mut measured) {
            let (before, start) = (child.processor_time(), Instant::now());
            load(child.address, way, requests);
            let used = child.processor_time() - before;
            let answered = (requests / CLIENTS * CLIENTS) as f64;
            times.push((
                used.as_secs_f64() * 1e6 / answered,
                answered / start.elapsed().as_secs_f64(),
            ));
        }
    }
    print(&mut measured);
}

/// Prints medians, and what each way costs more than the first.
fn print(measured: &mut [Vec<(f64, f64)>]) {
    let mut first = None;
    for (way, times) in WAYS.iter().zip(measured) {
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (cost, rate) = times[times.len() / 2];
        let (least, most) = (times[0].0, times[times.len() - 1].0);
        let first = *first.get_or_insert(cost);
        println!(
            "{}: {cost:.1} µs of CPU ({least:.1} to {most:.1}), {:+.1} µs, {rate:.0}/s",
            way.name,
            cost - first
        );
    }
}

/// Has `requests` of a kind answered, and checks that they were answered as they should be.
fn load(edge: SocketAddr, way: &Way, requests: usize) {
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(edge);
                for _ in 0..requests / CLIENTS {
                    client.get(way.path);
                }
                let head = client.get(way.path);
                assert!(head.contains(way.shows), "{}: {head}", way.name);
            });
        }
    });
}
