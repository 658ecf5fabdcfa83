//! What is said about the counts.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tidegate_instructions::baseline::{Baseline, Machine, TOLERANCE, Verdict, change};
use tidegate_instructions::profile::{Function, Profile};

use crate::counting::count;
use crate::paths::Path;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.toml");

/// Functions that a profile lists, and characters of their names.
const FUNCTIONS: usize = 80;
const NAME: usize = 150;

/// Counts the paths and compares them with the baseline; fails where one takes too much more.
pub(crate) fn check(paths: &[&Path]) -> ExitCode {
    let baseline = match read_baseline() {
        Ok(baseline) => baseline,
        Err(error) => {
            eprintln!("{BASELINE}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let here = Machine::here();
    let is_comparable = baseline.machine == here;
    let counts = print_table(paths, is_comparable.then_some(&baseline));
    if !is_comparable {
        println!(
            "\nThe baseline is of {}, this is {here}: nothing was compared.",
            baseline.machine
        );
        return ExitCode::SUCCESS;
    }
    let mut status = ExitCode::SUCCESS;
    for path in paths.iter().filter(|path| !path.is_floor()) {
        let name = path.name;
        let (now, before) = (counts[name], baseline.paths.get(name));
        let before = before.copied().unwrap_or(now);
        match baseline.verdict(name, now) {
            Verdict::AsBefore => {}
            Verdict::New => {
                println!("\n{name} has no baseline yet: make bench-check ARGS=\"--update {name}\"")
            }
            Verdict::Less => println!(
                "\n{name} takes {now} instructions where the baseline has {before}. Keep it so: \
                 make bench-check ARGS=\"--update {name}\""
            ),
            Verdict::More => {
                println!(
                    "\n{name} takes {now} instructions where the baseline has {before}, {:.1} % more; {TOLERANCE} % are \
                     allowed.\nWhere they go, here and at the commit before: make profile PATH_NAME={name}\nIf it is \
                     worth it: make bench-check ARGS=\"--update {name}\"",
                    change(before, now)
                );
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

/// Counts the paths and makes that the baseline.
pub(crate) fn update(paths: &[&Path]) -> ExitCode {
    let machine = Machine::here();
    // What was counted elsewhere, or with another compiler, says nothing here.
    let known = read_baseline().ok();
    let known = known.filter(|baseline| baseline.machine == machine);
    let counts = print_table(paths, known.as_ref());
    let mut baseline = Baseline {
        machine,
        paths: known.map(|baseline| baseline.paths).unwrap_or_default(),
    };
    for path in paths.iter().filter(|path| !path.is_floor()) {
        baseline
            .paths
            .insert(path.name.to_owned(), counts[path.name]);
    }
    match std::fs::write(BASELINE, baseline.to_toml()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{BASELINE}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says for each path which functions take most.
pub(crate) fn profile(paths: &[&Path]) -> ExitCode {
    for path in paths {
        let count = count(path);
        let (profile, requests) = count.profile();
        println!("{}: {} instructions", path.name, count.least());
        print_functions("with what they call", &profile, requests, |function| {
            function.inclusive
        });
        print_functions("by themselves", &profile, requests, |function| function.own);
    }
    ExitCode::SUCCESS
}

fn read_baseline() -> Result<Baseline, String> {
    let text = std::fs::read_to_string(BASELINE).map_err(|error| error.to_string())?;
    Baseline::from_toml(&text)
}

/// Counts the paths, with a row for each as soon as it is known.
fn print_table<'a>(paths: &[&'a Path], baseline: Option<&Baseline>) -> BTreeMap<&'a str, u64> {
    println!(
        "{:18}{:>13}{:>10}{:>10}{:>9}{:>9}",
        "path", "instructions", "(spread)", "baseline", "change", "× floor"
    );
    let mut counts = BTreeMap::new();
    for path in paths {
        let count = count(path);
        let now = count.least();
        counts.insert(path.name, now);
        let before = baseline.and_then(|baseline| baseline.paths.get(path.name));
        let floor = path.floor.and_then(|floor| counts.get(floor));
        println!(
            "{:18}{now:>13}{:>10}{:>10}{:>9}{:>9}",
            path.name,
            format!("({:.2} %)", count.spread()),
            before.map_or_else(String::new, u64::to_string),
            before.map_or_else(String::new, |&before| format!(
                "{:+.1} %",
                change(before, now)
            )),
            floor.map_or_else(String::new, |&floor| format!(
                "{:.2}",
                now as f64 / floor as f64
            )),
        );
    }
    counts
}

/// The functions of which `by` is greatest, each with what it takes for one request.
fn print_functions(title: &str, profile: &Profile, requests: usize, by: fn(&Function) -> u64) {
    println!(
        "\nfunctions {title}, for each request:\n{:>9} {:>9} {:>7}",
        "inclusive", "own", "calls"
    );
    let each = |count: u64| count as f64 / requests as f64;
    for function in profile.top(FUNCTIONS, by) {
        let name: String = function.name.chars().take(NAME).collect();
        println!(
            "{:>9.0} {:>9.0} {:>7.2}  {name}",
            each(function.inclusive),
            each(function.own),
            each(function.calls)
        );
    }
}
