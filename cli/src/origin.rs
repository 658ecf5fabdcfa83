//! `tidegate origin`: the origin by itself, configured by its environment, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tidegate_origin::{Config, Origin};

use crate::failure::Failure;
use crate::sink;
use crate::stop::{Stop, runtime};

/// How many threads the origin has: it waits for Postgres most of the time.
const THREADS: usize = 2;

/// Its settings are DATABASE_URL, TIDEGATE_SERVICE_TOKEN, and where purges go: REDIS_URL, else TIDEGATE_EDGES.
/// DATABASE_REPLICA_URL names a standby that may answer reads.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where it listens; overrules the environment.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Puts sample data into an empty database.
    #[arg(long)]
    seed: bool,
    /// Runs without an edge: writes purge nothing.
    #[arg(long)]
    without_edges: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config = Config::from_env().map_err(Failure::refused)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    let runtime = runtime(THREADS)?;
    let mut stop = Stop::listen(&runtime)?;
    runtime.block_on(async {
        let sink = if arguments.without_edges {
            Arc::new(sink::Nobody)
        } else {
            sink::from_environment()?
        };
        let origin = Origin::start(config, sink).await.map_err(Failure::failed)?;
        if arguments.seed {
            origin.seed().await.map_err(Failure::failed)?;
        }
        stop.asked().await;
        origin.shutdown().await;
        tracing::info!("origin stopped");
        Ok(())
    })
}
