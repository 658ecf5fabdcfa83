//! Where and of what a run was made.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub system: String,
}

impl Machine {
    pub fn here() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(unknown),
        }
    }
}

/// What stands behind the first `name` and the sign, without quotes.
fn value(text: &str, name: &str, sign: char) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(sign))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// The commit of the checkout, and whether something in it is not committed but for what a run itself writes.
pub fn commit(checkout: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(checkout)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "of no known commit".to_owned();
    };
    let written = [
        "status",
        "--porcelain",
        "--",
        ".",
        ":!benches/RESULTS.md",
        ":!benches/rivals.svg",
    ];
    match git(&written) {
        Some(changes) if changes.is_empty() => format!("commit {commit}"),
        _ => format!("commit {commit} with changes that are not committed"),
    }
}

/// The first version in what a program says when it is asked for it: `1.22.1` of `nginx version: nginx/1.22.1`.
pub fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output();
    let said = output.map_or_else(
        |_| String::new(),
        |output| {
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr)
        },
    );
    first_version(&said).unwrap_or_else(|| "of unknown version".to_owned())
}

fn first_version(said: &str) -> Option<String> {
    said.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, version) in [
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12"),
            (
                "varnishd (varnish-7.1.1 revision 7cee1c58)\nCopyright (c) 2006",
                "7.1.1",
            ),
            (
                "Apache Traffic Server - traffic_server - 9.2.5 - (build # 0)",
                "9.2.5",
            ),
            ("h2load nghttp2/1.52.0", "1.52.0"),
        ] {
            assert_eq!(first_version(said).as_deref(), Some(version));
        }
        assert_eq!(first_version("no idea."), None);
    }

    #[test]
    fn values_of_the_system_are_read() {
        let text =
            "flags : fpu\nmodel name\t: AMD EPYC\nmodel name\t: other\nPRETTY_NAME=\"Debian\"\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("AMD EPYC"));
        assert_eq!(value(text, "PRETTY_NAME", '=').as_deref(), Some("Debian"));
    }
}
