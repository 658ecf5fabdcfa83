//! Builds the guests and makes components of them.
//!
//! A cargo inside a cargo: it works in a target folder of its own below `OUT_DIR`, since the outer
//! one is locked until this script has ended, and is told nothing of the outer build's wrappers
//! and flags, which are for another target.
//!
//! Filters are members of this workspace and come out as modules. Spin applications are a workspace
//! of their own, built as their authors would, and only where the feature `spin` asks for them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The filters: their folders, which are also the names they are shipped under.
const FILTERS: Guests = Guests {
    folder: "guests",
    target: "wasm32-unknown-unknown",
    profile: "guest",
    // A small stack lets an instance fit in two pages, which makes it cheaper to start.
    flags: "-Clink-arg=-zstack-size=16384",
    prefix: "tidegate-plugin-",
    names: &[
        "rate-limit",
        "invalidate",
        "misbehaving",
        "capable",
        "scripted",
        "scripted-values",
        "typical",
    ],
    features: &["--no-default-features"],
};

/// Filters that are shipped once more, with their features, and a name that says so. What needs fewer
/// capabilities can be granted fewer, and is cheaper to make an instance of.
const FEATURED: Guests = Guests {
    names: &["rate-limit"],
    features: &[],
    ..FILTERS
};
/// What is behind the name of a featured filter.
const FEATURED_SUFFIX: &str = "-jwt";

/// The Spin applications, for tests.
const SPIN: Guests = Guests {
    folder: "spin",
    target: "wasm32-wasip2",
    profile: "release",
    flags: "",
    prefix: "",
    names: &[
        "greeting",
        "classic",
        "errand",
        "errand-classic",
        "misfit",
        "misfit-classic",
    ],
    features: &[],
};

/// Spin middleware, which is built by itself: its feature of the SDK makes what is built along with it import
/// another handler as well.
const MIDDLEWARE: Guests = Guests {
    names: &["gate"],
    ..SPIN
};

/// Guests that are built together.
struct Guests {
    /// Where below `OUT_DIR` they are built.
    folder: &'static str,
    target: &'static str,
    profile: &'static str,
    /// What rustc is told beside what cargo tells it.
    flags: &'static str,
    /// What their packages' names begin with.
    prefix: &'static str,
    names: &'static [&'static str],
    /// What cargo is told of their features.
    features: &'static [&'static str],
}

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
    let output = path("OUT_DIR")?;
    println!("cargo::rerun-if-changed=build.rs");

    let workspace = plugins.join("..");
    watch(
        &workspace,
        &plugins,
        FILTERS.names.iter().chain(&["sdk", "wit"]),
    );
    for (guests, suffix) in [(FEATURED, FEATURED_SUFFIX), (FILTERS, "")] {
        let modules = guests.compile(&workspace, &output)?;
        for guest in guests.names {
            let module = read(&modules.join(guests.file(guest)))?;
            let component = make_component(&module).map_err(|error| format!("{guest}: {error}"))?;
            write_if_changed(&output.join(format!("{guest}{suffix}.wasm")), &component)?;
        }
    }

    if std::env::var_os("CARGO_FEATURE_SPIN").is_some() {
        let workspace = plugins.join("spin");
        let names = SPIN.names.iter().chain(MIDDLEWARE.names);
        watch(&workspace, &workspace, names);
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join("Cargo.toml").display()
        );
        for guests in [SPIN, MIDDLEWARE] {
            let components = guests.compile(&workspace, &output)?;
            for guest in guests.names {
                let component = read(&components.join(guests.file(guest)))?;
                write_if_changed(&output.join(format!("spin-{guest}.wasm")), &component)?;
            }
        }
    }
    Ok(())
}

/// Names what makes this script run again; nothing else does.
fn watch<'a>(workspace: &Path, folders: &Path, names: impl Iterator<Item = &'a &'a str>) {
    let watched = names.flat_map(|name| {
        let folder = folders.join(name);
        if folder.join("Cargo.toml").exists() {
            vec![folder.join("src"), folder.join("Cargo.toml")]
        } else {
            vec![folder]
        }
    });
    for watched in watched.chain([workspace.join("Cargo.lock")]) {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}

fn require_target(target: &str) -> Result<(), String> {
    let rustc = std::env::var_os("RUSTC").ok_or("cargo did not name its rustc")?;
    let answer = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(|error| format!("{}: {error}", rustc.display()))?;
    let folder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if answer.status.success() && Path::new(&folder).is_dir() {
        Ok(())
    } else {
        Err(format!(
            "the guests need the target {target}, which is not installed: run `rustup target add {target}`"
        ))
    }
}

impl Guests {
    /// Runs cargo for them; the folder with what came out.
    fn compile(&self, workspace: &Path, output: &Path) -> Result<PathBuf, String> {
        require_target(self.target)?;
        let folder = output.join(self.folder);
        let cargo = std::env::var_os("CARGO").ok_or("cargo did not name itself")?;
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--lib", "--locked"])
            .args(["--profile", self.profile, "--target", self.target])
            .args(self.features)
            .arg("--manifest-path")
            .arg(workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&folder);
        for guest in self.names {
            command.args(["-p", &format!("{}{guest}", self.prefix)]);
        }
        forget_outer_build(&mut command);
        let built = command
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags)
            .output()
            .map_err(|error| format!("cargo for the guests: {error}"))?;
        if !built.status.success() {
            let said = String::from_utf8_lossy(&built.stderr);
            return Err(format!(
                "the guests do not build ({}):\n{said}",
                built.status
            ));
        }
        Ok(folder.join(self.target).join(self.profile))
    }

    /// What cargo calls a guest's file.
    fn file(&self, guest: &str) -> String {
        format!("{}{guest}.wasm", self.prefix).replace('-', "_")
    }
}

fn forget_outer_build(command: &mut Command) {
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
}

fn make_component(module: &[u8]) -> Result<Vec<u8>, String> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
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
