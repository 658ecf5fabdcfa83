//! The admin listener.

use crate::support::{Answer, Edge, Origin};

#[tokio::test]
async fn health_and_readiness_are_told() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let response = edge.admin("GET", path).send().await;
        assert_eq!((response.status, response.text()), (200, text));
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_meant_is_said() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/purge", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/purges", 405),
    ] {
        let response = edge.admin(method, path).send().await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.get("content-type"),
            Some("application/problem+json")
        );
    }
    let nowhere = edge.admin("GET", "/").send().await;
    assert!(
        nowhere
            .text()
            .contains("/purge, /purges, /explain and /plugins")
    );
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn the_counters_say_what_happened() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let edge = Edge::before(&origin).route("name = \"all\"").start();
    for path in ["/a", "/a", "/a", "/b"] {
        edge.get(path).await;
    }
    edge.purge("/a").await;
    origin.now(Answer::hang_up());
    edge.get("/a").await;
    let page = edge.admin("GET", "/metrics").send().await;
    let content_type = page.get("content-type").unwrap();
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    for line in [
        "tidegate_requests_total{route=\"all\",outcome=\"miss\"} 2",
        "tidegate_requests_total{route=\"all\",outcome=\"hit-memory\"} 1",
        "tidegate_requests_total{route=\"all\",outcome=\"hit-hot\"} 1",
        "tidegate_requests_total{route=\"all\",outcome=\"failed\"} 1",
        "tidegate_upstream_requests_total{origin=\"app\",result=\"ok\"} 2",
        "tidegate_upstream_requests_total{origin=\"app\",result=\"connection_terminated\"} 1",
        "tidegate_purges_total 1",
        "# EOF",
    ] {
        assert!(
            page.text().lines().any(|found| found == line),
            "{line} in\n{}",
            page.text()
        );
    }
}

#[tokio::test]
async fn with_a_token_set_orders_need_it_and_reading_does_not() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.admin_token = \"t0ken\"")
        .start();
    let order = || edge.admin("POST", "/purge").body("{\"all\": true}");
    assert_eq!(order().send().await.status, 401);
    assert_eq!(
        order()
            .with("authorization", "Bearer purge-please")
            .send()
            .await
            .status,
        401
    );
    assert_eq!(
        order()
            .with("authorization", "Bearer t0ken")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(edge.admin("GET", "/metrics").send().await.status, 200);
}

#[tokio::test]
async fn administration_is_not_on_the_public_listener() {
    let origin = Origin::answers("the origin's");
    let edge = Edge::before(&origin).start();
    for path in ["/healthz", "/metrics"] {
        assert_eq!(edge.get(path).await.text(), "the origin's");
    }
    assert_eq!(
        edge.request("POST", "/purge")
            .body("{}")
            .send()
            .await
            .text(),
        "the origin's"
    );
}

#[tokio::test]
async fn an_early_answer_to_a_body_that_waits_for_100_ends_the_connection() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin)
        .with("server.admin_token = \"t0ken\"")
        .start();
    let mut connection = edge
        .admin("POST", "/purge")
        .with("expect", "100-continue")
        .with("content-length", "40")
        .begin()
        .await;
    let refused = connection.response_to("POST").await;
    assert_eq!((refused.status, refused.interim.len()), (401, 0));
    assert_eq!(refused.get("connection"), Some("close"));
    assert!(
        connection.is_closed().await,
        "or the next request is taken for the body"
    );
}
