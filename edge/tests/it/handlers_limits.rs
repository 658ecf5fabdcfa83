//! Handlers that fail in every way: what the client gets, what is counted, and who is not touched.

use tidegate_edge::filters::{FailureKind, failures};

use crate::support::{Edge, Response, patiently, wait_until};

const KINDS: [&str; 2] = ["misfit", "misfit-classic"];

/// How often a plugin has failed in this way.
fn counted(name: &str, kind: FailureKind) -> u64 {
    let all = failures();
    let found = all
        .iter()
        .find(|(plugin, of, _)| plugin == name && *of == kind);
    found.map_or(0, |(_, _, count)| *count)
}

fn problem(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.get("proxy-status"))
}

/// What a guest does, what the route allows it, and how that ends.
const FAILURES: &[(&str, &str, u16, FailureKind)] = &[
    ("/trap", "", 502, FailureKind::Trap),
    ("/loop", "deadline = \"30ms\"", 504, FailureKind::Deadline),
    ("/hog", "memory = \"8MiB\"", 502, FailureKind::Memory),
];

/// Those of one kind only.
const OF_ONE_KIND: &[(&str, &str, &str, u16, FailureKind)] = &[
    ("misfit", "/recurse", "", 502, FailureKind::Stack),
    (
        "misfit",
        "/stall",
        "timeout = \"50ms\"",
        504,
        FailureKind::Deadline,
    ),
    (
        "misfit",
        "/stall",
        "lifetime = \"50ms\"",
        504,
        FailureKind::Deadline,
    ),
    (
        "misfit",
        "/flood",
        "deadline = \"100ms\"",
        504,
        FailureKind::Deadline,
    ),
    (
        "misfit",
        "/litter",
        "deadline = \"60s\"",
        502,
        FailureKind::Trap,
    ),
    ("misfit-classic", "/silence", "", 502, FailureKind::Answer),
    ("misfit", "/?status=101", "", 502, FailureKind::Answer),
    (
        "misfit-classic",
        "/?status=103",
        "",
        502,
        FailureKind::Answer,
    ),
];

#[tokio::test]
async fn a_handler_that_fails_before_its_head_is_answered_for_and_counted() {
    let both = FAILURES
        .iter()
        .flat_map(|(path, settings, status, failure)| {
            KINDS.map(|kind| (kind, *path, *settings, *status, *failure))
        });
    for (number, (kind, path, settings, status, failure)) in
        both.chain(OF_ONE_KIND.iter().copied()).enumerate()
    {
        let name = format!("before-head-{number}");
        let edge = Edge::answered_by(&name, kind)
            .route(&format!("[handler]\n{settings}"))
            .start();
        let response = edge.get(path).await;
        assert_eq!(
            problem(&response),
            (status, Some("tidegate; error=plugin_failed")),
            "{kind} {path}"
        );
        let text = format!("handler \\\"{name}\\\" failed ({failure})");
        assert!(response.text().contains(&text), "{}", response.text());
        assert_eq!(counted(&name, failure), 1, "{kind} {path}");
        // On a busy machine, who means well may take longer than the others are given.
        if settings.is_empty() {
            assert_eq!(edge.get("/well").await.text(), "hello", "{kind} {path}");
        }
    }
}

#[tokio::test]
async fn a_handler_that_fails_behind_its_head_cuts_the_body_off_and_nothing_is_stored() {
    for (number, (kind, what, settings, failure)) in [
        ("misfit", "/trap-after-head", "", FailureKind::Trap),
        ("misfit-classic", "/trap-after-head", "", FailureKind::Trap),
        (
            "misfit",
            "/loop-after-head",
            "deadline = \"500ms\"",
            FailureKind::Deadline,
        ),
        (
            "misfit",
            "/hog-after-head",
            "memory = \"8MiB\"",
            FailureKind::Memory,
        ),
        (
            "misfit",
            "/stall-after-head",
            "lifetime = \"1s\"",
            FailureKind::Deadline,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("behind-head-{number}");
        let edge = Edge::answered_by(&name, kind)
            .route(&format!("[handler]\n{settings}"))
            .start();
        for cache_control in ["max-age%3D60", "no-store"] {
            let path = format!("{what}?cache-control={cache_control}");
            let mut connection = edge.request("GET", &path).begin().await;
            // What fails at once may take the head along that had not been written yet.
            if let Some(response) = connection.answer_to("GET").await {
                assert_eq!(response.status, 200, "{kind} {path}");
                assert!(!response.is_complete, "{kind} {path}");
            }
            assert!(!edge.is_stored(&path).await, "{kind} {path}");
        }
        wait_until("what failed to be counted", || counted(&name, failure) >= 2).await;
    }
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_cut_off() {
    for kind in KINDS {
        let name = format!("liar-{kind}");
        let edge = Edge::answered_by(&name, kind).start();
        let path = "/parts?count=2&size=10&content-length=30&cache-control=max-age%3D60";
        let response = edge.get(path).await;
        assert!(!response.is_complete, "{kind}: {response:?}");
        assert_eq!(counted(&name, FailureKind::Answer), 1, "{kind}");
        assert!(!edge.is_stored(path).await, "{kind}");
    }
}

#[tokio::test]
async fn a_looping_handler_does_not_keep_its_worker_from_others() {
    let edge = Edge::answered_by("busy", "misfit")
        .route("handler = { deadline = \"20s\", timeout = \"20s\" }")
        .start();
    edge.fill(&["/a?cache-control=max-age%3D60"]).await;
    let mut looping = edge.request("GET", "/loop").begin().await;
    for _ in 0..5 {
        assert_eq!(edge.get("/b").await.text(), "hello");
        assert_eq!(
            edge.get("/a?cache-control=max-age%3D60").await.text(),
            "hello"
        );
    }
    assert!(!looping.has_more().await, "it is still at it");
}

#[tokio::test]
async fn no_more_instances_are_alive_than_the_plugin_may_have() {
    for kind in KINDS {
        let name = format!("crowded-{kind}");
        let edge = Edge::answered_by(&name, kind)
            .with(&format!("[plugins.{name}]\ninstances = 2\nwait = \"10ms\""))
            .start();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut connection = edge.connect().await;
            let head =
                "POST /echo HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n";
            connection.write(head.as_bytes()).await;
            connection.head().await;
            held.push(connection);
        }
        let refused = edge.get("/a").await;
        assert_eq!(
            problem(&refused),
            (503, Some("tidegate; error=plugin_failed")),
            "{kind}"
        );
        assert_eq!(counted(&name, FailureKind::Refused), 1, "{kind}");
        held[0].write(b"0\r\n\r\n").await;
        assert!(held[0].rest().await.1, "{kind}");
        let served = async { while edge.get("/a").await.status != 200 {} };
        patiently("room", served).await;
    }
}

#[tokio::test]
async fn an_instance_serves_as_often_as_it_may_and_never_after_a_trap() {
    let edge = Edge::answered_by("again", "misfit")
        .with("[plugins.again]\nreuse = 3\ninstances = 1\nwait = \"20s\"")
        .start();
    for expected in ["1", "2", "3", "1", "2"] {
        assert_eq!(edge.get("/seen").await.text(), expected);
    }
    assert_eq!(edge.get("/trap").await.status, 502);
    assert_eq!(edge.get("/seen").await.text(), "1");
    let fresh = Edge::answered_by("never", "misfit").start();
    for _ in 0..2 {
        assert_eq!(fresh.get("/seen").await.text(), "1");
    }
}

#[tokio::test]
async fn a_guest_may_go_on_behind_its_answer() {
    let edge = Edge::answered_by("behind", "misfit")
        .route("handler = { deadline = \"500ms\" }")
        .start();
    let path = "/loop-after-answer?cache-control=max-age%3D60";
    let response = edge.get(path).await;
    assert_eq!((response.text(), response.is_complete), ("hello", true));
    wait_until("its end", || counted("behind", FailureKind::Deadline) == 1).await;
}

#[tokio::test]
async fn a_guest_finds_nothing_to_read_and_reaches_nobody() {
    for kind in KINDS {
        let edge = Edge::answered_by("shut", kind).start();
        let fetched = edge.get("/fetch?url=http://127.0.0.1:1/").await;
        assert!(
            fetched.text().contains("HttpRequestDenied"),
            "{kind}: {}",
            fetched.text()
        );
    }
    let edge = Edge::answered_by("shut", "misfit").start();
    let environment = edge.get("/environment").await;
    assert!(
        environment.text().starts_with("[] [] Err("),
        "{}",
        environment.text()
    );
}

#[tokio::test]
async fn a_component_of_another_world_is_no_handler() {
    for (handler, expected) in [
        ("rate-limit", "exports neither wasi:http/handler@0.3.0"),
        ("unheard-of", "nothing called \"unheard-of\""),
    ] {
        let error = Edge::answered_by("other", handler).refusal();
        assert!(error.contains(expected), "{handler}: {error}");
    }
    let error = Edge::answered_by("huge", "misfit")
        .route("handler = { memory = \"1GiB\" }")
        .refusal();
    assert!(error.contains("over the most that is possible"), "{error}");
}
