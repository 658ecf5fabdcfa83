//! `Range`, `If-Range` and `Content-Range`. The first eight bytes are a length; then a request and a stored response.

#![no_main]

use http::header::{CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use http::{Method, StatusCode};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::{fields, halves};
use tidegate_semantics::{
    ContentRange, Selection, are_of_one_representation, parse_content_range, select, select_part,
};
use tidegate_stored::{Content, Parts};

fuzz_target!(|data: &[u8]| {
    let Some((length, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    // The last number stands for those that do not fit, and is no length.
    let length = u64::from_le_bytes(*length).min(u64::MAX - 1);
    let (request, stored) = halves(text);
    let (request, stored) = (fields(request), fields(stored));
    let selection = select(&Method::GET, &request, StatusCode::OK, &stored, length);
    selected(&request, &selection, length);
    assert_eq!(
        select(&Method::HEAD, &request, StatusCode::OK, &stored, length),
        Selection::Whole
    );
    assert_eq!(
        are_of_one_representation(&request, &stored),
        are_of_one_representation(&stored, &request)
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
    }
    combine(&parts);
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

/// What a part answers with is what the whole would have answered.
fn within(request: &HeaderMap, stored: &HeaderMap, part: ContentRange) {
    let Some(range) = select_part(&Method::GET, request, stored, part.complete) else {
        return;
    };
    assert!(range.start() <= range.end());
    if let Some(length) = part.complete {
        let whole = select(&Method::GET, request, StatusCode::OK, stored, length);
        assert_eq!(whole, Selection::One(range));
    }
    let mut conditional = request.clone();
    conditional.append(IF_RANGE, "\"no such tag\"".parse().expect("a value"));
    assert_eq!(
        select_part(&Method::GET, &conditional, stored, part.complete),
        None
    );
}

/// Parts of one representation, whose byte at each position is known, put together in turn.
fn combine(ranges: &[ContentRange]) {
    let byte = |position: u64| (position % 251) as u8;
    let mut content: Option<Content> = None;
    for range in ranges.iter().filter(|range| range.last < 4096) {
        let bytes: Bytes = (range.first..=range.last).map(byte).collect();
        let part = Parts::of(range, bytes).expect("as many bytes as announced");
        let next = match &content {
            None => Some(part.clone().into_content()),
            Some(content) => content.with(&part, 8192),
        };
        let Some(next) = next else { continue };
        let held = next.slice(&(range.first..=range.last));
        assert!(held.is_some(), "what was added is there");
        match &next {
            Content::Whole(bytes) => {
                assert!(bytes.iter().zip(0..).all(|(held, at)| *held == byte(at)));
            }
            Content::Parts(parts) => {
                let mut end = None;
                for range in parts.ranges() {
                    assert!(end.is_none_or(|end| *range.start() > end + 1), "apart");
                    end = Some(*range.end());
                    let held = next.slice(&range).expect("it is there");
                    let expected = (*range.start()..=*range.end()).map(byte);
                    assert!(held.iter().copied().eq(expected));
                }
                if let Some(gap) = parts.gap() {
                    let held = (gap.before.len() + gap.after.len()) as u64;
                    assert_eq!(Some(held + gap.missing_bytes()), parts.complete);
                    assert_eq!(Some(gap.complete()), parts.complete);
                }
            }
        }
        content = Some(next);
    }
}
