//! The shipped alerts can be loaded, and speak of metrics that there are.

use std::{collections::BTreeSet, process::Command};

use hyper::{Method, StatusCode};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::House;

const ALERTS: &str = include_str!("../../alerts.yml");
const EDGE: &str = include_str!("../../../edge/src/telemetry.rs");

/// Every alert with its expression.
fn alerts() -> Vec<(String, String)> {
    let documents = YamlLoader::load_from_str(ALERTS).unwrap();
    let groups = documents[0]["groups"].as_vec().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap());
    let text = |rule: &Yaml, name: &str| rule[name].as_str().unwrap().to_owned();
    rules
        .map(|rule| {
            assert!(rule["annotations"]["summary"].as_str().is_some());
            assert!(rule["labels"]["severity"].as_str().is_some());
            (text(rule, "alert"), text(rule, "expr"))
        })
        .collect()
}

/// The metrics that an expression names.
fn metrics(expression: &str) -> BTreeSet<String> {
    expression
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("tidegate_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_alert_speaks_of_metrics_that_there_are() {
    let house = House::open().await;
    house.user("ada").await;
    house.get("/users/1").await.expect(StatusCode::OK);
    let shown = house.send(Method::GET, "/metrics", &[], "").await;
    let shown = String::from_utf8(shown.bytes.to_vec()).unwrap();
    let of_origin = |metric: &str| {
        let mut samples = shown.lines().filter_map(|line| line.strip_prefix(metric));
        samples.any(|rest| rest.starts_with([' ', '{']))
    };
    let of_edge = |metric: &str| {
        let name = metric.trim_start_matches("tidegate_");
        let name = name.strip_suffix("_total").unwrap_or(name);
        EDGE.contains(&format!("\"{name}\""))
    };
    let alerts = alerts();
    assert!(alerts.len() >= 10);
    for (alert, expression) in &alerts {
        let named = metrics(expression);
        assert!(!named.is_empty(), "{alert}");
        for metric in named {
            assert!(of_origin(&metric) || of_edge(&metric), "{alert}: {metric}");
        }
        // Outcomes, too, are what edge or origin calls them.
        for matched in expression.split("outcome=").skip(1) {
            let outcomes = matched.split('"').nth(1).unwrap();
            for outcome in outcomes.split('|') {
                let quoted = format!("\"{outcome}\"");
                assert!(
                    EDGE.contains(&quoted) || outcome == "Failed",
                    "{alert}: {outcome}"
                );
            }
        }
    }
}

#[test]
fn promtool_takes_the_alerts_and_sees_each_fire_where_it_is_installed() {
    let Some(promtool) = tidegate_services::promtool() else {
        println!("SKIPPED: no promtool");
        return;
    };
    let origin = env!("CARGO_MANIFEST_DIR");
    for arguments in [
        ["check", "rules", &format!("{origin}/alerts.yml")],
        ["test", "rules", &format!("{origin}/tests/alerts.yml")],
    ] {
        let output = Command::new(&promtool).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
