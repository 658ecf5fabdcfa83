//! `/explain`: what would be done with a request, told by the code that decides.

use serde_json::{Value, json};

use crate::support::{Edge, Origin, answer, secs};

async fn explain(edge: &Edge, question: Value) -> Value {
    let asked = edge.admin("POST", "/explain").body(&question.to_string());
    let response = asked.send().await;
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_str(response.text()).expect("an explanation is JSON")
}

/// What a rule found.
fn finding<'a>(explanation: &'a Value, rule: &str) -> &'a str {
    let steps = explanation["steps"].as_array().expect("there are steps");
    let found = steps.iter().find(|step| step["rule"] == rule);
    let found = found.unwrap_or_else(|| panic!("no step {rule} in {explanation}"));
    found["finding"].as_str().expect("a text")
}

fn url(path: &str) -> Value {
    json!({ "url": format!("http://edge.test{path}") })
}

#[tokio::test]
async fn what_is_stored_is_explained_with_its_key_variant_tags_fence_and_freshness() {
    let origin = Origin::answers("hello")
        .with("cache-control", "max-age=60")
        .with("surrogate-key", "one two")
        .with("vary", "accept-language");
    let edge = Edge::before(&origin).start();
    edge.get("/a?b").await;
    edge.clock.advance(secs(20));
    let told = explain(&edge, url("/a?b")).await;
    assert_eq!(told["decision"], "hit; ttl=40; detail=memory");
    assert!(finding(&told, "key").starts_with("http edge.test /a?b"));
    assert_eq!(finding(&told, "stored"), "200 in 5 bytes, whole");
    assert!(finding(&told, "vary").starts_with("accept-language: same"));
    assert_eq!(finding(&told, "tags"), "one two");
    assert!(finding(&told, "fence").contains("the log is at"));
    assert!(finding(&told, "freshness").contains("age 20 s, lifetime 60 s by max-age"));
    assert_eq!(
        origin.requests(),
        1,
        "nothing is fetched for what is stored"
    );
    edge.clock.advance(secs(40));
    let told = explain(&edge, url("/a?b")).await;
    assert_eq!(
        told["decision"]
            .as_str()
            .map(|text| text.starts_with("fwd=stale; detail=expired")),
        Some(true)
    );
}

#[tokio::test]
async fn what_is_not_stored_is_asked_for_and_its_refusal_explained_but_nothing_is_kept() {
    for (cache_control, decision, rule, found) in [
        (
            "max-age=60",
            "fwd=uri-miss; stored; ttl=60",
            "private",
            "passed",
        ),
        (
            "private",
            "fwd=uri-miss; detail=private",
            "private",
            "refused: private",
        ),
        (
            "no-store",
            "fwd=uri-miss; detail=no-store",
            "no-store",
            "refused: no-store",
        ),
    ] {
        let origin = Origin::answers("hello").with("cache-control", cache_control);
        let edge = Edge::before(&origin).start();
        let told = explain(&edge, url("/")).await;
        assert_eq!(told["decision"], decision);
        assert_eq!(finding(&told, rule), found, "{cache_control}");
        assert_eq!(origin.requests(), 1);
        assert_ne!(edge.get("/").await.cache_status(), "hit");
        let refused = edge.get("/").await;
        if let Some(refusal) = found.strip_prefix("refused: ") {
            assert_eq!(refused.cache("detail"), Some(refusal), "the same name");
        }
    }
}

#[tokio::test]
async fn without_leave_to_fetch_the_origin_is_not_asked() {
    let origin = Origin::answers("hello");
    let edge = Edge::before(&origin).start();
    let question = json!({ "url": "http://edge.test/", "fetch": false });
    assert_eq!(explain(&edge, question).await["decision"], "fwd=uri-miss");
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_was_purged_is_explained_so() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.purge("/").await;
    let question = json!({ "url": "http://edge.test/", "fetch": false });
    let told = explain(&edge, question).await;
    assert_eq!(told["decision"], "fwd=miss");
    assert!(finding(&told, "purges").contains("a later record matches"));
}

#[tokio::test]
async fn what_passes_the_cache_by_is_explained_without_asking() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let with = |method: &str, name: &str| json!({ "url": "http://edge.test/", "method": method, "headers": { name: "\"1\"" } });
    for (method, field, decision) in [
        ("POST", "x-any", "fwd=method"),
        ("OPTIONS", "x-any", "fwd=method"),
        ("GET", "if-match", "fwd=request"),
    ] {
        let told = explain(&edge, with(method, field)).await;
        assert_eq!(told["decision"], decision, "{method} with {field}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_query_asks_the_same() {
    let origin = Origin::always(
        answer("x")
            .with("vary", "accept")
            .with("cache-control", "max-age=9"),
    );
    let edge = Edge::before(&origin).start();
    edge.request("GET", "/a?b=c")
        .with("accept", "text/plain")
        .send()
        .await;
    let asked =
        "/explain?url=http%3A%2F%2Fedge.test%2Fa%3Fb%3Dc&header=Accept:%20text/plain&fetch=false";
    let told = edge.admin("GET", asked).send().await;
    assert!(told.text().contains("hit; ttl=9"), "{}", told.text());
}

#[tokio::test]
async fn what_is_no_question_is_refused_by_name() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (query, reason) in [
        ("", "url is missing"),
        ("?url=/a", "is not absolute"),
        ("?url=http://a/&colour=red", "no parameter \"colour\""),
        ("?url=http://a/&header=x", "is not \"Name: value\""),
        ("?url=http://a/&fetch=perhaps", "neither true nor false"),
        ("?url=http://a/&method=G%20T", "method \"G T\" is none"),
    ] {
        let refused = edge.admin("GET", &format!("/explain{query}")).send().await;
        assert_eq!(refused.status, 400, "{query}");
        let told: Value = serde_json::from_str(refused.text()).expect("problem details");
        let detail = told["detail"].as_str().expect("a text");
        assert!(detail.contains(reason), "{query}: {detail}");
    }
}

#[tokio::test]
async fn explaining_needs_the_token_where_there_is_one() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.admin_token = \"secret\"")
        .start();
    let asked = || edge.admin("GET", "/explain?url=http://edge.test/&fetch=false");
    assert_eq!(asked().send().await.status, 401);
    let told = asked().with("authorization", "Bearer secret").send().await;
    assert_eq!(told.status, 200);
}

#[tokio::test]
async fn what_another_query_stored_is_explained_as_what_it_is() {
    let origin = Origin::answers("hello")
        .with("cache-control", "max-age=60")
        .with("no-vary-search", "params=(\"utm\")");
    let edge = Edge::before(&origin)
        .route("key = { query = { except = [\"fbclid\"] } }")
        .start();
    edge.get("/?a&utm=1&fbclid=1").await;
    let told = explain(&edge, url("/?a&utm=2&fbclid=2")).await;
    assert_eq!(told["decision"], "hit; ttl=60; detail=memory");
    assert!(finding(&told, "key").starts_with("http edge.test /?a&utm=2 "));
    assert_eq!(finding(&told, "search"), "stored for an equivalent query");
    assert_eq!(finding(&told, "url"), "edge.test/?a&utm=1");
    edge.purge("/?a&utm=2").await;
    let told = explain(&edge, url("/?a&utm=2&fbclid=2")).await;
    let decision = told["decision"].as_str().expect("there is one");
    assert!(decision.starts_with("fwd=miss"), "{decision}");
    let told = explain(&edge, url("/?a&utm=3")).await;
    assert_eq!(told["decision"], "hit; ttl=60; detail=memory");
}
