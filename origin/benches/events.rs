//! How many events a second the origin accepts and inserts, with every answer and every row on disk: Redis syncs its
//! append-only file before each answer (`appendfsync always`), PostgreSQL its log at each commit (`fsync` on).
//!
//!     cargo bench -p tidegate-origin --bench events [-- EVENTS]
//!
//! Clients, origin, Redis and PostgreSQL share the machine; the clients are part of this program. A row of the output is
//! a run: how many events a request has, how many rows a statement inserts, and the rates from the first request to the
//! last 202 and to the last row.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::{
    env,
    fmt::Write,
    fs,
    future::Future,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tidegate_origin::{
    Activity, Config, Lsn, Origin, PurgeSink, SinkError,
    access::{Role, sign},
};
use tidegate_services::{Postgres, Redis};
use uuid::Uuid;

/// Requests that are under way at the same time.
const CLIENTS: i64 = 16;
/// What tokens of users are signed with.
const SECRET: &str = "the key that signs who it is that asks";
/// How many events a run sends, unless it is told.
const EVENTS: i64 = 200_000;

struct NoLog;

impl PurgeSink for NoLog {
    fn append(
        &self,
        _: Vec<String>,
        _: Option<Lsn>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(async { Ok(()) })
    }
}

type Http = Client<HttpConnector, Full<Bytes>>;

fn main() {
    let events = env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(EVENTS);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("events  per request  per insert  accepted/s  inserted/s");
    for (request, batch) in [(100, 500), (500, 500), (500, 1_000), (1, 500)] {
        let name = format!("{request}-{batch}");
        let postgres = Postgres::start_in(&folder.path().join(format!("postgres-{name}"))).unwrap();
        let redis = Redis::durable_in(&folder.path().join(format!("redis-{name}"))).unwrap();
        // A request for each event is another order of magnitude.
        let events = if request == 1 { events / 10 } else { events };
        let (accepted, inserted) = runtime.block_on(run(&postgres, &redis, events, request, batch));
        println!("{events:>6}  {request:>11}  {batch:>10}  {accepted:>10.0}  {inserted:>10.0}");
    }
}

async fn run(
    postgres: &Postgres,
    redis: &Redis,
    events: i64,
    request: i64,
    batch: usize,
) -> (f64, f64) {
    let config = Config {
        database_url: postgres.url(),
        service_token: "token".to_owned(),
        jwt_secret: Some(SECRET.to_owned()),
        listen: ([127, 0, 0, 1], 0).into(),
        pool_min: 2,
        pool_max: 10,
        replica_url: None,
        replica_deadline: tidegate_origin::REPLICA_DEADLINE,
        activity: Activity {
            redis_url: Some(redis.url()),
            events_batch: batch,
            ..Activity::default()
        },
        embeddings: tidegate_origin::Embeddings::default(),
    };
    let origin = Origin::start(config, Arc::new(NoLog)).await.unwrap();
    let address = origin.addr();
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    // Whoever speaks for many users is an admin.
    let expires = SystemTime::now() + Duration::from_secs(24 * 3_600);
    let bearer = format!("Bearer {}", sign(SECRET, 0, Role::Admin, expires));
    let left = Arc::new(AtomicI64::new(events));
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|user| {
            let (client, left, bearer) = (client.clone(), left.clone(), bearer.clone());
            tokio::spawn(async move {
                while left.fetch_sub(request, Ordering::Relaxed) > 0 {
                    send(&client, address, &bearer, body(user, request)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let accepted = begin.elapsed();
    while inserted(&client, address).await < events {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let inserted = begin.elapsed();
    origin.shutdown().await;
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    (rate(accepted), rate(inserted))
}

/// Events as they come from a browser, some 300 bytes each.
fn body(user: i64, count: i64) -> String {
    let mut body = "[".to_owned();
    for place in 0..count {
        let comma = if place == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"id":"{}","user_id":{user},"event_type":"course_view","event_data":{{"course_id":{place},"from":"search"}},"metadata":{{"ip_address":"192.0.2.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","referrer":"https://example.org/courses"}}}}"#,
            Uuid::now_v7()
        )
        .unwrap();
    }
    body.push(']');
    body
}

async fn send(client: &Http, address: SocketAddr, bearer: &str, body: String) {
    let request = Request::post(format!("http://{address}/events"))
        .header("x-service-token", "token")
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    response.into_body().collect().await.unwrap();
}

/// How many events the origin says are in the table.
async fn inserted(client: &Http, address: SocketAddr) -> i64 {
    let request = Request::get(format!("http://{address}/metrics"))
        .body(Full::default())
        .unwrap();
    let response = client.request(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix("tidegate_events_inserted_total "));
    value.unwrap().parse().unwrap()
}
