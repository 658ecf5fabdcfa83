//! `tidegate plugin`: from nothing to a plugin that is tried out. Each of its commands is a file; the scenarios that
//! `test` runs have a format of their own (`scenario`), an origin that does as they say (`origin`) and a client that
//! asks as they say (`client`).

mod build;
mod client;
mod component;
mod edge;
mod expect;
mod inspect;
mod new;
mod origin;
mod scenario;
mod test;

use clap::Subcommand;

use crate::failure::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a folder with a plugin that builds, and a scenario that tries it.
    New(new::Arguments),
    /// Builds a plugin and makes it a component.
    Build(build::Arguments),
    /// Says what a component is, what it asks for and which hooks it has.
    Inspect(inspect::Arguments),
    /// Runs a scenario against a real edge with this plugin: a scripted origin, a clock that the scenario moves.
    Test(test::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New(arguments) => new::run(arguments),
        Command::Build(arguments) => build::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Test(arguments) => test::run(arguments),
    }
}
