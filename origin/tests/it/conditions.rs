//! A write may demand that nobody else has written: of two who saw the same, one wins and the other is told.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Answer, House};

async fn if_match(house: &House, method: Method, path: &str, etag: &str, body: Value) -> Answer {
    let condition = [("if-match", etag)];
    house.ask_with(method, path, &condition, body).await
}

/// A path and its validator.
struct Things {
    user: String,
    course: String,
    enrollment: String,
}

async fn things(house: &House) -> Things {
    let (user, course) = (house.user("ada").await, house.course(5).await);
    let seats = format!("/courses/{course}/enrollments");
    house
        .post(&seats, json!({"user_id": user}))
        .await
        .expect(StatusCode::CREATED);
    Things {
        user: format!("/users/{user}"),
        course: format!("/courses/{course}"),
        enrollment: format!("{seats}/{user}"),
    }
}

#[tokio::test]
async fn a_write_that_has_seen_the_current_state_is_done_and_one_that_has_not_is_refused() {
    let house = House::open().await;
    let things = things(&house).await;
    for (path, first, second) in [
        (
            &things.user,
            json!({"full_name": "A"}),
            json!({"full_name": "B"}),
        ),
        (&things.course, json!({"title": "A"}), json!({"title": "B"})),
        (
            &things.enrollment,
            json!({"progress_percentage": 10}),
            json!({"progress_percentage": 20}),
        ),
    ] {
        let seen = house.get(path).await.expect(StatusCode::OK);
        let seen = seen.header("etag");
        let changed = if_match(&house, Method::PATCH, path, seen, first)
            .await
            .expect(StatusCode::OK);
        // The answer has the new state's validator, the one that a GET shows.
        let shown = house.get(path).await;
        assert_eq!(changed.header("etag"), shown.header("etag"), "{path}");
        for stale in [seen, "W/\"a\"", "\"a\""] {
            let refused = if_match(&house, Method::PATCH, path, stale, second.clone()).await;
            assert_eq!(refused.json()["type"], "urn:tidegate:precondition");
            refused.problem(StatusCode::PRECONDITION_FAILED);
        }
        assert_eq!(house.get(path).await.bytes, shown.bytes, "{path}");
        let current = changed.header("etag");
        let listed = format!("\"a\", {current}");
        if_match(&house, Method::PATCH, path, &listed, second.clone())
            .await
            .expect(StatusCode::OK);
        if_match(&house, Method::PATCH, path, "*", second)
            .await
            .expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn removing_publishing_and_handing_over_can_be_conditional_too() {
    let house = House::open().await;
    let things = things(&house).await;
    let ben = house.user("ben").await;
    let transfer = format!("{}/transfer", things.enrollment);
    let publish = format!("{}/publish", things.course);
    for (method, path, body) in [
        (Method::DELETE, &things.user, Value::Null),
        (Method::DELETE, &things.enrollment, Value::Null),
        (Method::POST, &transfer, json!({"to_user_id": ben})),
        (Method::POST, &publish, Value::Null),
    ] {
        if_match(&house, method, path, "\"stale\"", body)
            .await
            .problem(StatusCode::PRECONDITION_FAILED);
    }
    let etag = |path: &str| {
        let path = path.to_owned();
        let house = &house;
        async move { house.get(&path).await.header("etag").to_owned() }
    };
    let course = etag(&things.course).await;
    if_match(&house, Method::POST, &publish, &course, Value::Null)
        .await
        .expect(StatusCode::OK);
    let enrollment = etag(&things.enrollment).await;
    let body = json!({"to_user_id": ben});
    if_match(&house, Method::POST, &transfer, &enrollment, body)
        .await
        .expect(StatusCode::CREATED);
    let moved = format!("{}/enrollments/{ben}", things.course);
    let enrollment = etag(&moved).await;
    if_match(&house, Method::DELETE, &moved, &enrollment, Value::Null)
        .await
        .expect(StatusCode::NO_CONTENT);
    let user = etag(&things.user).await;
    if_match(&house, Method::DELETE, &things.user, &user, Value::Null)
        .await
        .expect(StatusCode::NO_CONTENT);
    // RFC 9110 section 13.2.1: what is not there is not there, whatever is demanded of it.
    if_match(&house, Method::DELETE, &things.user, "*", Value::Null)
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_document_is_made_only_where_there_is_none_and_replaced_only_as_it_was_seen() {
    let house = House::open().await;
    let path = "/write/document";
    let document = |data: i32| json!({"key": "k", "data": data});
    let write = async |condition: (&str, &str), data| {
        let condition = [condition];
        house
            .ask_with(Method::POST, path, &condition, document(data))
            .await
    };
    for absent in ["*", "\"a\""] {
        write(("if-match", absent), 0)
            .await
            .problem(StatusCode::PRECONDITION_FAILED);
    }
    let made = write(("if-none-match", "*"), 1)
        .await
        .expect(StatusCode::OK);
    let shown = house.get("/read/document/k").await;
    assert_eq!(made.header("etag"), shown.header("etag"));
    write(("if-none-match", "*"), 2)
        .await
        .problem(StatusCode::PRECONDITION_FAILED);
    write(("if-match", made.header("etag")), 3)
        .await
        .expect(StatusCode::OK);
    write(("if-match", made.header("etag")), 4)
        .await
        .problem(StatusCode::PRECONDITION_FAILED);
    assert_eq!(house.get("/read/document/k").await.json()["data"], 3);
    // A number is not written as it is kept: the validator is of what is kept.
    let condition = [("if-match", "*")];
    let body = r#"{"key":"k","data":{"b":1e2,"a":1.50,"b":1.0}}"#;
    let headers = [
        ("x-service-token", crate::support::TOKEN),
        ("content-type", "application/json"),
        condition[0],
    ];
    let odd = house
        .send(Method::POST, path, &headers, body)
        .await
        .expect(StatusCode::OK);
    let shown = house.get("/read/document/k").await;
    assert_eq!(
        (odd.header("etag"), odd.bytes.clone()),
        (shown.header("etag"), shown.bytes.clone())
    );
}

#[tokio::test]
async fn of_16_who_saw_the_same_one_writes() {
    let house = Arc::new(House::open().await);
    let things = things(&house).await;
    house
        .post("/write/document", json!({"key": "k", "data": 0}))
        .await
        .expect(StatusCode::OK);
    for (shown, method, path, body) in [
        (
            things.user.clone(),
            Method::PATCH,
            things.user,
            json!({"full_name": "N"}),
        ),
        (
            things.course.clone(),
            Method::PATCH,
            things.course,
            json!({"title": "N"}),
        ),
        (
            things.enrollment.clone(),
            Method::PATCH,
            things.enrollment,
            json!({"progress_percentage": 50}),
        ),
        (
            "/read/document/k".to_owned(),
            Method::POST,
            "/write/document".to_owned(),
            json!({"key": "k", "data": 1}),
        ),
    ] {
        let etag = house.get(&shown).await.header("etag").to_owned();
        assert_eq!(
            statuses(&house, method, &path, ("if-match", &etag), body).await,
            (1, 15),
            "{path}"
        );
    }
    let body = json!({"key": "new", "data": 1});
    let made = ("if-none-match", "*");
    assert_eq!(
        statuses(&house, Method::POST, "/write/document", made, body).await,
        (1, 15)
    );
}

/// How many of 16 requests at once are done, and how many refused because of their condition.
async fn statuses(
    house: &Arc<House>,
    method: Method,
    path: &str,
    condition: (&'static str, &str),
    body: Value,
) -> (usize, usize) {
    let mut sending = JoinSet::new();
    for _ in 0..16 {
        let (house, method, path, body) =
            (house.clone(), method.clone(), path.to_owned(), body.clone());
        let (name, value) = (condition.0, condition.1.to_owned());
        sending.spawn(async move {
            let condition = [(name, value.as_str())];
            house.ask_with(method, &path, &condition, body).await.status
        });
    }
    let all = sending.join_all().await;
    let count = |wanted| all.iter().filter(|status| **status == wanted).count();
    (
        count(StatusCode::OK),
        count(StatusCode::PRECONDITION_FAILED),
    )
}
