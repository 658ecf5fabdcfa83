//! Public circles are for everyone, private ones for their members.

use hyper::StatusCode;
use serde_json::json;

use super::{circle, joins, numbers, student};
use crate::support::House;

#[tokio::test]
async fn a_public_circle_is_kept_by_caches_and_a_private_one_is_not_there_for_others() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let harbour = circle(&house, ada, json!({"description": "Boats"})).await;
    let shown = house.anonymous().get(&format!("/circles/{harbour}")).await;
    let shown = shown.expect(StatusCode::OK);
    assert_eq!(
        (
            shown.header("cache-control"),
            shown.header("cdn-cache-control")
        ),
        (
            "public, max-age=60",
            "public, max-age=1800, stale-while-revalidate=60, stale-if-error=600"
        )
    );
    let tags = format!("circle:{harbour} table:circles");
    assert_eq!(shown.header("surrogate-key"), tags);
    let body = shown.json();
    assert_eq!(
        (
            &body["member_count"],
            &body["max_members"],
            &body["description"]
        ),
        (&json!(1), &json!(100), &json!("Boats"))
    );
    let list = house
        .anonymous()
        .get("/circles")
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        (list.header("cache-control"), list.header("surrogate-key")),
        ("public, max-age=60", "circles table:circles")
    );
    assert_eq!(list.json(), json!([body]));

    let hidden = circle(&house, ada, json!({"is_private": true})).await;
    let path = format!("/circles/{hidden}");
    let mine = student(&house, ada).get(&path).await.expect(StatusCode::OK);
    assert_eq!(mine.header("cache-control"), "private, max-age=30");
    assert_eq!(mine.header("cdn-cache-control"), "");
    assert_eq!(numbers(&house.get("/circles").await, "id"), [harbour]);
    // What is hidden looks like what is not there.
    let nothing = student(&house, ben).get("/circles/999").await;
    for refused in [
        student(&house, ben).get(&path).await,
        house.anonymous().get(&path).await,
        student(&house, ben).get(&format!("{path}/members")).await,
        student(&house, ben).get(&format!("{path}/messages")).await,
        joins(&house, hidden, ben).await,
        super::leaves(&house, hidden, ben).await,
    ] {
        assert_eq!(
            refused.header("cache-control"),
            nothing.header("cache-control")
        );
        let alike = String::from_utf8(refused.bytes.to_vec()).unwrap();
        let alike = alike.replace(&hidden.to_string(), "999");
        assert_eq!(alike.as_bytes(), &nothing.bytes[..]);
        refused.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_user_sees_the_circles_that_the_user_is_in() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let first = circle(&house, ada, json!({})).await;
    let second = circle(&house, ben, json!({"name": "Pier"})).await;
    joins(&house, second, ada).await.expect(StatusCode::CREATED);
    let path = format!("/users/{ada}/circles");
    let mine = student(&house, ada).get(&path).await.expect(StatusCode::OK);
    assert_eq!(numbers(&mine, "circle_id"), [first, second]);
    let rows = mine.json();
    assert_eq!(
        (&rows[0]["role"], &rows[1]["role"], &rows[1]["name"]),
        (&json!("owner"), &json!("member"), &json!("Pier"))
    );
    assert_eq!(
        (mine.header("cache-control"), mine.header("surrogate-key")),
        (
            "private, max-age=30",
            format!("user-circles:{ada}").as_str()
        )
    );
    // An admin may look.
    house.get(&path).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_circle_by_hand_is_announced_like_any_other() {
    let house = House::with_full_outbox().await;
    house
        .sql("INSERT INTO circles (id, name) VALUES (7, 'Quay')")
        .await;
    assert_eq!(house.outbox().await, ["circle:7", "circles"]);
}
