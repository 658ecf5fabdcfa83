//! The deployment files agree with each other and with the binary.

use std::collections::BTreeMap;
use std::fs;

use crate::command::{finish, repository, tidegate};

fn read(file: &str) -> String {
    fs::read_to_string(repository(file)).expect("the file is part of the repository")
}

#[test]
fn fly_keeps_edges_awake_and_gives_them_time_to_drain() {
    let fly: toml::Table = read("fly.toml").parse().unwrap();
    assert_eq!(
        fly["http_service"]["auto_stop_machines"].as_str(),
        Some("off")
    );
    assert_eq!(fly["kill_signal"].as_str(), Some("SIGTERM"));
    let seconds = |value: &toml::Value| -> u32 {
        value
            .as_str()
            .unwrap()
            .trim_end_matches('s')
            .parse()
            .unwrap()
    };
    let edge: toml::Table = read("tidegate.fly.toml").parse().unwrap();
    assert!(seconds(&edge["server"]["drain_timeout"]) < seconds(&fly["kill_timeout"]));
}

#[test]
fn fly_checks_and_scrapes_the_ports_that_are_served() {
    let fly: toml::Table = read("fly.toml").parse().unwrap();
    let edge: toml::Table = read("tidegate.fly.toml").parse().unwrap();
    let port = |value: &toml::Value| -> i64 {
        value
            .as_str()
            .unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let admin = port(&edge["server"]["admin"]);
    assert_eq!(
        fly["http_service"]["internal_port"].as_integer(),
        Some(port(&edge["server"]["listen"]))
    );
    assert_eq!(
        fly["checks"]["edge_ready"]["port"].as_integer(),
        Some(admin)
    );
    assert_eq!(fly["metrics"][0]["port"].as_integer(), Some(admin));
    let origin = fly["env"]["TIDEGATE_ORIGIN"].as_str().unwrap();
    let name = fly["app"].as_str().unwrap();
    let served = fly["checks"]["origin_health"]["port"].as_integer().unwrap();
    assert_eq!(
        origin,
        format!("http://origin.process.{name}.internal:{served}")
    );
    assert!(
        fly["processes"]["origin"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":{served}"))
    );
}

#[test]
fn the_commands_of_the_deployment_files_are_commands_of_the_binary() {
    let fly: toml::Table = read("fly.toml").parse().unwrap();
    let processes = fly["processes"]
        .as_table()
        .unwrap()
        .values()
        .map(|command| command.as_str().unwrap().to_owned());
    let compose = read("docker-compose.yml");
    let services = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: ["))
        .map(|list| list.trim_end_matches(']').replace(['"', ','], ""))
        .filter(|command| !command.starts_with("redis-server"));
    for command in processes.chain(services) {
        let ended = finish(tidegate().args(command.split_whitespace()).arg("--help"));
        assert_eq!(ended.code, Some(0), "{command}: {}", ended.err);
    }
}

/// A light reading of YAML: `name:` lines by their indentation, which is all that is asked of it here.
#[test]
fn compose_services_depend_on_services_that_have_a_health_check() {
    let compose = read("docker-compose.yml");
    assert!(!compose.contains('\t'), "YAML knows no tabs");
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut service = "";
    let body = compose
        .lines()
        .skip_while(|line| *line != "services:")
        .skip(1);
    for line in body
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| !line.is_empty())
    {
        let indentation = line.len() - line.trim_start().len();
        assert_eq!(indentation % 2, 0, "{line}");
        if indentation == 2 {
            service = line.trim().trim_end_matches(':');
        } else {
            sections.entry(service).or_default().push(line);
        }
    }
    assert_eq!(
        sections.keys().copied().collect::<Vec<_>>(),
        ["edge", "origin", "postgres", "redis"]
    );
    for (service, lines) in &sections {
        assert!(
            lines.contains(&"    healthcheck:"),
            "{service} has no health check"
        );
        let dependencies = lines
            .iter()
            .skip_while(|line| **line != "    depends_on:")
            .skip(1);
        let dependencies = dependencies.take_while(|line| line.starts_with("      "));
        for name in dependencies.filter(|line| !line.starts_with("       ")) {
            assert!(
                sections.contains_key(name.trim().trim_end_matches(':')),
                "{service} depends on {name}"
            );
        }
    }
}
