//! The bytes of what was purged go back to the memory tier's budget, without anybody asking for it.

use crate::support::{Edge, Origin, fresh, patiently};

fn before(origin: &Origin, interval: &str) -> Edge {
    let settings = format!("cache.sweep_interval = {interval:?}");
    Edge::before(origin).with(&settings).start()
}

/// A number from the page of metrics.
async fn metric(edge: &Edge, name: &str) -> u64 {
    let page = edge.admin("GET", "/metrics").send().await;
    let line = page.text().lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap()
}

async fn objects(edge: &Edge) -> u64 {
    metric(edge, "tidegate_memory_objects ").await
}

#[tokio::test]
async fn purged_bytes_go_back_to_the_budget_and_nothing_else_does() {
    let origin = Origin::by(|asked| fresh("x".repeat(10_000)).with("cache-tag", &asked.target));
    let edge = before(&origin, "5ms");
    for path in ["/a", "/b", "/c"] {
        edge.get(path).await;
    }
    patiently("housekeeping", async {
        // Whatever the log says, a sweep does the tier's housekeeping too.
        while objects(&edge).await != 3 {
            edge.order(r#"{"tags": ["unrelated"]}"#).await;
        }
    })
    .await;
    assert!(metric(&edge, "tidegate_memory_bytes ").await > 30_000);
    assert_eq!(metric(&edge, "tidegate_swept_total ").await, 0);
    edge.order(r#"{"tags": ["/a", "/b"]}"#).await;
    patiently("the sweep", async { while objects(&edge).await != 1 {} }).await;
    let bytes = metric(&edge, "tidegate_memory_bytes ").await;
    assert!((10_000..15_000).contains(&bytes), "{bytes}");
    assert_eq!(metric(&edge, "tidegate_swept_total ").await, 2);
    assert_eq!(edge.get("/c").await.cache_status(), "hit");
    assert_eq!(edge.get("/a").await.cache_status(), "fwd=uri-miss", "gone");
    assert_eq!(edge.get("/a").await.cache_status(), "hit");
}

#[tokio::test]
async fn what_is_softly_purged_stays() {
    let origin = Origin::always(fresh("x").with("etag", "\"1\""));
    let edge = before(&origin, "5ms");
    for path in ["/a", "/b"] {
        edge.get(path).await;
    }
    edge.order(r#"{"urls": ["edge.test/a"], "soft": true}"#)
        .await;
    edge.order(r#"{"urls": ["edge.test/b"]}"#).await;
    patiently("the sweep", async {
        while metric(&edge, "tidegate_swept_total ").await != 1 {}
    })
    .await;
    assert_eq!(edge.get("/a").await.cache_status(), "fwd=stale");
    assert_eq!(origin.last().get("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn of_several_variants_the_others_stay() {
    let by_language = |language: &str| fresh(language).with("vary", "accept-language");
    let origin = Origin::by(move |asked| {
        let language = asked.get("accept-language").unwrap_or("none");
        by_language(language).with("cache-tag", language)
    });
    let edge = before(&origin, "5ms");
    let speaking = |language: &'static str| {
        let request = edge.request("GET", "/").with("accept-language", language);
        request.send()
    };
    speaking("de").await;
    speaking("fr").await;
    edge.order(r#"{"tags": ["de"]}"#).await;
    patiently("the sweep", async {
        while metric(&edge, "tidegate_swept_total ").await != 1 {}
    })
    .await;
    assert_eq!(speaking("fr").await.cache_status(), "hit");
    assert_eq!(speaking("de").await.cache_status(), "fwd=vary-miss");
}
