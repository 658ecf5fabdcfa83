//! `tidegate plugin` takes an author from an empty folder to a filter that does what its scenario says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::{Ended, finish, repository, tidegate};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A file of this content in a folder.
fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let file = folder.path().join(name);
    fs::write(&file, content).expect("a temporary file can be written");
    file
}

fn plugin(arguments: &[&dyn AsRef<Path>]) -> Ended {
    let arguments = arguments.iter().map(|argument| argument.as_ref());
    finish(tidegate().arg("plugin").args(arguments))
}

const LIMITED: &str = r#"
[plugin]
grants = ["limits"]
deadline = "5s"
config = { name = "api", windows = [{ limit = 1, seconds = 10 }] }

[origin]
"/a" = { headers = { cache-control = "max-age=60" }, body = "hello" }

[[steps]]
name = "the first goes through"
request = { path = "/a", client = "192.0.2.1" }
expect = { status = 200, body = "hello", headers = { ratelimit = "\"api\";r=0;t=10" }, origin = { requests = 1, path = "/a" } }

[[steps]]
name = "another client's too, from the cache"
request = { path = "/a", client = "192.0.2.2" }
expect = { status = 200, cache = "hit", origin = { requests = 0 } }

[[steps]]
name = "the second does not"
request = { path = "/a", client = "192.0.2.1" }
expect = { status = 429, headers = { retry-after = "10", age = false } }

[[steps]]
advance = "10s"

[[steps]]
name = "until its time has come"
origin."/b" = { status = 503 }
request = { path = "/b", client = "192.0.2.1" }
expect = { status = 503, headers = { ratelimit = true } }
"#;

fn tested(scenario: &str) -> Ended {
    let folder = folder();
    let component = file(&folder, "limit.wasm", tidegate_plugins::RATE_LIMIT);
    let scenario = file(&folder, "scenario.toml", scenario);
    plugin(&[&"test", &component, &scenario])
}

#[test]
fn a_scenario_that_goes_as_expected_ends_with_0() {
    let tested = tested(LIMITED);
    assert_eq!(tested.code, Some(0), "{}{}", tested.out, tested.err);
    assert!(
        tested.out.contains("ok   3: the second does not"),
        "{}",
        tested.out
    );
    assert!(tested.out.contains("5 of 5 steps"), "{}", tested.out);
}

#[test]
fn a_scenario_that_does_not_ends_with_1_and_says_which_step_and_what_differs() {
    let tested = tested(&LIMITED.replace(
        "status = 429, headers",
        "status = 200, body = \"x\", headers",
    ));
    assert_eq!(tested.code, Some(1), "{}", tested.out);
    for part in [
        "FAIL 3: the second does not",
        "status: \"429\" instead of \"200\"",
        "instead of \"x\"",
        "ok   5: until its time has come",
        "4 of 5 steps",
    ] {
        assert!(tested.out.contains(part), "{part}: {}", tested.out);
    }
    assert!(tested.err.contains("1 of 5 steps failed"), "{}", tested.err);
}

#[test]
fn what_makes_no_sense_ends_with_2_and_is_named() {
    for (from, to, part) in [
        ("limit = 1,", "limit = 0,", "a limit of 0"),
        ("grants = [\"limits\"]", "grants = []", "limits"),
        ("status = 429,", "state = 429,", "unknown field `state`"),
        ("advance = \"10s\"", "advance = \"soon\"", "soon"),
        (
            "advance = \"10s\"",
            "advance = \"99999999999999999d\"",
            "longer than 100 years",
        ),
        ("cache-control =", "\"cache control\" =", "cache control"),
        ("status = 503 }", "status = 99 }", "99"),
        (
            "advance = \"10s\"",
            "advance = \"10s\"\nexpect = { status = 200 }",
            "step 4: expects something of no request",
        ),
        (
            "request = { path = \"/b\"",
            "request = { method = \"GET /\", path = \"/b\"",
            "step 5: \"GET /\" is no method",
        ),
        (
            "request = { path = \"/b\"",
            "request = { path = \"b c\"",
            "step 5: \"b c\" is no path",
        ),
        (
            "headers = { ratelimit = true }",
            "headers = { \"rate limit\" = false }",
            "step 5: \"rate limit\" is no field name",
        ),
    ] {
        let tested = tested(&LIMITED.replacen(from, to, 1));
        assert_eq!(tested.code, Some(2), "{to}: {}{}", tested.out, tested.err);
        assert!(tested.err.contains(part), "{to}: {}", tested.err);
    }
    let folder = folder();
    let component = file(&folder, "limit.wasm", tidegate_plugins::RATE_LIMIT);
    let tested = plugin(&[&"test", &component, &"/nowhere/scenario.toml"]);
    assert_eq!(tested.code, Some(2));
    assert!(
        tested.err.contains("/nowhere/scenario.toml"),
        "{}",
        tested.err
    );
}

#[test]
fn a_component_is_inspected() {
    let folder = folder();
    let component = file(&folder, "limit.wasm", tidegate_plugins::RATE_LIMIT);
    let inspected = plugin(&[
        &"inspect",
        &component,
        &"--config",
        &"{ windows = [{ limit = 1, seconds = 1 }] }",
    ]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.err);
    for line in [
        "kind     filter (world filter)",
        "hooks    on-request",
        "grants   limits",
        "         tidegate:plugin/limits@0.1.0",
        "exports  configure",
        "sha256   ",
        &format!("size     {} bytes", tidegate_plugins::RATE_LIMIT.len()),
    ] {
        assert!(inspected.out.contains(line), "{line}: {}", inspected.out);
    }
    assert!(!inspected.out.contains("optional"), "{}", inspected.out);
    // With no configuration it does not like to work, and says so.
    let inspected = plugin(&[&"inspect", &component]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.err);
    assert!(
        inspected.out.contains("missing field `windows`"),
        "{}",
        inspected.out
    );
}

#[test]
fn a_middleware_is_tested_before_the_origin() {
    let folder = folder();
    let component = file(&folder, "gate.wasm", tidegate_plugins::spin::GATE);
    let scenario = r#"
        [origin]
        "/a" = { headers = { x-secret = "1" }, body = "hello" }
        [[steps]]
        request = { path = "/a" }
        expect = { status = 200, body = "hello", headers = { x-gate = "1", x-secret = false }, origin = { requests = 1 } }
        [[steps]]
        request = { path = "/a", headers = { gate = "deny" } }
        expect = { status = 401, origin = { requests = 0 } }
    "#;
    let scenario = file(&folder, "scenario.toml", scenario);
    let tested = plugin(&[&"test", &component, &scenario]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.out, tested.err);
}

#[test]
fn a_handler_can_do_without_some_of_what_it_imports() {
    let folder = folder();
    let spin = tidegate_plugins::spin::ALL.iter();
    let (_, bytes) = spin
        .clone()
        .find(|(name, _)| *name == "misfit")
        .expect("it is built");
    let inspected = plugin(&[&"inspect", &file(&folder, "misfit.wasm", bytes)]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.err);
    for line in ["kind     handler (wasi:http/handler 0.3)", "optional "] {
        assert!(inspected.out.contains(line), "{line}: {}", inspected.out);
    }
}

#[test]
fn what_is_no_component_is_not_inspected() {
    let folder = folder();
    for (content, part) in [
        (&b"\0asm\x01\0\0\0"[..], "core module"),
        (b"hello", "no WebAssembly component"),
    ] {
        let inspected = plugin(&[&"inspect", &file(&folder, "other.wasm", content)]);
        assert_eq!(inspected.code, Some(2));
        assert!(inspected.err.contains(part), "{}", inspected.err);
    }
}

#[test]
fn a_new_filter_builds_and_passes_its_scenario() {
    let folder = folder();
    let mine = folder.path().join("my-filter");
    let made = plugin(&[&"new", &mine]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(made.out.contains("tidegate plugin build"), "{}", made.out);
    // What is in the lock file has been fetched already, and nothing else need be.
    fs::copy(repository("Cargo.lock"), mine.join("Cargo.lock")).expect("it is there");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-filter");
    let built = finish(
        tidegate()
            .args(["plugin", "build"])
            .arg(&mine)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("RUSTFLAGS"),
    );
    assert_eq!(built.code, Some(0), "{}{}", built.out, built.err);
    let component = target.join("my_filter.wasm");
    assert!(
        built.out.contains(&component.display().to_string()),
        "{}",
        built.out
    );
    let tested = plugin(&[&"test", &component, &mine.join("scenario.toml")]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.out, tested.err);
}

#[test]
fn nothing_is_overwritten_and_names_are_packages() {
    let folder = folder();
    for (name, part) in [
        ("", "is there already"),
        ("My Filter", "no name for a plugin"),
        ("serde", "a crate that it is built with"),
        ("match", "a word of Rust's own"),
    ] {
        let path = if name.is_empty() {
            let there = folder.path().join("there");
            fs::create_dir(&there).expect("it is ours");
            there
        } else {
            folder.path().join(name)
        };
        let made = plugin(&[&"new", &path]);
        assert_eq!(made.code, Some(2), "{name}");
        assert!(made.err.contains(part), "{}", made.err);
    }
    let elsewhere = plugin(&[&"new", &folder.path().join("a"), &"--sdk", &"/nowhere"]);
    assert_eq!(elsewhere.code, Some(2));
    assert!(elsewhere.err.contains("--sdk"), "{}", elsewhere.err);
}

#[test]
fn a_target_that_is_missing_is_named_with_what_installs_it() {
    let folder = folder();
    let mine = folder.path().join("mine");
    assert_eq!(plugin(&[&"new", &mine]).code, Some(0));
    let rustc = file(&folder, "rustc", "#!/bin/sh\necho /nowhere\n");
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let built = finish(
        tidegate()
            .args(["plugin", "build"])
            .arg(&mine)
            .env("RUSTC", &rustc),
    );
    assert_eq!(built.code, Some(1));
    assert!(
        built
            .err
            .contains("rustup target add wasm32-unknown-unknown"),
        "{}",
        built.err
    );
}
