//! `tidegate run`: an edge, from a configuration file or before a single origin, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use tidegate_edge::config::Config;
use tidegate_edge::startup::{Cancel, Edge, Options, StartError};

use crate::failure::Failure;
use crate::stop::{Stop, runtime};

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Instead of a file: one origin, behind a cache that does what HTTP allows.
    #[arg(long, value_name = "URL", group = "what")]
    origin: Option<String>,
    /// Where clients connect; overrules the file.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where administration listens; overrules the file.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Worker threads, 0 for one on each core; overrules the file.
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = configuration(arguments)?;
    let runtime = runtime(1)?;
    let mut stop = Stop::listen(&runtime)?;
    let cancel = Cancel::default();
    let options = options(cancel.clone());
    let mut starting = runtime.spawn_blocking(move || Edge::start(config, options));
    let started = runtime.block_on(async {
        tokio::select! {
            biased;
            started = &mut starting => Some(started),
            // Compiling may take minutes, and whoever wants this to stop shall not wait for that.
            () = stop.asked() => match cancel.cancel() {
                true => None,
                false => Some(starting.await),
            },
        }
    });
    let started = started.unwrap_or(Ok(Err(StartError::Cancelled)));
    match started.map_err(|_| Failure::failed("the edge panicked as it started"))? {
        Ok(edge) => {
            runtime.block_on(stop.asked());
            edge.drain();
        }
        Err(StartError::Cancelled) => {}
        Err(error) => return Err(failure(error)),
    }
    tracing::info!("edge stopped");
    runtime.shutdown_background();
    Ok(())
}

/// Starts an edge with the plugins that ship with the binary.
pub(crate) fn start(config: Config) -> Result<Edge, Failure> {
    Edge::start(config, options(Cancel::default())).map_err(failure)
}

fn options(cancel: Cancel) -> Options {
    Options {
        builtin_plugins: tidegate_plugins::ALL,
        cancel,
        ..Options::default()
    }
}

fn failure(error: StartError) -> Failure {
    match error {
        StartError::Config(_)
        | StartError::CodeCache(_)
        | StartError::Plugins(_)
        | StartError::Plugin(..)
        | StartError::Handlers(_)
        | StartError::Handler(..) => Failure::refused(error),
        StartError::Listen { .. } | StartError::Worker(_) | StartError::Cancelled => {
            Failure::failed(error)
        }
    }
}

fn configuration(arguments: Arguments) -> Result<Config, Failure> {
    let read = match (&arguments.config, &arguments.origin) {
        (Some(file), _) => Config::from_file(file),
        (None, Some(origin)) => Config::forwarding_to(origin),
        (None, None) => return Err(Failure::refused("either --config or --origin is needed")),
    };
    let mut config = read.map_err(Failure::refused)?;
    if let Some(listen) = arguments.listen {
        config.server.listen = listen;
    }
    if let Some(admin) = arguments.admin {
        config.server.admin = Some(admin);
    }
    if let Some(workers) = arguments.workers {
        config.server.workers = workers;
    }
    Ok(config)
}
