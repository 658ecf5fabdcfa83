//! `/explain`: what would be done with a request, told by the code that decides.

use serde_json::{Value, json};

use crate::support::redis::started;
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
    assert_eq!(finding(&told, "tags"), "\"one\", \"two\"");
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
        told["decision"],
        "fwd=stale; fwd-status=200; stored; ttl=60; detail=expired"
    );
}

#[tokio::test]
async fn what_is_not_stored_is_asked_for_and_its_refusal_explained_but_nothing_is_kept() {
    for (cache_control, decision, rule, found) in [
        (
            "max-age=60",
            "fwd=uri-miss; fwd-status=200; stored; ttl=60",
            "private",
            "passed",
        ),
        (
            "private",
            "fwd=uri-miss; fwd-status=200; detail=private",
            "private",
            "refused: private",
        ),
        (
            "no-store",
            "fwd=uri-miss; fwd-status=200; detail=no-store",
            "no-store",
            "refused: no-store",
        ),
    ] {
        let origin = Origin::answers("hello").with("cache-control", cache_control);
        let edge = Edge::before(&origin).start();
        let told = explain(&edge, url("/")).await;
        assert_eq!(told["decision"], decision);
        assert_eq!(finding(&told, rule), found, "{cache_control}");
        let mut steps = told["steps"].as_array().into_iter().flatten();
        let tags = steps.find(|step| step["rule"] == "tags");
        let section = tags.map(|step| &step["section"]);
        assert_eq!(section, Some(&json!("route: 256 tags at most")));
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
    let with = |method: &str, name: &str| json!({ "url": "http://edge.test/", "method": method, "headers": [[name, "\"1\""]] });
    let upgrade = json!({
        "url": "http://edge.test/",
        "headers": [["connection", "upgrade"], ["upgrade", "websocket"]],
    });
    assert_eq!(explain(&edge, upgrade).await["decision"], "fwd=bypass");
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

/// Explains a request and then makes it: what the explanation decides is what `Cache-Status` says.
async fn foretold(edge: &Edge, method: &str, headers: &[(&str, &str)]) -> String {
    let question = json!({ "url": "http://edge.test/", "method": method, "headers": headers });
    let told = explain(edge, question).await;
    let decision = told["decision"].as_str().expect("there is one").to_owned();
    let response = edge.request(method, "/").with_all(headers).send().await;
    let status = response.get("cache-status").unwrap_or_default();
    let said = status.split_once("; ").map_or("", |(_, said)| said);
    assert_eq!(decision, said, "{method} with {headers:?}: {told}");
    decision
}

#[tokio::test]
async fn the_decision_is_what_cache_status_says_of_the_same_request() {
    let stored = |control: &str| answer("x").with("cache-control", control);
    let tagged = |control: &str| stored(control).with("etag", "\"1\"");
    let confirmed = || answer("").status(304).with("cache-control", "max-age=9");
    let failing = || answer("").status(503);
    let only = [("cache-control", "only-if-cached")];
    // What is stored 20 seconds before, if anything; the answer now; the request.
    for (kept, now, method, headers, decision) in [
        // RFC 9111 §3: a HEAD brings nothing to store.
        (
            None,
            stored("max-age=9"),
            "HEAD",
            &[][..],
            "fwd=uri-miss; fwd-status=200",
        ),
        // RFC 9111 §5.2.1.7
        (
            None,
            stored("max-age=9"),
            "GET",
            &only,
            "detail=only_if_cached",
        ),
        (
            Some(stored("max-age=10")),
            stored("max-age=9"),
            "GET",
            &only,
            "detail=only_if_cached",
        ),
        // RFC 5861 §4
        (
            Some(stored("max-age=10, stale-if-error=60")),
            failing(),
            "GET",
            &[],
            "hit; ttl=-10; detail=stale-if-error",
        ),
        (
            Some(stored("max-age=10, stale-if-error=60")),
            failing(),
            "HEAD",
            &[],
            "hit; ttl=-10; detail=stale-if-error",
        ),
        (
            Some(stored("max-age=10, stale-if-error=5")),
            failing(),
            "GET",
            &[],
            "fwd=stale; fwd-status=503; detail=status",
        ),
        // RFC 9111 §4.3.3
        (
            Some(tagged("max-age=10")),
            confirmed(),
            "GET",
            &[],
            "fwd=stale; fwd-status=304; stored; ttl=9; detail=expired",
        ),
        (
            Some(tagged("max-age=10")),
            stored("max-age=9"),
            "GET",
            &[],
            "fwd=stale; fwd-status=200; stored; ttl=9; detail=expired",
        ),
        (
            Some(tagged("max-age=10")),
            stored("private"),
            "GET",
            &[],
            "fwd=stale; fwd-status=200; detail=private",
        ),
        // RFC 9111 §3.3: the part that is asked for is what arrives.
        (
            None,
            stored("max-age=9")
                .status(206)
                .with("content-range", "bytes 0-0/5"),
            "GET",
            &[("range", "bytes=0-0")],
            "fwd=uri-miss; fwd-status=206; stored; ttl=9",
        ),
        (
            None,
            stored("max-age=9").with("vary", "x-forwarded-for"),
            "GET",
            &[],
            "fwd=uri-miss; fwd-status=200; detail=vary-on-address",
        ),
    ] {
        let is_kept = kept.is_some();
        let origin = Origin::always(kept.unwrap_or_else(|| now.clone()));
        let edge = Edge::before(&origin)
            .route("honour_request_directives = true")
            .start();
        if is_kept {
            edge.get("/").await;
            edge.clock.advance(secs(20));
            origin.now(now);
        }
        assert_eq!(foretold(&edge, method, headers).await, decision);
        if headers == only {
            assert_eq!(origin.requests(), usize::from(is_kept), "nobody asked it");
        }
    }
}

#[tokio::test]
async fn what_is_stored_stands_in_for_an_origin_that_is_gone() {
    let mut origin = Origin::answers("x").with("cache-control", "max-age=10, stale-if-error=60");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(20));
    origin.go_down();
    let decision = foretold(&edge, "GET", &[]).await;
    assert_eq!(decision, "hit; ttl=-10; detail=stale-if-error");
    edge.clock.advance(secs(60));
    let decision = foretold(&edge, "GET", &[]).await;
    assert_eq!(decision, "detail=destination_unavailable");
}

#[tokio::test]
async fn a_confirmation_is_told_and_nothing_is_renewed_by_it() {
    let origin = Origin::answers("x")
        .with("cache-control", "max-age=10")
        .with("etag", "\"1\"");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    edge.clock.advance(secs(20));
    for _ in 0..2 {
        origin.next(answer("").status(304));
        let told = explain(&edge, url("/")).await;
        assert_eq!(finding(&told, "validation"), "confirmed");
        assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
        assert_eq!(finding(&told, "freshness").split(':').next(), Some("stale"));
    }
}

#[tokio::test]
async fn a_field_that_is_given_twice_counts_twice() {
    let origin = Origin::answers("x")
        .with("vary", "accept")
        .with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).start();
    let both = [("accept", "text/a"), ("accept", "text/b")];
    edge.request("GET", "/").with_all(&both).send().await;
    let list =
        r#"{"url": "http://edge.test/", "headers": [["accept", "text/a"], ["accept", "text/b"]]}"#;
    let object =
        r#"{"url": "http://edge.test/", "headers": {"accept": "text/a", "accept": "text/b"}}"#;
    let query = "/explain?url=http://edge.test/&header=accept:text/a&header=accept:text/b";
    for asked in [
        edge.admin("POST", "/explain").body(list),
        edge.admin("POST", "/explain").body(object),
        edge.admin("GET", query),
    ] {
        let told = asked.send().await;
        assert!(told.text().contains("hit; ttl=60"), "{}", told.text());
    }
}

#[tokio::test]
async fn a_purge_is_told_to_be_handled_at_the_edge() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (headers, found, decision) in [
        (
            json!([["authorization", "Bearer purge-please"]]),
            "purges at the edge",
            "handled at the edge",
        ),
        (
            json!([]),
            "handled at the edge: it needs the purge token",
            "detail=http_request_denied",
        ),
    ] {
        let question = json!({ "url": "http://edge.test/", "method": "PURGE", "headers": headers });
        let told = explain(&edge, question).await;
        assert_eq!(finding(&told, "method"), found);
        assert_eq!(told["decision"], decision);
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_tier_that_is_not_there_is_not_told_of_and_one_that_fails_is() {
    let origin = Origin::answers("x");
    let tells_of_redis = |told: &Value| {
        let steps = told["steps"].as_array().expect("there are steps");
        steps.iter().any(|step| step["rule"] == "redis")
    };
    let edge = Edge::before(&origin).start();
    assert!(!tells_of_redis(&explain(&edge, url("/")).await));
    let redis = started();
    let edge = Edge::before(&origin).redis(&redis).start();
    drop(redis);
    assert!(tells_of_redis(&explain(&edge, url("/")).await));
}
