//! Only the edge is answered, and everybody as what they are.

use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::access::{Role, sign};

use crate::support::{House, SECRET, TOKEN, config, database};

#[tokio::test]
async fn a_request_without_the_edges_token_is_refused_and_changes_nothing() {
    let house = House::open().await;
    let longer = format!("{TOKEN}x");
    let rows: [&[(&str, &str)]; 4] = [
        &[],
        &[("x-service-token", "")],
        &[("x-service-token", "the-edge's-toke")],
        &[("x-service-token", &longer)],
    ];
    for headers in rows {
        for path in ["/courses", "/users/1", "/nowhere", "/healthy", "/health/"] {
            let answer = house.send(Method::GET, path, headers, "").await;
            assert_eq!(answer.header("www-authenticate"), "ServiceToken");
            assert_eq!(answer.header("cache-control"), "no-store");
            answer.problem(StatusCode::UNAUTHORIZED);
        }
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        let document = r#"{"key":"a","data":1}"#;
        house
            .send(Method::POST, "/write/document", &headers, document)
            .await
            .problem(StatusCode::UNAUTHORIZED);
    }
    house
        .get("/read/document/a")
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn health_and_the_description_are_open() {
    let house = House::open().await;
    let health = house
        .send(Method::GET, "/health", &[], "")
        .await
        .expect(StatusCode::OK);
    assert_eq!(health.json()["status"], "healthy");
    assert_eq!(health.json()["databases"]["postgresql"], "connected");
    assert_eq!(health.header("cache-control"), "no-store");
    let description = house
        .send(Method::GET, "/openapi.json", &[], "")
        .await
        .expect(StatusCode::OK)
        .json();
    for (path, methods) in [
        ("/users", &["post"][..]),
        ("/users/{id}", &["get", "patch", "delete"]),
        ("/users/{id}/enrollments", &["get"]),
        ("/courses", &["get", "post"]),
        ("/courses/{id}", &["get", "patch"]),
        ("/courses/{id}/publish", &["post"]),
        ("/courses/{id}/students", &["get"]),
        ("/courses/{id}/enrollments", &["post"]),
        (
            "/courses/{id}/enrollments/{user_id}",
            &["get", "patch", "delete"],
        ),
        ("/courses/{id}/enrollments/{user_id}/transfer", &["post"]),
        ("/write/document", &["post"]),
        ("/read/document/{key}", &["get"]),
        ("/write/transaction", &["post"]),
        ("/read/transaction/{user_id}", &["get"]),
        ("/courses/search", &["get"]),
        ("/courses/search/clicks", &["post"]),
        ("/courses/popular", &["get"]),
        ("/api/monitoring/database/health", &["get"]),
        ("/api/monitoring/performance", &["get"]),
        ("/stats", &["get"]),
        ("/health", &["get"]),
    ] {
        for method in methods {
            assert!(
                description["paths"][path][method].is_object(),
                "{method} {path} is not described"
            );
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

fn student(name: &str) -> Value {
    json!({"email": format!("{name}@example.org"), "username": name, "full_name": name})
}

#[tokio::test]
async fn a_token_that_is_not_to_be_believed_is_refused() {
    let house = House::open().await;
    let now = SystemTime::now();
    let later = now + HOUR;
    let token = sign(SECRET, 7, Role::Admin, later);
    for (wrong, detail) in [
        (format!("Basic {token}"), "authorization"),
        (token.clone(), "authorization"),
        (
            format!("Bearer {}", sign(SECRET, 7, Role::Admin, now - HOUR)),
            "expired",
        ),
        (
            format!(
                "Bearer {}",
                sign("another key of thirty-two bytes.", 7, Role::Admin, later)
            ),
            "signed",
        ),
        ("Bearer a.b.c".to_owned(), "signed"),
    ] {
        let refused = house.showing(wrong).post("/users", student("a")).await;
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer error=\"invalid_token\""
        );
        assert_eq!(refused.header("cache-control"), "no-store");
        assert!(refused.json()["detail"].as_str().unwrap().contains(detail));
        refused.problem(StatusCode::UNAUTHORIZED);
    }
    assert_eq!(house.number("SELECT count(*) FROM users").await, 0);
    let two = [("authorization", "Bearer a.b.c")];
    let twice = house.showing(format!("Bearer {token}"));
    let twice = twice.ask_with(Method::POST, "/users", &two, student("a"));
    twice.await.problem(StatusCode::UNAUTHORIZED);
    // The scheme's name is in any case.
    let right = house.showing(format!("bearer {token}"));
    right
        .post("/users", student("a"))
        .await
        .expect(StatusCode::CREATED);
    // Where it does not matter who asks, nobody looks.
    let wrong = house.showing("Bearer a.b.c".to_owned());
    wrong.get("/courses").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn without_a_key_no_token_is_believed() {
    let config = tidegate_origin::Config {
        jwt_secret: None,
        ..config(database().await)
    };
    let house = House::told(config).await;
    let unknown = house.as_user(7, Role::Admin);
    let refused = unknown.post("/users", student("a")).await;
    refused.problem(StatusCode::UNAUTHORIZED);
    let made = house.anonymous().post("/users", student("a")).await;
    assert_eq!(made.expect(StatusCode::CREATED).json()["role"], "student");
}

#[tokio::test]
async fn each_user_has_idempotency_keys_of_their_own() {
    let house = House::open().await;
    let key = [("idempotency-key", "k")];
    for (name, guest) in [
        ("a", house.anonymous()),
        ("b", house.as_user(1, Role::Student)),
        ("c", house.as_user(2, Role::Student)),
    ] {
        for replayed in ["", "true"] {
            let made = guest.ask_with(Method::POST, "/users", &key, student(name));
            let made = made.await.expect(StatusCode::CREATED);
            assert_eq!(made.header("idempotency-replayed"), replayed);
            assert_eq!(made.json()["username"], name);
        }
    }
    // All who are anonymous share one, in which a key stands for one body.
    let other = house.anonymous();
    let other = other
        .ask_with(Method::POST, "/users", &key, student("d"))
        .await;
    other.problem(StatusCode::UNPROCESSABLE_ENTITY);
}
