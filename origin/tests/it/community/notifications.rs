//! Users are told what concerns them, once, and the count of what they have not read is always right.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::access::Role;
use tokio::task::JoinSet;

use super::{circle, joins, numbers, says, student};
use crate::support::{Answer, House};

async fn unread(house: &House, user: i64) -> Value {
    let path = format!("/users/{user}/notifications/unread");
    let count = student(house, user).get(&path).await.expect(StatusCode::OK);
    count.json()["unread"].clone()
}

async fn reads(house: &House, user: i64, what: &str) -> Answer {
    let path = format!("/users/{user}/notifications/{what}");
    student(house, user)
        .ask(Method::PUT, &path, Value::Null)
        .await
}

#[tokio::test]
async fn users_are_told_of_new_members_of_being_added_and_of_being_mentioned() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let cleo = house.user("cleo").await;
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    let members = format!("/circles/{harbour}/members");
    let added = student(&house, ada)
        .post(&members, json!({"user_id": cleo}))
        .await;
    added.expect(StatusCode::CREATED);
    // Each once, and nobody oneself.
    let message = says(&house, harbour, ben, &[cleo, ben, ada, cleo]).await;
    for (user, told) in [
        (
            ada,
            vec![
                ("mentioned", ben, json!(message)),
                ("joined", ben, json!(null)),
            ],
        ),
        (ben, vec![]),
        (
            cleo,
            vec![
                ("mentioned", ben, json!(message)),
                ("added", ada, json!(null)),
            ],
        ),
    ] {
        let path = format!("/users/{user}/notifications");
        let shown = student(&house, user)
            .get(&path)
            .await
            .expect(StatusCode::OK);
        assert_eq!(
            (shown.header("cache-control"), shown.header("surrogate-key")),
            (
                "private, max-age=0",
                format!("user-notifications:{user}").as_str()
            )
        );
        let shown = shown.json();
        let shown: Vec<_> = shown.as_array().unwrap().iter().collect();
        let shown: Vec<_> = shown
            .iter()
            .map(|one| {
                assert_eq!(
                    (&one["circle_id"], &one["read_at"]),
                    (&json!(harbour), &json!(null))
                );
                let kind = one["kind"].as_str().unwrap();
                (
                    kind,
                    one["actor_id"].as_i64().unwrap(),
                    one["message_id"].clone(),
                )
            })
            .collect();
        assert_eq!(shown, told);
        assert_eq!(unread(&house, user).await, told.len());
    }
    let tags = [ada, cleo].map(|user| format!("user-notifications:{user}"));
    house.sink.wait_for(&[&tags[0], &tags[1]]).await;
    // A message that is refused tells nobody.
    let dina = house.user("dina").await;
    let path = format!("/circles/{harbour}/messages");
    let refused = json!({"text": "x", "mentions": [ada, dina]});
    let refused = student(&house, ben).post(&path, refused).await;
    refused.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(unread(&house, ada).await, 2);
}

#[tokio::test]
async fn marking_as_read_may_be_repeated_and_is_the_users_own() {
    let house = House::with_full_outbox().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    for _ in 0..4 {
        says(&house, harbour, ada, &[ben]).await;
    }
    let path = format!("/users/{ben}/notifications");
    let told = numbers(&student(&house, ben).get(&path).await, "id");
    house.sql("TRUNCATE outbox").await;
    for _ in 0..2 {
        let one = reads(&house, ben, &format!("{}/read", told[3])).await;
        one.expect(StatusCode::NO_CONTENT);
        assert_eq!(unread(&house, ben).await, 3);
        // What changes nothing tells no cache.
        assert_eq!(house.number("SELECT count(*) FROM outbox").await, 1);
    }
    let filtered = student(&house, ben)
        .get(&format!("{path}?unread=true"))
        .await;
    assert_eq!(numbers(&filtered, "id"), told[..3]);
    for _ in 0..2 {
        let some = reads(&house, ben, &format!("read?through={}", told[1])).await;
        assert_eq!(
            some.expect(StatusCode::OK).json(),
            json!({"user_id": ben, "unread": 1})
        );
    }
    let wrong = student(&house, ben)
        .get(&format!("{path}?unread=some"))
        .await;
    assert_eq!(
        wrong.problem(StatusCode::BAD_REQUEST).as_deref(),
        Some("unread")
    );

    // Of others nobody marks anything, an admin looks.
    for what in ["read".to_owned(), format!("{}/read", told[0])] {
        for guest in [student(&house, ada), house.as_user(ada, Role::Admin)] {
            let refused = guest
                .ask(Method::PUT, &format!("{path}/{what}"), Value::Null)
                .await;
            refused.problem(StatusCode::FORBIDDEN);
        }
    }
    let not_hers = reads(&house, ada, &format!("{}/read", told[0])).await;
    not_hers.problem(StatusCode::NOT_FOUND);
    let looked = house
        .get(&format!("{path}/unread"))
        .await
        .expect(StatusCode::OK);
    assert_eq!(looked.json()["unread"], 1);
    let all = reads(&house, ben, "read").await.expect(StatusCode::OK);
    assert_eq!(all.json()["unread"], 0);
    assert_eq!(unread(&house, ben).await, 0);
}

#[tokio::test]
async fn the_count_is_right_however_many_mark_and_tell_at_once() {
    let house = Arc::new(House::open().await);
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    for _ in 0..8 {
        says(&house, harbour, ada, &[ben]).await;
    }
    let told = numbers(
        &student(&house, ben)
            .get(&format!("/users/{ben}/notifications"))
            .await,
        "id",
    );
    let mut acting = JoinSet::new();
    for (number, id) in told.into_iter().enumerate() {
        let house = house.clone();
        acting.spawn(async move {
            // Each is marked twice, and all of them now and then.
            for what in [
                format!("{id}/read"),
                format!("read?through={id}"),
                format!("{id}/read"),
            ] {
                let marked = reads(&house, ben, &what).await;
                assert!(marked.status.is_success(), "{marked:?}");
            }
            if number % 2 == 0 {
                says(&house, harbour, ada, &[ben]).await;
            }
        });
    }
    acting.join_all().await;
    assert_eq!(unread(&house, ben).await, 4);
    assert_eq!(reads(&house, ben, "read").await.json()["unread"], 0);
}
