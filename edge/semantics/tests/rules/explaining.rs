use http::header::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use tidegate_semantics::{Exchange, Policy, Refusal, Standing, Step, Vary, reuse, storing};

use crate::support::{NOW, Scene, headers, seconds, terms_of};

fn told(steps: &[Step], rule: &str) -> Vec<String> {
    let of_rule = steps.iter().filter(|step| step.rule == rule);
    of_rule.map(|step| step.finding.clone()).collect()
}

fn storing_steps(scene: &Scene) -> Vec<Step> {
    let exchange = Exchange {
        method: &scene.method,
        path: scene.path,
        request: &scene.request,
        status: scene.status,
        response: &scene.response,
        requested_at: NOW,
        received_at: NOW.plus(scene.delay),
    };
    storing::explain(&exchange, &scene.policy)
}

#[test]
fn storing_tells_what_every_rule_finds() {
    let mut scene = Scene::new(
        200,
        &["Cache-Control: private, max-age=60", "Vary: *", "Age: 7"],
    );
    scene.delay = seconds(3);
    let steps = storing_steps(&scene);
    assert_eq!(told(&steps, "governing-field"), ["cache-control"]);
    assert_eq!(told(&steps, "method"), ["passed"]);
    assert_eq!(told(&steps, "private"), ["refused: private"]);
    assert_eq!(
        told(&steps, "vary"),
        ["refused: vary-star"],
        "also after a refusal"
    );
    assert_eq!(told(&steps, "lifetime"), ["60 s by max-age"]);
    assert_eq!(told(&steps, "age"), ["10 s on arrival"]);
    let section = |rule| {
        steps
            .iter()
            .find(|step| step.rule == rule)
            .map(|step| step.section)
    };
    assert_eq!(section("private"), Some("RFC 9111 §5.2.2.7"));
    assert_eq!(section("deception"), Some("route: deception_armour"));

    let targeted = Scene::new(200, &["CDN-Cache-Control: max-age=60, no-cache"]);
    let steps = storing_steps(&targeted);
    assert_eq!(told(&steps, "governing-field"), ["cdn-cache-control"]);
    assert_eq!(
        told(&steps, "stale-use"),
        ["none, no-cache: validated before each use"]
    );
}

#[test]
fn every_rule_of_storing_has_a_name_of_its_own() {
    let steps = storing_steps(&Scene::new(200, &[]));
    let mut names: Vec<_> = steps.iter().map(|step| step.rule).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), steps.len());
    let is_sourced =
        |step: &Step| step.section.starts_with("RFC ") || step.section.starts_with("route: ");
    assert!(steps.iter().all(is_sourced));
}

#[test]
fn reuse_tells_the_rules_up_to_the_one_that_decides() {
    let both = "max-age=60, stale-while-revalidate=30, stale-if-error=90";
    let steps = |control: &str, age: u64, standing| {
        let terms = terms_of(&[&format!("Cache-Control: {control}")]);
        let now = NOW.plus(seconds(age));
        reuse::explain(&headers(&[]), &terms, now, standing, &Policy::default())
    };
    let fresh = steps(both, 10, Standing::Valid);
    assert_eq!(
        told(&fresh, "freshness"),
        ["fresh: age 10 s, lifetime 60 s by max-age"]
    );
    assert_eq!(told(&fresh, "reuse"), ["served"]);
    assert!(told(&fresh, "stale-if-error").is_empty());

    let stale = steps(both, 95, Standing::Valid);
    assert_eq!(
        told(&stale, "stale-while-revalidate"),
        ["past: stale for 35 s of 30 s"]
    );
    assert_eq!(
        told(&stale, "stale-if-error"),
        ["within: stale for 35 s of 90 s"]
    );
    assert_eq!(
        told(&stale, "reuse"),
        ["validated: expired, served if the origin fails"]
    );

    let behind = steps(both, 70, Standing::Valid);
    assert_eq!(told(&behind, "reuse"), ["served while it is refreshed"]);
    let firm = steps("s-maxage=60", 70, Standing::Valid);
    assert_eq!(told(&firm, "must-revalidate"), ["never used stale"]);
    let no_cache = steps("no-cache", 0, Standing::Valid);
    assert_eq!(told(&no_cache, "reuse"), ["validated: no-cache"]);
    let purged = steps("max-age=60", 10, Standing::SoftPurged(NOW.plus(seconds(6))));
    assert_eq!(told(&purged, "purges"), ["softly purged 4 s ago"]);
    assert_eq!(told(&purged, "reuse"), ["validated: soft-purged"]);
    let unknown = steps("max-age=60", 10, Standing::BelowFloor);
    assert_eq!(told(&unknown, "purges"), ["unknown position"]);
}

#[test]
fn reuse_tells_of_request_directives_where_they_are_heeded() {
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    let steps = |asked: &str, age: u64, policy: &Policy| {
        let terms = terms_of(&["Cache-Control: max-age=60"]);
        let request = headers(&[&format!("Cache-Control: {asked}")]);
        let now = NOW.plus(seconds(age));
        reuse::explain(&request, &terms, now, Standing::Valid, policy)
    };
    let old = steps("max-age=5", 10, &heeding);
    assert_eq!(told(&old, "request-max-age"), ["too old: age 10 s of 5 s"]);
    assert_eq!(told(&old, "reuse"), ["validated: request-directive"]);
    let brief = steps("min-fresh=55", 10, &heeding);
    assert_eq!(
        told(&brief, "request-min-fresh"),
        ["too little left: 50 s of 55 s"]
    );
    let content = steps("max-stale=20", 70, &heeding);
    assert_eq!(
        told(&content, "request-max-stale"),
        ["accepted: stale for 10 s"]
    );
    assert_eq!(told(&content, "reuse"), ["served"]);
    let alone = steps("only-if-cached", 70, &heeding);
    assert_eq!(told(&alone, "reuse"), ["refused: only-if-cached"]);
    let ignored = steps("max-age=5", 10, &Policy::default());
    assert!(
        ignored
            .iter()
            .all(|step| !step.rule.starts_with("request-"))
    );
}

#[test]
fn vary_tells_its_fields_and_no_secrets() {
    let response = headers(&["Vary: Accept-Language, Cookie, Foo"]);
    let stored = headers(&["Accept-Language: de", "Cookie: secret=1"]);
    let asked = headers(&["Accept-Language: DE", "Cookie: secret=2"]);
    let vary = Vary::of(&response, &stored).expect("no asterisk");
    let findings = told(&vary.explain(&asked), "vary");
    assert_eq!(
        findings,
        [
            "accept-language: same: stored \"de\", asked \"de\"",
            "cookie: differs: stored present, asked present",
            "foo: same: stored absent, asked absent",
        ]
    );
    assert_eq!(
        told(&Vary::default().explain(&asked), "vary"),
        ["on nothing"]
    );
}

proptest! {
    /// What is told is what is decided: the first refusal that is told is the one that is given.
    #[test]
    fn the_first_refusal_told_is_the_one_given(
        status in 100u16..600,
        control in "((private|no-store|no-cache|public|must-understand|max-age=[0-9]{1,3}|s-maxage=60|x)(,|; ))*max-age=6",
        more in proptest::collection::vec(prop_oneof![
            Just("Vary: *"), Just("Set-Cookie: a"), Just("ETag: \"a\""), Just("Content-Range: bytes 0-1/2"),
            Just("Surrogate-Key: a b c"), Just("Expires: 0"), Just("CDN-Cache-Control: max-age=0"),
        ], 0..4),
        authorized: bool,
        ttl in proptest::option::of(0u64..9),
    ) {
        let mut scene = Scene::new(status, &more);
        scene.response.insert("cache-control", HeaderValue::try_from(control).expect("a value"));
        scene.request = if authorized { headers(&["Authorization: x"]) } else { HeaderMap::new() };
        scene.policy = Policy { ttl: ttl.map(seconds), max_tags: 2, ..Policy::default() };
        let steps = storing_steps(&scene);
        let first = steps.iter().find_map(|step| step.finding.strip_prefix("refused: "));
        prop_assert_eq!(first, scene.refusal().map(Refusal::name));
    }
}
