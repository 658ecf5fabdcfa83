//! Where the origin's relay puts the tags of its writes, so that they fall everywhere.
//!
//! With Redis that is the purge log itself: one append reaches every edge. Without it, each edge keeps a log of its
//! own, and the relay posts to the admin listeners of all of them; it is told of success only once all have taken it,
//! and repeats are harmless.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;

use serde_json::{Value, json};
use tidegate_edge::purge::{Lsn, Record, Scope, Stream};
use tidegate_origin::{PurgeSink, SinkError};
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::environment::{admin_token, set};
use crate::failure::Failure;

/// Tags in one order to an edge: few, so that the limits of an edge let them through one after the other.
const CHUNK: usize = 250;
/// How long an edge may take to answer: others wait for what comes behind.
const ANSWER: Duration = Duration::from_secs(3);
/// Until an edge that had enough of orders is asked again.
const PAUSE: Duration = Duration::from_millis(250);

type Appending<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// The sink that the environment names: the log in `REDIS_URL`, else the edges in `TIDEGATE_EDGES`.
///
/// # Errors
/// When it names neither: writes would then stay in caches until they expire, unnoticed.
pub(crate) fn from_environment() -> Result<Arc<dyn PurgeSink>, Failure> {
    if let Some(url) = set("REDIS_URL") {
        return log_at(&url);
    }
    let Some(edges) = set("TIDEGATE_EDGES") else {
        return Err(Failure::refused(
            "neither REDIS_URL nor TIDEGATE_EDGES is set, so writes would purge no cache; \
             set one, or pass --without-edges to `tidegate origin`",
        ));
    };
    let named = edges
        .split(',')
        .map(str::trim)
        .filter(|edge| !edge.is_empty());
    let edges: Result<Vec<_>, String> = named
        .map(|edge| Admin::at(edge, admin_token()).map(Arc::new))
        .collect();
    match edges {
        Ok(edges) => Ok(Arc::new(Edges(edges))),
        Err(message) => Err(Failure::refused(format!("TIDEGATE_EDGES: {message}"))),
    }
}

/// The log in the Redis at `url`, of the deployment that `TIDEGATE_PREFIX` names.
pub(crate) fn log_at(url: &str) -> Result<Arc<dyn PurgeSink>, Failure> {
    let prefix = set("TIDEGATE_PREFIX");
    let stream = Stream::new(url, prefix.as_deref().unwrap_or("tidegate"));
    Ok(Arc::new(Log(stream.map_err(|error| {
        Failure::refused(format!("REDIS_URL: {error}"))
    })?)))
}

/// The purge log itself.
struct Log(Stream);

impl PurgeSink for Log {
    fn append(&self, tags: Vec<String>, seen: Option<tidegate_origin::Lsn>) -> Appending<'_> {
        Box::pin(async move {
            match self.0.append(&records(tags, seen)).await {
                Ok(_position) => Ok(()),
                Err(error) => Err(SinkError(error.to_string())),
            }
        })
    }
}

/// How far a replica must be to show the changes. Where that is not known, none is.
fn lsn_of(seen: Option<tidegate_origin::Lsn>) -> Lsn {
    seen.and_then(|seen| seen.to_string().parse().ok())
        .unwrap_or(Lsn::PRIMARY)
}

/// Hard records of the tags.
fn records(tags: Vec<String>, seen: Option<tidegate_origin::Lsn>) -> Vec<Record> {
    let lsn = lsn_of(seen);
    let tags = tags.into_iter().map(Scope::Tag);
    tags.map(|tag| Record::hard(tag).with_lsn(lsn)).collect()
}

/// Edges that each keep a log of their own.
struct Edges(Vec<Arc<Admin>>);

impl PurgeSink for Edges {
    /// All edges are told, also when one of them does not take it: that one alone must not keep stale what others show.
    fn append(&self, tags: Vec<String>, seen: Option<tidegate_origin::Lsn>) -> Appending<'_> {
        Box::pin(async move {
            let lsn = lsn_of(seen).to_string();
            let orders = tags.chunks(CHUNK);
            let orders = orders.map(|tags| json!({ "tags": tags, "lsn": lsn }));
            let orders: Arc<[Value]> = orders.collect();
            let mut telling = JoinSet::new();
            for edge in &self.0 {
                telling.spawn(tell(Arc::clone(edge), Arc::clone(&orders)));
            }
            let told = telling.join_all().await;
            told.into_iter()
                .collect::<Result<(), String>>()
                .map_err(SinkError)
        })
    }
}

/// Sends one order after the other. An edge that takes no more for now is asked again, for as long as the relay waits.
async fn tell(edge: Arc<Admin>, orders: Arc<[Value]>) -> Result<(), String> {
    for order in &*orders {
        loop {
            let answer = tokio::time::timeout(ANSWER, edge.post("/purge", order));
            let silent = |_| format!("no answer from {} within {ANSWER:?}", edge.address());
            let (status, text) = answer.await.map_err(silent)??;
            if status.is_success() {
                break;
            }
            if status != StatusCode::TOO_MANY_REQUESTS {
                let address = edge.address();
                return Err(format!("{address} answered {status}: {}", text.trim()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// No edge at all: for an origin that runs alone.
pub(crate) struct Nobody;

impl PurgeSink for Nobody {
    fn append(&self, _tags: Vec<String>, _seen: Option<tidegate_origin::Lsn>) -> Appending<'_> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An edge that starts after the origin it stands before: until it is there, the relay keeps what it has.
#[derive(Default)]
pub(crate) struct Later(OnceLock<Edges>);

impl Later {
    pub(crate) fn is(&self, edge: Admin) {
        let _ = self.0.set(Edges(vec![Arc::new(edge)]));
    }
}

impl PurgeSink for Later {
    fn append(&self, tags: Vec<String>, seen: Option<tidegate_origin::Lsn>) -> Appending<'_> {
        match self.0.get() {
            Some(edge) => edge.append(tags, seen),
            None => Box::pin(std::future::ready(Err(SinkError(
                "the edge has not started yet".to_owned(),
            )))),
        }
    }
}
