//! What is gathered in Redis and written behind: sums that no crash makes wrong, drafts that do not come back.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::{Activity, Config};
use tidegate_services::Redis;

use crate::support::{Answer, House, TOKEN, activity, config, database, patiently, told};

const OPEN: &str = "{tidegate-origin:reactions}:open";
const CLOSED: &str = "{tidegate-origin:reactions}:closed";
const DIRTY: &str = "{tidegate-origin:drafts}:dirty";

/// An origin that writes nothing behind by itself.
async fn gathering(redis: &Redis, url: &str) -> House {
    House::told(Config {
        activity: Activity {
            events_workers: 0,
            ..activity(redis)
        },
        ..config(url.to_owned())
    })
    .await
}

async fn writing(redis: &Redis, url: &str) -> House {
    House::told(Config {
        activity: activity(redis),
        ..config(url.to_owned())
    })
    .await
}

async fn react(house: &House, target: &str, reaction: &str, delta: i64) -> Answer {
    let path = format!("/reactions/{target}");
    house
        .post(&path, json!({"reaction": reaction, "delta": delta}))
        .await
}

async fn reactions(house: &House, target: &str) -> Value {
    let answer = house.get(&format!("/reactions/{target}")).await;
    answer.expect(StatusCode::OK).json()["reactions"].clone()
}

async fn exists(redis: &Redis, key: &str) -> bool {
    told(redis, redis::cmd("EXISTS").arg(key)).await == redis::Value::Int(1)
}

#[tokio::test]
async fn reactions_are_counted_at_once_and_written_behind() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    for (reaction, delta) in [
        ("like", 1),
        ("like", 1),
        ("sad", 1),
        ("like", -1),
        ("love", 1),
        ("love", -1),
    ] {
        react(&house, "message:1", reaction, delta)
            .await
            .expect(StatusCode::ACCEPTED);
    }
    react(&house, "message:2", "like", 1)
        .await
        .expect(StatusCode::ACCEPTED);
    assert_eq!(
        reactions(&house, "message:1").await,
        json!({"like": 1, "sad": 1})
    );
    let answer = house.get("/reactions/message:1").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=5");

    let worker = writing(&redis, &url).await;
    patiently("they are in the table", || async {
        let sum: Option<i64> = sqlx::query_scalar("SELECT sum(count)::bigint FROM reactions")
            .fetch_one(&house.pool)
            .await
            .unwrap();
        sum == Some(3)
    })
    .await;
    for origin in [&house, &worker] {
        assert_eq!(
            reactions(origin, "message:1").await,
            json!({"like": 1, "sad": 1})
        );
        assert_eq!(reactions(origin, "message:2").await, json!({"like": 1}));
        assert_eq!(reactions(origin, "message:3").await, json!({}));
    }
    for (body, field) in [
        (json!({"reaction": "shrug"}), "reaction"),
        (json!({"reaction": "like", "delta": 2}), "delta"),
        (json!({}), "reaction"),
    ] {
        let answer = house.post("/reactions/message:1", body).await;
        assert_eq!(
            answer.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
            Some(field)
        );
    }
}

#[tokio::test]
async fn a_batch_that_was_folded_before_a_crash_is_not_folded_again() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    for _ in 0..3 {
        react(&house, "a", "like", 1)
            .await
            .expect(StatusCode::ACCEPTED);
    }
    // A worker has closed the batch, and crashed before it was folded.
    told(&redis, redis::cmd("RENAME").arg(OPEN).arg(CLOSED)).await;
    react(&house, "a", "like", 1)
        .await
        .expect(StatusCode::ACCEPTED);
    assert_eq!(reactions(&house, "a").await, json!({"like": 4}));
    // Another has folded it, and crashed before Redis was told.
    let number = told(&redis, redis::cmd("HGET").arg(CLOSED).arg("batch")).await;
    let number: String = redis::from_redis_value(number).unwrap();
    sqlx::query("WITH batch AS (INSERT INTO reaction_batches (id) VALUES ($1::uuid)) INSERT INTO reactions VALUES ('a', 'like', 3)")
        .bind(number)
        .execute(&house.pool)
        .await
        .unwrap();
    assert_eq!(reactions(&house, "a").await, json!({"like": 4}));
    let worker = writing(&redis, &url).await;
    patiently("all is folded", || async {
        !exists(&redis, OPEN).await && !exists(&redis, CLOSED).await
    })
    .await;
    assert_eq!(reactions(&worker, "a").await, json!({"like": 4}));
    let sum: i64 = sqlx::query_scalar("SELECT count FROM reactions")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_eq!(sum, 4);
}

#[tokio::test]
async fn without_redis_sums_are_shown_as_the_table_has_them() {
    let mut redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    house
        .sql("INSERT INTO reactions VALUES ('a', 'like', 3)")
        .await;
    redis.kill();
    assert_eq!(reactions(&house, "a").await, json!({"like": 3}));
    let refused = react(&house, "a", "like", 1).await;
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    refused.problem(StatusCode::SERVICE_UNAVAILABLE);
}

async fn save(house: &House, path: &str, data: Value) -> i64 {
    let headers = [
        ("x-service-token", TOKEN),
        ("content-type", "application/json"),
    ];
    let body = json!({"data": data}).to_string();
    let answer = house.send(Method::PUT, path, &headers, body).await;
    answer.expect(StatusCode::OK).json()["revision"]
        .as_i64()
        .unwrap()
}

#[tokio::test]
async fn a_draft_is_saved_with_every_change_and_written_now_and_then() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    let path = "/drafts/7/journal";
    house.get(path).await.problem(StatusCode::NOT_FOUND);
    let first = save(&house, path, json!({"text": "I"})).await;
    let second = save(&house, path, json!({"text": "I was"})).await;
    assert!(second > first);
    let draft = house.get(path).await.expect(StatusCode::OK);
    assert_eq!(draft.header("cache-control"), "no-store");
    assert_eq!(draft.json()["data"], json!({"text": "I was"}));
    let lives = told(
        &redis,
        redis::cmd("TTL").arg("{tidegate-origin:drafts}:of:7:journal"),
    )
    .await;
    let lives: u64 = redis::from_redis_value(lives).unwrap();
    assert!((3_000..=3_600).contains(&lives), "{lives}");

    let _worker = writing(&redis, &url).await;
    patiently(
        "the draft is in the table, once, and waits no more",
        || async {
            let written: Option<(i64, Value)> =
                sqlx::query_as("SELECT revision, data FROM drafts WHERE user_id = 7")
                    .fetch_optional(&house.pool)
                    .await
                    .unwrap();
            written == Some((second, json!({"text": "I was"}))) && !exists(&redis, DIRTY).await
        },
    )
    .await;
    // As if its hour was over.
    told(
        &redis,
        redis::cmd("DEL").arg("{tidegate-origin:drafts}:of:7:journal"),
    )
    .await;
    let draft = house.get(path).await.expect(StatusCode::OK).json();
    assert_eq!(
        (&draft["data"], &draft["revision"]),
        (&json!({"text": "I was"}), &json!(second))
    );
}

#[tokio::test]
async fn a_draft_that_was_saved_for_good_does_not_come_back() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    let path = "/drafts/7/a b";
    let path = path.replace(' ', "%20");
    let old = save(&house, &path, json!("draft")).await;
    let done = house
        .post(&format!("{path}/final"), json!({"data": "done"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(done.json(), json!({"document": "draft/7:a b"}));
    house.get(&path).await.problem(StatusCode::NOT_FOUND);
    let document = house.get("/read/document/draft%2F7%3Aa%20b").await;
    let document = document.expect(StatusCode::OK);
    assert_eq!(document.header("cache-control"), "private, max-age=30");
    assert_eq!(document.json()["data"], json!("done"));
    // A write of the older draft was on its way.
    let mut late = redis::cmd("HSET");
    let late = late.arg("{tidegate-origin:drafts}:of:7:a b");
    told(
        &redis,
        late.arg("revision").arg(old).arg("data").arg("\"draft\""),
    )
    .await;
    told(&redis, redis::cmd("ZADD").arg(DIRTY).arg(old).arg("7:a b")).await;
    let worker = writing(&redis, &url).await;
    patiently("the late write is done", || async {
        !exists(&redis, DIRTY).await
    })
    .await;
    worker.get(&path).await.problem(StatusCode::NOT_FOUND);
    // A new draft of the name is another matter.
    save(&house, &path, json!("anew")).await;
    assert_eq!(
        house.get(&path).await.expect(StatusCode::OK).json()["data"],
        json!("anew")
    );
}

#[tokio::test]
async fn who_says_nothing_more_is_neither_present_nor_typing() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let put = |path: &'static str| house.send(Method::PUT, path, &[("x-service-token", TOKEN)], "");
    for path in [
        "/presence/1",
        "/presence/3",
        "/presence/4",
        "/circles/5/typing/1",
        "/circles/5/typing/2",
        "/circles/5/typing/3",
    ] {
        put(path).await.expect(StatusCode::NO_CONTENT);
    }
    let present = || async {
        house
            .get("/presence?users=1,2,3,4")
            .await
            .expect(StatusCode::OK)
            .json()
    };
    let typing = || async {
        house
            .get("/circles/5/typing")
            .await
            .expect(StatusCode::OK)
            .json()["typing"]
            .clone()
    };
    assert_eq!(present().await, json!({"present": [1, 3, 4]}));
    house
        .delete("/presence/4")
        .await
        .expect(StatusCode::NO_CONTENT);
    house
        .delete("/circles/5/typing/3")
        .await
        .expect(StatusCode::NO_CONTENT);
    assert_eq!(typing().await, json!([1, 2]));
    let lives = told(&redis, redis::cmd("TTL").arg("tidegate-origin:presence:1")).await;
    let lives: u64 = redis::from_redis_value(lives).unwrap();
    assert!((200..=300).contains(&lives), "{lives}");
    let until = told(
        &redis,
        redis::cmd("ZSCORE").arg("tidegate-origin:typing:5").arg(1),
    )
    .await;
    let until: f64 = redis::from_redis_value(until).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(
        until <= (now + Duration::from_secs(31)).as_secs_f64(),
        "{until}"
    );
    // As if their time was over.
    told(
        &redis,
        redis::cmd("PEXPIREAT")
            .arg("tidegate-origin:presence:1")
            .arg(1),
    )
    .await;
    told(
        &redis,
        redis::cmd("ZADD")
            .arg("tidegate-origin:typing:5")
            .arg(1)
            .arg(1),
    )
    .await;
    assert_eq!(present().await, json!({"present": [3]}));
    assert_eq!(typing().await, json!([2]));
    for query in ["users=", "users=one"] {
        let answer = house.get(&format!("/presence?{query}")).await;
        assert_eq!(
            answer.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
            Some("users")
        );
    }
    // Another circle is another matter.
    let other = house
        .get("/circles/6/typing")
        .await
        .expect(StatusCode::OK)
        .json();
    assert_eq!(other, json!({"circle_id": 6, "typing": []}));
}
