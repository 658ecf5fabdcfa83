//! What is gathered in Redis and written behind: sums that no crash makes wrong. Sessions and presence, which never are.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_services::Redis;

use crate::support::{
    Answer, House, TOKEN, activity, database, exists, gathering, patiently, told, writing,
};

const OPEN: &str = "{tidegate-origin:reactions}:open";
const CLOSED: &str = "{tidegate-origin:reactions}:closed-batches";

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

/// Closes the open batch, as a worker does, and returns its number.
async fn close(redis: &Redis) -> String {
    let number = told(redis, redis::cmd("HGET").arg(OPEN).arg("batch")).await;
    let number: String = redis::from_redis_value(number).unwrap();
    let closed = format!("{{tidegate-origin:reactions}}:closed:{number}");
    told(redis, redis::cmd("RENAME").arg(OPEN).arg(closed)).await;
    told(redis, redis::cmd("RPUSH").arg(CLOSED).arg(&number)).await;
    number
}

async fn are_folded(redis: &Redis) {
    patiently("all is folded", || async {
        !exists(redis, OPEN).await && !exists(redis, CLOSED).await
    })
    .await;
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
        (json!({"reaction": "like", "delta": i64::MIN}), "delta"),
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
    let number = close(&redis).await;
    react(&house, "a", "like", 1)
        .await
        .expect(StatusCode::ACCEPTED);
    assert_eq!(reactions(&house, "a").await, json!({"like": 4}));
    // Another has folded it, and crashed before Redis was told.
    sqlx::query("WITH batch AS (INSERT INTO reaction_batches (id) VALUES ($1::uuid)) INSERT INTO reactions VALUES ('a', 'like', 3)")
        .bind(number)
        .execute(&house.pool)
        .await
        .unwrap();
    assert_eq!(reactions(&house, "a").await, json!({"like": 4}));
    let worker = writing(&redis, &url).await;
    are_folded(&redis).await;
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

#[tokio::test]
async fn what_is_added_after_a_restart_of_redis_is_in_no_batch_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start_in(folder.path()).unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    for _ in 0..3 {
        react(&house, "a", "like", 1)
            .await
            .expect(StatusCode::ACCEPTED);
    }
    // The batch was closed and folded, and that is what Redis has not kept.
    let number = told(&redis, redis::cmd("HGET").arg(OPEN).arg("batch")).await;
    let number: String = redis::from_redis_value(number).unwrap();
    sqlx::query("WITH batch AS (INSERT INTO reaction_batches (id) VALUES ($1::uuid)) INSERT INTO reactions VALUES ('a', 'like', 3)")
        .bind(number)
        .execute(&house.pool)
        .await
        .unwrap();
    let wrote = redis::cmd("INFO").arg("persistence").clone();
    patiently("what was answered is on disk", || async {
        let told = told(&redis, &mut wrote.clone()).await;
        let told: String = redis::from_redis_value(told).unwrap();
        told.contains("aof_pending_bio_fsync:0") && told.contains("aof_buffer_length:0")
    })
    .await;
    redis.kill();
    redis.restart().unwrap();
    assert!(exists(&redis, OPEN).await);
    patiently("reactions are accepted again", || async {
        react(&house, "a", "sad", 1).await.status == StatusCode::ACCEPTED
    })
    .await;
    let after = reactions(&house, "a").await;
    assert_eq!(after["like"], 3);
    let sad = after["sad"].as_i64().unwrap();
    assert!(sad >= 1);
    let worker = writing(&redis, &url).await;
    are_folded(&redis).await;
    assert_eq!(
        reactions(&worker, "a").await,
        json!({"like": 3, "sad": sad})
    );
}

#[tokio::test]
async fn a_batch_has_so_many_counters_and_one_that_fails_is_gone_past() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house
        .sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled'; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON reactions FOR EACH ROW WHEN (new.target = 'slow')
                 EXECUTE FUNCTION slow();",
        )
        .await;
    react(&house, "slow", "like", 1)
        .await
        .expect(StatusCode::ACCEPTED);
    let mut more = redis::cmd("HSET");
    more.arg(OPEN);
    for number in 0..999 {
        more.arg(json!([number.to_string(), "like"]).to_string())
            .arg(1);
    }
    told(&redis, &mut more).await;
    // One more of what there is needs no room.
    for (target, closed) in [("slow", 0), ("a", 1), ("b", 1)] {
        react(&house, target, "like", 1)
            .await
            .expect(StatusCode::ACCEPTED);
        let batches = told(&redis, redis::cmd("LLEN").arg(CLOSED)).await;
        assert_eq!(batches, redis::Value::Int(closed));
    }
    let worker = writing(&redis, &url).await;
    patiently("the batch behind it is folded", || async {
        house.number("SELECT count(*) FROM reactions").await == 2
    })
    .await;
    assert_eq!(reactions(&worker, "slow").await, json!({"like": 2}));
    house.sql("DROP TRIGGER slow ON reactions").await;
    are_folded(&redis).await;
    assert_eq!(
        house
            .number("SELECT sum(count)::bigint FROM reactions")
            .await,
        1_003
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
