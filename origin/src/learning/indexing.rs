//! Courses on their way into the index of what they mean: behind their writers, and as often as it takes.
//!
//! A trigger queues each course whose text changes, in the transaction of the change. Indexers, any number, take rows
//! that no other holds, for so long (a lease, since no lock is held while a provider is asked: one that ends in between
//! leaves its rows to the next), read the courses as they are by then, and write their vectors. Of two that index one
//! course at the same time, the one with the higher row wins: its text is the newer one.
//!
//! A provider that fails is left alone for longer and longer, and no course is to blame. When it fails on several courses,
//! they are taken one by one; one that it refuses, or that fails by itself while others are answered, has a number of
//! tries, with longer and longer pauses, and is then given up: it stays in the queue with what was said of it, until the
//! course is written again or an origin starts. The others pass it by.

use std::{
    collections::HashMap,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use sqlx::{PgPool, postgres::types::PgInterval};
use tokio::time::{Instant, sleep};

use super::{
    embedding::{NotEmbedded, beginning},
    vectors::{Indexed, Vectors},
};
use crate::{
    observe::metrics::Metrics,
    postgres::held::{LONGEST, in_time},
    relay::outbox::announce,
};

/// The tag by which searches fall that vectors have answered.
pub(crate) const TAG: &str = "course-vectors";
/// How often it is looked for courses to index.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for an extension that was not there.
const LOOK: Duration = Duration::from_secs(60);
/// The first pause after the provider failed, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many courses are indexed at once.
const BATCH: usize = 32;
/// How often a course is tried by itself.
const TRIES: i32 = 5;
/// For how long an indexer has the rows that it took, in microseconds: twice as long as a provider may take.
const LEASE: i64 = 60_000_000;

/// Indexes courses until `shutdown` is ready. What a provider is asked for then goes back into the queue.
pub(crate) async fn index(
    pool: PgPool,
    vectors: Vectors,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown: Pin<&mut (dyn Future<Output = ()> + Send)> = pin!(shutdown);
    let mut indexer = Indexer {
        pool,
        vectors,
        metrics,
        size: BATCH,
        pause: BACK_OFF.0,
        has_answered: false,
    };
    loop {
        let pause = match indexer.round(&mut shutdown).await {
            Ok(Flow::GoOn(pause)) => pause,
            Ok(Flow::Stop) => return,
            Err(error) => {
                tracing::warn!(%error, "courses wait to be indexed");
                indexer.back_off()
            }
        };
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            () = sleep(pause) => {}
        }
    }
}

enum Flow {
    /// There may be more to do after a pause.
    GoOn(Duration),
    Stop,
}

struct Indexer {
    pool: PgPool,
    vectors: Vectors,
    metrics: Arc<Metrics>,
    /// How many courses are taken next.
    size: usize,
    /// How long the provider is left alone when it fails next.
    pause: Duration,
    /// Whether the provider has answered since a course last failed by itself: then the next failure is the course's.
    has_answered: bool,
}

/// A row of the queue.
struct Row {
    id: i64,
    course_id: i64,
    tries: i32,
}

impl Indexer {
    /// Indexes what may be indexed now, some of it.
    async fn round(
        &mut self,
        shutdown: &mut Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) -> Result<Flow, sqlx::Error> {
        if !self.vectors.is_ready() {
            let is_ready = soon(self.vectors.prepare(&self.pool, false)).await?;
            return Ok(Flow::GoOn(if is_ready { Duration::ZERO } else { LOOK }));
        }
        let rows = soon(self.take()).await?;
        self.metrics
            .courses_waiting
            .set(soon(self.waiting()).await?);
        if rows.is_empty() {
            return Ok(Flow::GoOn(EVERY));
        }
        let (courses, texts): (Vec<_>, Vec<_>) = soon(self.texts(&rows)).await?.into_iter().unzip();
        let asked = match texts.is_empty() {
            true => Ok(Vec::new()),
            false => tokio::select! {
                biased;
                asked = self.vectors.provider().embed(texts) => asked,
                () = shutdown => {
                    soon(self.put_back(&rows)).await?;
                    return Ok(Flow::Stop);
                }
            },
        };
        match asked {
            Ok(found) => {
                soon(self.keep(&rows, &courses, found)).await?;
                self.metrics.courses_indexed.inc_by(courses.len() as u64);
                if !courses.is_empty() {
                    self.size = (self.size * 2).min(BATCH);
                    self.pause = BACK_OFF.0;
                    self.has_answered = true;
                }
                Ok(Flow::GoOn(Duration::ZERO))
            }
            Err(reason) => soon(self.failed(&rows, &reason)).await.map(Flow::GoOn),
        }
    }

    /// Takes rows that no other has, if the index is of our model.
    async fn take(&self) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as!(
            Row,
            "WITH due AS (
                 SELECT id FROM course_index_queue
                 WHERE due_at <= clock_timestamp() AND EXISTS (SELECT FROM course_index WHERE model = $1)
                 ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE course_index_queue AS queue SET due_at = clock_timestamp() + $3
             FROM due WHERE queue.id = due.id
             RETURNING queue.id, course_id, tries",
            self.vectors.provider().model(),
            self.size as i64,
            interval(LEASE)
        )
        .fetch_all(&self.pool)
        .await
    }

    async fn waiting(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "waiting!" FROM (SELECT FROM course_index_queue LIMIT 100000) AS counted"#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// The courses as they are now, each once, with what is said of them. Those that are gone are not among them.
    async fn texts(&self, rows: &[Row]) -> Result<Vec<(i64, String)>, sqlx::Error> {
        let courses: Vec<i64> = rows.iter().map(|row| row.course_id).collect();
        let found = sqlx::query!(
            "SELECT id, title, category, description FROM courses WHERE id = ANY ($1)",
            &courses
        )
        .fetch_all(&self.pool)
        .await?;
        let text =
            |title, category, description| beginning(format!("{title}\n{category}\n{description}"));
        let texts = found.into_iter().map(|course| {
            let text = text(course.title, course.category, course.description);
            (course.id, text)
        });
        Ok(texts.collect())
    }

    /// Writes the vectors, takes the rows from the queue that they answer, and lets fall what was found without them.
    async fn keep(
        &self,
        rows: &[Row],
        courses: &[i64],
        found: Vec<Vec<f32>>,
    ) -> Result<(), sqlx::Error> {
        let mut newest: HashMap<i64, i64> = HashMap::new();
        for row in rows {
            let newest = newest.entry(row.course_id).or_default();
            *newest = row.id.max(*newest);
        }
        let indexed = courses
            .iter()
            .zip(found)
            .map(|(course_id, vector)| Indexed {
                course_id: *course_id,
                version: newest.get(course_id).copied().unwrap_or_default(),
                vector,
            });
        let indexed: Vec<_> = indexed.collect();
        let mut transaction = self.pool.begin().await?;
        self.vectors.store(&mut transaction, &indexed).await?;
        // Older rows of the same courses have their answer, too; those that were given up among them.
        let (courses, versions): (Vec<i64>, Vec<i64>) = newest.into_iter().unzip();
        sqlx::query!(
            "DELETE FROM course_index_queue AS queue
             USING unnest($1::bigint[], $2::bigint[]) AS done (course_id, version)
             WHERE queue.course_id = done.course_id AND queue.id <= done.version",
            &courses,
            &versions
        )
        .execute(&mut *transaction)
        .await?;
        announce(&mut transaction, &[TAG.to_owned()]).await?;
        transaction.commit().await
    }

    /// Puts rows back: several to be taken one by one, one by itself for later or for never, as it is to blame.
    async fn failed(
        &mut self,
        rows: &[Row],
        reason: &NotEmbedded,
    ) -> Result<Duration, sqlx::Error> {
        self.metrics.courses_failed.inc();
        let is_refused = matches!(reason, NotEmbedded::Refused(_));
        let to_blame = match rows {
            [row] if is_refused || self.has_answered => Some(row),
            _ => None,
        };
        let Some(row) = to_blame else {
            tracing::warn!(%reason, courses = rows.len(), "courses wait to be indexed");
            self.size = 1;
            self.put_back(rows).await?;
            return Ok(match is_refused {
                true => Duration::ZERO,
                false => self.back_off(),
            });
        };
        self.has_answered = false;
        let tries = row.tries + 1;
        let pause = (tries < TRIES).then(|| interval(1_000_000 << tries.clamp(0, 30)));
        if pause.is_none() {
            tracing::error!(%reason, course = row.course_id, "a course is not indexed: given up");
        }
        sqlx::query!(
            "UPDATE course_index_queue SET tries = $2, failure = $3,
                 due_at = coalesce(clock_timestamp() + $4::interval, 'infinity')
             WHERE id = $1",
            row.id,
            tries,
            reason.to_string(),
            pause
        )
        .execute(&self.pool)
        .await?;
        Ok(Duration::ZERO)
    }

    /// Lets rows be taken again, behind those that have not been tried.
    async fn put_back(&self, rows: &[Row]) -> Result<(), sqlx::Error> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        sqlx::query!(
            "UPDATE course_index_queue SET due_at = clock_timestamp() WHERE id = ANY ($1)",
            &ids
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn back_off(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(BACK_OFF.1);
        pause
    }
}

/// Waits for what the database is asked, and no longer than it may take.
async fn soon<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    in_time(Instant::now() + LONGEST, asked).await
}

fn interval(microseconds: i64) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds,
    }
}
