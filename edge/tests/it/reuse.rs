//! Instances that serve one exchange after the other, and how many of them there may be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::Pin;

use http::HeaderValue;
use tidegate_edge::filters::{Chain, FailureKind, Flow, Plugins, Source, Subject};

use crate::filters_support::{Reach, answered, response_field, subject, used};
use crate::support::patiently;

/// A plugin of the bundle with these settings.
fn plugin(name: &str, file: &str, settings: &str) -> Plugins {
    let source: Source = toml::from_str(&format!("file = {file:?}\n{settings}")).unwrap();
    let sources = [(name.to_owned(), source)].into();
    Plugins::load(&sources, tidegate_plugins::WITH_FIXTURES).unwrap()
}

/// The fixture on a route.
fn chain(plugins: &Plugins, name: &str) -> Chain {
    let line = format!("name = {name:?}\ngrants = [\"clock\", \"log\"]\ndeadline = \"5s\"");
    plugins.chain(&[used(&line)]).unwrap()
}

/// The fixture, with these settings, on one route.
fn fixture(name: &str, settings: &str) -> Chain {
    chain(&plugin(name, "builtin:misbehaving", settings), name)
}

/// A whole exchange: the request and the response.
async fn exchange(chain: &Chain, reach: &Reach, mut subject: Subject) -> (Flow, Subject) {
    let mut filters = chain.begin(&reach.capabilities);
    let flow = filters.on_request(&mut subject).await;
    subject.response = answered("/", 200).response;
    let last = filters.on_response(&mut subject).await;
    assert!(matches!(last, Flow::Continue), "{last:?}");
    (flow, subject)
}

/// What the fixture tells: how many requests its instance has seen, and what it remembers.
async fn recall(chain: &Chain, reach: &Reach) -> String {
    let (flow, _) = exchange(chain, reach, subject("/recall")).await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    String::from_utf8(reply.into_body().to_vec()).unwrap()
}

fn failed(flow: &Flow) -> Option<FailureKind> {
    match flow {
        Flow::Failed(failure) => Some(failure.kind),
        _ => None,
    }
}

/// A client that says something which the fixture remembers.
fn telling(secret: &'static str) -> Subject {
    let mut subject = subject("/remember");
    let value = HeaderValue::from_static(secret);
    subject.headers.insert("authorization", value);
    subject
}

#[tokio::test]
async fn an_instance_serves_as_many_exchanges_as_it_may_and_is_replaced() {
    let reach = Reach::new();
    for (settings, expected) in [
        ("", [1, 1, 1, 1, 1]),
        ("reuse = 1", [1, 1, 1, 1, 1]),
        ("reuse = 3", [1, 2, 3, 1, 2]),
    ] {
        let chain = fixture("replaced", settings);
        for seen in expected {
            let told = recall(&chain, &reach).await;
            assert_eq!(told, format!("{seen} nothing"), "{settings}");
        }
    }
}

#[tokio::test]
async fn what_a_client_said_is_there_in_its_own_exchange_and_gone_after() {
    let reach = Reach::new();
    let chain = fixture("forgets", "reuse = 100");
    for secret in ["one", "another"] {
        let (_, seen) = exchange(&chain, &reach, telling(secret)).await;
        assert_eq!(response_field(&seen, "x-remembered"), Some(secret));
    }
    assert_eq!(recall(&chain, &reach).await, "3 nothing");
    // Nor is it there in an exchange that begins with a later hook: it was left behind half-way.
    for _ in 0..2 {
        let mut filters = chain.begin(&reach.capabilities);
        filters.on_request(&mut telling("secret")).await;
        filters.on_response(&mut answered("/", 200)).await;
        let mut refreshed = answered("/", 200);
        let mut filters = chain.begin(&reach.capabilities);
        filters.on_origin_response(&mut refreshed).await;
        filters.on_response(&mut refreshed).await;
        assert_eq!(response_field(&refreshed, "x-remembered"), None);
        assert_eq!(response_field(&refreshed, "x-misbehaving"), Some("no"));
    }
}

#[tokio::test]
async fn an_instance_that_failed_serves_nobody_again() {
    let reach = Reach::new();
    let chain = fixture("discarded", "reuse = 100");
    assert_eq!(recall(&chain, &reach).await, "1 nothing");
    for path in ["/panic", "/recurse", "/memory", "/flood", "/bad-status"] {
        let mut filters = chain.begin(&reach.capabilities);
        let flow = filters.on_request(&mut subject(path)).await;
        assert!(failed(&flow).is_some(), "{path}");
        drop(filters);
        assert_eq!(recall(&chain, &reach).await, "1 nothing", "{path}");
    }
}

#[tokio::test]
async fn an_instance_whose_hook_was_given_up_half_way_serves_nobody_again() {
    let reach = Reach::new();
    let chain = fixture("given-up", "reuse = 100");
    assert_eq!(recall(&chain, &reach).await, "1 nothing");
    let mut filters = chain.begin(&reach.capabilities);
    let mut looping = subject("/loop");
    tokio::select! {
        biased;
        flow = filters.on_request(&mut looping) => panic!("{flow:?}"),
        () = tokio::task::yield_now() => {}
    }
    drop(filters);
    assert_eq!(recall(&chain, &reach).await, "1 nothing");
}

#[tokio::test]
async fn an_instance_serves_one_exchange_at_a_time() {
    let reach = Reach::new();
    let chain = fixture("alone", "reuse = 100");
    let mut first = chain.begin(&reach.capabilities);
    let mut remembered = telling("secret");
    first.on_request(&mut remembered).await;
    assert_eq!(recall(&chain, &reach).await, "1 nothing");
    remembered.response = answered("/", 200).response;
    first.on_response(&mut remembered).await;
    assert_eq!(response_field(&remembered, "x-remembered"), Some("secret"));
    // Both are idle now; the one that was used last is used first.
    assert_eq!(recall(&chain, &reach).await, "2 nothing");
}

#[tokio::test]
async fn ten_thousand_exchanges_do_not_exhaust_an_instances_memory() {
    let reach = Reach::new();
    let plugins = plugin("lasting", "builtin:misbehaving", "reuse = 1000000");
    let line =
        "name = \"lasting\"\ngrants = [\"clock\", \"log\"]\ndeadline = \"5s\"\nmemory = \"192KiB\"";
    let chain = plugins.chain(&[used(line)]).unwrap();
    for at in 0..10_000 {
        let mut subject = telling("Bearer 0123456789abcdef0123456789abcdef");
        // Other lengths each time, so that no block fits by chance.
        let value = "x".repeat(1 + at * 37 % 3_000);
        subject
            .headers
            .insert("authorization", value.parse().unwrap());
        let (flow, seen) = exchange(&chain, &reach, subject).await;
        assert!(matches!(flow, Flow::Continue), "{at}: {flow:?}");
        assert_eq!(response_field(&seen, "x-remembered"), Some(&*value), "{at}");
    }
    assert_eq!(recall(&chain, &reach).await, "10001 nothing");
}

/// Whether the work has to wait for something.
async fn waits<T>(work: Pin<&mut impl Future<Output = T>>) -> bool {
    tokio::select! {
        biased;
        _ = work => false,
        () = tokio::task::yield_now() => true,
    }
}

#[tokio::test]
async fn who_finds_no_instance_waits_for_one() {
    let reach = Reach::new();
    for settings in [
        "instances = 1\nwait = \"1h\"",
        "instances = 1\nwait = \"1h\"\nreuse = 100",
    ] {
        let chain = fixture("waits", settings);
        let mut first = chain.begin(&reach.capabilities);
        first.on_request(&mut subject("/")).await;
        let mut second = std::pin::pin!(exchange(&chain, &reach, subject("/")));
        assert!(waits(second.as_mut()).await);
        first.on_response(&mut answered("/", 200)).await;
        let (flow, _) = patiently("the second exchange", second).await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        // Its client may leave as well.
        let mut third = chain.begin(&reach.capabilities);
        third.on_request(&mut subject("/")).await;
        let mut fourth = std::pin::pin!(exchange(&chain, &reach, subject("/")));
        assert!(waits(fourth.as_mut()).await);
        drop(third);
        let (flow, _) = patiently("the fourth exchange", fourth).await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
    }
}

#[tokio::test]
async fn who_waits_in_vain_is_answered_as_the_route_says() {
    let reach = Reach::new();
    let plugins = plugin(
        "in-vain",
        "builtin:misbehaving",
        "instances = 1\nwait = \"20ms\"",
    );
    let line = "name = \"in-vain\"\ngrants = [\"clock\", \"log\"]\ndeadline = \"5s\"";
    let closed = plugins.chain(&[used(line)]).unwrap();
    let open = plugins
        .chain(&[used(&format!("{line}\non_failure = \"open\""))])
        .unwrap();
    let hold = async |chain: &Chain| {
        let mut first = chain.begin(&reach.capabilities);
        first.on_request(&mut subject("/")).await;
        first
    };
    let first = [hold(&closed).await, hold(&open).await];
    let (flow, _) = exchange(&closed, &reach, subject("/")).await;
    assert_eq!(failed(&flow), Some(FailureKind::Refused));
    let (flow, without) = exchange(&open, &reach, subject("/")).await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
    assert_eq!(response_field(&without, "x-misbehaving"), None);
    // It may have been going to say under which key the answer is kept.
    assert!(without.bypass_cache);
    drop(first);
    let (flow, _) = exchange(&closed, &reach, subject("/")).await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

#[tokio::test]
async fn a_rate_limit_that_fails_open_takes_no_hits_away() {
    let reach = Reach::new();
    let plugins = plugin("rare", "builtin:rate-limit", "");
    // Four routes count the same key in as many windows as it may have.
    for route in 0..5 {
        let seconds = (0..16).map(|at| 60 + 16 * route + at);
        let windows = seconds.map(|seconds| format!("{{ limit = 9, seconds = {seconds} }}"));
        let windows: Vec<_> = windows.collect();
        let chain = plugins.chain(&[used(&format!(
            "name = \"rare\"\ngrants = [\"limits\"]\ndeadline = \"5s\"\non_failure = \"open\"\n\
             config = {{ windows = [{}] }}",
            windows.join(", ")
        ))]);
        let (flow, passed) = exchange(&chain.unwrap(), &reach, subject("/")).await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        let has_counted = response_field(&passed, "ratelimit").is_some();
        assert_eq!(has_counted, route < 4);
        assert!(!passed.bypass_cache);
    }
}

#[tokio::test]
async fn a_rate_limit_that_has_counted_holds_no_instance() {
    let reach = Reach::new();
    let settings = "instances = 1\nwait = \"20ms\"";
    let plugins = plugin("counted", "builtin:rate-limit", settings);
    let chain = plugins.chain(&[used(
        "name = \"counted\"\ngrants = [\"limits\"]\ndeadline = \"5s\"\n\
         config = { windows = [{ limit = 9, seconds = 60 }] }",
    )]);
    let chain = chain.unwrap();
    assert_eq!(chain.hooks().collect::<Vec<_>>(), ["on-request"]);
    let mut first = chain.begin(&reach.capabilities);
    first.on_request(&mut subject("/")).await;
    let (flow, _) = exchange(&chain, &reach, subject("/")).await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

#[tokio::test]
async fn a_plugin_that_is_busy_on_one_route_is_there_on_another() {
    let reach = Reach::new();
    let plugins = plugin(
        "elsewhere",
        "builtin:misbehaving",
        "instances = 1\nwait = \"20ms\"",
    );
    let routes = [chain(&plugins, "elsewhere"), chain(&plugins, "elsewhere")];
    let mut first = routes[0].begin(&reach.capabilities);
    first.on_request(&mut subject("/")).await;
    let (flow, _) = exchange(&routes[1], &reach, subject("/")).await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
    let (flow, _) = exchange(&routes[0], &reach, subject("/")).await;
    assert_eq!(failed(&flow), Some(FailureKind::Refused));
}
