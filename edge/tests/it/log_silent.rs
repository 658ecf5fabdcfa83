//! A purge log that is silent: how long the cache is used without it, and what waits for it.

use crate::support::redis::{started, stored};
use crate::support::{Answer, Edge, Gate, Origin, Way, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body)
        .with("cache-control", "max-age=3600, stale-while-revalidate=3600")
        .with("etag", "\"1\"")
}

/// An edge at the end of a way to its log, which it trusts for two seconds.
fn following(origin: &Origin, way: &Way) -> crate::support::edge::Builder {
    Edge::before(origin).with(&format!(
        "log = {{ url = {:?}, trust = \"2s\", deadline = \"100ms\" }}",
        way.url()
    ))
}

/// Returns once the log is trusted. What was fetched before is asked about by nobody for that.
async fn is_trusted(edge: &Edge) {
    edge.get("/is-it-heard").await;
    edge.clock.advance(secs(3));
    let question = r#"{"url": "http://edge.test/is-it-heard", "fetch": false}"#;
    patiently("the log", async {
        loop {
            let told = edge.admin("POST", "/explain").body(question).send().await;
            let told: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
            if told["decision"].as_str().unwrap().starts_with("hit") {
                return;
            }
        }
    })
    .await;
}

type Silence = fn(&Way);

/// How a log falls silent.
const SILENCES: [(&str, Silence); 3] = [
    ("nothing comes through", Way::hold),
    ("connections are cut", Way::cut),
    ("connections go silent, and new ones end", |way| {
        way.silence();
        way.close();
    }),
];

#[tokio::test]
async fn after_log_trust_without_a_word_nothing_is_used_that_was_not_asked_about() {
    for (how, fall_silent) in SILENCES {
        let redis = started();
        let way = Way::to(&redis);
        let origin = Origin::always(fresh("old"));
        let edge = following(&origin, &way)
            .route("stale_if_error = \"1h\"")
            .start();
        let other = Edge::before(&origin)
            .with(&format!(
                "log = {{ url = {:?}, deadline = \"10s\" }}",
                redis.url()
            ))
            .start();
        edge.get("/a").await;
        edge.get("/b").await;
        fall_silent(&way);
        // A purge that this edge does not hear of.
        assert_eq!(other.purge("/a").await.status, 200);
        origin.now(
            answer("new")
                .with("cache-control", "max-age=3600")
                .with("etag", "\"2\""),
        );
        edge.clock.advance(secs(3));
        let asked = edge.get("/a").await;
        assert_eq!(
            (asked.text(), asked.cache_status()),
            ("new", "fwd=stale"),
            "{how}"
        );
        assert_eq!(asked.cache("detail"), Some("below-floor"), "{how}");
        origin.now(answer("sorry").status(503));
        assert_eq!(
            edge.get("/b").await.text(),
            "sorry",
            "{how}: nothing stands in"
        );
        assert_eq!(
            edge.get("/a").await.text(),
            "new",
            "{how}: asked a moment ago"
        );
    }
}

#[tokio::test]
async fn an_entry_is_asked_about_at_most_once_for_each_period_of_trust() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::by(|asked| match asked.get("if-none-match") {
        Some(_) => answer("")
            .status(304)
            .with("etag", "\"1\"")
            .with("cache-control", "max-age=3600"),
        None => fresh("x"),
    });
    let edge = following(&origin, &way).with("server.workers = 2").start();
    edge.get("/").await;
    way.hold();
    for round in 1..5 {
        edge.clock.advance(secs(3));
        for _ in 0..10 {
            assert_eq!(edge.get("/").await.text(), "x");
        }
        assert_eq!(origin.requests(), 1 + round);
        assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
    }
}

#[tokio::test]
async fn an_entry_that_is_refreshed_is_asked_about_once_too() {
    // Stale, and within the time in which it may be served while it is refreshed.
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(
        answer("old").with("cache-control", "max-age=1, stale-while-revalidate=3600"),
    );
    let edge = following(&origin, &way).start();
    edge.get("/").await;
    way.hold();
    edge.clock.advance(secs(3));
    origin.now(answer("new").with("cache-control", "max-age=1, stale-while-revalidate=3600"));
    let asked = edge.get("/").await;
    assert_eq!(
        (asked.text(), asked.cache_status()),
        ("new", "fwd=stale"),
        "in the foreground"
    );
    edge.clock.advance(secs(2));
    // Stale again, but asked about within the time of trust: it may be refreshed behind the client.
    let stale = edge.get("/").await;
    assert_eq!(stale.cache("detail"), Some("stale-while-revalidate"));
    origin.asked_for(3).await;
    patiently("the refresh", async {
        while edge.get("/").await.cache("ttl") != Some("1") {}
    })
    .await;
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn what_the_region_has_is_asked_about_once_too() {
    let (redis, log) = (started(), started());
    let way = Way::to(&log);
    let origin = Origin::by(|asked| match asked.get("if-none-match") {
        Some(_) => answer("")
            .status(304)
            .with("etag", "\"1\"")
            .with("cache-control", "max-age=3600"),
        None => fresh("x"),
    });
    let region = format!("redis = {{ url = {:?}, deadline = \"5s\" }}", redis.url());
    let here = following(&origin, &way).with(&region).start();
    here.get("/").await;
    stored(&redis, 1).await;
    let there = following(&origin, &way)
        .with(&region)
        .on_the_clock_of(&here)
        .start();
    way.hold();
    here.clock.advance(secs(3));
    let asked = there.get("/").await;
    assert_eq!(
        (asked.text(), asked.cache("fwd-status")),
        ("x", Some("304"))
    );
    for _ in 0..5 {
        assert_eq!(there.get("/").await.cache_status(), "hit");
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_log_that_speaks_again_is_trusted_again() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("x"));
    let edge = following(&origin, &way).start();
    edge.get("/").await;
    way.hold();
    edge.clock.advance(secs(3));
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
    way.release();
    is_trusted(&edge).await;
    let requests = origin.requests();
    edge.clock.advance(secs(1));
    assert_eq!(edge.get("/").await.cache_status(), "hit");
    assert_eq!(origin.requests(), requests);
}

#[tokio::test]
async fn an_answer_of_the_log_is_as_old_as_the_question() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("old"));
    let edge = following(&origin, &way).start();
    let other = Edge::before(&origin)
        .with(&format!(
            "log = {{ url = {:?}, deadline = \"10s\" }}",
            redis.url()
        ))
        .start();
    let is_gone = async || edge.request("HEAD", "/first").send().await.cache_status() == "fwd=miss";
    loop {
        for path in ["/", "/first"] {
            edge.get(path).await;
        }
        let connections = way.connections();
        // The machine stands still; what the log had answered by then waits with it.
        way.hold();
        for path in ["/first", "/"] {
            assert_eq!(other.purge(path).await.status, 200);
        }
        edge.clock.advance(secs(3_000));
        // It goes on with that answer, before there is another.
        way.release_answers();
        while !is_gone().await && way.connections() == connections {}
        if is_gone().await {
            break;
        }
        // The answer came too late to be waited for: once more.
        way.release();
        is_trusted(&edge).await;
    }
    assert_eq!(edge.get("/").await.cache_status(), "fwd=stale");
}

#[tokio::test]
async fn an_edge_opens_its_door_after_it_has_read_its_log() {
    let redis = started();
    let origin = Origin::always(fresh("old"));
    let region = format!("redis = {{ url = {:?}, deadline = \"5s\" }}", redis.url());
    let here = Edge::before(&origin).redis(&redis).start();
    here.get("/").await;
    stored(&redis, 1).await;
    assert_eq!(here.purge("/").await.status, 200);
    let way = Way::to(&redis);
    way.hold();
    let address = own_address();
    let builder = following(&origin, &way)
        .with(&region)
        .with(&format!("server.admin = \"{address}\""));
    let starting = std::thread::spawn(move || builder.start());
    patiently("administration", async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ready = crate::support::client::Request::new(address, "GET", "/readyz");
    assert_eq!(ready.send().await.status, 503);
    assert!(!starting.is_finished(), "it waits for its log");
    origin.now(fresh("new"));
    way.release();
    let there = starting.join().expect("it starts");
    assert_eq!(there.get("/").await.text(), "new");
    assert_eq!(there.admin("GET", "/readyz").send().await.status, 200);
}

/// An address that is known before anybody listens there, and that no other process is given: each
/// has hosts of its own on this machine.
fn own_address() -> std::net::SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    std::net::SocketAddr::from(([127, 1 + high % 200, middle, low], 9090))
}

#[tokio::test]
async fn an_edge_that_never_heard_its_log_asks_about_what_the_region_has() {
    let (redis, log) = (started(), started());
    let origin = Origin::always(fresh("old"));
    let region = format!("redis = {{ url = {:?}, deadline = \"5s\" }}", redis.url());
    let way = Way::to(&log);
    let here = following(&origin, &way).with(&region).start();
    here.get("/").await;
    stored(&redis, 1).await;
    let unreachable = Way::to(&log);
    unreachable.cut();
    let there = following(&origin, &unreachable)
        .with(&region)
        .on_the_clock_of(&here)
        .start();
    assert_eq!(here.purge("/").await.status, 200);
    origin.now(
        answer("new")
            .with("cache-control", "max-age=3600")
            .with("etag", "\"2\""),
    );
    assert_eq!(there.admin("GET", "/readyz").send().await.status, 503);
    let asked = there.get("/").await;
    assert_eq!((asked.text(), asked.cache("fwd")), ("new", Some("stale")));
}

#[tokio::test]
async fn log_and_regional_tier_have_deadlines_of_their_own() {
    // Either may stand still without the other.
    for is_log_paused in [true, false] {
        let (mut redis, mut log) = (started(), started());
        let origin = Origin::always(fresh("x"));
        let edge = Edge::before(&origin)
            .with(&format!(
                "redis = {{ url = {:?}, deadline = \"20ms\" }}",
                redis.url()
            ))
            .with(&format!(
                "log = {{ url = {:?}, trust = \"1d\", deadline = \"200ms\" }}",
                log.url()
            ))
            .start();
        edge.get("/a").await;
        stored(&redis, 1).await;
        if is_log_paused {
            log.pause();
            assert_eq!(edge.purge("/a").await.status, 503, "given up");
            assert_eq!(edge.get("/a").await.cache_status(), "fwd=miss");
            edge.get("/b").await;
            stored(&redis, 2).await;
            log.resume();
            patiently("a purge", async {
                while edge.purge("/b").await.status != 200 {}
            })
            .await;
        } else {
            redis.pause();
            // Far longer than the tier is waited for, if it were waited for each time.
            for path in 0..20 {
                assert_eq!(edge.get(&format!("/{path}")).await.text(), "x");
            }
            assert_eq!(edge.purge("/a").await.status, 200);
            assert_eq!(edge.get("/a").await.cache_status(), "fwd=miss");
            redis.resume();
        }
    }
}

#[tokio::test]
async fn a_refresh_that_a_silent_log_leaves_behind_is_not_used_after_its_purge() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("old"));
    let edge = following(&origin, &way).with("log.trust = \"1d\"").start();
    let other = Edge::before(&origin)
        .with(&format!(
            "log = {{ url = {:?}, deadline = \"10s\" }}",
            redis.url()
        ))
        .start();
    edge.get("/").await;
    edge.clock.advance(secs(3_601));
    way.hold();
    // It is purged elsewhere, and then refreshed here from before the purge.
    let gate = Gate::closed();
    origin.next(fresh("old again").after(&gate));
    assert_eq!(
        edge.get("/").await.cache("detail"),
        Some("stale-while-revalidate")
    );
    origin.asked_for(2).await;
    assert_eq!(other.purge("/").await.status, 200);
    gate.open();
    patiently("the refresh", async {
        while edge.get("/").await.text() != "old again" {}
    })
    .await;
    origin.now(fresh("new"));
    way.release();
    patiently("the purge", async {
        while edge.get("/").await.text() != "new" {}
    })
    .await;
}
