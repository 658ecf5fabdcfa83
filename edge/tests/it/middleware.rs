//! Components around filters, cache and origin.

use tidegate_edge::filters::{FailureKind, failures};

use crate::support::edge::Builder;
use crate::support::{Answer, Edge, Gate, Origin, Response, answer};

/// An edge whose route has a middleware before `origin`; `name` is what failures are counted by.
fn gated(origin: &Origin, name: &str, settings: &str) -> Builder {
    Edge::before(origin)
        .with(&format!("plugins.{name}.file = \"builtin:gate\""))
        .route(&format!("[[middleware]]\nname = \"{name}\"\n{settings}"))
}

async fn ordered(edge: &Edge, order: &str) -> Response {
    edge.request("GET", "/a").with("gate", order).send().await
}

/// How often a plugin has failed in this way.
fn counted(name: &str, kind: FailureKind) -> u64 {
    let all = failures();
    let found = all
        .iter()
        .find(|(plugin, of, _)| plugin == name && *of == kind);
    found.map_or(0, |(_, _, count)| *count)
}

fn fresh(body: &str) -> Answer {
    answer(body).with("cache-control", "max-age=60")
}

#[tokio::test]
async fn a_middleware_adds_and_removes_fields_both_ways() {
    let origin = Origin::always(answer("plain").with("x-secret", "1").with("x-kept", "1"));
    let edge = gated(&origin, "fields", "").start();
    let response = edge
        .request("GET", "/a?b=c")
        .with("x-removed", "1")
        .with("x-mine", "1")
        .send()
        .await;
    assert_eq!((response.status, response.text()), (200, "plain"));
    assert_eq!(response.get("x-gate"), Some("1"));
    assert_eq!(response.get("x-kept"), Some("1"));
    assert_eq!(response.get("x-secret"), None);
    let asked = origin.last();
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/a?b=c"));
    assert_eq!(asked.get("x-depth"), Some("1"));
    assert_eq!(asked.get("x-mine"), Some("1"));
    assert_eq!(asked.get("x-removed"), None);
    assert_eq!(asked.get("host"), Some("edge.test"));
}

#[tokio::test]
async fn a_middleware_sees_hits_too() {
    let origin = Origin::always(fresh("stored"));
    let edge = gated(&origin, "hits", "").start();
    for expected in ["fwd=uri-miss", "hit", "hit"] {
        let response = edge.get("/a").await;
        assert_eq!(response.cache_status(), expected);
        assert_eq!(
            (response.text(), response.get("x-gate")),
            ("stored", Some("1"))
        );
    }
    assert_eq!(origin.requests(), 1);
    assert_eq!(ordered(&edge, "deny").await.status, 401);
}

#[tokio::test]
async fn a_middleware_answers_itself() {
    let origin = Origin::answers("never");
    let edge = gated(&origin, "denies", "").start();
    let denied = ordered(&edge, "deny").await;
    assert_eq!(
        (denied.status, denied.text()),
        (401, "not without a ticket\n")
    );
    assert_eq!(denied.get("www-authenticate"), Some("Ticket"));
    assert_eq!(denied.cache("detail"), Some("plugin"));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn two_are_a_chain_the_first_outermost() {
    let origin = Origin::answers("deep");
    let edge = gated(&origin, "outer", "")
        .with("plugins.inner.file = \"builtin:gate\"")
        .route("middleware = [{ name = \"outer\" }, { name = \"inner\" }]")
        .start();
    let response = edge.get("/a").await;
    let gates: Vec<&str> = response.head.all("x-gate").collect();
    assert_eq!(gates, ["2", "1"]);
    assert_eq!(origin.last().get("x-depth"), Some("2"));
}

#[tokio::test]
async fn a_rewritten_path_is_looked_up_and_purged_as_that() {
    let origin = Origin::by(|asked| fresh(&asked.target));
    let edge = gated(&origin, "rewrites", "").start();
    assert_eq!(ordered(&edge, "rewrite").await.text(), "/rewritten?a=b");
    assert_eq!(ordered(&edge, "rewrite").await.cache_status(), "hit");
    assert_eq!(edge.get("/rewritten?a=b").await.cache_status(), "hit");
    edge.purge("/a").await;
    assert_ne!(ordered(&edge, "rewrite").await.cache_status(), "hit");
    edge.purge("/rewritten?a=b").await;
    assert_ne!(ordered(&edge, "rewrite").await.cache_status(), "hit");
}

#[tokio::test]
async fn method_body_and_status_are_the_middlewares_to_change() {
    let origin = Origin::by(|asked| answer(asked.body.clone()));
    let edge = gated(&origin, "changes", "").start();
    let posted = ordered(&edge, "post").await;
    assert_eq!(posted.text(), "of the gate");
    assert_eq!(origin.last().method, "POST");
    assert_eq!(ordered(&edge, "status").await.status, 418);
    let twice = ordered(&edge, "twice").await;
    assert_eq!((twice.status, origin.requests()), (200, 4));
}

#[tokio::test]
async fn bodies_stream_through_both_ways() {
    let gate = Gate::closed();
    let origin = Origin::by({
        let gate = gate.clone();
        move |asked| answer(asked.body.clone()).chunked().then(&gate, "second")
    });
    let edge = gated(&origin, "streams", "").start();
    let mut connection = edge
        .request("POST", "/a")
        .with("gate", "shout")
        .body("first ")
        .begin()
        .await;
    connection.head().await;
    assert_eq!(connection.body(6).await, "FIRST ");
    gate.open();
    assert_eq!(connection.rest().await, ("SECOND".to_owned(), true));
}

#[tokio::test]
async fn what_a_middleware_may_not_ask_is_refused_to_it() {
    let origin = Origin::answers("never");
    let edge = gated(&origin, "oversteps", "").start();
    for order in ["elsewhere", "connect"] {
        let response = ordered(&edge, order).await;
        assert_eq!(response.status, 503, "{order}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_is_no_response_is_counted_as_such() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "interims", "").start();
    assert_eq!(ordered(&edge, "interim").await.status, 503);
    assert_eq!(counted("interims", FailureKind::Answer), 1);
}

#[tokio::test]
async fn a_middleware_that_fails_is_left_out_where_the_route_is_open() {
    for (number, (order, settings, kind)) in [
        ("trap", "", FailureKind::Trap),
        ("loop", "deadline = \"30ms\"\n", FailureKind::Deadline),
        ("fail", "", FailureKind::Answer),
    ]
    .into_iter()
    .enumerate()
    {
        let origin = Origin::by(|asked| answer(asked.body.clone()));
        let name = format!("open-{number}");
        let edge = gated(&origin, &name, &format!("{settings}on_failure = \"open\"")).start();
        let request = edge.request("POST", "/a").with("gate", order);
        let response = request.body("kept").send().await;
        assert_eq!((response.status, response.text()), (200, "kept"), "{order}");
        assert_eq!(origin.last().get("x-depth"), None, "{order}");
        assert_eq!(counted(&name, kind), 1, "{order}");
    }
}

#[tokio::test]
async fn what_a_middleware_was_left_out_of_is_not_shared() {
    let origin = Origin::always(fresh("x"));
    let edge = gated(&origin, "open-unshared", "on_failure = \"open\"").start();
    let left_out = edge.request("GET", "/a").with("gate", "trap");
    assert_eq!(left_out.send().await.cache_status(), "fwd=bypass");
    assert_eq!(edge.get("/a").await.cache_status(), "fwd=uri-miss");
    assert_eq!(edge.get("/a").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_middleware_that_fails_is_a_503_where_the_route_is_closed() {
    for (number, (order, settings, kind)) in [
        ("trap", "", FailureKind::Trap),
        ("loop", "deadline = \"30ms\"\n", FailureKind::Deadline),
        ("fail", "", FailureKind::Answer),
    ]
    .into_iter()
    .enumerate()
    {
        let origin = Origin::answers("never");
        let name = format!("closed-{number}");
        let edge = gated(&origin, &name, settings).start();
        let response = ordered(&edge, order).await;
        assert_eq!(response.status, 503, "{order}");
        assert_eq!(
            response.get("proxy-status"),
            Some("tidegate; error=plugin_failed")
        );
        assert_eq!((origin.requests(), counted(&name, kind)), (0, 1), "{order}");
        // On a busy machine, who means well may take longer than the loop is given.
        if settings.is_empty() {
            assert_eq!(edge.get("/b").await.status, 200, "{order}");
        }
    }
}

#[tokio::test]
async fn a_middleware_is_not_left_out_once_it_has_read_or_asked() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "late", "on_failure = \"open\"").start();
    let request = edge.request("POST", "/a").with("gate", "read-trap");
    assert_eq!(request.body("gone").send().await.status, 503);
    assert_eq!(origin.requests(), 0);
    assert_eq!(ordered(&edge, "trap-after").await.status, 503);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_middleware_is_sent_no_more_of_a_body_than_the_edge_takes() {
    let length = "content-length: 2000\r\n\r\n".to_owned() + &"x".repeat(2_000);
    let chunks = "transfer-encoding: chunked\r\n\r\n".to_owned()
        + &format!("3e8\r\n{}\r\n", "x".repeat(1_000)).repeat(2)
        + "0\r\n\r\n";
    for on_failure in ["open", "closed"] {
        for order in ["", "read-trap"] {
            for body in [&length, &chunks] {
                let origin = Origin::answers("x");
                let settings = format!("on_failure = \"{on_failure}\"");
                let edge = gated(&origin, "bounded", &settings)
                    .with("server.max_body_bytes = \"1KiB\"")
                    .start();
                let mut connection = edge.connect().await;
                let head = format!("POST /a HTTP/1.1\r\nhost: edge.test\r\ngate: {order}\r\n");
                connection.write((head + body).as_bytes()).await;
                let answer = connection.answer_to("POST").await.expect("an answer");
                assert_eq!(answer.status, 413, "{on_failure} {order:?}");
            }
        }
    }
    for kind in [FailureKind::Answer, FailureKind::Trap] {
        assert!(
            counted("bounded", kind) <= 2,
            "those are not asked that are over by announcement"
        );
    }
}

#[tokio::test]
async fn who_is_answered_early_is_told_that_the_connection_closes() {
    let origin = Origin::answers("never");
    let edge = gated(&origin, "early", "").start();
    for (announced, sent, expected) in [(100_000, 100, Some("close")), (100, 100, None)] {
        let mut connection = edge.connect().await;
        let head = format!(
            "POST /a HTTP/1.1\r\nhost: edge.test\r\ngate: deny\r\ncontent-length: {announced}\r\n\r\n"
        );
        connection
            .write((head + &"x".repeat(sent)).as_bytes())
            .await;
        let head = connection.head().await;
        assert_eq!(head.status, 401);
        assert_eq!(head.get("connection"), expected, "{announced}");
    }
}

#[tokio::test]
async fn the_length_of_a_body_passes_a_middleware_whatever_the_method() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "lengths", "").start();
    for method in ["POST", "DELETE", "GET"] {
        edge.request(method, "/a").body("12345").send().await;
        let asked = origin.last();
        assert_eq!((&*asked.method, &*asked.body), (method, &b"12345"[..]));
        assert_eq!(asked.get("content-length"), Some("5"), "{method}");
        assert_eq!(asked.get("transfer-encoding"), None, "{method}");
    }
}

#[tokio::test]
async fn what_a_middleware_answers_instead_says_what_the_cache_did_not() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "instead", "").start();
    let response = ordered(&edge, "instead").await;
    assert_eq!(response.text(), "something else");
    assert_eq!(response.cache("detail"), Some("plugin"));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_middleware_whose_request_was_refused_has_asked_nothing() {
    for order in ["elsewhere", "connect"] {
        let origin = Origin::answers("x");
        let name = format!("refused-{order}");
        let edge = gated(&origin, &name, "on_failure = \"open\"").start();
        let response = ordered(&edge, order).await;
        assert_eq!((response.status, response.text()), (200, "x"), "{order}");
        assert_eq!(origin.last().get("x-depth"), None, "{order}");
    }
}

#[tokio::test]
async fn a_middleware_is_told_who_asks_as_an_origin_is() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "outer-told", "")
        .with("plugins.inner-told.file = \"builtin:gate\"")
        .route("path = \"/a\"\nmiddleware = [{ name = \"outer-told\" }, { name = \"inner-told\" }]")
        .start();
    let asked = |order: &'static str| {
        edge.request("GET", "/a/b?c")
            .with("x-forwarded-for", "192.0.2.1")
            .with("x-forwarded-host", "elsewhere.test")
            .with("x-forwarded-proto", "https")
            .with("spin-path-info", "/forged")
            .with("spin-client-addr", "192.0.2.1")
            .with("gate", order)
            .send()
    };
    let told = asked("told").await;
    let told: Vec<&str> = told.text().lines().collect();
    for line in [
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: edge.test",
        "x-forwarded-proto: http",
        "spin-path-info: /b",
        "spin-full-url: http://edge.test/a/b?c",
    ] {
        let said = told.iter().filter(|told| **told == line).count();
        assert_eq!(said, 1, "{line} in {told:?}");
    }
    assert!(!told.iter().any(|line| line.contains("spin-client-addr")));
    for order in ["", "claim"] {
        assert_eq!(asked(order).await.status, 200);
        let asked = origin.last();
        assert_eq!(asked.get("x-depth"), Some("2"));
        for (name, expected) in [
            ("x-forwarded-for", &["192.0.2.1", "127.0.0.1"][..]),
            ("x-forwarded-host", &["edge.test"]),
            ("x-forwarded-proto", &["http"]),
            ("spin-path-info", &[]),
            ("spin-full-url", &[]),
        ] {
            let lines: Vec<&str> = asked.head.all(name).collect();
            assert_eq!(lines, expected, "{name} {order:?}");
        }
    }
}

#[tokio::test]
async fn options_of_the_whole_host_pass_a_middleware() {
    let origin = Origin::answers("");
    let edge = gated(&origin, "options", "").start();
    for (method, target, order, expected) in [
        ("OPTIONS", "*", "", ("OPTIONS", "*")),
        ("OPTIONS", "/", "", ("OPTIONS", "/")),
        ("OPTIONS", "*", "post", ("POST", "/")),
        ("OPTIONS", "*", "rewrite", ("OPTIONS", "/rewritten?a=b")),
    ] {
        let request = edge.request(method, target).with("gate", order);
        let response = request.send().await;
        assert_eq!(response.status, 200, "{method} {target}");
        let asked = origin.last();
        assert_eq!((&*asked.method, &*asked.target), expected);
    }
}

#[tokio::test]
async fn the_crumbs_of_a_middlewares_cookie_are_put_together() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "crumbs", "").start();
    ordered(&edge, "crumbs").await;
    let asked = origin.last();
    let cookies: Vec<&str> = asked.head.all("cookie").collect();
    assert_eq!(cookies, ["a=1; b=2"], "RFC 9113 §8.2.3");
}

#[tokio::test]
async fn a_request_without_a_body_leaves_a_middleware_without_one() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "empty", "").start();
    for method in ["GET", "DELETE", "OPTIONS"] {
        edge.request(method, "/a").send().await;
        let asked = origin.last();
        assert_eq!(asked.method, method);
        for name in ["transfer-encoding", "content-length"] {
            assert_eq!(asked.get(name), None, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn a_middleware_that_fails_behind_its_head_cuts_the_body() {
    let origin = Origin::answers("x");
    let edge = gated(&origin, "cuts", "").start();
    for order in ["break-off", "lie"] {
        let request = edge.request("GET", "/a").with("gate", order);
        let answer = request.begin().await.answer_to("GET").await;
        // What breaks off at once may do so before its head is on its way.
        let is_cut = answer.is_none_or(|answer| answer.status == 200 && !answer.is_complete);
        assert!(is_cut, "{order}");
    }
    assert_eq!(edge.get("/b").await.text(), "x");
}

#[tokio::test]
async fn a_purge_does_not_go_through_a_middleware() {
    let origin = Origin::always(fresh("x"));
    let edge = gated(&origin, "purged", "").start();
    edge.fill(&["/a"]).await;
    let purged = edge.purge("/a").await;
    assert_eq!((purged.status, purged.get("x-gate")), (200, None));
    assert_ne!(edge.get("/a").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_handler_is_no_middleware() {
    let origin = Origin::answers("x");
    let refusal = Edge::before(&origin)
        .with("plugins.plain.file = \"builtin:misfit\"")
        .route("middleware = [{ name = \"plain\" }]")
        .refusal();
    assert!(
        refusal.contains("plugin \"plain\" is no middleware"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_middleware_may_be_a_handler_behind_which_nothing_comes() {
    let edge = Edge::answered_by("behind-it", "gate").start();
    assert_eq!(ordered(&edge, "deny").await.status, 401);
    assert_eq!(ordered(&edge, "").await.status, 502);
    assert_eq!(counted("behind-it", FailureKind::Answer), 1);
}

#[tokio::test]
async fn a_middleware_goes_before_a_handler_as_before_an_origin() {
    let edge = Edge::answered_by("answers", "misfit")
        .with("plugins.before.file = \"builtin:gate\"")
        .route("middleware = [{ name = \"before\" }]")
        .start();
    let response = edge.get("/a?body=of%20the%20handler").await;
    assert_eq!(response.text(), "of the handler");
    assert_eq!(response.get("x-gate"), Some("1"));
}
