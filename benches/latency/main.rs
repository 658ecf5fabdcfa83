//! How long the steps of a hit take, alone and together, and how long a miss takes.
//!
//! The first groups time single steps on one thread: the caching rules, the key and the tiers, the
//! purge index, a filter, a handler. `loopback` times whole exchanges through a running edge, beside the
//! floors that no edge can go below. What the numbers were is in `RESULTS.md`.

mod cache;
mod filters;
mod handlers;
mod loopback;
mod messages;
mod purge;
mod semantics;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = steps;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    targets =
        semantics::benches,
        cache::benches,
        purge::benches,
        filters::benches,
        handlers::benches,
}

criterion_group! {
    name = exchanges;
    config = Criterion::default().measurement_time(Duration::from_secs(5));
    targets = loopback::benches,
}

criterion_main!(steps, exchanges);
