//! A private Redis server.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    ServiceError,
    binaries::redis_server,
    folder::{Folder, Nursery, free_port, tail},
    process::{GLANCE, Process, command},
};

/// How long a start may take; reading an append-only file is part of it.
const START: Duration = Duration::from_secs(30);
/// How often a start is tried when another program takes the port first.
const ATTEMPTS: usize = 5;

/// A running Redis server. Dropping the value stops it and waits.
pub struct Redis {
    // Declared first, so that the server has stopped before its folder is given up.
    process: Option<Process>,
    folder: Folder,
    program: PathBuf,
    persistence: Persistence,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Persistence {
    /// Synced each second.
    AppendOnly,
    /// Synced before each answer.
    EachWrite,
    None,
}

impl Redis {
    /// Starts a server whose data lives in `dir` and stays there, in an append-only file synced each second.
    ///
    /// # Errors
    /// When Redis is not installed, `dir` cannot be used or is in use, or the server does not start.
    pub fn start_in(dir: &Path) -> Result<Self, ServiceError> {
        Self::start(redis_server()?, Folder::kept(dir)?, Persistence::AppendOnly)
    }

    /// The same with a file that is synced before each answer: what the server has answered for, no crash loses.
    ///
    /// # Errors
    /// As [`Redis::start_in`].
    pub fn durable_in(dir: &Path) -> Result<Self, ServiceError> {
        Self::start(redis_server()?, Folder::kept(dir)?, Persistence::EachWrite)
    }

    /// Starts a server that keeps everything in memory alone.
    ///
    /// # Errors
    /// When Redis is not installed, the temporary folder cannot be used, or the server does not start.
    pub fn ephemeral() -> Result<Self, ServiceError> {
        let program = redis_server()?;
        let folder = Nursery::enter()?.temporary("redis-")?;
        Self::start(program, folder, Persistence::None)
    }

    fn start(
        program: PathBuf,
        folder: Folder,
        persistence: Persistence,
    ) -> Result<Self, ServiceError> {
        let mut redis = Self {
            process: None,
            folder,
            program,
            persistence,
            port: 0,
        };
        let mut attempt = 1;
        loop {
            redis.port = free_port()?;
            match redis.restart() {
                Err(ServiceError::Failed { log, .. }) if port_taken(&log) && attempt < ATTEMPTS => {
                    attempt += 1
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(redis),
            }
        }
    }

    /// `redis://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the server's process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Stops the server and waits until it has ended; the same as dropping the value.
    pub fn stop(self) {}

    /// Ends the server as a crash would (SIGKILL). An ephemeral one has lost everything.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts the server again on its port; one that runs is stopped first.
    ///
    /// # Errors
    /// When the server does not start, or another program has taken the port.
    pub fn restart(&mut self) -> Result<(), ServiceError> {
        self.process = None;
        let log = self.folder.path().join("log");
        let output = File::create(&log).map_err(ServiceError::folder("create", &log))?;
        let mut server = command(&self.program);
        server
            // Arguments alone, no file: a setting of the system's own server has no say here.
            .args([
                "--bind",
                "127.0.0.1",
                "--protected-mode",
                "yes",
                "--daemonize",
                "no",
                "--save",
                "",
            ])
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.folder.path())
            .args(match self.persistence {
                Persistence::AppendOnly => ["--appendonly", "yes", "--appendfsync", "everysec"],
                Persistence::EachWrite => ["--appendonly", "yes", "--appendfsync", "always"],
                Persistence::None => ["--appendonly", "no", "--appendfsync", "no"],
            })
            .stdout(output)
            .stderr(Stdio::null());
        let stop_signal = match self.persistence {
            Persistence::AppendOnly | Persistence::EachWrite => libc::SIGTERM,
            Persistence::None => libc::SIGKILL,
        };
        let failed = |reason: String| ServiceError::Failed {
            server: "redis-server",
            reason,
            log: tail(&log),
        };
        let mut process =
            Process::spawn(server, stop_signal).map_err(|error| failed(error.to_string()))?;
        wait_until_ready(&mut process, self.port).map_err(failed)?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops the server's clock, so to speak: it keeps its connections and answers nothing (SIGSTOP).
    pub fn pause(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(libc::SIGSTOP);
        }
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(libc::SIGCONT);
        }
    }
}

fn port_taken(log: &str) -> bool {
    log.contains("Address already in use")
}

fn wait_until_ready(process: &mut Process, port: u16) -> Result<(), String> {
    let end = Instant::now() + START;
    loop {
        if answers(process.id(), port).unwrap_or(false) {
            return Ok(());
        }
        if let Some(ended) = process.ended() {
            return Err(format!("it ended with {ended}"));
        }
        if Instant::now() > end {
            return Err(format!("it was not ready after {} s", START.as_secs()));
        }
        thread::sleep(GLANCE);
    }
}

/// Whether the server on the port is ours and has read its data. A stranger that took the port answers too, so we ask
/// for the process's number.
fn answers(process: u32, port: u16) -> std::io::Result<bool> {
    let wait = Duration::from_millis(500);
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(b"INFO\r\nQUIT\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let process = format!("process_id:{process}");
    Ok(
        answer.lines().any(|line| line == process)
            && answer.lines().any(|line| line == "loading:0"),
    )
}
