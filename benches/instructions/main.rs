//! How many instructions a request takes, for each of the main paths, counted by callgrind.

mod bare;
mod callgrind;
mod client;
mod origin;
mod paths;
mod profile;
mod servers;

use callgrind::Counted;
use client::{CONNECTIONS, Clients};
use origin::Origin;
use paths::{PATHS, Path};
use profile::Profile;

/// As the edge has it that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bursts of requests in each round, and rounds.
const BURSTS: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    if let Some(server) = std::env::var_os(servers::SERVER) {
        let origin = std::env::var(servers::ORIGIN).expect("set beside it");
        servers::run(&server.to_string_lossy(), &origin);
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let profiles = arguments.iter().any(|word| word == "--profile");
    for path in PATHS {
        if wanted.is_empty() || wanted.iter().any(|wanted| **wanted == path.name) {
            count(path, profiles);
        }
    }
}

fn count(path: &Path, profiles: bool) {
    let folder =
        std::env::temp_dir().join(format!("instructions-{}-{}", std::process::id(), path.name));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let origin = Origin::start();
    let mut server = Counted::start(path.server, origin.address, Some(&folder));
    let mut clients = Clients::connect(server.address);
    for _ in 0..path.targets.count() {
        clients.ask(path);
    }
    origin.answer_together(CONNECTIONS);
    for _ in 0..BURSTS {
        clients.burst(path);
    }
    for _ in 0..ROUNDS {
        server.write_down();
        let mut head = String::new();
        for _ in 0..BURSTS {
            head = clients.burst(path);
        }
        assert!(head.contains(path.shows), "{}: {head}", path.name);
    }
    server.write_down();
    // What comes after it is not counted; it has been written down once that is answered.
    clients.burst(path);
    let counts = server.finish(ROUNDS);
    let requests = BURSTS * CONNECTIONS;
    let each: Vec<u64> = counts
        .iter()
        .map(|(_, count)| count / requests as u64)
        .collect();
    println!("{:20} {:?}", path.name, each);
    if profiles {
        let text = std::fs::read_to_string(&counts[0].0).expect("callgrind wrote it");
        print_profile(&Profile::parse(&text), requests);
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// The functions that take most, each with what it takes for one request.
fn print_profile(profile: &Profile, requests: usize) {
    let inclusive = profile.top(100, |function| function.inclusive);
    for (title, functions) in [
        ("by what they call, too", inclusive),
        ("by themselves", profile.top(60, |function| function.own)),
    ] {
        println!(
            "\nfunctions {title}; for each request:\n{:>9} {:>9} {:>7}",
            "inclusive", "own", "calls"
        );
        for function in functions {
            let each = |count: u64| count as f64 / requests as f64;
            let (inclusive, own) = (each(function.inclusive), each(function.own));
            let name: String = function.name.chars().take(150).collect();
            println!(
                "{inclusive:>9.0} {own:>9.0} {:>7.2}  {name}",
                each(function.calls)
            );
        }
    }
}
