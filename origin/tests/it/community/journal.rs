//! A journal is its writer's alone, and days in a row are counted.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::{Clock, access::Role};
use time::{Date, Duration, OffsetDateTime};

use super::{numbers, student};
use crate::support::{Answer, House, config, database};

/// A clock that stands still, and the date that it shows.
fn clock() -> (Clock, Date) {
    loop {
        let today = OffsetDateTime::now_utc().date();
        let clock = Clock::manual();
        if OffsetDateTime::now_utc().date() == today {
            return (clock, today);
        }
    }
}

async fn writes(house: &House, user: i64, day: Date) -> Answer {
    let entry = json!({"day": day.to_string(), "text": "Calm."});
    let path = format!("/users/{user}/journal");
    student(house, user).post(&path, entry).await
}

/// The current streak and the longest.
async fn streak(house: &House, user: i64, query: &str) -> (i64, i64) {
    let path = format!("/users/{user}/journal/streak{query}");
    let streak = student(house, user).get(&path).await.expect(StatusCode::OK);
    assert_eq!(streak.header("cache-control"), "no-store");
    let streak = streak.json();
    let of = |field: &str| streak[field].as_i64().unwrap();
    (of("current"), of("longest"))
}

#[tokio::test]
async fn days_in_a_row_are_counted_each_once_up_to_today_or_yesterday() {
    let (clock, today) = clock();
    let house = House::by(&clock, config(database().await)).await;
    for (name, ago, expected) in [
        ("a", &[][..], (0, 0)),
        ("b", &[0], (1, 1)),
        ("c", &[1], (1, 1)),
        ("d", &[2], (0, 1)),
        ("e", &[0, 0, 1, 1, 1, 2], (3, 3)),
        ("f", &[0, 1, 3, 4, 5, 6, 9], (2, 4)),
        ("g", &[3, 2, 4], (0, 3)),
        ("h", &[0, 2, 4], (1, 1)),
    ] {
        let user = house.user(name).await;
        for days in ago {
            let day = today - Duration::days(*days);
            writes(&house, user, day).await.expect(StatusCode::CREATED);
        }
        assert_eq!(streak(&house, user, "").await, expected, "{ago:?}");
    }
    // Where it is today still or already, the same days say something else.
    let ada = house.user("ada").await;
    let yesterday = today - Duration::DAY;
    for days in [1, 2] {
        let day = today - Duration::days(days);
        writes(&house, ada, day).await.expect(StatusCode::CREATED);
    }
    let query = format!("?today={today}");
    assert_eq!(streak(&house, ada, &query).await, (2, 2));
    let path = format!("/users/{ada}/journal/streak");
    let shown = student(&house, ada).get(&path).await.json();
    assert_eq!(shown["last_day"], yesterday.to_string());
    clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    assert_eq!(streak(&house, ada, "").await, (0, 2));
    let tomorrow = today + Duration::DAY;
    for day in [today, tomorrow] {
        writes(&house, ada, day).await.expect(StatusCode::CREATED);
    }
    assert_eq!(streak(&house, ada, "").await, (4, 4));
}

#[tokio::test]
async fn a_day_that_is_to_come_is_refused_until_it_has_come() {
    let (clock, today) = clock();
    let house = House::by(&clock, config(database().await)).await;
    let ada = house.user("ada").await;
    let day = today + Duration::days(2);
    let refused = writes(&house, ada, day).await;
    assert_eq!(
        refused.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
        Some("day")
    );
    clock.advance(std::time::Duration::from_secs(2 * 24 * 60 * 60));
    writes(&house, ada, day).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn entries_are_read_changed_and_removed_by_who_wrote_them() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let journal = format!("/users/{ada}/journal");
    let entry = json!({"day": "2026-01-31", "text": "Calm.", "mood": 7});
    let made = student(&house, ada).post(&journal, entry).await;
    let made = made.expect(StatusCode::CREATED);
    let path = made.header("location").to_owned();
    let shown = student(&house, ada).get(&path).await.expect(StatusCode::OK);
    assert_eq!(shown.bytes, made.bytes);
    assert_eq!(
        (&shown.json()["day"], &shown.json()["mood"]),
        (&json!("2026-01-31"), &json!(7))
    );
    for private in [&shown, &student(&house, ada).get(&journal).await] {
        assert_eq!(private.header("cache-control"), "no-store");
        assert_eq!(private.header("surrogate-key"), "");
    }
    // An admin may look, and that is all.
    let admin = house.as_user(ben, Role::Admin);
    admin.get(&path).await.expect(StatusCode::OK);
    for guest in [&admin, &student(&house, ben)] {
        for (method, path) in [
            (Method::POST, &journal),
            (Method::PATCH, &path),
            (Method::DELETE, &path),
        ] {
            let entry = json!({"day": "2026-01-31", "text": "Hello"});
            let refused = guest.ask(method, path, entry).await;
            refused.problem(StatusCode::FORBIDDEN);
        }
    }
    let if_match = |method, etag: &str, text: &str| {
        let (etag, body) = (etag.to_owned(), json!({"text": text}));
        let (path, house) = (path.clone(), &house);
        async move {
            let condition = [("if-match", etag.as_str())];
            let guest = student(house, ada);
            guest.ask_with(method, &path, &condition, body).await
        }
    };
    let changed = if_match(Method::PATCH, shown.header("etag"), "Storm.").await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(
        (&changed.json()["text"], &changed.json()["mood"]),
        (&json!("Storm."), &json!(7))
    );
    for method in [Method::PATCH, Method::DELETE] {
        let stale = if_match(method, shown.header("etag"), "Late").await;
        stale.problem(StatusCode::PRECONDITION_FAILED);
    }
    let gone = if_match(Method::DELETE, changed.header("etag"), "").await;
    gone.expect(StatusCode::NO_CONTENT);
    let again = student(&house, ada)
        .ask(Method::DELETE, &path, Value::Null)
        .await;
    again.problem(StatusCode::NOT_FOUND);

    let today = OffsetDateTime::now_utc().date();
    writes(&house, ada, today).await.expect(StatusCode::CREATED);
    assert_eq!(
        numbers(&student(&house, ada).get(&journal).await, "user_id"),
        [ada]
    );
    house
        .delete(&format!("/users/{ada}"))
        .await
        .expect(StatusCode::NO_CONTENT);
    assert_eq!(
        house.number("SELECT count(*) FROM journal_entries").await,
        0
    );
}
