//! A component that is pinned is the one that was meant, or none.

use std::fs;

use tidegate_edge::config::Config;
use tidegate_edge::filters::{PluginError, Plugins, SourceError};

const ROUTE: &str = "[origins.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\norigin = \"app\"\n";

/// `printf abc | sha256sum`
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn pinned(file: &str, sum: &str) -> Result<Plugins, PluginError> {
    let text = format!("[plugins.mine]\nfile = {file:?}\nsha256 = {sum:?}\n{ROUTE}");
    let config = Config::from_toml(&text, "test").expect("a test's own settings are right");
    Plugins::load(&config.plugins, tidegate_plugins::WITH_FIXTURES)
}

#[test]
fn another_sum_than_the_pinned_one_is_refused_and_both_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.wasm");
    fs::write(&file, "abc").unwrap();
    let wanted = "00".repeat(32);
    let Err(error) = pinned(&file.display().to_string(), &wanted) else {
        panic!("it is loaded");
    };
    assert!(
        matches!(error, PluginError::Source(SourceError::OtherSum { .. })),
        "{error}"
    );
    let error = error.to_string();
    for part in ["\"mine\"", "mine.wasm", ABC, &wanted] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_pinned_sum_is_compared_before_anything_else_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.wasm");
    fs::write(&file, "abc").unwrap();
    // The right sum, in either case; then it is no component.
    for sum in [ABC.to_owned(), ABC.to_uppercase()] {
        let loaded = pinned(&file.display().to_string(), &sum);
        assert!(matches!(loaded, Err(PluginError::NoComponent { .. })));
    }
}

#[test]
fn what_ships_with_the_edge_can_be_pinned_too() {
    let Err(PluginError::Source(SourceError::OtherSum { found, .. })) =
        pinned("builtin:rate-limit", &"00".repeat(32))
    else {
        panic!("it is loaded");
    };
    assert!(pinned("builtin:rate-limit", &found.to_string()).is_ok());
}

#[test]
fn a_pin_is_64_hexadecimal_digits() {
    for bad in [
        "",
        "abc",
        &ABC[..63],
        &format!("{ABC}0"),
        &ABC.replace('f', "g"),
    ] {
        let text = format!("[plugins.mine]\nfile = \"mine.wasm\"\nsha256 = {bad:?}\n{ROUTE}");
        let error = Config::from_toml(&text, "edge.toml")
            .expect_err(bad)
            .to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        assert!(error.contains("line 3"), "{error}");
    }
}
