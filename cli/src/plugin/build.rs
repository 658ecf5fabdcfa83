//! `tidegate plugin build`: cargo, and a component of what it makes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;
use wasmparser::Parser;

use crate::failure::Failure;

/// In this order: the first makes the smaller filters, which import no WASI.
const FILTER_TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];
/// What is made with the Spin SDK needs WASI.
const HANDLER_TARGETS: [&str; 1] = ["wasm32-wasip2"];

#[derive(Args)]
pub(crate) struct Arguments {
    /// The plugin's folder.
    #[arg(value_name = "PATH", default_value = ".")]
    folder: PathBuf,
}

/// A line of what cargo says of its work.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let manifest = arguments.folder.join("Cargo.toml");
    let refused = |why: &str| Failure::refused(format!("{}: {why}", manifest.display()));
    let text = std::fs::read_to_string(&manifest).map_err(|error| refused(&error.to_string()))?;
    let manifest_of: toml::Table =
        toml::from_str(&text).map_err(|error| refused(error.message()))?;
    let manifest = manifest
        .canonicalize()
        .map_err(|error| refused(&error.to_string()))?;
    let targets = if uses_spin(&manifest_of) {
        &HANDLER_TARGETS[..]
    } else {
        &FILTER_TARGETS
    };
    let target = installed(targets)?;
    let module = compile(&manifest, target)?;
    let file = component(&module, &manifest_of)?;
    let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    println!("{} ({size} bytes, by way of {target})", file.display());
    Ok(())
}

fn uses_spin(manifest: &toml::Table) -> bool {
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies.is_some_and(|dependencies| dependencies.contains_key("spin-sdk"))
}

/// The first of these targets that the toolchain has.
fn installed(targets: &[&'static str]) -> Result<&'static str, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    for target in targets {
        let answer = Command::new(&rustc)
            .args(["--print", "target-libdir", "--target", target])
            .output()
            .map_err(|error| {
                Failure::failed(format!(
                    "{}: {error}; Rust has to be installed",
                    rustc.display()
                ))
            })?;
        let folder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if answer.status.success() && Path::new(&folder).is_dir() {
            return Ok(target);
        }
    }
    let (first, target) = (targets[0], targets.join(" nor "));
    Err(Failure::failed(format!(
        "the toolchain has no {target}: run `rustup target add {first}`"
    )))
}

/// Runs cargo; the module, or component, that it made of the plugin.
fn compile(manifest: &Path, target: &str) -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(&cargo)
        .args(["build", "--release", "--lib", "--target", target])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::failed(format!("{}: {error}", cargo.display())))?;
    if !built.status.success() {
        return Err(Failure::failed(format!("cargo: {}", built.status)));
    }
    let said = String::from_utf8_lossy(&built.stdout);
    let messages = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let ours = messages
        .filter(|message| {
            message.reason == "compiler-artifact" && message.manifest_path == manifest
        })
        .flat_map(|message| message.filenames);
    let mut modules = ours.filter(|file| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    modules.next().ok_or_else(|| {
        Failure::refused(format!(
            "{}: its library is no cdylib: [lib] crate-type = [\"cdylib\"]",
            manifest.display()
        ))
    })
}

/// Makes a component of a module, unless it is one, and puts it into the target folder itself.
fn component(module: &Path, manifest: &toml::Table) -> Result<PathBuf, Failure> {
    let failed = |why: String| Failure::failed(format!("{}: {why}", module.display()));
    let mut bytes = std::fs::read(module).map_err(|error| failed(error.to_string()))?;
    if Parser::is_core_wasm(&bytes) {
        bytes = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&bytes)
            .and_then(|encoder| encoder.encode())
            .map_err(|error| failed(format!("no component can be made of it: {error:#}")))?;
    }
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .unwrap_or("plugin");
    // The module is in <target folder>/<target>/release.
    let folder = module.ancestors().nth(3).unwrap_or(module);
    let file = folder.join(format!("{}.wasm", name.replace('-', "_")));
    std::fs::write(&file, bytes)
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    Ok(file)
}
