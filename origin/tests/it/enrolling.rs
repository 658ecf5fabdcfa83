//! There are never more students than seats, and both sides of an enrollment agree.

use hyper::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{House, patiently};

#[tokio::test]
async fn of_64_who_enrol_at_once_exactly_as_many_get_in_as_there_are_seats() {
    let house = std::sync::Arc::new(House::open().await);
    let course = house.course(10).await;
    house
        .sql("INSERT INTO users (id, email, username, full_name) SELECT n, n || '@e.org', n::text, 'x' FROM generate_series(1001, 1064) n")
        .await;
    let mut enrolling = JoinSet::new();
    for user in 1001..=1064 {
        let house = house.clone();
        enrolling.spawn(async move {
            house
                .post(
                    &format!("/courses/{course}/enrollments"),
                    json!({"user_id": user}),
                )
                .await
                .status
        });
    }
    let statuses = enrolling.join_all().await;
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StatusCode::CREATED)
            .count(),
        10
    );
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StatusCode::CONFLICT)
            .count(),
        54
    );
    assert_eq!(
        house.get(&format!("/courses/{course}")).await.json()["current_enrollment"],
        10
    );
    assert_eq!(
        house
            .get(&format!("/courses/{course}/students"))
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        10
    );
}

#[tokio::test]
async fn a_seat_is_taken_once_and_refusals_say_why() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let course = house.course(1).await;
    let path = format!("/courses/{course}/enrollments");
    let made = house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(made.header("location"), format!("{path}/{ada}"));
    let again = house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CONFLICT);
    assert_eq!(again.json()["type"], "urn:tidegate:already-enrolled");
    let full = house
        .post(&path, json!({"user_id": ben}))
        .await
        .expect(StatusCode::CONFLICT);
    assert_eq!(full.json()["type"], "urn:tidegate:course-full");
    assert_eq!(
        house.get(&format!("/courses/{course}")).await.json()["current_enrollment"],
        1
    );

    house
        .post("/courses/999/enrollments", json!({"user_id": ada}))
        .await
        .problem(StatusCode::NOT_FOUND);
    let other = house.course(5).await;
    let unknown = house
        .post(
            &format!("/courses/{other}/enrollments"),
            json!({"user_id": 999}),
        )
        .await;
    assert_eq!(
        unknown.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
        Some("user_id")
    );
    assert_eq!(
        house.get(&format!("/courses/{other}")).await.json()["current_enrollment"],
        0
    );
}

#[tokio::test]
async fn a_seat_that_is_given_back_can_be_taken() {
    let house = House::open().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let course = house.course(1).await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    house
        .delete(&format!("{path}/{ada}"))
        .await
        .expect(StatusCode::NO_CONTENT);
    house
        .delete(&format!("{path}/{ada}"))
        .await
        .problem(StatusCode::NOT_FOUND);
    house
        .post(&path, json!({"user_id": ben}))
        .await
        .expect(StatusCode::CREATED);
    // Whoever leaves altogether leaves the seat too.
    house
        .delete(&format!("/users/{ben}"))
        .await
        .expect(StatusCode::NO_CONTENT);
    house
        .get(&format!("/users/{ben}"))
        .await
        .problem(StatusCode::NOT_FOUND);
    assert_eq!(
        house.get(&format!("/courses/{course}")).await.json()["current_enrollment"],
        0
    );
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_transfer_moves_the_seat_and_both_users_lists_fall() {
    let house = House::open().await;
    let (ada, ben, cleo) = (
        house.user("ada").await,
        house.user("ben").await,
        house.user("cleo").await,
    );
    let course = house.course(2).await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    house
        .post(&path, json!({"user_id": cleo}))
        .await
        .expect(StatusCode::CREATED);
    let taken = house
        .post(
            &format!("{path}/{ada}/transfer"),
            json!({"to_user_id": cleo}),
        )
        .await;
    taken.problem(StatusCode::CONFLICT);
    house
        .post(
            &format!("{path}/{ada}/transfer"),
            json!({"to_user_id": ben}),
        )
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(
        house.get(&format!("/users/{ada}/enrollments")).await.json(),
        json!([])
    );
    assert_eq!(
        house.get(&format!("/users/{ben}/enrollments")).await.json()[0]["course_id"],
        course
    );
    assert_eq!(
        house.get(&format!("/courses/{course}")).await.json()["current_enrollment"],
        2
    );
    let (ada, ben) = (
        format!("user-enrollments:{ada}"),
        format!("user-enrollments:{ben}"),
    );
    house.sink.wait_for(&[&ada, &ben]).await;
    // To someone who does not exist: nothing has moved.
    let nobody = house
        .post(
            &format!("{path}/{cleo}/transfer"),
            json!({"to_user_id": 999}),
        )
        .await;
    assert_eq!(
        nobody.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
        Some("user_id")
    );
    assert_eq!(
        house
            .get(&format!("/users/{cleo}/enrollments"))
            .await
            .json()[0]["course_id"],
        course
    );
}

#[tokio::test]
async fn completion_is_when_progress_first_reached_the_end() {
    let house = House::open().await;
    let ada = house.user("ada").await;
    let course = house.course(1).await;
    let path = format!("/courses/{course}/enrollments");
    house
        .post(&path, json!({"user_id": ada}))
        .await
        .expect(StatusCode::CREATED);
    let path = format!("{path}/{ada}");
    for (given, done) in [(40, false), (100, true), (90, true)] {
        let answer = house
            .patch(&path, json!({"progress_percentage": given}))
            .await
            .expect(StatusCode::OK)
            .json();
        assert_eq!(answer["progress_percentage"], given);
        assert_eq!(answer["completed_at"].is_string(), done, "{given}");
    }
    for outside in [-1, 101] {
        let field = house
            .patch(&path, json!({"progress_percentage": outside}))
            .await;
        assert_eq!(
            field.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
            Some("progress_percentage")
        );
    }
    let nobody = format!("/courses/{course}/enrollments/999");
    house
        .patch(&nobody, json!({"progress_percentage": 1}))
        .await
        .problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_seat_that_changes_hands_while_its_user_is_removed_is_not_given_back_twice() {
    let house = std::sync::Arc::new(House::open().await);
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let course = house.course(2).await;
    for user in [ada, ben] {
        house
            .post(
                &format!("/courses/{course}/enrollments"),
                json!({"user_id": user}),
            )
            .await
            .expect(StatusCode::CREATED);
    }
    // Ada gives her seat back, as an unenrollment does, and her removal waits for the course meanwhile.
    let mut leaving = house.pool.begin().await.unwrap();
    for statement in [
        format!("SELECT FROM courses WHERE id = {course} FOR UPDATE"),
        format!("DELETE FROM enrollments WHERE user_id = {ada}"),
        format!("UPDATE courses SET current_enrollment = 1 WHERE id = {course}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut *leaving)
            .await
            .unwrap();
    }
    let removal = tokio::spawn({
        let house = house.clone();
        async move { house.delete(&format!("/users/{ada}")).await.status }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'";
    patiently("the removal waits for the course", || async {
        house.number(waiting).await > 0
    })
    .await;
    leaving.commit().await.unwrap();
    assert_eq!(removal.await.unwrap(), StatusCode::NO_CONTENT);
    let course = house.get(&format!("/courses/{course}")).await;
    assert_eq!(course.json()["current_enrollment"], 1, "ben's seat");
}

#[tokio::test]
async fn removing_a_user_who_teaches_waits_for_whoever_enrols_them_and_not_each_for_the_other() {
    let house = House::open().await;
    let (user, course) = (house.user("ada").await, house.course(5).await);
    house
        .patch(
            &format!("/courses/{course}"),
            json!({"instructor_id": user}),
        )
        .await
        .expect(StatusCode::OK);
    // As an enrolment does it: the course first.
    let mut enrolling = house.pool.begin().await.unwrap();
    sqlx::query("UPDATE courses SET current_enrollment = current_enrollment + 1")
        .execute(&mut *enrolling)
        .await
        .unwrap();
    let path = format!("/users/{user}");
    let (removed, enrolled) = tokio::join!(
        async {
            // A lock that is waited for too long is asked for again.
            loop {
                let answer = house.delete(&path).await;
                if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                    return answer.status;
                }
            }
        },
        async {
            patiently("the removal waits for the course", || async {
                house
                    .number(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                         AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'",
                    )
                    .await
                    > 0
            })
            .await;
            sqlx::query("INSERT INTO enrollments (user_id, course_id) VALUES ($1, $2)")
                .bind(user)
                .bind(course)
                .execute(&mut *enrolling)
                .await?;
            enrolling.commit().await
        }
    );
    enrolled.unwrap();
    assert_eq!(removed, StatusCode::NO_CONTENT);
    let course = house.get(&format!("/courses/{course}")).await.json();
    assert_eq!(
        (&course["current_enrollment"], &course["instructor_id"]),
        (&json!(0), &json!(null))
    );
}
