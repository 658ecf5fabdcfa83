//! The caching rules: what may be done with a stored response, and whether one may be stored.

use std::hint::black_box;

use criterion::Criterion;
use http::{HeaderValue, Method, StatusCode};
use tidegate_semantics::{
    Exchange, Policy, Reuse, Standing, Storable, Vary, reuse, storable, stored_fields, tags,
};

use crate::messages::{NOW, PATH, request, response, terms};

pub(crate) fn benches(criterion: &mut Criterion) {
    reusing(criterion);
    storing(criterion);
    varying(criterion);
}

fn reusing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("semantics/reuse");
    let terms = terms();
    let plain = Policy::default();
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    let mut asking = request();
    asking.insert("cache-control", HeaderValue::from_static("max-age=300"));
    for (name, request, policy) in [
        ("a fresh entry", request(), plain),
        ("a fresh entry for a request with max-age", asking, heeding),
    ] {
        let ask = || {
            reuse(
                black_box(&request),
                black_box(&terms),
                black_box(NOW),
                Standing::Valid,
                &policy,
            )
        };
        assert_eq!(ask(), Reuse::Fresh, "{name}");
        group.bench_function(name, |bencher| bencher.iter(ask));
    }
    group.finish();
}

fn storing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("semantics/storing");
    let (request, response, policy) = (request(), response(), Policy::default());
    let exchange = Exchange {
        method: &Method::GET,
        path: PATH,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        received_at: NOW,
    };
    let judge = || storable(black_box(&exchange), &policy);
    assert!(matches!(judge(), Storable::Keep(_)), "{:?}", judge());
    group.bench_function("storable", |bencher| bencher.iter(judge));
    group.bench_function("stored fields", |bencher| {
        bencher.iter(|| stored_fields(black_box(&response), &policy));
    });
    group.bench_function("tags", |bencher| {
        bencher.iter(|| tags("http", "learn.example", black_box(&response)));
    });
    group.finish();
}

fn varying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("semantics/vary");
    let same = request();
    let vary = Vary::of(&response(), &same).expect("the page varies on two fields");
    let mut respelled = request();
    respelled.insert(
        "accept-encoding",
        HeaderValue::from_static("GZIP,zstd,br , deflate;q=1.0"),
    );
    let mut other = request();
    other.insert("accept-encoding", HeaderValue::from_static("identity"));
    for (name, request, matches) in [
        ("the same request", same, true),
        ("the same in another spelling", respelled, true),
        ("another variant", other, false),
    ] {
        let ask = || vary.matches(black_box(&request));
        assert_eq!(ask(), matches, "{name}");
        group.bench_function(name, |bencher| bencher.iter(ask));
    }
    group.finish();
}
