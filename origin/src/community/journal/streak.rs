//! For how many days in a row a user has written.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize, Serializer};
use time::{Date, Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::{EARLIEST, as_text, date};
use crate::{
    http::{
        access::Asker,
        answer::Representation,
        error::Problem,
        input::{Path, Query},
    },
    postgres::replicas::{Reader, Servers},
};

/// How far behind UTC the latest place on Earth is.
const LATEST: Duration = Duration::hours(12);

/// Days in a row.
#[derive(Serialize, ToSchema)]
pub(crate) struct Streak {
    user_id: i64,
    /// How many days in a row were written of, up to today or, where nothing is written of today yet, yesterday.
    current: i64,
    /// The most that they ever were.
    longest: i64,
    /// The last day that was written of.
    #[serde(serialize_with = "as_text_or_none")]
    #[schema(value_type = Option<String>, format = Date)]
    last_day: Option<Date>,
}

fn as_text_or_none<S: Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match day {
        Some(day) => as_text(day, serializer),
        None => serializer.serialize_none(),
    }
}

/// Where the user is.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Today {
    /// Today's date for the user; at UTC, unless it is said otherwise.
    #[param(format = Date)]
    today: Option<String>,
}

/// A day that is today somewhere.
fn check_today(text: &str, now: OffsetDateTime) -> Result<Date, Problem> {
    let today = date("today", text)?;
    if !((now - LATEST).date()..=(now + EARLIEST).date()).contains(&today) {
        let detail = "today must be the date of now, somewhere on earth";
        return Err(Problem::invalid(detail).field("today"));
    }
    Ok(today)
}

/// Says how many days in a row a user has written of.
#[utoipa::path(get, path = "/users/{id}/journal/streak", tag = "journal", params(("id" = i64, Path), Today), responses(
    (status = 200, body = Streak), (status = 304), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn show(
    asker: Asker,
    State(servers): State<Servers>,
    Path(user): Path<i64>,
    Query(Today { today }): Query<Today>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let now = servers.clock().now();
    let today = match today {
        Some(text) => check_today(&text, now)?,
        None => now.date(),
    };
    // Days in a row are as far from their own places in the order of days: what is the same for all of them names the run.
    let streak = sqlx::query_as!(
        Streak,
        r#"WITH days AS (SELECT DISTINCT day FROM journal_entries WHERE user_id = $1),
               placed AS (SELECT day, day - (row_number() OVER (ORDER BY day))::integer AS run FROM days),
               runs AS (SELECT max(day) AS last, count(*) AS length FROM placed GROUP BY run)
           SELECT $1 AS "user_id!", coalesce(max(length), 0) AS "longest!", max(last) AS last_day,
               coalesce((SELECT length FROM runs WHERE last >= $2::date - 1 ORDER BY last DESC LIMIT 1), 0) AS "current!"
           FROM runs"#,
        user,
        today
    )
    .fetch_one(&mut *reader)
    .await?;
    Ok(Representation::of(&streak)?.answer(&request))
}
