//! What is read of a plugin before anything is compiled: files alone, not too large ones, and also those of
//! plugins that no route uses.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::filters_support::version;
use crate::support::{Edge, Origin, edge};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// An edge that has a filter in this file on its one route.
fn with_filter(origin: &Origin, file: &Path) -> edge::Builder {
    let file = file.display().to_string();
    Edge::before(origin)
        .with(&format!(
            "[wasm]\nwatch = \"0s\"\n[plugins.mine]\nfile = {file:?}"
        ))
        .route("plugins = [{ name = \"mine\", grants = [\"clock\", \"log\"] }]")
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let (origin, folder) = (Origin::answers("x"), folder());
    let (pipe, linked) = (folder.path().join("pipe"), folder.path().join("linked"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    symlink(&pipe, &linked).unwrap();
    let socket = folder.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    for file in [
        &pipe,
        &linked,
        &socket,
        Path::new("/dev/zero"),
        folder.path(),
    ] {
        let refusal = with_filter(&origin, file).refusal();
        let expected = format!("cannot read {}: it is no regular file", file.display());
        assert!(refusal.contains(&expected), "{refusal}");
    }
    // A reload does not wait for one either.
    let file = folder.path().join("mine.wasm");
    std::fs::write(&file, version(1)).unwrap();
    let edge = with_filter(&origin, &file).start();
    std::fs::rename(&linked, &file).unwrap();
    let told = edge.admin("POST", "/plugins/reload").send().await;
    assert_eq!(told.status, 422);
    assert!(told.text().contains("no regular file"), "{}", told.text());
}

#[tokio::test]
async fn a_link_to_a_file_is_followed() {
    let (origin, folder) = (Origin::answers("x"), folder());
    let (file, link) = (folder.path().join("1.wasm"), folder.path().join("link"));
    std::fs::write(&file, version(1)).unwrap();
    symlink(&file, &link).unwrap();
    let edge = with_filter(&origin, &link).start();
    assert!(edge.get("/").await.get("x-version-001").is_some());
}

#[tokio::test]
async fn a_file_of_more_than_256_mib_is_refused() {
    let (origin, folder) = (Origin::answers("x"), folder());
    let file = folder.path().join("large.wasm");
    // It has a length, and nothing in it.
    File::create(&file)
        .and_then(|made| made.set_len((256 << 20) + 1))
        .unwrap();
    let refusal = with_filter(&origin, &file).refusal();
    assert!(refusal.contains("larger than 256 MiB"), "{refusal}");
}

#[tokio::test]
async fn a_plugin_that_no_route_uses_stops_nothing() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("[plugins]\nspin = { file = \"builtin:misfit\" }\nidle = { file = \"builtin:rate-limit\" }")
        .start();
    assert_eq!(edge.get("/").await.text(), "x");
    let listed = edge.admin("GET", "/plugins").send().await;
    let listed: Value = serde_json::from_str(listed.text()).unwrap();
    for (plugin, name) in [(0, "idle"), (1, "spin")] {
        let plugin = &listed["plugins"][plugin];
        assert_eq!(plugin["name"], name);
        assert_eq!(
            (&plugin["kinds"], &plugin["sha256"]),
            (&json!([]), &Value::Null)
        );
    }
    let told = edge.admin("POST", "/plugins/reload").send().await;
    assert_eq!(told.status, 200, "{}", told.text());
    // It is of no version, since nothing of it is used.
    let told: Value = serde_json::from_str(told.text()).unwrap();
    for plugin in told["plugins"].as_array().unwrap() {
        assert_eq!(
            (&plugin["changed"], &plugin["version"]),
            (&json!(false), &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_plugin_that_no_route_uses_is_the_one_that_was_meant_all_the_same() {
    let origin = Origin::answers("x");
    for (settings, part) in [
        ("file = \"/nowhere/idle.wasm\"", "cannot read"),
        ("file = \"builtin:nothing\"", "nothing called \"nothing\""),
        (
            "file = \"builtin:misfit\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
            "has the sha256",
        ),
    ] {
        let edge = Edge::before(&origin).with(&format!("[plugins.idle]\n{settings}"));
        let refusal = edge.refusal();
        assert!(
            refusal.contains("\"idle\"") && refusal.contains(part),
            "{refusal}"
        );
    }
}
