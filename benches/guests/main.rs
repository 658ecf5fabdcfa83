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

#[path = "../support/child.rs"]
mod child;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/costs.rs"]
mod costs;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/processor.rs"]
mod processor;
#[path = "../support/trial.rs"]
mod trial;

use std::net::SocketAddr;

use tidegate_edge::startup::Options;

use child::Child;
use client::Client;
use costs::Costs;
use edge::{WAYS, Way};

/// As the edge has it that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that ask at once, each waiting for its answer.
const CLIENTS: usize = 16;

fn main() {
    let options = || Options {
        builtin_plugins: tidegate_plugins::WITH_FIXTURES,
        ..Options::default()
    };
    if child::is_child(options) {
        return;
    }
    let given = costs::numbers();
    let default = if trial::is_trial() {
        (64, 1)
    } else {
        (100_000, 5)
    };
    let requests = given.first().copied().unwrap_or(default.0);
    let rounds = given.get(1).copied().unwrap_or(default.1).max(1);
    let edge = Child::start(&edge::config(origin::start()));
    for way in WAYS {
        load(edge.address, way, CLIENTS * 8);
    }
    let mut measured: Vec<Costs> = WAYS.iter().map(|_| Costs::default()).collect();
    for _ in 0..rounds {
        for (way, costs) in WAYS.iter().zip(&mut measured) {
            let answered = requests / CLIENTS * CLIENTS;
            costs.measure(&edge, answered, || load(edge.address, way, requests));
        }
    }
    print(measured);
}

/// Prints medians, and what each way costs more than the first.
fn print(measured: Vec<Costs>) {
    let mut first = None;
    for (way, costs) in WAYS.iter().zip(measured) {
        let found = costs.summary();
        let first = *first.get_or_insert(found.cost);
        println!(
            "{}: {:.1} µs of CPU ({:.1} to {:.1}), {:+.1} µs, {:.0}/s",
            way.name,
            found.cost,
            found.least,
            found.most,
            found.cost - first,
            found.rate
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
