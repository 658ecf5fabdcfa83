//! A server under callgrind, and what callgrind wrote down.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use crate::profile::total;
use crate::servers::{self, Server};

/// How the files begin that callgrind writes.
const FILE: &str = "counts";

/// A server's process; dropped, it ends.
pub(crate) struct Counted {
    process: std::process::Child,
    input: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    triggers: Vec<TcpStream>,
    /// Where callgrind writes.
    folder: PathBuf,
}

impl Counted {
    /// Starts a server under callgrind, which writes into `folder`, or without it.
    pub(crate) fn start(server: Server, origin: SocketAddr, folder: Option<&Path>) -> Counted {
        let program = std::env::current_exe().expect("this program has a file");
        let files = folder.unwrap_or(Path::new("")).join(FILE);
        let mut command = match folder {
            None => Command::new(program),
            Some(_) => {
                let mut command = Command::new("valgrind");
                let mut file = std::ffi::OsString::from("--callgrind-out-file=");
                file.push(&files);
                command
                    .args(["--tool=callgrind", "--quiet", "--separate-threads=yes"])
                    .arg("--dump-before=accept4")
                    .arg(file)
                    .arg(program);
                command
            }
        };
        let mut process = command
            .env(servers::SERVER, server.name())
            .env(servers::ORIGIN, origin.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("valgrind is installed, and this program starts again");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output
            .read_line(&mut line)
            .expect("a server says where it listens");
        let address = line.trim().parse();
        Counted {
            input: process.stdin.take(),
            process,
            address: address.unwrap_or_else(|_| panic!("{server:?} did not start: {line:?}")),
            triggers: Vec::new(),
            folder: folder.unwrap_or(Path::new("")).to_owned(),
        }
    }

    /// Has the counts of the serving thread written down, and begun anew: it is about to call `accept4`.
    pub(crate) fn write_down(&mut self) {
        let trigger = TcpStream::connect(self.address).expect("the server listens");
        self.triggers.push(trigger);
    }

    /// Ends the server. The last so many files that count more than a start, in their order, with their counts.
    pub(crate) fn finish(mut self, wanted: usize) -> Vec<(PathBuf, u64)> {
        drop(self.input.take());
        let _ = self.process.wait();
        let folder = std::fs::read_dir(&self.folder).expect("callgrind's folder can be read");
        let files = folder.flatten().filter_map(|file| {
            let text = std::fs::read_to_string(file.path()).ok()?;
            let number = number(file.file_name().to_str()?)?;
            Some((number, (file.path(), total(&text)?)))
        });
        let mut files: Vec<(usize, (PathBuf, u64))> = files.collect();
        let most = files
            .iter()
            .map(|(_, (_, count))| *count)
            .max()
            .unwrap_or_default();
        files.retain(|(_, (_, count))| *count > most / 10);
        files.sort_by_key(|(number, _)| *number);
        let first = files.len().saturating_sub(wanted);
        files.drain(..first);
        files.into_iter().map(|(_, file)| file).collect()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
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
