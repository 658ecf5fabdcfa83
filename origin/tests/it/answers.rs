//! Every answer says how long it may be used, by whom, and what it falls by.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{House, TOKEN};

#[tokio::test]
async fn each_kind_of_data_has_its_lifetimes_and_tags() {
    let house = House::open().await;
    let user = house.user("ada").await;
    let course = house.course(3).await;
    house
        .post(
            &format!("/courses/{course}/enrollments"),
            json!({"user_id": user}),
        )
        .await
        .expect(StatusCode::CREATED);
    house
        .post("/write/document", json!({"key": "a b", "data": {"x": 1}}))
        .await
        .expect(StatusCode::OK);
    let payment = json!({"user_id": user, "amount": "1.00", "transaction_type": "purchase"});
    house
        .post("/write/transaction", payment)
        .await
        .expect(StatusCode::OK);

    let public = "public, max-age=60";
    let edge = |seconds| {
        format!("public, max-age={seconds}, stale-while-revalidate=60, stale-if-error=600")
    };
    for (path, browser, edge, tags, dated) in [
        (
            format!("/courses/{course}"),
            public,
            edge(1800),
            format!("course:{course} table:courses"),
            true,
        ),
        (
            "/courses".into(),
            public,
            edge(900),
            "courses table:courses".into(),
            false,
        ),
        (
            "/read/document/a%20b".into(),
            public,
            edge(300),
            "document:a%20b table:documents".into(),
            true,
        ),
        (
            format!("/users/{user}"),
            "private, max-age=60",
            "".into(),
            format!("user:{user}"),
            true,
        ),
        (
            format!("/users/{user}/enrollments"),
            "private, max-age=30",
            "".into(),
            format!("user-enrollments:{user}"),
            false,
        ),
        (
            format!("/courses/{course}/students"),
            "private, max-age=30",
            "".into(),
            format!("course-students:{course}"),
            false,
        ),
        (
            format!("/read/transaction/{user}"),
            "private, max-age=10",
            "".into(),
            format!("user-transactions:{user}"),
            true,
        ),
        ("/stats".into(), "no-store", "".into(), "".into(), false),
    ] {
        let answer = house.get(&path).await.expect(StatusCode::OK);
        assert_eq!(answer.header("cache-control"), browser, "{path}");
        assert_eq!(answer.header("cdn-cache-control"), edge, "{path}");
        assert_eq!(answer.header("surrogate-key"), tags, "{path}");
        assert_eq!(!answer.header("last-modified").is_empty(), dated, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");

        // RFC 9110 section 15.4.5: a 304 repeats what caches read.
        let etag = answer.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() == 34, "{path}: {etag}");
        let headers = [("x-service-token", TOKEN), ("if-none-match", &etag)];
        let same = house
            .send(Method::GET, &path, &headers, "")
            .await
            .expect(StatusCode::NOT_MODIFIED);
        assert!(same.bytes.is_empty(), "{path}");
        for name in [
            "etag",
            "cache-control",
            "cdn-cache-control",
            "surrogate-key",
            "last-modified",
            "tidegate-cache-control",
            "vary",
        ] {
            assert_eq!(same.header(name), answer.header(name), "{path}: {name}");
        }

        // RFC 9110 section 9.3.2: a HEAD differs by its body alone.
        let head = house
            .send(Method::HEAD, &path, &headers[..1], "")
            .await
            .expect(StatusCode::OK);
        assert!(head.bytes.is_empty(), "{path}");
        assert_eq!(head.header("etag"), etag, "{path}");
    }
}

#[tokio::test]
async fn a_changed_resource_has_another_validator() {
    let house = House::open().await;
    let course = house.course(3).await;
    let path = format!("/courses/{course}");
    let before = house.get(&path).await.header("etag").to_owned();
    house
        .patch(&path, json!({"title": "Tides and Currents"}))
        .await
        .expect(StatusCode::OK);
    let headers = [("x-service-token", TOKEN), ("if-none-match", &before)];
    let after = house
        .send(Method::GET, &path, &headers, "")
        .await
        .expect(StatusCode::OK);
    assert_eq!(after.json()["title"], "Tides and Currents");
    assert_ne!(after.header("etag"), before);
}

#[tokio::test]
async fn an_absence_is_kept_for_a_moment_and_falls_when_the_thing_is_made() {
    let house = House::open().await;
    for (path, tags) in [
        ("/courses/1", "course:1 table:courses"),
        ("/read/document/a%2Cb", "document:a%2Cb table:documents"),
    ] {
        let answer = house.get(path).await;
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=10",
            "{path}"
        );
        assert_eq!(
            answer.header("cdn-cache-control"),
            "public, max-age=10",
            "{path}"
        );
        assert_eq!(answer.header("surrogate-key"), tags, "{path}");
        answer.problem(StatusCode::NOT_FOUND);
    }
    // A course is there for all once it is published.
    let draft =
        json!({"title": "T", "category": "c", "difficulty_level": "beginner", "max_students": 1});
    let made = house
        .post("/courses", draft)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(made.header("location"), "/courses/1");
    assert_eq!(made.header("cache-control"), "no-store");
    let draft = house.anonymous().get("/courses/1").await;
    draft.problem(StatusCode::NOT_FOUND);
    house
        .post("/courses/1/publish", Value::Null)
        .await
        .expect(StatusCode::OK);
    house.get("/courses/1").await.expect(StatusCode::OK);
    house.sink.wait_for(&["course:1", "courses"]).await;

    house
        .post("/write/document", json!({"key": "a,b", "data": 1}))
        .await
        .expect(StatusCode::OK);
    house.sink.wait_for(&["document:a%2Cb"]).await;
}

#[tokio::test]
async fn what_is_personal_is_not_kept_when_it_is_absent() {
    let house = House::open().await;
    for path in [
        "/users/1",
        "/users/1/enrollments",
        "/courses/1/students",
        "/nowhere",
        "/users/ada",
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("surrogate-key"), "", "{path}");
        answer.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_is_a_users_own_may_be_kept_for_their_token() {
    let house = House::open().await;
    let user = house.user("ada").await;
    for (path, seconds) in [
        (format!("/users/{user}"), 3_600),
        (format!("/users/{user}/enrollments"), 300),
        (format!("/read/transaction/{user}"), 60),
    ] {
        let answer = house.get(&path).await.expect(StatusCode::OK);
        let kept = format!("public, max-age={seconds}");
        assert_eq!(answer.header("tidegate-cache-control"), kept, "{path}");
        assert_eq!(answer.header("vary"), "authorization", "{path}");
        assert!(answer.header("cache-control").starts_with("private"));
        assert_eq!(answer.header("cdn-cache-control"), "", "{path}");
    }
}
