//! `make rivals`: prepares, measures, tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use tidegate_rivals::arguments::{Arguments, PROXIES};
use tidegate_rivals::contender::Field;
use tidegate_rivals::failure::{Failure, Result};
use tidegate_rivals::machine::{self, Machine};
use tidegate_rivals::report::Report;
use tidegate_rivals::run::{self, Stage};
use tidegate_rivals::{document, interrupt, plot, process};

const RESULTS: &str = "benches/RESULTS.md";
const PLOT: &str = "rivals.svg";

fn main() -> ExitCode {
    match carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rivals: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn carry_out() -> Result<()> {
    let Some(arguments) = Arguments::read(std::env::args())? else {
        return Ok(());
    };
    let machine = Machine::here();
    check(&arguments, &machine)?;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkout = checkout
        .canonicalize()
        .map_err(Failure::to("find the checkout"))?;
    let program = std::env::current_exe()?;
    let binaries = program.parent().map(Path::to_owned).unwrap_or_default();
    if binaries.file_name() != Some(PROFILE.as_ref()) {
        let own = binaries.display();
        let reason =
            format!("it measures what is built beside it, and that is {own}: use make rivals");
        return Err(Failure::Refused(reason));
    }
    let commit = machine::commit(&checkout);
    prepare(&arguments, &checkout)?;
    let field = Field::gather(&arguments, &binaries, &commit);
    for absent in &field.absent {
        eprintln!("rivals: {absent}");
    }

    interrupt::watch();
    let stage = Stage {
        arguments: &arguments,
        checkout: &checkout,
        binaries: &binaries,
        kernel: &machine.kernel,
    };
    let findings = run::run(&stage, &field)?;
    if findings.samples.0.is_empty() {
        return Err(Failure::Failed("nothing could be measured".to_owned()));
    }
    let report = Report {
        arguments: &arguments,
        command: command_line(),
        date: httpdate::fmt_http_date(SystemTime::now()),
        machine: &machine,
        h2load: process::find("h2load").map(|program| machine::version(&program, "--version")),
        field: &field,
        findings: &findings,
    };
    println!("{}", report.render(None));
    if arguments.no_write {
        return Ok(());
    }
    if !arguments.is_everything() {
        eprintln!("rivals: not written to {RESULTS}, for it is a part of the comparison");
        return Ok(());
    }
    let drawn = plot::draw(&field.columns, &findings.samples);
    if let Some(svg) = &drawn {
        write(&checkout.join("benches").join(PLOT), svg)?;
    }
    let file = checkout.join(RESULTS);
    let old = fs::read_to_string(&file).map_err(Failure::to(format!("read {RESULTS}")))?;
    let new = document::with_part(&old, &report.render(drawn.map(|_| PLOT)));
    let new = new.ok_or_else(|| {
        Failure::Failed(format!(
            "{RESULTS} has not both of {} and {}",
            document::BEGIN,
            document::END
        ))
    })?;
    write(&file, &new)?;
    eprintln!("rivals: written to {RESULTS} and benches/{PLOT}");
    Ok(())
}

/// How what is deployed is built, and the folder in which that comes to be.
const BUILD: &str = "build --profile dist --locked --bin tidegate";
const PROFILE: &str = "dist";

/// What can be known to fail before anything is done.
fn check(arguments: &Arguments, machine: &Machine) -> Result<()> {
    if let Some(cores) = arguments.pinned() {
        let highest = cores.proxy.max(cores.load);
        if highest >= machine.cores {
            return Err(Failure::Refused(format!(
                "there is no core {highest} here; choose others with --cores, or pin nothing with --free"
            )));
        }
    }
    Ok(())
}

/// Puts on the machine what is missing, and builds this checkout where it takes part.
fn prepare(arguments: &Arguments, checkout: &Path) -> Result<()> {
    if !arguments.no_install {
        let script = checkout.join("setup/prepare");
        finish(Command::new(script).arg("rivals"), "setup/prepare rivals")?;
    }
    if arguments.chosen().iter().any(|name| name == PROXIES[0]) {
        let mut cargo =
            Command::new(std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from));
        cargo.args(BUILD.split(' ')).current_dir(checkout);
        finish(&mut cargo, &format!("cargo {BUILD}"))?;
    }
    Ok(())
}

fn finish(command: &mut Command, name: &str) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(Failure::to(format!("start {name}")))?;
    if !status.success() {
        return Err(Failure::Failed(format!("{name} failed")));
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(Failure::to(format!("write {}", file.display())))
}

fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        return "make rivals".to_owned();
    }
    format!("make rivals ARGS=\"{}\"", arguments.join(" "))
}
