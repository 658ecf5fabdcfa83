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
        "[server]\nadmin_token = \"\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "server.admin_token is no token",
    ),
    (
        "[purge]\ntoken = \"two words\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "purge.token is no token",
    ),
    (
        "[cache]\nsweep_interval = \"0s\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "cache.sweep_interval is zero",
    ),
    (
        "[log]\ntrust = \"0s\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "log.trust is zero",
    ),
    (
        "[log]\ndeadline = \"0s\"\n[[routes]]\norigin = \"app\"\n[origins.app]\nurl = \"http://a\"",
        "log.deadline is zero",
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

/// What is added to a configuration that is right, and what the error says of it.
const REFUSED_SETTINGS: &[(&str, &str)] = &[
    (
        "[routes.key]\nquery = { only = [\"a%20b\"] }",
        "key.query.only: \"a%20b\" is compared with decoded names: write the name decoded",
    ),
    (
        "[routes.key]\nquery = { only = [\"a+b\"] }",
        "key.query.only: \"a+b\" is compared with decoded names: write the name decoded",
    ),
    (
        "[routes.key]\nquery = { only = [\"a;b\"] }",
        "key.query.only: \"a;b\" is compared with decoded names: write the name decoded",
    ),
    (
        "[routes.key]\nquery = { except = [\"%61*\"] }",
        "key.query.except: \"%61*\" is compared with decoded names",
    ),
    (
        "[routes.key]\nquery = [\"a\"]",
        "line 6: which parameters count: write { only = [...] }",
    ),
    (
        "[routes.key]\nquery = 1",
        "line 6: invalid type: integer `1`, expected \"all\", \"none\"",
    ),
    (
        "[routes.key]\nquery = { only = [\"a\"], except = [\"b\"] }",
        "line 6: query takes one of",
    ),
    ("[routes.key]\nquery = {}", "line 6: query takes one of"),
    (
        "[routes.key]\ncookies = [\"sess*\"]",
        "key.cookies: \"sess*\": \"*\" stands for nothing here",
    ),
    (
        "[routes.key]\nheaders = [\"Connection\"]",
        "key.headers: \"Connection\" ends at this hop",
    ),
    (
        "[routes.key]\nheaders = [\"te\"]",
        "key.headers: \"te\" ends at this hop",
    ),
    (
        "[routes.key]\nheaders = [\"transfer-encoding\"]",
        "key.headers: \"transfer-encoding\" ends at this hop",
    ),
    (
        "[routes.key]\nheaders = [\"upgrade\"]",
        "key.headers: \"upgrade\" ends at this hop",
    ),
    (
        "[routes.key]\nheaders = [\"keep-alive\"]",
        "key.headers: \"keep-alive\" ends at this hop",
    ),
    (
        "[routes.key]\nheaders = [\"proxy-authorization\"]",
        "key.headers: \"proxy-authorization\" ends at this hop",
    ),
    ("ttl = 5", "line 5: 5 has no unit: write \"5s\""),
    (
        "ttl = -5",
        "line 5: -5 is no duration: it must not be negative",
    ),
    (
        "ttl = true",
        "line 5: invalid type: boolean `true`, expected a duration such as \"5s\"",
    ),
    (
        "status_ttl = { \"404\" = 10 }",
        "line 5: 10 has no unit: write \"10s\"",
    ),
    (
        "status_ttl = { \"304\" = \"1s\" }",
        "line 5: a 304 is never stored",
    ),
    (
        "[routes.compression]\nmin_size = -1",
        "line 6: -1 is no size: it must not be negative",
    ),
    (
        "[routes.compression]\nmin_size = 1.5",
        "line 6: invalid type: floating point `1.5`, expected a size such as \"16MiB\"",
    ),
    ("[server]\nname = \"\"", "server.name: \"\" is no token"),
    (
        "[server]\nname = \"a b\"",
        "server.name: \"a b\" is no token",
    ),
    (
        "[server]\nname = \"a/b\"",
        "server.name: \"a/b\" is no token",
    ),
    ("[server]\nname = \"é\"", "server.name: \"é\" is no token"),
    (
        "[server]\nheader_timeout = \"0s\"",
        "server.header_timeout is zero",
    ),
    (
        "[server]\nwrite_timeout = \"0s\"",
        "server.write_timeout is zero",
    ),
    (
        "[origins.b]\nurl = \"http://b\"\nconnect_timeout = \"0ms\"",
        "origin \"b\": connect_timeout is zero",
    ),
    (
        "[origins.b]\nurl = \"http://b\"\ntimeout = \"0ms\"",
        "origin \"b\": timeout is zero",
    ),
    (
        "[origins.b]\nurl = \"http://b\"\ntunnel_timeout = \"0ms\"",
        "origin \"b\": tunnel_timeout is zero",
    ),
    (
        "[origins.b]\nurl = \"http://b\"\nheaders = { \"Content-Length\" = \"1\" }",
        "origin \"b\": headers: \"Content-Length\" frames or routes each message",
    ),
    (
        "[server]\nclient_address_header = \"a b\"",
        "server.client_address_header: \"a b\" is no field name",
    ),
    ("[redis]\nurl = \"http://a\"", "edge.toml: redis.url: "),
    ("[redis]\nurl = \"redis://a/x\"", "edge.toml: redis.url: "),
    ("[log]\nurl = \"localhost\"", "edge.toml: log.url: "),
    (
        "[redis]\nurl = \"redis://a\"\n[log]\nurl = \"nowhere\"",
        "edge.toml: log.url: ",
    ),
];

#[test]
fn a_setting_that_cannot_be_meant_is_refused_by_name() {
    for (settings, expected) in REFUSED_SETTINGS {
        let text = format!("{ROUTE}{settings}\n");
        let error = Config::from_toml(&text, "edge.toml")
            .expect_err(settings)
            .to_string();
        assert!(error.contains(expected), "{settings}: {error}");
    }
}

#[test]
fn the_url_of_a_redis_is_checked_and_in_no_error() {
    for text in [
        "[redis]\nurl = \"http://:hunter2@a\"",
        "[redis]\nurl = \"redis://:hunter2@a/hunter2\"",
        "[log]\nurl = \"hunter2\"",
    ] {
        let error = Config::from_toml(&format!("{ROUTE}{text}"), "edge.toml").expect_err(text);
        let shown = format!("{error}\n{error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for text in [
        "[redis]\nurl = \"redis://:word@redis.example.org:6380/1\"",
        "[redis]\nurl = \"redis://a\"\n[log]\nurl = \"redis://b\"",
    ] {
        let config = Config::from_toml(&format!("{ROUTE}{text}"), "edge.toml");
        assert!(config.is_ok(), "{text}: {config:?}");
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
