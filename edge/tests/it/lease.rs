//! One fetch for the region: edges that share a Redis wait for each other, and for nobody too long.

use redis::AsyncCommands;
use tidegate_edge::config::Config;
use tidegate_services::Redis;

use crate::support::client::Connection;
use crate::support::redis::{connected, started, stored};
use crate::support::{Answer, Edge, Gate, Origin, answer, patiently, secs};

fn fresh(body: &str) -> Answer {
    answer(body).with("cache-control", "max-age=3600")
}

/// Longer than a test has patience for: who waits for its end fails.
const ENDLESS: &str = "redis.lease = \"60s\"";

/// An edge of the region, whose leases are endless.
fn edge(origin: &Origin, redis: &Redis) -> Edge {
    Edge::before(origin).redis(redis).with(ENDLESS).start()
}

/// How many scripts were run: one for each look at a lease, and one for each response that is stored.
pub(crate) async fn looks(redis: &Redis) -> u64 {
    let mut connection = connected(redis).await;
    let mut info = redis::cmd("INFO");
    info.arg("commandstats");
    let info: String = info.query_async(&mut connection).await.unwrap();
    let calls = info.split_once("cmdstat_evalsha:calls=");
    calls.map_or(0, |(_, rest)| {
        rest.split_once(',').unwrap().0.parse().unwrap()
    })
}

/// Waits until scripts were run so many times more.
pub(crate) async fn looked(redis: &Redis, before: u64, times: u64) {
    patiently("looks at a lease", async {
        while looks(redis).await < before + times {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Asks at each edge, and returns when all of them wait for who has the lease.
async fn wait_at(edges: &[&Edge], redis: &Redis, path: &str) -> Vec<Connection> {
    let mut waiting = Vec::new();
    for edge in edges {
        let before = looks(redis).await;
        waiting.push(edge.request("GET", path).begin().await);
        // Those who wait already look too, but not so often at once.
        looked(redis, before, 4 * waiting.len() as u64).await;
    }
    waiting
}

/// How often asking for a lease came to this at an edge.
async fn counted(edge: &Edge, result: &str) -> u64 {
    let page = edge.admin("GET", "/metrics").send().await;
    let name = format!("tidegate_regional_leases_total{{result={result:?}}} ");
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Lets scripts wait; what only reads goes on.
pub(crate) async fn pause_scripts(redis: &Redis) {
    client(redis, &["PAUSE", "600000", "WRITE"]).await;
}

/// Lets scripts go on.
pub(crate) async fn go_on(redis: &Redis) {
    client(redis, &["UNPAUSE"]).await;
}

/// Waits until so many scripts wait.
pub(crate) async fn paused(redis: &Redis, scripts: usize) {
    patiently("scripts that wait", async {
        loop {
            let list = client(redis, &["LIST"]).await;
            let list: String = redis::from_redis_value(list).unwrap();
            let waits = |line: &&str| line.contains(" flags=b") && line.contains(" cmd=evalsha");
            if list.lines().filter(waits).count() >= scripts {
                return;
            }
        }
    })
    .await;
}

async fn client(redis: &Redis, arguments: &[&str]) -> redis::Value {
    let mut connection = connected(redis).await;
    let mut command = redis::cmd("CLIENT");
    let answer = command.arg(arguments).query_async(&mut connection);
    answer.await.unwrap()
}

/// The leases that are held, and the marks that are left.
async fn leases(redis: &Redis) -> Vec<String> {
    let mut connection = connected(redis).await;
    connection.keys("tidegate:l:*").await.unwrap()
}

/// Waits until nobody has a lease.
async fn given_back(redis: &Redis) {
    patiently("the end of a lease", async {
        while !leases(redis).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cold_object_is_fetched_once_in_the_region() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("shared").after(&gate));
    let edges = [(); 3].map(|()| edge(&origin, &redis));
    let mut first = edges[0].request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let waiting = wait_at(&[&edges[1], &edges[2]], &redis, "/").await;
    gate.open();
    assert_eq!(first.response().await.text(), "shared");
    for mut connection in waiting {
        let response = connection.response().await;
        assert_eq!(response.text(), "shared");
        assert_eq!(response.cache_status(), "fwd=uri-miss");
        assert_eq!(response.cache("collapsed"), Some(""));
        assert_eq!(response.cache("detail"), Some("redis"));
        assert_eq!(response.cache("ttl"), Some("3600"));
    }
    assert_eq!(edges[1].get("/").await.cache("detail"), Some("memory"));
    assert_eq!(origin.requests(), 1);
    given_back(&redis).await;
    assert_eq!(counted(&edges[0], "held").await, 1);
    assert_eq!(counted(&edges[2], "waited").await, 1);
}

#[tokio::test]
async fn all_who_wait_at_one_edge_get_what_another_has_fetched() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("shared").after(&gate));
    let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
    let mut first = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    // Who led there leaves; what it began goes on.
    drop(waiting.pop());
    for _ in 0..10 {
        waiting.push(there.request("GET", "/").begin().await);
    }
    there.settled().await;
    gate.open();
    assert_eq!(first.response().await.text(), "shared");
    for mut connection in waiting {
        let response = connection.response().await;
        assert_eq!(response.text(), "shared");
        assert_eq!(response.cache_status(), "fwd=uri-miss");
        assert_eq!(response.cache("collapsed"), Some(""));
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn the_clients_conditions_are_answered_from_what_another_edge_has_fetched() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x").with("etag", "\"1\"").after(&gate));
    let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
    let mut first = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let before = looks(&redis).await;
    let request = there.request("GET", "/").with("if-none-match", "\"1\"");
    let mut second = request.begin().await;
    looked(&redis, before, 4).await;
    gate.open();
    assert_eq!(first.response().await.text(), "x");
    let response = second.response().await;
    assert_eq!(
        (response.status, response.cache("collapsed")),
        (304, Some(""))
    );
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn what_was_stored_between_looking_and_asking_is_a_hit() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x"));
    let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
    // Redis knows the scripts from now on, and runs them in the order in which they come.
    here.get("/other").await;
    stored(&redis, 1).await;
    origin.next(fresh("x").after(&gate));
    let mut first = here.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    // Look-ups go on, scripts wait: there nothing is found, and the question comes late.
    pause_scripts(&redis).await;
    gate.open();
    assert_eq!(first.response().await.text(), "x");
    paused(&redis, 1).await;
    let mut second = there.request("GET", "/").begin().await;
    paused(&redis, 2).await;
    go_on(&redis).await;
    let response = second.response().await;
    assert_eq!((response.text(), response.cache_status()), ("x", "hit"));
    assert_eq!(response.cache("detail"), Some("redis"));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_holder_that_dies_holds_nobody_up_beyond_the_bound() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("second"));
    origin.next(fresh("first").after(&gate));
    let start = || {
        let edge = Edge::before(&origin).redis(&redis);
        edge.with("redis.lease = \"200ms\"").start()
    };
    let (here, there) = (start(), start());
    let mut stuck = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    assert_eq!(there.get("/").await.text(), "second");
    gate.open();
    assert_eq!(stuck.response().await.text(), "first");
    // What the late one stored does not stand in the way of the other.
    assert_eq!(there.get("/").await.text(), "second");
}

#[tokio::test]
async fn nobody_waits_beyond_the_bound_for_a_lease_that_does_not_lapse() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("second"));
    origin.next(fresh("first").after(&gate));
    let start = || {
        let edge = Edge::before(&origin).redis(&redis);
        edge.with("redis.lease = \"1s\"").start()
    };
    let (here, there) = (start(), start());
    let mut stuck = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut connection = connected(&redis).await;
    for lease in leases(&redis).await {
        let () = connection.persist(&lease).await.unwrap();
    }
    assert_eq!(there.get("/").await.text(), "second");
    assert_eq!(counted(&there, "lapsed").await, 1);
    gate.open();
    assert_eq!(stuck.response().await.text(), "first");
}

#[tokio::test]
async fn what_is_not_for_others_lets_all_edges_go_at_once_and_in_parallel() {
    let long = "x".repeat(100);
    for (case, first) in [
        ("private", answer("a").with("cache-control", "private")),
        (
            "to be validated each time",
            fresh("a").with_all(&[("cache-control", "no-cache"), ("etag", "\"1\"")]),
        ),
        ("too large", fresh(&long)),
        ("too large, unannounced", fresh(&long).chunked()),
        ("a failure", Answer::hang_up()),
        ("an error", answer("a").status(500)),
        ("broken off", fresh("a").chunked().breaking_off()),
    ] {
        let redis = started();
        let (gate, others) = (Gate::closed(), Gate::closed());
        let origin = Origin::always(fresh("others").after(&others));
        origin.next(first.after(&gate));
        let edges = [(); 4].map(|()| {
            let edge = Edge::before(&origin).redis(&redis).with(ENDLESS);
            edge.with("redis.max_entry = 50").start()
        });
        let mut leading = edges[0].request("GET", "/").begin().await;
        origin.asked_for(1).await;
        let [_, rest @ ..] = &edges;
        let rest: Vec<_> = rest.iter().collect();
        let waiting = wait_at(&rest, &redis, "/").await;
        assert_eq!(origin.requests(), 1, "{case}: they wait");
        gate.open();
        let _ = leading.head().await;
        // None is answered before all have asked.
        origin.asked_for(4).await;
        others.open();
        for mut connection in waiting {
            assert_eq!(connection.response().await.text(), "others", "{case}");
        }
        assert_eq!(counted(&edges[3], "alone").await, 1, "{case}");
    }
}

#[tokio::test]
async fn those_who_want_another_variant_go_as_soon_as_that_is_known() {
    let redis = started();
    let (german, others) = (Gate::closed(), Gate::closed());
    let gates = (german.clone(), others.clone());
    let origin = Origin::by(move |asked| {
        let language = asked.get("accept-language").unwrap_or_default();
        let gate = if language == "de" { &gates.0 } else { &gates.1 };
        fresh(language).with("vary", "accept-language").after(gate)
    });
    let edges = [(); 4].map(|()| edge(&origin, &redis));
    let ask = async |edge: &Edge, language: &str| {
        let before = looks(&redis).await;
        let request = edge.request("GET", "/");
        let connection = request.with("accept-language", language).begin().await;
        looked(&redis, before, 8).await;
        connection
    };
    let mut first = edges[0]
        .request("GET", "/")
        .with("accept-language", "de")
        .begin()
        .await;
    origin.asked_for(1).await;
    let mut french = ask(&edges[1], "fr").await;
    let mut too = ask(&edges[2], "fr").await;
    let mut spanish = ask(&edges[3], "es").await;
    assert_eq!(origin.requests(), 1);
    german.open();
    assert_eq!(first.response().await.text(), "de");
    // In parallel: one that wants French and one that wants Spanish.
    origin.asked_for(3).await;
    let before = looks(&redis).await;
    looked(&redis, before, 4).await;
    assert_eq!(origin.requests(), 3, "those who want the same share");
    others.open();
    assert_eq!(french.response().await.text(), "fr");
    assert_eq!(too.response().await.text(), "fr");
    assert_eq!(spanish.response().await.text(), "es");
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn those_who_wait_for_a_variant_that_is_none_any_more_go_at_once() {
    let redis = started();
    let (gate, others) = (Gate::closed(), Gate::closed());
    let origin = Origin::always(fresh("one for all").after(&others));
    origin.next(fresh("de").with("vary", "accept-language"));
    origin.next(fresh("one for all").after(&gate));
    let ask = |edge: &Edge, language: &str| {
        let request = edge.request("GET", "/").with("accept-language", language);
        request.begin()
    };
    ask(&edge(&origin, &redis), "de").await.response().await;
    stored(&redis, 2).await;
    let edges = [(); 4].map(|()| edge(&origin, &redis));
    let mut first = ask(&edges[0], "fr").await;
    origin.asked_for(2).await;
    let mut waiting = Vec::new();
    for edge in &edges[1..] {
        let before = looks(&redis).await;
        waiting.push(ask(edge, "fr").await);
        looked(&redis, before, 12).await;
    }
    assert_eq!(origin.requests(), 2);
    gate.open();
    assert_eq!(first.response().await.text(), "one for all");
    origin.asked_for(5).await;
    others.open();
    for mut connection in waiting {
        assert_eq!(connection.response().await.text(), "one for all");
    }
}

#[tokio::test]
async fn variants_at_one_edge_do_not_wait_for_each_others_bodies() {
    let redis = started();
    let tail = Gate::closed();
    let held = tail.clone();
    let origin = Origin::by(move |asked| {
        let language = asked.get("accept-language").unwrap_or_default();
        let answer = fresh(language).with("vary", "accept-language").chunked();
        if language == "de" {
            answer.then(&held, ", all of it")
        } else {
            answer
        }
    });
    let edge = edge(&origin, &redis);
    let ask = |language: &str| edge.request("GET", "/").with("accept-language", language);
    let mut german = ask("de").begin().await;
    german.head().await;
    assert_eq!(ask("fr").send().await.text(), "fr");
    tail.open();
    assert_eq!(german.rest().await, ("de, all of it".to_owned(), true));
}

#[tokio::test]
async fn a_purge_of_the_url_ends_the_waiting_for_what_was_asked_before_it() {
    for soft in [false, true] {
        let redis = started();
        let gate = Gate::closed();
        let origin = Origin::always(fresh("new"));
        origin.next(fresh("old").after(&gate));
        let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
        let mut leading = here.request("GET", "/").begin().await;
        origin.asked_for(1).await;
        let mut waiting = wait_at(&[&there], &redis, "/").await;
        let order = format!(r#"{{"urls": ["edge.test/"], "soft": {soft}}}"#);
        assert_eq!(there.order(&order).await.status, 200);
        // The one before the purge is under way still.
        assert_eq!(waiting[0].response().await.text(), "new");
        assert_eq!(there.get("/").await.text(), "new");
        // Its lease was taken over, and what it stores is behind what is there.
        let before = looks(&redis).await;
        gate.open();
        assert_eq!(leading.response().await.text(), "old");
        if soft {
            looked(&redis, before, 1).await;
        }
        let late = edge(&origin, &redis).get("/").await;
        assert_eq!((late.text(), late.cache("detail")), ("new", Some("redis")));
        assert_eq!(origin.requests(), 2);
    }
}

#[tokio::test]
async fn after_a_purge_one_of_those_who_waited_fetches_for_all() {
    let redis = started();
    let (before, after) = (Gate::closed(), Gate::closed());
    let origin = Origin::always(fresh("new").after(&after));
    origin.next(fresh("old").after(&before));
    let edges = [(); 3].map(|()| edge(&origin, &redis));
    let mut leading = edges[0].request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let waiting = wait_at(&[&edges[1], &edges[2]], &redis, "/").await;
    assert_eq!(edges[1].purge("/").await.status, 200);
    origin.asked_for(2).await;
    // It knows the purge too, as soon as it knows a later one.
    assert_eq!(edges[2].purge("/other").await.status, 200);
    let known = looks(&redis).await;
    looked(&redis, known, 8).await;
    assert_eq!(origin.requests(), 2);
    after.open();
    for mut connection in waiting {
        assert_eq!(connection.response().await.text(), "new");
    }
    assert_eq!(origin.requests(), 2);
    before.open();
    assert_eq!(leading.response().await.text(), "old");
}

#[tokio::test]
async fn a_purge_of_a_tag_while_waiting_makes_what_comes_of_no_use() {
    let redis = started();
    let gate = Gate::closed();
    let tagged = |body| fresh(body).with("surrogate-key", "t");
    let origin = Origin::always(tagged("new"));
    origin.next(tagged("old").after(&gate));
    // What was fetched before is stored by one that has not heard of the purge.
    let log = started();
    let way = crate::support::Way::to(&log);
    let of_log = |url: &str| format!("log.url = {url:?}");
    let begin = || Edge::before(&origin).redis(&redis).with(ENDLESS);
    let lagging = begin().with(&of_log(&way.url())).start();
    let there = begin().with(&of_log(&log.url())).start();
    let mut leading = lagging.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    way.hold();
    assert_eq!(there.order(r#"{"tags": ["t"]}"#).await.status, 200);
    // Who comes after the purge joins the one who waits since before.
    waiting.push(there.request("GET", "/").begin().await);
    let before = looks(&redis).await;
    looked(&redis, before, 2).await;
    assert_eq!(origin.requests(), 1, "whose tag that is, nobody knows yet");
    gate.open();
    assert_eq!(leading.response().await.text(), "old");
    for connection in &mut waiting {
        assert_eq!(connection.response().await.text(), "new");
    }
    assert_eq!(origin.requests(), 2);
    way.release();
}

#[tokio::test]
async fn what_matches_a_purge_that_was_not_recorded_is_not_waited_for() {
    let redis = started();
    let folder = tempfile::tempdir().unwrap();
    let mut log = Redis::start_in(folder.path()).expect("redis-server is installed");
    let gate = Gate::closed();
    let origin = Origin::always(fresh("new"));
    origin.next(fresh("old").after(&gate));
    let [here, there] = [(); 2].map(|()| {
        Edge::before(&origin)
            .redis(&redis)
            .with(ENDLESS)
            .with(&format!("log.url = {:?}", log.url()))
            .with("log.deadline = \"100ms\"")
            .start()
    });
    let mut leading = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    log.kill();
    assert_eq!(there.purge("/").await.status, 503);
    assert_eq!(waiting[0].response().await.text(), "new");
    // Nor is what comes of it taken from the region afterwards.
    let before = looks(&redis).await;
    gate.open();
    assert_eq!(leading.response().await.text(), "old");
    looked(&redis, before, 1).await;
    assert_eq!(there.get("/").await.text(), "new");
    assert_eq!(there.get("/").await.cache_status(), "fwd=miss");
    assert_eq!(
        here.get("/").await.text(),
        "old",
        "others never heard of it"
    );
    log.restart().expect("redis starts again");
}

#[tokio::test]
async fn a_region_that_forgets_while_somebody_waits_costs_a_fetch() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x"));
    origin.next(fresh("x").after(&gate));
    // The log is elsewhere, and is not forgotten.
    let log = started();
    let start = || {
        let edge = Edge::before(&origin).redis(&redis).with(ENDLESS);
        edge.with(&format!("log.url = {:?}", log.url())).start()
    };
    let (here, there) = (start(), start());
    let mut leading = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    let mut connection = connected(&redis).await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(waiting[0].response().await.text(), "x");
    gate.open();
    assert_eq!(leading.response().await.text(), "x");
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_region_that_falls_silent_while_somebody_waits_is_gone_on_without() {
    let mut redis = started();
    let log = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x"));
    origin.next(fresh("x").after(&gate));
    let start = |deadline: &str| {
        Edge::before(&origin)
            .redis(&redis)
            .with(ENDLESS)
            .with(&format!("log.url = {:?}", log.url()))
            .with(&format!("redis.deadline = {deadline:?}"))
            .start()
    };
    let (here, there) = (start("1s"), start("1s"));
    let mut leading = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    redis.pause();
    assert_eq!(waiting[0].response().await.text(), "x");
    gate.open();
    assert_eq!(leading.response().await.text(), "x");
    assert_eq!(there.get("/").await.cache_status(), "hit");
    assert_eq!(counted(&there, "unavailable").await, 1);
    redis.resume();
}

#[tokio::test]
async fn what_expired_is_refreshed_once_in_the_region() {
    let redis = started();
    let gate = Gate::closed();
    let short = |body| answer(body).with("cache-control", "max-age=60, stale-while-revalidate=600");
    let origin = Origin::always(short("new").after(&gate));
    origin.next(short("old"));
    let here = edge(&origin, &redis);
    let start = Edge::before(&origin).redis(&redis).with(ENDLESS);
    let there = start.on_the_clock_of(&here).start();
    here.get("/").await;
    stored(&redis, 1).await;
    assert_eq!(there.get("/").await.cache("detail"), Some("redis"));
    here.clock.advance(secs(100));
    assert_eq!(here.get("/").await.text(), "old");
    origin.asked_for(2).await;
    let before = looks(&redis).await;
    assert_eq!(there.get("/").await.text(), "old", "nobody waits for that");
    looked(&redis, before, 3).await;
    gate.open();
    for edge in [&here, &there] {
        patiently("the new one", async {
            while edge.get("/").await.text() != "new" {}
        })
        .await;
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn what_is_validated_in_the_foreground_is_so_once_in_the_region() {
    let redis = started();
    let gate = Gate::closed();
    let short = answer("x").with_all(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    let origin = Origin::always(short);
    let here = edge(&origin, &redis);
    let start = Edge::before(&origin).redis(&redis).with(ENDLESS);
    let there = start.on_the_clock_of(&here).start();
    here.get("/").await;
    stored(&redis, 1).await;
    assert_eq!(there.get("/").await.cache("detail"), Some("redis"));
    here.clock.advance(secs(100));
    let confirmed = answer("").status(304).with("etag", "\"1\"");
    origin.now(confirmed.after(&gate));
    let mut leading = here.request("GET", "/").begin().await;
    origin.asked_for(2).await;
    let mut waiting = wait_at(&[&there], &redis, "/").await;
    gate.open();
    assert_eq!(leading.response().await.text(), "x");
    let response = waiting[0].response().await;
    assert_eq!(
        (response.text(), response.cache_status()),
        ("x", "fwd=stale")
    );
    assert_eq!(response.cache("detail"), Some("redis"));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn what_no_other_can_be_given_waits_for_nobody() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x"));
    origin.next(fresh("x").after(&gate));
    let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
    let mut leading = here.request("GET", "/").begin().await;
    origin.asked_for(1).await;
    for (method, name, value) in [
        ("GET", "authorization", "Basic me"),
        ("HEAD", "accept", "*/*"),
        ("GET", "range", "bytes=0-0"),
    ] {
        let request = there.request(method, "/").with(name, value);
        assert_eq!(request.send().await.status, 200, "{method} with {name}");
    }
    gate.open();
    leading.response().await;
    assert_eq!(origin.requests(), 4);
}

#[tokio::test]
async fn without_leases_every_edge_fetches_for_itself() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x").after(&gate));
    let mut asking = Vec::new();
    let edges = [(); 2].map(|()| {
        let edge = Edge::before(&origin).redis(&redis);
        edge.with("redis.lease = \"0s\"").start()
    });
    for edge in &edges {
        asking.push(edge.request("GET", "/").begin().await);
    }
    origin.asked_for(2).await;
    gate.open();
    for mut connection in asking {
        assert_eq!(connection.response().await.text(), "x");
    }
}

#[tokio::test]
async fn of_many_cold_objects_at_once_only_so_many_are_waited_for() {
    let redis = started();
    let gate = Gate::closed();
    let origin = Origin::always(fresh("x").after(&gate));
    let (here, there) = (edge(&origin, &redis), edge(&origin, &redis));
    const OBJECTS: usize = 300;
    const WAITING: usize = 256;
    let mut connections = Vec::new();
    for (edge, asked) in [(&here, OBJECTS), (&there, 2 * OBJECTS - WAITING)] {
        for path in 0..OBJECTS {
            connections.push(edge.request("GET", &format!("/{path}")).begin().await);
        }
        origin.asked_for(asked).await;
    }
    there.settled().await;
    assert_eq!(origin.requests(), 2 * OBJECTS - WAITING);
    gate.open();
    for mut connection in connections {
        assert_eq!(connection.response().await.text(), "x");
    }
    assert_eq!(origin.requests(), 2 * OBJECTS - WAITING);
    let full = (OBJECTS - WAITING) as u64;
    assert_eq!(counted(&there, "full").await, full);
    assert_eq!(counted(&there, "waited").await, WAITING as u64);
}

#[test]
fn a_lease_that_would_hold_everybody_up_for_long_is_refused() {
    let read = |lease: &str| {
        let text = format!(
            r#"
            redis = {{ url = "redis://127.0.0.1/", lease = "{lease}" }}
            [origins.app]
            url = "http://127.0.0.1:1"
            [[routes]]
            origin = "app"
            "#
        );
        Config::from_toml(&text, "test").map_err(|error| error.to_string())
    };
    for good in ["0s", "2s", "1m"] {
        assert!(read(good).is_ok(), "{good}");
    }
    let refused = read("61s").expect_err("too long");
    assert!(refused.contains("redis.lease"), "{refused}");
}
