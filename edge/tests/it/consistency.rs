//! The rule of the purge log, held against running edges: after an edge has acknowledged a purge,
//! no read that begins later there shows what was before it; a soft one permits it as stale alone.
//!
//! The origin answers with the version of an object. Writers raise it and have it purged at one of
//! three edges, readers compare; meanwhile answers are held back, the log is cut, emptied, killed,
//! and one edge's way to it goes silent. What each task does follows from a seed; how they
//! interleave does not, so a seed that failed is worth more than one try.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::AsyncCommands;
use tidegate_services::Redis;

use crate::support::edge::PURGE_TOKEN;
use crate::support::redis::{LOG, connected, started};
use crate::support::way::Way;
use crate::support::{Answer, Edge, Gate, Origin, answer, patiently};

const SEEDS: [u64; 2] = [1, 22];
const OBJECTS: usize = 4;
/// What each of two readers an edge does.
const READS: usize = 40;
/// What one writer an edge does.
const WRITES: usize = 12;

/// A number for each object.
#[derive(Default)]
struct Versions([AtomicU64; OBJECTS]);

impl Versions {
    fn of(&self, object: usize) -> u64 {
        self.0[object].load(Ordering::SeqCst)
    }

    fn raise(&self, object: usize, version: u64) {
        self.0[object].fetch_max(version, Ordering::SeqCst);
    }
}

/// What one edge has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Hard or soft.
    any: Versions,
    hard: Versions,
}

/// A sequence that follows from its seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn object(&mut self) -> usize {
        usize::try_from(self.below(OBJECTS as u64)).unwrap()
    }
}

/// The answers that the origin holds back.
type Held = Arc<Mutex<Vec<Gate>>>;

fn origin(versions: &Arc<Versions>, held: &Held) -> Origin {
    let (versions, held) = (Arc::clone(versions), Arc::clone(held));
    let asked_before = AtomicUsize::new(0);
    Origin::by(move |asked| {
        let object: usize = asked.target.trim_start_matches('/').parse().unwrap();
        let version = versions.of(object);
        let tag = format!("\"{version}\"");
        let is_known = asked.get("if-none-match") == Some(&*tag);
        let found: Answer = if is_known {
            answer("").status(304)
        } else {
            answer(version.to_string())
        };
        let found = found
            .with("cache-control", "max-age=3600, stale-while-revalidate=3600")
            .with("surrogate-key", &format!("o{object} everything"))
            .with("etag", &tag);
        if !asked_before
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(3)
        {
            return found;
        }
        let gate = Gate::closed();
        held.lock().unwrap().push(gate.clone());
        found.after(&gate)
    })
}

/// Reads, and compares with what was acknowledged before.
async fn read(edge: &Edge, acknowledged: &Acknowledged, object: usize) -> Result<(), String> {
    let (any, hard) = (acknowledged.any.of(object), acknowledged.hard.of(object));
    let shown = edge.get(&format!("/{object}")).await;
    let Ok(version) = shown.text().parse::<u64>() else {
        return Err(format!("{} {:?}", shown.status, shown.text()));
    };
    let is_stale = shown.cache("detail") == Some("stale-while-revalidate");
    let due = if is_stale { hard } else { any };
    if version >= due {
        return Ok(());
    }
    let told = shown.get("cache-status");
    Err(format!(
        "/{object} is {version}, and {due} was acknowledged: {told:?}"
    ))
}

/// Raises an object's version and has that purged.
async fn write(
    edge: &Edge,
    versions: &Versions,
    acknowledged: &Acknowledged,
    (object, kind): (usize, u64),
) {
    let version = versions.0[object].fetch_add(1, Ordering::SeqCst) + 1;
    let order = match kind {
        0 => format!("{{\"urls\": [\"edge.test/{object}\"], \"soft\": true}}"),
        1 => format!("{{\"tags\": [\"o{object}\"], \"soft\": true}}"),
        2 => format!("{{\"tags\": [\"o{object}\"]}}"),
        3 => format!("{{\"prefixes\": [\"edge.test/{object}\"]}}"),
        4 => "{\"all\": true}".to_owned(),
        _ => String::new(),
    };
    let receipt = match kind {
        0..=4 => edge.order(&order).await,
        _ => {
            let purge = edge.request("PURGE", &format!("/{object}"));
            purge.with("authorization", PURGE_TOKEN).send().await
        }
    };
    // Recorded, or in force here alone: acknowledged by this edge.
    assert!(matches!(receipt.status, 200 | 503), "{}", receipt.text());
    acknowledged.any.raise(object, version);
    if kind > 1 {
        acknowledged.hard.raise(object, version);
    }
}

/// What may happen to the log.
async fn harm(redis: &mut Redis, way: &Way, kind: usize) {
    let mut connection = connected(redis).await;
    match kind % 4 {
        0 => {
            let trim = redis::cmd("XTRIM")
                .arg(LOG)
                .arg(&["MAXLEN", "1"])
                .to_owned();
            let _: i64 = trim.query_async(&mut connection).await.unwrap();
        }
        1 => connection.del(LOG).await.unwrap(),
        2 => way.silence(),
        _ => {
            redis.kill();
            redis.restart().expect("redis starts again");
        }
    }
}

async fn runs(seed: u64) -> Vec<String> {
    let mut redis = started();
    let way = Way::to(&redis);
    let versions = Arc::new(Versions::default());
    let held = Held::default();
    let origin = origin(&versions, &held);
    let settings = |url: &str| {
        format!(
            "server.drain_timeout = \"50ms\"\nredis.deadline = \"50ms\"\nlog = {{ url = {url:?}, deadline = \"100ms\" }}"
        )
    };
    let urls: [String; 3] = [redis.url(), redis.url(), way.url()];
    let edges = urls.map(|url| {
        let edge = Edge::before(&origin).redis(&redis).with(&settings(&url));
        Arc::new((edge.start(), Acknowledged::default()))
    });
    let opener = {
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let gates = std::mem::take(&mut *held.lock().unwrap());
                gates.iter().for_each(Gate::open);
            }
        })
    };
    let mut tasks = Vec::new();
    for (number, edge) in edges.iter().enumerate() {
        for reader in 0..2 {
            let edge = Arc::clone(edge);
            let mut random = Random(seed * 100 + number as u64 * 10 + reader + 1);
            tasks.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..READS {
                    let failed = read(&edge.0, &edge.1, random.object()).await;
                    failures.extend(failed.err());
                }
                failures
            }));
        }
        let (edge, versions) = (Arc::clone(edge), Arc::clone(&versions));
        let mut random = Random(seed * 100 + number as u64 * 10 + 9);
        tasks.push(tokio::spawn(async move {
            let mut failures = Vec::new();
            for _ in 0..WRITES {
                let (object, kind) = (random.object(), random.below(6));
                write(&edge.0, &versions, &edge.1, (object, kind)).await;
                // Whoever writes reads what it wrote.
                failures.extend(read(&edge.0, &edge.1, object).await.err());
            }
            failures
        }));
    }
    let mut random = Random(seed);
    for (at, kind) in (1..).zip([random.below(4), 0, 3, 2, 1, random.below(4)]) {
        let reached = async {
            while origin.requests() < at * 15 && !tasks.iter().all(|task| task.is_finished()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        patiently("requests", reached).await;
        harm(&mut redis, &way, usize::try_from(kind).unwrap()).await;
    }
    let mut failures = Vec::new();
    for task in tasks {
        failures.extend(patiently("the tasks", task).await.unwrap());
    }
    opener.abort();
    held.lock().unwrap().iter().for_each(Gate::open);
    failures
}

#[tokio::test]
async fn no_read_shows_what_was_purged_before_it_began_whatever_becomes_of_the_log() {
    for seed in SEEDS {
        let failures = runs(seed).await;
        assert!(failures.is_empty(), "seed {seed}: {failures:#?}");
    }
}
