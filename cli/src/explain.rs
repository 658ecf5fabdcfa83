//! `tidegate explain`: asks an edge what it would do with a request, and prints the rules that decide, step by step.

use std::fmt::Write as _;

use clap::Args;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::Admin;
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The URL of the request, absolute.
    #[arg(value_name = "URL")]
    url: String,
    /// A field of the request; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    #[arg(long, default_value = "GET")]
    method: String,
    /// Does not ask the origin where nothing usable is stored.
    #[arg(long)]
    no_fetch: bool,
    /// The origin that a filter would choose, one of the route's `origins`: filters are not run.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// The admin listener of an edge; the token is taken from TIDEGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

/// The answer of `/explain`.
#[derive(Deserialize)]
struct Explanation {
    decision: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    rule: String,
    section: String,
    finding: String,
}

/// The answer to what is refused.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::at(&arguments.admin, admin_token()).map_err(Failure::refused)?;
    let question = question(&arguments).map_err(Failure::refused)?;
    let answer = runtime(1)?.block_on(admin.post("/explain", &question));
    let (status, text) = answer.map_err(|error| {
        Failure::failed(format!(
            "{error}; --admin says where an edge's admin listener is"
        ))
    })?;
    if !status.is_success() {
        return Err(refusal(&arguments.admin, status, &text));
    }
    let refused = |reason: &str| {
        let edge = &arguments.admin;
        Failure::failed(format!("{edge} answered {status}: {reason}"))
    };
    let explanation: Explanation =
        serde_json::from_str(&text).map_err(|error| refused(&error.to_string()))?;
    print!("{}", page(&explanation));
    Ok(())
}

/// What an edge's refusal comes to: its detail (RFC 9457), and what can be done about it.
fn refusal(edge: &str, status: StatusCode, text: &str) -> Failure {
    let problem: Option<Problem> = serde_json::from_str(text).ok();
    let detail = problem.map_or_else(|| text.trim().to_owned(), |problem| problem.detail);
    match status {
        StatusCode::BAD_REQUEST => Failure::refused(detail),
        StatusCode::UNAUTHORIZED => Failure::failed(format!(
            "{edge} answered {status}: {detail}; it is taken from TIDEGATE_ADMIN_TOKEN"
        )),
        _ => Failure::failed(format!("{edge} answered {status}: {detail}")),
    }
}

fn question(arguments: &Arguments) -> Result<Value, String> {
    let mut headers = Vec::new();
    for header in &arguments.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("header {header:?} is not of the form \"Name: value\""))?;
        headers.push([name.trim(), value.trim()]);
    }
    Ok(serde_json::json!({
        "url": arguments.url,
        "method": arguments.method,
        "headers": headers,
        "fetch": !arguments.no_fetch,
        "origin": arguments.origin,
    }))
}

/// A line for each step, and last the decision.
fn page(explanation: &Explanation) -> String {
    let width = |of: fn(&Step) -> &str| {
        let steps = explanation.steps.iter();
        steps.map(|step| of(step).chars().count()).max()
    };
    let rules = width(|step| &step.rule).unwrap_or(0);
    let sections = width(|step| &step.section).unwrap_or(0);
    let mut page = String::new();
    for Step {
        rule,
        section,
        finding,
    } in &explanation.steps
    {
        // A String takes everything.
        let _ = writeln!(page, "{rule:rules$}  {section:sections$}  {finding}");
    }
    let _ = writeln!(page, "{:rules$}  {}", "=>", explanation.decision);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_stand_under_each_other_and_the_decision_last() {
        let step = |rule: &str, section: &str, finding: &str| Step {
            rule: rule.to_owned(),
            section: section.to_owned(),
            finding: finding.to_owned(),
        };
        let explanation = Explanation {
            decision: "hit; ttl=30; detail=memory".to_owned(),
            steps: vec![
                step("key", "RFC 9111 §2", "http a.example /"),
                step("freshness", "RFC 9111 §4.2", "fresh"),
            ],
        };
        let expected = "key        RFC 9111 §2    http a.example /\n\
                        freshness  RFC 9111 §4.2  fresh\n\
                        =>         hit; ttl=30; detail=memory\n";
        assert_eq!(page(&explanation), expected);
    }
}
