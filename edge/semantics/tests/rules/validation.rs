use http::{Method, StatusCode};
use tidegate_semantics::{
    Precondition, confirms, drop_conditions, evaluate, has_validator, head_agrees,
    make_conditional, merge_not_modified, not_modified_headers,
};

use crate::support::{DATE, HOUR_EARLIER, HOUR_LATER, headers};

#[test]
fn a_validation_carries_our_conditions_and_none_of_the_clients() {
    let client: &[&str] = &[
        "Accept: a",
        "If-None-Match: \"theirs\"",
        "If-Modified-Since: x",
        "If-Match: x",
        "If-Unmodified-Since: x",
        "Range: bytes=0-1",
        "If-Range: x",
    ];
    let modified = format!("Last-Modified: {DATE}");
    let since = format!("If-Modified-Since: {DATE}");
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("strong", &["ETag: \"a\""], &["If-None-Match: \"a\""]),
        ("weak", &["ETag: W/\"a\""], &["If-None-Match: W/\"a\""]),
        ("date", &[&modified], &[&since]),
        (
            "both",
            &["ETag: \"a\"", &modified],
            &["If-None-Match: \"a\"", &since],
        ),
        ("neither", &[], &[]),
        ("invalid", &["ETag:", "Last-Modified: 0"], &[]),
    ];
    for (rule, stored, conditions) in rows {
        let mut request = headers(client);
        make_conditional(&mut request, &headers(stored));
        let mut expected = headers(&["Accept: a"]);
        expected.extend(headers(conditions));
        assert_eq!(request, expected, "§4.3.1, {rule}");
        assert_eq!(
            has_validator(&headers(stored)),
            !conditions.is_empty(),
            "§4.3.1, {rule}"
        );
    }
    let mut request = headers(client);
    drop_conditions(&mut request);
    assert_eq!(request, headers(&["Accept: a"]));
}

#[test]
fn a_304_confirms_the_response_whose_validators_it_has() {
    let date = format!("Last-Modified: {DATE}");
    let other = format!("Last-Modified: {HOUR_LATER}");
    let rows: &[(&str, &[&str], &[&str], bool)] = &[
        ("strong", &["ETag: \"a\""], &["ETag: \"a\""], true),
        ("strong, another", &["ETag: \"a\""], &["ETag: \"b\""], false),
        (
            "strong of weak",
            &["ETag: W/\"a\""],
            &["ETag: \"a\""],
            false,
        ),
        ("weak of strong", &["ETag: \"a\""], &["ETag: W/\"a\""], true),
        ("weak", &["ETag: W/\"a\""], &["ETag: W/\"a\""], true),
        (
            "weak, another",
            &["ETag: W/\"a\""],
            &["ETag: W/\"b\""],
            false,
        ),
        ("tag of none", &[&date], &["ETag: \"a\""], false),
        ("date", &[&date], &[&date], true),
        ("date, another", &[&date], &[&other], false),
        ("date of none", &["ETag: \"a\""], &[&date], false),
        (
            "tag outweighs date",
            &["ETag: \"a\"", &date],
            &["ETag: \"a\"", &other],
            true,
        ),
        ("nothing", &["ETag: \"a\"", &date], &[], true),
    ];
    for (rule, stored, fresh, expected) in rows {
        assert_eq!(
            confirms(&headers(stored), &headers(fresh)),
            *expected,
            "§4.3.4, {rule}"
        );
    }
}

#[test]
fn a_304_renews_the_stored_fields() {
    let stored = headers(&[
        "Content-Length: 5",
        "Content-Type: text/plain",
        "Content-Encoding: gzip",
        "ETag: \"a\"",
        "Cache-Control: max-age=1",
        "Kept: yes",
        "Twice: 1",
        "Twice: 2",
        "Age: 50",
        &format!("Date: {HOUR_EARLIER}"),
    ]);
    let fresh = headers(&[
        "Content-Length: 0",
        "Content-Type: text/html",
        "Content-Encoding: br",
        "Content-Range: bytes 0-1/2",
        "ETag: W/\"a\"",
        "Cache-Control: max-age=9",
        "Cache-Control: public",
        "Twice: 3",
        "New: here",
        "Connection: hop",
        "Hop: 1",
        &format!("Date: {DATE}"),
    ]);
    let merged = headers(&[
        "Content-Length: 5",
        "Content-Type: text/plain",
        "Content-Encoding: gzip",
        "ETag: W/\"a\"",
        "Cache-Control: max-age=9",
        "Cache-Control: public",
        "Kept: yes",
        "Twice: 3",
        "New: here",
        &format!("Date: {DATE}"),
    ]);
    assert_eq!(merge_not_modified(&stored, &fresh), merged, "§3.2");
    let bare = merge_not_modified(&stored, &headers(&[]));
    assert!(
        !bare.contains_key("age") && !bare.contains_key("date"),
        "§4.2.3: of the old message"
    );
    assert_eq!(bare.get("kept"), stored.get("kept"), "§3.2");
}

#[test]
fn a_head_renews_as_a_304_does() {
    let stored = headers(&[
        "ETag: \"a\"",
        "Content-Length: 5",
        "Date: x",
        "Age: 4",
        "A: 1",
    ]);
    let head = headers(&[
        "ETag: \"a\"",
        "Content-Length: 5",
        "Date: y",
        "A: 2",
        "B: 3",
    ]);
    assert!(head_agrees(&stored, &head), "§4.3.5");
    let renewed = headers(&[
        "ETag: \"a\"",
        "Content-Length: 5",
        "Date: y",
        "A: 2",
        "B: 3",
    ]);
    assert_eq!(merge_not_modified(&stored, &head), renewed, "§4.3.5, §3.2");
}

#[test]
fn a_head_agrees_if_its_validators_and_length_do() {
    let stored = headers(&["ETag: \"a\"", "Content-Length: 5"]);
    let rows: &[(&[&str], bool)] = &[
        (&["ETag: \"a\"", "Content-Length: 5"], true),
        (&["ETag: \"a\""], true),
        (&[], true),
        (&["ETag: \"b\""], false),
        (&["ETag: \"a\"", "Content-Length: 6"], false),
        (&[&format!("Last-Modified: {DATE}")], false),
        (&["ETag: W/\"a\""], false),
        (&["Content-Length: 5", "Age: 9"], true),
        (&["ETag: \"a\"", "ETag: \"a\""], true),
    ];
    for (head, expected) in rows {
        assert_eq!(
            head_agrees(&stored, &headers(head)),
            *expected,
            "§4.3.5: {head:?}"
        );
    }
}

#[test]
fn a_clients_conditions_are_evaluated_against_the_stored_response() {
    use Precondition::{Failed, None, NotModified};
    let tag: &[&str] = &["ETag: \"a\""];
    let weak: &[&str] = &["ETag: W/\"a\""];
    let modified = format!("Last-Modified: {DATE}");
    let dated: &[&str] = &[&modified];
    let both: &[&str] = &["ETag: \"a\"", &modified];
    let date = format!("Date: {DATE}");
    let unmodified: &[&str] = &[&date];
    let since = |date: &str| format!("If-Modified-Since: {date}");
    let rows: Vec<(&str, &[&str], Vec<String>, Precondition)> = vec![
        ("none", tag, vec![], None),
        (
            "RFC 9110 §13.1.2, strong",
            tag,
            vec!["If-None-Match: \"a\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, weak asked",
            tag,
            vec!["If-None-Match: W/\"a\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, weak stored",
            weak,
            vec!["If-None-Match: \"a\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, both weak",
            weak,
            vec!["If-None-Match: W/\"a\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, another",
            tag,
            vec!["If-None-Match: \"b\"".into()],
            None,
        ),
        (
            "RFC 9110 §13.1.2, case",
            tag,
            vec!["If-None-Match: \"A\"".into()],
            None,
        ),
        (
            "RFC 9110 §13.1.2, list",
            tag,
            vec!["If-None-Match: \"x,\", W/\"a\" , \"c\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, in a quoted one",
            tag,
            vec!["If-None-Match: \"x, a\"".into()],
            None,
        ),
        (
            "RFC 9110 §13.1.2, lines",
            tag,
            vec!["If-None-Match: \"x\"".into(), "If-None-Match: \"a\"".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, any",
            tag,
            vec!["If-None-Match: *".into()],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.2, no tag stored",
            dated,
            vec!["If-None-Match: \"a\"".into()],
            None,
        ),
        (
            "RFC 9110 §13.1.3, equal",
            dated,
            vec![since(DATE)],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.3, later",
            dated,
            vec![since(HOUR_LATER)],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.3, earlier",
            dated,
            vec![since(HOUR_EARLIER)],
            None,
        ),
        (
            "RFC 9110 §13.1.3, RFC 850",
            dated,
            vec![since("Sunday, 06-Nov-33 08:49:37 GMT")],
            NotModified,
        ),
        (
            "RFC 9110 §13.1.3, asctime",
            dated,
            vec![since("Sun Nov  6 08:49:37 2033")],
            NotModified,
        ),
        ("RFC 9110 §13.1.3, no date", dated, vec![since("0")], None),
        (
            "RFC 9110 §13.1.3, several",
            dated,
            vec![since(DATE), since(DATE)],
            None,
        ),
        (
            "§4.3.2, Date instead",
            unmodified,
            vec![since(DATE)],
            NotModified,
        ),
        ("§4.3.2, nothing to compare", tag, vec![since(DATE)], None),
        (
            "RFC 9110 §13.2.2, tag wins, no match",
            both,
            vec!["If-None-Match: \"b\"".into(), since(DATE)],
            None,
        ),
        (
            "RFC 9110 §13.2.2, tag wins, match",
            both,
            vec!["If-None-Match: \"a\"".into(), since(HOUR_EARLIER)],
            NotModified,
        ),
        (
            "§4.3.2, the origin's",
            both,
            vec!["If-Match: \"a\"".into()],
            Failed,
        ),
        (
            "§4.3.2, the origin's",
            both,
            vec![format!("If-Unmodified-Since: {DATE}")],
            Failed,
        ),
    ];
    for (rule, stored, request, expected) in rows {
        let request: Vec<&str> = request.iter().map(String::as_str).collect();
        let (request, stored) = (headers(&request), headers(stored));
        let ask = |method, status| evaluate(&request, &method, status, &stored);
        assert_eq!(
            ask(Method::GET, StatusCode::OK),
            expected,
            "{rule}: {request:?}"
        );
        assert_eq!(ask(Method::HEAD, StatusCode::OK), expected, "{rule}: HEAD");
        assert_eq!(
            ask(Method::POST, StatusCode::OK),
            None,
            "RFC 9110 §13.1: POST"
        );
        if expected == NotModified {
            assert_eq!(
                ask(Method::GET, StatusCode::NOT_FOUND),
                None,
                "RFC 9110 §13.2.1: 404"
            );
        }
    }
}

#[test]
fn a_304_of_ours_has_what_renews_and_nothing_that_describes_a_body() {
    let modified = format!("Last-Modified: {DATE}");
    let stored = headers(&[
        "ETag: \"a\"",
        "Date: x",
        "Vary: a",
        "Cache-Control: b",
        "Expires: c",
        "Content-Location: /d",
        "Access-Control-Allow-Origin: *",
        "Content-Security-Policy: e",
        &modified,
        "Content-Length: 5",
        "Content-Type: t",
        "Content-Encoding: gzip",
        "Content-Language: en",
    ]);
    let expected = headers(&[
        "ETag: \"a\"",
        "Date: x",
        "Vary: a",
        "Cache-Control: b",
        "Expires: c",
        "Content-Location: /d",
        "Access-Control-Allow-Origin: *",
        "Content-Security-Policy: e",
    ]);
    assert_eq!(not_modified_headers(&stored), expected, "RFC 9110 §15.4.5");
    assert_eq!(
        not_modified_headers(&headers(&[&modified])),
        headers(&[&modified]),
        "without a tag"
    );
}
