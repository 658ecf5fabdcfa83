//! `tidegate check`: reads a configuration as `run` would, plugins included, and starts nothing.

use std::path::PathBuf;

use clap::Args;
use tidegate_edge::config::Config;
use tidegate_edge::startup;

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.file.display();
    let config = Config::from_file(&arguments.file).map_err(Failure::refused)?;
    startup::check(&config, tidegate_plugins::ALL)
        .map_err(|error| Failure::refused(format!("{file}: {error}")))?;
    println!(
        "{file}: good ({}, {}, {})",
        counted(config.origins.len(), "origin"),
        counted(config.routes.len(), "route"),
        counted(config.plugins.len(), "plugin"),
    );
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
