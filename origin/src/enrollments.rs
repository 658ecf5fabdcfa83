//! Enrollments: who takes which course, how far they are, and never more than there are seats.
//!
//! Every change of seats locks the course's row first: seats are counted under the lock, and no two changes of one
//! course overlap. A user's enrollments fall by `user-enrollments:ID`, a course's students by `course-students:ID`; the course
//! itself, whose count changes, is announced by its table's trigger.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, patch, post},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    answer::{Policy, Representation, created, gone, tag, written},
    courses::absent,
    error::Problem,
    input::{Json, Path},
    outbox::announce,
    replicas::{Reader, Servers},
};

const POLICY: Policy = Policy::Private { browser: 30 };

/// A user's place in a course.
#[derive(Serialize, ToSchema)]
pub(crate) struct Enrollment {
    id: i64,
    user_id: i64,
    course_id: i64,
    #[serde(with = "time::serde::rfc3339")]
    enrolled_at: OffsetDateTime,
    /// When progress first reached 100.
    #[serde(with = "time::serde::rfc3339::option")]
    completed_at: Option<OffsetDateTime>,
    /// 0 to 100.
    progress_percentage: i32,
}

/// A user as a course's list of students shows them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Student {
    user_id: i64,
    username: String,
    full_name: String,
    #[serde(with = "time::serde::rfc3339")]
    enrolled_at: OffsetDateTime,
    progress_percentage: i32,
}

/// Who takes the place.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Enrolling {
    user_id: i64,
}

/// How far the user is.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Progress {
    progress_percentage: i32,
}

/// Who takes over the place.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Transfer {
    to_user_id: i64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/users/{id}/enrollments", get(of_user))
        .route("/courses/{id}/students", get(students))
        .route("/courses/{id}/enrollments", post(enrol))
        .route(
            "/courses/{id}/enrollments/{user_id}",
            patch(progress).delete(unenroll),
        )
        .route(
            "/courses/{id}/enrollments/{user_id}/transfer",
            post(transfer),
        )
}

fn not_enrolled(user: i64, course: i64) -> Problem {
    Problem::not_found(format!("user {user} is not enrolled in course {course}"))
}

fn already_enrolled(user: i64, course: i64) -> Problem {
    let detail = format!("user {user} is enrolled in course {course} already");
    Problem::conflict(
        "urn:tidegate:already-enrolled",
        "The user is enrolled already",
        detail,
    )
}

fn fallen(users: &[i64], course: i64) -> Vec<String> {
    let users = users.iter().map(|user| tag("user-enrollments", user));
    users.chain([tag("course-students", course)]).collect()
}

/// Lists a user's enrollments.
#[utoipa::path(get, path = "/users/{id}/enrollments", tag = "enrollments", params(("id" = i64, Path)), responses(
    (status = 200, body = Vec<Enrollment>), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn of_user(
    Path(id): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let enrollments = sqlx::query_as!(
        Enrollment,
        "SELECT id, user_id, course_id, enrolled_at, completed_at, progress_percentage
         FROM enrollments WHERE user_id = $1 ORDER BY id",
        id
    )
    .fetch_all(&mut *reader)
    .await?;
    if enrollments.is_empty() {
        sqlx::query_scalar!("SELECT id FROM users WHERE id = $1", id)
            .fetch_optional(&mut *reader)
            .await?
            .ok_or_else(|| Problem::not_found(format!("there is no user {id}")))?;
    }
    Ok(Representation::of(&enrollments)?
        .policy(POLICY)
        .tags([tag("user-enrollments", id)])
        .answer(&request))
}

/// Lists a course's students.
#[utoipa::path(get, path = "/courses/{id}/students", tag = "enrollments", params(("id" = i64, Path)), responses(
    (status = 200, body = Vec<Student>), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn students(
    Path(id): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let students = sqlx::query_as!(
        Student,
        "SELECT users.id AS user_id, username, full_name, enrolled_at, progress_percentage
         FROM enrollments JOIN users ON users.id = enrollments.user_id WHERE course_id = $1 ORDER BY enrollments.id",
        id
    )
    .fetch_all(&mut *reader)
    .await?;
    if students.is_empty() {
        sqlx::query_scalar!("SELECT id FROM courses WHERE id = $1", id)
            .fetch_optional(&mut *reader)
            .await?
            .ok_or_else(|| absent(id))?;
    }
    Ok(Representation::of(&students)?
        .policy(POLICY)
        .tags([tag("course-students", id)])
        .answer(&request))
}

/// Takes a seat in a published course, all or nothing.
#[utoipa::path(post, path = "/courses/{id}/enrollments", tag = "enrollments", params(("id" = i64, Path)),
    request_body = Enrolling, responses((status = 201, body = Enrollment), (status = 404, body = Problem),
    (status = 409, description = "the course is full, or the user is enrolled already", body = Problem),
    (status = 422, description = "there is no such user", body = Problem)))]
pub(crate) async fn enrol(
    State(pool): State<PgPool>,
    Path(course): Path<i64>,
    Json(Enrolling { user_id: user }): Json<Enrolling>,
) -> Result<Response, Problem> {
    let mut transaction = pool.begin().await?;
    let seats = sqlx::query!(
        "SELECT max_students, current_enrollment FROM courses WHERE id = $1 AND is_published FOR UPDATE",
        course
    )
    .fetch_optional(&mut *transaction)
    .await?
    .ok_or_else(|| absent(course))?;
    if is_enrolled(&mut transaction, user, course).await? {
        return Err(already_enrolled(user, course));
    }
    if seats.current_enrollment >= seats.max_students {
        let detail = format!(
            "all {} seats of course {course} are taken",
            seats.max_students
        );
        return Err(Problem::conflict(
            "urn:tidegate:course-full",
            "The course is full",
            detail,
        ));
    }
    let enrollment = sqlx::query_as!(
        Enrollment,
        "INSERT INTO enrollments (user_id, course_id) VALUES ($1, $2)
         RETURNING id, user_id, course_id, enrolled_at, completed_at, progress_percentage",
        user,
        course
    )
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query!(
        "UPDATE courses SET current_enrollment = current_enrollment + 1 WHERE id = $1",
        course
    )
    .execute(&mut *transaction)
    .await?;
    announce(&mut transaction, &fallen(&[user], course)).await?;
    transaction.commit().await?;
    created(format!("/courses/{course}/enrollments/{user}"), &enrollment)
}

/// Records how far a user is.
#[utoipa::path(patch, path = "/courses/{id}/enrollments/{user_id}", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path)), request_body = Progress, responses(
    (status = 200, body = Enrollment), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn progress(
    State(pool): State<PgPool>,
    Path((course, user)): Path<(i64, i64)>,
    Json(Progress {
        progress_percentage: percentage,
    }): Json<Progress>,
) -> Result<Response, Problem> {
    if !(0..=100).contains(&percentage) {
        return Err(
            Problem::invalid("progress_percentage must be 0 to 100").field("progress_percentage")
        );
    }
    let mut transaction = pool.begin().await?;
    let enrollment = sqlx::query_as!(
        Enrollment,
        "UPDATE enrollments SET progress_percentage = $3,
             completed_at = CASE WHEN $3 = 100 THEN coalesce(completed_at, now()) ELSE completed_at END
         WHERE course_id = $1 AND user_id = $2
         RETURNING id, user_id, course_id, enrolled_at, completed_at, progress_percentage",
        course,
        user,
        percentage
    )
    .fetch_optional(&mut *transaction)
    .await?
    .ok_or_else(|| not_enrolled(user, course))?;
    announce(&mut transaction, &fallen(&[user], course)).await?;
    transaction.commit().await?;
    written(StatusCode::OK, &enrollment)
}

/// Gives a seat back.
#[utoipa::path(delete, path = "/courses/{id}/enrollments/{user_id}", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub(crate) async fn unenroll(
    State(pool): State<PgPool>,
    Path((course, user)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, course).await?;
    let removed = sqlx::query!(
        "DELETE FROM enrollments WHERE course_id = $1 AND user_id = $2",
        course,
        user
    )
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(not_enrolled(user, course));
    }
    sqlx::query!(
        "UPDATE courses SET current_enrollment = current_enrollment - 1 WHERE id = $1",
        course
    )
    .execute(&mut *transaction)
    .await?;
    announce(&mut transaction, &fallen(&[user], course)).await?;
    transaction.commit().await?;
    Ok(gone())
}

/// Hands a seat from one user to another; the count stays, progress begins anew.
#[utoipa::path(post, path = "/courses/{id}/enrollments/{user_id}/transfer", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path)), request_body = Transfer, responses(
    (status = 201, body = Enrollment), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 422, description = "there is no such user", body = Problem)))]
pub(crate) async fn transfer(
    State(pool): State<PgPool>,
    Path((course, from)): Path<(i64, i64)>,
    Json(Transfer { to_user_id: to }): Json<Transfer>,
) -> Result<Response, Problem> {
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, course).await?;
    if is_enrolled(&mut transaction, to, course).await? {
        return Err(already_enrolled(to, course));
    }
    let removed = sqlx::query!(
        "DELETE FROM enrollments WHERE course_id = $1 AND user_id = $2",
        course,
        from
    )
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(not_enrolled(from, course));
    }
    let enrollment = sqlx::query_as!(
        Enrollment,
        "INSERT INTO enrollments (user_id, course_id) VALUES ($1, $2)
         RETURNING id, user_id, course_id, enrolled_at, completed_at, progress_percentage",
        to,
        course
    )
    .fetch_one(&mut *transaction)
    .await?;
    announce(&mut transaction, &fallen(&[from, to], course)).await?;
    transaction.commit().await?;
    created(format!("/courses/{course}/enrollments/{to}"), &enrollment)
}

async fn lock(connection: &mut PgConnection, course: i64) -> Result<(), Problem> {
    sqlx::query_scalar!("SELECT id FROM courses WHERE id = $1 FOR UPDATE", course)
        .fetch_optional(connection)
        .await?
        .map(drop)
        .ok_or_else(|| Problem::not_found(format!("there is no course {course}")))
}

async fn is_enrolled(
    connection: &mut PgConnection,
    user: i64,
    course: i64,
) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM enrollments WHERE user_id = $1 AND course_id = $2",
        user,
        course
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}
