//! A run: rounds of contenders, each started, measured and stopped.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_services::Redis;

use crate::arguments::Arguments;
use crate::contender::{Contender, Field, Place};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::measure::{Bench, Subject, get};
use crate::process::{self, Running};
use crate::sample::{Sample, Samples};

/// How long a proxy may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How many files nginx would like to keep open, and connections beside them.
const FILES: u64 = 300_000;

/// What does not change in a run.
pub struct Stage<'a> {
    pub arguments: &'a Arguments,
    pub checkout: &'a Path,
    /// Where the binaries of this checkout are.
    pub binaries: &'a Path,
    pub kernel: &'a str,
}

/// What came of it, and a line about each thing that did not.
#[derive(Default)]
pub struct Findings {
    pub samples: Samples,
    pub missing: Vec<String>,
}

impl Findings {
    fn miss(&mut self, line: String) {
        eprintln!("  ! {line}");
        if !self.missing.contains(&line) {
            self.missing.push(line);
        }
    }
}

/// # Errors
/// When the origin does not start, or after a signal; what a contender fails at is a finding.
pub fn run(stage: &Stage, field: &Field) -> Result<Findings> {
    let folder = private_folder()?;
    let files = process::open_files(FILES);
    let origin_port = free_port()?;
    let mut origin = Running::start(
        &stage.binaries.join("rivals-origin"),
        &[origin_port.to_string().into()],
        stage.arguments.pinned().map(|cores| cores.load),
        folder.path().join("origin.log"),
    )?;
    wait_until_it_answers(&mut origin, origin_port, "/_count")?;
    let bench = Bench {
        arguments: stage.arguments,
        load: stage.binaries.join("rivals-load"),
        h2load: process::find("h2load"),
        origin_port,
        origin: origin.id(),
        folder: folder.path(),
        interrupts_apart: crate::busy::keeps_interrupts_apart(stage.kernel),
    };
    let mut findings = Findings::default();
    let mut order: VecDeque<&Contender> = field.contenders.iter().collect();
    for round in 1..=stage.arguments.rounds {
        for contender in &order {
            eprintln!("round {round}: {}", contender.column);
            match meet(stage, &bench, contender, files, round, &mut findings) {
                Ok(()) => {}
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(failure) => findings.miss(format!("{}: {failure}", contender.column)),
            }
        }
        // Nobody is always first, or always behind the same one.
        order.rotate_left(1);
    }
    Ok(findings)
}

/// Starts a contender, puts its workloads on it, and stops it.
fn meet(
    stage: &Stage,
    bench: &Bench,
    contender: &Contender,
    files: u64,
    round: u32,
    findings: &mut Findings,
) -> Result<()> {
    let folder = tempfile::tempdir_in(bench.folder)?;
    let redis = match contender.redis {
        true => Some(Redis::ephemeral().map_err(Failure::to("start Redis"))?),
        false => None,
    };
    let place = Place {
        checkout: stage.checkout,
        folder: folder.path(),
        port: free_port()?,
        h2_port: free_port()?,
        admin_port: free_port()?,
        origin: bench.origin_port,
        workers: stage.arguments.workers(),
        memory: stage.arguments.memory,
        files,
        redis: redis.as_ref().map(Redis::url).unwrap_or_default(),
    };
    let mut running = start(stage, contender, &place)?;
    let mut subject = Subject {
        process: running.id(),
        port: place.port,
        h2_port: if contender.h2_apart {
            place.h2_port
        } else {
            place.port
        },
        folder: folder.path(),
        redis: redis.as_ref().and_then(Redis::process_id),
        unused: 0,
    };
    if contender.redis {
        // Who filled Redis has all of it in memory too; another one has not.
        bench.fill(&subject)?;
        drop(running);
        running = start(stage, contender, &place)?;
        subject.process = running.id();
    }
    for workload in contender.workloads.iter().copied() {
        match bench.measure(&mut subject, workload) {
            Ok(mut sample) => {
                sample.round = round;
                sample.column.clone_from(&contender.column);
                note(&sample, findings);
                findings.samples.0.push(sample);
            }
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(failure) => {
                findings.miss(format!(
                    "{}, {}: {failure}",
                    contender.column,
                    workload.title()
                ));
            }
        }
        if running.has_ended() {
            let said = running.last_words();
            return Err(Failure::Failed(format!("it ended by itself: {said}")));
        }
    }
    Ok(())
}

fn start(stage: &Stage, contender: &Contender, place: &Place) -> Result<Running> {
    let mut running = Running::start(
        &contender.program,
        &(contender.command_line)(place)?,
        stage.arguments.pinned().map(|cores| cores.proxy),
        place.folder.join("said.log"),
    )?;
    wait_until_it_answers(&mut running, place.port, "/c/128/ready")?;
    Ok(running)
}

fn wait_until_it_answers(running: &mut Running, port: u16, path: &str) -> Result<()> {
    let answered = interrupt::wait_for(START, || {
        if running.has_ended() {
            return Some(false);
        }
        get(port, path).map(|_| true)
    })?;
    match answered {
        Some(true) => {
            running.note_ready();
            Ok(())
        }
        Some(false) => Err(Failure::Failed(format!(
            "it did not start: {}",
            running.last_words()
        ))),
        None => Err(Failure::Failed(format!(
            "it does not answer: {}",
            running.last_words()
        ))),
    }
}

/// Shows a sample at once, and says what is wrong with it.
fn note(sample: &Sample, findings: &mut Findings) {
    let Some(workload) = sample.workload else {
        return;
    };
    let p99 = sample.latency.map_or(0.0, |latency| latency.p99);
    eprintln!(
        "  {:13} {:9.0}/s  cpu {:7.2} us  p99 {p99:7.0} us  origin {:7}  others {:3.0} %",
        workload.name(),
        sample.throughput,
        sample.cpu,
        sample.fetches,
        sample.others * 100.0
    );
    if sample.errors > 0 {
        let (column, title, round) = (&sample.column, workload.title(), sample.round);
        let line = format!(
            "{column}, {title}: {} errors in round {round}",
            sample.errors
        );
        findings.miss(line);
    }
}

/// What the folders of runs are called, before the number of the program that made them.
const PREFIX: &str = "tidegate-rivals-";

/// In memory, where there is such a place; gone with the value.
fn private_folder() -> Result<TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let within = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    remove_abandoned(&within);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(&within)
        .map_err(Failure::to(format!(
            "make a folder in {}",
            within.display()
        )))
}

/// A run that was killed left its folder behind, and memory with it.
fn remove_abandoned(within: &Path) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next())
            .and_then(|number| number.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = listener.and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(Failure::to("find a free port"))
}
