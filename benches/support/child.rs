//! An edge in a process of its own, so that its processor time can be told from everybody else's.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use crate::processor;

/// The variable that makes a benchmark the edge, with its configuration.
const CONFIG: &str = "TIDEGATE_BENCH_CONFIG";

/// In a process that [`Child::start`] started: runs its edge until the other end of standard input is
/// closed, and returns true.
pub(crate) fn is_child(options: impl FnOnce() -> Options) -> bool {
    let Some(config) = std::env::var_os(CONFIG) else {
        return false;
    };
    let config = Config::from_toml(&config.to_string_lossy(), "benchmark");
    let config = config.expect("the configuration is right");
    let edge = Edge::start(config, options()).expect("an edge starts on a free port");
    println!("{}", edge.addr());
    // Ends with the program that started it, however that ends.
    let _ = std::io::stdin().read(&mut [0]);
    true
}

/// The edge's process; dropped, it ends.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program again, as an edge with this configuration.
    pub(crate) fn start(config: &str) -> Child {
        let program = std::env::current_exe().expect("this program has a file");
        let mut process = Command::new(program)
            .env(CONFIG, config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let output = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the edge says where it listens");
        let address = line.trim().parse().expect("the edge says its address");
        Child { process, address }
    }

    /// What it has used of the processors so far.
    pub(crate) fn processor_time(&self) -> Duration {
        processor::time(self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
