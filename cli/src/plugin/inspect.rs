//! `tidegate plugin inspect`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};
use tidegate_edge::filters::{Plugins, read_component};
use toml::{Table, Value};

use super::component::Component;
use super::edge;
use crate::failure::Failure;
use crate::table::plain;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A configuration to ask it for its hooks with, as TOML: `{ key = "client" }`.
    #[arg(long, value_name = "TABLE", default_value = "{}")]
    config: String,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (component, bytes) = read(&arguments.file)?;
    let config: Table = toml::from_str(&format!("config = {}", arguments.config))
        .map_err(|error| Failure::refused(format!("--config: {error}")))?;
    let hooks = component
        .kind()
        .is_filter()
        .then(|| hooks(&arguments.file, &component, config));
    print!("{}", page(&arguments.file, &bytes, &component, hooks));
    Ok(())
}

/// Reads a component from a file.
///
/// # Errors
/// When there is none.
pub(super) fn read(file: &Path) -> Result<(Component, Vec<u8>), Failure> {
    let refused = |why: String| Failure::refused(format!("{}: {why}", file.display()));
    let bytes = read_component(file).map_err(|error| refused(error.to_string()))?;
    let component = Component::read(&bytes)
        .map_err(|why| Failure::refused(format!("{} {why}", file.display())))?;
    Ok((component, bytes))
}

/// The hooks of a filter, which only an instance can tell, and only with a configuration that it likes.
fn hooks(file: &Path, component: &Component, mut plugin: Table) -> Result<String, String> {
    let grants = component.grants().into_iter().map(Value::from).collect();
    plugin.insert("grants".to_owned(), Value::Array(grants));
    plugin.insert("deadline".to_owned(), "1s".into());
    let config = edge::config(
        file,
        component.kind(),
        &plugin,
        &Table::new(),
        "http://127.0.0.1:9",
    )?;
    let plugins =
        Plugins::load(&config.plugins, tidegate_plugins::ALL).map_err(|error| error.to_string())?;
    let chain = plugins
        .chain(&config.routes[0].plugins)
        .map_err(|error| error.to_string())?;
    Ok(listed(chain.hooks()))
}

fn page(
    file: &Path,
    bytes: &[u8],
    component: &Component,
    hooks: Option<Result<String, String>>,
) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        // A String takes everything.
        let _ = writeln!(page, "{name:8} {}", plain(value));
    };
    line("file", &file.display().to_string());
    line("size", &format!("{} bytes", bytes.len()));
    line("sha256", &sha256(bytes));
    line("kind", component.kind().described());
    match hooks {
        Some(Ok(hooks)) => line("hooks", &hooks),
        Some(Err(why)) => line(
            "hooks",
            &format!("not told: {why}; --config gives it another"),
        ),
        None => {}
    }
    line("grants", &listed(component.grants()));
    let optional = component.optional_grants();
    if !optional.is_empty() {
        line("optional", &listed(optional));
    }
    for (name, names) in [
        ("imports", &component.imports),
        ("exports", &component.exports),
    ] {
        line(name, names.first().map_or("none", String::as_str));
        for more in names.iter().skip(1) {
            line("", more);
        }
    }
    page
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn a_hash_is_in_hexadecimal() {
        // FIPS 180-4's example for "abc".
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
