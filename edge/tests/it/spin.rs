//! Spin applications, unchanged: key-value, variables and Redis, of `spin-sdk` 7 and 5.

use tidegate_edge::config::Config;
use tidegate_edge::startup::{self, Options};
use tidegate_services::Redis;

use crate::support::client::Request;
use crate::support::edge::Builder;
use crate::support::redis::started;
use crate::support::{Edge, Origin};

/// What counts visits and greets, of each SDK.
const GREETINGS: [&str; 2] = ["greeting", "classic"];
/// What does as the path says.
const ERRANDS: [&str; 2] = ["errand", "errand-classic"];

/// Everything that these guests import.
const GRANTS: &str = "[handler]\ngrants = [\"kv\", \"redis\", \"secrets\"]\n";

fn greeting(kind: &str) -> Builder {
    Edge::answered_by("greeting", kind)
        .route("[handler]\ngrants = [\"kv\"]\nconfig = { greeting = \"Hallo\" }")
}

fn errand(kind: &str, settings: &str) -> Edge {
    Edge::answered_by("errand", kind)
        .route(&format!("{GRANTS}{settings}"))
        .start()
}

async fn told(edge: &Edge, path: &str) -> String {
    edge.get(path).await.text().to_owned()
}

#[tokio::test]
async fn an_unchanged_application_counts_its_visitors() {
    for kind in GREETINGS {
        let edge = greeting(kind).start();
        let first = edge.get("/a").await;
        assert_eq!(first.text(), "Hallo, visitor 1 of /a\n", "{kind}");
        assert_eq!(first.get("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(told(&edge, "/a").await, "Hallo, visitor 2 of /a\n");
        assert_eq!(told(&edge, "/b").await, "Hallo, visitor 1 of /b\n");
        assert_eq!(told(&edge, "/visits").await, "/a 2\n/b 1\n", "{kind}");
        let deleted = edge.request("DELETE", "/a").send().await;
        assert_eq!(deleted.text(), "/a is forgotten\n");
        assert_eq!(told(&edge, "/visits").await, "/b 1\n", "{kind}");
    }
}

#[tokio::test]
async fn edges_that_share_a_redis_share_what_an_application_keeps() {
    for kind in GREETINGS {
        let redis = started();
        let here = greeting(kind).redis(&redis).start();
        let there = greeting(kind).redis(&redis).start();
        for (edge, count) in [(&here, 1), (&there, 2), (&here, 3)] {
            let expected = format!("Hallo, visitor {count} of /a\n");
            assert_eq!(told(edge, "/a").await, expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn applications_of_other_names_have_stores_of_their_own() {
    let origin = Origin::answers("");
    let edge = Edge::before(&origin)
        .with(
            r#"
            plugins.one.file = "builtin:greeting"
            plugins.two.file = "builtin:classic"
            [[routes]]
            path = "/one"
            handler = { name = "one", grants = ["kv"], config = { greeting = "One" } }
            [[routes]]
            path = "/again"
            handler = { name = "one", grants = ["kv"], config = { greeting = "Again" } }
            [[routes]]
            path = "/two"
            handler = { name = "two", grants = ["kv"], config = { greeting = "Two" } }
            "#,
        )
        .start();
    told(&edge, "/one/a").await;
    assert_eq!(told(&edge, "/two/b").await, "Two, visitor 1 of /two/b\n");
    assert_eq!(
        told(&edge, "/two/visits").await,
        "Two, visitor 1 of /two/visits\n"
    );
    // A route more of the same plugin has the same store.
    assert_eq!(
        told(&edge, "/again/a").await,
        "Again, visitor 1 of /again/a\n"
    );
    assert_eq!(told(&edge, "/one/a").await, "One, visitor 2 of /one/a\n");
}

#[tokio::test]
async fn a_store_that_the_route_does_not_list_is_not_opened() {
    for kind in ERRANDS {
        let edge = errand(kind, "");
        assert_eq!(told(&edge, "/kv/get?store=default&key=a").await, "None");
        let other = told(&edge, "/kv/get?store=other&key=a").await;
        assert_eq!(other, "Error::AccessDenied", "{kind}");
        let edge = errand(kind, "stores = [\"other\"]");
        for (path, expected) in [
            ("set?store=other&key=a&value=1", "()"),
            ("get?store=other&key=a", "Some(\"1\")"),
            ("exists?store=other&key=a", "true"),
            ("keys?store=other", "[\"a\"]"),
            ("delete?store=other&key=a", "()"),
            ("exists?store=other&key=a", "false"),
            ("keys?store=other", "[]"),
            ("get?store=default&key=a", "Error::AccessDenied"),
        ] {
            let path = format!("/kv/{path}");
            assert_eq!(told(&edge, &path).await, expected, "{kind} {path}");
        }
    }
}

#[tokio::test]
async fn stores_of_one_application_are_apart() {
    for kind in ERRANDS {
        let edge = errand(kind, "stores = [\"a\", \"b\"]");
        told(&edge, "/kv/set?store=a&key=k&value=1").await;
        assert_eq!(told(&edge, "/kv/keys?store=b").await, "[]", "{kind}");
    }
}

#[tokio::test]
async fn variables_are_the_routes_texts_and_secrets() {
    for kind in ERRANDS {
        let edge = errand(
            kind,
            "config = { greeting = \"hi\", both = \"of config\" }\n\
             secrets = { token = \"hush\", both = \"of secrets\" }",
        );
        for (name, expected) in [
            ("greeting", "hi"),
            ("token", "hush"),
            ("both", "of config"),
            (
                "other",
                "Error::Undefined(\"no variable named \\\"other\\\"\")",
            ),
        ] {
            let told = told(&edge, &format!("/variable?name={name}")).await;
            assert_eq!(told, expected, "{kind}");
        }
        let wrong = told(&edge, "/variable?name=Not-A-Name").await;
        assert!(wrong.starts_with("Error::InvalidName("), "{kind}: {wrong}");
    }
}

fn with_redis(kind: &str, redis: &Redis) -> Edge {
    errand(
        kind,
        &format!("redis = [\"redis://127.0.0.1:{}\"]", redis.port()),
    )
}

#[tokio::test]
async fn redis_commands_reach_a_server_that_the_route_lists() {
    for kind in ERRANDS {
        let redis = started();
        let edge = with_redis(kind, &redis);
        let address = format!("redis://127.0.0.1:{}", redis.port());
        for (command, expected) in [
            ("get?key=a", "None"),
            ("set?key=a&value=x", "()"),
            ("get?key=a", "Some(\"x\")"),
            ("incr?key=n", "1"),
            ("incr?key=n", "2"),
            ("incr?key=a", "Error::TypeError"),
            ("sadd?key=s&value=b&value=a&value=b", "2"),
            ("smembers?key=s", "[\"a\", \"b\"]"),
            ("srem?key=s&value=a&value=c", "1"),
            ("get?key=s", "Error::TypeError"),
            ("del?key=a&key=n&key=c", "2"),
            ("publish?key=channel&value=x", "()"),
            (
                "execute?key=SET&value=e&value=12",
                "[RedisResult::Status(\"OK\")]",
            ),
            ("execute?key=GET&value=e", "[RedisResult::Binary([49, 50])]"),
            ("execute?key=GET&value=none", "[RedisResult::Nil]"),
            ("execute?key=STRLEN&value=e", "[RedisResult::Int64(2)]"),
            (
                "execute?key=MGET&value=e&value=none",
                "[RedisResult::Binary([49, 50]), RedisResult::Nil]",
            ),
        ] {
            let told = told(&edge, &format!("/redis/{command}&address={address}")).await;
            assert_eq!(told, expected, "{kind} {command}");
        }
        let wrong = told(
            &edge,
            &format!("/redis/execute?key=NONSENSE&address={address}"),
        )
        .await;
        assert!(wrong.starts_with("Error::Other("), "{kind}: {wrong}");
    }
}

#[tokio::test]
async fn what_a_guest_does_to_a_connection_is_nothing_to_the_next() {
    for kind in ERRANDS {
        let redis = started();
        let edge = with_redis(kind, &redis);
        let address = format!("address=redis://127.0.0.1:{}", redis.port());
        for command in ["SELECT&value=1", "MULTI", "CLIENT&value=REPLY&value=OFF"] {
            told(&edge, &format!("/redis/execute?key={command}&{address}")).await;
            let set = told(&edge, &format!("/redis/set?key=a&value=x&{address}")).await;
            assert_eq!(set, "()", "{kind} {command}");
        }
        let other = told(&edge, &format!("/redis/get?key=a&{address}/1")).await;
        assert_eq!(other, "None", "{kind}: it went to another database");
    }
}

#[tokio::test]
async fn other_servers_are_refused() {
    for kind in ERRANDS {
        let redis = started();
        let other = started();
        let edge = with_redis(kind, &redis);
        let (port, other) = (redis.port(), other.port());
        for address in [
            format!("redis://127.0.0.1:{other}"),
            format!("redis://localhost:{port}"),
            format!("redis://127.0.0.1:{port}@127.0.0.1:{other}"),
            "unix:///tmp/redis.sock".to_owned(),
            "nonsense".to_owned(),
            String::new(),
        ] {
            let told = told(&edge, &format!("/redis/get?key=a&address={address}")).await;
            assert_eq!(told, "Error::InvalidAddress", "{kind} {address}");
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_silent_is_an_error_in_time_and_comes_back() {
    for kind in ERRANDS {
        let mut redis = started();
        let address = format!("redis://127.0.0.1:{}", redis.port());
        let edge = errand(
            kind,
            &format!("redis = [{address:?}]\nredis_timeout = \"100ms\""),
        );
        let get = format!("/redis/get?key=a&address={address}");
        assert_eq!(told(&edge, &get).await, "None", "{kind}");
        redis.pause();
        let late = told(&edge, &get).await;
        assert!(late.starts_with("Error::Other("), "{kind}: {late}");
        redis.resume();
        let mut again = String::new();
        for _ in 0..100 {
            again = told(&edge, &get).await;
            if again == "None" {
                break;
            }
        }
        assert_eq!(again, "None", "{kind}");
    }
}

#[tokio::test]
async fn a_component_whose_imports_are_not_granted_is_refused_at_load() {
    for (kind, granted, import, lacking) in [
        ("greeting", "", "spin:key-value/key-value@3.0.0", "kv"),
        ("classic", "", "fermyon:spin/key-value@2.0.0", "kv"),
        ("errand", "\"kv\"", "spin:redis/redis@3.0.0", "redis"),
        (
            "errand-classic",
            "\"kv\"",
            "fermyon:spin/redis@2.0.0",
            "redis",
        ),
    ] {
        let refusal = Edge::answered_by("bare", kind)
            .route(&format!("[handler]\ngrants = [{granted}]"))
            .refusal();
        let expected =
            format!("plugin \"bare\" imports {import}, for which the route must grant {lacking:?}");
        assert!(refusal.contains(&expected), "{kind}: {refusal}");
    }
}

#[tokio::test]
async fn a_variable_that_is_no_text_is_refused_at_load() {
    let refusal = Edge::answered_by("greeting", "greeting")
        .route("[handler]\ngrants = [\"kv\"]\nconfig = { retries = 5 }")
        .refusal();
    assert!(
        refusal.contains("plugin \"greeting\": config.retries is no string"),
        "{refusal}"
    );
}

/// The configuration that the README gives for the application, as it stands there.
fn configuration_of_the_readme() -> String {
    let readme = include_str!("../../../README.md");
    let from = readme
        .find("    [plugins.greeting]")
        .expect("the README shows one");
    let lines = readme[from..].lines();
    let block: Vec<&str> = lines
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .take_while(|line| !line.trim_start().starts_with('$'))
        .collect();
    block.join("\n")
}

#[tokio::test]
async fn the_readme_says_how_an_application_is_run() {
    let file = "plugins/spin/target/wasm32-wasip2/release/greeting.wasm";
    let text = configuration_of_the_readme();
    assert!(text.contains(file), "{text}");
    let text = text.replace(file, "builtin:greeting");
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    let config = Config::from_toml(&format!("{server}{text}"), "README.md").unwrap();
    let options = Options {
        builtin_plugins: tidegate_plugins::spin::ALL,
        index_slots: 12,
        ..Options::default()
    };
    let edge = startup::Edge::start(config, options).unwrap();
    for count in [1, 2] {
        let answer = Request::new(edge.addr(), "GET", "/anybody").send().await;
        assert_eq!(
            answer.text(),
            format!("Hello, visitor {count} of /anybody\n")
        );
    }
}
