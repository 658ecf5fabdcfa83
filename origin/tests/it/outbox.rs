//! No change without its purge, no purge without its change.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use serde_json::json;

use crate::support::House;

#[tokio::test]
async fn tags_are_written_in_the_transaction_of_the_change() {
    let house = House::with_full_outbox().await;
    let ada = house.user("ada").await;
    let course = house.course(1).await;
    house.sql("TRUNCATE outbox").await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    let expected = [
        format!("course-students:{course}"),
        format!("course:{course}"),
        "courses".into(),
        format!("user-enrollments:{ada}"),
    ];
    assert_eq!(house.outbox().await, expected);
    // xmin is the transaction that wrote a row.
    let writers: Vec<String> = sqlx::query_scalar(
        "SELECT xmin::text FROM outbox UNION SELECT xmin::text FROM enrollments",
    )
    .fetch_all(&house.pool)
    .await
    .unwrap();
    assert_eq!(writers.len(), 1);
}

#[tokio::test]
async fn a_change_that_is_undone_announces_nothing() {
    let house = House::with_full_outbox().await;
    let ada = house.user("ada").await;
    let course = house.course(1).await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    house.sql("TRUNCATE outbox").await;
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .problem(StatusCode::CONFLICT);
    let user = json!({"email": "ada@example.org", "username": "x", "full_name": "X"});
    house
        .post("/users", user)
        .await
        .problem(StatusCode::CONFLICT);
    house
        .sql("BEGIN; UPDATE courses SET title = 'Undone'; ROLLBACK")
        .await;
    assert_eq!(house.outbox().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_change_by_hand_is_announced_like_any_other() {
    let house = House::with_full_outbox().await;
    for (statement, tags) in [
        (
            "INSERT INTO courses (id, title, category, difficulty_level, max_students) VALUES (7, 'A', 'c', 'beginner', 1), (8, 'B', 'c', 'beginner', 1)",
            &["course:7", "course:8", "courses"][..],
        ),
        (
            "UPDATE courses SET title = 'C' WHERE id = 7",
            &["course:7", "courses"],
        ),
        (
            "UPDATE courses SET id = 9 WHERE id = 8",
            &["course:8", "course:9", "courses"],
        ),
        ("UPDATE courses SET title = 'D' WHERE id = 1000", &[]),
        ("DELETE FROM courses WHERE id = 9", &["course:9", "courses"]),
        (
            "INSERT INTO documents VALUES ('a b', '1')",
            &["document:a%20b", "documents"],
        ),
        (
            "UPDATE documents SET data = '2'",
            &["document:a%20b", "documents"],
        ),
        ("TRUNCATE documents", &["documents", "table:documents"]),
    ] {
        house.sql("TRUNCATE outbox").await;
        house.sql(statement).await;
        assert_eq!(house.outbox().await, tags, "{statement}");
    }
}

#[tokio::test]
async fn a_statement_that_touches_more_than_a_thousand_rows_becomes_one_tag() {
    let house = House::with_full_outbox().await;
    house
        .sql("INSERT INTO documents SELECT n::text, '1' FROM generate_series(1, 1000) n")
        .await;
    // Each document, and the list.
    assert_eq!(house.outbox().await.len(), 1_001);
    house
        .sql("INSERT INTO documents VALUES ('one more', '1'); TRUNCATE outbox")
        .await;
    house.sql("UPDATE documents SET data = '2'").await;
    assert_eq!(house.outbox().await, ["documents", "table:documents"]);
}

#[tokio::test]
async fn a_change_by_hand_also_says_when_it_was() {
    let house = House::open().await;
    let course = house.course(1).await;
    let path = format!("/courses/{course}");
    let before = house.get(&path).await.json()["updated_at"].clone();
    house.sql("UPDATE courses SET title = 'By hand'").await;
    assert_ne!(house.get(&path).await.json()["updated_at"], before);
}

#[tokio::test]
async fn the_relay_offers_tags_again_until_the_log_takes_them_and_then_they_are_gone() {
    let house = House::open().await;
    house.sink.failures.store(3, Ordering::Relaxed);
    house
        .sql("INSERT INTO outbox (tags) VALUES ('{a,b}'), ('{b}'), ('{c}')")
        .await;
    house.sink.wait_for(&["a", "b", "c"]).await;
    assert_eq!(house.sink.failures.load(Ordering::Relaxed), 0);
    assert_eq!(house.sink.received(), ["a", "b", "c"], "tags were repeated");
    // The commit follows the append; the next delivery follows the commit.
    house.sql("INSERT INTO outbox (tags) VALUES ('{d}')").await;
    house.sink.wait_for(&["d"]).await;
    assert_eq!(house.sink.received(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn what_one_relay_leaves_the_next_one_delivers() {
    let house = House::with_full_outbox().await;
    house
        .sql("INSERT INTO outbox (tags) VALUES ('{left}')")
        .await;
    let url: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    let options = house.pool.connect_options();
    let url = format!("postgres://postgres@127.0.0.1:{}/{url}", options.get_port());
    house.origin.shutdown().await;
    let next = House::before(url).await;
    next.sink.wait_for(&["left"]).await;
}

#[tokio::test]
async fn a_commit_wakes_whoever_listens_and_a_rollback_does_not() {
    let house = House::with_full_outbox().await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&house.pool)
        .await
        .unwrap();
    listener.listen("tidegate_outbox").await.unwrap();
    house
        .sql("BEGIN; INSERT INTO documents VALUES ('undone', '1'); ROLLBACK")
        .await;
    house.sql("BEGIN; INSERT INTO documents VALUES ('a', '1'), ('b', '2'); DELETE FROM documents; COMMIT").await;
    house.sql("NOTIFY tidegate_outbox, 'last'").await;
    // One for the commit, whatever the number of its statements; none for the rollback.
    assert_eq!(listener.recv().await.unwrap().payload(), "");
    assert_eq!(listener.recv().await.unwrap().payload(), "last");
}
