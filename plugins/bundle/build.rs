//! Builds the guests and makes components of them.
//!
//! A cargo inside a cargo: it works in a target folder of its own below `OUT_DIR`, since the outer
//! one is locked until this script has ended, and is told nothing of the outer build's wrappers
//! and flags, which are for another target.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// The guests: their folders, which are also the names they are shipped under.
const GUESTS: [&str; 3] = ["rate-limit", "invalidate", "misbehaving"];

/// A guest that is shipped twice: as it is without its features, and with them under another name.
/// What needs fewer capabilities can be granted fewer, and is cheaper to make an instance of.
const PLAIN_OF: (&str, &str) = ("rate-limit", "rate-limit-jwt");

/// A small stack lets an instance fit in two pages, which makes it cheaper to start.
const FLAGS: &str = "-Clink-arg=-zstack-size=16384";

fn main() {
    if let Err(message) = build() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let plugins = path("CARGO_MANIFEST_DIR")?.join("..");
    let workspace = plugins.join("..").join("Cargo.toml");
    let output = path("OUT_DIR")?;
    watch(&plugins, &workspace);
    require_target()?;
    let target = output.join("guests");
    let modules = compile(&workspace, &target, &GUESTS, &[])?;
    for guest in GUESTS {
        let name = if guest == PLAIN_OF.0 {
            PLAIN_OF.1
        } else {
            guest
        };
        ship(guest, &modules, &output.join(format!("{name}.wasm")))?;
    }
    let (guest, _) = PLAIN_OF;
    let modules = compile(&workspace, &target, &[guest], &["--no-default-features"])?;
    ship(guest, &modules, &output.join(format!("{guest}.wasm")))
}

/// Makes a guest's module the component `file`.
fn ship(guest: &str, modules: &Path, file: &Path) -> Result<(), String> {
    let module = modules.join(format!("tidegate_plugin_{}.wasm", guest.replace('-', "_")));
    let component = make_component(&module).map_err(|error| format!("{guest}: {error}"))?;
    write_if_changed(file, &component)
}

/// What makes this script run again; nothing else does.
fn watch(plugins: &Path, workspace: &Path) {
    let watched = ["sdk", "wit"].into_iter().chain(GUESTS).flat_map(|folder| {
        let folder = plugins.join(folder);
        if folder.join("Cargo.toml").exists() {
            vec![folder.join("src"), folder.join("Cargo.toml")]
        } else {
            vec![folder]
        }
    });
    let lock = workspace.with_file_name("Cargo.lock");
    for watched in watched.chain([lock, PathBuf::from("build.rs")]) {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}

fn require_target() -> Result<(), String> {
    let rustc = std::env::var_os("RUSTC").ok_or("cargo did not name its rustc")?;
    let answer = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("{}: {error}", rustc.display()))?;
    let folder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if answer.status.success() && Path::new(&folder).is_dir() {
        Ok(())
    } else {
        Err(format!(
            "the guests need the target {TARGET}, which is not installed: run `rustup target add {TARGET}`"
        ))
    }
}

/// Runs cargo for these guests; the folder with their modules.
fn compile(
    workspace: &Path,
    target: &Path,
    guests: &[&str],
    features: &[&str],
) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").ok_or("cargo did not name itself")?;
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--lib",
            "--locked",
            "--profile",
            "guest",
        ])
        .args(["--target", TARGET, "--manifest-path"])
        .arg(workspace)
        .arg("--target-dir")
        .arg(target)
        .args(features);
    for guest in guests {
        command.args(["-p", &format!("tidegate-plugin-{guest}")]);
    }
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        // CARGO_TARGET_… are per-target settings; the others here steer the outer build.
        if name.starts_with("CARGO_TARGET_") || name.starts_with("CARGO_FEATURE_") {
            command.env_remove(&variable);
        }
    }
    for variable in [
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_MAKEFLAGS",
        "CARGO_UNSTABLE_BUILD_STD",
        "MAKEFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
    ] {
        command.env_remove(variable);
    }
    let built = command
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS)
        .output()
        .map_err(|error| format!("cargo for the guests: {error}"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!(
            "the guests do not build ({}):\n{said}",
            built.status
        ));
    }
    Ok(target.join(TARGET).join("guest"))
}

fn make_component(module: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Keeps an unchanged file's time, so that what embeds it is not built again.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(file).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn path(variable: &str) -> Result<PathBuf, String> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo did not set {variable}"))
}
