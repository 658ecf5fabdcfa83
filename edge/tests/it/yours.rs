//! Read your writes: whoever wrote is answered by the origin where an edge has not heard of it.

use tidegate_edge::config::Config;
use tidegate_services::Redis;

use crate::support::edge::Builder;
use crate::support::{Answer, Edge, Gate, Origin, Response, Way, answer, fresh, patiently, secs};

const LSN: &str = "tidegate-lsn";
pub(crate) const SEEN: &str = "tidegate-seen";
const KEY: &str = "log.key = \"sixteen bytes or more\"";

pub(crate) fn by_header(builder: Builder) -> Builder {
    builder.with(KEY).route("read_your_writes = \"header\"")
}

pub(crate) fn by_cookie(builder: Builder) -> Builder {
    builder.with(KEY).route("read_your_writes = \"cookie\"")
}

/// The token that a write brought.
pub(crate) fn token(written: &Response) -> String {
    written.get(SEEN).expect("a token").to_owned()
}

/// Two edges on one log, of which one can be cut off.
struct Two {
    writer: Edge,
    reader: Edge,
    /// From the reader to the log.
    way: Way,
    _redis: Redis,
}

impl Two {
    /// On an origin that says "old" until something is written, with `/a` stored at both.
    async fn before(origin: &Origin) -> Two {
        let redis = Redis::ephemeral().expect("redis-server is installed");
        let way = Way::to(&redis);
        let edge = || {
            let edge = by_header(Edge::before(origin).with("origins.app.replicas = true"))
                .route("honour_request_directives = true");
            // No regional tier: what one edge stores the other has not.
            edge.with(&format!(
                "log = {{ url = {:?}, trust = \"1d\", deadline = \"10s\" }}",
                redis.url()
            ))
        };
        let writer = edge().start();
        let reader = edge()
            .with(&format!("log.url = {:?}", way.url()))
            .on_the_clock_of(&writer)
            .start();
        for edge in [&writer, &reader] {
            origin.next(fresh("old").with(LSN, "1:0/10"));
            edge.get("/a").await;
            assert_eq!(edge.get("/a").await.text(), "old");
        }
        Two {
            writer,
            reader,
            way,
            _redis: redis,
        }
    }

    /// Writes where the reader cannot hear of it.
    async fn write_unheard(&self, origin: &Origin) -> Response {
        self.way.hold();
        origin.next(answer("").status(204).with(LSN, "1:0/20"));
        let written = self.writer.request("PUT", "/a").body("new").send().await;
        assert_eq!(written.status, 204);
        origin.now(fresh("new"));
        written
    }
}

fn with_token(edge: &Edge, path: &str, token: &str) -> impl Future<Output = Response> + use<> {
    edge.request("GET", path).with(SEEN, token).send()
}

#[tokio::test]
async fn who_wrote_at_one_edge_reads_it_at_another_that_has_not_heard_of_it() {
    let origin = Origin::always(fresh("old"));
    let two = Two::before(&origin).await;
    let token = token(&two.write_unheard(&origin).await);
    assert_eq!(two.reader.get("/a").await.text(), "old", "without a token");

    let read = with_token(&two.reader, "/a", &token).await;
    assert_eq!((read.text(), read.cache_status()), ("new", "fwd=request"));
    assert_eq!(read.cache("detail"), Some("read-your-writes"));
    assert_eq!(
        origin.last().get(LSN),
        Some("1:0/20"),
        "what the token says"
    );
    assert_eq!(origin.last().get(SEEN), None);
    assert_eq!(read.get(SEEN), None);

    // What was fetched for it is stored behind what this edge has heard, no further.
    assert_eq!(two.reader.get("/a").await.text(), "new");
    assert_eq!(two.reader.get("/a").await.cache_status(), "hit");
    two.way.release();
    patiently("the purge", async {
        while two.reader.get("/a").await.cache_status() == "hit" {}
    })
    .await;

    // Having heard of it, the edges go on as ever, but for who wrote: the origin's database, which
    // tells where it is, may have more to say of the write by its outbox.
    assert_eq!(two.reader.get("/a").await.cache_status(), "hit");
    for edge in [&two.reader, &two.writer] {
        let read = with_token(edge, "/a", &token).await;
        assert_eq!((read.text(), read.cache_status()), ("new", "fwd=request"));
    }
    two.reader.clock.advance(secs(11));
    let read = with_token(&two.reader, "/a", &token).await;
    assert_eq!(read.cache_status(), "hit", "the token has expired");
}

#[tokio::test]
async fn who_wrote_waits_for_nobody_elses_fetch_and_nobody_for_theirs() {
    let origin = Origin::always(fresh("old"));
    let two = Two::before(&origin).await;
    two.reader.purge("/a").await;
    let before = origin.requests();
    let (old, new) = (Gate::closed(), Gate::closed());
    origin.next(fresh("old").after(&old));
    let theirs = tokio::spawn(two.reader.get("/a"));
    origin.asked_for(before + 1).await;
    let token = token(&two.write_unheard(&origin).await);
    origin.next(fresh("new").after(&new));
    let ours = tokio::spawn(with_token(&two.reader, "/a", &token));
    origin.asked_for(before + 3).await;
    old.open();
    assert_eq!(theirs.await.expect("answered").text(), "old");
    new.open();
    assert_eq!(ours.await.expect("answered").text(), "new");
}

#[tokio::test]
async fn every_kind_of_read_asks_for_what_the_token_says() {
    let origin = Origin::always(fresh("old").with("etag", "\"1\""));
    let two = Two::before(&origin).await;
    let token = token(&two.write_unheard(&origin).await);
    type Fields = &'static [(&'static str, &'static str)];
    let kinds: [(&str, Fields); 6] = [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("range", "bytes=0-1")]),
        ("GET", &[("if-none-match", "\"1\"")]),
        ("GET", &[("if-match", "\"1\"")]),
        ("OPTIONS", &[]),
    ];
    for (method, fields) in kinds {
        let before = origin.requests();
        let request = two.reader.request(method, "/a").with_all(fields);
        let read = request.with(SEEN, &token).send().await;
        assert_eq!(origin.requests(), before + 1, "{method} {fields:?}");
        let detail = read.cache("detail");
        assert_eq!(detail, Some("read-your-writes"), "{method} {fields:?}");
        assert_eq!(
            origin.last().get(LSN),
            Some("1:0/20"),
            "{method} {fields:?}"
        );
    }
    let only = two.reader.request("GET", "/a").with(SEEN, &token);
    let only = only.with("cache-control", "only-if-cached").send().await;
    assert_eq!(only.status, 504);
}

#[tokio::test]
async fn a_token_that_is_forged_or_expired_is_none() {
    let origin = Origin::always(fresh("old"));
    let two = Two::before(&origin).await;
    let token = token(&two.write_unheard(&origin).await);
    let elsewhere = by_header(Edge::before(&origin))
        .with("log.key = \"another secret of another deployment\"")
        .start();
    let foreign = elsewhere.request("PUT", "/a").body("new").send().await;
    let changed = token.replacen('1', "2", 1);
    assert_ne!(changed, token);
    for forged in ["", "x", &changed, foreign.get(SEEN).unwrap(), "\u{e9}"] {
        let read = with_token(&two.reader, "/a", forged).await;
        assert_eq!(
            (read.text(), read.cache_status()),
            ("old", "hit"),
            "{forged}"
        );
    }
    two.reader.clock.advance(secs(9));
    let read = with_token(&two.reader, "/b", &token).await;
    assert_eq!(read.cache_status(), "fwd=request");
    two.reader.clock.advance(secs(1));
    let read = with_token(&two.reader, "/a", &token).await;
    assert_eq!(
        (read.text(), read.cache_status()),
        ("old", "hit"),
        "expired"
    );
    let metrics = two.reader.admin("GET", "/metrics").send().await;
    for (reason, count) in [("forged", 5), ("expired", 1), ("ahead", 1)] {
        let line = format!("tidegate_seen_tokens_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
    }
}

#[tokio::test]
async fn who_wrote_what_could_not_be_recorded_is_answered_by_the_origin_everywhere() {
    let redis = Redis::ephemeral().expect("redis-server is installed");
    let way = Way::to(&redis);
    let origin = Origin::always(fresh("old"));
    let edge = |url: String| {
        let log = format!("log = {{ url = {url:?}, trust = \"1d\", deadline = \"100ms\" }}");
        by_header(Edge::before(&origin)).with(&log)
    };
    let writer = edge(way.url()).start();
    let reader = edge(redis.url().to_owned())
        .on_the_clock_of(&writer)
        .start();
    reader.get("/a").await;
    way.hold();
    let written = writer.request("PUT", "/a").body("new").send().await;
    assert_eq!(written.status, 200);
    origin.now(fresh("new"));
    assert_eq!(reader.get("/a").await.text(), "old", "nobody told it");
    let read = with_token(&reader, "/a", &token(&written)).await;
    assert_eq!((read.text(), read.cache_status()), ("new", "fwd=request"));
}

#[tokio::test]
async fn only_a_write_that_purged_something_brings_a_token() {
    let origin = Origin::always(fresh("x"));
    let edge = by_header(Edge::before(&origin)).start();
    for (method, answered, has_token) in [
        ("GET", fresh("x"), false),
        ("HEAD", fresh("x"), false),
        ("POST", answer("x"), true),
        ("POST", answer("x").status(404), false),
        ("POST", Answer::hang_up(), true),
        ("DELETE", answer("").status(204), true),
    ] {
        origin.next(answered);
        let path = format!("/{method}");
        let response = edge.request(method, &path).send().await;
        let found = (response.get(SEEN).is_some(), response.get("set-cookie"));
        assert_eq!(found, (has_token, None), "{method} {}", response.status);
    }
    let off = Edge::before(&origin).with(KEY).start();
    let written = off.request("POST", "/a").send().await;
    assert_eq!((written.get(SEEN), written.get("set-cookie")), (None, None));
}

#[tokio::test]
async fn a_token_is_a_cookie_of_ours_and_no_other_cookie_is_touched() {
    let origin = Origin::always(fresh("x").with("vary", "cookie"));
    let edge = by_cookie(Edge::before(&origin))
        .with("server.client_address_header = \"fly-client-ip\"")
        .start();
    let written = async |scheme| {
        let post = edge.request("POST", "/a").with("x-forwarded-proto", scheme);
        let written = post.send().await;
        let cookies: Vec<String> = written.head.all("set-cookie").map(str::to_owned).collect();
        assert_eq!((cookies.len(), written.get(SEEN)), (1, None));
        cookies[0].clone()
    };
    let cookie = written("http").await;
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Max-Age=10; Path=/; HttpOnly; SameSite=Lax");
    let secure = written("https").await;
    assert!(secure.ends_with("; SameSite=Lax; Secure"), "{secure}");

    // With it and without it, the same variant.
    let get = |cookie: &str| edge.request("GET", "/b").with("cookie", cookie).send();
    assert_eq!(get("a=1; b=2").await.cache_status(), "fwd=uri-miss");
    for line in [
        format!("{pair}; a=1; b=2"),
        format!("a=1; {pair}; b=2"),
        format!("a=1; b=2; {pair}"),
        format!("a=1; {pair}; b=2; {pair}"),
    ] {
        assert_eq!(get(&line).await.cache_status(), "hit", "{line}");
    }
    assert_eq!(get("b=2; a=1").await.cache_status(), "fwd=vary-miss");
    edge.request("GET", "/c")
        .with("cookie", &format!("a=1; {pair}"))
        .send()
        .await;
    assert_eq!(origin.last().get("cookie"), Some("a=1"));
    edge.request("GET", "/d").with("cookie", pair).send().await;
    assert_eq!(origin.last().get("cookie"), None);
}

#[tokio::test]
async fn what_a_post_stored_has_no_token_and_no_cache_behind_us_may_keep_one() {
    let origin = Origin::always(fresh("made by a get"));
    for (edge, field) in [
        (by_header(Edge::before(&origin)).start(), SEEN),
        (by_cookie(Edge::before(&origin)).start(), "set-cookie"),
    ] {
        let stored = fresh("made by a post")
            .with("content-location", "/a")
            .with("example-cache-control", "max-age=60");
        origin.next(stored);
        let posted = edge.request("POST", "/a").body("new").send().await;
        assert_eq!(posted.cache("stored"), Some(""));
        assert!(posted.get(field).is_some());
        let said: Vec<&str> = posted.head.all("cache-control").collect();
        assert_eq!(said, ["max-age=60", "private"]);
        assert_eq!(posted.get("example-cache-control"), None);

        let got = edge.get("/a").await;
        assert_eq!((got.text(), got.cache_status()), ("made by a post", "hit"));
        assert_eq!(got.get(field), None);
        let said: Vec<&str> = got.head.all("cache-control").collect();
        assert_eq!(said, ["max-age=60"]);
    }
}

#[tokio::test]
async fn a_filter_that_fails_behind_a_write_does_not_take_its_token_away() {
    let origin = Origin::answers("x");
    let edge = by_header(Edge::before(&origin))
        .with("plugins.m = { file = \"builtin:misbehaving\" }")
        .route("plugins = [{ name = \"m\", grants = [\"clock\", \"log\"], deadline = \"30s\" }]")
        .start();
    for (path, status) in [
        ("/response/panic", 503),
        ("/origin/panic", 503),
        ("/a", 200),
    ] {
        let written = edge.request("POST", path).body("new").send().await;
        assert_eq!(
            (written.status, written.get(SEEN).is_some()),
            (status, true),
            "{path}"
        );
    }
}

#[test]
fn the_option_needs_a_secret_that_deserves_the_name() {
    let refused = |settings: &str, route: &str| {
        let text = format!(
            "{settings}\n[origins.app]\nurl = \"http://a\"\n[[routes]]\norigin = \"app\"\n{route}"
        );
        let config = Config::from_toml(&text, "edge.toml");
        config.map(|_| ()).map_err(|error| error.to_string())
    };
    let by_cookie = "read_your_writes = \"cookie\"";
    assert_eq!(refused(KEY, by_cookie), Ok(()));
    for (settings, route, expected) in [
        ("", by_cookie, "route \"/\": read_your_writes needs log.key"),
        (
            "log.key = \"short\"",
            "",
            "log.key is shorter than 16 bytes",
        ),
        (
            KEY,
            "read_your_writes = \"always\"",
            "unknown variant `always`",
        ),
        (
            KEY,
            "read_your_writes = true",
            "invalid type: boolean `true`, expected \"cookie\" or \"header\"",
        ),
        (
            KEY,
            "read_your_writes = {}",
            "expected \"cookie\" or \"header\"",
        ),
    ] {
        let error = refused(settings, route).expect_err(expected);
        assert!(
            error.contains(expected) && !error.contains("short\""),
            "{error}"
        );
    }
}
