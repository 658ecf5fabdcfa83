//! Filters of both worlds do the same, side by side on one route.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tidegate_edge::filters::{Chain, FailureKind, Flow, failures};

use crate::filters_support::{
    Reach, SCRIPTED, answered, load, response_field, scripted, subject, used,
};
use crate::support::{Origin, answer, fresh};

#[tokio::test]
async fn both_worlds_change_a_request_and_its_responses_alike() {
    for world in SCRIPTED {
        let origin = Origin::always(fresh("body").with("x-origin", "1").with("x-gone", "1"));
        let steps = r#"
            on_request = [
                { set = ["X-Set", "$x-client"] }, { append = ["x-client", "more"] },
                { remove = "x-secret" }, { path = "/led?b=1" }, { key = "part" },
            ],
            on_origin_response = [{ set = ["x-stored", "yes"] }, { remove = "x-gone" }, { ttl = 7 }, { tag = "t" }],
            on_response = [{ append = ["x-origin", "2"] }, { set = ["x-delivered", "yes"] }]"#;
        let edge = scripted(&origin, &[(world, &steps.replace('\n', " "))]).start();
        let ask = || {
            let request = edge.request("GET", "/asked").with("x-client", "mine");
            request.with("x-secret", "s").send()
        };
        let first = ask().await;
        assert_eq!((first.status, first.text()), (200, "body"), "{world}");
        let asked = origin.last();
        assert_eq!(asked.target, "/led?b=1", "{world}");
        assert_eq!(asked.get("x-set"), Some("mine"), "{world}");
        assert_eq!(asked.get("x-secret"), None, "{world}");
        let all: Vec<_> = asked.head.all("x-client").collect();
        assert_eq!(all, ["mine", "more"], "{world}");
        for response in [first, ask().await] {
            assert_eq!(response.get("x-stored"), Some("yes"), "{world}");
            assert_eq!(response.get("x-gone"), None, "{world}");
            assert_eq!(response.get("x-delivered"), Some("yes"), "{world}");
            let all: Vec<_> = response.head.all("x-origin").collect();
            assert_eq!(all, ["1", "2"], "{world}");
        }
        let hit = ask().await;
        assert_eq!((hit.cache_status(), hit.cache("ttl")), ("hit", Some("7")));
        edge.order(r#"{"tags":["t"]}"#).await;
        ask().await;
        assert_eq!(origin.requests(), 2, "{world}");
    }
}

#[tokio::test]
async fn both_worlds_answer_bypass_and_refuse_alike() {
    for world in SCRIPTED {
        let origin = Origin::always(fresh("body"));
        let edge = scripted(&origin, &[(world, "on_request = [{ respond = 418 }]")]).start();
        assert_eq!(edge.get("/").await.status, 418, "{world}");
        assert_eq!(origin.requests(), 0, "{world}");
        for steps in [
            "on_request = [\"bypass\"]",
            "on_origin_response = [\"refuse\"]",
        ] {
            let origin = Origin::always(fresh("body"));
            let edge = scripted(&origin, &[(world, steps)]).start();
            for times in 1..=2 {
                assert_eq!(edge.get("/").await.text(), "body", "{world}");
                assert_eq!(origin.requests(), times, "{world}: {steps}");
            }
        }
    }
}

#[tokio::test]
async fn a_chain_of_both_worlds_goes_there_in_order_and_back_in_reverse() {
    let origin = Origin::answers("body");
    let step = |mark: &str, of: &str| {
        format!(
            "on_request = [{{ set = [\"x-{mark}\", \"{of}\"] }}], \
             on_response = [{{ append = [\"x-order\", \"{mark}\"] }}]"
        )
    };
    let (one, two, three) = (step("a", "1"), step("b", "$x-a"), step("c", "$x-b"));
    let edge = scripted(
        &origin,
        &[
            ("scripted", &one),
            ("scripted-values", &two),
            ("scripted", &three),
        ],
    )
    .start();
    let response = edge.get("/").await;
    assert_eq!(origin.last().get("x-c"), Some("1"));
    let order: Vec<_> = response.head.all("x-order").collect();
    assert_eq!(order, ["c", "b", "a"]);
}

/// Decisions that the world `filter` would refuse in part, and the hook that they are of.
const REFUSED: [&str; 14] = [
    r#"on_request = [{ set = ["x-a", "1\r\nx-b: 2"] }]"#,
    r#"on_request = [{ set = ["x a", "1"] }]"#,
    r#"on_request = [{ append = ["content-length", "1"] }]"#,
    r#"on_request = [{ remove = "host" }]"#,
    r#"on_request = [{ path = "no-slash" }]"#,
    r#"on_request = [{ path = "/a\r\nx: y" }]"#,
    r#"on_request = [{ key = "a\nb" }]"#,
    r#"on_request = [{ origin = "unlisted" }]"#,
    r#"on_origin_response = [{ set = ["x-a", "1\n"] }]"#,
    r#"on_origin_response = [{ tag = "a tag" }]"#,
    r#"on_origin_response = [{ status = 206 }]"#,
    r#"on_response = [{ append = ["transfer-encoding", "chunked"] }]"#,
    r#"on_response = [{ status = 99 }]"#,
    r#"on_response = [{ status = 304 }]"#,
];

fn chain(name: &str, settings: &str) -> Chain {
    let plugins = load(&[(name, "builtin:scripted-values")]).unwrap();
    let line = format!("name = {name:?}\ngrants = [\"purge\"]\ndeadline = \"5s\"\n{settings}");
    plugins.chain(&[used(&line)]).unwrap()
}

fn count(plugin: &str, kind: FailureKind) -> u64 {
    let counted = failures();
    let found = counted
        .iter()
        .find(|(name, counted, _)| name == plugin && *counted == kind);
    found.map_or(0, |(_, _, count)| *count)
}

#[tokio::test]
async fn a_decision_refused_in_part_is_done_in_no_part_and_counted_under_its_name() {
    let reach = Reach::new();
    for (at, refused) in REFUSED.into_iter().enumerate() {
        // What would be allowed comes first.
        let with = |before| refused.replacen("= [", before, 1);
        let config = match refused.split_once(' ').unwrap().0 {
            "on_request" => with("= [{ set = [\"x-fine\", \"1\"] }, { key = \"fine\" }, "),
            "on_origin_response" => with("= [{ set = [\"x-fine\", \"1\"] }, { ttl = 9 }, "),
            _ => with("= [{ set = [\"x-fine\", \"1\"] }, "),
        };
        let name = format!("refused-{at}");
        let settings = format!("on_failure = \"open\"\nconfig = {{ {config} }}");
        let mut filters = chain(&name, &settings).begin(&reach.capabilities);
        let mut subject = answered("/path", 200);
        for flow in [
            filters.on_request(&mut subject).await,
            filters.on_origin_response(&mut subject).await,
            filters.on_response(&mut subject).await,
        ] {
            assert!(matches!(flow, Flow::Continue), "{refused}: {flow:?}");
        }
        assert_eq!(count(&name, FailureKind::Answer), 1, "{refused}");
        assert!(subject.headers.is_empty(), "{refused}");
        assert_eq!(subject.key_extra, "", "{refused}");
        assert_eq!(subject.path_and_query.as_str(), "/path");
        assert_eq!(response_field(&subject, "x-fine"), None, "{refused}");
        assert!(
            subject.ttl.is_none() && subject.tags.is_empty(),
            "{refused}"
        );
        let (status, _) = subject.response.unwrap();
        assert_eq!(status, 200, "{refused}");
    }
}

#[tokio::test]
async fn a_decision_refused_in_part_fails_a_closed_route() {
    let origin = Origin::answers("body");
    for world in SCRIPTED {
        let steps = r#"on_request = [{ set = ["x-a", "1\r\nx-b: 2"] }]"#;
        let edge = scripted(&origin, &[(world, steps)]).start();
        let response = edge.get("/").await;
        // In the other world the guest is told, and goes on.
        let expected = if world == "scripted" { 200 } else { 503 };
        assert_eq!(response.status, expected, "{world}");
    }
    assert_eq!(origin.requests(), 1);
    assert_eq!(origin.last().get("x-refused"), Some("invalid-value"));
    assert_eq!(origin.last().get("x-b"), None);
}

#[tokio::test]
async fn a_decision_of_endless_operations_is_a_flood() {
    let reach = Reach::new();
    let steps = vec!["{ remove = \"x\" }"; 10_001].join(", ");
    let chain = chain("endless", &format!("config = {{ on_request = [{steps}] }}"));
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/"))
        .await;
    let Flow::Failed(failure) = flow else {
        panic!("{flow:?}");
    };
    assert_eq!(failure.kind, FailureKind::HostCalls);
}

#[tokio::test]
async fn a_purge_tells_its_position() {
    for world in SCRIPTED {
        let origin = Origin::always(fresh("body").with("cache-tag", "t"));
        let steps = r#"on_request = [{ purge = ["t", "x-purged"] }]"#;
        let edge = scripted(&origin, &[(world, steps)]).start();
        edge.get("/").await;
        let told = origin.last().get("x-purged").unwrap().to_owned();
        let position = told.strip_prefix("ok ").unwrap();
        let (epoch, record) = position.split_once(':').unwrap();
        let (millis, counter) = record.split_once('-').unwrap();
        assert!(!epoch.is_empty(), "{told}");
        assert!(
            millis.parse::<u64>().is_ok() && counter.parse::<u64>().is_ok(),
            "{told}"
        );
        edge.get("/").await;
        assert_eq!(origin.requests(), 2, "what was stored has fallen");
    }
}

#[test]
fn a_purge_while_the_configuration_is_read_is_an_error() {
    for world in SCRIPTED {
        let plugins = load(&[("early", &format!("builtin:{world}"))]).unwrap();
        let line = "name = \"early\"\ngrants = [\"purge\"]\ndeadline = \"5s\"\n\
                    config = { purge_in_configure = \"t\" }";
        let error = plugins.chain(&[used(line)]).err().unwrap().to_string();
        assert!(
            error.contains("error nothing is purged while a configuration is read"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_filter_by_value_needs_its_grants_as_well() {
    let plugins = load(&[("v", "builtin:scripted-values")]).unwrap();
    let error = plugins.chain(&[used("name = \"v\"")]).err().unwrap();
    assert!(error.to_string().contains("needs \"purge\""), "{error}");
    let origin = Origin::always(answer("body"));
    let edge = scripted(&origin, &[("scripted-values", "")]).start();
    assert_eq!(edge.get("/").await.text(), "body");
}
