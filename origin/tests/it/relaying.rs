//! What the relay survives, and that nothing is lost by it.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tidegate_services::Postgres;

use crate::support::{House, database, patiently};

async fn is_empty(house: &House) -> bool {
    house.outbox().await.is_empty()
}

/// The process numbers of the backends that listen in the house's database.
async fn listeners(house: &House) -> Vec<i32> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .fetch_all(&house.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_relay_that_ends_between_append_and_commit_repeats_and_loses_nothing() {
    let url = database().await;
    let house = House::before(url.clone()).await;
    house.sink.hangs.store(true, Ordering::Relaxed);
    house
        .sql("INSERT INTO outbox (tags) VALUES ('{once}')")
        .await;
    house.sink.wait_for(&["once"]).await;
    assert_eq!(
        house.outbox().await,
        ["once"],
        "it is gone before it is recorded"
    );
    house.origin.shutdown().await;
    let next = House::before(url).await;
    next.sink.wait_for(&["once"]).await;
    patiently("the row is gone", || is_empty(&next)).await;
}

#[tokio::test]
async fn two_relays_share_the_work_and_neither_waits_for_what_the_other_holds() {
    let url = database().await;
    let stuck = House::before(url.clone()).await;
    stuck.sink.hangs.store(true, Ordering::Relaxed);
    stuck
        .sql("INSERT INTO outbox (tags) VALUES ('{held}')")
        .await;
    stuck.sink.wait_for(&["held"]).await;
    // From here on the first relay holds a row and does not come back for another.
    let other = House::before(url).await;
    other
        .sql("INSERT INTO outbox (tags) SELECT ARRAY['t' || n] FROM generate_series(1, 1500) AS n")
        .await;
    let rest: Vec<String> = (1..=1500).map(|n| format!("t{n}")).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    other.sink.wait_for(&rest).await;
    assert_eq!(
        other.sink.received().len(),
        1500,
        "something came twice, or what the other holds"
    );
    assert_eq!(other.outbox().await, ["held"]);
}

#[tokio::test]
async fn a_listener_whose_connection_is_cut_listens_again_and_misses_nothing() {
    let house = House::open().await;
    patiently("the relay listens", || async {
        !listeners(&house).await.is_empty()
    })
    .await;
    let cut = listeners(&house).await;
    for pid in &cut {
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(pid)
            .execute(&house.pool)
            .await
            .unwrap();
    }
    house
        .sql("INSERT INTO outbox (tags) VALUES ('{meanwhile}')")
        .await;
    house.sink.wait_for(&["meanwhile"]).await;
    patiently("another connection listens", || async {
        listeners(&house).await.iter().any(|pid| !cut.contains(pid))
    })
    .await;
}

#[tokio::test]
async fn a_database_that_starts_anew_delivers_what_was_committed_before_and_after() {
    let mut postgres = Postgres::ephemeral().unwrap();
    let house = House::before(postgres.url()).await;
    house.sink.refuses.store(true, Ordering::Relaxed);
    house
        .sql("SET synchronous_commit = on; INSERT INTO outbox (tags) VALUES ('{before}')")
        .await;
    postgres.restart().unwrap();
    house.sink.refuses.store(false, Ordering::Relaxed);
    house.sink.wait_for(&["before"]).await;
    patiently("the origin writes again", || async {
        let document = json!({"key": "after", "data": 1});
        house.post("/write/document", document).await.status == StatusCode::OK
    })
    .await;
    house.sink.wait_for(&["document:after"]).await;
}

#[tokio::test]
async fn what_waited_for_a_log_that_was_away_is_delivered_whole() {
    let house = House::with_full_outbox().await;
    house
        .sql("DO $$ BEGIN FOR n IN 1..10000 LOOP INSERT INTO documents VALUES (n, '1'); END LOOP; END $$")
        .await;
    assert_eq!(house.metric("tidegate_outbox_rows").await, Some(10_000.0));
    house.sink.refuses.store(false, Ordering::Relaxed);
    let all: Vec<String> = (1..=10_000).map(|n| format!("document:{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    patiently("all are delivered", || is_empty(&house)).await;
    let received: std::collections::BTreeSet<_> = house.sink.received().into_iter().collect();
    assert!(all.iter().all(|tag| received.contains(*tag)));
}

#[tokio::test]
async fn what_no_log_could_use_is_refused_where_it_is_written() {
    let house = House::with_full_outbox().await;
    let long = "x".repeat(4_097);
    for tags in [
        "'{}'",
        "'{\"\"}'",
        "'{a,NULL}'",
        "'{\"a b\"}'",
        "E'{\"a\\nb\"}'",
        "'{ü}'",
        &format!("ARRAY['{long}']"),
        "array_fill('t'::text, ARRAY[100000])",
        "'{{a,b},{c,d}}'",
        "'[0:1]={a,b}'",
    ] {
        let insert = format!("INSERT INTO outbox (tags) VALUES ({tags})");
        let refused = sqlx::raw_sql(AssertSqlSafe(insert))
            .execute(&house.pool)
            .await
            .expect_err(&tags[..tags.len().min(40)]);
        let refused = refused.into_database_error().unwrap();
        assert_eq!(refused.constraint(), Some("outbox_tags_check"), "{refused}");
    }
}

#[tokio::test]
async fn what_stood_in_the_outbox_before_it_was_refused_does_not_keep_others_waiting() {
    let house = House::open().await;
    house
        .sql(
            "BEGIN;
             ALTER TABLE outbox DROP CONSTRAINT outbox_tags_check;
             INSERT INTO outbox (tags) VALUES ('{}'), ('{NULL}'), ('{\"a b\",beside}'), (ARRAY[repeat('x', 1000000)]),
                 (ARRAY(SELECT 't' || n FROM generate_series(1, 100000) AS n)), ('{behind}');
             COMMIT",
        )
        .await;
    house
        .sink
        .wait_for(&["beside", "behind", "t1", "t100000"])
        .await;
    patiently("the outbox is empty", || is_empty(&house)).await;
    assert_eq!(house.sink.received().len(), 100_002);
    let unusable = house.metric("tidegate_outbox_unusable_tags_total").await;
    assert_eq!(unusable, Some(2.0));
}

#[tokio::test]
async fn rows_of_odd_shapes_and_dates_are_delivered_like_others() {
    let house = House::open().await;
    house
        .sql(
            "BEGIN;
             ALTER TABLE outbox DROP CONSTRAINT outbox_tags_check, DROP CONSTRAINT outbox_created_at_check;
             INSERT INTO outbox (tags) VALUES ('{{a,b},{c,d}}'), ('[0:1]={e,f}'), ('[3:4]={g,NULL}');
             INSERT INTO outbox (tags, created_at) VALUES ('{h}', 'infinity'), ('{i}', '-infinity'), ('{behind}', now());
             COMMIT",
        )
        .await;
    house
        .sink
        .wait_for(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "behind"])
        .await;
    patiently("the outbox is empty", || is_empty(&house)).await;
    assert_eq!(house.metric("tidegate_outbox_rows").await, Some(0.0));
}

#[tokio::test]
async fn a_row_that_the_database_cannot_give_is_set_aside_and_keeps_nobody_waiting() {
    let house = House::open().await;
    house
        .sql(
            "BEGIN;
             CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'damaged'; END$$;
             CREATE TRIGGER keep BEFORE DELETE ON outbox FOR EACH ROW WHEN (OLD.tags[1] = 'bad') EXECUTE FUNCTION keep();
             INSERT INTO outbox (tags) VALUES ('{before}'), ('{bad}'), ('{behind}');
             INSERT INTO outbox (tags) SELECT ARRAY['t' || n] FROM generate_series(1, 300) AS n;
             INSERT INTO outbox (tags) VALUES ('{bad,two}'), ('{last}');
             COMMIT",
        )
        .await;
    house
        .sink
        .wait_for(&["before", "behind", "t1", "t300", "last"])
        .await;
    patiently("all others are gone", || async {
        house.outbox().await == ["bad", "two"]
    })
    .await;
    house
        .sql("INSERT INTO outbox (tags) VALUES ('{new}')")
        .await;
    house.sink.wait_for(&["new"]).await;
    let aside = house.metric("tidegate_outbox_unusable_rows_total").await;
    assert_eq!(aside, Some(2.0));
    assert!(!house.sink.received().iter().any(|tag| tag == "bad"));
}

#[tokio::test]
async fn what_is_behind_tags_that_are_refused_is_offered_and_so_is_what_is_written_later() {
    let house = House::with_full_outbox().await;
    *house.sink.detests.lock().unwrap() = Some("refused");
    house
        .sql(
            "INSERT INTO outbox (tags) VALUES ('{refused}');
             INSERT INTO outbox (tags) SELECT ARRAY['t' || n] FROM generate_series(1, 1000) AS n",
        )
        .await;
    house.sink.refuses.store(false, Ordering::Relaxed);
    house.sink.wait_for(&["t200", "t1000"]).await;
    for later in ["x", "y", "z"] {
        sqlx::query("INSERT INTO outbox (tags) VALUES (ARRAY[$1])")
            .bind(later)
            .execute(&house.pool)
            .await
            .unwrap();
        house.sink.wait_for(&[later]).await;
    }
    // Written without an end: what was refused gets its turn all the same.
    *house.sink.detests.lock().unwrap() = None;
    let mut number = 0;
    patiently("what was refused is offered again", || {
        number += 1;
        let (house, number) = (&house, number);
        async move {
            sqlx::query("INSERT INTO outbox (tags) VALUES (ARRAY['w' || $1::int])")
                .bind(number)
                .execute(&house.pool)
                .await
                .unwrap();
            house.sink.received().iter().any(|tag| tag == "refused")
        }
    })
    .await;
    patiently("the outbox is empty", || is_empty(&house)).await;
}

#[tokio::test]
async fn tags_come_with_a_position_behind_the_commit_of_their_change() {
    let house = House::open().await;
    let mut transaction = house.pool.begin().await.unwrap();
    sqlx::query("INSERT INTO documents VALUES ('a', '1')")
        .execute(&mut *transaction)
        .await
        .unwrap();
    // Where a trigger would read it: the commit is still to come.
    let written: String = sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    house.sink.wait_for(&["document:a"]).await;
    let seen = house.sink.seen()[0].expect("the database says where it is");
    let (timeline, position) = seen.to_string().split_once(':').map(own).unwrap();
    assert_eq!(timeline, "1");
    let is_behind: bool = sqlx::query_scalar("SELECT $1::pg_lsn > $2::pg_lsn")
        .bind(position)
        .bind(written)
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert!(is_behind);
}

fn own((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
