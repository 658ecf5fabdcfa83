//! Bodies larger than the cache keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Answer, Edge, Gate, Origin, answer, fresh, wait_until};

const LIMIT: &str = "cache.max_entry = 1000";

#[tokio::test]
async fn a_body_over_the_limit_streams_through_whole_and_is_not_kept() {
    for (name, scripted) in [
        ("with a length", fresh(vec![b'x'; 100_000])),
        ("chunked", fresh(vec![b'x'; 100_000]).chunked()),
        (
            "until the connection closes",
            fresh(vec![b'x'; 100_000]).until_close(),
        ),
    ] {
        let origin = Origin::always(scripted);
        let edge = Edge::before(&origin).with(LIMIT).start();
        for requests in 1..3 {
            let response = edge.get("/").await;
            assert_eq!(
                (response.body.len(), response.is_complete),
                (100_000, true),
                "{name}"
            );
            assert_eq!(origin.requests(), requests, "{name}");
        }
    }
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_named() {
    let origin = Origin::always(fresh(vec![b'x'; 1001]));
    let edge = Edge::before(&origin).with(LIMIT).start();
    let response = edge.get("/").await;
    assert_eq!(
        (response.cache("detail"), response.cache("stored")),
        (Some("too-large"), None)
    );
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_kept() {
    for scripted in [fresh(vec![b'x'; 1000]), fresh(vec![b'x'; 1000]).chunked()] {
        let origin = Origin::always(scripted);
        let edge = Edge::before(&origin).with(LIMIT).start();
        edge.get("/").await;
        assert_eq!(edge.get("/").await.cache_status(), "hit");
    }
}

#[tokio::test]
async fn those_who_joined_before_it_outgrew_the_limit_get_all_of_it() {
    let (middle, end) = (Gate::closed(), Gate::closed());
    let scripted = fresh("early")
        .then(&middle, vec![b'x'; 5000])
        .then(&end, "late")
        .chunked();
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin).with(LIMIT).start();
    let mut leader = edge.request("GET", "/").begin().await;
    leader.head().await;
    let mut follower = edge.request("GET", "/").begin().await;
    follower.head().await;
    middle.open();
    assert_eq!(leader.body(5005).await.len(), 5005);
    // Too late to join: it goes for itself.
    let mut late = edge.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    end.open();
    assert_eq!(leader.rest().await, ("late".to_owned(), true));
    late.head().await;
    for mut connection in [follower, late] {
        let (body, is_complete) = connection.rest().await;
        assert!(body.starts_with("early") && body.ends_with("late"));
        assert_eq!((body.len(), is_complete), (5009, true));
    }
}

#[tokio::test]
async fn what_outgrew_the_limit_and_is_read_by_nobody_is_given_up() {
    let sent = Arc::new(AtomicUsize::new(0));
    let gate = Gate::closed();
    // More than the sockets on the way hold, so that the origin notices.
    let scripted = fresh("early")
        .then(&gate, "late")
        .flooding(1024, &sent)
        .chunked();
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin).with(LIMIT).start();
    let mut leader = edge.request("GET", "/").begin().await;
    leader.head().await;
    drop(leader);
    edge.settled().await;
    gate.open();
    wait_until("the end of the fetch", || origin.cut_off() == 1).await;
    origin.now(fresh("small"));
    assert_eq!(edge.get("/").await.text(), "small");
    assert!(sent.load(Ordering::Relaxed) < 1024);
}

#[tokio::test]
async fn a_slow_reader_holds_the_origin_back() {
    const PARTS: usize = 1024;
    for (name, limit) in [
        ("outgrown", "cache.max_entry = 1000"),
        ("not stored", "cache.max_entry = 1"),
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let origin = Origin::by({
            let sent = Arc::clone(&sent);
            move |asked| match asked.target.as_str() {
                "/" => fresh("").flooding(PARTS, &sent).chunked(),
                _ => answer("quick"),
            }
        });
        let edge = Edge::before(&origin).with(limit).start();
        let mut slow = edge.request("GET", "/").begin().await;
        slow.head().await;
        for _ in 0..100 {
            edge.get("/other").await;
        }
        // What is under way lies in the sockets of two connections, and in one window.
        assert!(sent.load(Ordering::Relaxed) < PARTS * 3 / 4, "{name}");
        let (body, is_complete) = slow.rest().await;
        assert_eq!((body.len(), is_complete), (PARTS << 16, true), "{name}");
    }
}

/// Mebibytes that the flat-memory scenario streams, unless `TIDEGATE_TEST_MEBIBYTES` says otherwise:
/// a gibibyte takes a debug build a quarter of a minute.
const MEBIBYTES: usize = 128;

/// What the memory of this process has grown to at most, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}

async fn stream_much(name: &str, scripted: Answer) {
    let wanted = std::env::var("TIDEGATE_TEST_MEBIBYTES").ok();
    let parts = wanted.map_or(MEBIBYTES, |wanted| wanted.parse().unwrap()) << 4;
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = Origin::by({
        let sent = Arc::clone(&sent);
        move |asked| match asked.target.as_str() {
            "/large" => scripted.clone().flooding(parts, &sent),
            _ => fresh("small"),
        }
    });
    let edge = Edge::before(&origin)
        .with("cache.max_entry = \"1MiB\"")
        .start();
    edge.get("/warm").await;
    let before = peak();
    let mut connection = edge.request("GET", "/large").begin().await;
    connection.head().await;
    assert_eq!(connection.drained().await, (parts << 16, true), "{name}");
    assert_eq!(sent.load(Ordering::Relaxed), parts, "{name}");
    // An entry that outgrows its limit, windows, buffers: nothing that grows with the body.
    let grown = peak() - before;
    assert!(grown < 16 << 10, "{name}: grew by {grown} KiB");
}

#[tokio::test]
#[ignore = "in a process of its own, for a_body_of_any_size_streams_through_in_flat_memory"]
async fn much_alone() {
    stream_much("with a length", fresh("")).await;
    stream_much("chunked", fresh("").chunked()).await;
    stream_much("until the connection closes", fresh("").until_close()).await;
}

#[test]
fn a_body_of_any_size_streams_through_in_flat_memory() {
    // What other tests need at the same time would be counted too.
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "large::much_alone", "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}
