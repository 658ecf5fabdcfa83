//! `tidegate purge`: asks an edge to purge, and prints the receipt. The edge passes it on to every other by the log.

use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use http::StatusCode;
use serde_json::{Map, Value};
use tidegate_edge::config::parse_duration;

use crate::admin::{Admin, successful};
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// A URL; may be given several times, like the options that follow.
    #[arg(long, value_name = "URL", group = "what")]
    url: Vec<String>,
    /// A tag, as in Surrogate-Key, Cache-Tag or xkey.
    #[arg(long, value_name = "TAG", group = "what")]
    tag: Vec<String>,
    /// All URLs that begin with this one.
    #[arg(long, value_name = "URL", group = "what")]
    prefix: Vec<String>,
    /// All URLs of a host.
    #[arg(long, value_name = "HOST", group = "what")]
    host: Vec<String>,
    /// Everything.
    #[arg(long, group = "what")]
    all: bool,
    /// Makes what matches stale instead of unusable.
    #[arg(long)]
    soft: bool,
    /// Waits until edges have applied it: those of the asked edge's region, or all.
    #[arg(long, value_name = "WHOM", value_enum, default_value = "none")]
    wait: Wait,
    /// How long to wait at most, such as 5s; the edge's own limit is purge.longest_wait.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// The admin listener of any edge; the token is taken from TIDEGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

/// For whom a purge waits.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wait {
    None,
    Region,
    All,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::at(&arguments.admin, admin_token()).map_err(Failure::refused)?;
    let waits = arguments.timeout.unwrap_or_default();
    let order = order(&arguments);
    let answer = runtime(1)?.block_on(admin.post_patiently("/purge", &order, waits));
    let (status, text) = successful(&arguments.admin, answer)?;
    println!("{}", text.trim_end());
    if status == StatusCode::ACCEPTED {
        return Err(Failure::failed(format!(
            "recorded, but not applied everywhere in time: {}",
            missing(&text)
        )));
    }
    Ok(())
}

/// The edges of a receipt that have not applied the purge.
fn missing(receipt: &str) -> String {
    let receipt: Value = serde_json::from_str(receipt).unwrap_or_default();
    let edges = receipt["edges"].as_array().into_iter().flatten();
    let missing = edges.filter(|edge| edge["state"] != "applied");
    let text = |edge: &Value, name: &str| edge[name].as_str().unwrap_or("?").to_owned();
    let missing: Vec<_> = missing
        .map(|edge| {
            let (instance, region) = (text(edge, "instance"), text(edge, "region"));
            format!("{instance} ({region}) is {}", text(edge, "state"))
        })
        .collect();
    missing.join(", ")
}

fn order(arguments: &Arguments) -> Value {
    let mut order = Map::new();
    let lists = [
        ("urls", &arguments.url),
        ("tags", &arguments.tag),
        ("prefixes", &arguments.prefix),
        ("hosts", &arguments.host),
    ];
    for (name, values) in lists {
        if !values.is_empty() {
            order.insert(name.to_owned(), values.clone().into());
        }
    }
    if arguments.all {
        order.insert("all".to_owned(), true.into());
    }
    if arguments.soft {
        order.insert("soft".to_owned(), true.into());
    }
    let wait = match arguments.wait {
        Wait::None => None,
        Wait::Region => Some("region"),
        Wait::All => Some("all"),
    };
    if let Some(wait) = wait {
        order.insert("wait".to_owned(), wait.into());
    }
    if let Some(timeout) = arguments.timeout {
        let timeout = format!("{}ms", timeout.as_millis());
        order.insert("timeout".to_owned(), timeout.into());
    }
    Value::Object(order)
}
