//! Users: personal data. A user's page falls by `user:ID`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    activity::{drafts, sessions},
    clock::Clock,
    community::members::leaving,
    http::{
        access::{Asker, Role, allowed, scope},
        answer::{Policy, Representation, changed, created, gone, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, one_of, text},
    },
    learning::passwords::{Hash, Hashing, Password},
    postgres::{
        replicas::{Reader, Servers},
        writer::{Write, Writer},
    },
    redis::on_redis::OnRedis,
    relay::outbox::announce,
};

/// For how many seconds a profile may be used: by the browser, which nobody can purge, and by the edge.
const BROWSER: u32 = 60;
const EDGE: u32 = 3_600;
/// How often a removal begins anew because the user has got another course meanwhile.
const ATTEMPTS: usize = 5;
const ROLES: [&str; 3] = ["student", "instructor", "admin"];

/// A user. The password's hash never leaves the database.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    id: i64,
    email: String,
    username: String,
    full_name: String,
    /// `student`, `instructor` or `admin`.
    role: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewUser {
    #[schema(
        max_length = 254,
        pattern = r"^[^\s@\u0000]+@[^\s@\u0000]*\.[^\s@\u0000]*$"
    )]
    email: String,
    #[schema(min_length = 1, max_length = 50)]
    username: String,
    #[schema(min_length = 1, max_length = 200)]
    full_name: String,
    /// `student`, unless an admin says otherwise.
    #[serde(default = "student")]
    #[schema(pattern = "^(student|instructor|admin)$")]
    role: String,
    /// 8 to 128 characters. Without one nobody can begin a session of the user.
    password: Option<Password>,
}

fn student() -> String {
    ROLES[0].to_owned()
}

/// What to change about a user; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UserChange {
    #[schema(
        max_length = 254,
        pattern = r"^[^\s@\u0000]+@[^\s@\u0000]*\.[^\s@\u0000]*$"
    )]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 50)]
    username: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    full_name: Option<String>,
    #[schema(pattern = "^(student|instructor|admin)$")]
    role: Option<String>,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/users", post(create))
        .route("/users/{id}", get(show).patch(edit).delete(remove))
}

pub(crate) fn absent(id: i64) -> Problem {
    Problem::not_found(format!("there is no user {id}"))
}

fn check_email(email: &str) -> Result<(), Problem> {
    text("email", email, 254)?;
    let looks_right = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    if !looks_right || email.contains(char::is_whitespace) {
        return Err(
            Problem::invalid("email must be an address such as ada@example.org").field("email"),
        );
    }
    Ok(())
}

fn check_username(username: &str) -> Result<(), Problem> {
    text("username", username, 50)
}

fn check_full_name(full_name: &str) -> Result<(), Problem> {
    text("full_name", full_name, 200)
}

fn check_role(role: &str) -> Result<(), Problem> {
    one_of("role", role, &ROLES)
}

/// Makes a user.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser,
    params(("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    responses((status = 201, body = User), (status = 409, description = "the email or the username is taken, or a \
    request with this key is in progress", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn create(
    asker: Option<Asker>,
    State(hashing): State<Hashing>,
    Once(attempt, new): Once<NewUser>,
) -> Result<Response, Problem> {
    check_email(&new.email)?;
    check_username(&new.username)?;
    check_full_name(&new.full_name)?;
    check_role(&new.role)?;
    if new.role != Role::Student.name() && !asker.is_some_and(Asker::is_admin) {
        return Err(
            Problem::forbidden("only an admin may make others than students").field("role"),
        );
    }
    // Before the transaction begins, so that nobody else waits for its connection meanwhile.
    let hash = match &new.password {
        None => None,
        Some(password) => {
            password.check("password")?;
            Some(hashing.hash(password.clone()).await?)
        }
    };
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = async {
                if let Some(asker) = asker.filter(|_| new.role != Role::Student.name()) {
                    is_admin_still(&mut first.write, asker).await?;
                }
                insert(&mut first.write, new, hash).await
            };
            let outcome = outcome.await;
            first.end(outcome).await
        }
    }
}

async fn insert(write: &mut Write, new: NewUser, hash: Option<Hash>) -> Result<Response, Problem> {
    let user = sqlx::query_as!(
        User,
        "INSERT INTO users (email, username, full_name, role, password_hash) VALUES ($1, $2, $3, $4, $5)
         RETURNING id, email, username, full_name, role, created_at, updated_at",
        new.email,
        new.username,
        new.full_name,
        new.role,
        hash.map(|hash| hash.0)
    )
    .fetch_one(&mut **write)
    .await?;
    announce(write, &[tag("user", user.id)]).await?;
    created(format!("/users/{}", user.id), &user)
}

/// Shows a user.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = i64, Path)), responses(
    (status = 200, body = User), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    State(clock): State<Clock>,
    Path(id): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    let user = sqlx::query_as!(
        User,
        "SELECT id, email, username, full_name, role, created_at, updated_at FROM users WHERE id = $1",
        id
    )
    .fetch_optional(&mut *reader)
    .await?
    .ok_or_else(|| absent(id))?;
    Ok(Representation::of(&user)?
        .policy(Policy::of_owner(asker, clock.now(), BROWSER, EDGE))
        .tags([tag("user", id)])
        .modified(user.updated_at)
        .answer(&request))
}

/// Changes a user.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(("id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be changed")),
    request_body = UserChange, responses((status = 200, body = User), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 412, description = "somebody else has changed it", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn edit(
    asker: Asker,
    writer: Writer,
    State(on_redis): State<Arc<OnRedis>>,
    Path(id): Path<i64>,
    Json(change): Json<UserChange>,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    change.email.as_deref().map(check_email).transpose()?;
    change.username.as_deref().map(check_username).transpose()?;
    change
        .full_name
        .as_deref()
        .map(check_full_name)
        .transpose()?;
    change.role.as_deref().map(check_role).transpose()?;
    if change.role.is_some() && !asker.is_admin() {
        let detail = "only an admin may say what a user is";
        return Err(Problem::forbidden(detail).field("role"));
    }
    let mut write = writer.begin().await?;
    require(&mut write, id).await?;
    if let Some(role) = &change.role {
        is_admin_still(&mut write, asker).await?;
        let now = sqlx::query_scalar!("SELECT role FROM users WHERE id = $1 FOR UPDATE", id)
            .fetch_optional(&mut *write)
            .await?;
        if now.as_ref() != Some(role) {
            sessions::end_all(&on_redis, id).await?;
        }
    }
    let user = sqlx::query_as!(
        User,
        "UPDATE users SET email = coalesce($2, email), username = coalesce($3, username),
             full_name = coalesce($4, full_name), role = coalesce($5, role)
         WHERE id = $1 RETURNING id, email, username, full_name, role, created_at, updated_at",
        id,
        change.email,
        change.username,
        change.full_name,
        change.role
    )
    .fetch_optional(&mut *write)
    .await?
    .ok_or_else(|| absent(id))?;
    // Lists of a course's students and of a circle's members show names.
    let mut tags = sqlx::query_scalar!("SELECT course_id FROM enrollments WHERE user_id = $1", id)
        .fetch_all(&mut *write)
        .await?
        .into_iter()
        .map(|course| tag("course-students", course))
        .collect::<Vec<_>>();
    tags.extend(leaving::renamed(&mut write, id).await?);
    tags.push(tag("user", id));
    announce(&mut write, &tags).await?;
    write.commit().await?;
    changed(&user)
}

/// Locks the courses that a user takes or teaches, and then the user.
///
/// Whoever enrols a user, or lets one teach, locks the course before the user. So does this, since else each might wait for
/// the other. A course that was added before the user was locked is found, and all is begun anew.
async fn lock_courses(write: &mut Write, id: i64) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        sqlx::raw_sql("SAVEPOINT unlocked")
            .execute(&mut **write)
            .await?;
        // In one order for all, so that two removals do not wait for each other.
        let locked = sqlx::query_scalar!(
            "SELECT id FROM courses
             WHERE instructor_id = $1 OR id IN (SELECT course_id FROM enrollments WHERE user_id = $1)
             ORDER BY id FOR UPDATE",
            id
        )
        .fetch_all(&mut **write)
        .await?;
        sqlx::query_scalar!("SELECT id FROM users WHERE id = $1 FOR UPDATE", id)
            .fetch_optional(&mut **write)
            .await?
            .ok_or_else(|| absent(id))?;
        let is_more = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM courses WHERE id <> ALL ($2) AND (instructor_id = $1
                   OR id IN (SELECT course_id FROM enrollments WHERE user_id = $1))) AS "is_more!""#,
            id,
            &locked
        )
        .fetch_one(&mut **write)
        .await?;
        if !is_more {
            return Ok(());
        }
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT unlocked")
            .execute(&mut **write)
            .await?;
    }
    Err(Problem::contended())
}

/// Locks the user, and refuses a write that demands another state.
async fn require(write: &mut Write, id: i64) -> Result<(), Problem> {
    if write.conditions.is_empty() {
        return Ok(());
    }
    let user = sqlx::query_as!(
        User,
        "SELECT id, email, username, full_name, role, created_at, updated_at FROM users WHERE id = $1 FOR UPDATE",
        id
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| absent(id))?;
    write.conditions.require(Some(&user))
}

/// Removes a user, whose seats become free and whose sessions end. With the user go the drafts and what they became, what
/// the user has written in circles and for themself, the answers kept for repeats, and the name on notes of searches. The
/// ledger stays, and events do until their days are over.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be removed")), responses(
    (status = 204), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem)))]
pub(crate) async fn remove(
    asker: Asker,
    writer: Writer,
    State(on_redis): State<Arc<OnRedis>>,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    let mut write = writer.begin().await?;
    lock_courses(&mut write, id).await?;
    require(&mut write, id).await?;
    // Seats that were given back while this waited for a course are no longer the user's.
    let courses = sqlx::query_scalar!(
        "DELETE FROM enrollments WHERE user_id = $1 RETURNING course_id",
        id
    )
    .fetch_all(&mut *write)
    .await?;
    sqlx::query!(
        "UPDATE courses SET current_enrollment = current_enrollment - 1 WHERE id = ANY ($1)",
        &courses
    )
    .execute(&mut *write)
    .await?;
    let mut tags = leaving::forget(&mut write, id).await?;
    sqlx::query!("DELETE FROM users WHERE id = $1", id)
        .execute(&mut *write)
        .await?;
    forget(&mut write, id).await?;
    drafts::forget_all(&on_redis, &mut write, id).await?;
    sessions::end_all(&on_redis, id).await?;
    tags.extend([tag("user", id), tag("user-enrollments", id)]);
    tags.extend(
        courses
            .into_iter()
            .map(|course| tag("course-students", course)),
    );
    announce(&mut write, &tags).await?;
    write.commit().await?;
    Ok(gone())
}

/// Refuses an admin of yesterday, whose token says that they are one until it ends: nobody makes themselves an admin again.
pub(super) async fn is_admin_still(
    connection: &mut PgConnection,
    asker: Asker,
) -> Result<(), Problem> {
    let role = sqlx::query_scalar!("SELECT role FROM users WHERE id = $1", asker.id)
        .fetch_optional(connection)
        .await?;
    // Who issues tokens may have admins that the table does not know.
    let is_one = role.is_none_or(|role| role == Role::Admin.name());
    allowed(is_one, "only an admin may")
}

/// Takes away what tells of a user who is gone, beside what the tables' keys take with the row.
async fn forget(write: &mut Write, id: i64) -> Result<(), Problem> {
    let own = Asker {
        id,
        role: Role::Student,
        until: None,
    };
    sqlx::query!(
        "DELETE FROM idempotency_keys WHERE scope = $1 OR (scope = $2 AND location = $3)",
        scope(Some(own)),
        scope(None),
        format!("/users/{id}")
    )
    .execute(&mut **write)
    .await?;
    sqlx::query!(
        "UPDATE search_logs SET user_id = NULL WHERE user_id = $1",
        id
    )
    .execute(&mut **write)
    .await?;
    Ok(())
}
