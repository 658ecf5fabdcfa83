//! Users and courses are made, shown, listed, changed and removed.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::House;

#[tokio::test]
async fn a_user_is_made_shown_changed_and_removed_and_the_password_hash_is_never_shown() {
    let house = House::open().await;
    let given = json!({"email": "ada@example.org", "username": "ada", "full_name": "Ada"});
    let made = house
        .post("/users", given)
        .await
        .expect(StatusCode::CREATED);
    let path = made.header("location").to_owned();
    let user = house.get(&path).await.expect(StatusCode::OK).json();
    assert_eq!(user, made.json());
    let mut members: Vec<_> = user
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "created_at",
            "email",
            "full_name",
            "id",
            "role",
            "updated_at",
            "username"
        ]
    );
    assert_eq!(user["role"], "student");

    let changed = house
        .patch(
            &path,
            json!({"full_name": "Ada Park", "role": "instructor"}),
        )
        .await;
    let changed = changed.expect(StatusCode::OK).json();
    assert_eq!(
        (&changed["full_name"], &changed["role"]),
        (&json!("Ada Park"), &json!("instructor"))
    );
    assert_eq!(changed["email"], "ada@example.org");
    let tag = format!("user:{}", user["id"]);
    house.sink.wait_for(&[&tag]).await;

    house.delete(&path).await.expect(StatusCode::NO_CONTENT);
    house.delete(&path).await.problem(StatusCode::NOT_FOUND);
    house
        .patch(&path, json!({}))
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_list_has_published_courses_the_most_popular_first() {
    let house = House::open().await;
    let (quiet, popular) = (house.course(5).await, house.course(5).await);
    let draft =
        json!({"title": "D", "category": "art", "difficulty_level": "advanced", "max_students": 1});
    house
        .post("/courses", draft)
        .await
        .expect(StatusCode::CREATED);
    let ada = house.user("ada").await;
    house
        .post(
            &format!("/courses/{popular}/enrollments"),
            json!({"user_id": ada}),
        )
        .await
        .expect(StatusCode::CREATED);
    let listed = |list: Value| {
        list.as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", vec![popular, quiet]),
        ("?limit=1", vec![popular]),
        ("?limit=1&offset=1", vec![quiet]),
        ("?category=science", vec![popular, quiet]),
        ("?category=art", vec![]),
    ] {
        assert_eq!(
            listed(house.get(&format!("/courses{query}")).await.json()),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_course_is_changed_but_not_below_its_students() {
    let house = House::open().await;
    let course = house.course(2).await;
    for name in ["ada", "ben"] {
        let user = house.user(name).await;
        house
            .post(
                &format!("/courses/{course}/enrollments"),
                json!({"user_id": user}),
            )
            .await
            .expect(StatusCode::CREATED);
    }
    let path = format!("/courses/{course}");
    let changed = house
        .patch(&path, json!({"price": 59.9, "max_students": 3}))
        .await
        .expect(StatusCode::OK)
        .json();
    assert_eq!(
        (&changed["price"], &changed["max_students"]),
        (&json!("59.90"), &json!(3))
    );
    let field = house
        .patch(&path, json!({"max_students": 1}))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(field.as_deref(), Some("max_students"));
    house
        .patch("/courses/999", json!({}))
        .await
        .problem(StatusCode::NOT_FOUND);
    house
        .post("/courses/999/publish", Value::Null)
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sample_data_is_written_once() {
    let house = House::open().await;
    house.origin.seed().await.unwrap();
    let first = house.get("/courses").await.expect(StatusCode::OK).json();
    assert_eq!(first.as_array().unwrap().len(), 4);
    let circles = house.get("/circles").await.expect(StatusCode::OK).json();
    let members = circles.as_array().unwrap().iter();
    let members: Vec<_> = members.map(|circle| &circle["member_count"]).collect();
    assert_eq!(members, [3, 2]);
    house.origin.seed().await.unwrap();
    assert_eq!(house.get("/courses").await.json(), first);
    assert_eq!(house.get("/circles").await.json(), circles);
    assert_eq!(
        house.get("/read/document/welcome").await.json()["data"]["title"],
        "Welcome"
    );
}
