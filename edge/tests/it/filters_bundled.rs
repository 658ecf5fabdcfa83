//! The filters that ship with the edge do what they promise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use tidegate_edge::filters::{
    Capabilities, Chain, Flow, Limits, LocalLimits, PurgeOrder, RedisLimits, Subject, Take,
    Verdict, Window,
};
use tidegate_edge::redis::Redis;

use crate::filters_support::{Reach, answered, load, response_field, subject, text, used};

fn rate_limit(config: &str) -> Chain {
    let plugins = load(&[("rate-limit", "builtin:rate-limit")]).unwrap();
    let line = format!(
        "name = \"rate-limit\"\ngrants = [\"limits\"]\ndeadline = \"5s\"\nconfig = {config}"
    );
    plugins.chain(&[used(&line)]).unwrap()
}

async fn ask(chain: &Chain, capabilities: &Capabilities, mut subject: Subject) -> Flow {
    chain.begin(capabilities).on_request(&mut subject).await
}

async fn is_allowed(chain: &Chain, capabilities: &Capabilities, subject: Subject) -> bool {
    match ask(chain, capabilities, subject).await {
        Flow::Continue => true,
        Flow::Respond(reply) if reply.status() == 429 => false,
        flow => panic!("{flow:?}"),
    }
}

#[tokio::test]
async fn a_client_over_its_limit_is_told_when_to_come_back() {
    let reach = Reach::new();
    let chain = rate_limit("{ name = \"api\", windows = [{ limit = 2, seconds = 10 }] }");
    for expected in ["\"api\";r=1;t=5", "\"api\";r=0;t=5"] {
        let mut filters = chain.begin(&reach.capabilities);
        let mut subject = answered("/", 200);
        assert!(matches!(
            filters.on_request(&mut subject).await,
            Flow::Continue
        ));
        assert!(matches!(
            filters.on_response(&mut subject).await,
            Flow::Continue
        ));
        assert_eq!(response_field(&subject, "ratelimit"), Some(expected));
        assert_eq!(
            response_field(&subject, "ratelimit-policy"),
            Some("\"api\";q=2;w=10")
        );
    }
    reach.advance(1_500);
    let flow = ask(&chain, &reach.capabilities, subject("/")).await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    assert_eq!(reply.status(), 429);
    assert_eq!(text(reply.headers().get("retry-after")), Some("4"));
    assert_eq!(
        text(reply.headers().get("content-type")),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    );
    assert_eq!(problem["violated-policies"], serde_json::json!(["api"]));
    reach.advance(3_500);
    assert!(is_allowed(&chain, &reach.capabilities, subject("/")).await);
}

#[tokio::test]
async fn several_windows_count_at_once() {
    let reach = Reach::new();
    let chain =
        rate_limit("{ windows = [{ limit = 2, seconds = 10 }, { limit = 3, seconds = 3600 }] }");
    for (advance, allowed) in [
        (0, true),
        (0, true),
        (0, false),
        (10_000, true),
        (10_000, false),
    ] {
        reach.advance(advance);
        assert_eq!(
            is_allowed(&chain, &reach.capabilities, subject("/")).await,
            allowed
        );
    }
    let flow = ask(&chain, &reach.capabilities, subject("/")).await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    let problem: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(
        problem["violated-policies"],
        serde_json::json!(["default-3600"])
    );
    assert_eq!(text(reply.headers().get("retry-after")), Some("1180"));
}

#[tokio::test]
async fn clients_count_by_network_and_keys_by_value() {
    let reach = Reach::new();
    let chain = rate_limit("{ name = \"n\", windows = [{ limit = 1, seconds = 10 }] }");
    for (client, allowed) in [
        ("192.0.2.1", true),
        ("192.0.2.2", true),
        ("::ffff:192.0.2.2", false),
        ("2001:db8::1", true),
        ("2001:db8::ffff:1", false),
        ("2001:db8:0:1::1", true),
    ] {
        let client: IpAddr = client.parse().unwrap();
        let subject = Subject {
            client,
            ..subject("/")
        };
        assert_eq!(
            is_allowed(&chain, &reach.capabilities, subject).await,
            allowed,
            "{client}"
        );
    }
    let chain = rate_limit(
        "{ name = \"k\", key = { header = \"x-api-key\" }, windows = [{ limit = 1, seconds = 10 }] }",
    );
    for (key, allowed) in [("a", true), ("b", true), ("a", false)] {
        let mut subject = subject("/");
        subject.headers.insert("x-api-key", key.parse().unwrap());
        assert_eq!(
            is_allowed(&chain, &reach.capabilities, subject).await,
            allowed,
            "{key}"
        );
    }
}

#[tokio::test]
async fn writes_that_succeed_purge_what_the_rules_name() {
    let plugins = load(&[("invalidate", "builtin:invalidate")]).unwrap();
    let line = r#"
        name = "invalidate"
        grants = ["purge"]
        deadline = "5s"
        [[config.rules]]
        path = "/courses/{id}"
        methods = ["PUT", "DELETE"]
        tags = ["course:{id}", "courses"]
        urls = ["/courses/{id}/summary", "https://other.test/{id}"]
    "#;
    let chain = plugins.chain(&[used(line)]).unwrap();
    let expected = PurgeOrder {
        tags: vec!["course:7".to_owned(), "courses".to_owned()],
        urls: vec![
            "http://edge.test/courses/7/summary".to_owned(),
            "https://other.test/7".to_owned(),
        ],
        soft: false,
        lsn: None,
    };
    for (method, path, status, purges) in [
        (Method::PUT, "/courses/7?x=1", 200, true),
        (Method::DELETE, "/courses/7", 204, true),
        (Method::PUT, "/courses/7", 303, true),
        (Method::PUT, "/courses/7", 404, false),
        (Method::PUT, "/courses/7", 500, false),
        (Method::GET, "/courses/7", 200, false),
        (Method::POST, "/courses/7", 200, false),
        (Method::PUT, "/users/7", 200, false),
    ] {
        let reach = Reach::new();
        let mut subject = Subject {
            method: method.clone(),
            ..answered(path, status)
        };
        let flow = chain
            .begin(&reach.capabilities)
            .on_origin_response(&mut subject)
            .await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        let expected: &[PurgeOrder] = if purges {
            std::slice::from_ref(&expected)
        } else {
            &[]
        };
        assert_eq!(reach.purged(), expected, "{method} {path} {status}");
    }
}

/// Counters in a Redis server, whose clock the test moves.
fn redis_limits(url: &str, deadline: Duration, millis: &Arc<AtomicU64>) -> RedisLimits {
    let redis = Redis::connect(url, deadline).unwrap();
    let (one, other) = (Arc::clone(millis), Arc::clone(millis));
    let local = LocalLimits::new(100, move || one.load(Ordering::SeqCst));
    RedisLimits::new(redis, Arc::new(local)).with_clock(move || other.load(Ordering::SeqCst))
}

fn millis() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(1_700_000_000_000))
}

fn taking<'a>(key: &'a str, windows: &'a [Window], cost: u32) -> Take<'a> {
    Take {
        name: "name",
        key,
        windows,
        cost,
        is_asynchronous: false,
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const WINDOWS: [Window; 2] = [
    Window {
        limit: 3,
        seconds: 9,
    },
    Window {
        limit: 5,
        seconds: 3_600,
    },
];

#[tokio::test]
async fn redis_decides_as_this_process_would() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let millis = millis();
    let clock = Arc::clone(&millis);
    let local = LocalLimits::new(100, move || clock.load(Ordering::SeqCst));
    let shared = redis_limits(&server.url(), PATIENCE, &millis);
    let mut refused = 0;
    for (at, cost) in [1, 1, 0, 1, 1, 2, 4, 1, 9, 0, 1, 1, 1]
        .into_iter()
        .enumerate()
    {
        millis.fetch_add(at as u64 * 511, Ordering::SeqCst);
        let take = taking("key", &WINDOWS, cost);
        let expected = local.take_now(&take).unwrap();
        assert_eq!(shared.take(take).await.unwrap(), expected, "{at}");
        refused += u32::from(!expected.allowed);
    }
    assert!((3..10).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_key_is_counted_in_so_many_windows_in_redis_as_in_this_process() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let millis = millis();
    let clock = Arc::clone(&millis);
    let local = LocalLimits::new(100, move || clock.load(Ordering::SeqCst));
    let shared = redis_limits(&server.url(), PATIENCE, &millis);
    let mut refused = 0;
    // The last of them once more, and then one that there is room for when the first is whole again.
    for seconds in (1..=66).chain([64, 66, 67, 2]) {
        let window = [Window { limit: 2, seconds }];
        if seconds == 67 {
            millis.fetch_add(1_000, Ordering::SeqCst);
        }
        for is_asynchronous in [false, true] {
            let take = Take {
                is_asynchronous,
                ..taking(if is_asynchronous { "hot" } else { "key" }, &window, 1)
            };
            let expected = local.take_now(&take);
            assert_eq!(shared.take(take).await, expected, "{seconds}");
            refused += u32::from(expected.is_err());
        }
    }
    assert_eq!(refused, 6);
}

#[tokio::test]
async fn edges_of_a_region_count_together() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let millis = millis();
    let edges = [(); 2].map(|()| redis_limits(&server.url(), PATIENCE, &millis));
    let mut allowed = Vec::new();
    for at in 0..6 {
        let verdict = edges[at % 2]
            .take(taking("key", &WINDOWS, 1))
            .await
            .unwrap();
        allowed.push(verdict.allowed);
    }
    assert_eq!(allowed, [true, true, true, false, false, false]);
    let another = taking("another key", &WINDOWS, 1);
    assert!(edges[0].take(another).await.unwrap().allowed);
}

#[tokio::test]
async fn without_a_clock_of_its_own_an_edge_takes_that_of_redis() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let redis = Redis::connect(&server.url(), PATIENCE).unwrap();
    let limits = RedisLimits::new(redis, Arc::new(LocalLimits::new(1, || 0)));
    let window = [Window {
        limit: 1,
        seconds: 1_000_000,
    }];
    assert!(
        limits
            .take(taking("key", &window, 1))
            .await
            .unwrap()
            .allowed
    );
    let Verdict { allowed, standings } = limits.take(taking("key", &window, 1)).await.unwrap();
    assert!(!allowed);
    // Some time has passed between the two, but nowhere near the whole window.
    assert!(
        (1..=1_000_000_000).contains(&standings[0].retry_after),
        "{standings:?}"
    );
}

#[tokio::test]
async fn routes_that_count_a_key_in_other_windows_do_not_shorten_its_life() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let limits = redis_limits(&server.url(), PATIENCE, &millis());
    let short = [WINDOWS[0]];
    let long = [Window {
        limit: 1,
        seconds: 3_600,
    }];
    assert!(limits.take(taking("key", &long, 1)).await.unwrap().allowed);
    assert!(limits.take(taking("key", &short, 1)).await.unwrap().allowed);
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::AsyncCommands::keys(&mut connection, "*limit*")
        .await
        .unwrap();
    let life: i64 = redis::AsyncCommands::ttl(&mut connection, &keys[0])
        .await
        .unwrap();
    assert!(life > 3_000, "{life}");
    assert!(!limits.take(taking("key", &long, 1)).await.unwrap().allowed);
}

#[tokio::test]
async fn an_edge_that_loses_redis_counts_by_itself() {
    for kill in [true, false] {
        let mut server = tidegate_services::Redis::ephemeral().unwrap();
        let millis = millis();
        let deadline = if kill {
            PATIENCE
        } else {
            // Long enough for the first answer on a busy machine.
            Duration::from_secs(1)
        };
        let limits = redis_limits(&server.url(), deadline, &millis);
        let chain = rate_limit("{ windows = [{ limit = 2, seconds = 10 }] }");
        let capabilities = Capabilities {
            limits: Arc::new(limits),
            ..Reach::new().capabilities
        };
        let first = is_allowed(&chain, &capabilities, subject("/")).await;
        if kill {
            server.kill();
        } else {
            server.pause();
        }
        let mut allowed = vec![first];
        for _ in 0..3 {
            allowed.push(is_allowed(&chain, &capabilities, subject("/")).await);
        }
        server.resume();
        // What Redis counted is not known here, so the limit begins anew.
        assert_eq!(allowed, [true, true, true, false], "killed: {kill}");
    }
}
