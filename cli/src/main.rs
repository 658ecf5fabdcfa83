//! `tidegate`: the one binary. A subcommand is a file; what they share is how they fail (`failure`), how they are
//! stopped (`stop`), what they log (`logging`), which addresses they may take (`address`) and how they speak to an
//! edge's administration (`admin`), and how lists are shown (`table`).
//!
//! Exit codes: 0 done, 1 it failed, 2 what was asked for makes no sense (arguments, environment, configuration).

mod address;
mod admin;
mod check;
mod demo;
mod environment;
mod explain;
mod failure;
mod logging;
mod origin;
mod plugin;
mod plugins;
mod purge;
mod purges;
mod relay;
mod run;
mod sink;
mod stop;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use mimalloc::MiMalloc;
use table::plain_lines;

/// What a request allocates is small, short-lived and often given back by another thread than took it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A programmable HTTP cache for the edge, and the origin behind it.
#[derive(Parser)]
#[command(name = "tidegate", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "Without a command, the demo starts.\n\
    Environment: TIDEGATE_LOG sets what is logged (error, warn, info, debug, or by module), TIDEGATE_LOG_FORMAT=json how.";

#[derive(Subcommand)]
enum Command {
    /// Runs an edge.
    Run(run::Arguments),
    /// Runs the origin, configured by its environment.
    Origin(origin::Arguments),
    /// Takes the purges of a database of your own to the edges.
    Relay(relay::Arguments),
    /// Starts everything on this machine: Postgres, Redis, the origin and an edge before it.
    Demo(demo::Arguments),
    /// Checks a configuration file, and the plugins that it names.
    #[command(alias = "validate", short_flag = 't')]
    Check(check::Arguments),
    /// Explains which rules decide about a request: stored or not and why, fresh until when, key, variant and tags.
    Explain(explain::Arguments),
    /// Purges by URL, tag, prefix or host, or everything, through an edge's admin listener.
    Purge(purge::Arguments),
    /// Makes, builds, inspects and tests plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Lists the plugins that an edge uses, or has it read new versions of them.
    Plugins(plugins::Arguments),
    /// Lists the recent purges, and which edges have applied them.
    Purges(purges::Arguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse()
        .command
        .unwrap_or_else(|| Command::Demo(demo::Arguments::default()));
    match carry_out(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // It may quote what came from outside.
            eprintln!("tidegate: {}", plain_lines(&failure.to_string()));
            failure.exit_code()
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    // These speak on standard output; their log is for what goes wrong.
    logging::start(
        if matches!(command, Command::Demo(_) | Command::Plugin(_)) {
            "warn"
        } else {
            "info"
        },
    )?;
    match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Origin(arguments) => origin::run(arguments),
        Command::Relay(arguments) => relay::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Purge(arguments) => purge::run(arguments),
        Command::Plugin(command) => plugin::run(command),
        Command::Plugins(arguments) => plugins::run(arguments),
        Command::Purges(arguments) => purges::run(arguments),
    }
}
