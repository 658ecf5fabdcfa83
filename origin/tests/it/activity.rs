//! What is read from the events.

use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_services::Redis;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{Answer, House, activity, patiently};

fn ago(minutes: i64) -> String {
    (OffsetDateTime::now_utc() - Duration::minutes(minutes))
        .format(&Rfc3339)
        .unwrap()
}

/// An origin whose table has these events: a user, a type, a course, and how many minutes ago it was.
async fn with(redis: &Redis, house: House, events: &[(i64, &str, i64, i64)]) -> House {
    let _ = redis;
    let batch: Vec<_> = events
        .iter()
        .map(|(user, event_type, course, minutes)| {
            json!({"user_id": user, "event_type": event_type, "event_data": {"course_id": course},
                "timestamp": ago(*minutes)})
        })
        .collect();
    house
        .post("/events", Value::Array(batch))
        .await
        .expect(StatusCode::ACCEPTED);
    patiently("they are in the table", || async {
        house.metric("tidegate_events_inserted_total").await == Some(events.len() as f64)
    })
    .await;
    house
}

fn users(answer: &Answer) -> Vec<i64> {
    let events = answer.json()["events"].clone();
    let events = events.as_array().unwrap();
    events
        .iter()
        .map(|event| event["user_id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn events_are_found_by_user_by_type_and_by_window() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let events = [
        (1, "a", 1, 50),
        (2, "a", 1, 40),
        (1, "b", 1, 30),
        (3, "b", 1, 2 * 24 * 60),
    ];
    let house = with(&redis, house, &events).await;
    let (from, to) = (ago(45), ago(35));
    let window = format!("from={from}&to={to}");
    for (query, expected) in [
        ("", vec![1, 2, 1, 3]),
        ("user_id=1", vec![1, 1]),
        ("event_type=b", vec![1, 3]),
        ("user_id=1&event_type=a", vec![1]),
        (window.as_str(), vec![2]),
        ("user_id=9", vec![]),
        ("limit=2", vec![1, 2]),
    ] {
        let answer = house
            .get(&format!("/events?{query}"))
            .await
            .expect(StatusCode::OK);
        assert_eq!(users(&answer), expected, "{query}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    for (query, status) in [
        ("limit=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("limit=1001", StatusCode::UNPROCESSABLE_ENTITY),
        ("from=yesterday", StatusCode::BAD_REQUEST),
        ("before=1", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        house.get(&format!("/events?{query}")).await.problem(status);
    }
    // Not more than so many days are looked through.
    for path in ["/events", "/courses/1/views"] {
        let path = format!("{path}?from={}", ago(32 * 24 * 60));
        let field = house.get(&path).await;
        let field = field.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(field.as_deref(), Some("from"));
        let path = format!("{path}&to={}", ago(24 * 60));
        house.get(&path).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let events: Vec<_> = (0..5).map(|user| (user, "a b", 1, user)).collect();
    let house = with(&redis, house, &events).await;
    let mut path = "/events?event_type=a%20b&limit=2".to_owned();
    let mut seen = Vec::new();
    let last = loop {
        let answer = house.get(&path).await.expect(StatusCode::OK);
        seen.extend(users(&answer));
        match link(&answer, "next") {
            Some(next) => path = next,
            None => break answer,
        }
    };
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let back = house.get(&link(&last, "prev").unwrap()).await;
    assert_eq!(users(&back), [2, 3]);
    let first = house.get(&link(&back, "prev").unwrap()).await;
    assert_eq!(users(&first), [0, 1]);
    assert_eq!(link(&first, "prev"), None);
    // By any of the indexes, in either direction.
    for filter in ["", "user_id=3&", "user_id=3&event_type=a%20b&"] {
        let place = link(&back, "prev").unwrap();
        let (_, place) = place.split_once("before=").unwrap();
        for (direction, expected) in [("after", vec![3]), ("before", vec![])] {
            let page = house
                .get(&format!("/events?{filter}{direction}={place}"))
                .await;
            let users = users(&page.expect(StatusCode::OK));
            if !filter.is_empty() {
                assert_eq!(users, expected, "{filter}{direction}");
            }
        }
    }
}

/// Where a link of the relation leads.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let end = format!(">; rel=\"{relation}\"");
    let mut links = answer.header("link").split(", ");
    let link = links.find_map(|link| link.strip_prefix('<')?.strip_suffix(&end))?;
    Some(link.to_owned())
}

#[tokio::test]
async fn a_page_has_no_more_events_than_bytes_for_them() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    for half in 0..2 {
        let events: Vec<_> = (0..10)
            .map(|user| {
                json!({"user_id": half * 10 + user, "event_type": "a", "event_data": "x".repeat(60_000),
                    "timestamp": ago(half * 10 + user)})
            })
            .collect();
        house
            .post("/events", Value::Array(events))
            .await
            .expect(StatusCode::ACCEPTED);
    }
    patiently("they are in the table", || async {
        house.metric("tidegate_events_inserted_total").await == Some(20.0)
    })
    .await;
    let first = house.get("/events").await.expect(StatusCode::OK);
    let second = house.get(&link(&first, "next").unwrap()).await;
    assert_eq!((users(&first).len(), users(&second).len()), (17, 3));
    assert_eq!(link(&second, "next"), None);
    let all: Vec<_> = users(&first).into_iter().chain(users(&second)).collect();
    assert!(all.into_iter().eq(0..20));
}

#[tokio::test]
async fn views_are_counted_and_the_last_hour_says_what_is_trending() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let (seen, most, draft) = (
        house.course(5).await,
        house.course(5).await,
        house.course(5).await,
    );
    house
        .sql("UPDATE courses SET is_published = false WHERE id = 3")
        .await;
    assert_eq!(draft, 3);
    let view = "course_view";
    let events = [
        (1, view, seen, 1),
        (1, view, most, 50),
        (2, view, most, 2),
        (2, view, most, 2),
        (1, view, draft, 1),
        (1, "other", seen, 1),
        // Past the hour, however often.
        (1, view, seen, 70),
        (1, view, seen, 80),
    ];
    let house = with(&redis, house, &events).await;
    let trending = house.get("/trending").await.expect(StatusCode::OK);
    assert_eq!(trending.header("cdn-cache-control"), "public, max-age=60");
    let courses = trending.json();
    let counts: Vec<_> = courses
        .as_array()
        .unwrap()
        .iter()
        .map(|course| (course["course_id"].as_i64(), course["views"].as_i64()))
        .collect();
    assert_eq!(counts, [(Some(most), Some(3)), (Some(seen), Some(1))]);
    let first = house
        .get("/trending?limit=1")
        .await
        .expect(StatusCode::OK)
        .json();
    assert_eq!(first.as_array().unwrap().len(), 1);
    house
        .get("/trending?limit=0")
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);

    let views = |path: String| {
        let house = &house;
        async move {
            let views = house.get(&path).await.expect(StatusCode::OK).json();
            (
                views["views"].as_i64().unwrap(),
                views["viewers"].as_i64().unwrap(),
            )
        }
    };
    assert_eq!(views(format!("/courses/{seen}/views")).await, (3, 1));
    assert_eq!(views(format!("/courses/{most}/views")).await, (3, 2));
    assert_eq!(
        views(format!("/courses/{seen}/views?from={}", ago(75))).await,
        (2, 1)
    );
    assert_eq!(views("/courses/99/views".to_owned()).await, (0, 0));
}

#[tokio::test]
async fn a_moment_beyond_the_years_that_have_four_digits_is_refused() {
    let house = House::open().await;
    for (field, moment) in [
        ("to", "9999-12-31T23:59:59-23:59"),
        ("from", "9999-12-31T23:59:59-00:01"),
    ] {
        let path = format!("/courses/1/views?{field}={moment}");
        let refused = house.get(&path).await;
        let named = refused.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field), "{moment}");
    }
}
