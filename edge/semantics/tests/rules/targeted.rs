use tidegate_semantics::{Refusal, Storable};

use crate::support::{DATE, HOUR_LATER, NOW, Scene, headers, seconds};

#[test]
fn a_targeted_field_replaces_cache_control_and_expires_or_is_not_used_at_all() {
    let expires = format!("Expires: {HOUR_LATER}");
    let date = format!("Date: {DATE}");
    let cdn = |value: &str| format!("CDN-Cache-Control: {value}");
    let rows: Vec<(&str, Vec<String>, Result<u64, Refusal>)> = vec![
        ("§2.1, alone", vec![cdn("max-age=60")], Ok(60)),
        ("§2.1, 2^31", vec![cdn("max-age=2147483648")], Ok(1 << 31)),
        (
            "§2.1, over it",
            vec![cdn("max-age=99999999999")],
            Ok(1 << 31),
        ),
        (
            "§2.1, zero",
            vec![cdn("max-age=0"), expires.clone(), date.clone()],
            Ok(0),
        ),
        ("§2.1, negative", vec![cdn("max-age=-9")], Ok(0)),
        ("§2.1, s-maxage", vec![cdn("max-age=60, s-maxage=9")], Ok(9)),
        (
            "§2.1, extension",
            vec![cdn("foobar, max-age=60, x=(a b)")],
            Ok(60),
        ),
        ("§2.1, parameters", vec![cdn("max-age=60;a=b")], Ok(60)),
        (
            "§2.1, two lines",
            vec![cdn("must-revalidate"), cdn("max-age=60")],
            Ok(60),
        ),
        (
            "§2.2, longer",
            vec!["Cache-Control: max-age=1".into(), cdn("max-age=60")],
            Ok(60),
        ),
        (
            "§2.2, shorter",
            vec!["Cache-Control: max-age=60".into(), cdn("max-age=1")],
            Ok(1),
        ),
        (
            "§2.2, past Expires",
            vec![cdn("max-age=60"), "Expires: 0".into()],
            Ok(60),
        ),
        (
            "§2.2, Expires replaced",
            vec![cdn("foo"), expires.clone(), date.clone()],
            Ok(0),
        ),
        (
            "§2.2, no-store beneath",
            vec!["Cache-Control: no-store".into(), cdn("max-age=60")],
            Ok(60),
        ),
        (
            "§2.2, private",
            vec![cdn("private"), "Cache-Control: max-age=60".into()],
            Err(Refusal::Private),
        ),
        (
            "§2.2, private=\"a\"",
            vec![cdn("private=\"a\", max-age=60")],
            Err(Refusal::Private),
        ),
        (
            "§2.2, no-store",
            vec![cdn("no-store"), "Cache-Control: max-age=60".into()],
            Err(Refusal::NoStore),
        ),
        (
            "§2.1, set to false",
            vec![cdn("no-store=?0, max-age=60")],
            Ok(60),
        ),
        (
            "§2.1, empty",
            vec![cdn(""), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, unparsable",
            vec![cdn("max-age=60, &&&&&"), "Cache-Control: no-store".into()],
            Err(Refusal::NoStore),
        ),
        (
            "§2.1, space before =",
            vec![cdn("max-age =60"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, space after =",
            vec![cdn("max-age= 60"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, upper case",
            vec![cdn("MaX-aGe=60"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, a string",
            vec![cdn("max-age=\"60\""), "Cache-Control: no-store".into()],
            Err(Refusal::NoStore),
        ),
        (
            "§2.1, a decimal",
            vec![cdn("max-age=60.0"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, no value",
            vec![cdn("max-age"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, a list",
            vec![cdn("no-store=(a)"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, the last of two",
            vec![cdn("max-age=9, max-age=60")],
            Ok(60),
        ),
        (
            "§2.1, the last of two lines",
            vec![cdn("max-age=60"), cdn("max-age=9")],
            Ok(9),
        ),
        (
            "§2.1, the last is of a wrong type",
            vec![
                cdn("max-age=9, max-age=x"),
                "Cache-Control: max-age=8".into(),
            ],
            Ok(8),
        ),
        (
            "§2.1, the last is of the right type",
            vec![
                cdn("max-age=x, max-age=9"),
                "Cache-Control: max-age=8".into(),
            ],
            Ok(9),
        ),
        (
            "§2.1, far below zero",
            vec![cdn("max-age=-999999999999999")],
            Ok(0),
        ),
        (
            "RFC 9651 §3.3.1, sixteen digits",
            vec![
                cdn("max-age=1000000000000000"),
                "Cache-Control: max-age=9".into(),
            ],
            Ok(9),
        ),
        (
            "RFC 9651 §3.2, space and tabs",
            vec![cdn("  a ,\tmax-age=60  ")],
            Ok(60),
        ),
        (
            "RFC 9651 §4.2.2, a comma at the end",
            vec![cdn("max-age=60,"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "RFC 9651 §4.2.2, an empty member",
            vec![cdn("a,, max-age=60"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "RFC 9651 §4.2, an empty line beside",
            vec![
                cdn(""),
                cdn("max-age=60"),
                "Cache-Control: max-age=9".into(),
            ],
            Ok(9),
        ),
        (
            "RFC 9651 §4.2.3.2, a space before a parameter",
            vec![cdn("max-age=60 ;a=b"), "Cache-Control: max-age=9".into()],
            Ok(9),
        ),
        (
            "§2.1, parameters on a flag",
            vec![cdn("max-age=60, public;a")],
            Ok(60),
        ),
        (
            "§2.1, a flag with a number",
            vec![
                cdn("max-age=60, no-store=1"),
                "Cache-Control: max-age=9".into(),
            ],
            Ok(9),
        ),
        (
            "§2.1, no-cache=a",
            vec![cdn("max-age=60, no-cache=a")],
            Ok(60),
        ),
        (
            "§2.1, private=?0",
            vec![cdn("max-age=60, private=?0")],
            Ok(60),
        ),
        (
            "§2.2, must-understand and no-store",
            vec![cdn("must-understand, no-store, max-age=60")],
            Ok(60),
        ),
        (
            "§2.2, ours before it",
            vec![
                cdn("max-age=60"),
                "Tidegate-Cache-Control: max-age=9".into(),
            ],
            Ok(9),
        ),
        (
            "§2.2, ours is unusable",
            vec![cdn("max-age=60"), "Tidegate-Cache-Control: &".into()],
            Ok(60),
        ),
        (
            "Surrogate-Control",
            vec![
                "Surrogate-Control: max-age=60".into(),
                "Cache-Control: no-store".into(),
            ],
            Ok(60),
        ),
        (
            "Surrogate-Control, behind the targets",
            vec!["Surrogate-Control: max-age=60".into(), cdn("max-age=9")],
            Ok(9),
        ),
        (
            "Surrogate-Control, no-store",
            vec![
                "Surrogate-Control: no-store".into(),
                "Cache-Control: max-age=9".into(),
            ],
            Err(Refusal::NoStore),
        ),
        (
            "Surrogate-Control, capabilities only",
            vec![
                "Surrogate-Control: content=\"ESI/1.0\"".into(),
                "Cache-Control: private".into(),
            ],
            Err(Refusal::Private),
        ),
        (
            "Surrogate-Control, with staleness",
            vec!["Surrogate-Control: max-age=60+30".into()],
            Ok(60),
        ),
    ];
    for (rule, lines, expected) in rows {
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.push("ETag: \"a\"");
        let lifetime = match Scene::new(200, &lines).verdict() {
            Storable::Keep(terms) => Ok(terms.lifetime),
            Storable::Refuse(refusal) => Err(refusal),
        };
        assert_eq!(
            lifetime,
            expected.map(seconds),
            "RFC 9213 {rule}: {lines:?}"
        );
    }
}

#[test]
fn an_age_counts_against_a_targeted_lifetime_too() {
    let scene = Scene::new(
        200,
        &["CDN-Cache-Control: max-age=60", "Age: 90", "ETag: \"a\""],
    );
    assert!(!scene.terms().is_fresh(NOW), "RFC 9213 §2.2");
}

#[test]
fn staleness_of_a_surrogate_control_is_served_while_revalidating() {
    let terms = Scene::new(200, &["Surrogate-Control: max-age=60+30"]).terms();
    assert_eq!(terms.stale_while_revalidate, seconds(30));
}

#[test]
fn a_targeted_no_cache_is_stored_and_always_validated() {
    let response = [
        "CDN-Cache-Control: no-cache",
        "Cache-Control: max-age=60",
        "ETag: \"a\"",
    ];
    assert!(
        Scene::new(200, &response).terms().always_validate,
        "RFC 9213 §2.2"
    );
}

#[test]
fn a_targeted_field_alone_says_whether_a_response_to_authorization_is_shared() {
    let rows = [
        ("max-age=60, public", "private", None),
        ("s-maxage=60", "no-store", None),
        ("max-age=60, must-revalidate", "max-age=60", None),
        (
            "max-age=60",
            "public, max-age=60",
            Some(Refusal::Authorization),
        ),
        (
            "max-age=60, public=?0",
            "public, max-age=60",
            Some(Refusal::Authorization),
        ),
    ];
    for (targeted, plain, expected) in rows {
        let lines = [
            &*format!("CDN-Cache-Control: {targeted}"),
            &*format!("Cache-Control: {plain}"),
        ];
        let mut scene = Scene::new(200, &lines);
        scene.request = headers(&["Authorization: Basic eDp5"]);
        assert_eq!(scene.refusal(), expected, "§3.5, RFC 9213 §2.2: {targeted}");
    }
}
