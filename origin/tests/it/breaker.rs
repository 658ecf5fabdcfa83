//! A database that is away is asked no more, and is asked again by itself; one that is busy says so in time.

use std::{sync::Arc, time::Duration};

use hyper::StatusCode;
use serde_json::json;
use tidegate_origin::{Clock, Config};
use tidegate_services::{Postgres, Redis};
use tokio::task::JoinSet;

use crate::support::{Answer, House, activity, config, database, patiently};

const REST: Duration = Duration::from_secs(1);
const OPEN: &str = "tidegate_database_refused_total{reason=\"CircuitOpen\"}";

async fn write(house: &House) -> Answer {
    house
        .post("/write/document", json!({"key": "k", "data": 1}))
        .await
}

async fn circuit(house: &House) -> String {
    let health = house.get("/health").await.json();
    health["databases"]["circuit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_database_that_is_away_is_asked_no_more_until_it_may_be_back() {
    let clock = Clock::manual();
    let mut postgres = Postgres::ephemeral().unwrap();
    let house = Arc::new(House::by(&clock, config(postgres.url())).await);
    write(&house).await.expect(StatusCode::OK);
    assert_eq!(circuit(&house).await, "closed");
    postgres.halt();
    let mut sending = JoinSet::new();
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/courses").await });
    }
    for answer in sending.join_all().await {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    // From here on, as the clock stands still, nobody waits for it, and each is told how long that lasts.
    let before = house.metric(OPEN).await.unwrap_or_default();
    for _ in 0..3 {
        let answer = write(&house).await;
        assert_eq!(answer.header("retry-after"), "1");
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(house.metric(OPEN).await, Some(before + 3.0));
    assert_eq!(
        house.metric("tidegate_database_circuit_open").await,
        Some(1.0)
    );
    let health = house.get("/health").await;
    let health = health.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    assert_eq!(
        (&health["status"], &health["databases"]),
        (
            &json!("unhealthy"),
            &json!({"postgresql": "unreachable", "circuit": "open"})
        )
    );

    // One may try after the rest; it fails, and the others rest again.
    clock.advance(REST);
    write(&house).await.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(circuit(&house).await, "open");

    postgres.restart().unwrap();
    write(&house).await.problem(StatusCode::SERVICE_UNAVAILABLE);
    patiently("it closes by itself", || async {
        clock.advance(REST);
        write(&house).await.status == StatusCode::OK
    })
    .await;
    assert_eq!(circuit(&house).await, "closed");
    assert_eq!(
        house.metric("tidegate_database_circuit_open").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_no_outage() {
    let house = Arc::new(House::open().await);
    let course = house.course(10).await;
    let mut users = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        users.push(house.user(name).await);
    }
    let mut holder = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM courses FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut sending = JoinSet::new();
    for user in users {
        let house = house.clone();
        let path = format!("/courses/{course}/enrollments");
        sending.spawn(async move { house.post(&path, json!({"user_id": user})).await });
    }
    for answer in sending.join_all().await {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(circuit(&house).await, "closed");
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn statements_that_the_database_cancels_leave_the_circuit_closed() {
    let house = Arc::new(House::open().await);
    house
        .sql(
            "ALTER TABLE documents RENAME TO kept;
             CREATE VIEW documents AS SELECT kept.* FROM pg_sleep(600) LEFT JOIN kept ON true",
        )
        .await;
    let mut sending = JoinSet::new();
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/read/document/k").await });
    }
    for answer in sending.join_all().await {
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(circuit(&house).await, "closed");
    house.get("/courses").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn when_all_connections_are_in_use_the_others_are_told_in_time_and_the_database_is_not_blamed()
 {
    let config = Config {
        pool_min: 1,
        pool_max: 2,
        ..config(database().await)
    };
    let house = Arc::new(House::told(config).await);
    let mut holder = house.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE documents")
        .execute(&mut *holder)
        .await
        .unwrap();
    // Two hold the connections and wait for the table; the rest wait for a connection.
    let mut sending = JoinSet::new();
    for _ in 0..12 {
        let house = house.clone();
        sending.spawn(async move { write(&house).await });
    }
    loop {
        let answer = sending.join_next().await.expect("one is told").unwrap();
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        let is_busy = answer.json()["type"] == "urn:tidegate:busy";
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
        if is_busy {
            break;
        }
    }
    holder.rollback().await.unwrap();
    sending.join_all().await;
    assert_eq!(circuit(&house).await, "closed");
    write(&house).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn what_redis_and_the_database_answer_together_leaves_the_database_alone_too() {
    let clock = Clock::manual();
    let mut postgres = Postgres::ephemeral().unwrap();
    let redis = Redis::ephemeral().unwrap();
    let config = Config {
        activity: activity(&redis),
        ..config(postgres.url())
    };
    let house = Arc::new(House::by(&clock, config).await);
    postgres.halt();
    let mut sending = JoinSet::new();
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/reactions/a").await });
    }
    for answer in sending.join_all().await {
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(circuit(&house).await, "open");
    let before = house.metric(OPEN).await.unwrap_or_default();
    for answer in [
        house.get("/reactions/a").await,
        house.get("/drafts/7/journal").await,
        house
            .post("/drafts/7/journal/final", json!({"data": "done"}))
            .await,
        house.get("/events").await,
    ] {
        assert_eq!(answer.header("retry-after"), "1");
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(house.metric(OPEN).await, Some(before + 4.0));
    // What Redis alone answers for goes on.
    house
        .post("/reactions/a", json!({"reaction": "like"}))
        .await
        .expect(StatusCode::ACCEPTED);
    postgres.restart().unwrap();
}
