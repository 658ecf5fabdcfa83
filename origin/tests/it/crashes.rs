//! Killed in the midst of it all: what was answered with 202 is in the table, each event once.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tidegate_origin::{Activity, Config, access::Role};
use tidegate_services::{Postgres, Redis};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use crate::support::{ADMIN, House, TOKEN, activity, bearer, config, patiently, told};

/// The variables by which the program below is told where its servers are; without them it is no program.
const DATABASE: &str = "CRASHES_DATABASE";
const REDIS: &str = "CRASHES_REDIS";
/// What it says before its address.
const LISTENS: &str = "the origin listens on ";

/// Not a test by itself: the origin that the tests below kill. It ends with its standard input.
#[test]
fn origin_to_be_killed() {
    let (Ok(database), Ok(redis)) = (env::var(DATABASE), env::var(REDIS)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::told(Config {
        activity: Activity {
            redis_url: Some(redis),
            events_claim: Duration::from_millis(200),
            events_batch: 100,
            ..Activity::default()
        },
        ..config(database)
    }));
    println!("{LISTENS}{}", house.origin.addr());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// An origin in a process of its own.
struct Program {
    child: Child,
    address: SocketAddr,
    _until: ChildStdin,
}

impl Program {
    fn start(postgres: &Postgres, redis: &Redis) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["crashes::origin_to_be_killed", "--exact", "--nocapture"])
            .env(DATABASE, postgres.url())
            .env(REDIS, redis.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let until = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, address) = line.split_once(LISTENS)?;
                Some(address.parse().unwrap())
            })
            .expect("it says where it listens");
        // Whatever it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            _until: until,
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that send events without end, each batch until it is answered with 202.
struct Load {
    address: watch::Sender<SocketAddr>,
    answered: Arc<Mutex<BTreeSet<Uuid>>>,
    refused: watch::Sender<usize>,
    /// Reactions that were sent, each once, and those of them that were answered with 202.
    reactions: Arc<[AtomicI64; 2]>,
    stop: watch::Sender<bool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self {
            address: watch::Sender::new(address),
            answered: Arc::default(),
            refused: watch::Sender::new(0),
            reactions: Arc::default(),
            stop: watch::Sender::new(false),
            clients: Vec::new(),
        };
        for user in 0..4 {
            let (address, stop) = (load.address.subscribe(), load.stop.subscribe());
            let (answered, refused) = (load.answered.clone(), load.refused.clone());
            let reactions = load.reactions.clone();
            load.clients.push(tokio::spawn(async move {
                while !*stop.borrow() {
                    let ids: Vec<_> = (0..10).map(|_| Uuid::now_v7()).collect();
                    let batch: Value = ids
                        .iter()
                        .map(|id| json!({"id": id, "user_id": user, "event_type": "load"}))
                        .collect();
                    let body = Bytes::from(batch.to_string());
                    let at = *address.borrow();
                    reactions[0].fetch_add(1, Ordering::Relaxed);
                    let reaction = Bytes::from_static(br#"{"reaction": "like"}"#);
                    if post(at, "/reactions/load", reaction).await == Some(StatusCode::ACCEPTED) {
                        reactions[1].fetch_add(1, Ordering::Relaxed);
                    }
                    loop {
                        let at = *address.borrow();
                        if post(at, "/events", body.clone()).await == Some(StatusCode::ACCEPTED) {
                            answered.lock().unwrap().extend(ids);
                            break;
                        }
                        refused.send_modify(|refused| *refused += 1);
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            }));
        }
        load
    }

    fn answered(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// Waits until so many more events have been answered.
    async fn goes_on(&self) {
        let before = self.answered();
        patiently("events are accepted", || async {
            self.answered() > before + 200
        })
        .await;
    }

    /// Waits until something is refused from now on.
    async fn is_refused(&self) {
        let before = *self.refused.borrow();
        patiently("events are refused", || async {
            *self.refused.borrow() > before
        })
        .await;
    }

    /// Ends when all that was sent has been answered, and returns it.
    async fn finish(self) -> BTreeSet<Uuid> {
        self.stop.send_replace(true);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut self.answered.lock().unwrap())
    }
}

/// The answer's status; nothing when there is none.
async fn post(address: SocketAddr, path: &str, body: Bytes) -> Option<StatusCode> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{address}{path}"))
        .header("x-service-token", TOKEN)
        .header("authorization", bearer(ADMIN, Role::Admin))
        .header("content-type", "application/json")
        .body(Full::new(body))
        .unwrap();
    let response = client.request(request).await.ok()?;
    let status = response.status();
    response.into_body().collect().await.ok()?;
    Some(status)
}

async fn table(url: &str) -> Option<Vec<Uuid>> {
    let mut connection = PgConnection::connect(url).await.ok()?;
    sqlx::query_scalar("SELECT id FROM events ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .ok()
}

async fn sum_of_reactions(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT count FROM reactions")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// A folder that the database's user can reach.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_what_was_answered_is_in_the_table_once() {
    let folder = folder();
    let mut postgres = Postgres::start_in(&folder.path().join("postgres")).unwrap();
    let mut redis = Redis::durable_in(&folder.path().join("redis")).unwrap();
    let mut program = Program::start(&postgres, &redis);
    let load = Load::start(program.address);
    load.goes_on().await;

    for _ in 0..2 {
        program.kill();
        load.is_refused().await;
        program = Program::start(&postgres, &redis);
        load.address.send_replace(program.address);
        load.goes_on().await;

        redis.kill();
        load.is_refused().await;
        redis.restart().unwrap();
        load.goes_on().await;

        postgres.kill();
        // The stream takes events while there is no database.
        load.goes_on().await;
        postgres.restart().unwrap();
        load.goes_on().await;
    }
    // Events are on their way when the origin goes.
    program.kill();
    program = Program::start(&postgres, &redis);
    load.address.send_replace(program.address);

    let reactions = load.reactions.clone();
    let answered = load.finish().await;
    assert!(answered.len() > 1_600, "{}", answered.len());
    patiently("all that was answered is in the table", || async {
        table(&postgres.url())
            .await
            .is_some_and(|rows| rows.len() >= answered.len())
    })
    .await;
    // The key says that each is there once; and nothing is there that nobody sent.
    let rows = table(&postgres.url()).await.unwrap();
    assert!(rows.iter().copied().eq(answered.iter().copied()));
    patiently("all reactions are folded", || async {
        let mut left = redis::cmd("EXISTS");
        let left = left.arg("{tidegate-origin:reactions}:open");
        let left = left.arg("{tidegate-origin:reactions}:closed-batches");
        told(&redis, left).await == redis::Value::Int(0)
    })
    .await;
    let sum = sum_of_reactions(&postgres.url()).await;
    // What was answered is in the sum; what got no answer may be.
    let [sent, counted] = [0, 1].map(|which| reactions[which].load(Ordering::Relaxed));
    assert!(
        (counted..=sent).contains(&sum),
        "{counted}..={sent}, and not {sum}"
    );
    eprintln!(
        "origin, Redis and PostgreSQL killed: events answered 202: {}, rows: {}; reactions answered 202: {counted}, \
         sum: {sum}, sent: {sent}",
        answered.len(),
        rows.len()
    );
}

#[tokio::test]
async fn a_worker_that_is_dropped_in_the_midst_loses_nothing() {
    let redis = Redis::ephemeral().unwrap();
    let postgres = Postgres::ephemeral().unwrap();
    let settings = |workers| Config {
        activity: Activity {
            events_workers: workers,
            events_batch: 7,
            ..activity(&redis)
        },
        ..config(postgres.url())
    };
    let house = House::told(settings(0)).await;
    let load = Load::start(house.origin.addr());
    load.goes_on().await;
    for _ in 0..3 {
        // All of a runtime's tasks end where they are when it does.
        let crashing = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let settings = settings(2);
        let worker = crashing.spawn(async move { House::told(settings).await });
        let worker = worker.await.unwrap();
        let before = table(&postgres.url()).await.unwrap().len();
        patiently("the worker inserts", || async {
            table(&postgres.url()).await.unwrap().len() > before
        })
        .await;
        crashing.shutdown_background();
        std::mem::forget(worker);
        load.goes_on().await;
    }
    let answered = load.finish().await;
    let _worker = House::told(settings(2)).await;
    patiently("all that was answered is in the table", || async {
        table(&postgres.url()).await.unwrap().len() >= answered.len()
    })
    .await;
    let rows = table(&postgres.url()).await.unwrap();
    assert!(rows.iter().copied().eq(answered.iter().copied()));
    eprintln!(
        "workers dropped: events answered 202: {}, rows: {}",
        answered.len(),
        rows.len()
    );
}
