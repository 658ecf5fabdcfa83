//! `tidegate plugins`: the plugins that an edge uses, and having it use new versions of them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admin::{Admin, successful};
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;
use crate::table::{age, plain, table};

/// The largest components take minutes to compile.
const COMPILES: Duration = Duration::from_secs(10 * 60);
/// So many digits of a sum tell one version from another.
const DIGITS: usize = 12;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Option<Order>,
    /// Prints what the edge answers, as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// The edge's admin listener; the token is taken from TIDEGATE_ADMIN_TOKEN.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:9090"
    )]
    admin: String,
}

#[derive(Subcommand)]
enum Order {
    /// Reads a plugin's file again, or all of them, and uses what is there; what fails is not used.
    Reload {
        /// The plugin's name in the configuration; all without it.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

#[derive(Deserialize)]
struct List<T> {
    /// There may be none beside a problem.
    #[serde(default = "Vec::new")]
    plugins: Vec<T>,
}

#[derive(Deserialize)]
struct Plugin {
    name: String,
    file: String,
    sha256: Option<String>,
    kinds: Vec<String>,
    version: u64,
    loaded_at: u64,
    routes: Vec<String>,
    failures: BTreeMap<String, u64>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    at: u64,
    reason: String,
}

#[derive(Deserialize)]
struct Reloaded {
    plugin: String,
    changed: bool,
    /// None where no route uses it.
    version: Option<u64>,
    sha256: String,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::at(&arguments.admin, admin_token()).map_err(Failure::refused)?;
    match &arguments.order {
        None => list(&arguments, &admin),
        Some(Order::Reload { name }) => reload(&arguments, &admin, name.as_deref()),
    }
}

fn list(arguments: &Arguments, admin: &Admin) -> Result<(), Failure> {
    let answer = runtime(1)?.block_on(admin.get("/plugins"));
    let (_, text) = successful(&arguments.admin, answer)?;
    if arguments.json {
        println!("{}", text.trim_end());
        return Ok(());
    }
    let list: List<Plugin> = read(arguments, &text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    print!("{}", listed(&list.plugins, now));
    Ok(())
}

/// Gives the order and says what came of it; what was refused is a failure that says why.
fn reload(arguments: &Arguments, admin: &Admin, name: Option<&str>) -> Result<(), Failure> {
    let path = name.map_or_else(
        || "/plugins/reload".to_owned(),
        |name| format!("/plugins/{}/reload", segment(name)),
    );
    let edge = &arguments.admin;
    let answer = runtime(1)?.block_on(admin.post_patiently(&path, &json!({}), COMPILES));
    let (text, refused) = match answer {
        Ok((status @ (StatusCode::UNPROCESSABLE_ENTITY | StatusCode::NOT_FOUND), text)) => {
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            let Some(why) = problem["detail"].as_str().map(plain) else {
                // Somebody else than an edge, whose page says little.
                return Err(Failure::failed(format!("{edge} answered {status}")));
            };
            (text, Some(Failure::failed(format!("{edge}: {why}"))))
        }
        answer => (successful(edge, answer)?.1, None),
    };
    if arguments.json {
        println!("{}", text.trim_end());
    } else {
        let list: List<Reloaded> = read(arguments, &text)?;
        print!("{}", reloaded(&list.plugins));
    }
    refused.map_or(Ok(()), Err)
}

fn read<T: DeserializeOwned>(arguments: &Arguments, text: &str) -> Result<List<T>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let edge = &arguments.admin;
        Failure::failed(format!("{edge} sent no list of plugins: {error}"))
    })
}

/// A text as one segment of a path (RFC 3986 §3.3).
fn segment(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let bytes = text.as_bytes().iter();
    let parts = bytes.map(|byte| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    parts.collect()
}

/// A line for each plugin, and one more for each whose newest version was refused.
fn listed(plugins: &[Plugin], now: u64) -> String {
    let heads = [
        "NAME", "KIND", "VERSION", "SHA256", "LOADED", "FAILURES", "ROUTES", "FILE",
    ];
    let rows = plugins.iter().map(|plugin| {
        let sum: String = plugin
            .sha256
            .iter()
            .flat_map(|sum| sum.chars())
            .take(DIGITS)
            .collect();
        let failures: Vec<_> = plugin.failures.iter().collect();
        let failures = failures
            .iter()
            .map(|(kind, count)| format!("{count} {}", plain(kind)));
        [
            plain(&plugin.name),
            or_none(plain(&plugin.kinds.join("+"))),
            plugin.version.to_string(),
            or_none(plain(&sum)),
            age(now.saturating_sub(plugin.loaded_at)),
            or_none(failures.collect::<Vec<_>>().join(", ")),
            or_none(plain(&plugin.routes.join(", "))),
            plain(&plugin.file),
        ]
    });
    let refused = plugins.iter().filter_map(|plugin| {
        let error = plugin.error.as_ref()?;
        let (name, ago) = (plain(&plugin.name), age(now.saturating_sub(error.at)));
        Some(format!(
            "{name}: refused {ago} ago: {}\n",
            plain(&error.reason)
        ))
    });
    let table = table(heads, rows);
    [table].into_iter().chain(refused).collect()
}

fn reloaded(plugins: &[Reloaded]) -> String {
    let lines = plugins.iter().map(|plugin| {
        let name = plain(&plugin.plugin);
        let sum: String = plain(&plugin.sha256).chars().take(DIGITS).collect();
        match (plugin.version, plugin.changed) {
            (None, _) => format!("{name}: no route uses it ({sum})\n"),
            (Some(version), true) => format!("{name}: version {version} is used now ({sum})\n"),
            (Some(version), false) => format!("{name}: unchanged, version {version} ({sum})\n"),
        }
    });
    lines.collect()
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        for (name, expected) in [
            ("rate-limit", "rate-limit"),
            ("a/b c", "a%2Fb%20c"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }
}
