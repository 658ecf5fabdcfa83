//! `tidegate run` and `tidegate origin` while they run, as processes of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Far longer than a start takes; one that hangs fails its test instead of stopping all others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that listens; killed when the value is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
}

impl Running {
    /// Starts a command of the binary and waits until it says where it listens.
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command
            .env("TIDEGATE_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let (send, lines) = mpsc::channel();
        // Read to its end, so that nobody waits for a full pipe.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = Vec::new();
        loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it never listened: {said:#?}");
            };
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let is_listening = event["message"]
                .as_str()
                .is_some_and(|message| message.contains("listen"));
            if let (true, Some(address)) = (is_listening, event["address"].as_str()) {
                let address = address.to_owned();
                return Running { child, address };
            }
            said.push(line);
        }
    }

    /// Bytes of it in memory.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.expect("the kernel says how much") << 10
    }

    /// Ends it as a crash would, and waits until it has ended.
    pub(crate) fn kill(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL, to the process that this value started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
