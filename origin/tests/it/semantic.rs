//! Courses are found by what they mean: indexed behind their writers, by a provider that may fail, in a PostgreSQL that
//! may have no vectors.

use std::{
    collections::BTreeSet,
    env,
    io::Write,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tidegate_origin::{Clock, Config, EmbeddingService, EmbeddingSource, Embeddings};
use tidegate_services::{Postgres, ServiceError};
use tokio::net::TcpListener;

use crate::support::{Answer, House, config, patiently};

static POSTGRES: LazyLock<Option<Postgres>> = LazyLock::new(|| match Postgres::with_vectors() {
    Ok(postgres) => Some(postgres),
    Err(reason @ ServiceError::NoVectors)
        if env::var("TIDEGATE_PGVECTOR").as_deref() != Ok("required") =>
    {
        // Not by a macro: what those print is not shown of a test that passes.
        let line = format!("\nSKIPPED: the tests on vectors in semantic.rs: {reason}\n\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }
    Err(reason) => panic!("{reason}"),
});

/// The URL of a new, empty database on a server that has vectors; nothing where there is no such server.
async fn vectors() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let url = POSTGRES.as_ref()?.url();
    let name = format!("semantic_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    run(&url, &format!("CREATE DATABASE {name}")).await;
    Some(url.replace("/tidegate", &format!("/{name}")))
}

async fn run(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

const COURSES: &str =
    "INSERT INTO courses (id, title, description, category, difficulty_level, max_students, is_published) VALUES
         (1, 'Tides and Currents', 'Why the sea moves.', 'science', 'beginner', 30, true),
         (2, 'Harbours', 'How currents fill them, and the tides empty them.', 'craft', 'advanced', 9, true),
         (3, 'Caching on the Web', 'Freshness and validation.', 'computing', 'intermediate', 20, true),
         (4, 'Currents in Secret', 'A draft about tides.', 'science', 'beginner', 10, false)";
const WAITING: &str = "SELECT count(*) FROM course_index_queue";
const INDEXED: &str = "SELECT count(*) FROM course_vectors";

/// Waits until no course waits to be indexed.
async fn settled(house: &House) {
    patiently("all courses are indexed", || async {
        house.number(WAITING).await == 0
    })
    .await;
}

async fn asked(house: &House, query: &str) -> Answer {
    let answer = house.get(&format!("/courses/semantic?{query}")).await;
    answer.expect(StatusCode::OK)
}

/// How it was searched and why, and what was found.
fn found(answer: &Answer) -> (String, Option<String>, Vec<i64>) {
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    let scores: Vec<f64> = results
        .iter()
        .map(|result| result["similarity_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
    assert!(
        scores.iter().all(|score| (0.0..=1.0001).contains(score)),
        "{scores:?}"
    );
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (
        text(&body["search_type"]).unwrap(),
        text(&body["reason"]),
        results
            .iter()
            .map(|result| result["id"].as_i64().unwrap())
            .collect(),
    )
}

fn by_vectors(ids: &[i64]) -> (String, Option<String>, Vec<i64>) {
    ("vector_search".to_owned(), None, ids.to_vec())
}

fn by_words(reason: &str, ids: &[i64]) -> (String, Option<String>, Vec<i64>) {
    (
        "full_text".to_owned(),
        Some(reason.to_owned()),
        ids.to_vec(),
    )
}

#[tokio::test]
async fn courses_are_found_by_what_is_like_them_the_nearest_first_and_only_published_ones() {
    let Some(url) = vectors().await else { return };
    let house = House::before(url).await;
    house.sql(COURSES).await;
    settled(&house).await;
    assert_eq!(house.number(INDEXED).await, 4);
    for (query, expected) in [
        ("query=tides%20and%20currents", &[1, 2][..]),
        ("q=the%20current%20of%20the%20tide&top_k=1", &[1]),
        ("query=tides&category=craft", &[2]),
        ("query=web%20caches&top_k=1", &[3]),
        // Misspelt, and in another form.
        ("query=harbor&top_k=1", &[2]),
        ("query=tides&category=none%20such", &[]),
    ] {
        let (search_type, reason, ids) = found(&asked(&house, query).await);
        assert_eq!((search_type.as_str(), reason), ("vector_search", None));
        assert_eq!(ids[..expected.len()], *expected, "{query}");
        assert!(!ids.contains(&4), "{query}");
    }
    let answer = asked(&house, "query=tides").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    assert_eq!(
        answer.header("cdn-cache-control"),
        "public, max-age=900, stale-while-revalidate=60, stale-if-error=600"
    );
    assert_eq!(
        answer.header("surrogate-key"),
        "course-vectors courses table:courses"
    );
    let noted = "SELECT count(*) FROM search_logs
        WHERE search_type = 'vector_search' AND duration_ms > 0 AND result_count > 0 AND query = 'tides'";
    patiently("the search is noted", || async {
        house.number(noted).await > 0
    })
    .await;
}

#[tokio::test]
async fn what_is_written_is_indexed_behind_its_writer_and_announced_when_it_is() {
    let Some(url) = vectors().await else { return };
    let house = House::before(url).await;
    house.sql(COURSES).await;
    settled(&house).await;
    house.sink.wait_for(&["courses", "course-vectors"]).await;
    let before = house
        .number("SELECT version FROM course_vectors WHERE course_id = 3")
        .await;
    house
        .patch(
            "/courses/3",
            json!({"title": "Beekeeping", "description": "Honey."}),
        )
        .await
        .expect(StatusCode::OK);
    patiently("it is found by what it says now", || async {
        found(&asked(&house, "query=honey%20bees&top_k=1").await) == by_vectors(&[3])
    })
    .await;
    assert!(
        house
            .number("SELECT version FROM course_vectors WHERE course_id = 3")
            .await
            > before
    );
    // A draft is indexed before it is published, so that publishing shows it at once.
    house
        .post("/courses/4/publish", Value::Null)
        .await
        .expect(StatusCode::OK);
    let (_, _, ids) = found(&asked(&house, "query=secret%20currents&top_k=1").await);
    assert_eq!(ids, [4]);
    // What says nothing of the text queues nothing, and what is undone neither.
    settled(&house).await;
    house
        .sql(
            "BEGIN; UPDATE courses SET current_enrollment = 1, price = 5, title = title;
             DO $$ BEGIN ASSERT (SELECT count(*) = 0 FROM course_index_queue); END $$; COMMIT;
             BEGIN; UPDATE courses SET title = 'undone'; ROLLBACK",
        )
        .await;
    assert_eq!(house.number(WAITING).await, 0);
    house.sql("DELETE FROM courses WHERE id = 3").await;
    assert_eq!(house.number(INDEXED).await, 3);
}

#[tokio::test]
async fn the_vector_of_an_older_text_does_not_replace_that_of_a_newer_one() {
    let Some(url) = vectors().await else { return };
    let house = House::before(url).await;
    house.sql(COURSES).await;
    settled(&house).await;
    // As if another indexer had been quicker, with a row that is queued later.
    house
        .sql(
            "BEGIN; UPDATE course_vectors SET version = 1000000 WHERE course_id = 1;
             UPDATE courses SET title = 'Beekeeping' WHERE id IN (1, 2); COMMIT",
        )
        .await;
    settled(&house).await;
    let newest = "SELECT version FROM course_vectors WHERE course_id = 1";
    assert_eq!(house.number(newest).await, 1_000_000);
    let (_, _, ids) = found(&asked(&house, "query=beekeeping&top_k=1").await);
    assert_eq!(ids, [2]);
}

#[tokio::test]
async fn without_the_extension_words_are_searched_and_the_answer_says_so() {
    let house = House::open().await;
    house.sql(COURSES).await;
    let answer = asked(&house, "query=tides").await;
    assert_eq!(found(&answer), by_words("no_extension", &[1, 2]));
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    let (search_type, reason, ids) = found(&asked(&house, "query=curents").await);
    assert_eq!(
        (search_type.as_str(), reason.as_deref(), &ids[..]),
        ("trigram", Some("no_extension"), &[1][..])
    );
    assert_eq!(
        found(&asked(&house, "query=tides&category=craft").await),
        by_words("no_extension", &[2])
    );
    // Nobody would ever take it away.
    assert_eq!(house.number(WAITING).await, 0);
}

#[tokio::test]
async fn an_extension_that_may_not_be_made_is_used_once_somebody_has_made_it() {
    let Some(url) = vectors().await else { return };
    let database = url.rsplit('/').next().unwrap();
    let role = format!("{database}_owner");
    run(
        &url,
        &format!("CREATE ROLE {role} LOGIN; ALTER SCHEMA public OWNER TO {role}"),
    )
    .await;
    let theirs = url.replace("postgres@", &format!("{role}@"));
    let house = House::before(theirs.clone()).await;
    house.sql(COURSES).await;
    // This server has no trigrams either.
    assert_eq!(
        found(&asked(&house, "query=tides").await),
        by_words("no_extension", &[1, 2])
    );
    assert_eq!(
        found(&asked(&house, "query=curents").await),
        by_words("no_extension", &[])
    );
    run(&url, "CREATE EXTENSION vector").await;
    let house = House::before(theirs).await;
    settled(&house).await;
    let (search_type, _, ids) = found(&asked(&house, "query=cacheing").await);
    assert_eq!((search_type.as_str(), ids[0]), ("vector_search", 3));
    // And when it is taken away under the origin's feet.
    run(&url, "DROP EXTENSION vector CASCADE").await;
    assert_eq!(
        found(&asked(&house, "query=tides").await),
        by_words("index_failed", &[1, 2])
    );
}

#[tokio::test]
async fn another_model_indexes_all_courses_anew_and_who_has_the_old_one_searches_words() {
    let Some(url) = vectors().await else { return };
    let old = House::before(url.clone()).await;
    old.sql(COURSES).await;
    settled(&old).await;
    let narrow = |dimensions| Config {
        embeddings: Embeddings {
            dimensions,
            ..Embeddings::default()
        },
        ..config(url.clone())
    };
    let new = House::told(narrow(64)).await;
    settled(&new).await;
    assert_eq!(new.number(INDEXED).await, 4);
    let (search_type, _, ids) = found(&asked(&new, "query=tides").await);
    assert_eq!((search_type.as_str(), ids[0]), ("vector_search", 1));
    assert_eq!(
        found(&asked(&old, "query=tides").await),
        by_words("not_indexed", &[1, 2])
    );
    // Vectors of as many numbers, by another model: they would be compared in earnest, and mean nothing.
    let provider = Provider::start(64).await;
    let other = House::told(provider.config(url.clone())).await;
    settled(&other).await;
    assert_eq!(
        found(&asked(&new, "query=tides").await),
        by_words("not_indexed", &[1, 2])
    );
    assert_eq!(
        found(&asked(&other, "query=tides&top_k=1").await).0,
        "vector_search"
    );
    // The same one again queues nothing.
    let asked_before = provider.texts().len();
    let again = House::told(provider.config(url.clone())).await;
    settled(&again).await;
    assert_eq!(provider.texts().len(), asked_before);
}

#[tokio::test]
async fn the_nearest_of_many_are_found_by_the_index() {
    let Some(url) = vectors().await else { return };
    let house = House::told(Config {
        embeddings: Embeddings {
            dimensions: 16,
            ..Embeddings::default()
        },
        ..config(url)
    })
    .await;
    // Vectors by hand, of courses that nobody has to index.
    house
        .sql(
            "BEGIN; ALTER TABLE courses DISABLE TRIGGER courses_index_insert;
             INSERT INTO courses (id, title, category, difficulty_level, max_students, is_published)
                 SELECT n, 'Course ' || n, CASE n % 100 WHEN 0 THEN 'rare' ELSE 'common' END, 'beginner', 1, true
                 FROM generate_series(1, 3000) n;
             INSERT INTO course_vectors (course_id, version, model, embedding)
                 SELECT n, 0, 'local-1 16', (SELECT array_agg(sin(n * d)::real) FROM generate_series(1, 16) d)::vector
                 FROM generate_series(1, 3000) n;
             COMMIT; ANALYZE courses; ANALYZE course_vectors",
        )
        .await;
    let scans =
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'course_vectors_near'";
    let before = house.number(scans).await;
    patiently("the index is used", || async {
        let (search_type, _, ids) = found(&asked(&house, "query=tides").await);
        assert_eq!((search_type.as_str(), ids.len()), ("vector_search", 10));
        house.number(scans).await > before
    })
    .await;
    // The neighbours that the filter leaves are found, also where it leaves few.
    let (_, _, ids) = found(&asked(&house, "query=tides&category=rare&top_k=10").await);
    assert!(
        ids.len() == 10 && ids.iter().all(|id| id % 100 == 0),
        "{ids:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_its_name() {
    let house = House::open().await;
    for (query, field) in [
        ("query=", "query"),
        ("query=%00", "query"),
        (&format!("query={}", "x".repeat(201)), "query"),
        ("query=a&top_k=0", "top_k"),
        ("query=a&top_k=101", "top_k"),
        ("query=a&category=", "category"),
    ] {
        let named = house.get(&format!("/courses/semantic?{query}")).await;
        let named = named.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field), "{query}");
    }
    for query in ["", "?query=a&top_k=many"] {
        let unread = house.get(&format!("/courses/semantic{query}")).await;
        unread.problem(StatusCode::BAD_REQUEST);
    }
}

/// A service that makes vectors, as it is told to.
struct Provider {
    address: std::net::SocketAddr,
    dimensions: usize,
    told: Arc<Told>,
}

struct Told {
    dimensions: usize,
    behaviour: Mutex<Behaviour>,
    /// Each text that it was asked for.
    texts: Mutex<Vec<String>>,
    /// Each authorization that it was shown.
    authorizations: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Good,
    Status(u16),
    Silent,
    WrongDimensions,
    NoNumbers,
    AllZero,
    TooFew,
    Oversized,
    NotJson,
}

impl Provider {
    async fn start(dimensions: usize) -> Self {
        let told = Arc::new(Told {
            dimensions,
            behaviour: Mutex::new(Behaviour::Good),
            texts: Mutex::default(),
            authorizations: Mutex::default(),
        });
        let routes = Router::new()
            .route("/v1/embeddings", post(embed))
            .with_state(told.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            address,
            dimensions,
            told,
        }
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.told.behaviour.lock().unwrap() = behaviour;
    }

    fn texts(&self) -> Vec<String> {
        self.told.texts.lock().unwrap().clone()
    }

    fn embeddings(&self) -> Embeddings {
        let url = format!("http://{}/v1/embeddings", self.address);
        let service = EmbeddingService::new(&url, "tide-1", Some("hush")).unwrap();
        Embeddings {
            source: EmbeddingSource::Http(service),
            dimensions: self.dimensions,
            // A busy machine makes nobody's provider slow.
            deadline: Duration::from_secs(30),
        }
    }

    fn config(&self, url: String) -> Config {
        Config {
            embeddings: self.embeddings(),
            ..config(url)
        }
    }
}

/// Knows which texts are of the sea; refuses those with poison in them.
async fn embed(
    State(told): State<Arc<Told>>,
    headers: HeaderMap,
    Json(question): Json<Value>,
) -> Response {
    assert_eq!(question["model"], "tide-1");
    let input: Vec<String> = serde_json::from_value(question["input"].clone()).unwrap();
    told.texts.lock().unwrap().extend(input.iter().cloned());
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    told.authorizations.lock().unwrap().insert(authorization);
    let behaviour = *told.behaviour.lock().unwrap();
    let mut dimensions = told.dimensions;
    match behaviour {
        Behaviour::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Behaviour::Silent => std::future::pending::<()>().await,
        Behaviour::WrongDimensions => dimensions += 1,
        Behaviour::Oversized => return vec![b' '; 10_000_000].into_response(),
        Behaviour::NotJson => return "<html>".into_response(),
        _ => {}
    }
    if input.iter().any(|text| text.contains("poison")) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let vector = |text: &str| {
        let is_of_the_sea = ["tide", "sea", "wave"]
            .iter()
            .any(|word| text.to_lowercase().contains(word));
        let mut vector = vec![0.01; dimensions];
        vector[usize::from(is_of_the_sea)] = 1.0;
        match behaviour {
            Behaviour::AllZero => json!(vec![0.0; dimensions]),
            Behaviour::NoNumbers => json!(vec!["one"; dimensions]),
            _ => json!(vector),
        }
    };
    let items = input.iter().enumerate();
    let items = items.map(|(index, text)| json!({"index": index, "embedding": vector(text)}));
    let mut items: Vec<_> = items.collect();
    // In whatever order.
    items.reverse();
    if behaviour == Behaviour::TooFew {
        items.pop();
    }
    Json(json!({"data": items, "usage": {}})).into_response()
}

#[tokio::test]
async fn a_service_makes_the_vectors_of_courses_and_of_questions() {
    let Some(url) = vectors().await else { return };
    let provider = Provider::start(8).await;
    let house = House::told(provider.config(url)).await;
    house.sql(COURSES).await;
    settled(&house).await;
    let (search_type, reason, ids) = found(&asked(&house, "query=wave").await);
    assert_eq!((search_type.as_str(), reason), ("vector_search", None));
    // Those that speak of the tide, by no word that was asked for; and behind them the other.
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[2], 3);
    assert!(provider.texts().contains(&"wave".to_owned()));
    let shown = provider.told.authorizations.lock().unwrap().clone();
    assert_eq!(shown, BTreeSet::from(["Bearer hush".to_owned()]));
}

#[tokio::test]
async fn a_service_that_fails_in_any_way_leaves_words_to_search_and_is_left_alone_for_a_moment() {
    let Some(url) = vectors().await else { return };
    let provider = Provider::start(8).await;
    let clock = Clock::manual();
    let house = House::by(&clock, provider.config(url)).await;
    house.sql(COURSES).await;
    settled(&house).await;
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Status(401),
        Behaviour::Status(429),
        Behaviour::Status(302),
        Behaviour::WrongDimensions,
        Behaviour::NoNumbers,
        Behaviour::AllZero,
        Behaviour::TooFew,
        Behaviour::Oversized,
        Behaviour::NotJson,
    ] {
        provider.behave(behaviour);
        let before = provider.texts().len();
        for _ in 0..2 {
            let answer = asked(&house, "query=tides").await;
            assert_eq!(
                found(&answer),
                by_words("provider_failed", &[1, 2]),
                "{behaviour:?}"
            );
            assert_eq!(answer.header("cache-control"), "public, max-age=10");
        }
        assert_eq!(provider.texts().len(), before + 1, "{behaviour:?}");
        provider.behave(Behaviour::Good);
        clock.advance(Duration::from_secs(1));
        let (search_type, _, _) = found(&asked(&house, "query=tides").await);
        assert_eq!(search_type, "vector_search", "{behaviour:?}");
    }
    // A question that it refuses is nobody else's trouble.
    assert_eq!(
        found(&asked(&house, "query=poison").await),
        by_words("provider_failed", &[])
    );
    let (search_type, _, _) = found(&asked(&house, "query=tides").await);
    assert_eq!(search_type, "vector_search");
}

#[tokio::test]
async fn a_service_that_does_not_answer_keeps_no_writer_waiting_and_searches_for_its_deadline_only()
{
    let Some(url) = vectors().await else { return };
    let provider = Provider::start(8).await;
    provider.behave(Behaviour::Silent);
    let house = House::told(Config {
        embeddings: Embeddings {
            deadline: Duration::from_millis(100),
            ..provider.embeddings()
        },
        ..config(url)
    })
    .await;
    let id = house.course(3).await;
    patiently("the indexer asks", || async {
        !provider.texts().is_empty()
    })
    .await;
    // Whatever waits for the provider, courses are written and found.
    house
        .patch(&format!("/courses/{id}"), json!({"title": "Storm tides"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        found(&asked(&house, "query=storm").await),
        by_words("provider_failed", &[id])
    );
    patiently("a failure is counted", || async {
        house.metric("tidegate_courses_index_failures_total").await >= Some(1.0)
    })
    .await;
    assert!(house.number(WAITING).await >= 1);
    // Whoever stops in the midst of asking leaves the courses to the next, at once.
    house.origin.shutdown().await;
    let leased = "SELECT count(*) FROM course_index_queue WHERE due_at > clock_timestamp()";
    let leased: i64 = sqlx::query_scalar(leased)
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_eq!(leased, 0);
}

#[tokio::test]
async fn an_outage_of_the_service_costs_no_course_its_vector() {
    let Some(url) = vectors().await else { return };
    let provider = Provider::start(8).await;
    provider.behave(Behaviour::Status(503));
    let house = House::told(provider.config(url)).await;
    house.sql(COURSES).await;
    patiently("it has failed, on several and on one", || async {
        house.metric("tidegate_courses_index_failures_total").await >= Some(2.0)
    })
    .await;
    let blamed = "SELECT count(*) FROM course_index_queue WHERE tries > 0 OR failure IS NOT NULL";
    assert_eq!(house.number(blamed).await, 0);
    provider.behave(Behaviour::Good);
    settled(&house).await;
    assert_eq!(house.number(INDEXED).await, 4);
}

#[tokio::test]
async fn a_course_that_is_always_refused_is_given_up_and_keeps_no_other_waiting() {
    let Some(url) = vectors().await else { return };
    let provider = Provider::start(8).await;
    let house = House::told(provider.config(url.clone())).await;
    house
        .sql(
            "INSERT INTO courses (id, title, category, difficulty_level, max_students)
                  SELECT n, CASE n WHEN 3 THEN 'poison' ELSE 'Tides ' || n END, 'c', 'beginner', 1
                  FROM generate_series(1, 40) n",
        )
        .await;
    patiently("all others are indexed", || async {
        house.number(INDEXED).await == 39
    })
    .await;
    patiently("it is given up", || async {
        // Nobody waits for the pauses between tries.
        house
            .sql("UPDATE course_index_queue SET due_at = clock_timestamp() WHERE due_at < 'infinity'")
            .await;
        let given_up = "SELECT count(*) FROM course_index_queue
            WHERE due_at = 'infinity' AND tries = 5 AND course_id = 3 AND failure LIKE '%422%'";
        house.number(given_up).await == 1
    })
    .await;
    let tried = provider
        .texts()
        .iter()
        .filter(|text| text.starts_with("poison"))
        .count();
    // An origin that starts tries it once more.
    house.origin.shutdown().await;
    let house = House::told(provider.config(url)).await;
    patiently("it is tried again", || async {
        let tries = provider
            .texts()
            .iter()
            .filter(|text| text.starts_with("poison"))
            .count();
        tries > tried
    })
    .await;
    // Written anew, it is a course like any other.
    house
        .sql("UPDATE courses SET title = 'Honey' WHERE id = 3")
        .await;
    settled(&house).await;
    assert_eq!(house.number(INDEXED).await, 40);
}
