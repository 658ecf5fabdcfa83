//! Tells the program which compiler made it: what it counts depends on that.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").expect("cargo names the compiler");
    let output = Command::new(compiler).arg("--version").output();
    let output = output.expect("the compiler that cargo names runs");
    let version = String::from_utf8_lossy(&output.stdout);
    // `rustc 1.95.0 (…)`.
    let version = version.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=COMPILER_VERSION={version}");
}
