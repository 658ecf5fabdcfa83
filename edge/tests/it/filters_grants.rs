//! Nothing is reached that is not granted, and that is said when the configuration is loaded. With
//! the grants: secrets, metrics, random numbers.

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge as Running, Options};

use crate::filters_support::{CAPABLE_GRANTS, capable};
use crate::support::{Edge, Origin};

fn granting(origin: &Origin, settings: &str) -> Edge {
    Edge::before(origin)
        .with("[plugins.mine]\nfile = \"builtin:capable\"")
        .route(&format!("[[plugins]]\n{}", capable("mine", settings)))
        .start()
}

async fn said(edge: &Edge, path: &str) -> String {
    let answer = edge.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text().to_owned()
}

/// Why an edge with this line of a route's plugins does not start.
fn refusal(line: &str) -> String {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[origins.app]\nurl = \"http://127.0.0.1:1\"\n\
         [plugins.mine]\nfile = \"builtin:capable\"\n\
         [[routes]]\nname = \"pages\"\norigin = \"app\"\n[[routes.plugins]]\n{line}"
    );
    let config = Config::from_toml(&text, "test").expect("a test's own settings are right");
    let options = Options {
        builtin_plugins: tidegate_plugins::WITH_FIXTURES,
        index_slots: 12,
        ..Options::default()
    };
    Running::start(config, options)
        .map(drop)
        .expect_err(line)
        .to_string()
}

#[test]
fn each_capability_that_is_not_granted_is_named_with_plugin_and_route() {
    for missing in CAPABLE_GRANTS {
        let grants: Vec<&str> = CAPABLE_GRANTS
            .into_iter()
            .filter(|grant| *grant != missing)
            .collect();
        let error = refusal(&format!("name = \"mine\"\ngrants = {grants:?}"));
        assert_eq!(
            error,
            format!(
                "route \"pages\": plugin \"mine\" needs {missing:?}: add it to the route's grants, or use another plugin"
            )
        );
    }
}

#[test]
fn while_a_configuration_is_read_secrets_are_there_and_nothing_else_is() {
    let error = refusal(&capable("mine", "config = { reports = true }"));
    for expected in ["Error::Unavailable", "Error::Denied", "nothing is kept"] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    let error = refusal(&capable("mine", "config = { needs_secret = \"token\" }"));
    assert!(error.contains("there is no secret \"token\""), "{error}");
    let origin = Origin::answers("");
    granting(
        &origin,
        "config = { needs_secret = \"token\" }\nsecrets = { token = \"hush\" }",
    );
}

#[tokio::test]
async fn a_guest_is_told_the_secrets_of_its_own_route() {
    let origin = Origin::answers("");
    let edge = Edge::before(&origin)
        .with(&format!(
            "[plugins.mine]\nfile = \"builtin:capable\"\n\
             [[routes]]\norigin = \"app\"\npath = \"/secrets\"\nhost = \"a.test\"\n[[routes.plugins]]\n{}\n\
             [[routes]]\norigin = \"app\"\n[[routes.plugins]]\n{}",
            capable("mine", "secrets = { token = \"hush\" }"),
            capable("mine", "secrets = { other = \"other\" }"),
        ))
        .start();
    let asked = async |host: &str, name: &str| {
        let request = edge.request("GET", &format!("/secrets?{name}"));
        request.with("host", host).send().await.text().to_owned()
    };
    assert_eq!(asked("a.test", "token").await, "Some(\"hush\")");
    assert_eq!(asked("a.test", "other").await, "None");
    assert_eq!(asked("b.test", "token").await, "None");
    assert_eq!(asked("b.test", "other").await, "Some(\"other\")");
}

#[tokio::test]
async fn what_a_plugin_counts_is_on_the_page_for_prometheus() {
    let origin = Origin::answers("");
    let edge = granting(&origin, "");
    let page = async || edge.admin("GET", "/metrics").send().await.text().to_owned();
    assert!(!page().await.contains("tidegate_guest_"));
    for path in [
        "/metrics/count?logins&2&result&denied",
        "/metrics/count?logins&3&result&denied",
    ] {
        assert_eq!(said(&edge, path).await, "done");
    }
    assert_eq!(said(&edge, "/metrics/set?sessions&7").await, "done");
    assert_eq!(said(&edge, "/metrics/add?sessions&-2").await, "done");
    let text = page().await;
    for line in [
        "tidegate_guest_logins_total{plugin=\"mine\",result=\"denied\"} 5",
        "tidegate_guest_sessions{plugin=\"mine\"} 5.0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    for path in [
        "/metrics/count?Logins&1",
        "/metrics/count?logins&1&plugin&other",
        "/metrics/set?logins&1",
    ] {
        let answer = said(&edge, path).await;
        assert!(answer.starts_with("Error::Invalid"), "{path}: {answer}");
    }
    // 2 of 64 there are.
    assert_eq!(
        said(&edge, "/metrics/many?1000").await,
        "62: Error::TooManySeries"
    );
    assert!(
        page()
            .await
            .contains("tidegate_guest_many_total{plugin=\"mine\",at=\"62\"} 1\n")
    );
}

#[tokio::test]
async fn random_numbers_differ_from_call_to_call_and_from_exchange_to_exchange() {
    let origin = Origin::answers("");
    let edge = granting(&origin, "");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        let answer = said(&edge, "/random").await;
        for number in answer.split(' ') {
            assert!(seen.insert(number.to_owned()), "{number} came before");
        }
    }
    assert_eq!(said(&edge, "/random/bytes?4096").await, "4096");
    assert!(
        said(&edge, "/random/bytes?4097")
            .await
            .contains("over 4096")
    );
}
