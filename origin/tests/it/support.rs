//! An origin before a database of its own, and a sink that tests can read and break.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tidegate_origin::{
    Activity, Clock, Config, Embeddings, Lsn, Origin, PurgeSink, SinkError,
    access::{Role, sign},
};
use tidegate_services::{Postgres, Redis};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

pub(crate) const TOKEN: &str = "the-edge's-token";
/// What tokens of users are signed with.
pub(crate) const SECRET: &str = "the key that signs who it is that asks";
/// In whose name a test asks unless it says otherwise. No row of the table of users is this admin's.
pub(crate) const ADMIN: i64 = 1_000_000_007;
/// How long an event may take before the test is given up; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| Postgres::ephemeral().unwrap());

/// The URL of a new, empty database on the shared server.
pub(crate) async fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let url = POSTGRES.url();
    let name = format!("it_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    url.replace("/tidegate", &format!("/{name}"))
}

/// What says that the user asks, for longer than any test moves its clock.
pub(crate) fn bearer(user: i64, role: Role) -> String {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(200 * 365 * 24 * 3_600);
    format!("Bearer {}", sign(SECRET, user, role, far))
}

/// Waits until a question is answered by `true`.
pub(crate) async fn patiently<F: Future<Output = bool>>(what: &str, mut asks: impl FnMut() -> F) {
    let asking = async {
        while !asks().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(PATIENCE, asking).await.is_err() {
        panic!("in vain: {what}");
    }
}

pub(crate) fn config(database_url: String) -> Config {
    Config {
        database_url,
        service_token: TOKEN.to_owned(),
        jwt_secret: Some(SECRET.to_owned()),
        listen: ([127, 0, 0, 1], 0).into(),
        pool_min: 2,
        pool_max: 10,
        replica_url: None,
        // A busy machine makes nobody's replica late.
        replica_deadline: PATIENCE,
        activity: Activity::default(),
        embeddings: Embeddings::default(),
    }
}

/// Settings by which events that a reader has left are taken up soon.
pub(crate) fn activity(redis: &Redis) -> Activity {
    Activity {
        redis_url: Some(redis.url()),
        // A busy machine makes nobody's Redis away.
        redis_deadline: PATIENCE,
        events_claim: Duration::from_millis(200),
        ..Activity::default()
    }
}

/// Tells Redis something by hand.
pub(crate) async fn told(redis: &Redis, command: &mut redis::Cmd) -> redis::Value {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

pub(crate) async fn exists(redis: &Redis, key: &str) -> bool {
    told(redis, redis::cmd("EXISTS").arg(key)).await == redis::Value::Int(1)
}

/// An origin that takes nothing from Redis to the database by itself.
pub(crate) async fn gathering(redis: &Redis, url: &str) -> House {
    House::told(Config {
        activity: Activity {
            events_workers: 0,
            ..activity(redis)
        },
        ..config(url.to_owned())
    })
    .await
}

/// One that does.
pub(crate) async fn writing(redis: &Redis, url: &str) -> House {
    House::told(Config {
        activity: activity(redis),
        ..config(url.to_owned())
    })
    .await
}

/// Where tags go. It can fail a number of times, or refuse: then the outbox keeps its rows.
pub(crate) struct Sink {
    pub(crate) failures: AtomicUsize,
    pub(crate) refuses: AtomicBool,
    /// Takes what it is given, and never says so.
    pub(crate) hangs: AtomicBool,
    /// An append with this tag is refused.
    pub(crate) detests: Mutex<Option<&'static str>>,
    received: watch::Sender<Vec<String>>,
    seen: Mutex<Vec<Option<Lsn>>>,
}

impl Sink {
    fn new(refuses: bool) -> Arc<Self> {
        Arc::new(Self {
            failures: AtomicUsize::new(0),
            refuses: AtomicBool::new(refuses),
            hangs: AtomicBool::new(false),
            detests: Mutex::default(),
            received: watch::Sender::new(Vec::new()),
            seen: Mutex::default(),
        })
    }

    pub(crate) fn received(&self) -> Vec<String> {
        self.received.borrow().clone()
    }

    /// What came with the tags: a position for each append.
    pub(crate) fn seen(&self) -> Vec<Option<Lsn>> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until every one of the tags has arrived.
    pub(crate) async fn wait_for(&self, tags: &[&str]) {
        let mut received = self.received.subscribe();
        let arrived = received
            .wait_for(|received| tags.iter().all(|tag| received.iter().any(|one| one == tag)));
        if timeout(PATIENCE, arrived).await.is_err() {
            panic!("{tags:?} did not all arrive among {:?}", self.received());
        }
    }
}

impl PurgeSink for Sink {
    fn append(
        &self,
        tags: Vec<String>,
        seen: Option<Lsn>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(async move {
            if self.refuses.load(Ordering::Relaxed) {
                return Err(SinkError("closed".to_owned()));
            }
            let detested = *self.detests.lock().unwrap();
            if detested.is_some_and(|detested| tags.iter().any(|tag| tag == detested)) {
                return Err(SinkError("told to refuse this one".to_owned()));
            }
            let fails = self
                .failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
            if fails.is_ok() {
                return Err(SinkError("told to fail".to_owned()));
            }
            self.seen.lock().unwrap().push(seen);
            self.received.send_modify(|received| received.extend(tags));
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

/// A running origin with all that a test needs around it.
pub(crate) struct House {
    pub(crate) origin: Origin,
    pub(crate) sink: Arc<Sink>,
    /// Connections beside the origin's own, to look and to write by hand.
    pub(crate) pool: PgPool,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl House {
    /// An origin whose outbox is relayed at once.
    pub(crate) async fn open() -> Self {
        Self::with(database().await, Sink::new(false)).await
    }

    /// An origin whose outbox keeps its rows.
    pub(crate) async fn with_full_outbox() -> Self {
        Self::with(database().await, Sink::new(true)).await
    }

    pub(crate) async fn before(database_url: String) -> Self {
        Self::with(database_url, Sink::new(false)).await
    }

    /// A sink by itself.
    pub(crate) fn sink() -> Arc<Sink> {
        Sink::new(false)
    }

    /// An origin that may read from a replica.
    pub(crate) async fn with_replica(database_url: String, replica_url: String) -> Self {
        let config = Config {
            replica_url: Some(replica_url),
            ..config(database_url)
        };
        Self::told(config).await
    }

    /// An origin before Redis, with a database of its own.
    pub(crate) async fn with_activity(activity: Activity) -> Self {
        Self::told(Config {
            activity,
            ..config(database().await)
        })
        .await
    }

    /// An origin with settings of the test's own.
    pub(crate) async fn told(config: Config) -> Self {
        Self::started(config, Sink::new(false)).await
    }

    pub(crate) async fn with(database_url: String, sink: Arc<Sink>) -> Self {
        Self::started(config(database_url), sink).await
    }

    /// An origin by a clock that the test moves.
    pub(crate) async fn by(clock: &Clock, config: Config) -> Self {
        Self::started_by(clock.clone(), config, Sink::new(false)).await
    }

    async fn started(config: Config, sink: Arc<Sink>) -> Self {
        Self::started_by(Clock::system(), config, sink).await
    }

    async fn started_by(clock: Clock, config: Config, sink: Arc<Sink>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy(&config.database_url)
            .unwrap();
        let origin = Origin::start_by(clock, config, sink.clone()).await.unwrap();
        Self {
            origin,
            sink,
            pool,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Asks with these fields, and where they are the edge's and do not say for whom, in an admin's name.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let has = |name| headers.iter().any(|(given, _)| *given == name);
        if headers.contains(&("x-service-token", TOKEN)) && !has("authorization") {
            let admin = bearer(ADMIN, Role::Admin);
            let headers = [headers, &[("authorization", &admin)]].concat();
            return self.raw(method, path, &headers, body).await;
        }
        self.raw(method, path, headers, body).await
    }

    /// Asks with these fields and no other.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.origin.addr()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .client
            .request(request.body(Full::new(body.into())).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            bytes,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        self.ask_with(method, path, &[], body).await
    }

    /// Asks with fields beside those that every request has.
    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut headers = vec![
            ("x-service-token", TOKEN),
            ("content-type", "application/json"),
        ];
        headers.extend(more);
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, path, &headers, body).await
    }

    /// The house as a user sees it.
    pub(crate) fn as_user(&self, user: i64, role: Role) -> Guest<'_> {
        self.showing(bearer(user, role))
    }

    /// The house as it is seen by whoever shows this as `Authorization`.
    pub(crate) fn showing(&self, authorization: String) -> Guest<'_> {
        Guest {
            house: self,
            authorization: Some(authorization),
        }
    }

    /// The house as it is seen, through the edge, by whoever shows no token.
    pub(crate) fn anonymous(&self) -> Guest<'_> {
        Guest {
            house: self,
            authorization: None,
        }
    }

    /// Posts under an idempotency key.
    pub(crate) async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        let key = [("idempotency-key", key)];
        self.ask_with(Method::POST, path, &key, body).await
    }

    /// A number that a query finds.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, Value::Null).await
    }

    /// Makes a user and returns the number.
    pub(crate) async fn user(&self, name: &str) -> i64 {
        let email = format!("{name}@example.org");
        let user = serde_json::json!({"email": email, "username": name, "full_name": name});
        self.post("/users", user)
            .await
            .expect(StatusCode::CREATED)
            .json()["id"]
            .as_i64()
            .unwrap()
    }

    /// Makes and publishes a course and returns the number.
    pub(crate) async fn course(&self, seats: i64) -> i64 {
        let course = serde_json::json!({
            "title": "Tides", "category": "science", "difficulty_level": "beginner", "max_students": seats,
            "price": "49.00",
        });
        let id = self
            .post("/courses", course)
            .await
            .expect(StatusCode::CREATED)
            .json()["id"]
            .as_i64()
            .unwrap();
        self.post(&format!("/courses/{id}/publish"), Value::Null)
            .await
            .expect(StatusCode::OK);
        id
    }

    /// Runs statements by hand, as an operator would.
    pub(crate) async fn sql(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&self.pool).await.unwrap();
    }

    /// The value of a metric, with its labels as they are written; nothing when it is not there.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.send(Method::GET, "/metrics", &[], "").await;
        let text = String::from_utf8(metrics.expect(StatusCode::OK).bytes.to_vec()).unwrap();
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Reads as the edge does, which has heard of the position.
    pub(crate) async fn get_from(&self, path: &str, lsn: &str) -> Answer {
        let headers = [("x-service-token", TOKEN), ("tidegate-lsn", lsn)];
        self.send(Method::GET, path, &headers, "").await
    }

    /// All tags that wait in the outbox, sorted, each once.
    pub(crate) async fn outbox(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT DISTINCT coalesce(tag, 'null') COLLATE \"C\" AS tag FROM outbox, unnest(tags) AS tag ORDER BY tag",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}

/// Somebody who asks.
pub(crate) struct Guest<'a> {
    house: &'a House,
    authorization: Option<String>,
}

impl Guest<'_> {
    /// Asks with fields beside those that every request has.
    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut headers = vec![
            ("x-service-token", TOKEN),
            ("content-type", "application/json"),
        ];
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        headers.extend(more);
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.house.raw(method, path, &headers, body).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        self.ask_with(method, path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, body).await
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The field's value, or nothing when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Asserts that it is a problem, and returns the field that it names.
    #[track_caller]
    pub(crate) fn problem(self, status: StatusCode) -> Option<String> {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], status.as_u16());
        for member in ["type", "title", "detail"] {
            assert!(
                problem[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{member} is missing in {problem}"
            );
        }
        problem
            .get("field")
            .map(|field| field.as_str().unwrap().to_owned())
    }
}
