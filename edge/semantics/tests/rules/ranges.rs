use std::ops::RangeInclusive;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use tidegate_semantics::{
    ContentRange, Selection, are_of_one_representation, merge_part, parse_content_range,
    range_validator, select, select_part,
};

use crate::support::{DATE, HOUR_EARLIER, headers};

#[test]
fn a_range_selects_a_part_or_is_ignored() {
    use Selection::{One, Unsatisfiable, Whole};
    let sixteen = format!("bytes={}", vec!["0-0"; 16].join(","));
    let seventeen = format!("bytes={}", vec!["0-0"; 17].join(","));
    let rows: Vec<(&str, &str, u64, Selection)> = vec![
        ("§14.1.2", "bytes=0-9", 100, One(0..=9)),
        ("§14.1.2, one byte", "bytes=0-0", 100, One(0..=0)),
        ("§14.1.2, open", "bytes=90-", 100, One(90..=99)),
        ("§14.1.2, suffix", "bytes=-10", 100, One(90..=99)),
        ("§14.1.2, long suffix", "bytes=-1000", 100, One(0..=99)),
        (
            "§14.1.2, beyond the end",
            "bytes=90-1000",
            100,
            One(90..=99),
        ),
        (
            "§14.1.2, huge",
            "bytes=90-99999999999999999999999",
            100,
            One(90..=99),
        ),
        ("§14.1.2, all", "bytes=0-", 100, One(0..=99)),
        ("§14.1, unit's case", "Bytes=0-9", 100, One(0..=9)),
        (
            "§14.1.1, several",
            "bytes=0-9, 20-29",
            100,
            Selection::Many(vec![0..=9, 20..=29]),
        ),
        (
            "§14.1.1, their order",
            "bytes=20-29,-5,0-9",
            100,
            Selection::Many(vec![20..=29, 95..=99, 0..=9]),
        ),
        ("§14.1.1, empty members", "bytes=0-9,,", 100, One(0..=9)),
        (
            "§14.1.2, one of two exists",
            "bytes=0-9,100-",
            100,
            One(0..=9),
        ),
        ("§14.2, more than there is", "bytes=0-,0-", 100, Whole),
        (
            "§14.2, sixteen",
            &sixteen,
            100,
            Selection::Many(vec![0..=0; 16]),
        ),
        ("§14.2, seventeen", &seventeen, 100, Whole),
        (
            "§14.1.2, first past the end",
            "bytes=100-",
            100,
            Unsatisfiable,
        ),
        (
            "§14.1.2, huge first",
            "bytes=99999999999999999999999-",
            100,
            Unsatisfiable,
        ),
        ("§14.1.2, empty suffix", "bytes=-0", 100, Unsatisfiable),
        ("§14.1.2, empty body", "bytes=0-", 0, Unsatisfiable),
        ("§14.1.2, suffix of an empty body", "bytes=-5", 0, Whole),
        ("§14.1.1, backwards", "bytes=9-0", 100, Whole),
        ("§14.1.1, one backwards", "bytes=0-1,9-0", 100, Whole),
        ("§14.1.1, another unit", "lines=0-9", 100, Whole),
        ("§14.1.1, nothing", "bytes=", 100, Whole),
        ("§14.1.1, a dash", "bytes=-", 100, Whole),
        ("§14.1.1, no dash", "bytes=5", 100, Whole),
        ("§14.1.1, letters", "bytes=a-b", 100, Whole),
        ("§14.1.1, signs", "bytes=+0-9", 100, Whole),
        ("§14.1.1, two dashes", "bytes=0-5-9", 100, Whole),
        ("§14.1.1, inner space", "bytes=0 -9", 100, Whole),
        ("§14.1.1, no unit", "0-9", 100, Whole),
    ];
    let stored = headers(&[]);
    for (rule, range, length, expected) in rows {
        let request = headers(&[&format!("Range: {range}")]);
        let ask = |method, status| select(&method, &request, status, &stored, length);
        assert_eq!(
            ask(Method::GET, StatusCode::OK),
            expected,
            "RFC 9110 {rule}: {range}"
        );
        assert_eq!(
            ask(Method::HEAD, StatusCode::OK),
            Whole,
            "RFC 9110 §14.2: HEAD"
        );
        assert_eq!(
            ask(Method::GET, StatusCode::NOT_FOUND),
            Whole,
            "RFC 9110 §14.2: 404"
        );
    }
    let twice = headers(&["Range: bytes=0-1", "Range: bytes=2-3"]);
    assert_eq!(
        select(&Method::GET, &twice, StatusCode::OK, &stored, 100),
        Whole
    );
    assert_eq!(
        select(&Method::GET, &stored, StatusCode::OK, &stored, 100),
        Whole
    );
}

#[test]
fn a_range_holds_only_if_if_range_does() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let date = format!("Date: {DATE}");
    let same_second = format!("Date: {HOUR_EARLIER}");
    let if_date = format!("If-Range: {HOUR_EARLIER}");
    let rows: &[(&str, &[&str], &[&str], bool)] = &[
        ("strong", &["ETag: \"a\""], &["If-Range: \"a\""], true),
        ("another", &["ETag: \"a\""], &["If-Range: \"b\""], false),
        (
            "weak stored",
            &["ETag: W/\"a\""],
            &["If-Range: \"a\""],
            false,
        ),
        (
            "weak asked",
            &["ETag: \"a\""],
            &["If-Range: W/\"a\""],
            false,
        ),
        (
            "both weak",
            &["ETag: W/\"a\""],
            &["If-Range: W/\"a\""],
            false,
        ),
        ("no tag", &[], &["If-Range: \"a\""], false),
        ("date", &[&modified, &date], &[&if_date], true),
        (
            "another date",
            &[&modified, &date],
            &[&format!("If-Range: {DATE}")],
            false,
        ),
        ("weak date", &[&modified, &same_second], &[&if_date], false),
        ("date without Date", &[&modified], &[&if_date], false),
        (
            "junk",
            &["ETag: \"a\"", &modified, &date],
            &["If-Range: x"],
            false,
        ),
        (
            "two",
            &["ETag: \"a\""],
            &["If-Range: \"a\"", "If-Range: \"a\""],
            false,
        ),
    ];
    for (rule, stored, condition, holds) in rows {
        let mut request = headers(&["Range: bytes=0-1"]);
        request.extend(headers(condition));
        let selection = select(
            &Method::GET,
            &request,
            StatusCode::OK,
            &headers(stored),
            100,
        );
        let expected = if *holds {
            Selection::One(0..=1)
        } else {
            Selection::Whole
        };
        assert_eq!(selection, expected, "RFC 9110 §13.1.5, {rule}");
    }
}

#[test]
fn a_content_range_is_read_strictly() {
    let range = |first, last, complete| {
        Some(ContentRange {
            first,
            last,
            complete,
        })
    };
    let rows = [
        ("bytes 0-9/100", range(0, 9, Some(100))),
        ("BYTES 0-9/*", range(0, 9, None)),
        ("bytes 0-99/100", range(0, 99, Some(100))),
        ("bytes 0-100/100", None),
        ("bytes 9-0/100", None),
        ("bytes */100", None),
        ("bytes 0-9", None),
        ("bytes 0-9/", None),
        ("bytes 0-9/x", None),
        ("bytes -9/100", None),
        ("bytes 0-/100", None),
        ("bytes=0-9/100", None),
        ("bytes  0-9/100", None),
        ("bytes 0-9/100 ", None),
        ("lines 0-9/100", None),
        ("", None),
    ];
    for (text, expected) in rows {
        let value = HeaderValue::from_static(text);
        assert_eq!(
            parse_content_range(&value),
            expected,
            "RFC 9110 §14.4: {text}"
        );
    }
    assert_eq!(ContentRange::unsatisfied(9), "bytes */9", "RFC 9110 §14.4");
}

#[test]
fn a_stored_part_answers_what_lies_within_it() {
    let known = part(10, 19, Some(100));
    let unknown = part(10, 19, None);
    let end = part(90, 99, Some(100));
    let rows: &[(&str, &str, ContentRange, Option<RangeInclusive<u64>>)] = &[
        ("§3.3, the same", "bytes=10-19", known, Some(10..=19)),
        ("§3.3, smaller", "bytes=12-13", known, Some(12..=13)),
        ("§3.3, begins before", "bytes=9-19", known, None),
        ("§3.3, ends behind", "bytes=10-20", known, None),
        ("§3.3, elsewhere", "bytes=30-40", known, None),
        ("§3.3, open", "bytes=10-", known, None),
        ("§3.3, open to the end", "bytes=95-", end, Some(95..=99)),
        ("§3.3, past the end", "bytes=95-200", end, Some(95..=99)),
        ("§3.3, suffix", "bytes=-5", end, Some(95..=99)),
        ("§3.3, longer suffix", "bytes=-11", end, None),
        ("§3.3, beyond all", "bytes=100-", end, None),
        (
            "§3.3, unknown length",
            "bytes=12-13",
            unknown,
            Some(12..=13),
        ),
        ("§3.3, unknown end", "bytes=12-", unknown, None),
        ("§3.3, unknown end", "bytes=-5", unknown, None),
        ("§3.3, several", "bytes=12-13,15-16", known, None),
        ("§3.3, malformed", "bytes=x", known, None),
    ];
    let stored = headers(&["ETag: \"a\""]);
    for (rule, range, part, expected) in rows {
        let request = headers(&[&format!("Range: {range}")]);
        let held =
            |range: &RangeInclusive<u64>| part.first <= *range.start() && *range.end() <= part.last;
        let selected = select_part(&Method::GET, &request, &stored, part.complete);
        assert_eq!(selected.filter(held), *expected, "{rule}: {range}");
        let head = select_part(&Method::HEAD, &request, &stored, part.complete);
        assert_eq!(head, None, "RFC 9110 §14.2: HEAD");
    }
    let with = |condition: &str| headers(&["Range: bytes=12-13", condition]);
    let select = |request| select_part(&Method::GET, &request, &stored, known.complete);
    assert_eq!(
        select(with("If-Range: \"a\"")),
        Some(12..=13),
        "RFC 9110 §13.1.5"
    );
    assert_eq!(select(with("If-Range: \"b\"")), None, "RFC 9110 §13.1.5");
    assert_eq!(select(headers(&[])), None, "§3.3: all of it");
}

/// Fields of a response, and which of them is its strong validator.
const DATED: &[&str] = &[
    "Last-Modified: Sat, 01 Nov 2025 00:00:00 GMT",
    "Date: Sat, 01 Nov 2025 00:00:05 GMT",
];
const DATED_LATER: &[&str] = &[
    "Last-Modified: Sat, 01 Nov 2025 00:00:01 GMT",
    "Date: Sat, 01 Nov 2025 00:00:05 GMT",
];
const DATED_WEAKLY: &[&str] = &[
    "Last-Modified: Sat, 01 Nov 2025 00:00:05 GMT",
    "Date: Sat, 01 Nov 2025 00:00:05 GMT",
];

#[test]
fn parts_are_combined_only_under_the_same_strong_validator() {
    let strong = &["ETag: \"a\""][..];
    let weak = &["ETag: W/\"a\""][..];
    let rows = [
        (strong, strong, true),
        (strong, &["ETag: \"b\""], false),
        (weak, weak, false),
        (strong, weak, false),
        (strong, &["X: y"], false),
        (&["X: y"], &["X: y"], false),
        (DATED, DATED, true),
        (DATED, DATED_LATER, false),
        (DATED_WEAKLY, DATED_WEAKLY, false),
        (DATED, strong, false),
        (
            &[DATED[0], DATED[1], "Content-Encoding: br"],
            &[DATED[0], DATED[1], "Content-Encoding: gzip"],
            false,
        ),
    ];
    for (one, other, expected) in rows {
        let combined = are_of_one_representation(&headers(one), &headers(other));
        assert_eq!(
            combined, expected,
            "§3.4, RFC 9110 §15.3.7.3: {one:?}, {other:?}"
        );
    }
}

#[test]
fn the_rest_is_asked_for_under_a_strong_validator_only() {
    let rows = [
        (&["ETag: \"a\""][..], Some("etag")),
        (&["ETag: W/\"a\""], None),
        (DATED, Some("last-modified")),
        (DATED_WEAKLY, None),
        (&["X: y"], None),
    ];
    for (stored, expected) in rows {
        let validator = range_validator(&headers(stored));
        let name = validator.as_ref().map(http::HeaderName::as_str);
        assert_eq!(name, expected, "RFC 9110 §13.1.5: {stored:?}");
    }
}

#[test]
fn a_combined_response_has_the_fields_of_both_and_the_newer_ones_win() {
    let stored = headers(&["ETag: \"a\"", "X: old", "Y: kept", "Age: 9", "Date: old"]);
    let part = headers(&[
        "ETag: \"a\"",
        "X: new",
        "Content-Range: bytes 0-1/9",
        "Content-Length: 2",
        "Connection: close",
    ]);
    let merged = merge_part(&stored, &part);
    let expected = headers(&["ETag: \"a\"", "X: new", "Y: kept"]);
    assert_eq!(merged, expected, "§3.4");
}

fn part(first: u64, last: u64, complete: Option<u64>) -> ContentRange {
    ContentRange {
        first,
        last,
        complete,
    }
}
