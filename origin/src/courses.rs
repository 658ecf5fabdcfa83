//! Courses: public data. A course falls by `course:ID`, lists of courses by `courses`; both are announced by the table's
//! trigger, so that a change by hand is announced too. A course that is not published is not there for a GET.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    answer::{Policy, Representation, created, tag, written},
    error::Problem,
    input::{Json, Path, Query, amount, no_zero, one_of, text},
    replicas::{Reader, Servers},
};

const COURSE: Policy = Policy::Public {
    browser: 60,
    edge: 1_800,
};
const LIST: Policy = Policy::Public {
    browser: 60,
    edge: 900,
};
const LEVELS: [&str; 3] = ["beginner", "intermediate", "advanced"];
/// Falls when so many courses change at once that naming them would be too much.
const TABLE: &str = "table:courses";

/// A course.
#[derive(Serialize, ToSchema)]
pub(crate) struct Course {
    id: i64,
    title: String,
    description: String,
    instructor_id: Option<i64>,
    category: String,
    /// `beginner`, `intermediate` or `advanced`.
    difficulty_level: String,
    max_students: i32,
    /// Never more than `max_students`.
    current_enrollment: i32,
    /// Exact, with two decimals, as a string.
    price: Decimal,
    is_published: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A course to make; it is not published yet.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewCourse {
    title: String,
    #[serde(default)]
    description: String,
    instructor_id: Option<i64>,
    category: String,
    difficulty_level: String,
    max_students: i32,
    /// At most two decimals, as a string or a number.
    #[serde(default)]
    price: Decimal,
}

/// What to change about a course; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct CourseChange {
    title: Option<String>,
    description: Option<String>,
    instructor_id: Option<i64>,
    category: Option<String>,
    difficulty_level: Option<String>,
    max_students: Option<i32>,
    price: Option<Decimal>,
}

/// Which courses to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// Only those of a category.
    category: Option<String>,
    /// How many, 1 to 100.
    #[serde(default = "twenty")]
    limit: i64,
    /// How many to leave out before.
    #[serde(default)]
    offset: i64,
}

fn twenty() -> i64 {
    20
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/courses", get(list).post(create))
        .route("/courses/{id}", get(show).patch(edit))
        .route("/courses/{id}/publish", post(publish))
}

pub(crate) fn absent(id: i64) -> Problem {
    Problem::not_found(format!("there is no published course {id}"))
}

fn check_title(title: &str) -> Result<(), Problem> {
    text("title", title, 200)
}

fn check_description(description: &str) -> Result<(), Problem> {
    no_zero("description", description)
}

fn check_category(category: &str) -> Result<(), Problem> {
    text("category", category, 100)
}

fn check_level(level: &str) -> Result<(), Problem> {
    one_of("difficulty_level", level, &LEVELS)
}

fn check_seats(seats: i32) -> Result<(), Problem> {
    if seats > 0 {
        Ok(())
    } else {
        Err(Problem::invalid("max_students must be above 0").field("max_students"))
    }
}

fn check_price(price: Decimal) -> Result<Decimal, Problem> {
    if price < Decimal::ZERO {
        return Err(Problem::invalid("price must not be below 0").field("price"));
    }
    amount("price", price)
}

/// Lists published courses, the most popular first.
#[utoipa::path(get, path = "/courses", tag = "courses", params(Listing), responses(
    (status = 200, body = Vec<Course>), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn list(
    Query(listing): Query<Listing>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !(1..=100).contains(&listing.limit) {
        return Err(Problem::invalid("limit must be 1 to 100").field("limit"));
    }
    if listing.offset < 0 {
        return Err(Problem::invalid("offset must not be below 0").field("offset"));
    }
    let courses = sqlx::query_as!(
        Course,
        "SELECT id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at
         FROM courses WHERE is_published AND ($1::text IS NULL OR category = $1)
         ORDER BY current_enrollment DESC, id LIMIT $2 OFFSET $3",
        listing.category,
        listing.limit,
        listing.offset
    )
    .fetch_all(&mut *reader)
    .await?;
    Ok(Representation::of(&courses)?
        .policy(LIST)
        .tags(["courses".to_owned(), TABLE.to_owned()])
        .answer(&request))
}

/// Makes a course, not yet published.
#[utoipa::path(post, path = "/courses", tag = "courses", request_body = NewCourse, responses(
    (status = 201, body = Course), (status = 422, body = Problem)))]
pub(crate) async fn create(
    State(pool): State<PgPool>,
    Json(new): Json<NewCourse>,
) -> Result<Response, Problem> {
    check_title(&new.title)?;
    check_description(&new.description)?;
    check_category(&new.category)?;
    check_level(&new.difficulty_level)?;
    check_seats(new.max_students)?;
    let price = check_price(new.price)?;
    let course = sqlx::query_as!(
        Course,
        "INSERT INTO courses (title, description, instructor_id, category, difficulty_level, max_students, price)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at",
        new.title,
        new.description,
        new.instructor_id,
        new.category,
        new.difficulty_level,
        new.max_students,
        price
    )
    .fetch_one(&pool)
    .await?;
    created(format!("/courses/{}", course.id), &course)
}

/// Shows a published course.
#[utoipa::path(get, path = "/courses/{id}", tag = "courses", params(("id" = i64, Path)), responses(
    (status = 200, body = Course), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    Path(id): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let tags = [tag("course", id), TABLE.to_owned()];
    let course = sqlx::query_as!(
        Course,
        "SELECT id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at
         FROM courses WHERE id = $1 AND is_published",
        id
    )
    .fetch_optional(&mut *reader)
    .await?;
    match course {
        None => Err(absent(id).tagged(tags)),
        Some(course) => Ok(Representation::of(&course)?
            .policy(COURSE)
            .tags(tags)
            .modified(course.updated_at)
            .answer(&request)),
    }
}

/// Changes a course.
#[utoipa::path(patch, path = "/courses/{id}", tag = "courses", params(("id" = i64, Path)), request_body = CourseChange,
    responses((status = 200, body = Course), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn edit(
    State(pool): State<PgPool>,
    Path(id): Path<i64>,
    Json(change): Json<CourseChange>,
) -> Result<Response, Problem> {
    change.title.as_deref().map(check_title).transpose()?;
    change
        .description
        .as_deref()
        .map(check_description)
        .transpose()?;
    change.category.as_deref().map(check_category).transpose()?;
    change
        .difficulty_level
        .as_deref()
        .map(check_level)
        .transpose()?;
    change.max_students.map(check_seats).transpose()?;
    let price = change.price.map(check_price).transpose()?;
    let course = sqlx::query_as!(
        Course,
        "UPDATE courses SET title = coalesce($2, title), description = coalesce($3, description),
             instructor_id = coalesce($4, instructor_id), category = coalesce($5, category),
             difficulty_level = coalesce($6, difficulty_level), max_students = coalesce($7, max_students),
             price = coalesce($8, price)
         WHERE id = $1
         RETURNING id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at",
        id,
        change.title,
        change.description,
        change.instructor_id,
        change.category,
        change.difficulty_level,
        change.max_students,
        price
    )
    .fetch_optional(&pool)
    .await?
    .ok_or_else(|| Problem::not_found(format!("there is no course {id}")))?;
    written(StatusCode::OK, &course)
}

/// Publishes a course; one that is published stays as it is.
#[utoipa::path(post, path = "/courses/{id}/publish", tag = "courses", params(("id" = i64, Path)), responses(
    (status = 200, body = Course), (status = 404, body = Problem)))]
pub(crate) async fn publish(
    State(pool): State<PgPool>,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    let course = sqlx::query_as!(
        Course,
        "UPDATE courses SET is_published = true WHERE id = $1
         RETURNING id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at",
        id
    )
    .fetch_optional(&pool)
    .await?
    .ok_or_else(|| Problem::not_found(format!("there is no course {id}")))?;
    written(StatusCode::OK, &course)
}
