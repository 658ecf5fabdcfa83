//! A private PostgreSQL server.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    ServiceError,
    binaries::{postgres_binaries, vector_binaries},
    folder::{Folder, HAND_OVER, Nursery, free_port, tail},
    process::{GLANCE, Process, command},
};

/// How long a start may take; recovery after a crash is part of it.
const START: Duration = Duration::from_secs(60);
/// How often a start is tried when another program takes the port first.
const ATTEMPTS: usize = 5;
/// The database that every server here has, owned by the superuser `postgres`.
const DATABASE: &str = "tidegate";

/// A running PostgreSQL server with a database named `tidegate`. Dropping the value stops the server and waits.
///
/// As root the server runs as the user `postgres` (else `nobody`), because PostgreSQL refuses to run as root.
pub struct Postgres {
    // Declared first, so that the server has stopped before its folder is given up.
    process: Option<Process>,
    folder: Folder,
    installation: Installation,
    durability: Durability,
    /// What the test has set beside our own settings, as `name=value`.
    settings: Vec<String>,
    port: u16,
}

impl Postgres {
    /// Starts a server whose data lives in `dir` and stays there. The first start creates it; every commit is durable.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, `dir` cannot be used or is in use, or the server does not start.
    pub fn start_in(dir: &Path) -> Result<Self, ServiceError> {
        let installation = Installation::find()?;
        let folder = Folder::kept(dir)?;
        installation.admit(folder.path())?;
        let data = folder.path().join("data");
        if !data.join("PG_VERSION").exists() {
            installation.initialize(folder.path(), &data)?;
        }
        refuse_live_server(&data)?;
        installation.start(folder, Durability::Kept, Vec::new())
    }

    /// Starts a server in a temporary folder that is removed at the end. Nothing in it survives a crash, so it is fast.
    ///
    /// The first call on a machine takes a second or two and leaves a template, later ones copy it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, the temporary folder cannot be used, or the server does not start.
    pub fn ephemeral() -> Result<Self, ServiceError> {
        Self::ephemeral_with(&[])
    }

    /// The same with settings of the caller's own, each as `name=value`.
    ///
    /// # Errors
    /// As [`Postgres::ephemeral`].
    pub fn ephemeral_with(settings: &[&str]) -> Result<Self, ServiceError> {
        Self::temporary(Installation::find()?, settings)
    }

    /// The same by the PostgreSQL with the extension `vector` that tests have beside the system's own. It has no other
    /// extension, and the extension is not made in any database yet.
    ///
    /// # Errors
    /// [`ServiceError::NoVectors`] where there is none; else as [`Postgres::ephemeral`].
    pub fn with_vectors() -> Result<Self, ServiceError> {
        let installation = Installation {
            binaries: vector_binaries()?,
            user: User::instead_of_root(),
        };
        Self::temporary(installation, &[])
    }

    fn temporary(installation: Installation, settings: &[&str]) -> Result<Self, ServiceError> {
        let nursery = Nursery::enter()?;
        let template = installation.template(&nursery)?;
        let folder = nursery.temporary("postgres-")?;
        // A template never changes once it is there: copying needs no lock.
        drop(nursery);
        installation.admit(folder.path())?;
        installation.copy(&template, &folder.path().join("data"))?;
        let settings = settings.iter().map(ToString::to_string).collect();
        installation.start(folder, Durability::Ephemeral, settings)
    }

    /// Starts a standby of this server in a temporary folder: a copy that follows it over a streaming connection, until
    /// `SELECT pg_promote()` makes it a primary of its own.
    ///
    /// # Errors
    /// As [`Postgres::ephemeral`], and when this server does not run.
    pub fn replica(&self) -> Result<Self, ServiceError> {
        let installation = Installation::find()?;
        let folder = Nursery::enter()?.temporary("postgres-")?;
        installation.admit(folder.path())?;
        let mut backup = installation.command("pg_basebackup");
        backup
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["--host=127.0.0.1", "--username=postgres"])
            .arg(format!("--port={}", self.port))
            .args(["--wal-method=stream", "--checkpoint=fast", "--no-sync"])
            .arg("--write-recovery-conf");
        run("postgresql", &mut backup, "")?;
        installation.start(folder, Durability::Ephemeral, Vec::new())
    }

    /// Stops the server as its signal asks for, and starts it again on its port and its data. An ephemeral one recovers
    /// as after a crash, and keeps what was committed.
    ///
    /// # Errors
    /// When the server does not start, or another program has taken the port.
    pub fn restart(&mut self) -> Result<(), ServiceError> {
        self.halt();
        let process = self.installation.launch(
            self.folder.path(),
            self.durability,
            &self.settings,
            self.port,
        )?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends the server and all of its processes as a crash would (SIGKILL). It may be started again by
    /// [`Postgres::restart`]; one that is not ephemeral has all that was committed.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        // Those that served connections outlive their parent for a moment, and would be in a new one's way.
        let data = self.folder.path().join("data");
        let end = Instant::now() + HAND_OVER;
        while signal_all_in(&data, libc::SIGKILL) && Instant::now() < end {
            thread::sleep(GLANCE);
        }
    }

    /// Makes the server and all of its processes stand still (SIGSTOP) until the value is dropped: connections stay open,
    /// and nobody answers on them.
    pub fn pause(&self) -> Paused {
        let data = self.folder.path().join("data");
        // The first look may miss a process that is just being made by one that still runs; at the second none does.
        for _ in 0..2 {
            signal_all_in(&data, libc::SIGSTOP);
        }
        Paused { data }
    }

    /// Stops the server, which keeps its folder and may be started again by [`Postgres::restart`].
    pub fn halt(&mut self) {
        self.process = None;
    }

    /// `postgres://postgres@127.0.0.1:PORT/tidegate`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A command as an operator of this server would give it: by the server's user, who owns its files, with the server's
    /// programs before all others.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.installation.by_its_user(program.as_ref());
        let programs = self.installation.binaries.display();
        command.env("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin"));
        command
    }

    /// Stops the server and waits until it has ended; the same as dropping the value.
    pub fn stop(self) {}
}

/// Runs statements in `psql` as an operator would, one after the other, and returns what they said: a row a line, `|`
/// between its columns.
///
/// # Errors
/// When PostgreSQL is not installed, the server at `url` cannot be reached, or a statement fails.
pub fn psql(url: &str, statements: &str) -> Result<String, ServiceError> {
    let mut psql = command(postgres_binaries()?.join("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
        .args(["--set", "ON_ERROR_STOP=1", url]);
    run("psql", &mut psql, statements)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Kept,
    Ephemeral,
}

/// The binaries, and the user that they run as.
struct Installation {
    binaries: PathBuf,
    user: Option<User>,
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl Installation {
    fn find() -> Result<Self, ServiceError> {
        Ok(Self {
            binaries: postgres_binaries()?,
            user: User::instead_of_root(),
        })
    }

    fn command(&self, program: &str) -> Command {
        self.by_its_user(self.binaries.join(program).as_ref())
    }

    fn by_its_user(&self, program: &OsStr) -> Command {
        let mut command = command(program);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Gives the folder to the server's user, who must be able to reach it.
    fn admit(&self, folder: &Path) -> Result<(), ServiceError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        for ancestor in folder
            .ancestors()
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let metadata =
                fs::metadata(ancestor).map_err(ServiceError::folder("read", ancestor))?;
            if !user.may_enter(&metadata) {
                return Err(ServiceError::Unreachable {
                    user: user.name.clone(),
                    path: ancestor.to_owned(),
                });
            }
        }
        chown(folder, Some(user.uid), Some(user.gid))
            .map_err(ServiceError::folder("give away", folder))
    }

    /// Makes a database cluster with our database in it. `data` appears only when it is complete.
    fn initialize(&self, folder: &Path, data: &Path) -> Result<(), ServiceError> {
        let unfinished = folder.join("data.unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(ServiceError::folder("remove", &unfinished))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&unfinished).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        ]);
        run("initdb", &mut initdb, "")?;
        // In single-user mode the server reads statements from standard input: no client is needed.
        let mut single = self.command("postgres");
        single
            .arg("--single")
            .arg("-D")
            .arg(&unfinished)
            .arg("postgres");
        run(
            "postgresql",
            &mut single,
            &format!("CREATE DATABASE {DATABASE};\n"),
        )?;
        fs::rename(&unfinished, data).map_err(ServiceError::folder("complete", data))
    }

    /// The cluster that temporary ones are copies of, made on first use.
    fn template(&self, nursery: &Nursery) -> Result<PathBuf, ServiceError> {
        let version = self.version()?;
        let template = nursery.path().join(format!("template-{version}"));
        if !template.exists() {
            let workshop = nursery.temporary("template-workshop-")?;
            self.admit(workshop.path())?;
            self.initialize(workshop.path(), &template)?;
        }
        Ok(template)
    }

    /// The version that names the template: `15.18`.
    fn version(&self) -> Result<String, ServiceError> {
        let said = run("postgresql", self.command("postgres").arg("--version"), "")?;
        let version = said.split_whitespace().nth(2).unwrap_or("unknown");
        Ok(version
            .chars()
            .filter(|character| character.is_ascii_alphanumeric() || *character == '.')
            .collect())
    }

    fn copy(&self, template: &Path, data: &Path) -> Result<(), ServiceError> {
        let mut copy = command("cp");
        copy.args(["-a", "--reflink=auto"]).arg(template).arg(data);
        run("postgresql", &mut copy, "").map(drop)
    }

    fn start(
        self,
        folder: Folder,
        durability: Durability,
        settings: Vec<String>,
    ) -> Result<Postgres, ServiceError> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            match self.launch(folder.path(), durability, &settings, port) {
                Ok(process) => {
                    return Ok(Postgres {
                        process: Some(process),
                        folder,
                        installation: self,
                        durability,
                        settings,
                        port,
                    });
                }
                Err(ServiceError::Failed { log, .. })
                    if log.contains("Address already in use") && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the server of `folder` and waits until it takes connections.
    fn launch(
        &self,
        folder: &Path,
        durability: Durability,
        more: &[String],
        port: u16,
    ) -> Result<Process, ServiceError> {
        let data = folder.join("data");
        let log = folder.join("log");
        let stop_signal = match durability {
            Durability::Kept => libc::SIGINT, // "fast": roll back, checkpoint, end
            Durability::Ephemeral => libc::SIGQUIT, // "immediate": just end
        };
        let output = File::create(&log).map_err(ServiceError::folder("create", &log))?;
        let mut server = self.command("postgres");
        server
            .arg("-D")
            .arg(&data)
            .args(settings(port, durability))
            .args(more.iter().flat_map(|setting| ["-c", setting.as_str()]))
            .stdout(Stdio::null())
            .stderr(output);
        let failed = |reason: String, log: String| ServiceError::Failed {
            server: "postgresql",
            reason,
            log,
        };
        let mut process = Process::spawn(server, stop_signal)
            .map_err(|error| failed(error.to_string(), String::new()))?;
        match wait_until_ready(&mut process, &data) {
            Ok(()) => Ok(process),
            Err(reason) => {
                drop(process);
                Err(failed(reason, tail(&log)))
            }
        }
    }
}

fn settings(port: u16, durability: Durability) -> Vec<OsString> {
    let port = format!("port={port}");
    let mut settings = vec![
        "listen_addresses=127.0.0.1",
        port.as_str(),
        // A path to a socket may be too long for the system, and nobody here needs one.
        "unix_socket_directories=",
        "max_connections=200",
        "shared_buffers=64MB",
    ];
    if durability == Durability::Ephemeral {
        // Whole pages stay in the log: without them a standby cannot be copied from a standby.
        settings.extend(["fsync=off", "synchronous_commit=off"]);
    }
    settings
        .into_iter()
        .flat_map(|setting| ["-c".into(), setting.into()])
        .collect()
}

/// Waits for the word `ready` in the eighth line of the server's own `postmaster.pid`: it accepts connections then.
fn wait_until_ready(process: &mut Process, data: &Path) -> Result<(), String> {
    let pid = process.id().to_string();
    let status = data.join("postmaster.pid");
    let end = Instant::now() + START;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let mut lines = text.lines();
            if lines.next() == Some(pid.as_str()) && lines.nth(6).map(str::trim) == Some("ready") {
                return Ok(());
            }
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

/// Kills the processes whose working folder is the data folder: a server's own. Says whether there were any.
/// A server that stands still.
pub struct Paused {
    data: PathBuf,
}

impl Drop for Paused {
    fn drop(&mut self) {
        signal_all_in(&self.data, libc::SIGCONT);
    }
}

fn signal_all_in(data: &Path, signal: libc::c_int) -> bool {
    let mut found = false;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = process.file_name().to_string_lossy().parse::<libc::pid_t>();
        let is_ours = fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data);
        if let (Ok(number), true) = (number, is_ours) {
            found = true;
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(number, signal) };
        }
    }
    found
}

/// Makes sure that no server runs on the data, and that a dead one's `postmaster.pid` is in nobody's way.
///
/// The number in the file may since belong to any other process, which PostgreSQL cannot tell; a server's working folder
/// is its data folder, so we can. A server whose program was just killed is given time to end.
fn refuse_live_server(data: &Path) -> Result<(), ServiceError> {
    let status = data.join("postmaster.pid");
    let end = Instant::now() + HAND_OVER;
    loop {
        let Ok(text) = fs::read_to_string(&status) else {
            return Ok(());
        };
        let pid = text.lines().next().unwrap_or_default().trim().to_owned();
        let alive = !pid.is_empty()
            && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == data);
        if !alive {
            return match fs::remove_file(&status) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(ServiceError::Folder {
                        action: "remove",
                        path: status,
                        source,
                    })
                }
                _ => Ok(()),
            };
        }
        if Instant::now() > end {
            return Err(ServiceError::InUse {
                path: data.to_owned(),
                holder: format!("a running postgres, process {pid}"),
            });
        }
        thread::sleep(10 * GLANCE);
    }
}

/// Runs a program to its end with `input`, and returns what it printed.
fn run(server: &'static str, command: &mut Command, input: &str) -> Result<String, ServiceError> {
    let failed = |reason: String, log: String| ServiceError::Failed {
        server,
        reason,
        log,
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string(), String::new()))?;
    if let Some(mut standard_input) = child.stdin.take() {
        // Whoever does not read its input says why by its status.
        let _ = standard_input.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string(), String::new()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // Single-user mode ends well even when its statement failed.
    if !output.status.success() || errors.contains("FATAL:") || errors.contains("ERROR:") {
        return Err(failed(
            format!("it ended with {}", output.status),
            errors.trim().to_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl User {
    /// Whom to run as when we are root: `postgres`, else `nobody`.
    fn instead_of_root() -> Option<Self> {
        // SAFETY: geteuid takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").ok()?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| users.lines().find_map(|line| Self::parse(line, name)))
    }

    /// One line of `/etc/passwd`: `name:password:uid:gid:…`.
    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self {
            name: name.to_owned(),
            uid,
            gid,
        })
    }

    fn may_enter(&self, folder: &fs::Metadata) -> bool {
        let bit = match folder {
            _ if folder.uid() == self.uid => 0o100,
            _ if folder.gid() == self.gid => 0o010,
            _ => 0o001,
        };
        folder.mode() & bit != 0
    }
}
