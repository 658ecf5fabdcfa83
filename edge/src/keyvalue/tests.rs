//! Both stores, told the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use tidegate_semantics::Timestamp;

use super::{KeyValue, KeyValueError, LARGEST_VALUE, LONGEST_KEY, LONGEST_LIFETIME, MOST_LISTED};
use crate::clock::Clock;
use crate::redis::Redis;

/// Longer than any test takes.
const PATIENT: Duration = Duration::from_secs(30);

fn clock() -> Clock {
    Clock::manual(Timestamp(1_700_000_000_000))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn in_redis(server: &tidegate_services::Redis) -> KeyValue {
    let redis = Redis::connect(&server.url(), PATIENT).unwrap();
    KeyValue::in_redis(redis, "test")
}

async fn holds(store: &KeyValue, namespace: &str, key: &str) -> Option<String> {
    let value = store.get(namespace, key).await.unwrap();
    assert_eq!(store.exists(namespace, key).await.unwrap(), value.is_some());
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Runs a claim against both stores.
async fn both(claim: impl AsyncFn(&KeyValue)) {
    claim(&KeyValue::in_memory(1 << 20, clock())).await;
    let server = tidegate_services::Redis::ephemeral().unwrap();
    claim(&in_redis(&server)).await;
}

#[tokio::test]
async fn a_key_has_the_value_it_was_given_last_until_it_is_deleted() {
    both(async |store| {
        assert_eq!(holds(store, "a", "k").await, None);
        store.delete("a", "k").await.unwrap();
        for value in ["1", "", "2\0\r\n"] {
            store.set("a", "k", text(value), None).await.unwrap();
            assert_eq!(holds(store, "a", "k").await.as_deref(), Some(value));
        }
        store.delete("a", "k").await.unwrap();
        assert_eq!(holds(store, "a", "k").await, None);
        assert!(store.keys("a").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn namespaces_never_meet_whatever_bytes_a_key_has() {
    let places = [
        ("a", "b"),
        ("a", "b:c"),
        ("a:b", "c"),
        ("a", ""),
        ("", "a"),
        ("1:a", ":b"),
        ("a*", "[b]?"),
        ("a\0", "\r\n"),
        ("a/b", "c"),
    ];
    both(async |store| {
        for (at, (namespace, key)) in places.iter().enumerate() {
            let value = text(&at.to_string());
            store.set(namespace, key, value, None).await.unwrap();
        }
        for (at, (namespace, key)) in places.iter().enumerate() {
            let value = at.to_string();
            assert_eq!(holds(store, namespace, key).await, Some(value));
        }
        assert_eq!(store.keys("a").await.unwrap(), ["", "b", "b:c"]);
        assert_eq!(store.keys("a*").await.unwrap(), ["[b]?"]);
        assert!(store.keys("b").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn increments_add_up_and_refuse_what_is_no_number() {
    both(async |store| {
        assert_eq!(store.increment("a", "n", 5, None).await.unwrap(), 5);
        assert_eq!(store.increment("a", "n", -7, None).await.unwrap(), -2);
        assert_eq!(holds(store, "a", "n").await.as_deref(), Some("-2"));
        // Beyond what a double holds whole.
        let large = (1_i64 << 53) + 3;
        assert_eq!(
            store.increment("a", "n", large, None).await.unwrap(),
            large - 2
        );
        let over = store.increment("a", "n", i64::MAX, None).await;
        assert!(matches!(over, Err(KeyValueError::NoNumber)), "{over:?}");
        assert_eq!(store.increment("a", "n", 0, None).await.unwrap(), large - 2);
        for wrong in ["", "x", "+1", "01", " 1", "1.0"] {
            store.set("a", "w", text(wrong), None).await.unwrap();
            let refused = store.increment("a", "w", 1, None).await;
            assert!(matches!(refused, Err(KeyValueError::NoNumber)), "{wrong:?}");
            assert_eq!(holds(store, "a", "w").await.as_deref(), Some(wrong));
        }
        assert_eq!(store.keys("a").await.unwrap(), ["n", "w"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_not_is_kept() {
    both(async |store| {
        let long = "k".repeat(LONGEST_KEY);
        let large = Bytes::from(vec![b'x'; LARGEST_VALUE / 2]);
        store.set("a", &long, large, None).await.unwrap();
        assert_eq!(store.keys("a").await.unwrap(), std::slice::from_ref(&long));
        let longer = long + "k";
        let refused = store.set("a", &longer, text("v"), None).await;
        assert!(matches!(refused, Err(KeyValueError::KeyTooLong(1025))));
        assert!(store.get("a", &longer).await.is_err());
        let larger = Bytes::from(vec![b'x'; LARGEST_VALUE + 1]);
        let refused = store.set("a", "k", larger, None).await;
        assert!(matches!(refused, Err(KeyValueError::ValueTooLarge(_))));
        for lifetime in [
            Duration::ZERO,
            Duration::from_nanos(1),
            LONGEST_LIFETIME + Duration::from_millis(1),
        ] {
            let refused = store.set("a", "k", text("v"), Some(lifetime)).await;
            assert!(matches!(refused, Err(KeyValueError::Lifetime(_))));
        }
        store
            .set("a", "k", text("v"), Some(LONGEST_LIFETIME))
            .await
            .unwrap();
        assert_eq!(holds(store, "a", "k").await.as_deref(), Some("v"));
    })
    .await;
}

#[tokio::test]
async fn more_keys_than_are_listed_is_an_error_and_no_shorter_list() {
    both(async |store| {
        for key in 0..MOST_LISTED {
            store
                .set("a", &key.to_string(), text("v"), None)
                .await
                .unwrap();
        }
        assert_eq!(store.keys("a").await.unwrap().len(), MOST_LISTED);
        store.set("a", "more", text("v"), None).await.unwrap();
        let listed = store.keys("a").await;
        assert!(
            matches!(listed, Err(KeyValueError::TooManyKeys)),
            "{listed:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn in_memory_a_lifetime_ends_to_the_millisecond() {
    let clock = clock();
    let store = KeyValue::in_memory(1 << 20, clock.clone());
    let second = Some(Duration::from_secs(1));
    store.set("a", "k", text("v"), second).await.unwrap();
    assert_eq!(store.increment("a", "n", 1, second).await.unwrap(), 1);
    clock.advance(Duration::from_millis(500));
    // One that is there keeps its own lifetime.
    assert_eq!(store.increment("a", "n", 1, second).await.unwrap(), 2);
    clock.advance(Duration::from_millis(499));
    assert_eq!(store.keys("a").await.unwrap(), ["k", "n"]);
    clock.advance(Duration::from_millis(1));
    assert_eq!(holds(&store, "a", "k").await, None);
    assert!(store.keys("a").await.unwrap().is_empty());
    assert_eq!(store.increment("a", "n", 1, second).await.unwrap(), 1);
    // A value without a lifetime takes the place of one with.
    store.set("a", "n", text("v"), None).await.unwrap();
    clock.advance(Duration::from_secs(10));
    assert_eq!(holds(&store, "a", "n").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn in_redis_a_lifetime_is_the_values_own() {
    let server = tidegate_services::Redis::ephemeral().unwrap();
    let store = in_redis(&server);
    let hour = Some(Duration::from_secs(3_600));
    store.set("a", "k", text("v"), hour).await.unwrap();
    assert_eq!(store.increment("a", "n", 1, hour).await.unwrap(), 1);
    assert_eq!(store.increment("a", "n", 1, None).await.unwrap(), 2);
    let redis = Redis::connect(&server.url(), PATIENT).unwrap();
    for key in ["k", "n"] {
        let mut command = redis::cmd("PTTL");
        command.arg(format!("test:kv:v:1:a:{key}"));
        let left: i64 = redis.query(&command).await.unwrap();
        assert!((1..=3_600_000).contains(&left), "{key}: {left}");
    }
    let moment = Some(Duration::from_millis(1));
    store.set("a", "k", text("v"), moment).await.unwrap();
    let work = async {
        while store.exists("a", "k").await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT, work).await.unwrap();
    assert_eq!(store.keys("a").await.unwrap(), ["n"]);
    // One that was dropped before its end is not listed either.
    let _: i64 = redis
        .query(redis::cmd("DEL").arg("test:kv:v:1:a:n"))
        .await
        .unwrap();
    assert!(store.keys("a").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_guest_that_hoards_forgets_its_own() {
    let store = KeyValue::in_memory(64 << 10, clock());
    store.set("modest", "k", text("v"), None).await.unwrap();
    store.set("hoard", "first", text("v"), None).await.unwrap();
    store.set("hoard", "used", text("v"), None).await.unwrap();
    for key in 0..1_000 {
        let value = Bytes::from(vec![0; 1 << 10]);
        store
            .set("hoard", &key.to_string(), value, None)
            .await
            .unwrap();
        assert_eq!(holds(&store, "hoard", "used").await.as_deref(), Some("v"));
    }
    assert_eq!(holds(&store, "modest", "k").await.as_deref(), Some("v"));
    assert_eq!(holds(&store, "hoard", "first").await, None);
    assert!(store.keys("hoard").await.unwrap().len() < 64);
}

#[tokio::test]
async fn a_silent_redis_is_an_error_after_its_deadline() {
    let mut server = tidegate_services::Redis::ephemeral().unwrap();
    let redis = Redis::connect(&server.url(), Duration::from_millis(20)).unwrap();
    redis.warm_up().await;
    let store = KeyValue::in_redis(redis, "test");
    server.pause();
    for _ in 0..5 {
        let answer = tokio::time::timeout(PATIENT, store.get("a", "k")).await;
        assert!(matches!(answer, Ok(Err(KeyValueError::Unavailable(_)))));
    }
    server.resume();
}
