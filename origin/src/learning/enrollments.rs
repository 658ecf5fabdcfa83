//! Enrollments: who takes which course, how far they are, and never more than there are seats.
//!
//! Every change of seats locks the course's row first: seats are counted under the lock, and no two changes of one
//! course overlap. A user's enrollments fall by `user-enrollments:ID`, a course's students by `course-students:ID`; the course
//! itself, whose count changes, is announced by its table's trigger.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    clock::Clock,
    http::{
        access::Asker,
        answer::{Policy, Representation, changed, created, gone, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, Query},
        paging::{Cursor, Paging},
    },
    learning::courses::{absent, missing, taught_by},
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::{Write, Writer},
    },
    relay::outbox::announce,
};

/// For how many seconds enrollments may be used: by the browser, which nobody can purge, and by the edge.
const BROWSER: u32 = 30;
const EDGE: u32 = 300;
const POLICY: Policy = Policy::Private { browser: BROWSER };
/// How many rows a page has unless it is said otherwise.
const PAGE: i64 = 100;

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
    #[serde(skip)]
    enrollment_id: i64,
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
    #[schema(minimum = 0, maximum = 100)]
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
            get(show).patch(progress).delete(unenroll),
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

/// Lists a user's enrollments, the oldest first.
#[utoipa::path(get, path = "/users/{id}/enrollments", tag = "enrollments", params(("id" = i64, Path), Paging), responses(
    (status = 200, body = Vec<Enrollment>, headers(("Link" = String, description = "next, prev, first"))),
    (status = 304), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn of_user(
    asker: Asker,
    State(clock): State<Clock>,
    Path(id): Path<i64>,
    Query(paging): Query<Paging>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    // Few rows are one user's: they are put in order either way.
    let mut enrollments = sqlx::query_as!(
        Enrollment,
        "SELECT id, user_id, course_id, enrolled_at, completed_at, progress_percentage
         FROM enrollments
         WHERE user_id = $1 AND ($2::bigint IS NULL OR CASE WHEN $3 THEN id < $2 ELSE id > $2 END)
         ORDER BY CASE WHEN $3 THEN -id ELSE id END LIMIT $4",
        id,
        page.id(),
        page.is_backwards(),
        page.fetch()
    )
    .fetch_all(&mut *reader)
    .await?;
    if enrollments.is_empty() {
        sqlx::query_scalar!("SELECT id FROM users WHERE id = $1", id)
            .fetch_optional(&mut *reader)
            .await?
            .ok_or_else(|| Problem::not_found(format!("there is no user {id}")))?;
    }
    let link = page.cut(&mut enrollments, &uri, |enrollment| Cursor {
        rank: 0,
        id: enrollment.id,
    });
    Ok(Representation::of(&enrollments)?
        .link(link)
        .policy(Policy::of_owner(asker, clock.now(), BROWSER, EDGE))
        .tags([tag("user-enrollments", id)])
        .answer(&request))
}

/// Lists a course's students, those who have been in it for longest first.
#[utoipa::path(get, path = "/courses/{id}/students", tag = "enrollments", params(("id" = i64, Path), Paging), responses(
    (status = 200, body = Vec<Student>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn students(
    asker: Asker,
    Path(id): Path<i64>,
    Query(paging): Query<Paging>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    taught(&mut reader, asker, id).await?;
    let mut students = if page.is_backwards() {
        sqlx::query_as!(
            Student,
            "SELECT enrollments.id AS enrollment_id, users.id AS user_id, username, full_name, enrolled_at,
                 progress_percentage
             FROM enrollments JOIN users ON users.id = enrollments.user_id
             WHERE course_id = $1 AND enrollments.id < $2 ORDER BY enrollments.id DESC LIMIT $3",
            id,
            page.id().unwrap_or(i64::MAX),
            page.fetch()
        )
        .fetch_all(&mut *reader)
        .await?
    } else {
        sqlx::query_as!(
            Student,
            "SELECT enrollments.id AS enrollment_id, users.id AS user_id, username, full_name, enrolled_at,
                 progress_percentage
             FROM enrollments JOIN users ON users.id = enrollments.user_id
             WHERE course_id = $1 AND enrollments.id > $2 ORDER BY enrollments.id LIMIT $3",
            id,
            page.id().unwrap_or(i64::MIN),
            page.fetch()
        )
        .fetch_all(&mut *reader)
        .await?
    };
    let link = page.cut(&mut students, &uri, |student| Cursor {
        rank: 0,
        id: student.enrollment_id,
    });
    Ok(Representation::of(&students)?
        .link(link)
        .policy(POLICY)
        .tags([tag("course-students", id)])
        .answer(&request))
}

/// Shows a user's place in a course.
#[utoipa::path(get, path = "/courses/{id}/enrollments/{user_id}", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path)), responses(
    (status = 200, body = Enrollment), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    Path((course, user)): Path<(i64, i64)>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !asker.is_self_or_admin(user) {
        taught(&mut reader, asker, course).await?;
    }
    let enrollment = sqlx::query_as!(
        Enrollment,
        "SELECT id, user_id, course_id, enrolled_at, completed_at, progress_percentage
         FROM enrollments WHERE user_id = $1 AND course_id = $2",
        user,
        course
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| not_enrolled(user, course))?;
    Ok(Representation::of(&enrollment)?
        .policy(POLICY)
        .tags([tag("user-enrollments", user)])
        .answer(&request))
}

/// Takes a seat in a published course, all or nothing.
#[utoipa::path(post, path = "/courses/{id}/enrollments", tag = "enrollments", params(("id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    request_body = Enrolling, responses((status = 201, body = Enrollment), (status = 404, body = Problem),
    (status = 409, description = "the course is full, the user is enrolled already, or a request with this key is in \
    progress", body = Problem), (status = 422, description = "there is no such user", body = Problem)))]
pub(crate) async fn enrol(
    asker: Asker,
    Path(course): Path<i64>,
    Once(attempt, Enrolling { user_id: user }): Once<Enrolling>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = take_seat(&mut first.write, user, course).await;
            first.end(outcome).await
        }
    }
}

async fn take_seat(write: &mut Write, user: i64, course: i64) -> Result<Response, Problem> {
    let seats = sqlx::query!(
        "SELECT max_students, current_enrollment FROM courses WHERE id = $1 AND is_published FOR UPDATE",
        course
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| absent(course))?;
    if is_enrolled(write, user, course).await? {
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
    .fetch_one(&mut **write)
    .await?;
    sqlx::query!(
        "UPDATE courses SET current_enrollment = current_enrollment + 1 WHERE id = $1",
        course
    )
    .execute(&mut **write)
    .await?;
    announce(write, &fallen(&[user], course)).await?;
    created(format!("/courses/{course}/enrollments/{user}"), &enrollment)
}

/// Records how far a user is.
#[utoipa::path(patch, path = "/courses/{id}/enrollments/{user_id}", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be changed")),
    request_body = Progress, responses((status = 200, body = Enrollment), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn progress(
    asker: Asker,
    writer: Writer,
    Path((course, user)): Path<(i64, i64)>,
    Json(Progress {
        progress_percentage: percentage,
    }): Json<Progress>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    if !(0..=100).contains(&percentage) {
        return Err(
            Problem::invalid("progress_percentage must be 0 to 100").field("progress_percentage")
        );
    }
    let mut write = writer.begin().await?;
    require(&mut write, user, course).await?;
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
    .fetch_optional(&mut *write)
    .await?
    .ok_or_else(|| not_enrolled(user, course))?;
    announce(&mut write, &fallen(&[user], course)).await?;
    write.commit().await?;
    changed(&enrollment)
}

/// Gives a seat back.
#[utoipa::path(delete, path = "/courses/{id}/enrollments/{user_id}", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be given up")),
    responses((status = 204), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem)))]
pub(crate) async fn unenroll(
    asker: Asker,
    writer: Writer,
    Path((course, user)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let mut write = writer.begin().await?;
    lock(&mut write, course).await?;
    require(&mut write, user, course).await?;
    let removed = sqlx::query!(
        "DELETE FROM enrollments WHERE course_id = $1 AND user_id = $2",
        course,
        user
    )
    .execute(&mut *write)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(not_enrolled(user, course));
    }
    sqlx::query!(
        "UPDATE courses SET current_enrollment = current_enrollment - 1 WHERE id = $1",
        course
    )
    .execute(&mut *write)
    .await?;
    announce(&mut write, &fallen(&[user], course)).await?;
    write.commit().await?;
    Ok(gone())
}

/// Hands a seat from one user to another, as only an admin may; the count stays, progress begins anew.
#[utoipa::path(post, path = "/courses/{id}/enrollments/{user_id}/transfer", tag = "enrollments",
    params(("id" = i64, Path), ("user_id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once"),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the enrollment that may be handed over")),
    request_body = Transfer, responses((status = 201, body = Enrollment), (status = 404, body = Problem),
    (status = 409, description = "the other user is enrolled already, or a request with this key is in progress",
    body = Problem), (status = 412, description = "somebody else has changed it", body = Problem),
    (status = 422, description = "there is no such user", body = Problem)))]
pub(crate) async fn transfer(
    asker: Asker,
    Path((course, from)): Path<(i64, i64)>,
    Once(attempt, Transfer { to_user_id: to }): Once<Transfer>,
) -> Result<Response, Problem> {
    asker.must_be_admin()?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = hand_over(&mut first.write, from, to, course).await;
            first.end(outcome).await
        }
    }
}

async fn hand_over(
    write: &mut Write,
    from: i64,
    to: i64,
    course: i64,
) -> Result<Response, Problem> {
    lock(write, course).await?;
    require(write, from, course).await?;
    if is_enrolled(write, to, course).await? {
        return Err(already_enrolled(to, course));
    }
    let removed = sqlx::query!(
        "DELETE FROM enrollments WHERE course_id = $1 AND user_id = $2",
        course,
        from
    )
    .execute(&mut **write)
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
    .fetch_one(&mut **write)
    .await?;
    announce(write, &fallen(&[from, to], course)).await?;
    created(format!("/courses/{course}/enrollments/{to}"), &enrollment)
}

/// Locks the enrollment, and refuses a write that demands another state.
async fn require(write: &mut Write, user: i64, course: i64) -> Result<(), Problem> {
    if write.conditions.is_empty() {
        return Ok(());
    }
    let enrollment = sqlx::query_as!(
        Enrollment,
        "SELECT id, user_id, course_id, enrolled_at, completed_at, progress_percentage
         FROM enrollments WHERE user_id = $1 AND course_id = $2 FOR UPDATE",
        user,
        course
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| not_enrolled(user, course))?;
    write.conditions.require(Some(&enrollment))
}

/// Refuses whoever may not know who a course's students are.
async fn taught(connection: &mut PgConnection, asker: Asker, course: i64) -> Result<(), Problem> {
    asker.must_be_instructor()?;
    let found = sqlx::query!(
        "SELECT instructor_id, is_published FROM courses WHERE id = $1",
        course
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| absent(course))?;
    let absent = || absent(course);
    taught_by(asker, found.instructor_id, found.is_published, absent)
}

async fn lock(connection: &mut PgConnection, course: i64) -> Result<(), Problem> {
    sqlx::query_scalar!("SELECT id FROM courses WHERE id = $1 FOR UPDATE", course)
        .fetch_optional(connection)
        .await?
        .map(drop)
        .ok_or_else(|| missing(course))
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
