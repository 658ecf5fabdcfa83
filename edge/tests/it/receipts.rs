//! What somebody who purges is told of the other edges.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use serde_json::Value;
use tidegate_edge::purge::{Record, Scope, Stream};
use tidegate_services::Redis;

use crate::support::edge::{Builder, PURGE_TOKEN};
use crate::support::redis::{connected, started};
use crate::support::{Edge, Origin, Response, Way, patiently};

const ALL: &str = r#"{"tags": ["t"], "wait": "all", "timeout": "20s"}"#;

/// An edge of this name and region, which shares this Redis.
fn named(origin: &Origin, redis: &Redis, instance: &str, region: &str) -> Builder {
    Edge::before(origin).redis(redis).with(&format!(
        "server = {{ instance = {instance:?}, region = {region:?} }}"
    ))
}

/// The same, which reaches its log by this way.
fn by_way(builder: Builder, way: &Way) -> Builder {
    builder.with(&format!("log.url = {:?}", way.url()))
}

/// The names on the roll, one for each process.
async fn on_roll(redis: &Redis) -> Vec<String> {
    let mut connection = connected(redis).await;
    let places: Vec<String> = connection.hkeys("tidegate:edges").await.unwrap();
    let name = |place: &String| place.split(' ').next().unwrap().to_owned();
    let mut names: Vec<_> = places.iter().map(name).collect();
    names.sort();
    names
}

/// Returns when exactly these are on the roll.
async fn until_on_roll(redis: &Redis, names: &[&str]) {
    patiently("the roll", async { while on_roll(redis).await != names {} }).await;
}

/// Edges a and b of one region, b with its log by this way, when both are on the roll.
async fn pair(origin: &Origin, redis: &Redis, way: &Way) -> (Edge, Edge) {
    let a = named(origin, redis, "a", "fra").start();
    let b = by_way(named(origin, redis, "b", "fra"), way).start();
    until_on_roll(redis, &["a", "b"]).await;
    (a, b)
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{}", response.text()))
}

/// Name, region and state of each edge of a receipt, which says of those that have applied it how long they took.
fn edges(receipt: &Value) -> Vec<String> {
    for edge in receipt["edges"].as_array().expect("it names edges") {
        let has_applied = edge["state"] == "applied";
        assert_eq!(edge["applied_ms"].is_u64(), has_applied, "{edge}");
    }
    states(receipt)
}

/// The same of a purge in the list, where it is not known of an edge that has said nothing before.
fn states(purge: &Value) -> Vec<String> {
    let edges = purge["edges"].as_array().expect("it names edges");
    let text = |edge: &Value, name: &str| edge[name].as_str().unwrap().to_owned();
    edges
        .iter()
        .map(|edge| {
            let (instance, region) = (text(edge, "instance"), text(edge, "region"));
            let state = text(edge, "state");
            let is_known = !edge["applied_ms"].is_null();
            assert!(!is_known || state == "applied", "{edge}");
            format!("{instance} {region} {state}")
        })
        .collect()
}

/// What `edge` says of the purge at this position.
async fn spread(edge: &Edge, position: &Value) -> Value {
    let listed = edge.admin("GET", "/purges").send().await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let listed = json(&listed);
    let purges = listed["purges"].as_array().unwrap();
    let found = purges.iter().find(|purge| purge["position"] == *position);
    found
        .unwrap_or_else(|| panic!("{position} in {listed}"))
        .clone()
}

/// Returns when that is how `edge` says it has spread: whoever took the order knows that it has
/// applied it before it says so to all.
async fn until_spread(edge: &Edge, position: &Value, expected: &[String]) {
    patiently("the spread of a purge", async {
        while states(&spread(edge, position).await) != expected {}
    })
    .await;
}

/// How many acknowledgements this edge has written.
async fn acks(redis: &Redis, instance: &str) -> usize {
    let mut connection = connected(redis).await;
    let acks: StreamRangeReply = connection.xrange_all("tidegate:acks").await.unwrap();
    let own = |entry: &&redis::streams::StreamId| {
        let place: String = entry.get("i").unwrap();
        place.split(' ').next() == Some(instance)
    };
    acks.ids.iter().filter(own).count()
}

/// How many times streams have been read.
async fn reads(connection: &MultiplexedConnection) -> u64 {
    let stats = redis::cmd("INFO").arg("commandstats").to_owned();
    let stats: String = stats.query_async(&mut connection.clone()).await.unwrap();
    let (_, reads) = stats.split_once("cmdstat_xread:calls=").unwrap();
    reads.split(',').next().unwrap().parse().unwrap()
}

/// How many connections wait for a stream: those of orders, and of followers.
async fn readers(connection: &MultiplexedConnection) -> usize {
    let list = redis::cmd("CLIENT").arg("LIST").to_owned();
    let list: String = list.query_async(&mut connection.clone()).await.unwrap();
    let reading = list.lines().filter(|line| line.contains("cmd=xread "));
    reading.filter(|line| line.contains(" flags=b ")).count()
}

#[tokio::test]
async fn a_receipt_names_every_edge_and_the_time_it_took() {
    let redis = started();
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let a = named(&origin, &redis, "a", "fra").start();
    let b = named(&origin, &redis, "b", "ams").start();
    let c = named(&origin, &redis, "c", "fra").start();
    until_on_roll(&redis, &["a", "b", "c"]).await;
    for edge in [&a, &b, &c] {
        edge.get("/a").await;
        assert_eq!(edge.get("/a").await.cache_status(), "hit");
    }
    let order = r#"{"urls": ["edge.test/a"], "wait": "all", "timeout": "20s"}"#;
    let receipt = a.order(order).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    let receipt = json(&receipt);
    assert_eq!(
        edges(&receipt),
        ["a fra applied", "b ams applied", "c fra applied"]
    );
    // They have: nobody needs to be asked twice.
    for edge in [&a, &b, &c] {
        assert_ne!(edge.get("/a").await.cache("detail"), Some("memory"));
    }
    until_spread(&b, &receipt["position"], &edges(&receipt)).await;
}

#[tokio::test]
async fn purge_waits_for_edges_as_its_fields_say() {
    let redis = started();
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    let _b = named(&origin, &redis, "b", "ams").start();
    until_on_roll(&redis, &["a", "b"]).await;
    let purge = |wait: &'static str| {
        let request = a.request("PURGE", "/").with("authorization", PURGE_TOKEN);
        request
            .with("purge-wait", wait)
            .with("purge-timeout", "20s")
            .send()
    };
    let receipt = purge("all").await;
    assert_eq!(receipt.status, 200);
    assert_eq!(edges(&json(&receipt)), ["a fra applied", "b ams applied"]);
    let receipt = json(&purge("none").await);
    assert!(
        receipt["position"].is_string() && receipt["edges"].is_null(),
        "{receipt}"
    );
}

#[tokio::test]
async fn an_edge_of_another_region_is_waited_for_by_all_alone() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    let b = by_way(named(&origin, &redis, "b", "ams"), &way).start();
    until_on_roll(&redis, &["a", "b"]).await;
    way.hold();
    let region = a
        .order(r#"{"tags": ["t"], "wait": "region", "timeout": "20s"}"#)
        .await;
    assert_eq!(region.status, 200, "{}", region.text());
    assert_eq!(edges(&json(&region)), ["a fra applied", "b ams waiting"]);

    let late = a
        .order(r#"{"tags": ["t"], "wait": "all", "timeout": "100ms"}"#)
        .await;
    assert_eq!(late.status, 202, "{}", late.text());
    let late = json(&late);
    assert_eq!(edges(&late), ["a fra applied", "b ams waiting"]);
    until_spread(&a, &late["position"], &edges(&late)).await;
    assert_eq!(spread(&a, &late["position"]).await["applied"], 1);

    let mut asked = a.admin("POST", "/purge").body(ALL).begin().await;
    way.release();
    let receipt = asked.response().await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    assert_eq!(edges(&json(&receipt)), ["a fra applied", "b ams applied"]);
    // One acknowledgement stands for all that came before it.
    until_spread(&b, &late["position"], &edges(&json(&receipt))).await;
}

#[tokio::test]
async fn an_edge_that_is_cut_off_falls_silent_and_has_not_applied_it_until_it_says_so() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    let b = by_way(named(&origin, &redis, "b", "fra"), &way)
        .with("log.trust = \"1s\"")
        .start();
    way.cut();
    // It is waited for as long as its last word is not older than three seconds.
    let order = r#"{"tags": ["t"], "wait": "all", "timeout": "3500ms"}"#;
    let receipt = a.order(order).await;
    assert_eq!(receipt.status, 202);
    let receipt = json(&receipt);
    assert_eq!(edges(&receipt), ["a fra applied", "b fra silent"]);
    until_spread(&a, &receipt["position"], &edges(&receipt)).await;

    way.lead_to(&redis);
    let applied = ["a fra applied", "b fra applied"].map(str::to_owned);
    until_spread(&a, &receipt["position"], &applied).await;
    let receipt = a.order(ALL).await;
    assert_eq!(
        (receipt.status, edges(&json(&receipt))),
        (200, applied.to_vec())
    );
    drop(b);
}

#[tokio::test]
async fn an_edge_that_is_silent_already_is_named_and_not_waited_for() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let a = named(&origin, &redis, "a", "fra")
        .with("purge.longest_wait = \"1h\"")
        .start();
    let b = by_way(named(&origin, &redis, "b", "ams"), &way)
        .with("log.trust = \"50ms\"")
        .route("on_partition = \"serve\"")
        .start();
    until_on_roll(&redis, &["a", "b"]).await;
    b.get("/").await;
    way.cut();
    let order = |wait: &str, timeout: &str| {
        let order = format!(r#"{{"all": true, "wait": {wait:?}, "timeout": {timeout:?}}}"#);
        let asked = a.admin("POST", "/purge").body(&order);
        async { asked.send().await }
    };
    let told = patiently("it to fall silent", async {
        loop {
            let told = json(&order("all", "10ms").await);
            if edges(&told)[1] == "b ams silent" {
                return told;
            }
        }
    })
    .await;
    // It serves what was purged: nobody may be told otherwise.
    assert_eq!(b.get("/").await.cache_status(), "hit");
    let late = patiently("no wait for it", order("all", "1h")).await;
    assert_eq!(late.status, 202, "{}", late.text());
    assert_eq!(edges(&json(&late)), ["a fra applied", "b ams silent"]);
    let region = patiently("those of the region", order("region", "1h")).await;
    assert_eq!(region.status, 200, "{}", region.text());
    assert_eq!(edges(&json(&region)), ["a fra applied", "b ams silent"]);
    until_spread(&a, &told["position"], &edges(&told)).await;

    way.lead_to(&redis);
    patiently("its return", async {
        while order("all", "1h").await.status != 200 {}
    })
    .await;
    assert_ne!(b.get("/").await.cache_status(), "hit");
}

#[tokio::test]
async fn an_edge_that_died_is_silent_for_some_minutes_and_then_struck() {
    let redis = started();
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    until_on_roll(&redis, &["a"]).await;
    let mut connection = connected(&redis).await;
    let (now, _): (u64, u64) = redis::cmd("TIME")
        .query_async(&mut connection)
        .await
        .unwrap();
    for (name, minutes) in [("lately", 4), ("long-ago", 6)] {
        let said = serde_json::json!({
            "region": "fra", "position": "00000000000000ff:7-1", "trust": 2_000,
            "process": "p", "heard": (now - minutes * 60) * 1_000,
        });
        let place = format!("{name} p");
        let _: () = connection
            .hset("tidegate:edges", place, said.to_string())
            .await
            .unwrap();
    }
    let receipt = a.order(ALL).await;
    assert_eq!(receipt.status, 202, "{}", receipt.text());
    let receipt = json(&receipt);
    assert_eq!(edges(&receipt), ["a fra applied", "lately fra silent"]);
    until_spread(&a, &receipt["position"], &edges(&receipt)).await;
    // Whoever begins clears up.
    let _b = named(&origin, &redis, "b", "fra").start();
    until_on_roll(&redis, &["a", "b", "lately"]).await;
}

#[tokio::test]
async fn the_roll_is_fixed_when_the_purge_is_recorded() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let (a, _b) = pair(&origin, &redis, &way).await;
    way.hold();
    let before = acks(&redis, "a").await;
    let mut asked = a.admin("POST", "/purge").body(ALL).begin().await;
    patiently("the record", async {
        while acks(&redis, "a").await == before {}
    })
    .await;
    let c = named(&origin, &redis, "c", "fra").start();
    until_on_roll(&redis, &["a", "b", "c"]).await;
    way.release();
    let receipt = asked.response().await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    assert_eq!(edges(&json(&receipt)), ["a fra applied", "b fra applied"]);

    // Who takes leave is off the roll at once.
    c.drain();
    assert_eq!(on_roll(&redis).await, ["a", "b"]);
}

#[tokio::test]
async fn an_edge_is_on_the_roll_before_it_serves() {
    let redis = started();
    let origin = Origin::answers("x");
    for name in ["a", "b", "c"] {
        let edge = named(&origin, &redis, name, "fra").start();
        assert_eq!(on_roll(&redis).await, [name]);
        edge.drain();
        assert!(on_roll(&redis).await.is_empty());
    }
}

#[tokio::test]
async fn who_finds_too_many_waiting_is_answered_without_waiting() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let (a, _b) = pair(&origin, &redis, &way).await;
    way.hold();
    let mut waiting = Vec::new();
    for _ in 0..64 {
        waiting.push(a.admin("POST", "/purge").body(ALL).begin().await);
    }
    let connection = connected(&redis).await;
    patiently("all of them to wait", async {
        while readers(&connection).await < 64 {}
    })
    .await;
    // It would be answered after the others had given up.
    let order = r#"{"tags": ["one-more"], "wait": "all", "timeout": "30s"}"#;
    let receipt = a.order(order).await;
    assert_eq!(receipt.status, 202, "{}", receipt.text());
    assert_eq!(edges(&json(&receipt)), ["a fra applied", "b fra waiting"]);
    way.release();
    for mut connection in waiting {
        assert_eq!(connection.response().await.status, 200);
    }
}

#[tokio::test]
async fn many_purges_are_acknowledged_at_once() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let (a, _b) = pair(&origin, &redis, &way).await;
    way.hold();
    let before = acks(&redis, "b").await;
    for _ in 0..10 {
        let tags: Vec<_> = (0..100).map(|tag| format!("t{tag}")).collect();
        let order = serde_json::json!({ "tags": tags });
        assert_eq!(a.order(&order.to_string()).await.status, 200);
    }
    way.release();
    assert_eq!(a.order(ALL).await.status, 200);
    let written = acks(&redis, "b").await - before;
    assert!((1..10).contains(&written), "{written} for 1,001 purges");
}

#[tokio::test]
async fn what_is_strange_on_the_roll_is_passed_over_and_no_purge_fails_by_it() {
    let redis = started();
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    until_on_roll(&redis, &["a"]).await;
    let mut connection = connected(&redis).await;
    let strange = [("s", "{"), ("u", "{\"heard\":1}"), ("v", "")];
    let _: () = connection
        .hset_multiple("tidegate:edges", &strange)
        .await
        .unwrap();
    let _: () = connection
        .hset("tidegate:edges", b"\xff\xfe", b"\xff")
        .await
        .unwrap();
    for fields in [[("x", "y"), ("z", "")], [("i", "a"), ("p", "soon")]] {
        let _: () = connection
            .xadd("tidegate:acks", "*", &fields)
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let receipt = a.order(ALL).await;
        assert_eq!(
            (receipt.status, edges(&json(&receipt))),
            (200, vec!["a fra applied".to_owned()])
        );
        assert_eq!(a.admin("GET", "/purges").send().await.status, 200);
        // Now neither is what it should be.
        let _: () = connection
            .del(&["tidegate:edges", "tidegate:acks"])
            .await
            .unwrap();
        let _: () = connection.set("tidegate:edges", "x").await.unwrap();
        let _: () = connection.set("tidegate:acks", "x").await.unwrap();
        if a.admin("GET", "/purges").send().await.status == 503 {
            let receipt = a.order(ALL).await;
            assert_eq!(
                (receipt.status, edges(&json(&receipt))),
                (200, vec!["a fra applied".to_owned()])
            );
        }
        let _: () = connection
            .del(&["tidegate:edges", "tidegate:acks"])
            .await
            .unwrap();
    }
    until_on_roll(&redis, &["a"]).await;
}

#[tokio::test]
async fn each_of_two_edges_of_one_name_answers_for_itself() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let one = by_way(named(&origin, &redis, "a", "fra"), &way).start();
    until_on_roll(&redis, &["a"]).await;
    way.hold();
    let other = named(&origin, &redis, "a", "fra").start();
    let third = named(&origin, &redis, "c", "fra").start();
    until_on_roll(&redis, &["a", "a", "c"]).await;
    for asked in [&other, &third] {
        let order = r#"{"tags": ["t"], "wait": "all", "timeout": "100ms"}"#;
        let receipt = asked.order(order).await;
        assert_eq!(receipt.status, 202, "{}", receipt.text());
        let told = json(&receipt);
        until_spread(asked, &told["position"], &edges(&told)).await;
        let told = edges(&told);
        let states = told.iter().map(|edge| {
            // Beside its name, the word of its process.
            let parts: Vec<_> = edge.split(' ').collect();
            assert!(parts[0] == "c" || parts[1].len() == 16, "{edge}");
            (parts[0], parts[parts.len() - 1])
        });
        let mut states: Vec<_> = states.collect();
        states.sort();
        let expected = [("a", "applied"), ("a", "waiting"), ("c", "applied")];
        assert_eq!(states, expected);
    }
    way.release();
    assert_eq!(third.order(ALL).await.status, 200);
    one.drain();
    let receipt = third.order(ALL).await;
    assert_eq!(
        (receipt.status, edges(&json(&receipt))),
        (
            200,
            vec!["a fra applied".to_owned(), "c fra applied".to_owned()]
        )
    );
}

#[tokio::test]
async fn a_restart_that_overlaps_ends_with_one_place_on_the_roll() {
    let redis = started();
    let origin = Origin::answers("x");
    let mut edge = named(&origin, &redis, "a", "fra").start();
    for _ in 0..3 {
        let new = named(&origin, &redis, "a", "fra").start();
        assert_eq!(on_roll(&redis).await, ["a", "a"]);
        std::mem::replace(&mut edge, new).drain();
        assert_eq!(on_roll(&redis).await, ["a"]);
        let receipt = edge.order(ALL).await;
        assert_eq!(
            (receipt.status, edges(&json(&receipt))),
            (200, vec!["a fra applied".to_owned()])
        );
    }
}

#[tokio::test]
async fn an_order_that_waits_is_answered_when_its_edge_drains() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra")
        .with("server.drain_timeout = \"1h\"\npurge.longest_wait = \"1h\"")
        .start();
    let _b = by_way(named(&origin, &redis, "b", "fra"), &way).start();
    until_on_roll(&redis, &["a", "b"]).await;
    way.hold();
    let before = acks(&redis, "a").await;
    let order = r#"{"tags": ["t"], "wait": "all", "timeout": "1h"}"#;
    let mut ordered = a.admin("POST", "/purge").body(order).begin().await;
    let purge = a.request("PURGE", "/").with("authorization", PURGE_TOKEN);
    let purge = purge.with("purge-wait", "all").with("purge-timeout", "1h");
    let mut purged = purge.begin().await;
    let connection = connected(&redis).await;
    patiently("both of them to wait", async {
        while acks(&redis, "a").await == before || readers(&connection).await < 3 {}
    })
    .await;
    let drained = tokio::task::spawn_blocking(move || a.drain());
    for waiting in [&mut ordered, &mut purged] {
        let receipt = patiently("the receipt", waiting.response()).await;
        assert_eq!(receipt.status, 202, "{}", receipt.text());
        assert_eq!(edges(&json(&receipt)), ["a fra applied", "b fra waiting"]);
    }
    patiently("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_wait_of_any_length_is_one() {
    let redis = started();
    let way = Way::to(&redis);
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra")
        .with("purge.longest_wait = \"200000000000d\"")
        .start();
    let _b = by_way(named(&origin, &redis, "b", "fra"), &way).start();
    until_on_roll(&redis, &["a", "b"]).await;
    way.hold();
    let order = r#"{"tags": ["t"], "wait": "all", "timeout": "200000000000d"}"#;
    let mut asked = a.admin("POST", "/purge").body(order).begin().await;
    let connection = connected(&redis).await;
    patiently("it to wait", async {
        while readers(&connection).await < 2 {}
    })
    .await;
    // Whoever follows the log reads about four times a second, and an order once.
    let before = reads(&connection).await;
    patiently("it to wait again", async {
        while reads(&connection).await < before + 10 {}
    })
    .await;
    way.release();
    let receipt = asked.response().await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    assert_eq!(edges(&json(&receipt)), ["a fra applied", "b fra applied"]);
}

#[tokio::test]
async fn a_log_in_process_has_one_edge_that_applies_at_once() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.instance = \"a\"")
        .start();
    for wait in ["all", "region"] {
        let order = format!(r#"{{"hosts": ["edge.test"], "soft": true, "wait": {wait:?}}}"#);
        let receipt = edge.order(&order).await;
        assert_eq!(receipt.status, 200);
        let receipt = json(&receipt);
        assert_eq!(edges(&receipt), ["a local applied"]);
        assert_eq!(receipt["edges"][0]["applied_ms"], 0);
        let spread = spread(&edge, &receipt["position"]).await;
        assert_eq!(edges(&spread), ["a local applied"]);
    }
    assert!(json(&edge.purge("/").await)["edges"].is_null());
}

#[tokio::test]
async fn recent_purges_are_listed_newest_first() {
    let redis = started();
    let origin = Origin::answers("x");
    for edge in [
        Edge::before(&origin).start(),
        named(&origin, &redis, "a", "fra").start(),
    ] {
        let list = |path: &str| edge.admin("GET", path).send();
        assert_eq!(
            json(&list("/purges").await)["purges"],
            serde_json::json!([])
        );
        for order in [
            r#"{"urls": ["edge.test/a"]}"#,
            r#"{"tags": ["t"], "soft": true}"#,
            r#"{"all": true, "wait": "all"}"#,
        ] {
            assert_eq!(edge.order(order).await.status, 200, "{order}");
        }
        patiently("the roll", async {
            while json(&list("/purges").await)["purges"][2]["applied"] != 1 {}
        })
        .await;
        let listed = json(&list("/purges").await);
        for (at, scope, value, mode) in [
            (0, "all", None, "hard"),
            (1, "tag", Some("t"), "soft"),
            (2, "url", Some("edge.test/a"), "hard"),
        ] {
            let purge = &listed["purges"][at];
            assert_eq!(purge["scope"], scope, "{listed}");
            assert_eq!(purge["value"].as_str(), value, "{listed}");
            assert_eq!(purge["mode"], mode, "{listed}");
            assert!(
                purge["at"].as_u64().unwrap() > 1_500_000_000_000,
                "{listed}"
            );
        }
        assert_eq!(listed["purges"].as_array().unwrap().len(), 3);
        let one = json(&list("/purges?limit=1").await);
        assert_eq!(one["purges"].as_array().unwrap().len(), 1);
        assert_eq!(one["purges"][0]["scope"], "all");
        assert_eq!(list("/purges?limit=99999999").await.status, 200);
        for wrong in ["/purges?limit=many", "/purges?limit=-1", "/purges?limit="] {
            assert_eq!(list(wrong).await.status, 400, "{wrong}");
        }
    }
}

#[tokio::test]
async fn of_a_long_value_the_list_of_purges_says_the_beginning() {
    let redis = started();
    let origin = Origin::answers("x");
    let a = named(&origin, &redis, "a", "fra").start();
    let stream = Stream::new(&redis.url(), "tidegate").unwrap();
    let records: Vec<_> = [1_024, 1_025, 3_000_000]
        .map(|length| Record::hard(Scope::Tag("\u{e4}".repeat(length))))
        .to_vec();
    stream.append(&records).await.unwrap();
    let listed = json(&a.admin("GET", "/purges").send().await);
    let beginning = "\u{e4}".repeat(1_024);
    let bounded = format!("{beginning}...");
    for (at, expected) in [(2, &beginning), (1, &bounded), (0, &bounded)] {
        let value = &listed["purges"][at]["value"];
        assert!(*value == **expected, "the {at}th");
        assert_eq!(listed["purges"][at]["scope"], "tag");
    }
}

#[tokio::test]
async fn the_list_of_purges_is_for_those_who_may_purge() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.admin_token = \"t0ken\"")
        .start();
    let list = || edge.admin("GET", "/purges");
    assert_eq!(list().send().await.status, 401);
    let allowed = list().with("authorization", "Bearer t0ken").send().await;
    assert_eq!(allowed.status, 200);
    assert_eq!(edge.admin("POST", "/purges").send().await.status, 405);
}

#[tokio::test]
async fn a_list_of_purges_that_cannot_be_had_is_said() {
    let mut redis = started();
    let origin = Origin::answers("x");
    let edge = named(&origin, &redis, "a", "fra").start();
    redis.kill();
    let listed = edge.admin("GET", "/purges").send().await;
    assert_eq!(listed.status, 503);
    assert!(listed.text().contains("purge log"), "{}", listed.text());
}

#[tokio::test]
async fn the_time_until_a_purge_is_applied_is_counted() {
    let redis = started();
    let origin = Origin::answers("x");
    let edge = named(&origin, &redis, "a", "fra").start();
    // What was written before its first word tells nothing of its speed.
    patiently("its first word", async {
        while acks(&redis, "a").await == 0 {}
    })
    .await;
    assert_eq!(edge.order(ALL).await.status, 200);
    patiently("the metrics", async {
        loop {
            let page = edge.admin("GET", "/metrics").send().await;
            let has = |line: &str| page.text().lines().any(|found| found.starts_with(line));
            assert!(
                has("tidegate_purge_log_silence_seconds 0"),
                "{}",
                page.text()
            );
            assert!(
                has("tidegate_purge_requests_total{outcome=\"applied\"} 1"),
                "{}",
                page.text()
            );
            if has("tidegate_purge_apply_seconds_count 1") {
                return;
            }
        }
    })
    .await;
}

/// The members of an order that cannot be meant, and what is said of them.
const NOT_MEANT: &[(&str, &str)] = &[
    (
        r#""wait": "everybody""#,
        "wait: \\\"everybody\\\" is none of",
    ),
    (r#""wait": true"#, "body:"),
    (
        r#""wait": "all", "timeout": "soon""#,
        "timeout: \\\"soon\\\" is no duration",
    ),
    (r#""wait": "all", "timeout": 5"#, "body:"),
    (r#""wait": "all", "timeout": "-1s""#, "timeout:"),
    (
        r#""wait": "all", "timeout": "31s""#,
        "timeout: 31s is longer than purge.longest_wait",
    ),
];

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused_and_nothing_is_purged() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    for (members, reason) in NOT_MEANT {
        let refused = edge.order(&format!("{{\"all\": true, {members}}}")).await;
        assert_eq!(refused.status, 400, "{members}");
        assert!(
            refused.text().contains(reason),
            "{members}: {}",
            refused.text()
        );
    }
    let many: Vec<_> = (0..10_001).map(|tag| tag.to_string()).collect();
    let refused = edge
        .order(&serde_json::json!({ "tags": many }).to_string())
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text()
            .contains("10001 records at once: at most 10000")
    );
    for (field, value) in [
        ("purge-wait", "everybody"),
        ("purge-wait", ""),
        ("purge-wait", "all, none"),
        ("purge-wait", "\u{e4}ll"),
        ("purge-timeout", "soon"),
        ("purge-timeout", "31s"),
    ] {
        let request = edge
            .request("PURGE", "/")
            .with("authorization", PURGE_TOKEN);
        let refused = request.with(field, value).send().await;
        assert_eq!(refused.status, 400, "{field}: {value}");
        let named = refused.text().to_ascii_lowercase();
        assert!(named.contains(field), "{field}: {value}: {named}");
        assert_eq!(
            refused.get("content-type"),
            Some("application/problem+json")
        );
    }
    assert_eq!(edge.get("/").await.cache_status(), "hit");
}
