//! A filter chooses the origin of an exchange among those that its route lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tidegate_edge::config::Config;

use crate::filters_support::{SCRIPTED, scripted};
use crate::support::edge::Builder;
use crate::support::{Edge, Gate, Origin, Response, answer, fresh, secs, wait_until};

/// Chooses the origin that the client names.
const CHOOSE: &str = r#"on_request = [{ origin = "$x-origin" }]"#;

fn with_canary(origin: &Origin, canary: &Origin, filters: &[(&str, &str)]) -> Builder {
    let url = format!("[origins.canary]\nurl = \"http://{}\"", canary.address);
    scripted(origin, filters)
        .with(&url)
        .route("origins = [\"canary\"]")
}

async fn from(edge: &Edge, origin: &str) -> Response {
    let request = edge.request("GET", "/page");
    request.with("x-origin", origin).send().await
}

#[tokio::test]
async fn responses_of_different_origins_never_mix() {
    for world in SCRIPTED {
        let (app, canary) = (
            Origin::always(fresh("app")),
            Origin::always(fresh("canary")),
        );
        let edge = with_canary(&app, &canary, &[(world, CHOOSE)]).start();
        for round in ["miss", "hit"] {
            for name in ["app", "canary"] {
                let response = from(&edge, name).await;
                assert_eq!(response.text(), name, "{world}, {round}");
                assert_eq!(response.cache_status() == "hit", round == "hit", "{world}");
            }
        }
        // Nobody chose: the route's own, which is what choosing that comes to.
        let response = edge.get("/page").await;
        assert_eq!((response.text(), response.cache_status()), ("app", "hit"));
        assert_eq!((app.requests(), canary.requests()), (1, 1), "{world}");
        let page = edge.admin("GET", "/metrics").send().await;
        for name in ["app", "canary"] {
            let line =
                format!("tidegate_upstream_requests_total{{origin=\"{name}\",result=\"ok\"}} 1");
            assert!(page.text().contains(&line), "{line} in\n{}", page.text());
        }
    }
}

#[tokio::test]
async fn the_last_choice_counts_and_the_own_origin_takes_an_earlier_one_back() {
    let (app, canary) = (
        Origin::always(fresh("app")),
        Origin::always(fresh("canary")),
    );
    let filters = [
        ("scripted", r#"on_request = [{ origin = "canary" }]"#),
        ("scripted-values", CHOOSE),
    ];
    let edge = with_canary(&app, &canary, &filters).start();
    assert_eq!(edge.get("/page").await.text(), "canary");
    assert_eq!(from(&edge, "app").await.text(), "app");
    assert_eq!(from(&edge, "canary").await.cache_status(), "hit");
}

#[tokio::test]
async fn an_origin_that_the_route_does_not_list_is_refused() {
    let (app, other) = (
        Origin::always(answer("app")),
        Origin::always(answer("other")),
    );
    let edge = scripted(&app, &[("scripted", CHOOSE)])
        .with(&format!(
            "[origins.other]\nurl = \"http://{}\"",
            other.address
        ))
        .start();
    for name in ["other", "nobody", ""] {
        assert_eq!(from(&edge, name).await.text(), "app");
        assert_eq!(app.last().get("x-refused"), Some("forbidden"), "{name}");
    }
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn a_choice_after_the_request_was_sent_is_too_late() {
    let (app, canary) = (
        Origin::always(answer("app")),
        Origin::always(answer("canary")),
    );
    let steps = r#"on_origin_response = [{ origin = "canary" }, { policy = { ttl = 1 } }]"#;
    let edge = with_canary(&app, &canary, &[("scripted", steps)]).start();
    let response = edge.get("/").await;
    let refused: Vec<_> = response.head.all("x-refused").collect();
    assert_eq!(refused, ["too-late", "too-late"]);
    assert_eq!(canary.requests(), 0);
}

#[tokio::test]
async fn fetches_are_shared_by_those_who_chose_the_same_origin() {
    let gate = Gate::closed();
    let origin = |body: &str| Origin::always(fresh(body).after(&gate));
    let (app, canary) = (origin("app"), origin("canary"));
    let edge = with_canary(&app, &canary, &[("scripted", CHOOSE)]).start();
    let ask = |name: &'static str| {
        let request = edge.request("GET", "/page").with("x-origin", name);
        (name, tokio::spawn(request.send()))
    };
    let asking: Vec<_> = (0..6)
        .map(|at| ask(if at % 2 == 0 { "app" } else { "canary" }))
        .collect();
    app.asked_for(1).await;
    canary.asked_for(1).await;
    edge.settled().await;
    gate.open();
    for (name, asking) in asking {
        assert_eq!(asking.await.unwrap().text(), name);
    }
    assert_eq!((app.requests(), canary.requests()), (1, 1));
}

#[tokio::test]
async fn what_came_from_a_chosen_origin_is_refreshed_and_validated_there() {
    let stored = |body: &str| {
        let answer = answer(body).with("etag", "\"1\"");
        answer.with("cache-control", "max-age=10, stale-while-revalidate=10")
    };
    for world in SCRIPTED {
        let (app, canary) = (Origin::always(stored("app")), Origin::always(stored("old")));
        let edge = with_canary(&app, &canary, &[(world, CHOOSE)]).start();
        from(&edge, "canary").await;
        edge.clock.advance(secs(11));
        canary.now(stored("new"));
        let stale = from(&edge, "canary").await;
        assert_eq!(
            (stale.text(), stale.cache("detail")),
            ("old", Some("stale-while-revalidate"))
        );
        while from(&edge, "canary").await.text() != "new" {}
        assert_eq!((app.requests(), canary.requests()), (0, 2), "{world}");
        // Past what may be served stale, it is asked about while the client waits.
        edge.clock.advance(secs(21));
        canary.now_by(|asked| match asked.get("if-none-match") {
            Some(_) => answer("").status(304).with("etag", "\"1\""),
            None => answer("unconditional"),
        });
        let validated = from(&edge, "canary").await;
        assert_eq!(validated.text(), "new");
        assert_eq!((app.requests(), canary.requests()), (0, 3), "{world}");
    }
}

#[tokio::test]
async fn when_a_chosen_origin_fails_what_it_said_before_stands_in_and_nothing_of_others() {
    let app = Origin::always(fresh("app"));
    let stored = fresh("canary").with("cache-control", "stale-if-error=600");
    let mut canary = Origin::always(stored);
    let edge = with_canary(&app, &canary, &[("scripted", CHOOSE)]).start();
    for name in ["app", "canary"] {
        from(&edge, name).await;
    }
    edge.clock.advance(secs(61));
    canary.go_down();
    let stale = from(&edge, "canary").await;
    assert_eq!(
        (stale.text(), stale.cache("detail")),
        ("canary", Some("stale-if-error"))
    );
    assert_eq!(
        edge.request("GET", "/other")
            .with("x-origin", "canary")
            .send()
            .await
            .status,
        502
    );
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn purges_by_url_and_by_tag_reach_what_came_from_every_origin() {
    let tagged = |body: &str| fresh(body).with("cache-tag", "pages");
    let (app, canary) = (
        Origin::always(tagged("app")),
        Origin::always(tagged("canary")),
    );
    let filters = [(
        "scripted",
        r#"on_request = [{ origin = "$x-origin" }, { key = "$x-part" }]"#,
    )];
    let edge = with_canary(&app, &canary, &filters).start();
    let orders = [
        r#"{"urls":["http://edge.test/page"]}"#,
        r#"{"tags":["pages"]}"#,
        r#"{"urls":["http://edge.test/page"],"soft":true}"#,
    ];
    for (round, order) in orders.into_iter().enumerate() {
        for name in ["app", "canary"] {
            for part in ["one", "two"] {
                let request = edge.request("GET", "/page").with("x-origin", name);
                let response = request.with("x-part", part).send().await;
                assert_eq!(response.text(), name);
            }
        }
        let asked = 2 * (round + 1);
        assert_eq!(
            (app.requests(), canary.requests()),
            (asked, asked),
            "{order}"
        );
        edge.order(order).await;
    }
    for name in ["app", "canary"] {
        let response = edge.request("GET", "/page").with("x-origin", name);
        let response = response.with("x-part", "one").send().await;
        assert_ne!(
            response.cache("detail"),
            Some("memory"),
            "purged softly: {name}"
        );
    }
}

#[tokio::test]
async fn a_write_goes_to_the_chosen_origin_and_invalidates_what_every_origin_said() {
    for world in SCRIPTED {
        let (app, canary) = (
            Origin::always(fresh("app")),
            Origin::always(fresh("canary")),
        );
        let edge = with_canary(&app, &canary, &[(world, CHOOSE)]).start();
        for name in ["app", "canary"] {
            from(&edge, name).await;
        }
        let write = edge.request("POST", "/page").with("x-origin", "canary");
        assert_eq!(write.body("new").send().await.text(), "canary");
        assert_eq!(canary.last().method, "POST");
        for name in ["app", "canary"] {
            from(&edge, name).await;
        }
        assert_eq!((app.requests(), canary.requests()), (2, 3), "{world}");
    }
}

#[tokio::test]
async fn an_explanation_follows_the_origin_that_it_is_asked_about() {
    let (app, canary) = (
        Origin::always(fresh("app")),
        Origin::always(fresh("canary")),
    );
    let edge = with_canary(&app, &canary, &[("scripted", CHOOSE)]).start();
    from(&edge, "canary").await;
    let explain = async |origin: Value| {
        let question = json!({ "url": "http://edge.test/page", "fetch": false, "origin": origin });
        let asked = edge.admin("POST", "/explain").body(&question.to_string());
        asked.send().await
    };
    for (origin, is_hit) in [
        (json!(null), false),
        (json!("app"), false),
        (json!("canary"), true),
    ] {
        let told = explain(origin.clone()).await;
        let told: Value = serde_json::from_str(told.text()).unwrap();
        let decision = told["decision"].as_str().unwrap();
        assert_eq!(decision.starts_with("hit"), is_hit, "{origin}: {told}");
        if is_hit {
            assert!(
                told.to_string().contains("to origin \\\"canary\\\""),
                "{told}"
            );
        }
    }
    let refused = explain(json!("nobody")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("app, canary"), "{}", refused.text());
    wait_until("nothing was fetched", || canary.requests() == 1).await;
}

#[test]
fn the_origins_of_a_route_are_checked_when_it_is_loaded() {
    let error = |origins: &str| {
        let text = format!(
            "[origins.app]\nurl = \"http://127.0.0.1:1\"\n[origins.canary]\nurl = \"http://127.0.0.1:2\"\n\
             [[routes]]\norigin = \"app\"\norigins = {origins}\n"
        );
        Config::from_toml(&text, "test")
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(error("[\"canary\"]"), None);
    for (origins, part) in [
        (
            "[\"gone\"]",
            "route \"/\": origins: no origin named \"gone\"",
        ),
        ("[\"app\"]", "\"app\" is one of the route's already"),
        (
            "[\"canary\", \"canary\"]",
            "\"canary\" is one of the route's already",
        ),
    ] {
        let error = error(origins).unwrap();
        assert!(error.contains(part), "{error}");
    }
}
