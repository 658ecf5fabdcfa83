//! How many instructions a request takes on each of the main paths: counted by callgrind, beside floors that no edge
//! on this stack can go below, and compared with a baseline.
//!
//! ```text
//! instructions [PATH…]             counts, and fails where a path takes more than its baseline allows
//! instructions --update [PATH…]    makes what it counts the baseline
//! instructions --profile [PATH…]   says where the instructions went
//! ```
//!
//! The server is a process of its own: this program again, under callgrind. Of it, the thread that serves is counted,
//! in user space. The kernel's work, the client and the origin are not.

mod bare;
mod callgrind;
mod client;
mod counting;
mod origin;
mod paths;
mod report;
mod servers;

use std::process::ExitCode;

use paths::{PATHS, Path};

/// As the edge has it that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the program was asked to do with what it counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Check,
    Update,
    Profile,
}

fn main() -> ExitCode {
    if let Some(server) = std::env::var_os(servers::SERVER) {
        servers::run(&server.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    let mut task = Task::Check;
    let mut paths: Vec<&Path> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--update" => task = Task::Update,
            "--profile" => task = Task::Profile,
            name => match PATHS.iter().find(|path| path.name == name) {
                Some(path) => paths.push(path),
                None => return complain(name),
            },
        }
    }
    if paths.is_empty() {
        paths = PATHS.iter().collect();
    }
    match task {
        Task::Check => report::check(&paths),
        Task::Update => report::update(&paths),
        Task::Profile => report::profile(&paths),
    }
}

fn complain(argument: &str) -> ExitCode {
    let names: Vec<&str> = PATHS.iter().map(|path| path.name).collect();
    eprintln!(
        "no path named {argument:?}; there are {}, and --update and --profile",
        names.join(", ")
    );
    ExitCode::from(2)
}
