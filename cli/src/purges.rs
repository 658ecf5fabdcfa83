//! `tidegate purges`: the recent purges of a log, as one of its edges lists them, and how far each has spread.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Deserialize;

use crate::admin::{Admin, successful};
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;

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
    print!("{}", table(&recent.purges, now));
    Ok(())
}

/// A line for each purge; the value, which may be long, stands last.
fn table(purges: &[Purged], now: u64) -> String {
    let heads = ["AGE", "APPLIED", "WITHIN", "MODE", "SCOPE", "VALUE"].map(str::to_owned);
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
    let rows: Vec<_> = [heads].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}", width = *width))
            .collect();
        format!("{}\n", line.join("  ").trim_end())
    });
    lines.collect()
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

/// A text from outside, without what could drive a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn age(millis: u64) -> String {
    match millis / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_told_in_the_unit_that_it_takes() {
        for (millis, expected) in [
            (0, "0 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(age(millis), expected);
        }
    }
}
