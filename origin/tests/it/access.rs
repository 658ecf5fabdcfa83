//! Only the edge is answered.

use hyper::{Method, StatusCode};

use crate::support::{House, TOKEN};

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
