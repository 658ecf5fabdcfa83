//! The demo while it runs: where it listens, which processes it has, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::command::tidegate;

/// Far longer than anything takes; a demo that hangs fails its test instead of stopping all others.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Demo {
    child: Child,
    lines: Receiver<String>,
    pub(crate) guide: String,
}

impl Demo {
    /// Starts a demo on free ports with its data in `folder`, and waits until it says that it is ready.
    pub(crate) fn start(folder: &Path) -> Demo {
        Demo::start_with(folder, |_| {})
    }

    pub(crate) fn start_with(folder: &Path, change: impl FnOnce(&mut Command)) -> Demo {
        let mut command = tidegate();
        command
            .args([
                "demo",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(folder)
            .stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("the binary can be started");
        let out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        let mut demo = Demo {
            child,
            lines,
            guide: String::new(),
        };
        while !demo.guide.contains("Ctrl-C stops") {
            let line = demo
                .lines
                .recv_timeout(PATIENCE)
                .expect("the demo gets ready");
            demo.guide.push_str(&line);
            demo.guide.push('\n');
        }
        demo
    }

    pub(crate) fn edge(&self) -> String {
        self.told("edge")[0].clone()
    }

    pub(crate) fn admin(&self) -> String {
        self.told("admin")[0].clone()
    }

    pub(crate) fn admin_token(&self) -> String {
        self.told("admin")[2].clone()
    }

    /// The URL of its database.
    pub(crate) fn postgres(&self) -> String {
        self.told("postgres")[0].clone()
    }

    pub(crate) fn purge_token(&self) -> String {
        let (_, after) = self
            .guide
            .split_once("authorization: Bearer ")
            .expect("the guide shows a purge");
        after.split('\'').next().unwrap_or_default().to_owned()
    }

    /// The `Authorization` of a user whom the guide gives a token: `ADA`, `BEN`, `ROOT`.
    pub(crate) fn user(&self, name: &str) -> String {
        let line = |line: &str| {
            line.trim()
                .strip_prefix(name)?
                .strip_prefix('=')
                .map(str::to_owned)
        };
        let token = self.guide.lines().find_map(line);
        format!("Bearer {}", token.expect("the guide has a token for them"))
    }

    /// The words of the line that begins with `name`, without the scheme of a URL.
    fn told(&self, name: &str) -> Vec<String> {
        let line = self
            .guide
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        let words = line
            .expect("the guide has a line for it")
            .split_whitespace()
            .skip(1);
        words
            .map(|word| word.trim_start_matches("http://").to_owned())
            .collect()
    }

    /// All processes below the demo's own.
    pub(crate) fn descendants(&self) -> Vec<Process> {
        let all = Process::all();
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while at < found.len() {
            let parent = found[at];
            let children = all.iter().filter(|process| process.parent == parent);
            found.extend(children.map(|process| process.id));
            at += 1;
        }
        all.into_iter()
            .filter(|process| found[1..].contains(&process.id))
            .collect()
    }

    /// Sends a signal and waits for the end: the exit code.
    pub(crate) fn end(mut self, signal: libc::c_int) -> Option<i32> {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process number fits");
        // SAFETY: kill takes two integers, and the child has not been waited for.
        unsafe { libc::kill(id, signal) };
        // Its output ends when it does.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child
            .wait()
            .expect("the demo can be waited for")
            .code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process as `/proc` shows it; number and start time together are never used twice.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Process {
    id: u32,
    parent: u32,
    started: String,
    pub(crate) name: String,
}

impl Process {
    fn all() -> Vec<Process> {
        let entries = fs::read_dir("/proc").expect("there is a /proc");
        let numbers = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(Process::read).collect()
    }

    /// `NUMBER (NAME) STATE PARENT … STARTED …`: the name may hold anything, the rest has no brackets.
    fn read(id: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Process {
            id,
            parent: fields.get(1)?.parse().ok()?,
            started: (*fields.get(19)?).to_owned(),
            name: name.to_owned(),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Process::read(self.id).is_some_and(|now| now.started == self.started)
    }
}
