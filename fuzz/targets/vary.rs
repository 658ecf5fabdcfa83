//! `Vary`: its lines are the first half of the input; the second are two requests with an empty line between them.

#![no_main]

use http::header::VARY;
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::{field, fields, halves};
use tidegate_semantics::Vary;

fuzz_target!(|data: &[u8]| {
    let (response, requests) = halves(data);
    let response = field("vary", response);
    let (one, other) = halves(requests);
    let (one, other) = (fields(one), fields(other));

    let has_star = response.get_all(VARY).iter().any(|line| {
        let line = line.as_bytes();
        !line.contains(&b'"')
            && line
                .split(|byte| *byte == b',')
                .any(|name| name.trim_ascii() == b"*")
    });
    let Ok(vary) = Vary::of(&response, &one) else {
        return;
    };
    assert!(!has_star, "an asterisk matches nothing");
    assert!(
        vary.matches(&one),
        "a variant serves the request it was made for"
    );
    assert_eq!(vary.is_empty(), vary.names().next().is_none());
    assert!(
        vary.fields
            .is_sorted_by(|one, other| one.0.as_str() < other.0.as_str())
    );

    let names: Vec<_> = vary.names().cloned().collect();
    let asked = Vary::select(&names, &other);
    assert_eq!(
        vary == asked,
        vary.variant() == asked.variant(),
        "one encoding each"
    );
    assert_eq!(
        vary.matches(&other),
        vary == asked,
        "to match is to have the same normal form"
    );
    assert_eq!(asked.matches(&one), vary == asked, "either way");
    let told = vary.explain(&other);
    assert_eq!(
        told.iter()
            .all(|step| !step.finding.contains(": differs: ")),
        vary == asked
    );
});
