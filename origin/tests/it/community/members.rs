//! A circle has never more members than seats, and never nobody who owns it.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{circle, joins, leaves, numbers, says, student};
use crate::support::{Answer, House};

async fn count(house: &House, circle: i64) -> Value {
    let shown = house.anonymous().get(&format!("/circles/{circle}")).await;
    shown.expect(StatusCode::OK).json()["member_count"].clone()
}

pub(super) async fn adds(house: &House, owner: i64, circle: i64, user: i64) -> Answer {
    let path = format!("/circles/{circle}/members");
    student(house, owner)
        .post(&path, json!({"user_id": user}))
        .await
}

pub(super) async fn removes(house: &House, owner: i64, circle: i64, user: i64) -> Answer {
    let path = format!("/circles/{circle}/members/{user}");
    student(house, owner)
        .ask(Method::DELETE, &path, Value::Null)
        .await
}

pub(super) async fn appoints(
    house: &House,
    owner: i64,
    circle: i64,
    user: i64,
    role: &str,
) -> Answer {
    let path = format!("/circles/{circle}/members/{user}");
    student(house, owner)
        .ask(Method::PATCH, &path, json!({"role": role}))
        .await
}

#[tokio::test]
async fn of_64_who_join_at_once_exactly_as_many_get_in_as_there_are_seats() {
    let house = Arc::new(House::open().await);
    let ada = house.user("ada").await;
    let harbour = circle(&house, ada, json!({"max_members": 11})).await;
    house
        .sql("INSERT INTO users (id, email, username, full_name) SELECT n, n || '@e.org', n::text, 'x' FROM generate_series(1001, 1064) n")
        .await;
    let mut joining = JoinSet::new();
    for user in 1001..=1064 {
        let house = house.clone();
        joining.spawn(async move {
            loop {
                // Whoever waits too long for the others, on a slow machine, comes again.
                let status = joins(&house, harbour, user).await.status;
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    return status;
                }
            }
        });
    }
    let statuses = joining.join_all().await;
    let with = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(
        (with(StatusCode::CREATED), with(StatusCode::CONFLICT)),
        (10, 54)
    );
    assert_eq!(count(&house, harbour).await, 11);
    assert_eq!(
        house.number("SELECT count(*) FROM circle_members").await,
        11
    );
}

#[tokio::test]
async fn a_place_is_taken_once_and_refusals_say_why() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let cleo = house.user("cleo").await;
    let harbour = circle(&house, ada, json!({"max_members": 2})).await;
    let made = joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    let path = format!("/circles/{harbour}/members/{ben}");
    assert_eq!(made.header("location"), path);
    assert_eq!(made.json()["role"], "member");
    for (refused, kind) in [
        (
            joins(&house, harbour, ben).await,
            "urn:tidegate:already-member",
        ),
        (
            joins(&house, harbour, cleo).await,
            "urn:tidegate:circle-full",
        ),
        (
            adds(&house, ada, harbour, cleo).await,
            "urn:tidegate:circle-full",
        ),
    ] {
        assert_eq!(refused.json()["type"], kind);
        refused.problem(StatusCode::CONFLICT);
    }
    let unknown = adds(&house, ada, harbour, 999).await;
    assert_eq!(
        unknown.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
        Some("user_id")
    );
    joins(&house, 999, ben).await.problem(StatusCode::NOT_FOUND);
    assert_eq!(count(&house, harbour).await, 2);

    let members = student(&house, ben)
        .get(&format!("/circles/{harbour}/members"))
        .await;
    let members = members.expect(StatusCode::OK);
    assert_eq!(numbers(&members, "user_id"), [ada, ben]);
    assert_eq!(members.json()[0]["username"], "ada");
    assert_eq!(
        (
            members.header("cache-control"),
            members.header("surrogate-key")
        ),
        (
            "private, max-age=30",
            format!("circle-members:{harbour}").as_str()
        )
    );

    leaves(&house, harbour, ben)
        .await
        .expect(StatusCode::NO_CONTENT);
    leaves(&house, harbour, ben)
        .await
        .problem(StatusCode::NOT_FOUND);
    joins(&house, harbour, cleo)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(count(&house, harbour).await, 2);
}

#[tokio::test]
async fn owners_add_and_remove_members_and_others_do_not() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let (cleo, dina) = (house.user("cleo").await, house.user("dina").await);
    let hidden = circle(&house, ada, json!({"is_private": true})).await;
    adds(&house, ada, hidden, ben)
        .await
        .expect(StatusCode::CREATED);
    adds(&house, ada, hidden, cleo)
        .await
        .expect(StatusCode::CREATED);
    for refused in [
        adds(&house, ben, hidden, dina).await,
        removes(&house, ben, hidden, cleo).await,
        appoints(&house, ben, hidden, ben, "owner").await,
    ] {
        refused.problem(StatusCode::FORBIDDEN);
    }
    appoints(&house, ada, hidden, ben, "owner")
        .await
        .expect(StatusCode::OK);
    removes(&house, ben, hidden, cleo)
        .await
        .expect(StatusCode::NO_CONTENT);
    removes(&house, ben, hidden, cleo)
        .await
        .problem(StatusCode::NOT_FOUND);
    adds(&house, ben, hidden, dina)
        .await
        .expect(StatusCode::CREATED);
    let public = circle(&house, ada, json!({})).await;
    adds(&house, ben, public, dina)
        .await
        .problem(StatusCode::FORBIDDEN);
    removes(&house, ben, public, ada)
        .await
        .problem(StatusCode::FORBIDDEN);

    // A membership may be changed and given up on a condition.
    let path = format!("/circles/{hidden}/members/{dina}");
    let seen = student(&house, ada).get(&path).await.expect(StatusCode::OK);
    let promoted = appoints(&house, ada, hidden, dina, "owner").await;
    let promoted = promoted.expect(StatusCode::OK);
    for (etag, status) in [
        (seen.header("etag"), StatusCode::PRECONDITION_FAILED),
        (promoted.header("etag"), StatusCode::NO_CONTENT),
    ] {
        let condition = [("if-match", etag)];
        let guest = student(&house, dina);
        let answer = guest
            .ask_with(Method::DELETE, &path, &condition, Value::Null)
            .await;
        answer.expect(status);
    }
}

#[tokio::test]
async fn the_last_owner_leaves_last() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    // Alone, too.
    let refused = appoints(&house, ada, harbour, ada, "member").await;
    refused.problem(StatusCode::CONFLICT);
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    for refused in [
        leaves(&house, harbour, ada).await,
        appoints(&house, ada, harbour, ada, "member").await,
    ] {
        assert_eq!(refused.json()["type"], "urn:tidegate:last-owner");
        refused.problem(StatusCode::CONFLICT);
    }
    appoints(&house, ada, harbour, ben, "owner")
        .await
        .expect(StatusCode::OK);
    appoints(&house, ada, harbour, ada, "member")
        .await
        .expect(StatusCode::OK);
    leaves(&house, harbour, ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    says(&house, harbour, ben, &[]).await;
    leaves(&house, harbour, ben)
        .await
        .expect(StatusCode::NO_CONTENT);
    house
        .get(&format!("/circles/{harbour}"))
        .await
        .problem(StatusCode::NOT_FOUND);
    for table in [
        "SELECT count(*) FROM circles",
        "SELECT count(*) FROM circle_members",
        "SELECT count(*) FROM messages",
    ] {
        assert_eq!(house.number(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn circles_of_a_user_who_is_removed_pass_to_the_oldest_member_or_end() {
    let house = House::with_full_outbox().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let cleo = house.user("cleo").await;
    let (shared, own) = (
        circle(&house, ada, json!({})).await,
        circle(&house, ada, json!({})).await,
    );
    for user in [cleo, ben] {
        joins(&house, shared, user)
            .await
            .expect(StatusCode::CREATED);
    }
    says(&house, shared, ada, &[ben]).await;
    says(&house, shared, ben, &[ada]).await;
    // Also where the user is no longer.
    let left = circle(&house, ben, json!({})).await;
    joins(&house, left, ada).await.expect(StatusCode::CREATED);
    says(&house, left, ada, &[]).await;
    leaves(&house, left, ada)
        .await
        .expect(StatusCode::NO_CONTENT);
    house.sql("TRUNCATE outbox").await;
    house
        .delete(&format!("/users/{ada}"))
        .await
        .expect(StatusCode::NO_CONTENT);

    let mut expected = [
        format!("circle-members:{own}"),
        format!("circle-members:{shared}"),
        format!("circle-messages:{left}"),
        format!("circle-messages:{own}"),
        format!("circle-messages:{shared}"),
        format!("circle:{own}"),
        format!("circle:{shared}"),
        "circles".to_owned(),
        format!("user-circles:{ada}"),
        format!("user-circles:{cleo}"),
        format!("user-enrollments:{ada}"),
        format!("user-notifications:{ada}"),
        format!("user:{ada}"),
    ];
    expected.sort_unstable();
    assert_eq!(house.outbox().await, expected);
    house
        .get(&format!("/circles/{own}"))
        .await
        .problem(StatusCode::NOT_FOUND);
    assert_eq!(count(&house, shared).await, 2);
    let members = student(&house, ben)
        .get(&format!("/circles/{shared}/members"))
        .await;
    let members = members.expect(StatusCode::OK);
    assert_eq!(numbers(&members, "user_id"), [cleo, ben]);
    assert_eq!(members.json()[0]["role"], "owner");
    // What the others have said and been told stays.
    let messages = student(&house, ben)
        .get(&format!("/circles/{shared}/messages"))
        .await;
    assert_eq!(numbers(&messages, "author_id"), [ben]);
    assert_eq!(house.number("SELECT count(*) FROM messages").await, 1);
    let told = student(&house, ben)
        .get(&format!("/users/{ben}/notifications"))
        .await;
    assert_eq!(numbers(&told, "actor_id"), [ada, ada]);
}

#[tokio::test]
async fn tags_are_written_in_the_transaction_of_the_change() {
    let house = House::with_full_outbox().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({})).await;
    house.sql("TRUNCATE outbox").await;
    joins(&house, harbour, ben)
        .await
        .expect(StatusCode::CREATED);
    let mut expected = [
        format!("circle-members:{harbour}"),
        format!("circle:{harbour}"),
        "circles".to_owned(),
        format!("user-circles:{ben}"),
        format!("user-notifications:{ada}"),
    ];
    expected.sort_unstable();
    assert_eq!(house.outbox().await, expected);
    // xmin is the transaction that wrote a row.
    let writers = "SELECT count(*) FROM (
        SELECT xmin::text FROM outbox UNION SELECT xmin::text FROM circle_members WHERE role = 'member'
        UNION SELECT xmin::text FROM circles UNION SELECT xmin::text FROM notifications) AS writers";
    assert_eq!(house.number(writers).await, 1);
    house.sql("TRUNCATE outbox").await;
    joins(&house, harbour, ben)
        .await
        .problem(StatusCode::CONFLICT);
    assert_eq!(house.outbox().await, Vec::<String>::new());
    // A list of members shows names.
    let named = json!({"full_name": "Ben Okafor"});
    house
        .patch(&format!("/users/{ben}"), named)
        .await
        .expect(StatusCode::OK);
    let tags = house.outbox().await;
    assert!(
        tags.contains(&format!("circle-members:{harbour}")),
        "{tags:?}"
    );
}
