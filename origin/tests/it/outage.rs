//! Without its database the origin says so, and says when to come back.

use hyper::StatusCode;
use serde_json::json;
use tidegate_services::Postgres;

use crate::support::{House, database, patiently};

#[tokio::test]
async fn a_request_without_a_database_is_told_to_come_back() {
    let postgres = Postgres::ephemeral().unwrap();
    let house = House::before(postgres.url()).await;
    house.get("/courses").await.expect(StatusCode::OK);
    postgres.stop();
    for answer in [
        house.get("/courses").await,
        house
            .post("/write/document", json!({"key": "a", "data": 1}))
            .await,
    ] {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    let health = house
        .get("/health")
        .await
        .expect(StatusCode::SERVICE_UNAVAILABLE)
        .json();
    assert_eq!(health["status"], "unhealthy");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_as_such_without_a_database() {
    let postgres = Postgres::ephemeral().unwrap();
    let house = House::before(postgres.url()).await;
    postgres.stop();
    let long = format!("/read/document/{}", "k".repeat(201));
    for path in [
        "/courses?limit=0",
        "/courses/1/students?after=x",
        "/users/1/enrollments?limit=0",
        "/courses/search?q=%20",
        "/courses/popular?top_k=0",
        "/read/transaction/1?limit=0",
        "/events?limit=0",
        "/trending?limit=0",
        &long,
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.header("retry-after"), "", "{path}");
        answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_migration_waits_in_turns_for_who_reads_the_tables() {
    let url = database().await;
    let house = House::before(url.clone()).await;
    // As if those that make the outbox had not run: they may be run again.
    house
        .sql("DELETE FROM _sqlx_migrations WHERE version IN (3, 4)")
        .await;
    house.origin.shutdown().await;
    let mut reader = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM outbox")
        .execute(&mut *reader)
        .await
        .unwrap();
    let starting = tokio::spawn(House::before(url));
    let waited = std::sync::Mutex::new(std::collections::BTreeSet::new());
    patiently("it gives up its place in the queue and comes again", || {
        let (pool, waited) = (&house.pool, &waited);
        async move {
            let pids: Vec<i32> = sqlx::query_scalar(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'",
            )
            .fetch_all(pool)
            .await
            .unwrap();
            let mut waited = waited.lock().unwrap();
            waited.extend(pids);
            waited.len() > 1
        }
    })
    .await;
    reader.rollback().await.unwrap();
    starting.await.unwrap();
}
