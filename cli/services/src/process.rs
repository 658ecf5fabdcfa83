//! A server's process: started so that it cannot outlive us, stopped when its value is dropped.

use std::{
    convert::Infallible,
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libc::c_int;

/// How long a server may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often we look whether something has happened.
pub(crate) const GLANCE: Duration = Duration::from_millis(2);

/// A running child; dropping it asks it to stop with its signal, and waits.
pub(crate) struct Process {
    child: Child,
    stop_signal: c_int,
    keeper: Option<Keeper>,
}

/// The kernel's "signal me when my parent dies" means the *thread* that made the child. So a thread that does nothing
/// else makes it, and lives as long as it does.
struct Keeper {
    release: Sender<Infallible>,
    thread: JoinHandle<()>,
}

/// A command with an empty standard input and a small, known environment, in a process group of its own.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    command
}

impl Process {
    /// Starts `command`. `stop_signal` is sent to it when the value is dropped, or when this program dies.
    pub(crate) fn spawn(mut command: Command, stop_signal: c_int) -> io::Result<Self> {
        let parent = std::process::id();
        // SAFETY: the closure runs between fork and exec; it allocates nothing, takes no lock and makes only two system
        // calls, both async-signal-safe. It runs after the change of user, which would clear the setting.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, stop_signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the call above.
                if libc::getppid() != parent as libc::pid_t {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
                Ok(())
            });
        }
        let (report, reported) = mpsc::channel();
        let (release, released) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new()
            .name("service-keeper".to_owned())
            .spawn(move || {
                let _ = report.send(command.spawn());
                drop(command);
                let _ = released.recv();
            })?;
        let child = reported
            .recv()
            .map_err(|_| io::Error::other("the thread that starts the server ended early"))??;
        Ok(Self {
            child,
            stop_signal,
            keeper: Some(Keeper { release, thread }),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it ended with, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Sends a signal, unless it has ended and been waited for.
    pub(crate) fn signal(&mut self, signal: c_int) {
        if self.ended().is_none() {
            // SAFETY: kill takes two integers. The child has not been waited for, so the number is still its own.
            unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        }
    }

    /// Ends it without a chance to tidy up, as a crash would.
    pub(crate) fn kill(mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.stop_signal);
        // A server that a test has paused must run again to see the signal.
        self.signal(libc::SIGCONT);
        let end = Instant::now() + PATIENCE;
        while self.ended().is_none() && Instant::now() < end {
            thread::sleep(GLANCE);
        }
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
        if let Some(Keeper { release, thread }) = self.keeper.take() {
            drop(release);
            let _ = thread.join();
        }
    }
}
