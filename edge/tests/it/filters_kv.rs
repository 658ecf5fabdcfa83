//! What plugins keep: theirs alone, on every route and, in Redis, at every edge; and what becomes
//! of requests when it cannot be reached.

use std::time::Duration;

use crate::filters_support::capable;
use crate::support::{Edge, Origin, Way, patiently, redis, secs};

/// An edge with the plugin under two names, `one` at `/a` and `/b`, `two` elsewhere; `/a` and `/b`
/// are for hosts of these names.
fn three_routes(origin: &Origin) -> crate::support::edge::Builder {
    let route = |host: &str, plugin: &str| {
        format!(
            "[[routes]]\norigin = \"app\"\nname = {host:?}\nhost = {host:?}\n\
             [[routes.plugins]]\n{}",
            capable(plugin, "")
        )
    };
    let routes = [("a.test", "one"), ("b.test", "one"), ("c.test", "two")];
    let routes = routes.map(|(host, plugin)| route(host, plugin)).concat();
    Edge::before(origin).with(&format!(
        "[plugins.one]\nfile = \"builtin:capable\"\n[plugins.two]\nfile = \"builtin:capable\"\n{routes}"
    ))
}

async fn said(edge: &Edge, host: &str, path: &str) -> String {
    let answer = edge.request("GET", path).with("host", host).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text().to_owned()
}

async fn keeps_apart(edge: &Edge) {
    assert_eq!(said(edge, "a.test", "/kv/set?k&of-one").await, "done");
    assert_eq!(said(edge, "b.test", "/kv/get?k").await, "= of-one");
    assert_eq!(said(edge, "c.test", "/kv/get?k").await, "nothing");
    assert_eq!(said(edge, "c.test", "/kv/set?k&of-two").await, "done");
    assert_eq!(said(edge, "c.test", "/kv/delete?k").await, "done");
    assert_eq!(said(edge, "a.test", "/kv/get?k").await, "= of-one");
    assert_eq!(said(edge, "b.test", "/kv/increment?n&3").await, "3");
    assert_eq!(said(edge, "a.test", "/kv/increment?n&-5").await, "-2");
    assert_eq!(
        said(edge, "a.test", "/kv/increment?k&1").await,
        "Error::NotANumber"
    );
    assert_eq!(said(edge, "a.test", "/kv/keys").await, "k n");
    assert_eq!(said(edge, "c.test", "/kv/keys").await, "");
    assert_eq!(said(edge, "a.test", "/kv/exists?k").await, "true");
    assert_eq!(said(edge, "c.test", "/kv/exists?k").await, "false");
    let long = format!("/kv/get?{}", "k".repeat(1_025));
    assert!(said(edge, "a.test", &long).await.contains("1025 bytes"));
}

#[tokio::test]
async fn a_plugins_keys_are_its_own_on_every_route_that_uses_it() {
    let origin = Origin::answers("");
    keeps_apart(&three_routes(&origin).start()).await;
}

#[tokio::test]
async fn in_redis_a_plugins_keys_are_its_own_at_every_edge() {
    let origin = Origin::answers("");
    let server = redis::started();
    let first = three_routes(&origin).redis(&server).start();
    keeps_apart(&first).await;
    let second = three_routes(&origin).redis(&server).start();
    assert_eq!(said(&second, "a.test", "/kv/get?k").await, "= of-one");
    assert_eq!(said(&second, "c.test", "/kv/get?k").await, "nothing");
    assert_eq!(said(&second, "a.test", "/kv/increment?n&1").await, "-1");
    drop(second);
    // What one deployment keeps is not another's on the same server.
    let other = three_routes(&origin)
        .redis(&server)
        .with("redis = { prefix = \"other\" }")
        .start();
    assert_eq!(said(&other, "a.test", "/kv/get?k").await, "nothing");
}

#[tokio::test]
async fn a_lifetime_ends_by_the_edges_clock() {
    let origin = Origin::answers("");
    let edge = three_routes(&origin).start();
    assert_eq!(said(&edge, "a.test", "/kv/set?k&v&60000").await, "done");
    assert_eq!(said(&edge, "a.test", "/kv/increment?n&1&60000").await, "1");
    edge.clock.advance(secs(59));
    assert_eq!(said(&edge, "a.test", "/kv/increment?n&1&60000").await, "2");
    edge.clock.advance(Duration::from_millis(999));
    assert_eq!(said(&edge, "a.test", "/kv/get?k").await, "= v");
    edge.clock.advance(Duration::from_millis(1));
    assert_eq!(said(&edge, "a.test", "/kv/get?k").await, "nothing");
    assert_eq!(said(&edge, "a.test", "/kv/increment?n&1&60000").await, "1");
    let invalid = said(&edge, "a.test", "/kv/set?k&v&0").await;
    assert!(invalid.contains("a lifetime of 0ns"), "{invalid}");
}

#[tokio::test]
async fn while_redis_is_silent_the_guest_gets_an_error_and_the_request_goes_on() {
    let origin = Origin::answers("from the origin");
    let server = redis::started();
    let way = Way::to(&server);
    let edge = three_routes(&origin)
        .redis(&server)
        .with(&format!(
            "redis = {{ url = {:?}, deadline = \"100ms\" }}\nlog = {{ url = {:?} }}",
            way.url(),
            server.url()
        ))
        .start();
    patiently("the store", async {
        while said(&edge, "a.test", "/kv/set?k&v").await != "done" {}
    })
    .await;
    way.hold();
    let answer = said(&edge, "a.test", "/kv/get?k").await;
    assert!(answer.starts_with("Error::Unavailable"), "{answer}");
    let answer = said(&edge, "a.test", "/page").await;
    assert_eq!(answer, "from the origin");
    let visits = origin.last().get("x-visits").map(str::to_owned);
    assert!(visits.is_some_and(|visits| visits.contains("Unavailable")));
    // A guest that asks again and again is told at once.
    let answer = said(&edge, "a.test", "/kv/many?1000").await;
    assert!(answer.starts_with("0: Error::Unavailable"), "{answer}");
    way.release();
    patiently("the store again", async {
        while said(&edge, "a.test", "/kv/get?k").await != "= v" {}
    })
    .await;
}
