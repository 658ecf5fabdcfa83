//! What the origin says of itself to those who watch it.

use hyper::{Method, StatusCode};

use crate::support::{House, TOKEN, patiently};

#[tokio::test]
async fn how_far_the_outbox_is_behind_can_be_seen() {
    let house = House::with_full_outbox().await;
    house
        .sql("INSERT INTO outbox (tags, created_at) VALUES ('{a}', clock_timestamp() - interval '1 hour'), ('{b}', DEFAULT)")
        .await;
    assert_eq!(house.metric("tidegate_outbox_rows").await, Some(2.0));
    let oldest = house
        .metric("tidegate_outbox_oldest_seconds")
        .await
        .unwrap();
    assert!((3_600.0..3_700.0).contains(&oldest), "{oldest}");
    patiently("failures are counted", || async {
        let failures = "tidegate_outbox_failures_total{reason=\"Log\"}";
        house
            .metric(failures)
            .await
            .is_some_and(|count| count > 0.0)
    })
    .await;
}

#[tokio::test]
async fn the_time_from_a_rows_writing_to_the_log_is_measured() {
    let house = House::open().await;
    house
        .sql("INSERT INTO outbox (tags, created_at) VALUES ('{a,b}', clock_timestamp() - interval '1 hour'), ('{c}', DEFAULT)")
        .await;
    patiently("both rows are measured", || async {
        house.metric("tidegate_outbox_delivery_seconds_count").await == Some(2.0)
    })
    .await;
    let sum = house
        .metric("tidegate_outbox_delivery_seconds_sum")
        .await
        .unwrap();
    assert!((3_600.0..3_700.0).contains(&sum), "{sum}");
    let slow = "tidegate_outbox_delivery_seconds_bucket{le=\"600.0\"}";
    assert_eq!(house.metric(slow).await, Some(1.0));
    assert_eq!(house.metric("tidegate_outbox_tags_total").await, Some(3.0));
    assert_eq!(house.metric("tidegate_outbox_rows").await, Some(0.0));
    assert_eq!(
        house.metric("tidegate_outbox_oldest_seconds").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn a_row_is_dated_when_it_is_written_and_not_when_its_transaction_began() {
    let house = House::with_full_outbox().await;
    house
        .sql(
            "DO $$ BEGIN PERFORM pg_sleep(0.01); INSERT INTO documents VALUES ('a', '1');
              ASSERT (SELECT bool_and(created_at > now()) FROM outbox); END $$",
        )
        .await;
}

#[tokio::test]
async fn metrics_are_for_those_beside_the_origin_and_not_for_those_who_come_through_an_edge() {
    let house = House::open().await;
    let direct = house.send(Method::GET, "/metrics", &[], "").await;
    assert_eq!(direct.header("cache-control"), "no-store");
    let text = String::from_utf8(direct.expect(StatusCode::OK).bytes.to_vec()).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for token in [TOKEN, "another", ""] {
        let headers = [("x-service-token", token)];
        house
            .send(Method::GET, "/metrics", &headers, "")
            .await
            .problem(StatusCode::NOT_FOUND);
    }
}
