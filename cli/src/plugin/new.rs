//! `tidegate plugin new`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to make; its last part is the plugin's name.
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// What kind of plugin.
    #[arg(long, value_enum, default_value = "filter")]
    world: World,
    /// The folder of the SDK, `plugins/sdk` of Tidegate's sources; that of the sources this binary was built from,
    /// where they still are.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum World {
    /// Looks at exchanges before and behind the cache.
    Filter,
    /// Answers in an origin's place, by way of the Spin SDK.
    Handler,
}

/// A file of a template: where it goes, and what is in it.
type Template = [(&'static str, &'static str); 3];

const FILTER: Template = [
    ("Cargo.toml", include_str!("template/filter/Cargo.toml")),
    ("src/lib.rs", include_str!("template/filter/lib.rs")),
    (
        "scenario.toml",
        include_str!("template/filter/scenario.toml"),
    ),
];

const HANDLER: Template = [
    ("Cargo.toml", include_str!("template/handler/Cargo.toml")),
    ("src/lib.rs", include_str!("template/handler/lib.rs")),
    (
        "scenario.toml",
        include_str!("template/handler/scenario.toml"),
    ),
];

/// As long as a package's name may be where packages are published.
const LONGEST_NAME: usize = 64;

/// The crates that come with the compiler, and those that the templates depend on.
const TAKEN: [&str; 9] = [
    "alloc",
    "anyhow",
    "core",
    "proc-macro",
    "serde",
    "spin-sdk",
    "std",
    "test",
    "tidegate-sdk",
];

/// The keywords (Rust reference, "Keywords", edition 2024) that a name can be.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let name = name(folder).map_err(Failure::refused)?;
    let (template, sdk) = match arguments.world {
        World::Filter => (
            FILTER,
            sdk(arguments.sdk.as_deref()).map_err(Failure::refused)?,
        ),
        World::Handler => (HANDLER, String::new()),
    };
    if folder.exists() {
        return Err(Failure::refused(format!(
            "{} is there already",
            folder.display()
        )));
    }
    for (file, text) in template {
        let text = text.replace("{name}", name).replace("{sdk}", &sdk);
        write(&folder.join(file), &text).map_err(|error| {
            Failure::failed(format!("{}: {error}", folder.join(file).display()))
        })?;
    }
    let file = format!("{}.wasm", name.replace('-', "_"));
    let shown = folder.display();
    println!("{shown} is made. From here:");
    println!("  tidegate plugin build {shown}");
    println!("  tidegate plugin test {shown}/target/{file} {shown}/scenario.toml");
    Ok(())
}

/// The plugin's name, which is a package's as well, and part of a field's name.
fn name(folder: &Path) -> Result<&str, String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain)
        && name.len() <= LONGEST_NAME;
    let why = if !is_name {
        "small letters, digits and -, a letter first, 64 at most"
    } else if TAKEN.contains(&name) {
        "a crate that it is built with has it"
    } else if KEYWORDS.contains(&name) {
        "it is a word of Rust's own"
    } else {
        return Ok(name);
    };
    Err(format!("{name:?} is no name for a plugin: {why}"))
}

/// Where the SDK is: a path, since it is published nowhere yet.
fn sdk(given: Option<&Path>) -> Result<String, String> {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/sdk"));
    let folder = given.unwrap_or(own);
    let is_sdk = folder.join("src/filter.rs").exists() && folder.join("Cargo.toml").exists();
    if !is_sdk {
        return Err(format!(
            "the SDK is not in {}: --sdk says where plugins/sdk of Tidegate's sources is",
            folder.display()
        ));
    }
    let folder = folder
        .canonicalize()
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    // As TOML writes it between its own quotes.
    Ok(folder
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\""))
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::scenario::Scenario;

    #[test]
    fn a_name_is_a_packages() {
        for (folder, expected) in [
            ("mine", Some("mine")),
            ("a/b/my-2nd", Some("my-2nd")),
            ("Mine", None),
            ("2nd", None),
            ("a b", None),
            ("..", None),
            ("/", None),
            ("", None),
            ("mine/", Some("mine")),
            ("serde", None),
            ("std", None),
            ("core", None),
            ("tidegate-sdk", None),
            ("spin-sdk", None),
            ("match", None),
            ("a/gen", None),
            ("matching", Some("matching")),
        ] {
            assert_eq!(name(Path::new(folder)).ok(), expected, "{folder:?}");
        }
    }

    #[test]
    fn the_scenarios_that_come_with_a_plugin_can_be_read() {
        for [_, _, (_, scenario)] in [FILTER, HANDLER] {
            let scenario: Result<Scenario, _> = toml::from_str(&scenario.replace("{name}", "mine"));
            assert!(scenario.is_ok_and(|scenario| scenario.steps.len() >= 2));
        }
    }
}
