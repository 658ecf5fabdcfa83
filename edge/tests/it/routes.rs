//! Which route a path takes, however it is spelt, and what is kept apart when a filter leads it to
//! another one's.

use serde_json::json;

use crate::support::edge::Builder;
use crate::support::{Edge, Origin, fresh};

/// Says what it was asked for.
fn echoing() -> Origin {
    Origin::by(|asked| fresh(&asked.target))
}

/// Two routes: what takes `guarded` goes through a filter with these steps, and stands before or behind
/// what takes `open`. Both are keys of a route, in TOML.
fn routes(origin: &Origin, guarded: &str, steps: &str, open: &str, is_first: bool) -> Builder {
    let guarded = format!(
        r#"
        [[routes]]
        origin = "app"
        {guarded}
        [[routes.plugins]]
        name = "scripted"
        grants = ["purge"]
        deadline = "5s"
        config = {{ {steps} }}
        "#
    );
    let open = format!("[[routes]]\norigin = \"app\"\n{open}\n");
    let (first, second) = if is_first {
        (guarded, open)
    } else {
        (open, guarded)
    };
    Edge::before(origin).with(&format!(
        "[plugins.scripted]\nfile = \"builtin:scripted\"\n{first}{second}"
    ))
}

/// Everything below `/members` goes through a filter with these steps.
fn guarded(origin: &Origin, steps: &str) -> Builder {
    routes(origin, "path = \"/members\"", steps, "", true)
}

const CLOSED: &str = "on_request = [{ respond = 403 }]";

#[tokio::test]
async fn no_spelling_of_a_path_goes_around_the_filters_of_its_route() {
    let origin = echoing();
    let edge = guarded(&origin, CLOSED).start();
    for path in [
        "/members",
        "/members/1?a=b",
        "/%6dembers",
        "/%6D%65mbers/1",
        "/./members",
        "/.//members",
        "/%2e//members/1",
        "/members/1/../2",
    ] {
        assert_eq!(edge.get(path).await.status, 403, "{path}");
    }
    for path in [
        "/x/../members",
        "/x/%2E%2e/members",
        "/x/..%2fmembers",
        "/members%2f1",
        "/%2fmembers",
        "//members",
        "//x/members",
    ] {
        let refused = edge.get(path).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.text().contains("another route's"), "{path}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(edge.get("/").await.status, 200);
}

/// An origin that knows nothing of `..` finds the members at the beginning of these.
#[tokio::test]
async fn a_path_cannot_leave_a_guarded_route_on_its_way_to_the_origin() {
    let origin = echoing();
    let edge = guarded(&origin, CLOSED).start();
    for path in [
        "/members/../x",
        "/members/..",
        "/members//../x",
        "/x/../members/%2e%2e/%2e%2e/x",
        "/x/../members//../x",
        "/members%2f../x",
    ] {
        assert_eq!(edge.get(path).await.status, 400, "{path}");
        assert_eq!(edge.purge(path).await.status, 400, "{path}");
    }
    assert_eq!(origin.requests(), 0);
}

/// An origin that takes a target for a reference finds behind two slashes a host, and then the path.
#[tokio::test]
async fn an_open_route_does_not_lead_around_a_gate_on_everything_else() {
    let origin = echoing();
    let edge = routes(&origin, "", CLOSED, "path = \"/static\"", false).start();
    assert_eq!(edge.get("/static/a").await.status, 200);
    for (path, status) in [
        ("//static/admin", 400),
        ("//static", 400),
        ("//admin/static", 400),
        ("//admin", 403),
        ("/static/../admin", 400),
        ("/static/../admin/%2e%2e/%2e%2e/static/x", 400),
        ("/static%2f..%2fadmin", 400),
    ] {
        assert_eq!(edge.get(path).await.status, status, "{path}");
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_name_that_ends_in_a_dot_is_the_same_name() {
    let origin = echoing();
    let (members, open) = ("host = \"members.test\"", "host = \"open.test.\"");
    let edge = routes(&origin, members, CLOSED, open, true).start();
    for (host, status) in [
        ("members.test", 403),
        ("members.test.", 403),
        ("Members.Test.:80", 403),
        ("members.test.:8080", 403),
        ("open.test", 200),
        ("open.test.", 200),
    ] {
        let answer = edge.request("GET", "/").with("host", host).send().await;
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(
        origin.requests(),
        2,
        "as it is spelt, it is a name of its own"
    );
}

#[tokio::test]
async fn the_origin_and_the_key_have_a_path_as_it_is_spelt() {
    let origin = echoing();
    let edge = guarded(
        &origin,
        "on_response = [{ set = [\"x-route\", \"members\"] }]",
    )
    .start();
    for path in [
        "/members",
        "/%6dembers",
        "/members/./a//b",
        "/members/a%2Fb",
        "/members/a%2fb",
        "/members/../members",
    ] {
        let first = edge.get(path).await;
        assert_eq!(first.text(), path);
        assert_eq!(first.cache_status(), "fwd=uri-miss", "{path}");
        assert_eq!(first.get("x-route"), Some("members"), "{path}");
        assert_eq!(edge.get(path).await.cache_status(), "hit", "{path}");
    }
}

#[tokio::test]
async fn an_explanation_says_why_no_route_is_taken() {
    let origin = echoing();
    let edge = guarded(&origin, CLOSED).start();
    let question = json!({ "url": "http://edge.test/x/..%2Fmembers" });
    let told = edge
        .admin("POST", "/explain")
        .body(&question.to_string())
        .send()
        .await;
    assert!(told.text().contains("another route's"), "{}", told.text());
    assert!(told.text().contains("http_request_error"));
}

/// A filter leads what is asked of `/led` to a path that is the second route's.
fn leading(app: &Origin, other: &Origin, second: &str) -> Edge {
    let other = other.address;
    let settings = format!(
        r#"
        [plugins.scripted]
        file = "builtin:scripted"
        [origins.other]
        url = "http://{other}"
        [[routes]]
        path = "/led"
        origin = "app"
        ttl = "1h"
        [[routes.plugins]]
        name = "scripted"
        grants = ["purge"]
        deadline = "5s"
        [routes.plugins.config]
        on_request = [{{ path = "/own" }}]
        on_origin_response = [{{ set = ["x-route", "led"] }}]
        [[routes]]
        origin = "{second}"
        "#
    );
    Edge::before(app).with(&settings).start()
}

#[tokio::test]
async fn what_is_led_to_another_routes_path_is_not_stored_as_that_routes() {
    for second in ["other", "app"] {
        let (app, other) = (Origin::always(fresh("app")), Origin::always(fresh("other")));
        let edge = leading(&app, &other, second);
        for round in ["miss", "hit"] {
            let led = edge.get("/led").await;
            assert_eq!((led.text(), led.get("x-route")), ("app", Some("led")));
            assert_eq!(led.cache_status() == "hit", round == "hit", "{second}");
            let own = edge.get("/own").await;
            assert_eq!((own.text(), own.get("x-route")), (second, None));
            assert_eq!(own.cache_status() == "hit", round == "hit", "{second}");
        }
        // A purge names the URL, whichever route it was stored by.
        edge.purge("/own").await;
        assert_ne!(edge.get("/led").await.cache_status(), "hit", "{second}");
        assert_ne!(edge.get("/own").await.cache_status(), "hit", "{second}");
        edge.purge("/led").await;
        assert_ne!(edge.get("/led").await.cache_status(), "hit", "{second}");
        assert_eq!(edge.get("/own").await.cache_status(), "hit", "{second}");
    }
}
