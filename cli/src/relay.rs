//! `tidegate relay`: takes the purges of a database of your own to the edges, until it is told to stop.

use std::net::SocketAddr;

use clap::Args;
use tidegate_origin::{Relay, outbox::WATCHING};

use crate::environment::set;
use crate::failure::Failure;
use crate::sink;
use crate::stop::{Stop, runtime};

/// Its settings are DATABASE_URL, and where purges go: REDIS_URL, else TIDEGATE_EDGES.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where it shows /metrics and /health; nowhere without it.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Prints the SQL that makes the outbox and the triggers in your database, and does nothing else.
    #[arg(long)]
    print_sql: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.print_sql {
        print!("{WATCHING}");
        return Ok(());
    }
    let database_url = set("DATABASE_URL")
        .ok_or_else(|| Failure::refused("the environment variable DATABASE_URL is not set"))?;
    let runtime = runtime(1)?;
    let mut stop = Stop::listen(&runtime)?;
    runtime.block_on(async {
        let sink = sink::from_environment()?;
        let relay = Relay::start(&database_url, arguments.listen, sink)
            .await
            .map_err(Failure::failed)?;
        stop.asked().await;
        relay.shutdown().await;
        tracing::info!("relay stopped");
        Ok(())
    })
}
