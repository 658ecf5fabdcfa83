//! Content codings (RFC 9110 §8.4, §12.5.3).

use http::StatusCode;
use tidegate_semantics::{
    Coding, describe_encoded, has_dated_range, is_of_type, may_be_encoded, negotiate,
    vary_on_coding, weaken_confirmed_tag,
};

use crate::support::headers;

/// What we offer, the best first.
const OFFERED: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// The lines of a request, and the coding of its response.
const REQUESTS: &[(&str, &[&str], Option<Coding>)] = &[
    ("§12.5.3, absent: not asked for", &[], None),
    (
        "§12.5.3, empty: none is wanted",
        &["accept-encoding:"],
        None,
    ),
    (
        "§12.5.3, one",
        &["accept-encoding: gzip"],
        Some(Coding::Gzip),
    ),
    (
        "§12.5.3, equal weights: ours decides",
        &["accept-encoding: gzip, deflate, br, zstd"],
        Some(Coding::Zstd),
    ),
    (
        "§12.5.3, the highest weight",
        &["accept-encoding: zstd;q=0.5, br;q=0.9, gzip;q=0.8"],
        Some(Coding::Brotli),
    ),
    (
        "§12.4.2, three decimals",
        &["accept-encoding: gzip;q=0.001, br;q=0.002"],
        Some(Coding::Brotli),
    ),
    (
        "§5.3, several lines",
        &["accept-encoding: gzip;q=0.5", "accept-encoding: br"],
        Some(Coding::Brotli),
    ),
    (
        "§5.6.1, empty members",
        &["accept-encoding: , gzip,,"],
        Some(Coding::Gzip),
    ),
    (
        "§8.4.1, in any case",
        &["accept-encoding: GZip; Q=1.0"],
        Some(Coding::Gzip),
    ),
    (
        "§8.4.1.3, x-gzip",
        &["accept-encoding: x-gzip"],
        Some(Coding::Gzip),
    ),
    (
        "§12.4.2, zero is not acceptable",
        &["accept-encoding: gzip;q=0"],
        None,
    ),
    (
        "§12.4.2, also 0.000",
        &["accept-encoding: gzip;q=0.000"],
        None,
    ),
    (
        "§12.5.3, unknown ones",
        &["accept-encoding: deflate, compress, sdch"],
        None,
    ),
    ("§12.5.3, any", &["accept-encoding: *"], Some(Coding::Zstd)),
    (
        "§12.5.3, any but these",
        &["accept-encoding: zstd;q=0, br;q=0, *"],
        Some(Coding::Gzip),
    ),
    ("§12.5.3, none at all", &["accept-encoding: *;q=0"], None),
    (
        "§12.5.3, only this one",
        &["accept-encoding: gzip, *;q=0"],
        Some(Coding::Gzip),
    ),
    ("§12.5.3, identity", &["accept-encoding: identity"], None),
    (
        "§12.5.3, rather identity",
        &["accept-encoding: gzip;q=0.5, identity"],
        None,
    ),
    (
        "§12.5.3, rather not identity",
        &["accept-encoding: gzip, identity;q=0.5"],
        Some(Coding::Gzip),
    ),
    (
        "§12.5.3, as well as identity",
        &["accept-encoding: identity, gzip"],
        Some(Coding::Gzip),
    ),
    (
        "§12.5.3, identity among any",
        &["accept-encoding: zstd;q=0.5, br;q=0.5, gzip;q=0.5, *"],
        None,
    ),
    (
        "§12.5.3, not identity",
        &["accept-encoding: identity;q=0, gzip;q=0.1"],
        Some(Coding::Gzip),
    ),
    (
        "§12.5.3, nothing fits: disregarded",
        &["accept-encoding: identity;q=0, deflate"],
        None,
    ),
    (
        "§12.4.2, no weight",
        &["accept-encoding: gzip;q=high"],
        None,
    ),
    ("§12.4.2, too much", &["accept-encoding: gzip;q=1.1"], None),
    (
        "§12.4.2, too fine",
        &["accept-encoding: gzip;q=0.1234"],
        None,
    ),
    (
        "§12.5.3, another parameter",
        &["accept-encoding: gzip;level=9"],
        None,
    ),
    (
        "what is malformed does not fall to any",
        &["accept-encoding: zstd;q=x, br;q=0, *"],
        Some(Coding::Gzip),
    ),
    (
        "a malformed neighbour",
        &["accept-encoding: ;;, br;q=, gzip"],
        Some(Coding::Gzip),
    ),
    (
        "the first of two counts",
        &["accept-encoding: gzip;q=0, gzip"],
        None,
    ),
    (
        "§14.2, a part",
        &["accept-encoding: gzip", "range: bytes=0-1"],
        None,
    ),
    (
        "RFC 9111 §5.2.1.6",
        &["accept-encoding: gzip", "cache-control: no-transform"],
        None,
    ),
];

#[test]
fn the_client_and_our_order_decide_the_coding() {
    for (rule, lines, coding) in REQUESTS {
        assert_eq!(negotiate(&headers(lines), &OFFERED), *coding, "{rule}");
    }
}

#[test]
fn what_is_not_offered_is_not_chosen() {
    let request = headers(&["accept-encoding: br, zstd;q=0.5, gzip;q=0.1"]);
    assert_eq!(negotiate(&request, &[Coding::Gzip]), Some(Coding::Gzip));
    assert_eq!(negotiate(&request, &[]), None);
    let equal = headers(&["accept-encoding: zstd, br"]);
    let order = [Coding::Brotli, Coding::Zstd];
    assert_eq!(negotiate(&equal, &order), Some(Coding::Brotli));
}

/// A status, the lines of a response, and whether it may be encoded.
const RESPONSES: &[(&str, u16, &[&str], bool)] = &[
    ("a plain one", 200, &[], true),
    ("§15.5, an error has content", 404, &[], true),
    ("§15.2, interim", 103, &[], false),
    ("§15.3.5, no content", 204, &[], false),
    ("§15.3.6, no content", 205, &[], false),
    ("§15.3.7, a part", 206, &[], false),
    ("§15.4.5, not modified", 304, &[], false),
    (
        "§14.4, unsatisfiable",
        416,
        &["content-range: bytes */9"],
        false,
    ),
    ("§8.4, encoded", 200, &["content-encoding: gzip"], false),
    (
        "§8.4, encoded in what we do not know",
        200,
        &["content-encoding: dcb"],
        false,
    ),
    (
        "RFC 9111 §5.2.2.6",
        200,
        &["cache-control: max-age=60, No-Transform"],
        false,
    ),
    (
        "RFC 9111 §5.2.2.6, on another line",
        200,
        &["cache-control: max-age=60", "cache-control: no-transform"],
        false,
    ),
    (
        "RFC 9111 §5.2.2.6, malformed",
        200,
        &["cache-control: max-age=60; no-transform"],
        false,
    ),
    (
        "RFC 9111 §5.2, quoted",
        200,
        &["cache-control: note=\"x, no-transform\""],
        true,
    ),
];

#[test]
fn whole_identity_forms_may_be_encoded() {
    for (rule, status, lines, expected) in RESPONSES {
        let status = StatusCode::from_u16(*status).expect("a status");
        assert_eq!(may_be_encoded(status, &headers(lines)), *expected, "{rule}");
    }
}

#[test]
fn the_media_type_is_what_stands_before_its_parameters() {
    let types = ["text/*".to_owned(), "application/json".to_owned()];
    for (lines, expected) in [
        (&["content-type: text/html; charset=utf-8"][..], true),
        (&["content-type: TEXT/Plain"], true),
        (&["content-type: application/json"], true),
        (&["content-type: application/json ;x=y"], true),
        (&["content-type: application/jsonx"], false),
        (&["content-type: application/problem+json"], false),
        (&["content-type: textual/html"], false),
        (&["content-type: image/png; note=text/html"], false),
        (
            &["content-type: text/html", "content-type: image/png"],
            false,
        ),
        (&["content-type:"], false),
        (&[], false),
    ] {
        assert_eq!(is_of_type(&headers(lines), &types), expected, "{lines:?}");
    }
}

#[test]
fn vary_names_the_coding_once() {
    for (before, after) in [
        (&[][..], "Accept-Encoding"),
        (
            &["vary: Accept-Language"],
            "Accept-Language, Accept-Encoding",
        ),
        (&["vary: a", "vary: b"], "a, b, Accept-Encoding"),
        (&["vary: accept-encoding"], "accept-encoding"),
        (&["vary: a, Accept-Encoding"], "a, Accept-Encoding"),
        (&["vary: *"], "*"),
    ] {
        let mut response = headers(before);
        vary_on_coding(&mut response);
        let lines: Vec<_> = response.get_all("vary").iter().collect();
        assert_eq!(lines, [after], "{before:?}");
    }
}

#[test]
fn an_encoded_form_does_not_speak_of_the_bytes_of_identity() {
    let mut response = headers(&[
        "etag: \"1\"",
        "accept-ranges: bytes",
        "content-digest: sha-256=:AA==:",
        "repr-digest: sha-256=:AA==:",
        "digest: sha-256=AA==",
        "content-md5: AA==",
        "content-type: text/html",
        "last-modified: Sun, 06 Nov 2033 08:49:37 GMT",
    ]);
    let expected = headers(&[
        "etag: W/\"1\"",
        "content-encoding: br",
        "content-type: text/html",
        "last-modified: Sun, 06 Nov 2033 08:49:37 GMT",
    ]);
    for _ in 0..2 {
        describe_encoded(&mut response, Coding::Brotli);
        assert_eq!(response, expected);
    }
}

/// `If-None-Match`, the tag of the origin's 304, and the tag that goes on.
const CONFIRMED: &[(&str, &str, &str)] = &[
    ("W/\"1\"", "\"1\"", "W/\"1\""),
    ("\"0\", W/\"1\"", "\"1\"", "W/\"1\""),
    ("\"1\"", "\"1\"", "\"1\""),
    ("W/\"1\", \"1\"", "\"1\"", "\"1\""),
    ("W/\"1\"", "W/\"1\"", "W/\"1\""),
    ("W/\"2\"", "\"1\"", "\"1\""),
    ("*", "\"1\"", "\"1\""),
];

#[test]
fn a_304_confirms_the_form_that_the_client_named() {
    for (named, tag, expected) in CONFIRMED {
        let request = headers(&[&format!("if-none-match: {named}")]);
        let mut response = headers(&[&format!("etag: {tag}")]);
        weaken_confirmed_tag(&request, &mut response);
        assert_eq!(response["etag"], expected, "{named} and {tag}");
    }
}

#[test]
fn a_date_does_not_tell_the_forms_apart() {
    let range = "range: bytes=0-1";
    let date = "if-range: Sun, 06 Nov 2033 08:49:37 GMT";
    for (lines, expected) in [
        (&[range, date][..], true),
        (&[range, "if-range: \"1\""], false),
        (&[range, "if-range: W/\"1\""], false),
        (&[range], false),
        (&[date], false),
    ] {
        assert_eq!(has_dated_range(&headers(lines)), expected, "{lines:?}");
    }
}
