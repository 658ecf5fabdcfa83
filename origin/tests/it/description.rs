//! The description says of every operation what all have in common. That it is true is tried by `origin/check-openapi`.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::House;

async fn description() -> Value {
    let house = House::open().await;
    let answer = house.send(Method::GET, "/openapi.json", &[], "").await;
    answer.expect(StatusCode::OK).json()
}

/// All operations, by method and path.
fn operations(description: &Value) -> Vec<(String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((format!("{method} {path}"), operation));
        }
    }
    assert!(operations.len() > 40, "{} operations", operations.len());
    operations
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_says_who_is_let_in() {
    let description = description().await;
    let mut names = BTreeSet::new();
    for (operation, described) in operations(&description) {
        let name = described["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{operation}: {name}");
        let is_open = ["get /health", "get /openapi.json"].contains(&operation.as_str())
            || operation.starts_with("get /api/monitoring/");
        let requirements = described["security"].as_array().unwrap();
        let asks = requirements
            .iter()
            .any(|one| one["ServiceToken"].is_array());
        assert_eq!(asks, !is_open, "{operation}");
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_and_every_operation_says_how_it_may_be_refused() {
    let description = description().await;
    for (operation, described) in operations(&description) {
        let responses = described["responses"].as_object().unwrap();
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{operation} {status}");
            let of_health = operation.contains("health") && status == "503";
            if status.as_str() >= "400" && !of_health {
                let body = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    body["$ref"], "#/components/schemas/Problem",
                    "{operation} {status}"
                );
                assert!(
                    response["content"]["application/json"].is_null(),
                    "{operation} {status}"
                );
            }
        }
        let needs_token = described["security"] != json!([]);
        let has_body = described["requestBody"].is_object();
        for (status, applies) in [
            ("401", needs_token),
            ("404", operation.contains('{')),
            ("413", has_body),
            ("415", has_body),
            ("422", has_body),
            ("500", true),
            ("503", needs_token),
        ] {
            assert!(
                !applies || responses.contains_key(status),
                "{operation} {status}"
            );
        }
        let retry = &responses
            .get("503")
            .map(|response| &response["headers"]["Retry-After"]);
        assert!(
            !needs_token || retry.is_some_and(Value::is_object),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn numbers_have_bounds_texts_have_lengths_and_any_json_is_any() {
    let description = description().await;
    let schemas = &description["components"]["schemas"];
    let course = &schemas["NewCourse"]["properties"];
    assert_eq!(course["title"]["maxLength"], 200);
    assert_eq!(course["max_students"]["minimum"], 1);
    assert_eq!(course["max_students"]["maximum"], i32::MAX);
    assert_eq!(course["instructor_id"]["maximum"], i64::MAX);
    let price = &schemas["Course"]["properties"]["price"];
    assert_eq!(
        (&price["type"], &price["format"]),
        (&json!("string"), &json!("decimal"))
    );
    let created = &schemas["Course"]["properties"]["created_at"];
    assert_eq!(created["format"], "date-time");
    let any = &schemas["NewDocument"]["properties"]["data"];
    assert!(any["type"].is_null(), "{any}");
}
