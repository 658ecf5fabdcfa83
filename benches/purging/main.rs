//! How fast purges are in force, and what they cost.
//!
//! `objects` times one purge over as many stored objects as somebody wants, `edges` how long a purge
//! at one edge takes to be in force at another, `commits` how long a commit in Postgres takes.
//! These are times of whole systems, of which the percentiles count, so criterion has no part in it.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench purging -- [objects|edges|commits] [COUNT]
//! ```

mod commits;
mod edges;
mod objects;
mod watching;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/trial.rs"]
mod trial;

use std::time::Duration;

fn main() {
    let is_trial = trial::is_trial();
    let mut given = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let only = given.next();
    let count = given.next().map(|count| {
        let parsed = count.parse();
        parsed.unwrap_or_else(|_| panic!("COUNT is a number, and not {count:?}"))
    });
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let rounds = count.unwrap_or(if is_trial { 3 } else { 1_000 });
    if wants("objects") {
        objects::run(count.unwrap_or(if is_trial { 1_000 } else { 1_000_000 }));
    }
    if wants("edges") {
        edges::run(rounds);
    }
    if wants("commits") {
        commits::run(rounds);
    }
}

/// Prints what the times come to.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!(
        "{what}: p50 {:?}, p99 {:?}, longest {:?} of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}
