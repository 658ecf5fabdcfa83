//! What keeps an edge from starting is one clear error.

use std::net::TcpListener;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

const ROUTE: &str = "[origins.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\norigin = \"app\"\n";

fn refusal(text: &str) -> String {
    let config = Config::from_toml(text, "edge.toml").expect("the text itself is right");
    match Edge::start(
        config,
        Options {
            index_slots: 12,
            ..Options::default()
        },
    ) {
        Ok(_) => panic!("it starts: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for setting in ["listen", "admin"] {
        let other = if setting == "admin" {
            "listen = \"127.0.0.1:0\"\n"
        } else {
            ""
        };
        let text = format!("[server]\nworkers = 2\n{other}{setting} = \"{address}\"\n{ROUTE}");
        let error = refusal(&text);
        assert!(
            error.starts_with(&format!("cannot listen on {address}: ")),
            "{setting}: {error}"
        );
    }
}

#[test]
fn a_component_that_is_not_there_is_named() {
    let listen = "[server]\nlisten = \"127.0.0.1:0\"\n";
    let missing = refusal(&format!(
        "{listen}[plugins.mine]\nfile = \"/nowhere/mine.wasm\"\n{ROUTE}"
    ));
    assert!(missing.contains("/nowhere/mine.wasm"), "{missing}");
    let unknown = refusal(&format!(
        "{listen}[plugins.mine]\nfile = \"builtin:unheard-of\"\n{ROUTE}"
    ));
    assert!(unknown.contains("unheard-of"), "{unknown}");
}

/// A configuration, and what the error says of it.
const REFUSED: &[(&str, &str)] = &[
    (
        "[[routes]]\norigin = \"gone\"\n[origins.app]\nurl = \"http://a\"",
        "no origin named \"gone\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\npath = \"x\"\n[origins.app]\nurl = \"http://a\"",
        "path \"x\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\n[[routes.plugins]]\nname = \"gone\"\n[origins.app]\nurl = \"http://a\"",
        "no plugin named \"gone\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\nttll = \"1s\"\n[origins.app]\nurl = \"http://a\"",
        "unknown field `ttll`",
    ),
    (
        "[[routes]]\norigin = \"app\"\nttl = \"soon\"\n[origins.app]\nurl = \"http://a\"",
        "\"soon\" is no duration",
    ),
    (
        "[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"ftp://a\"",
        "must start with http://",
    ),
    (
        "[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a/path\"",
        "must not have a path",
    ),
    ("routes = []\n[origins.app]\nurl = \"http://a\"", "no route"),
    (
        "[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"${TIDEGATE_NEVER_SET}\"",
        "line 4: environment variable TIDEGATE_NEVER_SET is not set",
    ),
    (
        "[[routes]]\norigin = \"app\"\nhost = \"*example.org\"\n[origins.app]\nurl = \"http://a\"",
        "host \"*example.org\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\nhost = \"example.org:80\"\n[origins.app]\nurl = \"http://a\"",
        "host \"example.org:80\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\nhost = \"*.*.org\"\n[origins.app]\nurl = \"http://a\"",
        "host \"*.*.org\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\nhost = \"\"\n[origins.app]\nurl = \"http://a\"",
        "host \"\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\npath = \"/a?b\"\n[origins.app]\nurl = \"http://a\"",
        "path \"/a?b\"",
    ),
    (
        "[[routes]]\norigin = \"app\"\npath = \"/a#b\"\n[origins.app]\nurl = \"http://a\"",
        "path \"/a#b\"",
    ),
    (
        "[cache]\nmemory = \"1MiB\"\nmax_entry = \"2MiB\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "cache.max_entry (2097152 bytes) is larger than cache.memory (1048576 bytes)",
    ),
    (
        "[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"https://user:pass@a\"",
        "url must not carry credentials",
    ),
    (
        "[server]\nlisten = \"nowhere\"\n[origins.app]\nurl = \"http://a\"\n[[routes]]\norigin = \"app\"",
        "line 2",
    ),
];

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_and_says_where() {
    for (text, expected) in REFUSED {
        let error = Config::from_toml(text, "edge.toml")
            .expect_err(text)
            .to_string();
        assert!(
            error.starts_with("edge.toml") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn what_the_environment_holds_is_in_no_error() {
    // Set in every environment that has a shell or a test in it.
    let value = std::env::var("PATH").expect("PATH is set");
    for line in [
        "workers = \"${PATH}\"",
        "listen = \"${PATH}\"",
        "drain_timeout = \"${PATH}\"",
        "max_body_bytes = \"${PATH}\"",
        "nonsense = \"${PATH}\"",
        "name = \"${PATH}\" x",
    ] {
        let text = format!("[server]\n{line}\n{ROUTE}");
        let error = Config::from_toml(&text, "edge.toml").expect_err(line);
        let shown = format!("{error}\n{error:?}");
        assert!(!shown.contains(&value), "{line}: {shown}");
        let error = error.to_string();
        assert!(error.starts_with("edge.toml, line 2: "), "{error}");
        assert!(error.ends_with(line), "{error}");
    }
}

#[test]
fn the_host_of_a_route_is_any_one_or_all_below_one() {
    for host in [
        "*",
        "example.org",
        "*.example.org",
        "[::1]",
        "192.0.2.1",
        "Example.ORG",
    ] {
        let text = format!("{ROUTE}host = \"{host}\"");
        assert!(Config::from_toml(&text, "edge.toml").is_ok(), "{host}");
    }
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let error =
        Config::from_file(std::path::Path::new("/nowhere/edge.toml")).expect_err("it is not there");
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nowhere/edge.toml: "),
        "{error}"
    );
}
