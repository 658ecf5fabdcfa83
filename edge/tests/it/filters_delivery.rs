//! What filters say in `on-request` of the response that the client will get.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tidegate_edge::filters::{Chain, FailureKind, Flow, failures};

use crate::filters_support::{
    Reach, SCRIPTED, answered, load, response_field, scripted, subject, used,
};
use crate::rate_limit::limited;
use crate::support::redis::started;
use crate::support::{Origin, answer, fresh};

/// A filter with no other hook than `on_request`, which does this.
fn only(steps: &str) -> String {
    format!("lean = true, on_request = [{steps}]")
}

#[tokio::test]
async fn what_a_filter_says_of_the_response_is_there_whoever_answers() {
    for world in SCRIPTED {
        let origin = Origin::by(|asked| match asked.target.as_str() {
            "/missing" => answer("none").status(404),
            _ => fresh("body")
                .with("x-who", "origin")
                .with("etag", "\"1\"")
                .with("server", "origin"),
        });
        let says = only(
            r#"{ deliver_set = ["X-Who", "$x-client"] }, { deliver_append = ["x-who", "more"] }, { deliver_remove = "server" }"#,
        );
        let edge = scripted(&origin, &[(world, &says)]).start();
        // Of hits, each client has its own; nothing of it is stored.
        for (method, path, client, fields, status, outcome) in [
            ("GET", "/", "ann", &[][..], 200, "fwd=uri-miss"),
            ("GET", "/", "bob", &[], 200, "hit"),
            ("HEAD", "/", "cat", &[], 200, "hit"),
            ("GET", "/", "dan", &[("if-none-match", "\"1\"")], 304, "hit"),
            ("GET", "/", "eve", &[("range", "bytes=0-1")], 206, "hit"),
            ("GET", "/missing", "fay", &[], 404, "fwd=uri-miss"),
            ("POST", "/", "gus", &[], 200, "fwd=method"),
        ] {
            let request = edge.request(method, path).with("x-client", client);
            let response = request.with_all(fields).send().await;
            let said = format!("{world}: {method} {path} {}", response.cache_status());
            assert_eq!(response.status, status, "{said}");
            assert!(response.cache_status().starts_with(outcome), "{said}");
            let all: Vec<_> = response.head.all("x-who").collect();
            assert_eq!(all, [client, "more"], "{said}");
            assert_eq!(response.get("server"), None, "{said}");
        }
    }
}

#[tokio::test]
async fn a_later_filter_that_fails_takes_nothing_of_it_away() {
    let origin = Origin::answers("body");
    let says = only(r#"{ deliver_set = ["x-a", "1"] }"#);
    let fails = r#"on_response = [{ set = ["x a", "1"] }]"#;
    let edge = scripted(&origin, &[("scripted", &says), ("scripted-values", fails)]).start();
    let response = edge.get("/").await;
    assert_eq!((response.status, response.get("x-a")), (503, Some("1")));
}

#[tokio::test]
async fn an_origin_that_fails_takes_nothing_of_it_away() {
    let mut origin = Origin::answers("body");
    let says = only(r#"{ deliver_set = ["x-a", "1"] }"#);
    let edge = scripted(&origin, &[("scripted", &says)]).start();
    origin.go_down();
    let response = edge.get("/").await;
    assert_eq!((response.status, response.get("x-a")), (502, Some("1")));
}

#[tokio::test]
async fn it_is_done_in_the_place_of_the_filters_own_hook() {
    let origin = Origin::always(fresh("body").with("x-order", "origin"));
    let step = |mark: &str| {
        format!(
            "on_request = [{{ deliver_append = [\"x-order\", \"{mark}1\"] }}], \
             on_response = [{{ append = [\"x-order\", \"{mark}2\"] }}]"
        )
    };
    let lean = only(r#"{ deliver_append = ["x-order", "lean"] }"#);
    let edge = scripted(
        &origin,
        &[
            ("scripted", &step("a")),
            ("scripted-values", &step("b")),
            ("scripted", &lean),
            ("scripted", &step("c")),
            ("scripted-values", &lean),
        ],
    )
    .start();
    for _ in ["a miss", "a hit"] {
        let response = edge.get("/").await;
        let order: Vec<_> = response.head.all("x-order").collect();
        assert_eq!(
            order,
            ["origin", "lean", "c1", "c2", "lean", "b1", "b2", "a1", "a2"]
        );
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_filters_answer_has_what_it_and_those_before_it_have_said() {
    for world in SCRIPTED {
        let origin = Origin::answers("body");
        let says = |mark: &str| format!("{{ deliver_append = [\"x-order\", \"{mark}\"] }}");
        let answers = only(&format!("{}, {{ respond = 418 }}", says("b")));
        let filters = [
            (world, &*only(&says("a"))),
            (world, &*answers),
            (world, &*only(&says("c"))),
        ];
        let edge = scripted(&origin, &filters).start();
        for method in ["GET", "POST"] {
            let response = edge.request(method, "/").body("asked").send().await;
            assert_eq!(response.status, 418, "{world}");
            let order: Vec<_> = response.head.all("x-order").collect();
            assert_eq!(order, ["b", "a"], "{world}");
            assert_eq!(response.cache("detail"), Some("plugin"), "{world}");
        }
        assert_eq!(origin.requests(), 0, "{world}");
    }
}

/// Two filters: one that says something, and one that fails after it has.
fn failing(name: &str, on_failure: &str) -> Chain {
    let plugins = load(&[
        (&format!("{name}-says"), "builtin:scripted"),
        (&format!("{name}-fails"), "builtin:scripted-values"),
    ]);
    let line = |filter: &str, steps: &str| {
        used(&format!(
            "name = \"{name}-{filter}\"\ngrants = [\"purge\"]\ndeadline = \"5s\"\n\
             on_failure = {on_failure:?}\nconfig = {{ {} }}",
            only(steps)
        ))
    };
    let says = line("says", r#"{ deliver_set = ["x-a", "1"] }"#);
    let fails = line(
        "fails",
        r#"{ deliver_set = ["x-a", "2"] }, { deliver_set = ["x-b", "2"] }, { set = ["x a", "1"] }"#,
    );
    plugins.unwrap().chain(&[says, fails]).unwrap()
}

#[tokio::test]
async fn what_a_hook_has_said_that_fails_is_forgotten() {
    let reach = Reach::new();
    for on_failure in ["open", "closed"] {
        let chain = failing(&format!("forgotten-{on_failure}"), on_failure);
        let mut filters = chain.begin(&reach.capabilities);
        let mut asked = subject("/");
        let flow = filters.on_request(&mut asked).await;
        assert_eq!(matches!(flow, Flow::Failed(_)), on_failure == "closed");
        let mut delivered = answered("/", 200);
        let flow = filters.on_response(&mut delivered).await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        assert_eq!(response_field(&delivered, "x-a"), Some("1"), "{on_failure}");
        assert_eq!(response_field(&delivered, "x-b"), None, "{on_failure}");
    }
}

#[tokio::test]
async fn once_the_request_has_gone_on_it_is_too_late() {
    let origin = Origin::always(fresh("body"));
    let late = r#"{ deliver_set = ["x-late", "1"] }"#;
    let steps = format!("on_origin_response = [{late}], on_response = [{late}]");
    let edge = scripted(&origin, &[("scripted", &steps)]).start();
    let response = edge.get("/").await;
    let refused: Vec<_> = response.head.all("x-refused").collect();
    assert_eq!(refused, ["too-late", "too-late"]);
    assert_eq!(response.get("x-late"), None);
}

#[tokio::test]
async fn what_no_filter_may_say_of_a_response_is_refused_at_once() {
    for (step, refusal) in [
        (r#"{ deliver_set = ["Content-Length", "1"] }"#, "forbidden"),
        (r#"{ deliver_append = ["x a", "1"] }"#, "invalid-name"),
        (
            r#"{ deliver_set = ["x-a", "1\r\nx-b: 2"] }"#,
            "invalid-value",
        ),
        (r#"{ deliver_remove = "connection" }"#, "forbidden"),
    ] {
        let origin = Origin::answers("body");
        let edge = scripted(&origin, &[("scripted", &only(step))]).start();
        let response = edge.get("/").await;
        assert_eq!(response.get("x-b"), None, "{step}");
        assert_eq!(origin.last().get("x-refused"), Some(refusal), "{step}");
    }
}

#[tokio::test]
async fn a_hook_that_says_too_much_of_a_response_has_failed() {
    let reach = Reach::new();
    let most = vec![r#"{ deliver_remove = "x" }"#; 256].join(", ");
    for (name, steps, fails) in [
        ("says-much", most.clone(), false),
        (
            "says-too-much",
            format!("{most}, {{ deliver_remove = \"x\" }}"),
            true,
        ),
    ] {
        let plugins = load(&[(name, "builtin:scripted")]).unwrap();
        let line = format!(
            "name = {name:?}\ngrants = [\"purge\"]\ndeadline = \"5s\"\nconfig = {{ {} }}",
            only(&steps)
        );
        let chain = plugins.chain(&[used(&line)]).unwrap();
        let mut filters = chain.begin(&reach.capabilities);
        let flow = filters.on_request(&mut subject("/")).await;
        assert_eq!(matches!(flow, Flow::Failed(_)), fails, "{name}: {flow:?}");
        let kind = FailureKind::HostCalls;
        let counted = failures();
        let mut counted = counted.iter().filter(|(plugin, _, _)| plugin == name);
        assert_eq!(
            counted.next(),
            fails.then(|| (name.to_owned(), kind, 1)).as_ref(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_filter_that_waits_is_waited_for_before_a_hit() {
    let (redis, origin) = (started(), Origin::always(fresh("body")));
    let config = "{ name = \"waits\", windows = [{ limit = 9, seconds = 60 }] }";
    let edge = limited(&origin, config).redis(&redis).start();
    for (remaining, outcome) in [(8, "fwd=uri-miss"), (7, "hit"), (6, "hit")] {
        let response = edge.get("/").await;
        assert!(response.cache_status().starts_with(outcome));
        let standing = response.get("ratelimit").unwrap();
        let remains = format!("\"waits\";r={remaining};");
        assert!(standing.starts_with(&remains), "{standing}");
    }
}
