//! The tokens by which clients read their own writes: several in a row or at once, and those that
//! others than the edge give out under their name.

use tidegate_services::Redis;

use crate::support::edge::Builder;
use crate::support::{Edge, Origin, Response, Way, answer, fresh, secs};
use crate::yours::{SEEN, by_cookie, by_header, token};

/// Two edges on one log, of which the one that is written at is cut off.
struct CutOff {
    writer: Edge,
    reader: Edge,
    _way: Way,
    _redis: Redis,
}

impl CutOff {
    /// With `/a` stored at the reader.
    async fn before(origin: &Origin, option: fn(Builder) -> Builder) -> CutOff {
        let redis = Redis::ephemeral().expect("redis-server is installed");
        let way = Way::to(&redis);
        let edge = |url: String| {
            let log = format!("log = {{ url = {url:?}, trust = \"1d\", deadline = \"100ms\" }}");
            option(Edge::before(origin)).with(&log)
        };
        let writer = edge(way.url()).start();
        let reader = edge(redis.url().to_owned())
            .on_the_clock_of(&writer)
            .start();
        reader.get("/a").await;
        way.hold();
        CutOff {
            writer,
            reader,
            _way: way,
            _redis: redis,
        }
    }
}

/// The cookie of ours that an answer sets, as a client sends it back.
fn cookie(written: &Response) -> String {
    let ours = |cookie: &&str| cookie.starts_with("tidegate-seen=");
    let cookie = written.head.all("set-cookie").find(ours).expect("a cookie");
    let (pair, _) = cookie.split_once(';').expect("attributes");
    pair.to_owned()
}

#[tokio::test]
async fn a_second_write_does_not_hide_that_nobody_has_heard_of_the_first() {
    type Form = (
        fn(Builder) -> Builder,
        &'static str,
        fn(&Response) -> String,
    );
    let forms: [Form; 2] = [(by_header, SEEN, token), (by_cookie, "cookie", cookie)];
    for (option, field, token) in forms {
        let origin = Origin::always(fresh("old"));
        let CutOff { writer, reader, .. } = &CutOff::before(&origin, option).await;
        let first = writer.request("PUT", "/a").body("new").send().await;
        origin.now(fresh("new"));
        reader.clock.advance(secs(4));
        let second = reader.request("PUT", "/b").with(field, &token(&first));
        let both = token(&second.body("new").send().await);
        let with_both = |path| reader.request("GET", path).with(field, &both).send();

        let read = with_both("/a").await;
        assert_eq!((read.text(), read.cache_status()), ("new", "fwd=request"));
        // For as long as the first one counts.
        reader.clock.advance(secs(5));
        assert_eq!(with_both("/a").await.cache_status(), "fwd=request");
        reader.clock.advance(secs(1));
        assert_eq!(with_both("/a").await.cache_status(), "hit");
    }
}

#[tokio::test]
async fn a_write_that_is_heard_of_everywhere_leaves_its_bearer_the_cache() {
    let origin = Origin::always(fresh("x"));
    let edge = by_header(Edge::before(&origin)).start();
    let forged = edge.request("PUT", "/a").with(SEEN, "x");
    let first = token(&forged.body("new").send().await);
    let second = edge.request("PUT", "/b").with(SEEN, &first);
    let both = token(&second.body("new").send().await);
    let get = || edge.request("GET", "/a").with(SEEN, &both).send();
    assert_eq!(get().await.cache_status(), "fwd=uri-miss");
    assert_eq!(get().await.cache_status(), "hit");
}

#[tokio::test]
async fn another_cookie_of_the_name_does_not_hide_the_token() {
    let origin = Origin::always(fresh("old"));
    let CutOff { writer, reader, .. } = &CutOff::before(&origin, by_cookie).await;
    let real = cookie(&writer.request("PUT", "/a").body("new").send().await);
    let junk = "tidegate-seen=x";
    for line in [
        format!("{junk}; {real}"),
        format!("a=1; {real}; {junk}"),
        format!("{}a=1; {real}", "tidegate-seen=x; ".repeat(15)),
    ] {
        let read = reader.request("GET", "/a").with("cookie", &line);
        assert_eq!(read.send().await.cache_status(), "fwd=request", "{line}");
        let left = line.contains("a=1").then_some("a=1");
        assert_eq!(origin.last().get("cookie"), left, "{line}");
    }
    let read = reader.request("GET", "/a").with("cookie", junk);
    assert_eq!(read.send().await.cache_status(), "hit");
}

#[tokio::test]
async fn neither_form_of_a_token_gets_past_a_route_with_the_option() {
    let origin = Origin::always(fresh("x").with("vary", "cookie, tidegate-seen"));
    for edge in [
        by_header(Edge::before(&origin)).start(),
        by_cookie(Edge::before(&origin)).start(),
    ] {
        let request = |method: &str, seen| {
            let request = edge.request(method, "/a").with("cookie", seen);
            request.with(SEEN, "1").with(SEEN, "2")
        };
        for (method, seen) in [("GET", "a=1; tidegate-seen=1"), ("PUT", "tidegate-seen=2")] {
            request(method, seen).send().await;
            let asked = origin.last();
            let left = seen.contains("a=1").then_some("a=1");
            assert_eq!((asked.get(SEEN), asked.get("cookie")), (None, left));
        }
        request("GET", "a=1; tidegate-seen=3").send().await;
        let same = request("GET", "tidegate-seen=4; a=1").send().await;
        assert_eq!(same.cache_status(), "hit");
    }
}

#[tokio::test]
async fn what_an_origin_says_under_the_tokens_name_reaches_nobody() {
    let theirs = [
        (SEEN, "theirs"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "tidegate-seen=theirs; Path=/"),
        ("set-cookie", " tidegate-seen = theirs"),
    ];
    let says = |body: &str| fresh(body).with("etag", "\"1\"").with_all(&theirs);
    let found = |response: &Response| -> Vec<String> {
        let fields = [SEEN, "set-cookie"].map(|name| response.head.all(name));
        fields.into_iter().flatten().map(str::to_owned).collect()
    };
    let origin = Origin::always(says("x"));
    for option in [by_header, by_cookie] {
        let edge = option(Edge::before(&origin)).start();
        let get = |path| edge.get(path);
        for (expected, advance) in [
            ("fwd=uri-miss", 0),
            ("hit", 61),
            ("fwd=stale", 0),
            ("hit", 0),
        ] {
            if expected == "fwd=stale" {
                origin.next(says("").status(304));
            }
            let response = get("/a").await;
            assert_eq!(response.cache_status(), expected);
            assert_eq!(found(&response), ["a=1; Path=/"], "{expected}");
            edge.clock.advance(secs(advance));
        }
        origin.next(says("x").with("cache-control", "no-store"));
        assert_eq!(found(&get("/private").await), ["a=1; Path=/"]);
        for method in ["HEAD", "OPTIONS"] {
            let response = edge.request(method, "/b").send().await;
            assert_eq!(found(&response), ["a=1; Path=/"], "{method}");
        }
        for method in ["POST", "PUT"] {
            origin.next(says("x").with("content-location", "/c"));
            let response = edge.request(method, "/c").body("new").send().await;
            let found = found(&response);
            assert_eq!(found.len(), 2, "{method}: its own token too");
            assert!(found.iter().all(|it| !it.contains("theirs")), "{found:?}");
        }
        origin.next(fresh("x").informing(103, SEEN, "theirs"));
        let informed = get("/d").await;
        assert_eq!(informed.interim[0].1.get(SEEN), None);
    }

    let off = Edge::before(&origin).start();
    off.get("/a").await;
    let hit = off.get("/a").await;
    assert_eq!(hit.cache_status(), "hit");
    assert_eq!(found(&hit).len(), theirs.len(), "a name like any other");
}

#[tokio::test]
async fn a_cookie_of_the_tokens_name_is_no_reason_not_to_store() {
    let theirs = answer("x")
        .with("cache-control", "max-age=60")
        .with("set-cookie", "tidegate-seen=theirs");
    let origin = Origin::always(theirs);
    let edge = by_cookie(Edge::before(&origin))
        .route("store_set_cookie = false")
        .start();
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.cache_status(), "hit");
}
