//! `tidegate check` says what is wrong with a configuration, where, and by its exit code.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::command::{Ended, finish, repository, tidegate};

fn check(text: &str) -> Ended {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("edge.toml");
    fs::write(&file, text).expect("a temporary file can be written");
    finish(tidegate().arg("check").arg(&file))
}

const GOOD: &str = "[origins.app]\nurl = \"http://127.0.0.1:7070\"\n[[routes]]\norigin = \"app\"\n";

#[test]
fn a_good_file_is_counted() {
    let checked = check(GOOD);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(
        checked.out.contains("1 origin, 1 route, 0 plugins"),
        "{}",
        checked.out
    );
}

#[test]
fn handlers_are_checked_as_what_they_are() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let component = folder.path().join("greeting.wasm");
    fs::write(&component, tidegate_plugins::spin::GREETING).expect("it can be written");
    let with = |grants: &str| {
        check(&format!(
            "[plugins.greeting]\nfile = {component:?}\n[[routes]]\n[routes.handler]\nname = \"greeting\"\n{grants}\n"
        ))
    };
    let checked = with("grants = [\"kv\"]\nconfig = { greeting = \"Hello\" }");
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    let checked = with("");
    assert_eq!(checked.code, Some(2), "{}", checked.out);
    assert!(checked.err.contains("\"kv\""), "{}", checked.err);
}

#[test]
fn a_bad_file_ends_with_2_and_says_what_and_where() {
    let rate_limit = "[plugins.limit]\nfile = \"builtin:rate-limit\"\n";
    let on_route =
        |line: &str| format!("{rate_limit}{GOOD}[[routes.plugins]]\nname = \"limit\"\n{line}\n");
    let rows = [
        (
            "an unknown key",
            format!("{GOOD}colour = \"red\"\n"),
            vec!["colour", "line 5"],
        ),
        ("no TOML", format!("{GOOD}[[routes\n"), vec!["line 5"]),
        (
            "a variable that is not set",
            GOOD.replace("127.0.0.1", "${TIDEGATE_NO_SUCH_HOST}"),
            vec!["line 2", "TIDEGATE_NO_SUCH_HOST"],
        ),
        (
            "an unknown origin",
            GOOD.replace("origin = \"app\"", "origin = \"blog\""),
            vec!["no origin named \"blog\""],
        ),
        (
            "no route",
            "[origins.app]\nurl = \"http://a\"\nroutes = []\n".to_owned(),
            vec!["rout"],
        ),
        (
            "an unknown plugin",
            format!("{GOOD}[[routes.plugins]]\nname = \"limits\"\n"),
            vec!["no plugin named \"limits\""],
        ),
        (
            "a built-in that is none",
            on_route("grants = [\"limits\", \"config\"]")
                .replace("builtin:rate-limit", "builtin:rate"),
            vec!["nothing called \"rate\" ships"],
        ),
        (
            "a plugin's file that is not there",
            on_route("grants = [\"limits\", \"config\"]")
                .replace("builtin:rate-limit", "nowhere.wasm"),
            vec!["nowhere.wasm"],
        ),
        (
            "a grant that is missing",
            on_route("grants = [\"config\"]"),
            vec!["limits"],
        ),
        (
            "an unknown grant",
            on_route("grants = [\"everything\"]"),
            vec!["everything", "line 9"],
        ),
        (
            "a plugin's configuration that it refuses",
            on_route("grants = [\"limits\", \"config\"]\nconfig = { windows = \"none\" }"),
            vec!["limit"],
        ),
    ];
    for (what, text, says) in rows {
        let checked = check(&text);
        assert_eq!(
            checked.code,
            Some(2),
            "{what}: {}{}",
            checked.out,
            checked.err
        );
        assert!(checked.err.contains("edge.toml"), "{what}: {}", checked.err);
        for word in says {
            assert!(
                checked.err.contains(word),
                "{what}: {word:?} is not in: {}",
                checked.err
            );
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let checked = finish(tidegate().args(["check", "/nowhere/edge.toml"]));
    assert_eq!(checked.code, Some(2));
    assert!(
        checked.err.contains("/nowhere/edge.toml"),
        "{}",
        checked.err
    );
}

#[test]
fn validate_and_t_are_other_names_for_it() {
    for name in ["validate", "-t"] {
        let checked = finish(tidegate().args([name, "/nowhere/edge.toml"]));
        assert!(
            checked.err.contains("cannot read /nowhere/edge.toml"),
            "{name}: {}",
            checked.err
        );
    }
}

#[test]
fn the_shipped_configurations_are_good() {
    for file in ["tidegate.toml", "tidegate.fly.toml"] {
        let checked = finish(
            tidegate()
                .arg("check")
                .arg(repository(file))
                .env("TIDEGATE_ADMIN_TOKEN", "a")
                .env("TIDEGATE_PURGE_TOKEN", "b")
                .env("TIDEGATE_SERVICE_TOKEN", "c")
                .env(
                    "TIDEGATE_ORIGIN",
                    "http://origin.process.tidegate.internal:7070",
                )
                .env("TIDEGATE_MEMORY", "64MiB")
                .env("FLY_MACHINE_ID", "d8913e2f")
                .env("FLY_REGION", "fra")
                .env("REDIS_URL", "redis://127.0.0.1:6379/"),
        );
        assert_eq!(checked.code, Some(0), "{file}: {}", checked.err);
    }
}

#[test]
fn secrets_have_no_defaults_in_the_shipped_configurations() {
    let checked = finish(tidegate().arg("check").arg(repository("tidegate.toml")));
    assert_eq!(checked.code, Some(2));
    assert!(
        checked.err.contains("TIDEGATE_ADMIN_TOKEN is not set"),
        "{}",
        checked.err
    );
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [
        &["run"][..],
        &["purge"],
        &["check"],
        &["dance"],
        &["purge", "--all", "--admin", "https://a"],
    ] {
        assert_eq!(
            finish(tidegate().args(arguments)).code,
            Some(2),
            "{arguments:?}"
        );
    }
    let unknown_level = finish(
        tidegate()
            .args(["check", "x"])
            .env("TIDEGATE_LOG", "tidegate=loud"),
    );
    assert_eq!(unknown_level.code, Some(2), "{}", unknown_level.err);
    assert!(
        unknown_level.err.contains("TIDEGATE_LOG"),
        "{}",
        unknown_level.err
    );
}

#[test]
fn a_folder_for_compiled_code_is_checked_and_not_used() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let code = folder.path().join("code");
    let checked = || {
        check(&format!(
            "[wasm]\ncache = {code:?}\n[plugins.limit]\nfile = \"builtin:rate-limit\"\n{GOOD}"
        ))
    };
    // It would be made, by whoever runs the edge.
    assert_eq!(checked().code, Some(0));
    assert!(!code.exists());
    fs::create_dir(&code).expect("the folder is ours");
    let with_mode = |path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    with_mode(&code, 0o777);
    let refused = checked();
    assert_eq!(refused.code, Some(2), "{}", refused.out);
    assert!(
        refused.err.contains("others than its owner may write"),
        "{}",
        refused.err
    );
    with_mode(&code, 0o700);
    let key = code.join("key");
    fs::write(&key, "a key that was cut short").expect("the folder is ours");
    with_mode(&key, 0o644);
    let refused = checked();
    assert_eq!(refused.code, Some(2), "{}", refused.out);
    assert!(
        refused.err.contains("others may read it"),
        "{}",
        refused.err
    );
    with_mode(&key, 0o600);
    assert_eq!(checked().code, Some(0));
    let left = fs::read_dir(&code).expect("it is ours");
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["key"]);
}
