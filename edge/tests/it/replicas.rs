//! What an origin that reads from replicas is asked for: no answer is older than the purges that
//! an edge knows of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::AsyncCommands;
use tidegate_edge::config::Config;
use tidegate_services::Redis;

use crate::support::edge::Builder;
use crate::support::redis::started;
use crate::support::{Answer, Edge, Gate, Origin, answer, fresh, patiently, secs};

const LSN: &str = "tidegate-lsn";

/// An edge whose origin says that it reads from replicas.
fn before(origin: &Origin) -> Builder {
    Edge::before(origin).with("origins.app.replicas = true")
}

/// What the origin was asked for last.
fn asked(origin: &Origin) -> Option<String> {
    origin.last().get(LSN).map(str::to_owned)
}

/// What a fetch of something that is not stored asks for.
async fn asked_now(edge: &Edge, origin: &Origin) -> Option<String> {
    static FETCHES: AtomicUsize = AtomicUsize::new(0);
    let number = FETCHES.fetch_add(1, Ordering::Relaxed);
    edge.get(&format!("/fetch/{number}")).await;
    asked(origin)
}

/// Ends the doubt of an edge that has just started: the origin tells.
async fn tell(edge: &Edge, origin: &Origin, lsn: &str) {
    origin.next(answer("x").with(LSN, lsn));
    assert_eq!(asked_now(edge, origin).await.as_deref(), Some("primary"));
    assert_eq!(asked_now(edge, origin).await.as_deref(), Some(lsn));
}

/// A log in Redis, written by hand.
struct ByHand {
    redis: Redis,
    last: u64,
}

const EPOCH: &str = "00000000000000f1";

impl ByHand {
    /// A log that was founded at a millisecond.
    async fn founded(redis: Redis, at: u64) -> ByHand {
        let mut log = ByHand { redis, last: 0 };
        log.add(at, &[]).await;
        log
    }

    /// Records that one of this tag fell, at a millisecond.
    async fn record(&mut self, at: u64, tag: &str, lsn: &str) {
        let record = format!(r#"{{"scope":"tag","value":"{tag}","lsn":{lsn}}}"#);
        self.add(at, &[("r", &record)]).await;
    }

    async fn add(&mut self, at: u64, more: &[(&str, &str)]) {
        let client = redis::Client::open(self.redis.url()).unwrap();
        let mut connection = patiently("redis", client.get_multiplexed_async_connection())
            .await
            .unwrap();
        let previous = format!("{}-0", self.last);
        let fields = [&[("e", EPOCH), ("p", &previous)], more].concat();
        let id = format!("{at}-0");
        let _: String = connection.xadd("tidegate:log", id, &fields).await.unwrap();
        self.last = at;
    }
}

/// Waits until a stored response with this tag has fallen.
async fn fallen(edge: &Edge, tag: &str) {
    patiently("a purge", async {
        while edge.get(&format!("/{tag}")).await.cache_status() == "hit" {}
    })
    .await;
}

/// An origin whose responses are tagged with their path.
fn tagged() -> Origin {
    Origin::by(|asked| fresh("x").with("surrogate-key", asked.target.trim_start_matches('/')))
}

#[tokio::test]
async fn an_origin_without_replicas_is_asked_nothing_and_told_nothing() {
    let origin = Origin::always(fresh("x").with(LSN, "1:0/10"));
    let edge = Edge::before(&origin).start();
    let client = || edge.request("GET", "/a").with(LSN, "9:9/9");
    let answered = client().send().await;
    assert_eq!((asked(&origin), answered.get(LSN)), (None, None));
    let write = edge.request("POST", "/a").with(LSN, "9:9/9").send().await;
    assert_eq!((asked(&origin), write.get(LSN)), (None, None));
    client().send().await;
    assert_eq!(asked(&origin), None);
}

#[tokio::test]
async fn an_edge_that_has_just_started_asks_the_primary_until_it_is_told() {
    let origin = Origin::answers("x");
    let edge = before(&origin).start();
    for _ in 0..2 {
        assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("primary"));
    }
    for wrong in ["nonsense", "", "primary", "1:0/"] {
        origin.next(answer("x").with(LSN, wrong));
        assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("primary"));
    }
    tell(&edge, &origin, "1:0/10").await;
    origin.next(answer("x").with(LSN, "1:0/9"));
    asked_now(&edge, &origin).await;
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("1:0/10"));
}

#[tokio::test]
async fn every_way_to_the_origin_asks_for_the_newest_and_no_client_sees_or_says_it() {
    let origin = Origin::always(fresh("x").with("etag", "\"1\""));
    let edge = before(&origin)
        .route("stale_while_revalidate = \"1h\"")
        .start();
    tell(&edge, &origin, "1:0/10").await;
    let request = |method: &str, path: &str| edge.request(method, path).with(LSN, "9:9/9");
    let told = |answer: Answer| answer.with(LSN, "1:0/10");
    let x = || fresh("x").with("etag", "\"1\"");

    let miss = async |path: &str| {
        origin.next(told(x()));
        request("GET", path).send().await
    };
    assert_eq!(miss("/a").await.get(LSN), None);
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));
    let hit = request("GET", "/a").send().await;
    assert_eq!((hit.cache_status(), hit.get(LSN)), ("hit", None));

    for method in ["HEAD", "OPTIONS", "POST"] {
        let before = origin.requests();
        origin.next(told(answer("x")));
        let answered = request(method, "/passing").send().await;
        assert_eq!(answered.get(LSN), None, "{method}");
        assert_eq!(origin.requests(), before + 1, "{method}");
        assert_eq!(asked(&origin).as_deref(), Some("1:0/10"), "{method}");
    }

    // A part, and then the rest of it.
    let part = answer("01234")
        .status(206)
        .with("content-range", "bytes 0-4/10")
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"");
    origin.next(told(part));
    let answered = request("GET", "/part")
        .with("range", "bytes=0-4")
        .send()
        .await;
    assert_eq!((answered.status, answered.get(LSN)), (206, None));
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));
    let rest = answer("56789")
        .status(206)
        .with("content-range", "bytes 5-9/10")
        .with("cache-control", "max-age=60")
        .with("etag", "\"1\"");
    origin.next(told(rest));
    let answered = request("GET", "/part").send().await;
    assert_eq!((answered.text(), answered.get(LSN)), ("0123456789", None));
    assert_eq!(origin.last().get("range"), Some("bytes=5-9"));
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));

    // Behind the client's back.
    miss("/stale").await;
    edge.clock.advance(secs(61));
    let before = origin.requests();
    origin.next(told(
        answer("")
            .status(304)
            .with("etag", "\"1\"")
            .with("cache-control", "max-age=60"),
    ));
    assert_eq!(request("GET", "/stale").send().await.get(LSN), None);
    origin.asked_for(before + 1).await;
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));
    patiently("the refresh", async {
        while edge.get("/stale").await.get("age") != Some("0") {}
    })
    .await;
    let renewed = request("GET", "/stale").send().await;
    assert_eq!((renewed.cache_status(), renewed.get(LSN)), ("hit", None));

    // Before the client's eyes.
    edge.clock.advance(secs(7200));
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.next(told(confirmed));
    let validated = request("GET", "/stale").send().await;
    assert_eq!((validated.status, validated.get(LSN)), (200, None));
    assert_eq!(validated.cache("fwd-status"), Some("304"));
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));

    // Behind bodies, and before heads.
    let trailing = answer("x")
        .chunked()
        .with("trailer", "tidegate-lsn, x-sum")
        .trailing(LSN, "1:0/99")
        .trailing("x-sum", "1")
        .informing(103, LSN, "1:0/99");
    origin.next(trailing);
    let sent = request("OPTIONS", "/").with("te", "trailers").send().await;
    assert_eq!(sent.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(sent.get("trailer"), Some("x-sum"));
    let interim = sent.interim.iter();
    assert!(
        interim.clone().count() > 0 && interim.clone().all(|(_, head)| head.get(LSN).is_none())
    );

    // Through a tunnel.
    let ended = Arc::new(AtomicUsize::new(0));
    origin.next(Answer::switching(
        "echo\r\ntidegate-lsn: 1:0/10",
        "",
        &ended,
    ));
    let mut tunnel = request("GET", "/tunnel")
        .with("connection", "upgrade")
        .with("upgrade", "echo")
        .begin()
        .await;
    let switched = tunnel.head().await;
    assert_eq!((switched.status, switched.get(LSN)), (101, None));
    assert_eq!(asked(&origin).as_deref(), Some("1:0/10"));
}

#[tokio::test]
async fn what_another_edge_wrote_is_asked_for_here() {
    let redis = started();
    let origin = tagged();
    let writer = before(&origin).redis(&redis).start();
    let reader = before(&origin).redis(&redis).start();
    tell(&reader, &origin, "1:0/10").await;
    tell(&writer, &origin, "1:0/10").await;
    for lsn in ["1:0/20", "2:0/1"] {
        reader.get("/a").await;
        assert_eq!(reader.get("/a").await.cache_status(), "hit");
        origin.next(answer("").status(204).with(LSN, lsn));
        let written = writer.request("PUT", "/a").body("new").send().await;
        assert_eq!((written.status, written.get(LSN)), (204, None));
        fallen(&reader, "a").await;
        assert_eq!(asked(&origin).as_deref(), Some(lsn), "for what fell");
        assert_eq!(asked_now(&writer, &origin).await.as_deref(), Some(lsn));
    }
    // Of the timeline that the fail-over ended.
    origin.next(answer("").status(204).with(LSN, "1:F/0"));
    writer.request("PUT", "/a").body("late").send().await;
    assert_eq!(asked_now(&writer, &origin).await.as_deref(), Some("2:0/1"));
}

#[tokio::test]
async fn of_what_nobody_stamped_replicas_know_nothing() {
    let origin = tagged();
    let edge = before(&origin).start();
    let written = |answer: Answer| {
        origin.next(answer);
        edge.request("PUT", "/a").body("new").send()
    };
    let mut position = 0x10;
    for doing in [
        "says nothing",
        "says nonsense",
        "breaks off",
        "PURGE",
        "order",
    ] {
        position += 1;
        tell(&edge, &origin, &format!("1:0/{position:X}")).await;
        match doing {
            "says nothing" => written(answer("").status(204)).await.status,
            "says nonsense" => written(answer("").status(204).with(LSN, "x")).await.status,
            "breaks off" => written(Answer::hang_up()).await.status,
            "PURGE" => edge.purge("/a").await.status,
            _ => edge.order(r#"{"tags":["a"]}"#).await.status,
        };
        let asked = asked_now(&edge, &origin).await;
        assert_eq!(asked.as_deref(), Some("primary"), "{doing}");
    }
    tell(&edge, &origin, "1:0/1A").await;
    edge.order(r#"{"tags":["a"],"lsn":"1:0/1B"}"#).await;
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("1:0/1B"));
    assert_eq!(edge.order(r#"{"tags":["a"],"lsn":"x"}"#).await.status, 400);
    // A client's error changes nothing, and a write that says where it is answers the doubt.
    written(answer("").status(404)).await;
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("1:0/1B"));
    edge.purge("/a").await;
    written(answer("").status(204).with(LSN, "1:0/30")).await;
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("1:0/30"));
}

#[tokio::test]
async fn what_was_told_before_a_doubt_does_not_end_it() {
    let origin = Origin::answers("x");
    let edge = before(&origin).start();
    tell(&edge, &origin, "1:0/10").await;
    let gate = Gate::closed();
    origin.next(answer("").status(404).with(LSN, "1:0/20").after(&gate));
    let writing = tokio::spawn(edge.request("PUT", "/a").body("new").send());
    origin.asked_for(3).await;
    edge.purge("/a").await;
    gate.open();
    writing.await.expect("it is answered");
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("primary"));
    tell(&edge, &origin, "1:0/30").await;
}

#[tokio::test]
async fn after_a_gap_in_the_log_the_primary_is_asked() {
    let origin = tagged();
    let mut log = ByHand::founded(started(), 1_000).await;
    log.record(20_000, "a", r#""1:0/10""#).await;
    let edge = before(&origin).redis(&log.redis).start();
    let asked = async || asked_now(&edge, &origin).await;
    tell(&edge, &origin, "1:0/10").await;
    assert_eq!(
        asked().await.as_deref(),
        Some("1:0/10"),
        "nothing is missing"
    );

    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.cache_status(), "hit");
    // What stood between is trimmed.
    log.last = 25_000;
    log.record(30_000, "a", r#""1:0/20""#).await;
    fallen(&edge, "a").await;
    assert_eq!(
        origin.last().get(LSN),
        Some("primary"),
        "the missing one may have been further, and be stamped later than this"
    );
    edge.get("/b").await;
    assert_eq!(edge.get("/b").await.cache_status(), "hit");
    log.record(40_000, "b", r#""1:0/30""#).await;
    fallen(&edge, "b").await;
    assert_eq!(
        origin.last().get(LSN),
        Some("primary"),
        "stamped before it, and appended late"
    );
    tell(&edge, &origin, "1:0/30").await;
}

#[tokio::test]
async fn an_edge_that_starts_knows_what_the_log_still_says() {
    let origin = tagged();
    let mut log = ByHand::founded(started(), 1_000).await;
    log.record(11_000, "a", r#""1:0/10""#).await;
    let edge = before(&origin).redis(&log.redis).start();
    let asked = async || asked_now(&edge, &origin).await;
    // Another log may have said more before.
    assert_eq!(asked().await.as_deref(), Some("primary"));
    origin.next(answer("").status(404).with(LSN, "1:0/5"));
    edge.request("PUT", "/a").body("new").send().await;
    assert_eq!(asked().await.as_deref(), Some("1:0/10"));
}

#[tokio::test]
async fn after_the_log_was_replaced_the_primary_is_asked() {
    let mut redis = started();
    let origin = tagged();
    let edge = before(&origin).redis(&redis).start();
    origin.next(answer("").status(204).with(LSN, "1:0/10"));
    edge.request("PUT", "/a").body("new").send().await;
    assert_eq!(asked_now(&edge, &origin).await.as_deref(), Some("1:0/10"));
    redis.kill();
    redis.restart().expect("redis starts again");
    patiently("another log", async {
        while asked_now(&edge, &origin).await.as_deref() != Some("primary") {}
    })
    .await;
    tell(&edge, &origin, "1:0/20").await;
}

#[tokio::test]
async fn a_record_whose_position_cannot_be_read_purges_and_replicas_do_not_answer() {
    let origin = tagged();
    let mut log = ByHand::founded(started(), 1_000).await;
    log.record(20_000, "a", r#""1:0/10""#).await;
    let edge = before(&origin).redis(&log.redis).start();
    tell(&edge, &origin, "1:0/10").await;
    for (number, unreadable) in [r#""nonsense""#, "7", r#"{"a":1}"#].into_iter().enumerate() {
        edge.get("/a").await;
        assert_eq!(edge.get("/a").await.cache_status(), "hit");
        log.record(30_000 + number as u64, "a", unreadable).await;
        fallen(&edge, "a").await;
        assert_eq!(origin.last().get(LSN), Some("primary"), "{unreadable}");
        tell(&edge, &origin, &format!("1:0/{}", 20 + number)).await;
    }
}

#[test]
fn a_configuration_cannot_set_or_key_by_what_is_between_edge_and_origin() {
    let text = |origin: &str, route: &str| {
        format!(
            "[origins.app]\nurl = \"http://a\"\n{origin}\n[[routes]]\norigin = \"app\"\n{route}"
        )
    };
    for (origin, route, expected) in [
        (
            "headers = { \"Tidegate-LSN\" = \"1:0/1\" }",
            "",
            "frames or routes each message",
        ),
        ("", "key.headers = [\"tidegate-lsn\"]", "ends at this hop"),
    ] {
        let error = Config::from_toml(&text(origin, route), "edge.toml").expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_a_filter_purges_because_of_a_write_carries_the_position_that_its_answer_told() {
    let origin = tagged();
    let edge = before(&origin)
        .with("plugins.i = { file = \"builtin:invalidate\" }")
        .route(
            r#"plugins = [{ name = "i", grants = ["purge", "config"], deadline = "30s",
                config = { rules = [{ methods = ["PUT"], path = "/course/{id}", tags = ["courses"] }] } }]"#,
        )
        .start();
    tell(&edge, &origin, "1:0/10").await;
    edge.get("/courses").await;
    assert_eq!(edge.get("/courses").await.cache_status(), "hit");
    origin.next(answer("").status(204).with(LSN, "1:0/20"));
    edge.request("PUT", "/course/7").body("new").send().await;
    assert_eq!(edge.get("/courses").await.cache_status(), "fwd=miss");
    assert_eq!(origin.last().get(LSN), Some("1:0/20"));
}
