//! From the commit of an `UPDATE` that nobody announces until what showed the row has fallen.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use sqlx::{Connection, PgConnection};
use tidegate_edge::purge::{Record, Stream};
use tidegate_origin::{Config, Lsn, Origin, PurgeSink, SinkError};
use tidegate_services::{Postgres, Redis};
use tokio::runtime::Builder;

use super::edges::edge;
use super::print;
use super::watching::Watcher;

const PATH: &str = "/courses/1";
const TOKEN: &str = "x-service-token = \"token\"";

pub(crate) fn run(rounds: usize) {
    let postgres = Postgres::ephemeral().expect("postgres is installed");
    let redis = Redis::ephemeral().expect("redis-server is installed");
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = postgres.url();
    let sink = Arc::new(Log(
        Stream::new(&redis.url(), "tidegate").expect("a URL of redis")
    ));
    let config = Config {
        database_url: url.clone(),
        service_token: "token".to_owned(),
        jwt_secret: None,
        listen: ([127, 0, 0, 1], 0).into(),
        pool_min: 2,
        pool_max: 10,
        replica_url: None,
        replica_deadline: tidegate_origin::REPLICA_DEADLINE,
        activity: tidegate_origin::Activity::default(),
        embeddings: tidegate_origin::Embeddings::default(),
    };
    let (origin, mut database) = runtime.block_on(async {
        let origin = Origin::start(config, sink)
            .await
            .expect("the origin starts");
        origin.seed().await.expect("there is room for sample data");
        let database = PgConnection::connect(&url).await.expect("postgres runs");
        (origin, database)
    });
    let edge = edge(origin.addr(), &redis, TOKEN);
    let watcher = Watcher::of(edge.addr(), PATH);
    let mut commit = || {
        runtime.block_on(async {
            sqlx::raw_sql("UPDATE courses SET title = title WHERE id = 1")
                .execute(&mut database)
                .await
                .expect("the course is there");
        });
        Instant::now()
    };
    let times = (0..rounds).map(|_| watcher.time(&mut commit)).collect();
    print("from a commit to its effect at an edge", times);
    watcher.end();
    edge.drain();
    runtime.block_on(origin.shutdown());
}

/// The purge log, as a place for tags.
struct Log(Stream);

impl PurgeSink for Log {
    fn append(
        &self,
        tags: Vec<String>,
        _seen: Option<Lsn>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(async move {
            let appended = self.0.append(&Record::tags(tags)).await;
            appended
                .map(drop)
                .map_err(|error| SinkError(error.to_string()))
        })
    }
}
