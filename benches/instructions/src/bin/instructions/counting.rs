//! Counts a path: starts its server, has it answer rounds of requests, and reads what that took.

use std::path::PathBuf;

use tidegate_instructions::profile::Profile;

use crate::callgrind::{Counted, Round};
use crate::client::{self, CONNECTIONS, Clients};
use crate::origin::Origin;
use crate::paths::Path;

/// Rounds, and requests in each.
const ROUNDS: usize = 5;
const REQUESTS: usize = 1024;

/// What a path takes.
pub(crate) struct Count {
    rounds: Vec<Round>,
    folder: PathBuf,
}

pub(crate) fn count(path: &Path) -> Count {
    let name = format!("tidegate-instructions-{}-{}", std::process::id(), path.name);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let origin = Origin::start();
    let mut server = Counted::start(path.server, origin.address, &folder);
    let mut clients = Clients::connect(server.address, path.protocol);
    for _ in 0..path.targets.count() {
        clients.ask(path);
    }
    origin.answer_together(CONNECTIONS);
    let bursts = REQUESTS / client::together(path);
    // The first makes the server warm.
    for _ in 0..=ROUNDS {
        server.write_down();
        for _ in 0..bursts {
            let head = clients.burst(path);
            assert!(head.contains(path.shows), "{}: {head}", path.name);
        }
    }
    server.write_down();
    // What comes after it is not counted; what came before has been written down once this is answered.
    clients.burst(path);
    let mut rounds = server.finish(ROUNDS);
    rounds.sort_by_key(|round| round.instructions);
    Count { rounds, folder }
}

impl Count {
    /// Instructions a request, in the round that took least: what others take more is waiting more often, and
    /// whatever is done once a second.
    pub(crate) fn least(&self) -> u64 {
        self.rounds[0].instructions / REQUESTS as u64
    }

    /// How much more the round took that took most, in percent.
    pub(crate) fn spread(&self) -> f64 {
        let least = self.rounds[0].instructions as f64;
        let most = self.rounds[ROUNDS - 1].instructions as f64;
        (most / least - 1.0) * 100.0
    }

    /// Where they went in the round that took least, and for how many requests.
    pub(crate) fn profile(&self) -> (Profile, usize) {
        let text = std::fs::read_to_string(&self.rounds[0].file);
        let text = text.expect("callgrind's file was read before");
        (Profile::parse(&text), REQUESTS)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
