//! How many instructions a request takes, for each of the main paths, counted by callgrind.

mod bare;
mod callgrind;
mod client;
mod origin;
mod paths;
mod servers;

use callgrind::Counted;
use client::{CONNECTIONS, Clients};
use origin::Origin;
use paths::{PATHS, Path};

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
        for is_inclusive in [true, false] {
            println!("{}", if is_inclusive { "inclusive" } else { "self" });
            for line in callgrind::top(&counts[0].0, is_inclusive, requests, 60) {
                println!("{}", line.chars().take(200).collect::<String>());
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
}
