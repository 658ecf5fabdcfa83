//! `Cache-Control` of responses and requests: the first half of the input and the second.

#![no_main]

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::{NOW, field, halves, judged};
use tidegate_semantics::directives::{Directives, RequestDirectives, Seconds};
use tidegate_semantics::{Policy, Reuse, Standing, Storable, reuse, stored_fields};

fuzz_target!(|data: &[u8]| {
    let (response, request) = halves(data);
    let response = field("cache-control", response);
    let request = field("cache-control", request);
    let directives = Directives::of(&response);

    let numbers = [
        directives.max_age,
        directives.s_maxage,
        directives.stale_while_revalidate,
        directives.stale_if_error,
    ];
    for number in numbers.into_iter().flatten() {
        assert!(number.or_zero() <= Duration::from_secs(1 << 31));
        assert!(number != Seconds::Invalid || number.or_zero().is_zero());
    }
    assert_eq!(
        directives,
        Directives::of(&upper_case(&response)),
        "no case"
    );
    let asked = RequestDirectives::of(&request);
    assert_eq!(
        asked,
        RequestDirectives::of(&upper_case(&request)),
        "no case"
    );

    // Without quotes there is nothing to misread: a word between commas is a directive.
    for line in response.get_all(CACHE_CONTROL) {
        let line = line.as_bytes();
        if line.contains(&b'"') {
            continue;
        }
        for word in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            assert!(!word.eq_ignore_ascii_case(b"no-store") || directives.no_store);
            assert!(!word.eq_ignore_ascii_case(b"private") || directives.private);
            assert!(!word.eq_ignore_ascii_case(b"no-cache") || directives.no_cache);
        }
    }

    for name in &directives.withheld {
        let mut with_it = response.clone();
        with_it.append(name, HeaderValue::from_static("1"));
        assert!(!stored_fields(&with_it, &Policy::default()).contains_key(name));
    }

    let mut forbidden = response.clone();
    forbidden.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    assert!(
        matches!(judged(&forbidden), Storable::Refuse(_)),
        "private is refused"
    );
    if !directives.must_understand {
        let mut forbidden = field("cache-control", b"no-store");
        for line in response.get_all(CACHE_CONTROL) {
            forbidden.append(CACHE_CONTROL, line.clone());
        }
        assert!(
            matches!(judged(&forbidden), Storable::Refuse(_)),
            "no-store is refused"
        );
    }

    let Storable::Keep(terms) = judged(&response) else {
        return;
    };
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    for age in [0, 1, 60, 86_400, u64::from(u32::MAX)] {
        let now = NOW.plus(Duration::from_secs(age));
        let answer = reuse(&request, &terms, now, Standing::Valid, &heeding);
        let stale = !terms.is_fresh(now);
        assert!(answer != Reuse::Fresh || !terms.always_validate);
        assert!(
            answer != Reuse::Fresh
                || !stale
                || (asked.max_stale.is_some() && !terms.must_revalidate)
        );
        assert!(answer != Reuse::Fresh || !asked.no_cache);
    }
});

fn upper_case(fields: &HeaderMap) -> HeaderMap {
    let mut upper = HeaderMap::new();
    for (name, value) in fields {
        let value = value.as_bytes().to_ascii_uppercase();
        upper.append(
            name,
            HeaderValue::from_bytes(&value).expect("letters stay letters"),
        );
    }
    upper
}
