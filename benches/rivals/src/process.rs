//! What is started, and stopped with the value that stands for it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::processor::{self, Identity};

/// How long a process may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Finds a program as a shell would, and where Debian keeps those of administrators.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A command for one core or for all, in a process group of its own, so that Ctrl-C reaches this program alone. It ends
/// with this program, however that ends.
pub fn command(program: &Path, core: Option<usize>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).process_group(0);
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if let Some(core) = core {
                let mut cores: libc::cpu_set_t = mem::zeroed();
                libc::CPU_SET(core, &mut cores);
                if libc::sched_setaffinity(0, mem::size_of_val(&cores), &raw const cores) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            // The signal comes when the thread that started it ends, which is the main one.
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
}

/// A server that runs until the value is dropped, and what it writes to its log.
pub struct Running {
    child: Child,
    log: PathBuf,
    /// It and what it had started when it was ready.
    known: Vec<Identity>,
}

impl Running {
    /// # Errors
    /// When the program cannot be started, or its log not be written.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        core: Option<usize>,
        log: PathBuf,
    ) -> Result<Self> {
        let output = File::create(&log).map_err(Failure::to(format!("write {}", log.display())))?;
        let child = command(program, core)
            .args(arguments)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(Failure::to(format!("start {}", program.display())))?;
        Ok(Self {
            child,
            log,
            known: Vec::new(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Notes what it has started by now, which is stopped even if it ends without doing so.
    pub fn note_ready(&mut self) {
        self.known = processor::tree(self.child.id());
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it said, on one line.
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let words = String::from_utf8_lossy(&log[log.len().saturating_sub(600)..])
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        if words.is_empty() {
            return "it said nothing".to_owned();
        }
        words
    }

    fn wait_until_gone(&mut self, processes: &[Identity]) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.has_ended();
            if ended
                && !processes
                    .iter()
                    .any(|process| processor::is_alive(*process))
            {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number of one that has ended may be another's by now.
        let processes = if self.has_ended() {
            mem::take(&mut self.known)
        } else {
            processor::tree(self.child.id())
        };
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            for process in processes.iter().filter(|one| processor::is_alive(**one)) {
                // SAFETY: takes two numbers. It is alive, and the one that descends from our child.
                unsafe { libc::kill(process.id as libc::pid_t, signal) };
            }
            if self.wait_until_gone(&processes) {
                return;
            }
        }
    }
}

/// Lets this program and what it starts open as many files as it may; returns how many that is.
pub fn open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls are given a limit of ours, which outlives them.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        // Root may go beyond the hard limit; for others the first call fails.
        for hard in [limit.rlim_max.max(wanted), limit.rlim_max] {
            let raised = libc::rlimit {
                rlim_cur: wanted.min(hard),
                rlim_max: hard,
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                return raised.rlim_cur;
            }
        }
    }
    limit.rlim_cur
}
