//! Filters harm no exchange but their own, and what is wrong with them is said at load.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tidegate_edge::filters::{FailureKind, Filters, Flow, PluginError, failures};

use crate::filters_support::{
    Reach, answered, load, misbehaving, response_field, subject, text, used,
};

/// Time enough that only those who never end run out of it.
const PATIENT: &str = "deadline = \"5s\"";

/// How often a plugin has failed in a way.
fn count(plugin: &str, kind: FailureKind) -> u64 {
    let counted = failures();
    let found = counted
        .iter()
        .find(|(name, counted, _)| name == plugin && *counted == kind);
    found.map_or(0, |(_, _, count)| *count)
}

fn failed(flow: &Flow) -> Option<FailureKind> {
    match flow {
        Flow::Failed(failure) => Some(failure.kind),
        _ => None,
    }
}

/// What each misbehaviour is called, and the time it is given.
const MISBEHAVIOURS: [(&str, FailureKind, &str); 8] = [
    ("/loop", FailureKind::Deadline, "deadline = \"5ms\""),
    ("/panic", FailureKind::Trap, PATIENT),
    ("/trap", FailureKind::Trap, PATIENT),
    ("/recurse", FailureKind::Stack, PATIENT),
    ("/memory", FailureKind::Memory, PATIENT),
    ("/flood", FailureKind::HostCalls, PATIENT),
    ("/panic?changed", FailureKind::Trap, PATIENT),
    ("/bad-status", FailureKind::Answer, PATIENT),
];

#[tokio::test]
async fn every_misbehaviour_has_its_name_and_fails_a_closed_route() {
    let reach = Reach::new();
    for (path, kind, deadline) in MISBEHAVIOURS {
        let name = format!("closed{path}");
        let chain = misbehaving(&name, deadline);
        let flow = chain
            .begin(&reach.capabilities)
            .on_request(&mut subject(path))
            .await;
        let Flow::Failed(failure) = flow else {
            panic!("{path}: {flow:?}");
        };
        assert_eq!(
            (failure.plugin, failure.kind),
            (name.clone(), kind),
            "{path}"
        );
        assert_eq!(count(&name, kind), 1, "{path}");
    }
}

#[tokio::test]
async fn every_misbehaviour_is_passed_over_on_an_open_route_and_changes_nothing() {
    let reach = Reach::new();
    for (path, kind, deadline) in MISBEHAVIOURS {
        let name = format!("open{path}");
        let chain = misbehaving(&name, &format!("{deadline}\non_failure = \"open\""));
        let mut filters = chain.begin(&reach.capabilities);
        let mut subject = subject(path);
        assert!(
            matches!(filters.on_request(&mut subject).await, Flow::Continue),
            "{path}"
        );
        assert_eq!(subject.path_and_query.as_str(), path);
        assert!(
            subject.headers.is_empty() && subject.key_extra.is_empty(),
            "{path}"
        );
        assert_eq!(subject.authority, "edge.test");
        assert_eq!(count(&name, kind), 1, "{path}");
        // Its instance is gone, and with it its later hooks.
        let mut subject = answered("/", 200);
        assert!(
            matches!(filters.on_response(&mut subject).await, Flow::Continue),
            "{path}"
        );
        assert_eq!(response_field(&subject, "x-misbehaving"), None, "{path}");
        assert_eq!(count(&name, kind), 1, "{path}");
    }
}

#[tokio::test]
async fn hooks_for_responses_fail_like_those_for_requests() {
    let reach = Reach::new();
    for (path, kind, deadline) in [
        ("/origin/loop", FailureKind::Deadline, "deadline = \"5ms\""),
        ("/origin/panic", FailureKind::Trap, PATIENT),
    ] {
        let chain = misbehaving("origin-hooks", deadline);
        let flow = chain
            .begin(&reach.capabilities)
            .on_origin_response(&mut answered(path, 200))
            .await;
        assert_eq!(failed(&flow), Some(kind), "{path}");
    }
    for (path, kind, deadline) in [
        (
            "/response/loop",
            FailureKind::Deadline,
            "deadline = \"5ms\"",
        ),
        ("/response/panic", FailureKind::Trap, PATIENT),
    ] {
        let chain = misbehaving("response-hooks", deadline);
        let flow = chain
            .begin(&reach.capabilities)
            .on_response(&mut answered(path, 200))
            .await;
        assert_eq!(failed(&flow), Some(kind), "{path}");
    }
}

#[tokio::test]
async fn a_filter_that_behaves_changes_what_it_may() {
    let reach = Reach::new();
    let chain = misbehaving("behaves", PATIENT);
    let mut filters = chain.begin(&reach.capabilities);
    let mut subject = answered("/origin/keep", 200);
    assert!(matches!(
        filters.on_request(&mut subject).await,
        Flow::Continue
    ));
    assert_eq!(text(subject.headers.get("x-misbehaving")), Some("no"));
    assert!(matches!(
        filters.on_origin_response(&mut subject).await,
        Flow::Continue
    ));
    assert_eq!(subject.ttl, Some(std::time::Duration::from_secs(30)));
    assert_eq!(subject.tags, ["kept"]);
    assert!(!subject.headers.contains_key("x-late"));
    assert!(matches!(
        filters.on_response(&mut subject).await,
        Flow::Continue
    ));
    assert_eq!(response_field(&subject, "x-misbehaving"), Some("no"));
    let mut subject = answered("/origin/refuse", 200);
    let mut filters = chain.begin(&reach.capabilities);
    assert!(matches!(
        filters.on_origin_response(&mut subject).await,
        Flow::Continue
    ));
    assert!(subject.refuse_storing);
}

#[tokio::test]
async fn nothing_a_guest_says_ends_a_head_early() {
    let reach = Reach::new();
    let chain = misbehaving("smuggler", PATIENT);
    let mut subject_ = subject("/crlf");
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject_)
        .await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    assert_eq!(
        std::str::from_utf8(reply.body()).unwrap(),
        "invalid-value invalid-name invalid-value invalid-name forbidden forbidden \
         invalid-value invalid-value invalid-value"
    );
    assert!(subject_.headers.is_empty() && subject_.key_extra.is_empty());
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/crlf-reply"))
        .await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    let names: Vec<&str> = reply
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["x-good"]);
}

#[tokio::test]
async fn fields_and_log_lines_are_bounded_without_failing_the_guest() {
    let reach = Reach::new();
    let chain = misbehaving("bounded", PATIENT);
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/large-fields"))
        .await;
    let Flow::Respond(reply) = flow else {
        panic!("{flow:?}")
    };
    let added: usize = std::str::from_utf8(reply.body()).unwrap().parse().unwrap();
    assert!((1..=64).contains(&added), "{added}");
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/chatter"))
        .await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

#[tokio::test]
async fn a_guest_that_loops_lets_its_worker_serve_others() {
    let reach = Reach::new();
    let looping = misbehaving("looping", "deadline = \"500ms\"");
    let behaving = misbehaving("beside-looping", PATIENT);
    let ended = std::cell::RefCell::new(Vec::new());
    let run = async |mut filters: Filters, path: &'static str| {
        let flow = filters.on_request(&mut subject(path)).await;
        ended.borrow_mut().push((path, failed(&flow)));
    };
    // On this one thread, in this order: without yielding, the second would end after the first.
    tokio::join!(
        run(looping.begin(&reach.capabilities), "/loop"),
        run(behaving.begin(&reach.capabilities), "/fine"),
    );
    assert_eq!(
        ended.into_inner(),
        [("/fine", None), ("/loop", Some(FailureKind::Deadline))]
    );
}

#[tokio::test]
async fn instances_are_given_back_whatever_becomes_of_them() {
    let reach = Reach::new();
    let chain = misbehaving("given-back", PATIENT);
    // More than can be alive at once.
    for at in 0..4_200 {
        let path = if at % 2 == 0 { "/fine" } else { "/panic" };
        let flow = chain
            .begin(&reach.capabilities)
            .on_request(&mut subject(path))
            .await;
        let expected = (at % 2 == 1).then_some(FailureKind::Trap);
        assert_eq!(failed(&flow), expected, "{at}");
    }
}

#[tokio::test]
async fn an_exchange_that_is_dropped_half_way_takes_only_its_own_instance_along() {
    let reach = Reach::new();
    let chain = misbehaving("dropped", PATIENT);
    let mut filters = chain.begin(&reach.capabilities);
    let mut vacated = subject("/loop");
    tokio::select! {
        biased;
        flow = filters.on_request(&mut vacated) => panic!("{flow:?}"),
        () = tokio::task::yield_now() => {}
    }
    let flow = chain
        .begin(&reach.capabilities)
        .on_request(&mut subject("/fine"))
        .await;
    assert!(matches!(flow, Flow::Continue), "{flow:?}");
}

#[tokio::test]
async fn an_answer_goes_back_through_those_who_saw_the_request() {
    let reach = Reach::new();
    let plugins = load(&[
        ("first", "builtin:rate-limit"),
        ("second", "builtin:misbehaving"),
    ])
    .unwrap();
    let first = used(
        "name = \"first\"\ngrants = [\"limits\"]\ndeadline = \"5s\"\n\
         config = { name = \"seen\", windows = [{ limit = 1, seconds = 60 }] }",
    );
    let second = used("name = \"second\"\ngrants = [\"clock\", \"log\"]\ndeadline = \"5s\"");
    let chain = plugins.chain(&[first, second]).unwrap();
    for (expected, marked) in [
        ("\"seen\";r=0;t=60", Some("no")),
        ("\"seen\";r=0;t=60", None),
    ] {
        let mut filters = chain.begin(&reach.capabilities);
        let mut subject = answered("/", 200);
        let flow = filters.on_request(&mut subject).await;
        // The second time, the first filter answers, and the second has not seen the request.
        assert_eq!(matches!(flow, Flow::Respond(_)), marked.is_none());
        assert!(matches!(
            filters.on_response(&mut subject).await,
            Flow::Continue
        ));
        assert_eq!(response_field(&subject, "ratelimit"), Some(expected));
        assert_eq!(response_field(&subject, "x-misbehaving"), marked);
    }
}

#[tokio::test]
async fn hooks_that_a_filter_lacks_are_known_beforehand() {
    let reach = Reach::new();
    let plugins = load(&[("i", "builtin:invalidate")]).unwrap();
    let line = "name = \"i\"\ngrants = [\"purge\"]\nconfig = { rules = [] }";
    let filters = plugins
        .chain(&[used(line)])
        .unwrap()
        .begin(&reach.capabilities);
    let has = (
        filters.has_on_request(),
        filters.has_on_origin_response(),
        filters.has_on_response(),
    );
    assert_eq!(has, (false, true, false));
    assert!(plugins.chain(&[]).unwrap().is_empty());
}

#[tokio::test]
async fn a_hook_that_comes_again_runs_again() {
    let reach = Reach::new();
    let plugins = load(&[("i", "builtin:invalidate")]).unwrap();
    let line = "name = \"i\"\ngrants = [\"purge\"]\ndeadline = \"5s\"\n\
                config = { rules = [{ path = \"/a\", tags = [\"a\"] }] }";
    let mut filters = plugins
        .chain(&[used(line)])
        .unwrap()
        .begin(&reach.capabilities);
    for times in 1..=2 {
        let mut subject = answered("/a", 200);
        subject.method = http::Method::PUT;
        let flow = filters.on_origin_response(&mut subject).await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
        assert_eq!(reach.purged().len(), times);
    }
}

/// A component that imports an empty instance by this name.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend([7, 3, 1, 0x42, 0]);
    let length = u8::try_from(name.len()).unwrap();
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([5, 0]);
    bytes
}

#[test]
fn files_that_are_no_filter_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = |bytes: &[u8]| {
        let file = folder.path().join("plugin.wasm");
        std::fs::write(&file, bytes).unwrap();
        let loaded = load(&[("wrong", &file.display().to_string())]);
        loaded.err().expect("it is no filter").to_string()
    };
    for (bytes, part) in [
        (&b"hello"[..], "is no component"),
        (b"\0asm\x01\0\0\0", "is a core module and no component"),
        (
            b"\0asm\x0d\0\x01\0",
            "does not export \"configure\", as the worlds tidegate:plugin/filter and \
             tidegate:plugin/filter-values ask",
        ),
        (
            &importing("wasi:http/types@0.2.6"),
            "imports \"wasi:http/types@0.2.6\"",
        ),
        (
            &importing("tidegate:plugin/telepathy@0.1.0"),
            "imports \"tidegate:plugin/telepathy@0.1.0\"",
        ),
    ] {
        let error = error(bytes);
        assert!(
            error.contains("plugin \"wrong\"") && error.contains(part),
            "{error}"
        );
    }
    for (file, part) in [
        ("/nowhere/plugin.wasm", "cannot read /nowhere/plugin.wasm"),
        (
            "builtin:nothing",
            "nothing called \"nothing\" ships with tidegate, only rate-limit, rate-limit-jwt, invalidate",
        ),
    ] {
        let error = load(&[("wrong", file)])
            .err()
            .expect("there is none")
            .to_string();
        assert!(
            error.contains("plugin \"wrong\"") && error.contains(part),
            "{error}"
        );
    }
}

#[test]
fn a_route_is_refused_what_its_plugins_cannot_work_with() {
    let plugins = load(&[("m", "builtin:misbehaving"), ("r", "builtin:rate-limit")]).unwrap();
    let granted = "name = \"m\"\ngrants = [\"clock\", \"log\"]\n";
    for (line, part) in [
        ("name = \"x\"".to_owned(), "no plugin named \"x\""),
        (
            "name = \"m\"\ngrants = [\"clock\"]".to_owned(),
            "plugin \"m\" needs \"log\"",
        ),
        ("name = \"r\"".to_owned(), "plugin \"r\" needs \"limits\""),
        (
            format!("{granted}memory = \"65MiB\""),
            "memory of 68157440 bytes",
        ),
        (format!("{granted}memory = \"64KiB\""), "failed (memory)"),
        (
            format!("{granted}config = {{ refuse = \"no thanks\" }}"),
            "\"m\" refuses its config: no thanks",
        ),
        // Whoever reads it has a terminal.
        (
            format!("{granted}config = {{ refuse = \"a\\u001b[2J\\nb\" }}"),
            "refuses its config: a\\u{1b}[2J\\nb",
        ),
        (
            format!("{granted}config = {{ refse = 1 }}"),
            "unknown field `refse`",
        ),
        (
            format!("{granted}config = {{ a = inf }}"),
            "inf is no number in JSON",
        ),
        (
            format!("{granted}config = {{ loop_in_configure = true }}"),
            "failed (deadline)",
        ),
        (
            "name = \"r\"\ngrants = [\"limits\"]\nconfig = { windows = [] }".to_owned(),
            "\"r\" refuses its config: windows: 1 to 16 are needed",
        ),
    ] {
        let error: PluginError = plugins.chain(&[used(&line)]).err().expect("it is refused");
        assert!(error.to_string().contains(part), "{line}: {error}");
    }
    let long = "x".repeat(64 << 10);
    let used = used(&format!("{granted}config = {{ refuse = \"{long}\" }}"));
    let error = plugins.chain(&[used]).err().expect("it is refused");
    assert!(error.to_string().len() < 3 << 10);
}

#[test]
fn filters_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Filters>();
}
