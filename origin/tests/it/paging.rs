//! Lists come in pages, and the links between them lead through all of it, both ways.

use hyper::StatusCode;
use serde_json::Value;

use crate::support::{ADMIN, Answer, House};

/// Where a link of a relation leads.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let wanted = format!("rel=\"{relation}\"");
    let mut links = answer.header("link").split(", ");
    let link = links.find(|link| link.ends_with(&wanted))?;
    let (target, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(target.to_owned())
}

fn rows(answer: &Answer, field: &str) -> Vec<i64> {
    let body = answer.json();
    let list = body.get("value").unwrap_or(&body);
    let rows = list.as_array().unwrap().iter();
    // Of a document it stands in what it holds.
    let row = |row: &Value| row.get("data").unwrap_or(row)[field].as_i64().unwrap();
    rows.map(row).collect()
}

#[tokio::test]
async fn every_list_is_walked_by_its_links_forwards_and_backwards() {
    let house = House::open().await;
    house
        .sql(
            "INSERT INTO users (id, email, username, full_name)
                 SELECT n, n || '@e.org', n::text, 'x' FROM generate_series(1, 7) n;
             INSERT INTO courses (id, title, category, difficulty_level, max_students, current_enrollment, is_published)
                 SELECT n, 'T', 'c d', 'beginner', 10, n / 3, true FROM generate_series(1, 7) n;
             INSERT INTO enrollments (user_id, course_id) SELECT n, 1 FROM generate_series(1, 7) n;
             INSERT INTO enrollments (user_id, course_id) SELECT 1, n FROM generate_series(2, 7) n;
             INSERT INTO transactions (id, user_id, amount, transaction_type, created_at)
                 SELECT n, 1, n, 'fee', '2026-01-01'::timestamptz + n / 3 * interval '1 microsecond'
                 FROM generate_series(1, 7) n;
             INSERT INTO documents (key, data)
                 SELECT n::text, jsonb_build_object('id', n, 'even', n % 2 = 0) FROM generate_series(1, 14) n;
             INSERT INTO users (id, email, username, full_name) VALUES (1000000007, 'a@e.org', 'a', 'x');
             INSERT INTO circles (id, name, member_count) SELECT n, 'C', 3 - n / 3 FROM generate_series(1, 7) n;
             INSERT INTO circle_members (circle_id, user_id) SELECT 1, n FROM generate_series(1, 6) n;
             INSERT INTO circle_members (circle_id, user_id) SELECT n, 1000000007 FROM generate_series(1, 7) n;
             INSERT INTO messages (id, circle_id, author_id, text) SELECT n, 1, 1, 'm' FROM generate_series(1, 7) n;
             INSERT INTO notifications (id, user_id, kind, actor_id, circle_id)
                 SELECT n, 1000000007, 'joined', 1, 1 FROM generate_series(1, 7) n;
             INSERT INTO journal_entries (id, user_id, day, text)
                 SELECT n, 1000000007, '2026-01-01'::date + n / 3, 'e' FROM generate_series(1, 7) n",
        )
        .await;
    let (notifications, journal, joined) = (
        format!("/users/{ADMIN}/notifications?limit=2"),
        format!("/users/{ADMIN}/journal?limit=2"),
        format!("/users/{ADMIN}/circles?limit=2"),
    );
    let unread = format!("/users/{ADMIN}/notifications?unread=true&limit=2");
    let newest = vec![7, 6, 5, 4, 3, 2, 1];
    for (path, field, whole) in [
        (
            "/courses?category=c%20d&limit=2",
            "id",
            vec![6, 7, 3, 4, 5, 1, 2],
        ),
        (
            "/users/1/enrollments?limit=2",
            "course_id",
            vec![1, 2, 3, 4, 5, 6, 7],
        ),
        (
            "/courses/1/students?limit=2",
            "user_id",
            vec![1, 2, 3, 4, 5, 6, 7],
        ),
        (
            "/read/transaction/1?limit=2",
            "id",
            vec![7, 6, 5, 4, 3, 2, 1],
        ),
        (
            "/documents?filter=%7B%22even%22%3Atrue%7D&limit=2",
            "id",
            vec![2, 4, 6, 8, 10, 12, 14],
        ),
        ("/circles?limit=2", "id", vec![2, 1, 5, 4, 3, 7, 6]),
        ("/circles?sort=newest&limit=2", "id", newest.clone()),
        (
            "/circles/1/members?limit=2",
            "user_id",
            vec![1, 2, 3, 4, 5, 6, ADMIN],
        ),
        (&joined, "circle_id", vec![1, 2, 3, 4, 5, 6, 7]),
        ("/circles/1/messages?limit=2", "id", newest.clone()),
        (&notifications, "id", newest.clone()),
        (&unread, "id", newest.clone()),
        (&journal, "id", newest),
    ] {
        let mut seen = Vec::new();
        let mut pages = vec![path.to_owned()];
        let mut last = house.get(path).await.expect(StatusCode::OK);
        assert_eq!(link(&last, "prev"), None, "{path}");
        loop {
            assert_eq!(link(&last, "first").as_deref(), Some(path));
            seen.extend(rows(&last, field));
            let Some(next) = link(&last, "next") else {
                break;
            };
            last = house.get(&next).await.expect(StatusCode::OK);
            pages.push(next);
        }
        assert_eq!((&seen, pages.len()), (&whole, 4), "{path}");
        // Back again: each page is what is before the one behind it.
        let mut back = rows(&last, field);
        while let Some(previous) = link(&last, "prev") {
            last = house.get(&previous).await.expect(StatusCode::OK);
            let mut page = rows(&last, field);
            page.append(&mut back);
            back = page;
        }
        assert_eq!(back, whole, "{path}");
        assert_eq!(link(&last, "first").as_deref(), Some(path));
    }
}

#[tokio::test]
async fn rows_that_come_and_go_elsewhere_move_no_page() {
    let house = House::open().await;
    house
        .sql(
            "INSERT INTO transactions (id, user_id, amount, transaction_type, created_at)
                 SELECT n, 1, n, 'fee', '2026-01-01'::timestamptz + n * interval '1 hour'
                 FROM generate_series(1, 6) n",
        )
        .await;
    let first = house.get("/read/transaction/1?limit=2").await;
    assert_eq!(rows(&first, "id"), [6, 5]);
    house
        .sql(
            "INSERT INTO transactions (id, user_id, amount, transaction_type) VALUES (7, 1, 1, 'fee');
             DELETE FROM transactions WHERE id = 5",
        )
        .await;
    let next = house.get(&link(&first, "next").unwrap()).await;
    assert_eq!(rows(&next, "id"), [4, 3]);
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_by_its_name() {
    let house = House::open().await;
    let ada = house.user("ada").await;
    let course = house.course(1).await;
    house
        .sql(
            "INSERT INTO users (id, email, username, full_name) VALUES (1000000007, 'a@e.org', 'a', 'x');
             INSERT INTO circles (id, name) VALUES (1, 'C');
             INSERT INTO circle_members (circle_id, user_id) VALUES (1, 1000000007)",
        )
        .await;
    for list in [
        "/courses".to_owned(),
        format!("/users/{ada}/enrollments"),
        format!("/courses/{course}/students"),
        format!("/read/transaction/{ada}"),
        "/documents".to_owned(),
        "/circles".to_owned(),
        "/circles/1/members".to_owned(),
        "/circles/1/messages".to_owned(),
        format!("/users/{ada}/circles"),
        format!("/users/{ada}/notifications"),
        format!("/users/{ada}/journal"),
    ] {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("after=there", "after"),
            ("before=1", "before"),
            ("after=1_1&before=1_1", "before"),
        ] {
            let named = house.get(&format!("{list}?{query}")).await;
            let named = named.problem(StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(named.as_deref(), Some(field), "{list}?{query}");
        }
        let many = house.get(&format!("{list}?limit=many")).await;
        many.problem(StatusCode::BAD_REQUEST);
        // Whatever numbers they are, they are places.
        for number in [i64::MIN, -1, 0, i64::MAX] {
            for side in ["after", "before"] {
                let answer = house.get(&format!("{list}?{side}={number}_{number}")).await;
                assert!(!answer.status.is_server_error(), "{list} {side} {number}");
                if answer.status == StatusCode::OK {
                    assert!(answer.json() != Value::Null);
                }
            }
        }
    }
}
