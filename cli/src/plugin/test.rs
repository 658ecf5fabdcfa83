//! `tidegate plugin test`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use http::{HeaderName, HeaderValue};
use tidegate_edge::clock::Clock;
use tidegate_edge::startup::{Edge, Options};
use tidegate_semantics::Timestamp;

use super::component::Kind;
use super::expect::differences;
use super::origin::Origin;
use super::scenario::{Answer, Scenario, Step};
use super::{client, edge, inspect};
use crate::failure::Failure;
use crate::stop::runtime;

/// The size of the purge index, which need not hold much here: 2^12 cells a row.
const INDEX_SLOTS: u32 = 12;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What is asked and what has to come of it, in TOML.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (component, _) = inspect::read(&arguments.file)?;
    let kind = component.kind();
    if kind == Kind::Unknown {
        let file = arguments.file.display();
        let what = kind.described();
        return Err(Failure::refused(format!("{file}: its kind is {what}")));
    }
    let refused =
        |why: String| Failure::refused(format!("{}: {why}", arguments.scenario.display()));
    let text =
        std::fs::read_to_string(&arguments.scenario).map_err(|error| refused(error.to_string()))?;
    let scenario: Scenario = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
    check(&scenario).map_err(refused)?;
    let runtime = runtime(1)?;
    let origin = runtime
        .block_on(Origin::start())
        .map_err(|error| Failure::failed(format!("the origin cannot listen: {error}")))?;
    let url = format!("http://{}", origin.address);
    let config = edge::config(
        &arguments.file,
        kind,
        &scenario.plugin,
        &scenario.route,
        &url,
    )
    .map_err(refused)?;
    // Whole seconds: ages and dates are told in those.
    let now = Timestamp::from_system(SystemTime::now());
    let clock = Clock::manual(Timestamp(now.0 / 1_000 * 1_000));
    let options = Options {
        clock: clock.clone(),
        index_slots: INDEX_SLOTS,
        ..Options::default()
    };
    let edge = Edge::start(config, options).map_err(|error| refused(error.to_string()))?;
    origin.answers(&scenario.origin);
    let mut failed = 0;
    for (at, step) in scenario.steps.iter().enumerate() {
        let differences = runtime.block_on(take(step, &edge, &origin, &clock));
        failed += usize::from(!differences.is_empty());
        let word = if differences.is_empty() {
            "ok  "
        } else {
            "FAIL"
        };
        println!("{word} {}: {}", at + 1, step.title());
        for difference in differences {
            println!("       {difference}");
        }
    }
    edge.drain();
    let steps = scenario.steps.len();
    println!("{} of {steps} steps went as expected", steps - failed);
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::failed(format!("{failed} of {steps} steps failed")))
    }
}

/// Takes one step; what came of it otherwise than expected.
async fn take(step: &Step, edge: &Edge, origin: &Origin, clock: &Clock) -> Vec<String> {
    if let Some(by) = step.advance {
        clock.advance(by);
    }
    origin.answers(&step.origin);
    let Some(request) = &step.request else {
        return Vec::new();
    };
    // What was fetched behind a client's back belongs to no step.
    origin.asked();
    match client::ask(edge.addr(), request).await {
        Ok(response) => {
            let expect = step.expect.as_ref();
            expect.map_or_else(Vec::new, |expect| {
                differences(expect, &response, &origin.asked())
            })
        }
        Err(why) => vec![why],
    }
}

/// What TOML cannot know: names and values that HTTP has not, and what nothing can come of.
fn check(scenario: &Scenario) -> Result<(), String> {
    if scenario.steps.is_empty() {
        return Err("it has no steps".to_owned());
    }
    let later = scenario.steps.iter().flat_map(|step| &step.origin);
    for (path, answer) in scenario.origin.iter().chain(later) {
        check_answer(answer).map_err(|why| format!("origin: {path:?}: {why}"))?;
    }
    for (at, step) in scenario.steps.iter().enumerate() {
        let in_place = |why: String| format!("step {}: {why}", at + 1);
        check_step(step).map_err(in_place)?;
    }
    Ok(())
}

fn check_step(step: &Step) -> Result<(), String> {
    if let Some(request) = &step.request {
        for (name, values) in &request.headers {
            check_field(name, values.values())?;
        }
        client::sent(request)?;
    }
    let Some(expect) = &step.expect else {
        return Ok(());
    };
    if step.request.is_none() {
        return Err("expects something of no request".to_owned());
    }
    let at_origin = expect
        .origin
        .iter()
        .flat_map(|origin| origin.headers.keys());
    let mut names = expect.headers.keys().chain(at_origin);
    names.try_for_each(|name| check_field(name, &[]))
}

fn check_answer(answer: &Answer) -> Result<(), String> {
    if !(200..600).contains(&answer.status) {
        return Err(format!("{} is no final status", answer.status));
    }
    let mut fields = answer.headers.iter();
    fields.try_for_each(|(name, values)| check_field(name, values.values()))
}

fn check_field(name: &str, values: &[String]) -> Result<(), String> {
    HeaderName::try_from(name).map_err(|_| format!("{name:?} is no field name"))?;
    match values
        .iter()
        .find(|value| HeaderValue::try_from(*value).is_err())
    {
        Some(value) => Err(format!("{value:?} is no value of a field")),
        None => Ok(()),
    }
}
