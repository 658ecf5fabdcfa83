//! The origin says how its database does, and how long it takes, to those beside it.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use tidegate_origin::Config;
use tidegate_services::Postgres;
use tokio::task::JoinSet;

use crate::support::{Answer, House, TOKEN, config, database, patiently};

async fn see(house: &House, path: &str) -> Answer {
    let path = format!("/api/monitoring/{path}");
    house.send(Method::GET, &path, &[], "").await
}

#[tokio::test]
async fn the_database_is_seen_with_its_pool_its_replica_and_its_outbox() {
    let house = House::with_full_outbox().await;
    house
        .sql("INSERT INTO outbox (tags, created_at) VALUES ('{a}', clock_timestamp() - interval '1 hour')")
        .await;
    let health = see(&house, "database/health").await;
    assert_eq!(health.header("cache-control"), "no-store");
    let health = health.expect(StatusCode::OK).json();
    assert_eq!(
        (&health["status"], &health["circuit"]),
        (&json!("healthy"), &json!("closed"))
    );
    assert!(
        health["latency_ms"]
            .as_f64()
            .is_some_and(|latency| latency > 0.0)
    );
    let pool = &health["pool"];
    assert_eq!((&pool["max"], &pool["waiting"]), (&json!(10), &json!(0)));
    assert!(
        pool["size"]
            .as_u64()
            .is_some_and(|size| (1..=10).contains(&size))
    );
    assert_eq!(
        health["replica"],
        json!({"configured": false, "lag_bytes": null})
    );
    assert_eq!(health["outbox"]["rows"], 1);
    let oldest = health["outbox"]["oldest_seconds"].as_f64().unwrap();
    assert!((3_600.0..7_200.0).contains(&oldest), "{oldest}");
}

#[tokio::test]
async fn a_database_that_is_away_is_seen_as_such() {
    let postgres = Postgres::ephemeral().unwrap();
    let house = House::before(postgres.url()).await;
    postgres.stop();
    let health = see(&house, "database/health").await;
    let health = health.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    assert_eq!(health["status"], "unhealthy");
    assert_eq!(health["latency_ms"], json!(null));
    assert_eq!(health["outbox"]["rows"], json!(null));
}

#[tokio::test]
async fn requests_are_counted_and_their_times_taken() {
    let house = House::open().await;
    house.get("/courses").await.expect(StatusCode::OK);
    house.get("/courses/1").await.problem(StatusCode::NOT_FOUND);
    house.sql("DROP TABLE documents").await;
    house
        .get("/read/document/a")
        .await
        .problem(StatusCode::INTERNAL_SERVER_ERROR);
    // A time is taken once its answer is made, and a connection's once that is given back.
    patiently("all times are taken", || async {
        let seen = see(&house, "performance").await.json();
        seen["query_ms"]["count"].as_u64() >= Some(3)
            && seen["requests"]["total"].as_u64() >= Some(3)
    })
    .await;
    let seen = see(&house, "performance")
        .await
        .expect(StatusCode::OK)
        .json();
    assert_eq!(seen["requests"]["failed"], 1);
    let rate = seen["requests"]["error_rate_percent"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 100.0 / 3.0, "{rate}");
    for times in ["response_ms", "query_ms"] {
        let at = |percentile: &str| seen[times][percentile].as_f64().unwrap();
        assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"));
    }
    for (metric, least) in [
        ("tidegate_origin_requests_total{outcome=\"Done\"}", 1.0),
        ("tidegate_origin_requests_total{outcome=\"Refused\"}", 1.0),
        ("tidegate_origin_requests_total{outcome=\"Failed\"}", 1.0),
        ("tidegate_origin_request_seconds_count", 3.0),
        (
            "tidegate_database_query_seconds_count{purpose=\"Read\"}",
            3.0,
        ),
        ("tidegate_database_connections{state=\"Idle\"}", 0.0),
        ("tidegate_database_connections{state=\"Used\"}", 0.0),
        ("tidegate_database_waiting_requests", 0.0),
        ("tidegate_database_circuit_open", 0.0),
    ] {
        let value = house.metric(metric).await;
        assert!(
            value.is_some_and(|value| value >= least),
            "{metric}: {value:?}"
        );
    }
}

#[tokio::test]
async fn who_comes_through_an_edge_sees_nothing_of_it() {
    let house = House::open().await;
    for path in ["database/health", "performance", "nothing"] {
        let path = format!("/api/monitoring/{path}");
        let headers = [("x-service-token", TOKEN)];
        house
            .send(Method::GET, &path, &headers, "")
            .await
            .problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn who_watches_takes_no_connection_from_requests() {
    let config = Config {
        pool_max: 2,
        ..config(database().await)
    };
    let house = Arc::new(House::told(config).await);
    let mut holder = house.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE outbox")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut watching = JoinSet::new();
    for path in ["/metrics", "/api/monitoring/database/health"].repeat(3) {
        let house = house.clone();
        watching.spawn(async move { house.send(Method::GET, path, &[], "").await });
    }
    patiently("one asks how many rows wait, for all of them", || async {
        // It may be cancelled just now, and asked again by the next.
        house
            .number(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND query LIKE '%clock_timestamp() - created_at%AS \"oldest!\"%'",
            )
            .await
            == 1
    })
    .await;
    for _ in 0..3 {
        house.get("/courses").await.expect(StatusCode::OK);
    }
    holder.rollback().await.unwrap();
    for answer in watching.join_all().await {
        answer.expect(StatusCode::OK);
    }
}
