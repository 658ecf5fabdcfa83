//! An origin starts without its database, and does what it can until that is there.

use hyper::StatusCode;
use serde_json::json;
use tidegate_origin::{Config, ConnectError, Origin, StartError};
use tidegate_services::{Postgres, Redis};

use crate::support::{House, activity, config, patiently};

#[tokio::test]
async fn events_are_accepted_before_the_database_is_there_and_the_rest_follows_when_it_is() {
    let mut postgres = Postgres::ephemeral().unwrap();
    let redis = Redis::ephemeral().unwrap();
    postgres.halt();
    let config = Config {
        activity: activity(&redis),
        ..config(postgres.url())
    };
    let house = House::told(config).await;
    let event = json!({"user_id": 1, "event_type": "seen"});
    house
        .post("/events", event)
        .await
        .expect(StatusCode::ACCEPTED);
    for answer in [
        house.get("/courses").await,
        house
            .post("/write/document", json!({"key": "k", "data": 1}))
            .await,
    ] {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    let health = house.get("/health").await;
    let health = health.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    assert_eq!(
        (&health["status"], &health["databases"]["postgresql"]),
        (&json!("unhealthy"), &json!("starting"))
    );
    assert_eq!(house.metric("tidegate_outbox_rows").await, Some(-1.0));

    postgres.restart().unwrap();
    patiently("the tables are made and used", || async {
        house.get("/courses").await.status == StatusCode::OK
    })
    .await;
    house.get("/health").await.expect(StatusCode::OK);
    patiently("the event is in the table", || async {
        house.number("SELECT count(*) FROM events").await == 1
    })
    .await;
    house
        .post("/write/document", json!({"key": "k", "data": 1}))
        .await
        .expect(StatusCode::OK);
    house.sink.wait_for(&["document:k"]).await;
    house.origin.seed().await.unwrap();
}

#[tokio::test]
async fn an_origin_that_has_never_reached_its_database_stops_when_it_is_told() {
    let mut postgres = Postgres::ephemeral().unwrap();
    postgres.halt();
    let house = House::before(postgres.url()).await;
    house.origin.shutdown().await;
}

#[tokio::test]
async fn a_database_that_turns_the_origin_away_ends_the_start_and_is_named_without_the_password() {
    let postgres = Postgres::ephemeral().unwrap();
    let url = postgres.url();
    for (url, name, reason) in [
        (
            url.replace("postgres@", "nobody:hunter2@"),
            "tidegate",
            "does not exist",
        ),
        (
            url.replace("postgres@", "postgres:hunter2@")
                .replace("/tidegate", "/nowhere"),
            "nowhere",
            "does not exist",
        ),
    ] {
        let error = Origin::start(config(url), House::sink())
            .await
            .err()
            .unwrap();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
        match error {
            StartError::Connect(ConnectError::Database {
                database,
                reason: given,
                is_passing,
                ..
            }) => {
                assert_eq!(database, name);
                assert!(given.contains(reason) && !is_passing, "{text}");
            }
            other => panic!("{other}"),
        }
    }
    let error = Origin::start(
        config("mysql://someone:hunter2@h/d".to_owned()),
        House::sink(),
    )
    .await
    .err()
    .unwrap();
    assert!(
        matches!(error, StartError::Connect(ConnectError::Url))
            && !format!("{error:?}").contains("hunter2")
    );
}
