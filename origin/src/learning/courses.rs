//! Courses: public data. A course falls by `course:ID`, lists of courses by `courses`; both are announced by the table's
//! trigger, so that a change by hand is announced too. A course that is not published is there for its instructor and for
//! admins; whether one is there depends on who asks until it is published, and caches are told so by `Vary`.

pub(crate) mod search;

use axum::{
    Router,
    http::{HeaderMap, Uri},
    response::Response,
    routing::{get, post},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        access::{Asker, Whoever},
        amount::{amount, any_price, exact, in_full, price},
        answer::{Policy, Representation, changed, created, tag},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Json, Path, Query, no_zero, one_of, text},
        paging::{Cursor, Paging, Start},
    },
    postgres::{
        replicas::{Reader, Reading, Servers},
        writer::{Write, Writer},
    },
};

const COURSE: Policy = Policy::Public {
    browser: 60,
    edge: 1_800,
};
const LIST: Policy = Policy::Public {
    browser: 60,
    edge: 900,
};
/// A course that is not published yet, for those who may see it.
const DRAFT: Policy = Policy::Private { browser: 10 };
/// How many courses a page has unless it is said otherwise, and how many it may have.
const PAGE: i64 = 20;
const MOST: i64 = 100;
/// How many courses may be left out before a page, since each is looked at.
const DEEPEST: i64 = 10_000;
/// The longest description, in characters, so that a page of courses has bounds.
const LONGEST_DESCRIPTION: usize = 10_000;
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
    #[serde(serialize_with = "in_full")]
    #[schema(schema_with = exact)]
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
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[serde(default)]
    #[schema(max_length = 10_000)]
    description: String,
    instructor_id: Option<i64>,
    #[schema(min_length = 1, max_length = 100)]
    category: String,
    #[schema(pattern = "^(beginner|intermediate|advanced)$")]
    difficulty_level: String,
    #[schema(minimum = 1)]
    max_students: i32,
    /// At most two decimals, as a string or a number.
    #[serde(default)]
    #[schema(schema_with = price)]
    price: Decimal,
}

/// What to change about a course; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(crate) struct CourseChange {
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 10_000)]
    description: Option<String>,
    instructor_id: Option<i64>,
    #[schema(min_length = 1, max_length = 100)]
    category: Option<String>,
    #[schema(pattern = "^(beginner|intermediate|advanced)$")]
    difficulty_level: Option<String>,
    #[schema(minimum = 1)]
    max_students: Option<i32>,
    #[schema(schema_with = any_price)]
    price: Option<Decimal>,
}

/// Which courses to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// Only those of a category.
    category: Option<String>,
    /// How many to leave out before; to follow the links is cheaper.
    #[serde(default)]
    #[param(minimum = 0, maximum = 10_000)]
    offset: i64,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/courses", get(list).post(create))
        .route("/courses/search", get(search::search))
        .route("/courses/semantic", get(search::semantic::semantic))
        .route("/courses/search/clicks", post(search::click))
        .route("/courses/popular", get(search::popular))
        .route("/courses/{id}", get(show).patch(edit))
        .route("/courses/{id}/publish", post(publish))
}

pub(crate) fn absent(id: i64) -> Problem {
    Problem::not_found(format!("there is no published course {id}"))
}

pub(crate) fn missing(id: i64) -> Problem {
    Problem::not_found(format!("there is no course {id}"))
}

fn check_title(title: &str) -> Result<(), Problem> {
    text("title", title, 200)
}

fn check_description(description: &str) -> Result<(), Problem> {
    if description.chars().count() > LONGEST_DESCRIPTION {
        let detail = format!("description may have {LONGEST_DESCRIPTION} characters");
        return Err(Problem::invalid(detail).field("description"));
    }
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

/// Lists published courses, the most popular first. A course that gains or loses students meanwhile changes its place.
#[utoipa::path(get, path = "/courses", tag = "courses", params(Listing, Paging<MOST>), responses(
    (status = 200, body = Vec<Course>, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    Query(listing): Query<Listing>,
    Query(paging): Query<Paging<MOST>>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    if !(0..=DEEPEST).contains(&listing.offset) {
        return Err(Problem::invalid(format!("offset must be 0 to {DEEPEST}")).field("offset"));
    }
    if let Some(category) = &listing.category {
        no_zero("category", category)?;
    }
    let page = paging.page(PAGE)?;
    let cursor = match page.start {
        // Before all others: a course has no more students than this.
        Start::First => (i32::MAX, i64::MIN),
        Start::After(Cursor { rank, id }) | Start::Before(Cursor { rank, id }) => {
            (i32::try_from(rank).unwrap_or(i32::MAX), id)
        }
    };
    let mut reader = reading.begin().await?;
    let mut courses = if page.is_backwards() {
        sqlx::query_as!(
            Course,
            "SELECT id, title, description, instructor_id, category, difficulty_level, max_students,
                 current_enrollment, price, is_published, created_at, updated_at
             FROM courses WHERE is_published AND ($1::text IS NULL OR category = $1)
                 AND current_enrollment >= $2 AND (current_enrollment > $2 OR id < $3)
             ORDER BY current_enrollment, id DESC LIMIT $4 OFFSET $5",
            listing.category,
            cursor.0,
            cursor.1,
            page.fetch(),
            listing.offset
        )
        .fetch_all(&mut *reader)
        .await?
    } else {
        sqlx::query_as!(
            Course,
            "SELECT id, title, description, instructor_id, category, difficulty_level, max_students,
                 current_enrollment, price, is_published, created_at, updated_at
             FROM courses WHERE is_published AND ($1::text IS NULL OR category = $1)
                 AND current_enrollment <= $2 AND (current_enrollment < $2 OR id > $3)
             ORDER BY current_enrollment DESC, id LIMIT $4 OFFSET $5",
            listing.category,
            cursor.0,
            cursor.1,
            page.fetch(),
            listing.offset
        )
        .fetch_all(&mut *reader)
        .await?
    };
    let link = page.cut(&mut courses, &uri, |course| Cursor {
        rank: course.current_enrollment.into(),
        id: course.id,
    });
    Ok(Representation::of(&courses)?
        .policy(LIST)
        .link(link)
        .tags(["courses".to_owned(), TABLE.to_owned()])
        .answer(&request))
}

/// Makes a course, not yet published.
#[utoipa::path(post, path = "/courses", tag = "courses", request_body = NewCourse,
    params(("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    responses((status = 201, body = Course),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn create(
    asker: Asker,
    Once(attempt, mut new): Once<NewCourse>,
) -> Result<Response, Problem> {
    asker.must_be_instructor()?;
    if !asker.is_admin() && *new.instructor_id.get_or_insert(asker.id) != asker.id {
        return Err(not_for_others());
    }
    check_title(&new.title)?;
    check_description(&new.description)?;
    check_category(&new.category)?;
    check_level(&new.difficulty_level)?;
    check_seats(new.max_students)?;
    let price = check_price(new.price)?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = insert(&mut first.write, new, price).await;
            first.end(outcome).await
        }
    }
}

async fn insert(write: &mut Write, new: NewCourse, price: Decimal) -> Result<Response, Problem> {
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
    .fetch_one(&mut **write)
    .await?;
    created(format!("/courses/{}", course.id), &course)
}

/// Shows a course: to everyone once it is published, before that to its instructor and to admins.
#[utoipa::path(get, path = "/courses/{id}", tag = "courses", params(("id" = i64, Path)), responses(
    (status = 200, body = Course), (status = 304), (status = 404, body = Problem)))]
pub(crate) async fn show(
    Path(id): Path<i64>,
    whoever: Whoever,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let tags = [tag("course", id), TABLE.to_owned()];
    let course = sqlx::query_as!(
        Course,
        "SELECT id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at
         FROM courses WHERE id = $1",
        id
    )
    .fetch_optional(&mut *reader)
    .await?;
    drop(reader);
    let (course, policy) = match course {
        Some(course) if course.is_published => (course, COURSE),
        course => {
            let asker = whoever.is().await?;
            let is_for =
                |course: &Course| asker.is_some_and(|asker| asker.may_teach(course.instructor_id));
            let course = course.filter(is_for);
            let absent = || absent(id).tagged(tags.clone()).by_asker();
            (course.ok_or_else(absent)?, DRAFT)
        }
    };
    Ok(Representation::of(&course)?
        .policy(policy)
        .tags(tags)
        .modified(course.updated_at)
        .answer(&request))
}

/// Changes a course.
#[utoipa::path(patch, path = "/courses/{id}", tag = "courses", params(("id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be changed")),
    request_body = CourseChange, responses((status = 200, body = Course), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn edit(
    asker: Asker,
    writer: Writer,
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
    let mut write = writer.begin().await?;
    own(&mut write, id, asker).await?;
    if !asker.is_admin() && change.instructor_id.is_some_and(|id| id != asker.id) {
        return Err(not_for_others());
    }
    require(&mut write, id).await?;
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
    .fetch_optional(&mut *write)
    .await?
    .ok_or_else(|| missing(id))?;
    write.commit().await?;
    changed(&course)
}

/// Publishes a course; one that is published stays as it is.
#[utoipa::path(post, path = "/courses/{id}/publish", tag = "courses", params(("id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the state that may be published")), responses(
    (status = 200, body = Course), (status = 404, body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem)))]
pub(crate) async fn publish(
    asker: Asker,
    writer: Writer,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    let mut write = writer.begin().await?;
    own(&mut write, id, asker).await?;
    require(&mut write, id).await?;
    let course = sqlx::query_as!(
        Course,
        "UPDATE courses SET is_published = true WHERE id = $1
         RETURNING id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at",
        id
    )
    .fetch_optional(&mut *write)
    .await?
    .ok_or_else(|| missing(id))?;
    write.commit().await?;
    changed(&course)
}

/// Locks the course, and refuses whoever may not change it. One that is not published is not there for others.
async fn own(write: &mut Write, id: i64, asker: Asker) -> Result<(), Problem> {
    asker.must_be_instructor()?;
    let course = sqlx::query!(
        "SELECT instructor_id, is_published FROM courses WHERE id = $1 FOR UPDATE",
        id
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| missing(id))?;
    let absent = || missing(id);
    taught_by(asker, course.instructor_id, course.is_published, absent)
}

/// Refuses whoever does not give the course; where it is not published, for them there is none.
pub(crate) fn taught_by(
    asker: Asker,
    instructor: Option<i64>,
    is_published: bool,
    absent: impl FnOnce() -> Problem,
) -> Result<(), Problem> {
    if asker.may_teach(instructor) {
        Ok(())
    } else if is_published {
        let detail = "only the course's instructor or an admin may";
        Err(Problem::forbidden(detail))
    } else {
        Err(absent())
    }
}

fn not_for_others() -> Problem {
    Problem::forbidden("only an admin may say that somebody else gives the course")
        .field("instructor_id")
}

/// Locks the course, published or not, and refuses a write that demands another state.
async fn require(write: &mut Write, id: i64) -> Result<(), Problem> {
    if write.conditions.is_empty() {
        return Ok(());
    }
    let course = sqlx::query_as!(
        Course,
        "SELECT id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at
         FROM courses WHERE id = $1 FOR UPDATE",
        id
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| missing(id))?;
    write.conditions.require(Some(&course))
}
