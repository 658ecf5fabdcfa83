//! `Range`, `If-Range` and `Content-Range`. The first eight bytes are a length; then a request and a stored response.

#![no_main]

use http::header::{CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::{fields, halves};
use tidegate_semantics::{
    ContentRange, Selection, may_combine, parse_content_range, select, select_within,
};

fuzz_target!(|data: &[u8]| {
    let Some((length, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    let length = u64::from_le_bytes(*length);
    let (request, stored) = halves(text);
    let (request, stored) = (fields(request), fields(stored));
    let selection = select(&Method::GET, &request, StatusCode::OK, &stored, length);
    selected(&request, &selection, length);
    assert_eq!(
        select(&Method::HEAD, &request, StatusCode::OK, &stored, length),
        Selection::Whole
    );
    assert_eq!(
        may_combine(&request, &stored),
        may_combine(&stored, &request)
    );

    let parts: Vec<_> = stored
        .get_all(CONTENT_RANGE)
        .iter()
        .filter_map(parse_content_range)
        .collect();
    for part in &parts {
        assert!(
            part.first <= part.last && part.complete.is_none_or(|complete| part.last < complete)
        );
        assert_eq!(
            parse_content_range(&part.to_header_value()),
            Some(*part),
            "printed and read"
        );
        within(&request, &stored, *part);
        for other in &parts {
            joined(*part, *other);
        }
    }
});

fn selected(request: &HeaderMap, selection: &Selection, length: u64) {
    let parts = match selection {
        Selection::Whole => return,
        Selection::Unsatisfiable => &[][..],
        Selection::One(part) => std::slice::from_ref(part),
        Selection::Many(parts) => &parts[..],
    };
    assert!(request.contains_key(RANGE) && parts.len() <= 16);
    let mut sum = 0u64;
    for part in parts {
        assert!(part.start() <= part.end() && *part.end() < length);
        sum = sum.saturating_add(part.end() - part.start() + 1);
        let (first, last) = (*part.start(), *part.end());
        let range = ContentRange {
            first,
            last,
            complete: Some(length),
        };
        assert_eq!(parse_content_range(&range.to_header_value()), Some(range));
    }
    assert!(sum <= length, "no more than there is");
}

/// A part answers with what it has, and with what the whole would have answered.
fn within(request: &HeaderMap, stored: &HeaderMap, part: ContentRange) {
    let Some(range) = select_within(&Method::GET, request, stored, part) else {
        return;
    };
    assert!(
        part.first <= *range.start() && range.start() <= range.end() && *range.end() <= part.last
    );
    if let Some(length) = part.complete {
        let whole = select(&Method::GET, request, StatusCode::OK, stored, length);
        assert_eq!(whole, Selection::One(range));
    }
    let mut conditional = request.clone();
    conditional.append(IF_RANGE, "\"no such tag\"".parse().expect("a value"));
    assert_eq!(
        select_within(&Method::GET, &conditional, stored, part),
        None
    );
}

fn joined(one: ContentRange, other: ContentRange) {
    let joined = one.joined(other);
    assert_eq!(joined, other.joined(one));
    let Some(joined) = joined else { return };
    for part in [one, other] {
        assert!(joined.first <= part.first && part.last <= joined.last);
        assert!(part.complete.is_none() || part.complete == joined.complete);
    }
    let held = |part: ContentRange| u128::from(part.last) - u128::from(part.first) + 1;
    assert!(
        held(joined) <= held(one) + held(other),
        "nothing is missing between them"
    );
}
