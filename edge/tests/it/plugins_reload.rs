//! A plugin is replaced while requests pass: for all routes or for none, and never by a worse one.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::filters_support::{component, version};
use crate::support::{Edge, Gate, Origin, Response, answer, edge, patiently};

/// A folder with one plugin in it.
pub(crate) struct Installed {
    folder: TempDir,
}

impl Installed {
    pub(crate) fn version(number: u16) -> Installed {
        let installed = Installed {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        installed.write(&version(number));
        installed
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("mine.wasm")
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        fs::write(self.file(), bytes).expect("a temporary file can be written");
    }

    /// An edge that has it on its one route, and looks at files on order alone.
    pub(crate) fn before(&self, origin: &Origin) -> edge::Builder {
        let file = self.file().display().to_string();
        Edge::before(origin)
            .with(&format!(
                "[wasm]\nwatch = \"0s\"\n[plugins.mine]\nfile = {file:?}"
            ))
            .route("plugins = [{ name = \"mine\", grants = [\"clock\", \"log\"] }]")
    }
}

/// Which version has seen an answer.
pub(crate) fn seen_by(response: &Response) -> u16 {
    let marks = (1..100).filter(|number| response.get(&format!("x-version-{number:03}")).is_some());
    let marks: Vec<_> = marks.collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    marks[0]
}

async fn reload(edge: &Edge, path: &str) -> (u16, Value) {
    let response = edge.admin("POST", path).send().await;
    let json = serde_json::from_str(response.text()).expect("it is JSON");
    (response.status, json)
}

async fn listed(edge: &Edge) -> Value {
    let list = edge.admin("GET", "/plugins").send().await;
    assert_eq!(list.status, 200);
    let mut list: Value = serde_json::from_str(list.text()).expect("it is JSON");
    list["plugins"][0].take()
}

#[tokio::test]
async fn an_order_puts_a_new_version_in_the_place_of_the_old() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed.before(&origin).start();
    assert_eq!(seen_by(&edge.get("/a").await), 1);
    installed.write(&version(2));
    assert_eq!(seen_by(&edge.get("/b").await), 1);
    let (status, told) = reload(&edge, "/plugins/mine/reload").await;
    let told = &told["plugins"][0];
    assert_eq!(
        (status, &told["changed"], &told["version"]),
        (200, &true.into(), &2.into())
    );
    assert_eq!(seen_by(&edge.get("/c").await), 2);
    // The same bytes are no new version.
    for path in ["/plugins/mine/reload", "/plugins/reload"] {
        let (status, told) = reload(&edge, path).await;
        let told = &told["plugins"][0];
        assert_eq!(
            (status, &told["changed"], &told["version"]),
            (200, &false.into(), &2.into())
        );
    }
}

#[tokio::test]
async fn an_exchange_keeps_the_version_it_began_with() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed.before(&origin).start();
    let gate = Gate::closed();
    origin.next(answer("late").after(&gate));
    let mut waiting = edge.request("GET", "/late").begin().await;
    origin.asked_for(1).await;
    installed.write(&version(2));
    reload(&edge, "/plugins/mine/reload").await;
    assert_eq!(seen_by(&edge.get("/new").await), 2);
    gate.open();
    let late = waiting.response().await;
    assert_eq!((late.text(), seen_by(&late)), ("late", 1));
    assert!(
        late.get("x-origin-misbehaving").is_some(),
        "its hook for the origin ran too"
    );
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed
        .before(&origin)
        .with("wasm.watch = \"5ms\"")
        .start();
    for number in [2, 3] {
        installed.write(&version(number));
        patiently("the new version", async {
            while seen_by(&edge.get("/a").await) != number {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    // It was read since, and found to be what is used.
    assert_eq!(listed(&edge).await["version"], 3);
}

#[tokio::test]
async fn a_file_cut_short_takes_nothing_down_and_is_told() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed.before(&origin).start();
    let whole = version(2);
    for half in [&whole[..whole.len() / 2], &whole[..8], b""] {
        installed.write(half);
        let (status, problem) = reload(&edge, "/plugins/mine/reload").await;
        assert_eq!(status, 422);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("\"mine\"") && detail.contains("mine.wasm"),
            "{detail}"
        );
        assert_eq!(listed(&edge).await["error"]["reason"], detail);
        assert_eq!(seen_by(&edge.get("/a").await), 1);
    }
    fs::remove_file(installed.file()).unwrap();
    let (status, problem) = reload(&edge, "/plugins/reload").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        status == 422 && detail.contains("cannot read"),
        "{status} {detail}"
    );
    let page = edge.admin("GET", "/metrics").send().await;
    let line = "tidegate_plugin_reloads_total{plugin=\"mine\",outcome=\"refused\"} 4";
    assert!(page.text().contains(line), "{}", page.text());
    installed.write(&whole);
    assert_eq!(reload(&edge, "/plugins/mine/reload").await.0, 200);
    assert_eq!(seen_by(&edge.get("/a").await), 2);
    let listed = listed(&edge).await;
    assert_eq!(
        (&listed["error"], &listed["refused"]),
        (&Value::Null, &4.into())
    );
}

#[tokio::test]
async fn what_was_reloaded_is_told_beside_what_was_not() {
    let (origin, good, bad) = (
        Origin::answers("x"),
        Installed::version(1),
        Installed::version(1),
    );
    let (good_file, bad_file) = (good.file(), bad.file());
    let uses = ["mine", "other"].map(|name| {
        let name = format!("name = {name:?}");
        format!("{{ {name}, grants = [\"clock\", \"log\"] }}")
    });
    let edge = good
        .before(&origin)
        .with(&format!(
            "[plugins]\nmine = {{ file = {good_file:?} }}\nother = {{ file = {bad_file:?} }}"
        ))
        .route(&format!("plugins = [{}]", uses.join(", ")))
        .start();
    good.write(&version(2));
    bad.write(b"half of a");
    let (status, told) = reload(&edge, "/plugins/reload").await;
    assert_eq!((status, &told["status"]), (422, &422.into()));
    let reloaded = told["plugins"].as_array().unwrap();
    assert_eq!(reloaded.len(), 1, "{told}");
    assert_eq!(
        (
            &reloaded[0]["plugin"],
            &reloaded[0]["changed"],
            &reloaded[0]["version"]
        ),
        (&"mine".into(), &true.into(), &2.into())
    );
    let kept = told["kept"].as_array().unwrap();
    assert_eq!(kept.len(), 1, "{told}");
    assert_eq!(
        (&kept[0]["plugin"], &kept[0]["version"]),
        (&"other".into(), &1.into())
    );
    let reason = kept[0]["reason"].as_str().unwrap();
    assert!(reason.contains("is no component"), "{reason}");
    assert_eq!(told["detail"], reason);
}

#[tokio::test]
async fn one_route_that_refuses_keeps_the_old_version_on_all() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let file = installed.file().display().to_string();
    let plugin = |config: &str| {
        format!(
            "plugins = [{{ name = \"mine\", grants = [\"clock\", \"log\"], config = {config} }}]"
        )
    };
    let edge = Edge::before(&origin)
        .with(&format!(
            "[wasm]\nwatch = \"0s\"\n[plugins.mine]\nfile = {file:?}\n\
             [[routes]]\npath = \"/a\"\norigin = \"app\"\n{}\n\
             [[routes]]\npath = \"/b\"\nname = \"the second\"\norigin = \"app\"\n{}",
            plugin("{}"),
            plugin("{ refuse_as = \"x-version-002\" }")
        ))
        .start();
    installed.write(&version(2));
    let (status, problem) = reload(&edge, "/plugins/mine/reload").await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 422);
    assert!(
        detail.contains(
            "route \"the second\": plugin \"mine\" refuses its config: not as x-version-002"
        ),
        "{detail}"
    );
    for path in ["/a", "/b"] {
        assert_eq!(seen_by(&edge.get(path).await), 1, "{path}");
    }
    installed.write(&version(3));
    assert_eq!(reload(&edge, "/plugins/mine/reload").await.0, 200);
    for path in ["/a/new", "/b/new"] {
        assert_eq!(seen_by(&edge.get(path).await), 3, "{path}");
    }
    assert_eq!(
        listed(&edge).await["routes"],
        serde_json::json!(["/a", "the second"])
    );
}

#[tokio::test]
async fn a_version_that_needs_more_than_the_route_grants_is_refused() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed.before(&origin).start();
    for (bytes, why) in [
        (tidegate_plugins::RATE_LIMIT, "needs \"limits\""),
        (b"\0asm\x01\0\0\0".as_slice(), "is a core module"),
        (b"\0asm\x0d\0\x01\0".as_slice(), "does not export"),
    ] {
        installed.write(bytes);
        let (status, problem) = reload(&edge, "/plugins/mine/reload").await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 422 && detail.contains(why), "{status} {detail}");
        assert_eq!(seen_by(&edge.get("/a").await), 1);
    }
}

#[tokio::test]
async fn a_pinned_plugin_is_not_replaced_by_another() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let first = installed.before(&origin).start();
    let sum = listed(&first).await["sha256"].as_str().unwrap().to_owned();
    let pinned = installed
        .before(&origin)
        .with(&format!("plugins.mine.sha256 = {sum:?}"))
        .start();
    installed.write(&version(2));
    let (_, told) = reload(&first, "/plugins/mine/reload").await;
    let other = told["plugins"][0]["sha256"].as_str().unwrap();
    let (status, problem) = reload(&pinned, "/plugins/mine/reload").await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 422);
    assert!(detail.contains(&sum) && detail.contains(other), "{detail}");
    assert_eq!(seen_by(&pinned.get("/a").await), 1);
    let listed = listed(&pinned).await;
    assert_eq!(
        (&listed["pinned"], &listed["version"]),
        (&true.into(), &1.into())
    );
}

#[tokio::test]
async fn the_list_says_what_is_used_and_how_it_fares() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed
        .before(&origin)
        .route(
            "name = \"all\"\nplugins = [{ name = \"list-fares\", grants = [\"clock\", \"log\"] }]",
        )
        .with(&format!(
            "[plugins]\nlist-fares = {{ file = {:?} }}\nmine = {{ file = \"builtin:rate-limit\" }}",
            installed.file().display().to_string()
        ))
        .start();
    let now = edge.clock.now().0;
    assert_eq!(edge.get("/panic").await.status, 503);
    let used = listed(&edge).await;
    for (key, value) in [
        ("name", "list-fares".into()),
        ("file", installed.file().display().to_string().into()),
        ("pinned", false.into()),
        ("kinds", serde_json::json!(["filter"])),
        (
            "hooks",
            serde_json::json!(["on-origin-response", "on-request", "on-response"]),
        ),
        ("needs", serde_json::json!(["clock", "log"])),
        ("routes", serde_json::json!(["all"])),
        ("version", 1.into()),
        ("loaded_at", now.into()),
        ("failures", serde_json::json!({ "trap": 1 })),
        ("refused", 0.into()),
        ("error", Value::Null),
    ] {
        assert_eq!(used[key], value, "{key}");
    }
    assert_eq!(used["sha256"].as_str().map(str::len), Some(64));
    let list = edge.admin("GET", "/plugins").send().await;
    let list: Value = serde_json::from_str(list.text()).unwrap();
    let builtin = &list["plugins"][1];
    assert_eq!(
        (&builtin["name"], &builtin["routes"]),
        (&"mine".into(), &serde_json::json!([]))
    );
    // What ships with the edge does not change.
    let (status, told) = reload(&edge, "/plugins/mine/reload").await;
    assert_eq!(
        (status, &told["plugins"][0]["changed"]),
        (200, &false.into())
    );
}

#[tokio::test]
async fn only_who_has_the_token_sees_and_reloads() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed
        .before(&origin)
        .with("server.admin_token = \"t0ken\"")
        .start();
    for (method, path, without, with) in [
        ("GET", "/plugins", 401, 200),
        ("HEAD", "/plugins", 401, 200),
        ("POST", "/plugins/reload", 401, 200),
        ("POST", "/plugins/mine/reload", 401, 200),
        ("POST", "/plugins/other/reload", 401, 404),
        ("POST", "/plugins", 401, 405),
        ("GET", "/plugins/reload", 401, 405),
        ("POST", "/plugins/mine", 404, 404),
    ] {
        let status = edge.admin(method, path).send().await.status;
        assert_eq!(status, without, "{method} {path}");
        let request = edge
            .admin(method, path)
            .with("authorization", "Bearer t0ken");
        assert_eq!(request.send().await.status, with, "{method} {path}");
    }
}

#[tokio::test]
async fn an_edge_that_ends_stops_watching() {
    let (origin, installed) = (Origin::answers("x"), Installed::version(1));
    let edge = installed
        .before(&origin)
        .with("wasm.watch = \"1h\"")
        .start();
    // Ends at once, and not when the next look is due.
    let ended = tokio::task::spawn_blocking(|| edge.drain());
    patiently("the end", ended).await.unwrap();
}

#[tokio::test]
async fn a_handler_is_replaced_with_the_instances_that_it_kept() {
    use tidegate_plugins::spin::{MISFIT, MISFIT_CLASSIC};
    for (kind, bytes) in [("misfit", MISFIT), ("misfit-classic", MISFIT_CLASSIC)] {
        let installed = Installed::version(1);
        installed.write(bytes);
        let edge = Edge::answered_by("replaced", kind)
            .with(&format!(
                "[wasm]\nwatch = \"0s\"\n[plugins.replaced]\nfile = {:?}\nreuse = 1000\ninstances = 1\nwait = \"20s\"",
                installed.file().display().to_string()
            ))
            .start();
        // How many requests an instance has had, this one included.
        for count in ["1", "2"] {
            assert_eq!(edge.get("/seen").await.text(), count, "{kind}");
        }
        installed.write(&component(bytes, "the second"));
        let (status, told) = reload(&edge, "/plugins/replaced/reload").await;
        assert_eq!(
            (status, &told["plugins"][0]["version"]),
            (200, &2.into()),
            "{kind}"
        );
        assert_eq!(edge.get("/seen").await.text(), "1", "{kind}");
        installed.write(&version(1));
        let (status, problem) = reload(&edge, "/plugins/replaced/reload").await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            status == 422 && detail.contains("\"replaced\""),
            "{kind}: {status} {detail}"
        );
        assert_eq!(edge.get("/seen").await.text(), "2", "{kind}");
        let listed = listed(&edge).await;
        assert_eq!(
            (&listed["kinds"][0], &listed["version"]),
            (&"handler".into(), &2.into())
        );
    }
}

#[tokio::test]
async fn what_a_component_is_listed_as_is_what_routes_use_it_for() {
    let origin = Origin::answers("x");
    let around =
        "[[routes]]\npath = \"/around\"\norigin = \"app\"\nmiddleware = [{ name = \"both\" }]";
    let instead = "[[routes]]\npath = \"/instead\"\nhandler = { name = \"both\" }";
    for (routes, kinds) in [
        (vec![around], serde_json::json!(["middleware"])),
        (vec![instead], serde_json::json!(["handler"])),
        (
            vec![around, instead],
            serde_json::json!(["handler", "middleware"]),
        ),
    ] {
        let edge = Edge::before(&origin)
            .with(&format!(
                "[plugins.both]\nfile = \"builtin:gate\"\n{}",
                routes.join("\n")
            ))
            .start();
        assert_eq!(listed(&edge).await["kinds"], kinds);
    }
}
