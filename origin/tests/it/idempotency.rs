//! A request that names a key is done once, however often it comes and whatever breaks.

use std::{sync::Arc, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::{Clock, access::Role};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::support::{ADMIN, Answer, House, TOKEN, bearer, config, database, patiently};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REPLAYED: &str = "idempotency-replayed";

#[track_caller]
fn assert_replays(again: &Answer, first: &Answer) {
    assert_eq!(again.status, first.status);
    assert_eq!(again.bytes, first.bytes);
    for name in ["location", "content-type", "etag", "cache-control"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(
        (first.header(REPLAYED), again.header(REPLAYED)),
        ("", "true")
    );
}

#[tokio::test]
async fn whatever_makes_something_is_done_once_under_a_key_and_answered_the_same() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let course = house.course(5).await;
    let seats = format!("/courses/{course}/enrollments");
    let draft =
        json!({"title": "T", "category": "c", "difficulty_level": "beginner", "max_students": 1});
    for (path, body, count) in [
        (
            "/users".to_owned(),
            json!({"email": "c@example.org", "username": "c", "full_name": "C"}),
            "SELECT count(*) FROM users WHERE username = 'c'",
        ),
        (
            "/courses".to_owned(),
            draft,
            "SELECT count(*) FROM courses WHERE title = 'T'",
        ),
        (
            seats.clone(),
            json!({"user_id": ada}),
            "SELECT count(*) FROM enrollments",
        ),
        (
            format!("{seats}/{ada}/transfer"),
            json!({"to_user_id": ben}),
            "SELECT count(*) FROM enrollments",
        ),
        (
            "/write/transaction".to_owned(),
            json!({"user_id": ada, "amount": "1.00", "transaction_type": "purchase"}),
            "SELECT count(*) FROM transactions",
        ),
        (
            "/write/document".to_owned(),
            json!({"key": "k", "data": [1]}),
            "SELECT count(*) FROM documents",
        ),
    ] {
        let key = format!("key of {path}").replace(' ', "-");
        let first = house.post_as(&key, &path, body.clone()).await;
        assert!(first.status.is_success(), "{path}: {}", first.status);
        // In quotes or without, it is the same key.
        for key in [key.clone(), format!("\"{key}\"")] {
            assert_replays(&house.post_as(&key, &path, body.clone()).await, &first);
        }
        assert_eq!(house.number(count).await, 1, "{path}");
    }
    // A document that is replaced by somebody else meanwhile stays: the repeat writes nothing.
    house
        .post("/write/document", json!({"key": "k", "data": [2]}))
        .await
        .expect(StatusCode::OK);
    house
        .post_as(
            "key-of-/write/document",
            "/write/document",
            json!({"key": "k", "data": [1]}),
        )
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        house.get("/read/document/k").await.json()["data"],
        json!([2])
    );
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let house = House::open().await;
    let payment = |amount: &str| json!({"user_id": 1, "amount": amount, "transaction_type": "fee"});
    house
        .post_as("a", "/write/transaction", payment("1.00"))
        .await
        .expect(StatusCode::OK);
    let document = json!({"key": "k", "data": 1});
    for (path, body) in [
        ("/write/transaction", payment("2.00")),
        ("/write/transaction?x", payment("1.00")),
        ("/write/document", document),
    ] {
        let other = house.post_as("a", path, body).await;
        assert_eq!(other.json()["type"], "urn:tidegate:key-reused");
        assert_eq!(
            other.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
            Some("idempotency-key")
        );
    }
    for bad in ["", "a b", &"k".repeat(256)] {
        let refused = house
            .post_as(bad, "/write/transaction", payment("1.00"))
            .await;
        assert_eq!(
            refused.problem(StatusCode::BAD_REQUEST).as_deref(),
            Some("idempotency-key")
        );
    }
    assert_eq!(house.number("SELECT count(*) FROM transactions").await, 1);
}

#[tokio::test]
async fn a_refusal_that_was_decided_is_kept_and_leaves_no_trace() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let course = house.course(1).await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    let full = house
        .post_as("a", &path, json!({"user_id": ben}))
        .await
        .expect(StatusCode::CONFLICT);
    // A statement that failed in the midst, too: here a name that is taken.
    let taken = json!({"email": "x@example.org", "username": "ada", "full_name": "X"});
    let first = house
        .post_as("b", "/users", taken.clone())
        .await
        .expect(StatusCode::CONFLICT);
    assert_replays(&house.post_as("b", "/users", taken).await, &first);
    house
        .delete(&format!("{path}/{ada}"))
        .await
        .expect(StatusCode::NO_CONTENT);
    // The seat is free now, but that request has been told that it is not.
    assert_replays(
        &house.post_as("a", &path, json!({"user_id": ben})).await,
        &full,
    );
    house
        .post_as("c", &path, json!({"user_id": ben}))
        .await
        .expect(StatusCode::CREATED);
    // What needed no database is decided anew: the key is still free.
    let mut user = json!({"email": "nobody", "username": "d", "full_name": "D"});
    house
        .post_as("d", "/users", user.clone())
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    user["email"] = json!("d@example.org");
    house
        .post_as("d", "/users", user)
        .await
        .expect(StatusCode::CREATED);
}

#[tokio::test]
async fn of_many_at_once_under_one_key_one_is_done() {
    let house = Arc::new(House::open().await);
    let body = json!({"user_id": 7, "amount": "5.00", "transaction_type": "purchase"});
    let mut sending = JoinSet::new();
    for _ in 0..32 {
        let (house, body) = (house.clone(), body.clone());
        sending.spawn(async move { house.post_as("once", "/write/transaction", body).await });
    }
    let answers = sending.join_all().await;
    let first: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status.is_success() && answer.header(REPLAYED).is_empty())
        .collect();
    assert_eq!(first.len(), 1);
    for answer in &answers {
        match answer.status {
            StatusCode::OK => assert_eq!(answer.bytes, first[0].bytes),
            StatusCode::CONFLICT => {
                assert_eq!(answer.json()["type"], "urn:tidegate:in-progress");
                assert!(answer.header("retry-after").parse::<u32>().is_ok());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(house.number("SELECT count(*) FROM transactions").await, 1);
}

/// Waits until a request of the origin waits for a lock, and says which of PostgreSQL's processes does its work.
async fn waiting_for_a_lock(house: &House) -> i32 {
    let find = || {
        sqlx::query_scalar::<_, i32>(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'",
        )
        .fetch_optional(&house.pool)
    };
    patiently("a request waits for the lock", || async {
        find().await.unwrap().is_some()
    })
    .await;
    find().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_request_in_progress_is_told_from_one_whose_connection_was_killed() {
    let house = Arc::new(House::open().await);
    let ada = house.user("ada").await;
    let course = house.course(5).await;
    let path = format!("/courses/{course}/enrollments");
    // Somebody else holds the course's row, so the request stops in the midst.
    let mut holder = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM courses FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let first = tokio::spawn({
        let (house, path) = (house.clone(), path.clone());
        async move { house.post_as("a", &path, json!({"user_id": ada})).await }
    });
    let process = waiting_for_a_lock(&house).await;
    let second = house.post_as("a", &path, json!({"user_id": ada})).await;
    assert_eq!(second.json()["type"], "urn:tidegate:in-progress");
    second.problem(StatusCode::CONFLICT);

    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(process)
        .execute(&house.pool)
        .await
        .unwrap();
    first
        .await
        .unwrap()
        .problem(StatusCode::SERVICE_UNAVAILABLE);
    holder.rollback().await.unwrap();
    assert_eq!(house.number("SELECT count(*) FROM enrollments").await, 0);

    // Neither the effect nor the record is there, and nothing is in progress.
    let made = house.post_as("a", &path, json!({"user_id": ada})).await;
    assert_eq!(made.header(REPLAYED), "");
    made.expect(StatusCode::CREATED);
    let again = house.post_as("a", &path, json!({"user_id": ada})).await;
    assert_eq!(again.header(REPLAYED), "true");
    assert_eq!(
        house.get(&format!("/courses/{course}")).await.json()["current_enrollment"],
        1
    );
}

#[tokio::test]
async fn connections_that_are_killed_again_and_again_under_load_lose_nothing_and_double_nothing() {
    let house = Arc::new(House::open().await);
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let house = house.clone();
        clients.spawn(async move {
            for number in 0..10 {
                let (key, amount) = (format!("{client}-{number}"), client * 10 + number);
                let body = json!({"user_id": 7, "amount": amount, "transaction_type": "fee"});
                patiently("it is done in the end", || async {
                    let answer = house
                        .post_as(&key, "/write/transaction", body.clone())
                        .await;
                    let may_come_again = [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE];
                    let done = answer.status == StatusCode::OK;
                    assert!(done || may_come_again.contains(&answer.status));
                    done
                })
                .await;
            }
        });
    }
    let rows = "SELECT count(*) FROM transactions";
    for _ in 0..20 {
        let before = house.number(rows).await;
        house
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'tidegate-origin'",
            )
            .await;
        patiently(
            "something is done between one time and the next",
            || async {
                let now = house.number(rows).await;
                now > before || now == 80
            },
        )
        .await;
    }
    clients.join_all().await;
    assert_eq!(house.number(rows).await, 80);
    let distinct = "SELECT count(DISTINCT amount) FROM transactions";
    assert_eq!(house.number(distinct).await, 80);
    let kept = "SELECT count(*) FROM idempotency_keys";
    assert_eq!(house.number(kept).await, 80);
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_and_comes_again_has_it_done_once() {
    let house = House::open().await;
    let body = json!({"user_id": 7, "amount": "5.00", "transaction_type": "purchase"});
    let text = body.to_string();
    let bearer = bearer(ADMIN, Role::Admin);
    for round in 0..20 {
        let mut client = TcpStream::connect(house.origin.addr()).await.unwrap();
        let request = format!(
            "POST /write/transaction HTTP/1.1\r\nhost: o\r\nx-service-token: {TOKEN}\r\nauthorization: {bearer}\r\n\
             idempotency-key: {round}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        // Sooner or later in its course, whatever the machine's pace.
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        drop(client);
        patiently("the repeat is answered", || async {
            let again = house
                .post_as(&round.to_string(), "/write/transaction", body.clone())
                .await;
            again.status == StatusCode::OK
        })
        .await;
    }
    assert_eq!(house.number("SELECT count(*) FROM transactions").await, 20);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_then_makes_room() {
    let clock = Clock::manual();
    let house = House::by(&clock, config(database().await)).await;
    let payment = |amount: &str| json!({"user_id": 1, "amount": amount, "transaction_type": "fee"});
    for key in ["a", "b", "c"] {
        house
            .post_as(key, "/write/transaction", payment("1.00"))
            .await
            .expect(StatusCode::OK);
    }
    clock.advance(DAY - Duration::from_secs(1));
    let kept = house
        .post_as("a", "/write/transaction", payment("1.00"))
        .await;
    assert_eq!(kept.header(REPLAYED), "true");
    clock.advance(Duration::from_secs(1));
    // The key is free, for any request.
    let anew = house
        .post_as("a", "/write/transaction", payment("2.00"))
        .await
        .expect(StatusCode::OK);
    assert_eq!(anew.header(REPLAYED), "");
    // And what had expired beside it is gone.
    let left = house.number("SELECT count(*) FROM idempotency_keys").await;
    assert_eq!(left, 1);
}

#[tokio::test]
async fn without_a_key_nothing_is_recorded() {
    let house = House::open().await;
    house.user("ada").await;
    house
        .ask_with(
            Method::GET,
            "/courses",
            &[("idempotency-key", "a")],
            Value::Null,
        )
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        house.number("SELECT count(*) FROM idempotency_keys").await,
        0
    );
}

#[tokio::test]
async fn what_a_request_demands_is_part_of_what_its_key_stands_for() {
    let house = House::open().await;
    let document = json!({"key": "k", "data": 1});
    let first = house.post("/write/document", document.clone()).await;
    let write = async |condition: &str| {
        let fields = [("idempotency-key", "one"), ("if-match", condition)];
        let document = document.clone();
        house
            .ask_with(Method::POST, "/write/document", &fields, document)
            .await
    };
    write("\"another\"")
        .await
        .problem(StatusCode::PRECONDITION_FAILED);
    // The same key with the right condition is another request, and is not given the old refusal.
    let field = write(first.header("etag"))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(field.as_deref(), Some("idempotency-key"));
    let again = write("\"another\"").await;
    assert_eq!(again.header(REPLAYED), "true");
    again.problem(StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn what_is_kept_with_a_key_is_bounded() {
    let house = House::open().await;
    let long = json!({"key": "k", "data": "x".repeat(300 * 1024)});
    house
        .post_as("one", "/write/document", long.clone())
        .await
        .problem(StatusCode::PAYLOAD_TOO_LARGE);
    house
        .post("/write/document", long)
        .await
        .expect(StatusCode::OK);
}
