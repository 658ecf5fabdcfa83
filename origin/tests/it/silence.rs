//! A database that falls silent in the midst of a statement is not waited for: neither by a request, nor by what works
//! behind requests, nor when the origin stops.

use std::{sync::Arc, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::json;
use tidegate_origin::{Clock, Config};
use tidegate_services::{Postgres, Redis};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    support::{House, activity, config, database, patiently},
    wire::Wire,
};

const PATIENCE: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(1);

async fn circuit(house: &House) -> serde_json::Value {
    house.get("/health").await.json()["databases"]["circuit"].clone()
}

#[tokio::test]
async fn requests_whose_statements_are_never_answered_end_free_their_connections_and_open_the_circuit()
 {
    let clock = Clock::manual();
    let wire = Wire::to(&database().await).await;
    let config = Config {
        pool_max: 5,
        ..config(wire.url())
    };
    let house = Arc::new(House::by(&clock, config).await);
    wire.catch(["FROM documents"; 5]);
    let mut sending = JoinSet::new();
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/read/document/k").await });
    }
    wire.caught(5).await;
    let answers = timeout(PATIENCE, sending.join_all()).await;
    for answer in answers.expect("requests wait for ever") {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(circuit(&house).await, "open");
    // The connections are as silent as before; others take their place.
    clock.advance(REST);
    let mut sending = JoinSet::new();
    patiently("one request closes the circuit", || async {
        clock.advance(REST);
        house.get("/courses").await.status == StatusCode::OK
    })
    .await;
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/read/document/k").await });
    }
    for answer in sending.join_all().await {
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_write_that_is_never_answered_leaves_nothing_locked_for_the_next_one() {
    let wire = Wire::to(&database().await).await;
    let config = Config {
        pool_max: 2,
        ..config(wire.url())
    };
    let house = House::told(config).await;
    wire.catch(["INSERT INTO documents"; 2]);
    for _ in 0..2 {
        let document = json!({"key": "k", "data": 1});
        let writing = timeout(PATIENCE, house.post("/write/document", document));
        let answer = writing.await.expect("the write waits for ever");
        assert_eq!(answer.header("tidegate-lsn"), "primary");
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    house
        .post("/write/document", json!({"key": "k", "data": 2}))
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn what_works_behind_requests_goes_on_over_another_connection() {
    let redis = Redis::ephemeral().unwrap();
    let wire = Wire::to(&database().await).await;
    let config = Config {
        activity: activity(&redis),
        ..config(wire.url())
    };
    let house = House::told(config).await;
    wire.catch([
        "INSERT INTO events",
        "INSERT INTO reaction_batches",
        "INSERT INTO drafts",
        "DELETE FROM outbox",
    ]);
    let event = json!({"user_id": 1, "event_type": "seen"});
    house
        .post("/events", event)
        .await
        .expect(StatusCode::ACCEPTED);
    house
        .post("/reactions/a", json!({"reaction": "like"}))
        .await
        .expect(StatusCode::ACCEPTED);
    let draft = json!({"data": "written"});
    house
        .ask_with(Method::PUT, "/drafts/7/diary", &[], draft)
        .await
        .expect(StatusCode::OK);
    house
        .post("/write/document", json!({"key": "k", "data": 1}))
        .await
        .expect(StatusCode::OK);
    wire.caught(4).await;
    house.sink.wait_for(&["document:k"]).await;
    for written in [
        "SELECT count(*) FROM events",
        "SELECT count(*) FROM reactions",
        "SELECT count(*) FROM drafts",
    ] {
        patiently(written, || async { house.number(written).await == 1 }).await;
    }
}

#[tokio::test]
async fn an_origin_stops_although_its_database_says_nothing() {
    let redis = Redis::ephemeral().unwrap();
    let wire = Wire::to(&database().await).await;
    let config = Config {
        activity: activity(&redis),
        ..config(wire.url())
    };
    let house = House::told(config).await;
    wire.catch(["INSERT INTO events"]);
    let event = json!({"user_id": 1, "event_type": "seen"});
    house
        .post("/events", event)
        .await
        .expect(StatusCode::ACCEPTED);
    wire.caught(1).await;
    wire.set_down(true);
    let stopping = timeout(PATIENCE, house.origin.shutdown());
    stopping.await.expect("it waits for ever");
}

#[tokio::test]
async fn a_database_that_stands_still_is_left_alone_and_used_again_when_it_goes_on() {
    let clock = Clock::manual();
    let postgres = Postgres::ephemeral().unwrap();
    let house = Arc::new(House::by(&clock, config(postgres.url())).await);
    house.get("/courses").await.expect(StatusCode::OK);
    let paused = postgres.pause();
    let mut sending = JoinSet::new();
    for _ in 0..5 {
        let house = house.clone();
        sending.spawn(async move { house.get("/courses").await });
    }
    let answers = timeout(PATIENCE, sending.join_all()).await;
    for answer in answers.expect("requests wait for ever") {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(circuit(&house).await, "open");
    drop(paused);
    patiently("it closes by itself", || async {
        clock.advance(REST);
        house.get("/courses").await.status == StatusCode::OK
    })
    .await;
}
