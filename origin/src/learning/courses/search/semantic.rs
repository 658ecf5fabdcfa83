//! Courses near to what is asked for, by what both mean: the nearest vectors, where there are vectors, and else by words.
//!
//! The question's vector is made before a connection to the database is taken, so that none is held while a provider is
//! asked. A provider that has just failed is not asked for a moment: each search would wait for it, to no avail.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderMap, request::Parts},
    response::Response,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::{Found, LONGEST_QUERY, Note, Search, check_top, ten};
use crate::{
    http::{
        answer::{Policy, Representation},
        error::Problem,
        input::{Query, text},
    },
    learning::{
        courses::{LIST, TABLE, check_category},
        embedding::NotEmbedded,
        indexing::TAG,
        vectors::Vectors,
    },
    postgres::replicas::{Reader, Servers},
};

/// How long a provider that failed is left alone by searches.
const REST: Duration = Duration::from_secs(1);
/// How many searches ask a provider at once; others search by words, so that nobody has a provider asked without bound.
const AT_ONCE: usize = 8;
/// For how long results stand in for others that may be had at any moment.
const STOPGAP: Policy = Policy::Brief { seconds: 10 };

/// What to search for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Question {
    /// In words of one's own; 1 to 200 characters.
    #[serde(alias = "q")]
    #[param(min_length = 1, max_length = 200)]
    query: String,
    /// How many results, 1 to 100.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 100)]
    top_k: i64,
    /// Only those of a category.
    #[param(min_length = 1, max_length = 100)]
    category: Option<String>,
}

/// What was found, the nearest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nearest {
    query: String,
    /// `vector_search`; or how words were searched in its place: `full_text`, `trigram`.
    search_type: &'static str,
    /// Why words were searched: `no_extension` (PostgreSQL has no vectors), `provider_failed` (the question has no
    /// vector), `not_indexed` (the courses have none yet), `index_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    results: Vec<Found>,
}

/// Why words were searched in place of meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// PostgreSQL has no vectors.
    NoExtension,
    /// The provider makes no vector of the question now.
    ProviderFailed,
    /// The courses have no vectors of this model yet.
    NotIndexed,
    /// The index cannot be used.
    IndexFailed,
}

impl Question {
    fn check(&self) -> Result<(), Problem> {
        text("query", &self.query, LONGEST_QUERY)?;
        check_top(self.top_k)?;
        self.category.as_deref().map(check_category).transpose()?;
        Ok(())
    }

    async fn nearest(
        &self,
        vectors: &Vectors,
        meaning: &[f32],
        reader: &mut PgConnection,
    ) -> Result<Vec<Found>, sqlx::Error> {
        // Planned anew each time: where a category has few courses it is they that are compared, and not the neighbours
        // of the question that are looked through for them.
        let mut found: Vec<Found> = sqlx::query_as(
            "SELECT id, title, description, instructor_id, category, difficulty_level, max_students,
                 current_enrollment, price, created_at, updated_at,
                 (1 - (embedding <=> $1::real[]::vector))::real AS similarity_score
             FROM course_vectors JOIN courses ON id = course_id
             WHERE model = $2 AND is_published AND ($3::text IS NULL OR category = $3)
             ORDER BY embedding <=> $1::real[]::vector, id LIMIT $4",
        )
        .bind(meaning)
        .bind(vectors.provider().model())
        .bind(&self.category)
        .bind(self.top_k)
        .persistent(false)
        .fetch_all(reader)
        .await?;
        // What is at right angles to the question, or beyond, has nothing to do with it.
        found.retain(|found| found.similarity_score > 0.0);
        Ok(found)
    }

    /// By what they mean; or why not.
    async fn by_meaning(
        &self,
        vectors: &Vectors,
        meaning: Result<&[f32], Reason>,
        reader: &mut PgConnection,
    ) -> Result<Result<Vec<Found>, Reason>, sqlx::Error> {
        let meaning = match meaning {
            Ok(meaning) => meaning,
            Err(reason) => return Ok(Err(reason)),
        };
        let found = match self.nearest(vectors, meaning, reader).await {
            Err(sqlx::Error::Database(error)) if is_of_the_index(error.code().as_deref()) => {
                tracing::warn!(%error, "the index of vectors cannot be used");
                return Ok(Err(Reason::IndexFailed));
            }
            found => found?,
        };
        if found.is_empty() {
            let state = vectors.state(reader).await?;
            if !state.is_ours || state.is_behind {
                return Ok(Err(Reason::NotIndexed));
            }
        }
        Ok(Ok(found))
    }
}

/// Whether an SQLSTATE says that the table, its type or what is in it is not what we take it for: somebody has taken the
/// extension away, or an origin with another model has made the table anew.
fn is_of_the_index(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        ["22", "42", "58"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}

/// The index, and when the provider may be asked again.
#[derive(Clone)]
pub(crate) struct Meaning {
    vectors: Vectors,
    rests_until: Arc<Mutex<Option<Duration>>>,
    places: Arc<Semaphore>,
}

impl Meaning {
    pub(crate) fn new(vectors: Vectors) -> Self {
        Self {
            vectors,
            rests_until: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The vector of a question.
    async fn of(&self, question: &str, servers: &Servers) -> Result<Vec<f32>, Reason> {
        if !self.vectors.is_ready() {
            return Err(Reason::NoExtension);
        }
        let now = servers.clock().elapsed();
        if self.rests_until().is_some_and(|until| now < until) {
            return Err(Reason::ProviderFailed);
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Reason::ProviderFailed);
        };
        let asked = self.vectors.provider().embed(vec![question.to_owned()]);
        let reason = match asked.await.map(|mut vectors| vectors.pop()) {
            Ok(Some(vector)) => return Ok(vector),
            Ok(None) => NotEmbedded::Failed("it has no answer".to_owned()),
            Err(reason) => reason,
        };
        tracing::warn!(%reason, "a question has no vector: words are searched");
        // A question that is refused is nobody else's trouble.
        if matches!(reason, NotEmbedded::Failed(_)) {
            *self.rests_until() = Some(servers.clock().elapsed() + REST);
        }
        Err(Reason::ProviderFailed)
    }

    fn rests_until(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that was read and has a vector, or a reason for which it has none.
pub(crate) struct Asked {
    question: Question,
    vectors: Vectors,
    vector: Result<Vec<f32>, Reason>,
    begun: Instant,
}

/// Stands before [`Reader`] among a handler's arguments, and so is done before a connection is taken.
impl FromRequestParts<Servers> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        let begun = Instant::now();
        let Query(question) = Query::<Question>::from_request_parts(parts, servers).await?;
        question.check()?;
        let meaning = parts.extensions.get::<Meaning>().cloned();
        let meaning = meaning.expect("the routes have it");
        let vector = meaning.of(&question.query, servers).await;
        Ok(Self {
            question,
            vectors: meaning.vectors,
            vector,
            begun,
        })
    }
}

/// Searches the published courses by what they mean; by words where that cannot be had.
#[utoipa::path(get, path = "/courses/semantic", tag = "courses", params(Question), responses(
    (status = 200, body = Nearest), (status = 304), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn semantic(
    asked: Asked,
    State(servers): State<Servers>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let question = asked.question;
    let vector = asked.vector.as_deref().map_err(|reason| *reason);
    let found = question.by_meaning(&asked.vectors, vector, &mut reader);
    let (search_type, reason, results) = match found.await? {
        Ok(results) => ("vector_search", None, results),
        Err(reason) => {
            let search = Search {
                q: question.query.clone(),
                top_k: question.top_k,
                offset: 0,
                category: question.category,
                difficulty_level: None,
                max_price: None,
            };
            let (search_type, mut results) = search.by_text(&mut reader).await?;
            results.truncate(question.top_k.unsigned_abs() as usize);
            (search_type, Some(reason), results)
        }
    };
    drop(reader);
    servers.notes().take(
        &servers,
        Note {
            user_id: None,
            query: question.query.clone(),
            search_type,
            result_count: i32::try_from(results.len()).ok(),
            duration_ms: Some(asked.begun.elapsed().as_secs_f64() * 1_000.0),
            clicked: None,
        },
    );
    let policy = match reason {
        None | Some(Reason::NoExtension) => LIST,
        Some(_) => STOPGAP,
    };
    let nearest = Nearest {
        query: question.query,
        search_type,
        reason,
        results,
    };
    Ok(Representation::of(&nearest)?
        .policy(policy)
        .tags([TAG, "courses", TABLE].map(str::to_owned))
        .answer(&request))
}
