//! The vectors of courses: their table, where PostgreSQL has the extension `vector`, and the search in it.
//!
//! The table is no migration's, since the extension may not be there, may not be ours to make, or may come later: an
//! origin makes it at its start, or some minutes after the extension is there. It is of one model; when an origin starts
//! with another one, all courses are queued to be indexed anew, and the origin that started last decides.
//!
//! Statements on vectors are written out here and checked by tests, not by the compiler, which asks a PostgreSQL that has
//! none.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::{PgConnection, PgPool};

use super::embedding::Provider;

/// The index of courses by what they mean. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vectors {
    provider: Arc<dyn Provider>,
    is_ready: Arc<AtomicBool>,
}

/// A course, and the row of the queue that asks for its vector.
pub(crate) struct Indexed {
    pub(crate) course_id: i64,
    /// The number of that row: of two vectors of a course, that of the higher one is of the newer text.
    pub(crate) version: i64,
    pub(crate) vector: Vec<f32>,
}

/// What the database says of the index.
pub(crate) struct State {
    /// Whether it is of our model.
    pub(crate) is_ours: bool,
    /// Whether courses wait to be indexed.
    pub(crate) is_behind: bool,
}

impl Vectors {
    pub(crate) fn new(provider: Arc<dyn Provider>) -> Self {
        Self {
            provider,
            is_ready: Arc::default(),
        }
    }

    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// Whether there is a table for them.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Makes the table where there is the extension, which may be made if that is wanted and possible, and queues all
    /// courses where the model is a new one. Says whether there are vectors then; where there are none, search by words is
    /// all there is.
    pub(crate) async fn prepare(
        &self,
        pool: &PgPool,
        may_make_extension: bool,
    ) -> Result<bool, sqlx::Error> {
        let is_ready = self.try_preparing(pool, may_make_extension).await?;
        self.is_ready.store(is_ready, Ordering::Relaxed);
        Ok(is_ready)
    }

    async fn try_preparing(
        &self,
        pool: &PgPool,
        may_make_extension: bool,
    ) -> Result<bool, sqlx::Error> {
        if may_make_extension {
            // Refused where its package is not installed or the role may not; made by another at this moment; or there.
            let made = sqlx::query("CREATE EXTENSION IF NOT EXISTS vector");
            if let Err(error) = made.execute(pool).await {
                tracing::debug!(%error, "the extension vector is not made");
            }
        }
        let has_vectors: bool = sqlx::query_scalar("SELECT to_regtype('vector') IS NOT NULL")
            .fetch_one(pool)
            .await?;
        if !has_vectors {
            return Ok(false);
        }
        let mut transaction = pool.begin().await?;
        sqlx::query!("SET LOCAL lock_timeout = '1s'")
            .execute(&mut *transaction)
            .await?;
        // One origin at a time.
        sqlx::query!("LOCK TABLE course_index IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await?;
        self.make_table(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn make_table(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (model, dimensions) = (self.provider.model(), self.provider.dimensions());
        let known = sqlx::query_scalar!("SELECT model FROM course_index")
            .fetch_optional(&mut *connection)
            .await?;
        let width: Option<i32> = sqlx::query_scalar(
            "SELECT atttypmod FROM pg_attribute
             WHERE attrelid = to_regclass('course_vectors') AND attname = 'embedding' AND NOT attisdropped",
        )
        .fetch_optional(&mut *connection)
        .await?;
        let fits = width.is_some_and(|width| usize::try_from(width) == Ok(dimensions));
        if fits && known.as_ref() == Some(&model) {
            // What was given up may work now.
            sqlx::query!(
                "UPDATE course_index_queue SET tries = 0, due_at = clock_timestamp() WHERE due_at = 'infinity'"
            )
            .execute(connection)
            .await?;
            return Ok(());
        }
        // No course is written between the queueing of all and the moment from which on each is queued by its writer.
        sqlx::query!("LOCK TABLE courses IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *connection)
            .await?;
        if !fits {
            sqlx::query("DROP TABLE IF EXISTS course_vectors")
                .execute(&mut *connection)
                .await?;
            let table = format!(
                "CREATE TABLE course_vectors (
                     course_id bigint PRIMARY KEY REFERENCES courses (id) ON DELETE CASCADE,
                     version   bigint NOT NULL,
                     model     text NOT NULL,
                     embedding vector({dimensions}) NOT NULL)"
            );
            // A number, and nothing of anybody else's.
            sqlx::query(sqlx::AssertSqlSafe(table))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "CREATE INDEX course_vectors_near ON course_vectors USING hnsw (embedding vector_cosine_ops)",
            )
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query!(
            "INSERT INTO course_index (model) VALUES ($1) ON CONFLICT (one) DO UPDATE SET model = excluded.model",
            model
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!("DELETE FROM course_index_queue")
            .execute(&mut *connection)
            .await?;
        let queued =
            sqlx::query!("INSERT INTO course_index_queue (course_id) SELECT id FROM courses")
                .execute(connection)
                .await?;
        tracing::info!(
            model,
            courses = queued.rows_affected(),
            "courses are indexed anew"
        );
        Ok(())
    }

    /// Whether the index is what is wanted.
    pub(crate) async fn state(&self, reader: &mut PgConnection) -> Result<State, sqlx::Error> {
        let state = sqlx::query!(
            r#"SELECT EXISTS (SELECT FROM course_index WHERE model = $1) AS "is_ours!",
                   EXISTS (SELECT FROM course_index_queue WHERE due_at < 'infinity') AS "is_behind!""#,
            self.provider.model()
        )
        .fetch_one(reader)
        .await?;
        Ok(State {
            is_ours: state.is_ours,
            is_behind: state.is_behind,
        })
    }

    /// Keeps vectors, but none that is of an older text than what is there. Of a course that is gone there is none.
    pub(crate) async fn store(
        &self,
        connection: &mut PgConnection,
        indexed: &[Indexed],
    ) -> Result<(), sqlx::Error> {
        let courses: Vec<i64> = indexed.iter().map(|one| one.course_id).collect();
        let versions: Vec<i64> = indexed.iter().map(|one| one.version).collect();
        // As the type prints itself: [0.1,-2].
        let vectors: Vec<String> = indexed.iter().map(|one| written(&one.vector)).collect();
        sqlx::query(
            "INSERT INTO course_vectors (course_id, version, model, embedding)
             SELECT id, version, $4, embedding::vector
             FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS indexed (course_id, version, embedding)
                 JOIN courses ON id = course_id
             ON CONFLICT (course_id) DO UPDATE
                 SET version = excluded.version, model = excluded.model, embedding = excluded.embedding
                 WHERE course_vectors.version <= excluded.version",
        )
        .bind(courses)
        .bind(versions)
        .bind(vectors)
        .bind(self.provider.model())
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn written(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
