//! Members of a circle read and write in it, and nobody else.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::{circle, joins, leaves, numbers, says, student};
use crate::support::{House, patiently};

#[tokio::test]
async fn messages_are_read_by_members_the_newest_first_and_asked_about_each_time() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    let path = format!("/circles/{harbour}/messages");
    let first = says(&house, harbour, ada, &[]).await;
    let second = says(&house, harbour, ben, &[]).await;
    let shown = student(&house, ben).get(&path).await.expect(StatusCode::OK);
    assert_eq!(numbers(&shown, "id"), [second, first]);
    assert_eq!(numbers(&shown, "author_id"), [ben, ada]);
    assert_eq!(
        (
            shown.header("cache-control"),
            shown.header("cdn-cache-control")
        ),
        ("private, max-age=0", "")
    );
    let tag = format!("circle-messages:{harbour}");
    assert_eq!(shown.header("surrogate-key"), tag);
    let again = [("if-none-match", shown.header("etag"))];
    let again = student(&house, ben)
        .ask_with(Method::GET, &path, &again, Value::Null)
        .await;
    again.expect(StatusCode::NOT_MODIFIED);
    house.sink.wait_for(&[&tag]).await;

    // Neither an admin nor who is a member no longer.
    house.get(&path).await.problem(StatusCode::FORBIDDEN);
    leaves(&house, harbour, ben)
        .await
        .expect(StatusCode::NO_CONTENT);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/{second}")),
        (Method::POST, path.clone()),
        (Method::PATCH, format!("{path}/{second}")),
        (Method::DELETE, format!("{path}/{second}")),
    ] {
        let refused = student(&house, ben)
            .ask(method, &path, json!({"text": "x"}))
            .await;
        refused.problem(StatusCode::FORBIDDEN);
    }
    assert_eq!(house.number("SELECT count(*) FROM messages").await, 2);
}

#[tokio::test]
async fn a_message_is_changed_and_taken_back_by_its_author_as_the_author_saw_it() {
    let house = House::with_full_outbox().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    let message = says(&house, harbour, ben, &[]).await;
    let path = format!("/circles/{harbour}/messages/{message}");
    let seen = student(&house, ben).get(&path).await.expect(StatusCode::OK);
    for method in [Method::PATCH, Method::DELETE] {
        // Not by the circle's owner either.
        let refused = student(&house, ada)
            .ask(method, &path, json!({"text": "x"}))
            .await;
        refused.problem(StatusCode::FORBIDDEN);
    }
    house.sql("TRUNCATE outbox").await;
    let if_match = |method, etag: &str, text| {
        let (etag, path, house) = (etag.to_owned(), path.clone(), &house);
        async move {
            let condition = [("if-match", etag.as_str())];
            let guest = student(house, ben);
            guest
                .ask_with(method, &path, &condition, json!({"text": text}))
                .await
        }
    };
    let changed = if_match(Method::PATCH, seen.header("etag"), "Ahoy!").await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(changed.json()["text"], "Ahoy!");
    assert!(changed.json()["edited_at"].is_string());
    let tag = format!("circle-messages:{harbour}");
    assert_eq!(house.outbox().await, [tag.as_str()]);
    for method in [Method::PATCH, Method::DELETE] {
        let stale = if_match(method, seen.header("etag"), "Late").await;
        stale.problem(StatusCode::PRECONDITION_FAILED);
    }
    let shown = student(&house, ben).get(&path).await;
    assert_eq!(shown.header("etag"), changed.header("etag"));
    let gone = if_match(Method::DELETE, changed.header("etag"), "").await;
    gone.expect(StatusCode::NO_CONTENT);
    student(&house, ben)
        .get(&path)
        .await
        .problem(StatusCode::NOT_FOUND);
    // In its own circle only is a message a message.
    let (other, here) = (
        circle(&house, ben, json!({})).await,
        says(&house, harbour, ben, &[]).await,
    );
    let elsewhere = format!("/circles/{other}/messages/{here}");
    student(&house, ben)
        .get(&elsewhere)
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn whoever_is_removed_while_writing_has_not_written() {
    let house = Arc::new(House::open().await);
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    // Ben is removed from the circle, and his message waits for it meanwhile.
    let mut removing = house.pool.begin().await.unwrap();
    for statement in [
        format!("SELECT FROM circles WHERE id = {harbour} FOR UPDATE"),
        format!("DELETE FROM circle_members WHERE user_id = {ben}"),
        "UPDATE circles SET member_count = 1".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *removing)
            .await
            .unwrap();
    }
    let writing = tokio::spawn({
        let house = house.clone();
        async move {
            let path = format!("/circles/{harbour}/messages");
            student(&house, ben).post(&path, json!({"text": "x"})).await
        }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'";
    patiently("the message waits for the circle", || async {
        house.number(waiting).await > 0
    })
    .await;
    removing.commit().await.unwrap();
    writing.await.unwrap().problem(StatusCode::FORBIDDEN);
    assert_eq!(house.number("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn what_is_said_at_once_is_all_said() {
    let house = Arc::new(House::open().await);
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    // Each mentions the other.
    let mut saying = JoinSet::new();
    for number in 0..8 {
        let house = house.clone();
        let (author, other) = if number % 2 == 0 {
            (ada, ben)
        } else {
            (ben, ada)
        };
        saying.spawn(async move { says(&house, harbour, author, &[other]).await });
    }
    let mut said = saying.join_all().await;
    said.sort_unstable();
    let path = format!("/circles/{harbour}/messages");
    let shown = student(&house, ada).get(&path).await;
    let mut shown = numbers(&shown.expect(StatusCode::OK), "id");
    shown.reverse();
    assert_eq!(shown, said);
    let mentions = "SELECT count(*) FROM notifications WHERE kind = 'mentioned'";
    assert_eq!(house.number(mentions).await, 8);
}
