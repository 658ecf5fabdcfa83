//! Courses that are looked for: by their words, the best match first; where no course has them, by titles that look alike.
//!
//! `websearch_to_tsquery` reads what people type ("a phrase", or, -not) and refuses nothing. A title counts more than a
//! category, and that more than a description (the weights of the column `search`). Results fall with every change of a
//! course, as lists of courses do.
//!
//! Every search that reaches the origin is noted, beside the answer and never in its way: a note that cannot be written is
//! counted and forgotten. What the edge answers is in the edge's log.

pub(crate) mod semantic;

use std::{sync::Arc, time::Instant};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    response::Response,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::{Course, LEVELS, LIST, TABLE, check_category};
use crate::{
    activity::events::whose,
    http::{
        access::Asker,
        amount::{exact, in_full},
        answer::{Representation, written},
        error::Problem,
        input::{Json, Query, one_of, text},
        paging::links,
    },
    postgres::{
        held::in_time,
        primary::Primary,
        replicas::{Reading, Servers},
    },
};

/// The longest text to search for, in characters.
const LONGEST_QUERY: usize = 200;
/// How many results there are at most, and how many are left out at most.
const MOST: i64 = 100;
const DEEPEST: i64 = 1_000;
/// How many notes are written at once; what comes beyond is not noted.
const NOTES: usize = 2;

/// What to search for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// Words, "phrases", `or` and -exclusions; 1 to 200 characters.
    #[serde(alias = "query")]
    #[param(min_length = 1, max_length = 200)]
    q: String,
    /// How many results, 1 to 100.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 100)]
    top_k: i64,
    /// How many to leave out before, at most 1,000.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1_000)]
    offset: i64,
    /// Only those of a category.
    #[param(min_length = 1, max_length = 100)]
    category: Option<String>,
    /// Only those of a level: `beginner`, `intermediate` or `advanced`.
    #[param(pattern = "^(beginner|intermediate|advanced)$")]
    difficulty_level: Option<String>,
    /// Only those that cost no more.
    #[param(schema_with = exact)]
    max_price: Option<Decimal>,
}

fn ten() -> i64 {
    10
}

/// How many courses to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Top {
    /// 1 to 100.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 100)]
    top_k: i64,
}

/// A course that was found.
#[derive(FromRow, Serialize, ToSchema)]
pub(crate) struct Found {
    id: i64,
    title: String,
    description: String,
    instructor_id: Option<i64>,
    category: String,
    difficulty_level: String,
    max_students: i32,
    current_enrollment: i32,
    /// Exact, with two decimals, as a string.
    #[serde(serialize_with = "in_full")]
    #[schema(schema_with = exact)]
    price: Decimal,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    /// How well it fits, 0 to 1; comparable within one answer.
    similarity_score: f32,
}

/// What was found, the best match first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Results {
    query: String,
    /// `full_text`, or `trigram` where no course has the words and titles that look alike were searched.
    search_type: &'static str,
    results: Vec<Found>,
}

/// A result that somebody has chosen.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Click {
    #[schema(min_length = 1, max_length = 200)]
    query: String,
    course_id: i64,
    /// Its place among the results, from 1.
    #[schema(minimum = 1)]
    position: i32,
    /// Whoever asks, when it is left out; an admin may name others.
    user_id: Option<i64>,
}

/// That a note has been taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct Noted {
    success: bool,
}

impl Search {
    fn check(&self) -> Result<(), Problem> {
        text("q", &self.q, LONGEST_QUERY)?;
        check_top(self.top_k)?;
        if !(0..=DEEPEST).contains(&self.offset) {
            let detail = format!("offset must be 0 to {DEEPEST}");
            return Err(Problem::invalid(detail).field("offset"));
        }
        self.category.as_deref().map(check_category).transpose()?;
        let level = self.difficulty_level.as_deref();
        level
            .map(|level| one_of("difficulty_level", level, &LEVELS))
            .transpose()?;
        Ok(())
    }

    async fn by_words(&self, reader: &mut PgConnection) -> Result<Vec<Found>, sqlx::Error> {
        sqlx::query_as!(
            Found,
            r#"SELECT id, title, description, instructor_id, category, difficulty_level, max_students,
                   current_enrollment, price, created_at, updated_at,
                   ts_rank_cd(search, wanted, 32) AS "similarity_score!"
               FROM courses, websearch_to_tsquery('pg_catalog.english', $1) AS wanted
               WHERE is_published AND search @@ wanted AND ($2::text IS NULL OR category = $2)
                   AND ($3::text IS NULL OR difficulty_level = $3) AND ($4::numeric IS NULL OR price <= $4)
               ORDER BY ts_rank_cd(search, wanted, 32) DESC, id LIMIT $5 OFFSET $6"#,
            self.q,
            self.category,
            self.difficulty_level,
            self.max_price,
            self.top_k + 1,
            self.offset
        )
        .fetch_all(reader)
        .await
    }

    /// Whether any published course has the words, whatever the filters leave of them.
    async fn has_words(&self, reader: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM courses
                   WHERE is_published AND search @@ websearch_to_tsquery('pg_catalog.english', $1)) AS "has!""#,
            self.q
        )
        .fetch_one(reader)
        .await
    }

    async fn by_looks(&self, reader: &mut PgConnection) -> Result<Vec<Found>, sqlx::Error> {
        let found = sqlx::query_as!(
            Found,
            r#"SELECT id, title, description, instructor_id, category, difficulty_level, max_students,
                   current_enrollment, price, created_at, updated_at,
                   word_similarity($1, title) AS "similarity_score!"
               FROM courses
               WHERE is_published AND $1 <% title AND ($2::text IS NULL OR category = $2)
                   AND ($3::text IS NULL OR difficulty_level = $3) AND ($4::numeric IS NULL OR price <= $4)
               ORDER BY word_similarity($1, title) DESC, id LIMIT $5 OFFSET $6"#,
            self.q,
            self.category,
            self.difficulty_level,
            self.max_price,
            self.top_k + 1,
            self.offset
        )
        .fetch_all(reader)
        .await;
        match found {
            // A function or an operator that is not there: PostgreSQL has no trigrams here.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42883") => {
                Ok(Vec::new())
            }
            found => found,
        }
    }

    /// By words; where no course has them, by titles that look alike. One more than are to be shown, where there are more.
    async fn by_text(
        &self,
        reader: &mut PgConnection,
    ) -> Result<(&'static str, Vec<Found>), sqlx::Error> {
        let found = self.by_words(reader).await?;
        if !found.is_empty() || self.has_words(reader).await? {
            return Ok(("full_text", found));
        }
        let alike = self.by_looks(reader).await?;
        match alike.is_empty() && self.offset == 0 {
            true => Ok(("full_text", alike)),
            false => Ok(("trigram", alike)),
        }
    }

    fn link(&self, count: usize, uri: &Uri) -> HeaderValue {
        let at = |offset: i64| match offset {
            0 => String::new(),
            offset => format!("offset={offset}"),
        };
        let next = self.offset + self.top_k;
        let is_more = count as i64 > self.top_k && next <= DEEPEST;
        let previous = (self.offset - self.top_k).max(0);
        let targets = [
            ("next", is_more.then(|| at(next))),
            ("prev", (self.offset > 0).then(|| at(previous))),
            ("first", Some(String::new())),
        ];
        links(targets, uri)
    }
}

fn check_top(top_k: i64) -> Result<(), Problem> {
    if (1..=MOST).contains(&top_k) {
        Ok(())
    } else {
        Err(Problem::invalid(format!("top_k must be 1 to {MOST}")).field("top_k"))
    }
}

/// Searches the published courses.
#[utoipa::path(get, path = "/courses/search", tag = "courses", params(Search), responses(
    (status = 200, body = Results, headers(("Link" = String, description = "next, prev, first"))), (status = 304),
    (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn search(
    Query(search): Query<Search>,
    State(servers): State<Servers>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    search.check()?;
    let mut reader = reading.begin().await?;
    let begun = Instant::now();
    let (search_type, mut results) = search.by_text(&mut reader).await?;
    let duration = begun.elapsed();
    drop(reader);
    let link = search.link(results.len(), &uri);
    results.truncate(search.top_k.unsigned_abs() as usize);
    servers.notes().take(
        &servers,
        Note {
            user_id: None,
            query: search.q.clone(),
            search_type,
            result_count: i32::try_from(results.len()).ok(),
            duration_ms: Some(duration.as_secs_f64() * 1_000.0),
            clicked: None,
        },
    );
    let results = Results {
        query: search.q,
        search_type,
        results,
    };
    Ok(Representation::of(&results)?
        .policy(LIST)
        .link(link)
        .tags(["courses".to_owned(), TABLE.to_owned()])
        .answer(&request))
}

/// Notes which result was chosen.
#[utoipa::path(post, path = "/courses/search/clicks", tag = "courses", request_body = Click, responses(
    (status = 202, body = Noted), (status = 422, body = Problem)))]
pub(crate) async fn click(
    asker: Option<Asker>,
    State(servers): State<Servers>,
    Json(click): Json<Click>,
) -> Result<Response, Problem> {
    text("query", &click.query, LONGEST_QUERY)?;
    if click.position < 1 {
        return Err(Problem::invalid("position must be above 0").field("position"));
    }
    let user_id = whose(click.user_id, asker).map_err(|problem| problem.field("user_id"))?;
    servers.notes().take(
        &servers,
        Note {
            user_id,
            query: click.query,
            search_type: "click",
            result_count: None,
            duration_ms: None,
            clicked: Some((click.course_id, click.position)),
        },
    );
    written(StatusCode::ACCEPTED, &Noted { success: true })
}

/// Shows the published courses that most people take.
#[utoipa::path(get, path = "/courses/popular", tag = "courses", params(Top), responses(
    (status = 200, body = Vec<Course>), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn popular(
    Query(Top { top_k }): Query<Top>,
    reading: Reading,
    request: HeaderMap,
) -> Result<Response, Problem> {
    check_top(top_k)?;
    let mut reader = reading.begin().await?;
    let courses = sqlx::query_as!(
        Course,
        "SELECT id, title, description, instructor_id, category, difficulty_level, max_students, current_enrollment,
             price, is_published, created_at, updated_at
         FROM courses WHERE is_published ORDER BY current_enrollment DESC, id LIMIT $1",
        top_k
    )
    .fetch_all(&mut *reader)
    .await?;
    Ok(Representation::of(&courses)?
        .policy(LIST)
        .tags(["courses".to_owned(), TABLE.to_owned()])
        .answer(&request))
}

/// What was searched for, or chosen.
struct Note {
    user_id: Option<i64>,
    query: String,
    search_type: &'static str,
    result_count: Option<i32>,
    duration_ms: Option<f64>,
    clicked: Option<(i64, i32)>,
}

/// Where notes are taken, a few at once.
#[derive(Clone)]
pub(crate) struct Notes(Arc<Semaphore>);

impl Default for Notes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(NOTES)))
    }
}

impl Notes {
    /// Writes a note beside the request. One that cannot be written, or comes with too many others, is counted and
    /// forgotten.
    fn take(&self, servers: &Servers, note: Note) {
        let (primary, metrics) = (servers.primary().clone(), servers.metrics().clone());
        let Ok(permit) = self.0.clone().try_acquire_owned() else {
            metrics.search_notes_lost.inc();
            return;
        };
        tokio::spawn(async move {
            if let Err(problem) = write(&primary, note).await {
                tracing::warn!(reason = ?problem, "a search is not noted");
                metrics.search_notes_lost.inc();
            }
            drop(permit);
        });
    }
}

async fn write(primary: &Primary, note: Note) -> Result<(), Problem> {
    let (mut held, _slot) = primary.acquire().await?;
    let insert = sqlx::query!(
        "INSERT INTO search_logs (user_id, query, search_type, result_count, duration_ms, clicked_course_id, clicked_position)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        note.user_id,
        note.query,
        note.search_type,
        note.result_count,
        note.duration_ms,
        note.clicked.map(|(course, _)| course),
        note.clicked.map(|(_, position)| position)
    );
    in_time(held.until(), insert.execute(&mut *held)).await?;
    Ok(())
}
