//! `tidegate check`: reads a configuration as `run` would, plugins included, and starts nothing.

use std::path::PathBuf;

use clap::Args;
use tidegate_edge::config::Config;
use tidegate_edge::filters::Plugins;

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
    load_plugins(&config).map_err(|message| Failure::refused(format!("{file}: {message}")))?;
    println!(
        "{file}: good ({}, {}, {})",
        counted(config.origins.len(), "origin"),
        counted(config.routes.len(), "route"),
        counted(config.plugins.len(), "plugin"),
    );
    Ok(())
}

/// Compiles every plugin and puts each route's configuration before it, as a start would.
fn load_plugins(config: &Config) -> Result<(), String> {
    let plugins =
        Plugins::load(&config.plugins, tidegate_plugins::ALL).map_err(|error| error.to_string())?;
    for route in &config.routes {
        let chain = plugins.chain(&route.plugins);
        chain.map_err(|error| format!("route {:?}: {error}", route.name()))?;
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
