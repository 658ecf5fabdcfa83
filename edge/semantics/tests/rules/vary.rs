use http::header::{ACCEPT, COOKIE, HeaderName};
use tidegate_semantics::Vary;

use crate::support::headers;

/// The rule, the response, the request it was made for, a later request, and whether that is served.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    bool,
);

#[test]
fn a_variant_serves_the_requests_whose_selecting_fields_match() {
    let rows: &[Row] = &[
        ("no Vary", &[], &["Foo: 1"], &["Foo: 2"], true),
        ("same", &["Vary: Foo"], &["Foo: 1"], &["Foo: 1"], true),
        ("another", &["Vary: Foo"], &["Foo: 1"], &["Foo: 2"], false),
        (
            "case of values",
            &["Vary: Foo"],
            &["Foo: a"],
            &["Foo: A"],
            false,
        ),
        (
            "case of names",
            &["Vary: FOO"],
            &["Foo: 1"],
            &["fOO: 1"],
            true,
        ),
        ("absent and absent", &["Vary: Foo"], &[], &[], true),
        (
            "absent and present",
            &["Vary: Foo"],
            &[],
            &["Foo: 1"],
            false,
        ),
        (
            "present and absent",
            &["Vary: Foo"],
            &["Foo: 1"],
            &[],
            false,
        ),
        ("empty and absent", &["Vary: Foo"], &["Foo:"], &[], false),
        ("absent and empty", &["Vary: Foo"], &[], &["Foo:"], false),
        (
            "empty and empty",
            &["Vary: Foo"],
            &["Foo:"],
            &["Foo:"],
            true,
        ),
        (
            "empty and present",
            &["Vary: Foo"],
            &["Foo:"],
            &["Foo: 1"],
            false,
        ),
        (
            "present and empty",
            &["Vary: Foo"],
            &["Foo: 1"],
            &["Foo:"],
            false,
        ),
        (
            "other fields",
            &["Vary: Foo"],
            &["Foo: 1", "Bar: 1"],
            &["Foo: 1", "Bar: 2"],
            true,
        ),
        (
            "two names",
            &["Vary: Foo, Bar"],
            &["Foo: 1", "Bar: 2"],
            &["Foo: 1", "Bar: 2"],
            true,
        ),
        (
            "two names, one differs",
            &["Vary: Foo, Bar"],
            &["Foo: 1", "Bar: 2"],
            &["Foo: 1", "Bar: 3"],
            false,
        ),
        (
            "two lines",
            &["Vary: Foo", "Vary: Bar"],
            &["Foo: 1", "Bar: 2"],
            &["Foo: 1", "Bar: 3"],
            false,
        ),
        (
            "repeated lines",
            &["Vary: Foo"],
            &["Foo: 1, 2"],
            &["Foo: 1", "Foo: 2"],
            true,
        ),
        (
            "repeated lines",
            &["Vary: Foo"],
            &["Foo: 1", "Foo: 2"],
            &["Foo: 1,2"],
            true,
        ),
        (
            "order of lines",
            &["Vary: Foo"],
            &["Foo: 1", "Foo: 2"],
            &["Foo: 2", "Foo: 1"],
            false,
        ),
        (
            "space around commas",
            &["Vary: Foo"],
            &["Foo: 1,2"],
            &["Foo: 1 ,  2"],
            true,
        ),
        (
            "more members",
            &["Vary: Foo"],
            &["Foo: 1,2"],
            &["Foo: 1,2,3"],
            false,
        ),
        (
            "fewer members",
            &["Vary: Foo"],
            &["Foo: 1,2"],
            &["Foo: 1"],
            false,
        ),
        (
            "a longer member",
            &["Vary: Foo"],
            &["Foo: 1,2"],
            &["Foo: 1,22"],
            false,
        ),
        (
            "a comma in quotes",
            &["Vary: Foo"],
            &["Foo: \"1, 2\""],
            &["Foo: \"1,2\""],
            false,
        ),
        (
            "encoding, case",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: GZip"],
            &["Accept-Encoding: gzip"],
            true,
        ),
        (
            "encoding, order",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip, br"],
            &["Accept-Encoding: br,gzip"],
            true,
        ),
        (
            "encoding, weight spelt out",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip;q=1.0"],
            &["Accept-Encoding: gzip"],
            true,
        ),
        (
            "encoding, weight's form",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip; q=0.5"],
            &["Accept-Encoding: gzip;Q=0.500"],
            true,
        ),
        (
            "encoding, weight",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip;q=0.5"],
            &["Accept-Encoding: gzip;q=0.6"],
            false,
        ),
        (
            "encoding, refused",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip;q=0"],
            &["Accept-Encoding: gzip"],
            false,
        ),
        (
            "encoding, junk weight",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip;q=x"],
            &["Accept-Encoding: gzip"],
            false,
        ),
        (
            "encoding, another",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding: gzip"],
            &["Accept-Encoding: br"],
            false,
        ),
        (
            "encoding, empty",
            &["Vary: Accept-Encoding"],
            &["Accept-Encoding:"],
            &[],
            false,
        ),
        (
            "language, weights",
            &["Vary: Accept-Language"],
            &["Accept-Language: en;q=0.8, de"],
            &["Accept-Language: DE, en;q=0.8"],
            true,
        ),
        (
            "language, preference",
            &["Vary: Accept-Language"],
            &["Accept-Language: en;q=0.8, de"],
            &["Accept-Language: en, de;q=0.8"],
            false,
        ),
        (
            "cookie, to the byte",
            &["Vary: Cookie"],
            &["Cookie: a=1,2"],
            &["Cookie: a=1, 2"],
            false,
        ),
        (
            "cookie, same",
            &["Vary: Cookie"],
            &["Cookie: a=1; b=2"],
            &["Cookie: a=1; b=2"],
            true,
        ),
        (
            "authorization, to the byte",
            &["Vary: Authorization"],
            &["Authorization: X a,b"],
            &["Authorization: X a, b"],
            false,
        ),
    ];
    for (rule, response, first, second, expected) in rows {
        let (first, second) = (headers(first), headers(second));
        let vary = Vary::of(&headers(response), &first).expect("no asterisk");
        assert!(vary.matches(&first), "§4.1, {rule}: its own request");
        assert_eq!(vary.matches(&second), *expected, "§4.1, {rule}");
        let names: Vec<_> = vary.names().cloned().collect();
        let other = Vary::select(&names, &second);
        assert_eq!(other == vary, *expected, "§4.1, {rule}: by selection");
        assert_eq!(
            other.variant() == vary.variant(),
            *expected,
            "§4.1, {rule}: by encoding"
        );
    }
}

#[test]
fn many_preferences_are_compared_as_they_stand() {
    let long = |reversed: bool| {
        let mut names: Vec<_> = (10..40).map(|number| format!("x{number}")).collect();
        if reversed {
            names.reverse();
        }
        headers(&[&format!("Accept-Encoding: {}", names.join(" , "))])
    };
    let response = headers(&["Vary: Accept-Encoding"]);
    let vary = Vary::of(&response, &long(false)).expect("no asterisk");
    assert!(vary.matches(&long(false)));
    assert!(!vary.matches(&long(true)));
    assert!(!vary.matches(&headers(&["Accept-Encoding: x10"])));
}

#[test]
fn names_are_sorted_and_stand_once() {
    let vary = Vary::of(
        &headers(&["Vary: Cookie, Accept,, cookie", "Vary: Accept"]),
        &headers(&[]),
    );
    let vary = vary.expect("no asterisk");
    assert_eq!(vary.names().collect::<Vec<_>>(), [&ACCEPT, &COOKIE]);
    assert!(!vary.is_empty());
    assert!(Vary::default().is_empty());
}

#[test]
fn a_variant_that_depends_on_the_user_says_so() {
    let on = |name: &'static str| Vary::select(&[HeaderName::from_static(name)], &headers(&[]));
    assert!(on("cookie").depends_on_user());
    assert!(on("authorization").depends_on_user());
    assert!(!on("accept-encoding").depends_on_user());
}
