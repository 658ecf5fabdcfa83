//! A server under callgrind, and the files that callgrind writes.
//!
//! Callgrind counts each thread by itself. It writes a thread's counts down, and begins anew, before the thread calls
//! `accept4`; so a client that connects says when, and the thread that is counted is the one that serves.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tidegate_instructions::profile::total;

use crate::servers::{self, Server};

/// How the names of callgrind's files begin.
const FILE: &str = "counts";

/// Less than this share of the most that was counted between two connections is no round of requests.
const ROUND: f64 = 0.1;

/// A server's process; dropped, it ends.
pub(crate) struct Counted {
    process: Child,
    input: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    triggers: Vec<TcpStream>,
    /// Where callgrind writes.
    folder: PathBuf,
}

/// What was counted in one round.
pub(crate) struct Round {
    pub(crate) file: PathBuf,
    pub(crate) instructions: u64,
}

impl Counted {
    /// Starts a server under callgrind, which writes into `folder`.
    pub(crate) fn start(server: Server, origin: SocketAddr, folder: &Path) -> Counted {
        let program = std::env::current_exe().expect("this program has a file");
        let mut file = OsString::from("--callgrind-out-file=");
        file.push(folder.join(FILE));
        let mut process = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--separate-threads=yes"])
            .arg("--dump-before=accept4")
            .arg(file)
            .arg(program)
            .env(servers::SERVER, server.name())
            .env(servers::ORIGIN, origin.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("valgrind is installed");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let read = output.read_line(&mut line);
        read.expect("a server says where it listens");
        let address = line.trim().parse();
        Counted {
            input: process.stdin.take(),
            process,
            address: address.unwrap_or_else(|_| panic!("{server:?} did not start: {line:?}")),
            triggers: Vec::new(),
            folder: folder.to_owned(),
        }
    }

    /// Has the counts written down, before the server answers what is sent from now on.
    pub(crate) fn write_down(&mut self) {
        let trigger = TcpStream::connect(self.address).expect("the server listens");
        self.triggers.push(trigger);
    }

    /// Ends the server. Its last so many rounds.
    pub(crate) fn finish(mut self, wanted: usize) -> Vec<Round> {
        self.end();
        let folder = std::fs::read_dir(&self.folder).expect("callgrind's folder can be read");
        let rounds = folder.flatten().filter_map(|entry| {
            let number = number(entry.file_name().to_str()?)?;
            let file = entry.path();
            let instructions = total(&std::fs::read_to_string(&file).ok()?)?;
            Some((number, Round { file, instructions }))
        });
        let mut rounds: Vec<(usize, Round)> = rounds.collect();
        let most = rounds.iter().map(|(_, round)| round.instructions).max();
        let least = most.unwrap_or_default() as f64 * ROUND;
        rounds.retain(|(_, round)| round.instructions as f64 > least);
        rounds.sort_by_key(|(number, _)| *number);
        let first = rounds.len().checked_sub(wanted);
        let first = first.expect("callgrind writes a file for each connection");
        rounds.drain(..first);
        rounds.into_iter().map(|(_, round)| round).collect()
    }

    fn end(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end();
    }
}

/// The number in `counts.NUMBER-THREAD`; what is written when the process ends has none.
fn number(name: &str) -> Option<usize> {
    let (number, _) = name
        .strip_prefix(FILE)?
        .strip_prefix('.')?
        .split_once('-')?;
    number.parse().ok()
}
