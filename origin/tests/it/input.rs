//! What cannot be used is refused with its reason, and never with a 500.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{House, TOKEN};

const JSON: [(&str, &str); 2] = [
    ("x-service-token", TOKEN),
    ("content-type", "application/json"),
];

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let house = House::open().await;
    for body in ["", "{", "{\"key\":\"a\",\"data\":1}}", "key=a", "\u{0}"] {
        house
            .send(Method::POST, "/write/document", &JSON, body)
            .await
            .problem(StatusCode::BAD_REQUEST);
    }
    let form = [
        ("x-service-token", TOKEN),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    for headers in [&form[..], &form[..1]] {
        let answer = house
            .send(
                Method::POST,
                "/write/document",
                headers,
                "{\"key\":\"a\",\"data\":1}",
            )
            .await;
        answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_and_one_below_is_read() {
    let house = House::open().await;
    let document = |length| json!({"key": "k", "data": "x".repeat(length)}).to_string();
    house
        .send(Method::POST, "/write/document", &JSON, document(1_000_000))
        .await
        .expect(StatusCode::OK);
    let answer = house
        .send(Method::POST, "/write/document", &JSON, document(1_048_576))
        .await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_value_that_makes_no_sense_is_refused_by_its_name() {
    let house = House::open().await;
    let user = |field: &str, value: Value| {
        let mut user = json!({"email": "a@example.org", "username": "a", "full_name": "A"});
        user[field] = value;
        ("/users", user)
    };
    let course = |field: &str, value: Value| {
        let mut course = json!({"title": "T", "category": "c", "difficulty_level": "beginner", "max_students": 1});
        course[field] = value;
        ("/courses", course)
    };
    let payment = |field: &str, value: Value| {
        let mut payment = json!({"user_id": 1, "amount": "1", "transaction_type": "purchase"});
        payment[field] = value;
        ("/write/transaction", payment)
    };
    for ((path, body), field) in [
        (user("email", json!("nobody")), "email"),
        (user("email", json!("a b@example.org")), "email"),
        (user("email", json!(5)), "email"),
        (user("username", json!(" ")), "username"),
        (user("full_name", json!("x".repeat(201))), "full_name"),
        (user("full_name", json!("zero\0")), "full_name"),
        (user("role", json!("pirate")), "role"),
        (course("title", json!("")), "title"),
        (course("description", json!("zero\0")), "description"),
        (
            course("difficulty_level", json!("hard")),
            "difficulty_level",
        ),
        (course("max_students", json!(0)), "max_students"),
        (
            course("max_students", json!(3_000_000_000_u64)),
            "max_students",
        ),
        (course("price", json!("1.005")), "price"),
        (course("price", json!("-1")), "price"),
        (course("instructor_id", json!(999)), "instructor_id"),
        (payment("amount", json!("0.001")), "amount"),
        (payment("amount", json!("100000000")), "amount"),
        (payment("amount", json!("much")), "amount"),
        (payment("transaction_type", json!("")), "transaction_type"),
        (payment("user_id", json!("1")), "user_id"),
        (("/users", json!({"email": "a@example.org"})), "username"),
        (("/write/document", json!({"key": "", "data": 1})), "key"),
        (
            (
                "/write/document",
                json!({"key": "k".repeat(201), "data": 1}),
            ),
            "key",
        ),
        (("/write/document", json!({"key": "k"})), "data"),
    ] {
        let named = house
            .post(path, body.clone())
            .await
            .problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field), "{path} {body}");
    }
    for path in [
        "/courses?limit=0",
        "/courses?limit=101",
        "/courses?offset=-1",
        "/read/document/%00",
    ] {
        house
            .get(path)
            .await
            .problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    for (path, field) in [
        ("/courses?limit=many", "limit"),
        ("/courses?offset=1.5", "offset"),
        ("/courses/search?q=a&top_k=many", "top_k"),
        ("/courses/search?q=a&max_price=dear", "max_price"),
        ("/courses/search?category=c", "q"),
        ("/read/transaction/1?limit=-", "limit"),
    ] {
        let named = house.get(path).await.problem(StatusCode::BAD_REQUEST);
        assert_eq!(named.as_deref(), Some(field), "{path}");
    }
    // PostgreSQL keeps no zero character inside JSON either.
    let zero = json!({"key": "k", "data": {"text": "\0"}});
    house
        .post("/write/document", zero)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    house
        .get("/courses?category=%00")
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_taken_value_is_a_conflict_by_its_name() {
    let house = House::open().await;
    house.user("ada").await;
    let ben = house.user("ben").await;
    for (email, username, field) in [
        ("ada@example.org", "x", "email"),
        ("x@example.org", "ada", "username"),
    ] {
        let user = json!({"email": email, "username": username, "full_name": "X"});
        assert_eq!(
            house
                .post("/users", user)
                .await
                .problem(StatusCode::CONFLICT)
                .as_deref(),
            Some(field)
        );
    }
    let taken = house
        .patch(&format!("/users/{ben}"), json!({"username": "ada"}))
        .await;
    assert_eq!(
        taken.problem(StatusCode::CONFLICT).as_deref(),
        Some("username")
    );
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_named_as_such() {
    let house = House::open().await;
    let answer = house.delete("/courses").await;
    assert!(answer.header("allow").contains("GET"));
    answer.problem(StatusCode::METHOD_NOT_ALLOWED);
}
