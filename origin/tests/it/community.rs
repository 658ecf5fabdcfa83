//! Circles and what is said in them, notifications and journals.

mod circles;
mod journal;
mod locks;
mod members;
mod messages;
mod notifications;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::access::Role;

use crate::support::{Answer, Guest, House};

/// The house as a student sees it.
fn student(house: &House, user: i64) -> Guest<'_> {
    house.as_user(user, Role::Student)
}

/// Makes a circle of a user's own and returns the number.
async fn circle(house: &House, owner: i64, more: Value) -> i64 {
    let mut circle = json!({"name": "Harbour"});
    let members = circle.as_object_mut().unwrap();
    members.extend(more.as_object().cloned().unwrap_or_default());
    let made = student(house, owner).post("/circles", circle).await;
    made.expect(StatusCode::CREATED).json()["id"]
        .as_i64()
        .unwrap()
}

async fn joins(house: &House, circle: i64, user: i64) -> Answer {
    let path = format!("/circles/{circle}/members");
    student(house, user).post(&path, json!({})).await
}

async fn leaves(house: &House, circle: i64, user: i64) -> Answer {
    let path = format!("/circles/{circle}/members/{user}");
    student(house, user)
        .ask(Method::DELETE, &path, Value::Null)
        .await
}

/// Sends a message that mentions users and returns the number.
async fn says(house: &House, circle: i64, user: i64, mentions: &[i64]) -> i64 {
    let path = format!("/circles/{circle}/messages");
    let message = json!({"text": "Ahoy", "mentions": mentions});
    let said = student(house, user).post(&path, message).await;
    said.expect(StatusCode::CREATED).json()["id"]
        .as_i64()
        .unwrap()
}

/// A number of each row of a list.
fn numbers(list: &Answer, field: &str) -> Vec<i64> {
    let rows = list.json();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[field].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn whatever_makes_something_is_done_once_under_a_key() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    for (path, body, count) in [
        (
            "/circles".to_owned(),
            json!({"name": "Second"}),
            "SELECT count(*) FROM circles WHERE name = 'Second'",
        ),
        (
            format!("/circles/{harbour}/members"),
            json!({"user_id": ben}),
            "SELECT count(*) FROM circle_members WHERE role = 'member'",
        ),
        (
            format!("/circles/{harbour}/messages"),
            json!({"text": "Ahoy", "mentions": [ben]}),
            "SELECT count(*) FROM notifications WHERE kind = 'mentioned'",
        ),
        (
            format!("/users/{ada}/journal"),
            json!({"day": "2026-01-31", "text": "Calm."}),
            "SELECT count(*) FROM journal_entries",
        ),
    ] {
        let key = [("idempotency-key", path.as_str())];
        let ask = || async {
            let guest = student(&house, ada);
            let answer = guest
                .ask_with(Method::POST, &path, &key, body.clone())
                .await;
            answer.expect(StatusCode::CREATED)
        };
        let (first, again) = (ask().await, ask().await);
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
        assert_eq!(again.bytes, first.bytes, "{path}");
        assert_eq!(house.number(count).await, 1, "{path}");
        let there = student(&house, ada).get(first.header("location")).await;
        let there = there.expect(StatusCode::OK);
        assert_eq!(there.header("etag"), first.header("etag"), "{path}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_field() {
    let house = House::open().await;
    let ada = house.user("ada").await;
    let harbour = circle(&house, ada, json!({})).await;
    let message = says(&house, harbour, ada, &[]).await;
    let messages = format!("/circles/{harbour}/messages");
    let member = format!("/circles/{harbour}/members/{ada}");
    let journal = format!("/users/{ada}/journal");
    let of = |day: &str, mood: i64| json!({"day": day, "text": "x", "mood": mood});
    let long = |length| "x".repeat(length);
    for (method, path, body, field) in [
        (Method::POST, "/circles", json!({}), "name"),
        (Method::POST, "/circles", json!({"name": " "}), "name"),
        (Method::POST, "/circles", json!({"name": long(101)}), "name"),
        (
            Method::POST,
            "/circles",
            json!({"name": "a", "description": long(2001)}),
            "description",
        ),
        (
            Method::POST,
            "/circles",
            json!({"name": "a", "description": "\0"}),
            "description",
        ),
        (
            Method::POST,
            "/circles",
            json!({"name": "a", "max_members": 0}),
            "max_members",
        ),
        (
            Method::POST,
            "/circles",
            json!({"name": "a", "max_members": 1001}),
            "max_members",
        ),
        (Method::GET, "/circles?sort=best", Value::Null, "sort"),
        (Method::PATCH, &member, json!({"role": "captain"}), "role"),
        (Method::POST, &messages, json!({"text": ""}), "text"),
        (Method::POST, &messages, json!({"text": long(4001)}), "text"),
        (
            Method::POST,
            &messages,
            json!({"text": "x", "mentions": vec![ada; 21]}),
            "mentions",
        ),
        (
            Method::POST,
            &messages,
            json!({"text": "x", "mentions": [999]}),
            "mentions",
        ),
        (
            Method::PATCH,
            &format!("{messages}/{message}"),
            json!({"text": "\0"}),
            "text",
        ),
        (Method::POST, &journal, json!({"text": "x"}), "day"),
        (Method::POST, &journal, of("2026-02-30", 5), "day"),
        (Method::POST, &journal, of("31.1.2026", 5), "day"),
        (Method::POST, &journal, of("1969-12-31", 5), "day"),
        (Method::POST, &journal, of("2999-12-31", 5), "day"),
        (Method::POST, &journal, of("2026-01-31", 0), "mood"),
        (Method::POST, &journal, of("2026-01-31", 11), "mood"),
        (
            Method::POST,
            &journal,
            json!({"day": "2026-01-31", "text": long(20001)}),
            "text",
        ),
        (
            Method::GET,
            &format!("{journal}/streak?today=2026-01-01"),
            Value::Null,
            "today",
        ),
        (
            Method::GET,
            &format!("{journal}/streak?today=now"),
            Value::Null,
            "today",
        ),
    ] {
        let refused = student(&house, ada).ask(method, path, body).await;
        let named = refused.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field), "{path}");
    }
}

#[tokio::test]
async fn whoever_is_unknown_sees_public_circles_and_no_more() {
    let house = House::open().await;
    let ada = house.user("ada").await;
    let harbour = circle(&house, ada, json!({})).await;
    for path in ["/circles".to_owned(), format!("/circles/{harbour}")] {
        house.anonymous().get(&path).await.expect(StatusCode::OK);
    }
    for path in [
        format!("/users/{ada}/circles"),
        format!("/circles/{harbour}/members"),
        format!("/circles/{harbour}/members/{ada}"),
        format!("/circles/{harbour}/messages"),
        format!("/users/{ada}/notifications"),
        format!("/users/{ada}/notifications/unread"),
        format!("/users/{ada}/journal"),
        format!("/users/{ada}/journal/streak"),
    ] {
        let refused = house.anonymous().get(&path).await;
        assert_eq!(refused.header("cache-control"), "no-store", "{path}");
        refused.problem(StatusCode::UNAUTHORIZED);
    }
    // Another user is known, and sees as little.
    let ben = house.user("ben").await;
    for (path, status) in [
        (format!("/users/{ada}/circles"), StatusCode::FORBIDDEN),
        (format!("/circles/{harbour}/members"), StatusCode::FORBIDDEN),
        (
            format!("/circles/{harbour}/messages"),
            StatusCode::FORBIDDEN,
        ),
        (format!("/users/{ada}/notifications"), StatusCode::FORBIDDEN),
        (
            format!("/users/{ada}/notifications/unread"),
            StatusCode::FORBIDDEN,
        ),
        (format!("/users/{ada}/journal"), StatusCode::FORBIDDEN),
        (format!("/users/{ada}/journal/1"), StatusCode::FORBIDDEN),
        (
            format!("/users/{ada}/journal/streak"),
            StatusCode::FORBIDDEN,
        ),
        (format!("/users/{ben}/journal/1"), StatusCode::NOT_FOUND),
        ("/circles/999".to_owned(), StatusCode::NOT_FOUND),
        ("/circles/999/members".to_owned(), StatusCode::NOT_FOUND),
        ("/circles/999/messages".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let refused = student(&house, ben).get(&path).await;
        assert_eq!(refused.header("cache-control"), "no-store", "{path}");
        refused.problem(status);
    }
}
