//! Starts an origin before a temporary PostgreSQL and a temporary Redis, prints its address and an admin's token, and stops
//! all of them at the end of standard input. The edge's token is in `TIDEGATE_SERVICE_TOKEN`.

use std::{
    env,
    error::Error,
    future::Future,
    io::Read,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_origin::{
    Activity, Config, Lsn, Origin, PurgeSink, SinkError,
    access::{Role, sign},
};
use tidegate_services::{Postgres, Redis};

/// Takes tags and keeps none: there is no edge.
struct Nobody;

impl PurgeSink for Nobody {
    fn append(
        &self,
        _: Vec<String>,
        _: Option<Lsn>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let token = env::var("TIDEGATE_SERVICE_TOKEN")?;
    let (postgres, redis) = (Postgres::ephemeral()?, Redis::ephemeral()?);
    let config = Config {
        database_url: postgres.url(),
        service_token: token.clone(),
        jwt_secret: Some(token.clone()),
        listen: ([127, 0, 0, 1], 0).into(),
        pool_min: 2,
        pool_max: 10,
        replica_url: None,
        replica_deadline: tidegate_origin::REPLICA_DEADLINE,
        embeddings: tidegate_origin::Embeddings::default(),
        activity: Activity {
            redis_url: Some(redis.url()),
            ..Activity::default()
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let origin = runtime.block_on(async {
        let origin = Origin::start(config, Arc::new(Nobody)).await?;
        origin.seed().await?;
        Ok::<_, Box<dyn Error>>(origin)
    })?;
    // The first of the sample's users, for a day.
    let expires = SystemTime::now() + Duration::from_secs(24 * 3_600);
    let admin = sign(&token, 1, Role::Admin, expires);
    println!("http://{} {admin}", origin.addr());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(origin.shutdown());
    Ok(())
}
