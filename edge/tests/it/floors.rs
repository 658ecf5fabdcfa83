//! Imports point down, floor by floor.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `edge/src`, ground first; those of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &[
        "clock",
        "config",
        "explanation",
        "gcra",
        "random",
        "router",
        "telemetry",
        "trailers",
    ],
    &["body", "interim", "redis", "wasm"],
    &["encoding", "error", "keyvalue"],
    &["exchange", "server", "upstream"],
    &["egress", "forward", "purge"],
    &["cache", "filters"],
    &["handlers"],
    &["admin", "proxy"],
    &["startup"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The rooms that a line of code names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.split("crate::").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn the_rooms_that_a_line_names_are_found() {
    let of = |line| named(line).collect::<Vec<_>>();
    assert_eq!(of("use crate::purge::{Index, Log};"), ["purge"]);
    assert_eq!(
        of("    crate::random::word() + crate::body::x"),
        ["random", "body"]
    );
    assert!(of("//! [`crate::proxy`] and pub(crate) are no code").is_empty());
}

#[test]
fn every_import_points_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upward = Vec::new();
    for path in files(&source) {
        let inside = path.strip_prefix(&source).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let own = floor(room).unwrap_or_else(|| panic!("{room:?} stands on no floor yet"));
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            for other in named(line).filter(|other| *other != room) {
                if floor(other).is_none_or(|floor| floor >= own) {
                    upward.push(format!(
                        "{}:{}: {}",
                        inside.display(),
                        number + 1,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(
        upward.is_empty(),
        "these look up, or aside:\n{}",
        upward.join("\n")
    );
}
