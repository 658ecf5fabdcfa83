use std::time::{Duration, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use proptest::prelude::*;
use tidegate_semantics::{
    ContentRange, Policy, Refusal, Selection, Storable, Timestamp, Vary, format_date,
    parse_content_range, parse_date, select,
};

use crate::support::{NOW, Scene, headers};

/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

fn field_value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![Just(b'\t'), b' '..=b'~', 128..=255u8];
    proptest::collection::vec(byte, 0..48)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).expect("no control characters"))
}

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("public".to_owned()),
        Just("must-understand, public".to_owned()),
        Just("immutable".to_owned()),
        Just("x=\"".to_owned()),
        Just("y=\"a, b\"".to_owned()),
        Just(String::new()),
        (0u64..1 << 40).prop_map(|age| format!("max-age={age}")),
        (0u64..1 << 40).prop_map(|age| format!("s-maxage={age}")),
        "[a-z-]{1,8}(=[!-~]{0,6})?",
    ]
}

proptest! {
    #[test]
    fn a_date_survives_printing_and_reading(seconds in 0..=LAST) {
        let time = Timestamp(seconds * 1000);
        let text = format_date(time);
        prop_assert_eq!(parse_date(text.as_bytes()), Some(time));
        let oracle = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        prop_assert_eq!(text.as_bytes(), oracle.as_bytes());
    }

    #[test]
    fn no_text_makes_the_date_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = parse_date(&text);
    }

    #[test]
    fn almost_dates_do_not_make_it_panic_either(text in "[A-Z][a-z]{2,8},? [0-9 -]{1,4}[A-Z][a-z]{2}[ -][0-9 ]{2,4} [0-9:.]{5,9} ?[A-Z0-9]{0,4}") {
        let _ = parse_date(text.as_bytes());
    }

    #[test]
    fn a_content_range_survives_printing_and_reading(first: u64, more in 0u64..1000, rest in 1u64..1000, known: bool) {
        let last = first.saturating_add(more).min(u64::MAX - 1);
        let first = first.min(last);
        let complete = known.then(|| last.saturating_add(rest));
        let range = ContentRange { first, last, complete };
        prop_assert_eq!(parse_content_range(&range.to_header_value()), Some(range));
    }

    #[test]
    fn selected_parts_lie_within_the_body(range in "bytes=([0-9]{0,3}-[0-9]{0,3},){0,20}[0-9]{0,3}-[0-9]{0,3}", length in 0u64..500) {
        let request = headers(&[&format!("Range: {range}")]);
        let parts = match select(&Method::GET, &request, StatusCode::OK, &HeaderMap::new(), length) {
            Selection::One(part) => vec![part],
            Selection::Many(parts) => parts,
            Selection::Whole | Selection::Unsatisfiable => vec![],
        };
        prop_assert!(parts.len() <= 16);
        for part in parts {
            prop_assert!(part.start() <= part.end() && *part.end() < length);
        }
    }

    #[test]
    fn a_single_range_survives_printing_and_selecting(first in 0u64..1000, more in 0u64..1000, rest in 1u64..1000) {
        let (last, length) = (first + more, first + more + rest);
        let request = headers(&[&format!("Range: bytes={first}-{last}")]);
        let selection = select(&Method::GET, &request, StatusCode::OK, &HeaderMap::new(), length);
        prop_assert_eq!(selection, Selection::One(first..=last));
    }

    #[test]
    fn an_age_never_runs_ahead_of_its_story(date in field_value(), age in field_value(), delay in 0u64..1 << 40, now: u64) {
        let mut scene = Scene::new(200, &["Cache-Control: max-age=60", "ETag: \"a\""]);
        scene.response.append("date", date);
        scene.response.append("age", age);
        scene.delay = Duration::from_millis(delay);
        let terms = scene.terms();
        let received = NOW.plus(scene.delay);
        prop_assert!(terms.born <= received, "nothing is born after its receipt");
        prop_assert!(terms.age(Timestamp(now)) >= Duration::ZERO);
        prop_assert!(terms.age(received) >= scene.delay);
        prop_assert_eq!(terms.is_fresh(Timestamp(now)), terms.age(Timestamp(now)) < terms.lifetime);
    }

    #[test]
    fn what_is_private_or_not_to_be_stored_never_is(
        before in proptest::collection::vec(directive(), 0..4),
        after in proptest::collection::vec(directive(), 0..4),
        word in prop_oneof![Just("private"), Just("PRIVATE"), Just("no-store"), Just("No-Store"), Just("private=\"a\"")],
        status in 200u16..600,
        split: bool,
        expires in field_value(),
        ttl in proptest::option::of(0u64..1000),
    ) {
        // A closed quote around the word would make it a part of another directive's argument, and
        // `must-understand` takes `no-store` back on purpose.
        let understood = before.iter().chain(&after).any(|text| text.contains("must-understand"));
        let quotes = before.iter().chain(&after).filter(|text| text.matches('"').count() == 1).count();
        prop_assume!(quotes < 2 && (word.starts_with(['p', 'P']) || !understood));
        let (before, after) = (before.join(","), after.join(","));
        let mut lines = vec!["ETag: \"a\"".to_owned()];
        if split {
            lines.extend([before, word.to_owned(), after].map(|text| format!("Cache-Control: {text}")));
        } else {
            lines.push(format!("Cache-Control: {before},{word},{after}"));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut scene = Scene::new(status, &lines);
        scene.response.append("expires", expires);
        scene.policy = Policy { ttl: ttl.map(Duration::from_secs), ..Policy::default() };
        prop_assert!(matches!(scene.verdict(), Storable::Refuse(_)), "{lines:?}");
    }

    #[test]
    fn a_variant_matches_its_own_request_and_agrees_with_its_encoding(
        names in proptest::collection::vec(prop_oneof![Just("accept-encoding"), Just("accept-language"), Just("cookie"), Just("foo")], 1..4),
        one in proptest::collection::vec((prop_oneof![Just("accept-encoding"), Just("accept-language"), Just("cookie"), Just("foo")], "[a-c,; q=01.\"]{0,12}"), 0..5),
        other in proptest::collection::vec((prop_oneof![Just("accept-encoding"), Just("accept-language"), Just("cookie"), Just("foo")], "[a-c,; q=01.\"]{0,12}"), 0..5),
    ) {
        let request = |lines: &[(&str, String)]| {
            let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            headers(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (one, other) = (request(&one), request(&other));
        let response = headers(&[&format!("Vary: {}", names.join(", "))]);
        let vary = Vary::of(&response, &one).map_err(Refusal::name).expect("no asterisk");
        prop_assert!(vary.matches(&one));
        let names: Vec<_> = vary.names().cloned().collect();
        let asked = Vary::select(&names, &other);
        prop_assert_eq!(vary == asked, vary.variant() == asked.variant());
        prop_assert!(vary != asked || vary.matches(&other), "equal variants match");
    }
}
