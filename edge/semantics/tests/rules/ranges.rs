use std::ops::RangeInclusive;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use tidegate_semantics::{
    ContentRange, Selection, may_combine, parse_content_range, select, select_within,
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
        let selected = select_within(&Method::GET, &request, &stored, *part);
        assert_eq!(selected, *expected, "{rule}: {range}");
        let head = select_within(&Method::HEAD, &request, &stored, *part);
        assert_eq!(head, None, "RFC 9110 §14.2: HEAD");
    }
    let with = |condition: &str| headers(&["Range: bytes=12-13", condition]);
    let select = |request| select_within(&Method::GET, &request, &stored, known);
    assert_eq!(
        select(with("If-Range: \"a\"")),
        Some(12..=13),
        "RFC 9110 §13.1.5"
    );
    assert_eq!(select(with("If-Range: \"b\"")), None, "RFC 9110 §13.1.5");
    assert_eq!(select(headers(&[])), None, "§3.3: all of it");
}

#[test]
fn parts_are_combined_only_under_the_same_strong_validator() {
    let rows = [
        ("ETag: \"a\"", "ETag: \"a\"", true),
        ("ETag: \"a\"", "ETag: \"b\"", false),
        ("ETag: W/\"a\"", "ETag: W/\"a\"", false),
        ("ETag: \"a\"", "ETag: W/\"a\"", false),
        ("ETag: \"a\"", "X: y", false),
        ("X: y", "X: y", false),
    ];
    for (one, other, expected) in rows {
        let combined = may_combine(&headers(&[one]), &headers(&[other]));
        assert_eq!(
            combined, expected,
            "§3.4, RFC 9110 §15.3.7.3: {one}, {other}"
        );
    }
}

#[test]
fn parts_join_where_nothing_is_missing_between_them() {
    let hundred = Some(100);
    let rows = [
        (
            "beside",
            part(0, 9, hundred),
            part(10, 19, hundred),
            Some(part(0, 19, hundred)),
        ),
        (
            "overlapping",
            part(5, 30, hundred),
            part(10, 40, hundred),
            Some(part(5, 40, hundred)),
        ),
        (
            "within",
            part(5, 30, None),
            part(10, 12, hundred),
            Some(part(5, 30, hundred)),
        ),
        ("a gap", part(0, 8, hundred), part(10, 19, hundred), None),
        (
            "another length",
            part(0, 9, hundred),
            part(10, 19, Some(90)),
            None,
        ),
        (
            "too long for it",
            part(0, 120, None),
            part(10, 19, hundred),
            None,
        ),
        (
            "unknown",
            part(0, 9, None),
            part(10, u64::MAX, None),
            Some(part(0, u64::MAX, None)),
        ),
    ];
    for (rule, one, other, expected) in rows {
        assert_eq!(one.joined(other), expected, "§3.4, {rule}");
        assert_eq!(other.joined(one), expected, "§3.4, {rule}, turned");
    }
    assert!(part(0, 99, hundred).is_whole());
    assert!(!part(0, 98, hundred).is_whole() && !part(1, 99, hundred).is_whole());
    assert!(!part(0, 99, None).is_whole() && !part(0, u64::MAX, None).is_whole());
}

fn part(first: u64, last: u64, complete: Option<u64>) -> ContentRange {
    ContentRange {
        first,
        last,
        complete,
    }
}
