//! Who may do what: every route, asked by everybody.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::access::Role;
use tidegate_services::Redis;

use crate::support::{ADMIN, Guest, House, activity, patiently};

const NULL: Value = Value::Null;

/// Users and courses by which the table below is asked.
struct Place {
    house: House,
    /// A student whose profile, seat and drafts are asked for, and another one.
    ben: i64,
    cleo: i64,
    /// The instructor who gives the courses, and another one.
    ada: i64,
    una: i64,
    /// A published course and one that is not.
    course: i64,
    draft: i64,
    /// A public circle and a private one, both the student's.
    circle: i64,
    secret: i64,
    /// What the student has written: in the public circle, and for themself.
    message: i64,
    entry: i64,
}

async fn made(guest: &Guest<'_>, path: &str, body: Value) -> i64 {
    let made = guest.post(path, body).await.expect(StatusCode::CREATED);
    made.json()["id"].as_i64().unwrap()
}

impl Place {
    async fn new(redis: &Redis) -> Self {
        let house = House::with_activity(activity(redis)).await;
        let (ben, cleo) = (house.user("ben").await, house.user("cleo").await);
        let (ada, una) = (house.user("ada").await, house.user("una").await);
        let mut courses = Vec::new();
        for title in ["Tides", "Currents"] {
            let body = json!({"title": title, "category": "science", "difficulty_level": "beginner", "max_students": 5});
            let made = house
                .as_user(ada, Role::Instructor)
                .post("/courses", body)
                .await;
            let made = made.expect(StatusCode::CREATED).json();
            assert_eq!(made["instructor_id"], ada);
            courses.push(made["id"].as_i64().unwrap());
        }
        let (course, draft) = (courses[0], courses[1]);
        let publish = format!("/courses/{course}/publish");
        house
            .as_user(ada, Role::Instructor)
            .post(&publish, NULL)
            .await
            .expect(StatusCode::OK);
        let student = house.as_user(ben, Role::Student);
        let circle = made(&student, "/circles", json!({"name": "Swimmers"})).await;
        let secret = json!({"name": "Divers", "is_private": true});
        let secret = made(&student, "/circles", secret).await;
        let messages = format!("/circles/{circle}/messages");
        let message = made(&student, &messages, json!({"text": "high water"})).await;
        let journal = format!("/users/{ben}/journal");
        let entry = made(
            &student,
            &journal,
            json!({"day": "2020-01-01", "text": "wet"}),
        )
        .await;
        let welcome = json!({"key": "welcome", "data": 1});
        house
            .post("/write/document", welcome)
            .await
            .expect(StatusCode::OK);
        Self {
            house,
            ben,
            cleo,
            ada,
            una,
            course,
            draft,
            circle,
            secret,
            message,
            entry,
        }
    }

    /// Those who ask, in the order of the table's letters.
    fn guests(&self) -> [(&'static str, Guest<'_>); 6] {
        let house = &self.house;
        [
            ("anonymous", house.anonymous()),
            ("the student", house.as_user(self.ben, Role::Student)),
            ("another student", house.as_user(self.cleo, Role::Student)),
            ("the instructor", house.as_user(self.ada, Role::Instructor)),
            (
                "another instructor",
                house.as_user(self.una, Role::Instructor),
            ),
            ("an admin", house.as_user(ADMIN, Role::Admin)),
        ]
    }
}

/// Whether a path is one of those that a template of the description stands for.
fn is_of(path: &str, template: &str) -> bool {
    let path = path.split('?').next().unwrap().split('/');
    let template = template.split('/');
    path.clone().count() == template.clone().count()
        && path
            .zip(template)
            .all(|(one, other)| one == other || other.starts_with('{'))
}

#[tokio::test]
async fn everybody_may_do_what_they_may_and_nothing_else() {
    let redis = Redis::ephemeral().unwrap();
    let place = Place::new(&redis).await;
    let Place {
        ben,
        cleo,
        course,
        draft,
        circle,
        secret,
        message,
        entry,
        ..
    } = place;
    let get = |path: &str| ("get", path.to_owned(), NULL);
    let post = |path: &str, body| ("post", path.to_owned(), body);
    let patch = |path: &str, body| ("patch", path.to_owned(), body);
    let put = |path: &str, body| ("put", path.to_owned(), body);
    let delete = |path: &str| ("delete", path.to_owned(), NULL);
    let person = |name: &str, role: &str| json!({"email": format!("{name}@example.org"), "username": name, "full_name": name, "role": role});
    let new = json!({"title": "New", "category": "art", "difficulty_level": "beginner", "max_students": 1});
    let theirs = json!({"title": "New", "category": "art", "difficulty_level": "beginner", "max_students": 1,
        "instructor_id": place.una});
    let payment = json!({"user_id": ben, "amount": "1.00", "transaction_type": "fee"});
    let click = json!({"query": "tides", "course_id": course, "position": 1});
    let bens_click = json!({"query": "tides", "course_id": course, "position": 1, "user_id": ben});
    let seat = format!("/courses/{course}/enrollments/{ben}");
    let note = format!("/drafts/{ben}/note");
    // Anonymous, the student, another one, the course's instructor, another one, an admin: `+` is done, `-` may be done
    // and cannot be now, `a` is 401, `f` is 403, `n` is 404.
    let table = [
        (get("/openapi.json"), "++++++"),
        (get("/courses"), "++++++"),
        (get("/courses/search?q=tides"), "++++++"),
        (get("/courses/semantic?query=tides"), "++++++"),
        (get("/courses/popular"), "++++++"),
        (get("/courses/semantic?q=tides"), "++++++"),
        (get("/documents"), "++++++"),
        (get("/trending"), "++++++"),
        (get(&format!("/courses/{course}")), "++++++"),
        (get(&format!("/courses/{draft}")), "nnn+n+"),
        (get("/courses/999"), "nnnnnn"),
        (get(&format!("/courses/{course}/views")), "++++++"),
        (post("/courses/search/clicks", click), "++++++"),
        (post("/courses/search/clicks", bens_click), "a+fff+"),
        (post("/courses", new), "aff+++"),
        (post("/courses", theirs), "afff++"),
        (patch(&format!("/courses/{course}"), json!({})), "aff+f+"),
        (patch(&format!("/courses/{draft}"), json!({})), "aff+n+"),
        (
            patch(
                &format!("/courses/{course}"),
                json!({"instructor_id": place.ada}),
            ),
            "aff+f+",
        ),
        (patch("/courses/999", json!({})), "affnnn"),
        (post(&format!("/courses/{course}/publish"), NULL), "aff+f+"),
        (post(&format!("/courses/{draft}/publish"), NULL), "affxnx"),
        (get(&format!("/courses/{course}/students")), "aff+f+"),
        (get(&format!("/courses/{draft}/students")), "aff+n+"),
        (
            post(
                &format!("/courses/{course}/enrollments"),
                json!({"user_id": ben}),
            ),
            "a+fff-",
        ),
        (get(&seat), "a+f+f+"),
        (patch(&seat, json!({"progress_percentage": 10})), "a+fff+"),
        (get(&format!("/users/{ben}/enrollments")), "a+fff+"),
        (
            post(&format!("{seat}/transfer"), json!({"to_user_id": cleo})),
            "affff+",
        ),
        (delete(&seat), "a-fff-"),
        (post("/users", person("new", "student")), "+-----"),
        (post("/users", person("teacher", "instructor")), "fffff+"),
        (post("/users", person("root", "admin")), "fffff+"),
        (get(&format!("/users/{ben}")), "a+fff+"),
        (
            patch(&format!("/users/{ben}"), json!({"full_name": "Ben"})),
            "a+fff+",
        ),
        (
            patch(&format!("/users/{ben}"), json!({"role": "student"})),
            "affff+",
        ),
        (
            put(
                &format!("/users/{ben}/password"),
                json!({"password": "high water"}),
            ),
            "a-fff+",
        ),
        (get("/users/999"), "affffn"),
        (post("/session", json!({})), "------"),
        // A session is shown to its own token alone.
        (get("/session"), "aaaaaa"),
        (delete("/session"), "aaaaaa"),
        (get("/read/document/welcome"), "++++++"),
        (get("/documents"), "++++++"),
        (
            post("/write/document", json!({"key": "k", "data": 1})),
            "aff+++",
        ),
        (put(&note, json!({"data": 1})), "a+fff+"),
        (get(&note), "a+fff+"),
        (post(&format!("{note}/final"), json!({"data": 1})), "a+fff+"),
        (get(&format!("{note}/final")), "a+fff+"),
        (post("/write/transaction", payment), "a+fff+"),
        (get(&format!("/read/transaction/{ben}")), "a+fff+"),
        (get("/stats"), "affff+"),
        (post("/events", json!({"event_type": "seen"})), "++++++"),
        (
            post("/events", json!([{"event_type": "seen", "user_id": ben}])),
            "a+fff+",
        ),
        (get("/events"), "a+++++"),
        (get(&format!("/events?user_id={ben}")), "a+fff+"),
        (get("/reactions/message:1"), "++++++"),
        (
            post("/reactions/message:1", json!({"reaction": "like"})),
            "a+++++",
        ),
        (put(&format!("/presence/{ben}"), NULL), "a+fff+"),
        (get("/presence?users=1"), "a+++++"),
        (delete(&format!("/presence/{ben}")), "a+fff+"),
        (put(&format!("/circles/1/typing/{ben}"), NULL), "a+fff+"),
        (get("/circles/1/typing"), "a+++++"),
        (delete(&format!("/circles/1/typing/{ben}")), "a+fff+"),
        (get("/circles"), "++++++"),
        (get(&format!("/circles/{circle}")), "++++++"),
        (get(&format!("/circles/{secret}")), "n+nnnn"),
        (get(&format!("/users/{ben}/circles")), "a+fff+"),
        (get(&format!("/circles/{circle}/members")), "a+ffff"),
        (get(&format!("/circles/{circle}/members/{ben}")), "a+ffff"),
        (
            patch(
                &format!("/circles/{circle}/members/{ben}"),
                json!({"role": "owner"}),
            ),
            "a+ffff",
        ),
        (get(&format!("/circles/{circle}/messages")), "a+ffff"),
        (
            post(
                &format!("/circles/{circle}/messages"),
                json!({"text": "low water"}),
            ),
            "a+ffff",
        ),
        (
            get(&format!("/circles/{circle}/messages/{message}")),
            "a+ffff",
        ),
        (
            patch(
                &format!("/circles/{circle}/messages/{message}"),
                json!({"text": "low"}),
            ),
            "a+ffff",
        ),
        (get(&format!("/circles/{secret}/messages")), "a+nnnn"),
        (
            post(&format!("/circles/{secret}/members"), json!({})),
            "a-nnnn",
        ),
        (
            post(
                &format!("/circles/{circle}/members"),
                json!({"user_id": cleo}),
            ),
            "a+-fff",
        ),
        (
            delete(&format!("/circles/{circle}/members/{cleo}")),
            "a+-fff",
        ),
        (
            delete(&format!("/circles/{circle}/messages/{message}")),
            "a+ffff",
        ),
        // The table of users has no row of this admin.
        (
            post(&format!("/circles/{circle}/members"), json!({})),
            "a-+++-",
        ),
        (post("/circles", json!({"name": "New"})), "a++++-"),
        (get(&format!("/users/{ben}/notifications")), "a+fff+"),
        (get(&format!("/users/{ben}/notifications/unread")), "a+fff+"),
        (
            put(&format!("/users/{ben}/notifications/999/read"), NULL),
            "a-ffff",
        ),
        (
            put(&format!("/users/{ben}/notifications/read"), NULL),
            "a+ffff",
        ),
        (
            post(
                &format!("/users/{ben}/journal"),
                json!({"day": "2020-01-02", "text": "dry"}),
            ),
            "a+ffff",
        ),
        (get(&format!("/users/{ben}/journal")), "a+fff+"),
        (get(&format!("/users/{ben}/journal/streak")), "a+fff+"),
        (get(&format!("/users/{ben}/journal/{entry}")), "a+fff+"),
        (
            patch(&format!("/users/{ben}/journal/{entry}"), json!({"mood": 5})),
            "a+ffff",
        ),
        (delete(&format!("/users/{ben}/journal/{entry}")), "a+ffff"),
        // Not for what comes through an edge.
        (get("/api/monitoring/database/health"), "nnnnnn"),
        (get("/api/monitoring/performance"), "nnnnnn"),
        (get("/health"), "++++++"),
        (get("/openapi.json"), "++++++"),
        (delete(&format!("/users/{ben}")), "a+fffn"),
    ];
    let mut wrong = Vec::new();
    for ((method, path, body), expected) in &table {
        let name: Method = method.to_uppercase().parse().unwrap();
        for ((who, guest), letter) in place.guests().into_iter().zip(expected.chars()) {
            if letter == 'x' {
                continue;
            }
            let answer = guest.ask(name.clone(), path, body.clone()).await;
            let status = answer.status;
            let is_right = match letter {
                '+' => status.is_success(),
                '-' => [404, 409, 422].contains(&status.as_u16()),
                'a' => status == StatusCode::UNAUTHORIZED,
                'f' => status == StatusCode::FORBIDDEN,
                'n' => status == StatusCode::NOT_FOUND,
                other => panic!("{other}"),
            };
            let text = String::from_utf8_lossy(&answer.bytes);
            if !is_right {
                wrong.push(format!(
                    "{who}: {method} {path} {body}: {status} is not {letter}: {text}"
                ));
            }
            if status == StatusCode::UNAUTHORIZED {
                assert!(
                    answer.header("www-authenticate").starts_with("Bearer"),
                    "{path}"
                );
            }
            // What somebody else is refused is not for caches that others share.
            if status.is_success() && *method == "get" && expected.contains(['a', 'f', 'n']) {
                let control = answer.header("cache-control");
                let is_own = control.contains("private") || control.contains("no-store");
                assert!(is_own, "{who}: {path}: {control}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whatever else there is.
    let description = place.house.get("/openapi.json").await.json();
    for (template, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let is_asked = table
                .iter()
                .any(|((asked, path, _), _)| asked == method && is_of(path, template));
            assert!(is_asked, "{method} {template}: who may do that?");
            // The description says the same of who is not known.
            let requirements = methods[method]["security"].as_array().unwrap();
            let is_open = requirements.is_empty()
                || requirements.iter().any(|one| one["UserToken"].is_null());
            let may = table.iter().any(|((asked, path, _), expected)| {
                asked == method && is_of(path, template) && !expected.starts_with('a')
            });
            assert_eq!(is_open, may, "{method} {template}");
        }
    }
}

#[tokio::test]
async fn a_course_is_private_until_it_is_published() {
    let redis = Redis::ephemeral().unwrap();
    let place = Place::new(&redis).await;
    let house = &place.house;
    let path = format!("/courses/{}", place.draft);
    let own = house.as_user(place.ada, Role::Instructor);
    let shown = own.get(&path).await.expect(StatusCode::OK);
    assert_eq!(shown.header("cache-control"), "private, max-age=10");
    assert_eq!(shown.header("cdn-cache-control"), "");
    let hidden = house.anonymous().get(&path).await;
    assert_eq!(hidden.header("vary"), "authorization");
    let none = house.anonymous().get("/courses/999").await;
    assert_eq!(none.headers.len(), hidden.headers.len());
    hidden.problem(StatusCode::NOT_FOUND);
    // A student who made it by hand, or an instructor no more, is as others are.
    let student = house.as_user(place.ada, Role::Student);
    student.get(&path).await.problem(StatusCode::NOT_FOUND);
    for list in [
        "/courses",
        "/courses/popular",
        "/courses/search?q=currents",
        "/courses/semantic?query=currents",
    ] {
        let text = own.get(list).await.bytes;
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains("Currents"), "{list}");
    }
    let publish = format!("{path}/publish");
    own.post(&publish, NULL).await.expect(StatusCode::OK);
    for guest in [house.anonymous(), own] {
        let shown = guest.get(&path).await.expect(StatusCode::OK);
        assert_eq!(shown.header("cache-control"), "public, max-age=60");
        assert_eq!(shown.header("vary"), "");
    }
    // An instructor hands it to nobody else, and an admin does.
    let other = json!({"instructor_id": place.una});
    let own = house.as_user(place.ada, Role::Instructor);
    let refused = own.ask(Method::PATCH, &path, other.clone()).await;
    assert_eq!(
        refused.problem(StatusCode::FORBIDDEN).as_deref(),
        Some("instructor_id")
    );
    house.patch(&path, other).await.expect(StatusCode::OK);
    let refused = own.ask(Method::PATCH, &path, json!({})).await;
    refused.problem(StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_event_is_of_who_sent_it_or_of_nobody() {
    let redis = Redis::ephemeral().unwrap();
    let place = Place::new(&redis).await;
    let house = &place.house;
    let event = |more: Value| {
        let mut event = json!({"event_type": "seen", "event_data": {}});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    };
    let ben = house.as_user(place.ben, Role::Student);
    house
        .anonymous()
        .post("/events", event(json!({})))
        .await
        .expect(StatusCode::ACCEPTED);
    ben.post("/events", event(json!({})))
        .await
        .expect(StatusCode::ACCEPTED);
    house
        .post("/events", event(json!({"user_id": 7})))
        .await
        .expect(StatusCode::ACCEPTED);
    // One of a batch is enough for none of it to be taken.
    let batch = json!([event(json!({})), event(json!({"user_id": place.cleo}))]);
    let refused = ben.post("/events", batch).await;
    assert_eq!(
        refused.problem(StatusCode::FORBIDDEN).as_deref(),
        Some("[1].user_id")
    );
    patiently("they are in the table", || async {
        house.metric("tidegate_events_inserted_total").await == Some(3.0)
    })
    .await;
    let users = |page: Value| {
        let events = page["events"].as_array().unwrap().clone();
        let mut users: Vec<_> = events
            .iter()
            .map(|event| event["user_id"].as_i64())
            .collect();
        users.sort_unstable();
        users
    };
    let all = house.get("/events").await.expect(StatusCode::OK).json();
    assert_eq!(users(all), [None, Some(place.ben), Some(7)]);
    let own = ben.get("/events").await.expect(StatusCode::OK).json();
    assert_eq!(users(own), [Some(place.ben)]);
}
