//! `tidegate purges`: the recent purges of a log, as one of its edges lists them, and how far each has spread.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Deserialize;

use crate::admin::{Admin, successful};
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;
use crate::table::{age, plain, table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many, newest first; an edge tells 200 at most.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    /// Prints what the edge answers, as JSON.
    #[arg(long)]
    json: bool,
    /// The admin listener of any edge; the token is taken from TIDEGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

#[derive(Deserialize)]
struct Recent {
    purges: Vec<Purged>,
}

#[derive(Deserialize)]
struct Purged {
    at: u64,
    scope: String,
    #[serde(default)]
    value: String,
    mode: String,
    applied: u64,
    max_ms: Option<u64>,
    edges: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    instance: String,
    state: String,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::at(&arguments.admin, admin_token()).map_err(Failure::refused)?;
    let path = format!("/purges?limit={}", arguments.limit);
    let answer = runtime(1)?.block_on(admin.get(&path));
    let (_, text) = successful(&arguments.admin, answer)?;
    if arguments.json {
        println!("{}", text.trim_end());
        return Ok(());
    }
    let recent: Recent = serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!(
            "{} sent no list of purges: {error}",
            arguments.admin
        ))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    print!("{}", lines(&recent.purges, now));
    Ok(())
}

/// A line for each purge; the value, which may be long, stands last.
fn lines(purges: &[Purged], now: u64) -> String {
    let heads = ["AGE", "APPLIED", "WITHIN", "MODE", "SCOPE", "VALUE"];
    let rows = purges.iter().map(|purge| {
        [
            age(now.saturating_sub(purge.at)),
            spread(purge),
            purge
                .max_ms
                .map_or_else(|| "-".to_owned(), |millis| format!("{millis} ms")),
            plain(&purge.mode),
            plain(&purge.scope),
            plain(&purge.value),
        ]
    });
    table(heads, rows)
}

/// How many edges of how many have applied it, and which have not.
fn spread(purge: &Purged) -> String {
    let missing = purge.edges.iter().filter(|edge| edge.state != "applied");
    let missing: Vec<_> = missing
        .map(|edge| format!("{} {}", plain(&edge.instance), plain(&edge.state)))
        .collect();
    let spread = format!("{}/{}", purge.applied, purge.edges.len());
    if missing.is_empty() {
        spread
    } else {
        format!("{spread} ({})", missing.join(", "))
    }
}
