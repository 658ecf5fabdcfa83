//! A guest that goes wrong harms its own exchange alone: its changes are taken back, its route
//! answers as it says, others do not notice, and it is counted under its name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_edge::filters::{Flow, lines_left_out};

use crate::filters_support::{Reach, misbehaving, raw, subject};
use crate::support::{Edge, Origin, answer};

/// Time enough that only those who never end run out of it.
const PATIENT: &str = "5s";
/// Time that a test can wait for.
const SHORT: &str = "5ms";

/// What the fixture is asked to do, by its path; what it is called; the time it is given.
const PATHS: [(&str, &str, &str); 20] = [
    ("/loop", "deadline", SHORT),
    ("/panic", "trap", PATIENT),
    ("/trap", "trap", PATIENT),
    ("/recurse", "stack", PATIENT),
    ("/memory", "memory", PATIENT),
    ("/grow", "memory", PATIENT),
    ("/flood", "host-calls", PATIENT),
    ("/huge-call", "host-calls", PATIENT),
    ("/huge-answer", "answer-size", PATIENT),
    ("/bad-status", "answer", PATIENT),
    ("/origin/loop", "deadline", SHORT),
    ("/origin/panic", "trap", PATIENT),
    ("/origin/recurse", "stack", PATIENT),
    ("/origin/memory", "memory", PATIENT),
    ("/origin/flood", "host-calls", PATIENT),
    ("/response/loop", "deadline", SHORT),
    ("/response/panic", "trap", PATIENT),
    ("/response/recurse", "stack", PATIENT),
    ("/response/memory", "memory", PATIENT),
    ("/response/flood", "host-calls", PATIENT),
];

/// What is done by hand: what it is, the function that does it, and the rest as above.
const RAW: [(&str, &str, &str, &str); 19] = [
    (
        "a body beyond the memory's end",
        "(i32.store (i32.const 0x230) (i32.const 0x1fff0)) (i32.store (i32.const 0x234) (i32.const 0x11)) (global.get $respond)",
        "trap",
        PATIENT,
    ),
    (
        "a body without end",
        "(i32.store (i32.const 0x230) (i32.const 8)) (i32.store (i32.const 0x234) (i32.const -1)) (global.get $respond)",
        "trap",
        PATIENT,
    ),
    (
        "a body around the end of all addresses",
        "(i32.store (i32.const 0x230) (i32.const -16)) (i32.store (i32.const 0x234) (i32.const 32)) (global.get $respond)",
        "trap",
        PATIENT,
    ),
    (
        "more fields than there is memory for",
        "(i32.store (i32.const 0x22c) (i32.const 0x10000000)) (global.get $respond)",
        "trap",
        PATIENT,
    ),
    (
        "two thousand fields, each of them the whole memory",
        "(local $at i32)
         (local.set $at (i32.const 0x10000))
         (i32.store (i32.const 0x228) (local.get $at)) (i32.store (i32.const 0x22c) (i32.const 2048))
         (loop $again
           (i32.store offset=12 (local.get $at) (i32.const 0x20000))
           (local.set $at (i32.add (local.get $at) (i32.const 16)))
           (br_if $again (i32.lt_u (local.get $at) (i32.const 0x18000))))
         (global.get $respond)",
        "answer-size",
        PATIENT,
    ),
    (
        "a flow that there is not",
        "(i32.store (i32.const 0x200) (i32.const 7)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "a flow that is not aligned",
        "(i32.const 0x201)",
        "trap",
        PATIENT,
    ),
    (
        "a flow across the memory's end",
        "(i32.const 0x1fffc)",
        "trap",
        PATIENT,
    ),
    (
        "a flow that is nowhere",
        "(i32.const -4)",
        "trap",
        PATIENT,
    ),
    (
        "a name that is no text",
        "(call $set-header (local.get $request) (i32.const 0x110) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0x310)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "a name that is nowhere",
        "(call $set-header (local.get $request) (i32.const 0x1ffff) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0x310)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "a request that it was not given",
        "(call $set-header (i32.const 77) (i32.const 0x100) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0x310)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "a request that it gives back twice",
        "(call $drop-request (local.get $request)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "an allocation for the edge's answer that never ends",
        "(global.set $allocator (i32.const 1)) (call $path (local.get $request) (i32.const 0x320)) (global.get $continue)",
        "deadline",
        SHORT,
    ),
    (
        "an allocation for the edge's answer that is nowhere",
        "(global.set $allocator (i32.const 2)) (call $path (local.get $request) (i32.const 0x320)) (global.get $continue)",
        "trap",
        PATIENT,
    ),
    (
        "memory that is taken and not touched",
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (global.get $continue)",
        "memory",
        PATIENT,
    ),
    (
        "tables instead of memory",
        "(loop $again (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) (global.get $continue)",
        "memory",
        PATIENT,
    ),
    (
        "calls without end",
        "(loop $again (call $path (local.get $request) (i32.const 0x320)) (br $again)) (global.get $continue)",
        "host-calls",
        PATIENT,
    ),
    (
        "a loop without a call",
        "(loop $again (br $again)) (global.get $continue)",
        "deadline",
        SHORT,
    ),
];

/// Sends a request that goes wrong, and at the same time others to the same plugin, on the same and
/// on another route. `path` is what goes wrong, `calm` what does not.
async fn harms_nobody_else(case: &str, file: &str, path: &str, kind: &str, deadline: &str) {
    let calm = "/calm";
    let origin = Origin::always(answer("from the origin").with("cache-control", "max-age=60"));
    // Failures are counted by the plugin's name, in all edges of the process.
    let name =
        format!("isolation {case}").replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let line = |on_failure| {
        format!(
            "{{ name = {name:?}, grants = [\"log\", \"clock\"], on_failure = {on_failure:?}, deadline = {deadline:?} }}"
        )
    };
    let routes = ["open", "closed"].map(|on_failure| {
        format!(
            "{{ host = \"{on_failure}.test\", origin = \"app\", plugins = [{}] }}",
            line(on_failure)
        )
    });
    let edge = Edge::before(&origin)
        .with(&format!(
            "plugins.{name} = {{ file = {file:?}, reuse = 10 }}\nroutes = [{}, {{ origin = \"app\" }}]",
            routes.join(", ")
        ))
        .start();
    let get = |host: &str, path: &str| {
        let request = edge.request("GET", path).with("host", host);
        request.with("x-sent", "yes").send()
    };
    for host in ["closed.test", "open.test", "open.test"] {
        let asked = origin.requests();
        let (wrong, beside, without) =
            tokio::join!(get(host, path), get(host, calm), get("none.test", calm));
        for (other, which) in [(beside, "the same route"), (without, "another route")] {
            assert_eq!(other.status, 200, "{case}, {which}");
            assert_eq!(other.text(), "from the origin", "{case}, {which}");
        }
        if host == "closed.test" {
            assert_eq!(wrong.status, 503, "{case}");
            assert!(
                wrong.text().contains(&format!("({kind})")),
                "{case}: {}",
                wrong.text()
            );
            let status = wrong.get("proxy-status").unwrap();
            assert!(status.ends_with("error=plugin_failed"), "{case}: {status}");
            continue;
        }
        assert_eq!(wrong.status, 200, "{case}");
        assert_eq!(wrong.text(), "from the origin", "{case}");
        assert_eq!(wrong.get("x-changed"), None, "{case}");
        assert_eq!(wrong.get("cache-control"), Some("max-age=60"), "{case}");
        for asked in (asked..origin.requests()).map(|number| origin.request(number)) {
            if asked.target == path {
                assert_eq!(asked.get("x-changed"), None, "{case}");
                assert_eq!(asked.get("x-sent"), Some("yes"), "{case}");
            }
        }
    }
    // What was asked or answered without the filter is not shared; what it has seen before is stored, and
    // was not made stale or left out by what failed afterwards.
    let again = get("open.test", path).await;
    let is_shared = path.starts_with("/response/");
    assert_eq!(again.cache_status() == "hit", is_shared, "{case}");
    let page = edge.admin("GET", "/metrics").send().await;
    let failures: Vec<&str> = page
        .text()
        .lines()
        .filter(|line| {
            line.contains("tidegate_plugin_failures{") && line.contains(&format!("{name:?}"))
        })
        .collect();
    let expected = format!("kind={kind:?}");
    assert!(
        failures.len() == 1 && failures[0].contains(&expected),
        "{case}: {failures:?}"
    );
}

#[tokio::test]
async fn what_a_guest_does_wrong_is_its_own_exchanges_alone() {
    for (path, kind, deadline) in PATHS {
        let path = format!("{path}?changed");
        harms_nobody_else(&path, "builtin:misbehaving", &path, kind, deadline).await;
    }
}

#[tokio::test]
async fn what_no_sdk_lets_a_guest_do_is_its_own_exchanges_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (case, body, kind, deadline) in RAW {
        let file = folder.path().join(format!("{case}.wasm"));
        std::fs::write(&file, raw(body)).unwrap();
        let file = file.display().to_string();
        harms_nobody_else(case, &file, "/wrong", kind, deadline).await;
    }
}

/// Counts the lines that plugins write on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.fields().any(|field| field.name() == "plugin") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn left_out(plugin: &str) -> u64 {
    let counts = lines_left_out();
    let found = counts.iter().find(|(name, _)| name == plugin);
    found.map_or(0, |(_, count)| *count)
}

#[tokio::test]
async fn a_plugin_does_not_flood_the_log_in_one_exchange_nor_in_many() {
    let lines = Lines::default();
    let _subscribed = tracing::subscriber::set_default(lines.clone());
    let reach = Reach::new();
    let chain = misbehaving("chatter", "deadline = \"5s\"");
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/chatter"))
        .await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
    // The last one says that there are no more.
    assert_eq!(lines.0.load(Ordering::Relaxed), 64);
    assert_eq!(left_out("chatter"), 1_000 - 63);

    let chain = misbehaving("chatterbox", "deadline = \"5s\"");
    let mut exchanges = 0;
    // Each of them keeps to what an exchange may write; sooner or later one second has too many.
    while left_out("chatterbox") == 0 {
        let flow = chain
            .begin(&reach.capabilities)
            .on_request(&mut subject("/sixty-lines"))
            .await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        exchanges += 1;
        assert!(exchanges < 10_000, "no second has too many");
    }
    let origin = Origin::answers("");
    let edge = Edge::before(&origin).start();
    let page = edge.admin("GET", "/metrics").send().await;
    assert!(
        page.text()
            .contains("tidegate_plugin_log_lines_left_out{plugin=\"chatterbox\"}")
    );
}
