use tidegate_semantics::{Basis, Policy, Timestamp};

use crate::support::{DATE, HOUR_EARLIER, HOUR_LATER, NOW, Scene, headers, seconds, terms_of};

#[test]
fn a_lifetime_is_read_from_the_response() {
    const HUGE: u64 = 1 << 31;
    let later = format!("Expires: {HOUR_LATER}");
    let equal = format!("Expires: {DATE}");
    let date = format!("Date: {DATE}");
    let rows: &[(&str, &[&str], u64)] = &[
        ("§4.2.1", &["Cache-Control: max-age=60"], 60),
        ("§4.2.1, zero", &["Cache-Control: max-age=0"], 0),
        ("§4.2.1, negative", &["Cache-Control: max-age=-60"], 0),
        (
            "§5.2.2.10, any order",
            &["Cache-Control: s-maxage=9, max-age=60"],
            9,
        ),
        (
            "§5.2.2.10, any order",
            &["Cache-Control: max-age=60, s-maxage=9"],
            9,
        ),
        (
            "§5.2.2.10, separate lines",
            &["Cache-Control: max-age=60", "Cache-Control: s-maxage=9"],
            9,
        ),
        (
            "§5.2.2.10, longer",
            &["Cache-Control: max-age=9, s-maxage=60"],
            60,
        ),
        ("§5.2.2.10, alone", &["Cache-Control: s-maxage=60"], 60),
        (
            "§5.2.2.10, zero",
            &["Cache-Control: max-age=60, s-maxage=0"],
            0,
        ),
        (
            "§4.2.1, invalid s-maxage",
            &["Cache-Control: max-age=60, s-maxage=x"],
            0,
        ),
        (
            "§5.3, max-age beats it",
            &["Cache-Control: max-age=60", &date, &later],
            60,
        ),
        (
            "§5.3, max-age beats an invalid one",
            &["Cache-Control: max-age=60", "Expires: 0"],
            60,
        ),
        (
            "§5.3, s-maxage beats an invalid one",
            &["Cache-Control: s-maxage=60", "Expires: 0"],
            60,
        ),
        ("§1.2.2, 2^31", &["Cache-Control: max-age=2147483648"], HUGE),
        (
            "§1.2.2, 2^31 - 1",
            &["Cache-Control: max-age=2147483647"],
            HUGE - 1,
        ),
        (
            "§1.2.2, over 2^64",
            &["Cache-Control: max-age=99999999999999999999999"],
            HUGE,
        ),
        ("§5.2, case", &["Cache-Control: MaX-aGe=60"], 60),
        (
            "§5.2.3, unknown beside",
            &["Cache-Control: foobar, max-age=60, x=y"],
            60,
        ),
        (
            "§5.2, empty members",
            &["Cache-Control: , ,max-age=60,"],
            60,
        ),
        (
            "§5.2, quoted elsewhere, before",
            &["Cache-Control: x=\"max-age=60\", max-age=1"],
            1,
        ),
        (
            "§5.2, quoted elsewhere, after",
            &["Cache-Control: max-age=1, x=\"a, max-age=60\""],
            1,
        ),
        (
            "§5.2, quoted elsewhere, alone",
            &["Cache-Control: x=\"a, max-age=60\""],
            0,
        ),
        (
            "§5.2, escaped quote",
            &["Cache-Control: x=\"a\\\", max-age=60\", max-age=1"],
            1,
        ),
        ("§5.2, open quote", &["Cache-Control: x=\"a, max-age=60"], 0),
        (
            "§1.2.2, leading zeros",
            &["Cache-Control: max-age=0060"],
            60,
        ),
        ("§5.2, single quotes", &["Cache-Control: max-age='60'"], 0),
        ("§5.2, quoted form", &["Cache-Control: max-age=\"60\""], 60),
        ("§1.2.2, decimal", &["Cache-Control: max-age=60.0"], 0),
        ("§1.2.2, decimal", &["Cache-Control: max-age=60.5"], 0),
        ("§1.2.2, letters before", &["Cache-Control: max-age=a60"], 0),
        ("§1.2.2, letters after", &["Cache-Control: max-age=60a"], 0),
        ("§5.2, space before =", &["Cache-Control: max-age =60"], 0),
        ("§5.2, space after =", &["Cache-Control: max-age= 60"], 0),
        ("§5.2, no argument", &["Cache-Control: max-age"], 0),
        ("§5.2, empty argument", &["Cache-Control: max-age="], 0),
        (
            "§4.2.1, first of two",
            &["Cache-Control: max-age=1, max-age=60"],
            1,
        ),
        (
            "§4.2.1, first of two",
            &["Cache-Control: max-age=60", "Cache-Control: max-age=1"],
            60,
        ),
        (
            "§4.2.1, first of two is invalid",
            &["Cache-Control: max-age=x, max-age=60"],
            0,
        ),
        ("§5.3", &[&date, &later], 3600),
        ("§5.3, without Date", &[&later], 3600),
        ("§5.3, invalid Date", &["Date: foo", &later], 3600),
        ("§5.3, equal", &[&date, &equal], 0),
        (
            "§5.3, earlier than Date",
            &[&format!("Date: {HOUR_LATER}"), &equal],
            0,
        ),
        ("§5.3, 0", &[&date, "Expires: 0"], 0),
        (
            "§5.3, another zone",
            &[&date, "Expires: Sun, 06 Nov 2033 09:49:37 UTC"],
            0,
        ),
        ("§5.3, several lines", &[&date, &later, &later], 0),
        ("§5.3, -1", &[&date, "Expires: -1"], 0),
        ("§5.3, empty", &[&date, "Expires:"], 0),
        (
            "§5.3, two-digit year",
            &[&date, "Expires: Sun, 06 Nov 33 09:49:37 GMT"],
            0,
        ),
        (
            "§5.3, missing comma",
            &[&date, "Expires: Sun 06 Nov 2033 09:49:37 GMT"],
            0,
        ),
        (
            "§5.3, doubled space",
            &[&date, "Expires: Sun, 06  Nov 2033 09:49:37 GMT"],
            0,
        ),
        (
            "§5.3, dashes",
            &[&date, "Expires: Sun, 06-Nov-2033 09:49:37 GMT"],
            0,
        ),
        (
            "§5.3, dots",
            &[&date, "Expires: Sun, 06 Nov 2033 09.49.37 GMT"],
            0,
        ),
        (
            "§5.3, one-digit hour",
            &[&date, "Expires: Sun, 06 Nov 2033 9:49:37 GMT"],
            0,
        ),
        (
            "§5.3, quoted",
            &[&date, "Expires: \"Sun, 06 Nov 2033 09:49:37 GMT\""],
            0,
        ),
        (
            "§4.2, any case",
            &[&date, "Expires: SUN, 06 nov 2033 09:49:37 gmt"],
            3600,
        ),
        (
            "§5.3, 2038",
            &[
                "Date: Tue, 19 Jan 2038 03:14:07 GMT",
                "Expires: Tue, 19 Jan 2038 03:14:08 GMT",
            ],
            1,
        ),
        (
            "§5.3, 2286",
            &[
                "Date: Sat, 20 Nov 2286 17:46:39 GMT",
                "Expires: Sat, 20 Nov 2286 17:46:40 GMT",
            ],
            1,
        ),
        (
            "RFC 9110 §5.6.7, RFC 850 after the century",
            &[
                "Date: Sunday, 06-Nov-33 08:49:37 GMT",
                "Expires: Monday, 06-Nov-34 08:49:37 GMT",
            ],
            365 * 86_400,
        ),
        ("RFC 9110 §6.6.1, two Dates", &[&date, &date, &later], 3600),
        ("§5.2.2.10, quoted", &["Cache-Control: s-maxage=\"60\""], 60),
        (
            "§5.2, escapes in quotes",
            &["Cache-Control: max-age=\"\\60\""],
            60,
        ),
        (
            "§5.2, space in quotes",
            &["Cache-Control: max-age=\" 60\""],
            0,
        ),
        ("§1.2.2, plus", &["Cache-Control: max-age=+60"], 0),
        ("§1.2.2, exponent", &["Cache-Control: max-age=6e1"], 0),
        (
            "§5.2, tabs between",
            &["Cache-Control: a,\t max-age=60\t"],
            60,
        ),
        ("§5.2, a semicolon", &["Cache-Control: max-age=60; a"], 0),
        (
            "§5.4, Pragma beside",
            &["Cache-Control: max-age=60", "Pragma: no-cache"],
            60,
        ),
        ("§4.2.2, nothing", &["Pragma: no-cache"], 0),
        (
            "§5.3, RFC 850",
            &[&date, "Expires: Sunday, 06-Nov-33 09:49:37 GMT"],
            3600,
        ),
        (
            "§5.3, asctime",
            &[&date, "Expires: Sun Nov  6 09:49:37 2033"],
            3600,
        ),
    ];
    for (rule, response, lifetime) in rows {
        assert_eq!(
            terms_of(response).lifetime,
            seconds(*lifetime),
            "{rule}: {response:?}"
        );
    }
}

#[test]
fn an_expires_counts_from_date_and_not_from_now() {
    let terms = terms_of(&[
        &format!("Date: {HOUR_EARLIER}"),
        &format!("Expires: {HOUR_LATER}"),
    ]);
    assert_eq!(terms.lifetime, seconds(7200), "§4.2.1");
    assert_eq!(terms.age(NOW), seconds(3600), "§4.2.3");
    assert!(terms.is_fresh(NOW));
}

#[test]
fn an_age_is_the_greatest_of_what_date_and_age_say() {
    let earlier = format!("Date: {HOUR_EARLIER}");
    let later = format!("Date: {HOUR_LATER}");
    let rows: &[(&str, &[&str], u64)] = &[
        ("§4.2.3, none", &[], 0),
        ("§5.1", &["Age: 30"], 30),
        ("§4.2.3, apparent", &[&earlier], 3600),
        ("§4.2.3, greater apparent", &[&earlier, "Age: 30"], 3600),
        ("§4.2.3, greater Age", &[&earlier, "Age: 7200"], 7200),
        ("§4.2.3, a Date ahead of us", &[&later], 0),
        ("§4.2.3, an invalid Date", &["Date: foo"], 0),
        ("§5.1, no number", &["Age: abc"], 0),
        ("§5.1, negative", &["Age: -30"], 0),
        ("§5.1, decimal", &["Age: 30.0"], 0),
        ("§5.1, list, first counts", &["Age: 30,0"], 30),
        ("§5.1, list, first counts", &["Age: 0,30"], 0),
        ("§5.1, lines, first counts", &["Age: 30", "Age: 0"], 30),
        ("§5.1, lines, first counts", &["Age: 0", "Age: 30"], 0),
        ("§5.1, list, first is no number", &["Age: abc, 30"], 0),
        ("§5.1, list, first is empty", &["Age: , 30"], 30),
        ("§5.1, leading zeros", &["Age: 0030"], 30),
        ("§5.1, plus", &["Age: +30"], 0),
        ("§5.1, quoted", &["Age: \"30\""], 0),
        ("§5.1, a parameter", &["Age: 30;a=b"], 0),
        ("§5.1, empty", &["Age:"], 0),
        ("§4.2.3, asctime", &["Date: Sun Nov  6 08:48:37 2033"], 60),
        (
            "§4.2.3, RFC 850",
            &["Date: Sunday, 06-Nov-33 08:48:37 GMT"],
            60,
        ),
    ];
    for (rule, response, age) in rows {
        let mut response = response.to_vec();
        response.push("Cache-Control: max-age=60");
        assert_eq!(
            terms_of(&response).age(NOW),
            seconds(*age),
            "{rule}: {response:?}"
        );
    }
}

#[test]
fn an_age_over_the_limit_is_stale_whatever_the_lifetime() {
    for age in ["2147483648", "99999999999999999999"] {
        for lifetime in ["3600", "2147483648", "9999999999"] {
            let terms = terms_of(&[
                &format!("Age: {age}"),
                &format!("Cache-Control: max-age={lifetime}"),
            ]);
            assert!(!terms.is_fresh(NOW), "§5.1: age {age} of {lifetime}");
        }
    }
}

#[test]
fn an_age_counts_from_the_request() {
    let mut scene = Scene::new(200, &["Cache-Control: max-age=2", "ETag: \"a\""]);
    scene.delay = seconds(3);
    let terms = scene.terms();
    assert_eq!(terms.age(NOW.plus(seconds(3))), seconds(3), "§4.2.3");
    assert!(!terms.is_fresh(NOW.plus(seconds(3))), "§4.2.3");
    scene.response.extend(headers(&["Age: 1"]));
    assert_eq!(
        scene.terms().age(NOW.plus(seconds(3))),
        seconds(4),
        "§4.2.3"
    );
}

#[test]
fn the_date_of_this_second_has_no_apparent_age() {
    let mut scene = Scene::new(200, &["Cache-Control: max-age=1", &format!("Date: {DATE}")]);
    scene.delay = std::time::Duration::from_millis(900);
    assert_eq!(scene.terms().born, NOW, "only the delay counts");
}

#[test]
fn a_heuristic_lifetime_is_a_tenth_of_the_time_since_modification() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let terms = Scene::new(200, &[&format!("Date: {DATE}"), &modified]).terms();
    assert_eq!(
        (terms.lifetime, terms.basis),
        (seconds(360), Basis::Heuristic),
        "§4.2.2"
    );
    let stated = Scene::new(200, &[&modified, "Cache-Control: max-age=5"]).terms();
    assert_eq!(
        (stated.lifetime, stated.basis),
        (seconds(5), Basis::MaxAge),
        "§4.2.2"
    );
    let ahead = Scene::new(200, &[&format!("Last-Modified: {HOUR_LATER}")]).terms();
    assert_eq!(ahead.lifetime, seconds(0), "§4.2.2");
}

#[test]
fn freshness_ends_when_age_reaches_the_lifetime() {
    let terms = terms_of(&["Cache-Control: max-age=60"]);
    let at = |count: u64| NOW.plus(seconds(count));
    assert!(terms.is_fresh(at(59)));
    assert!(!terms.is_fresh(at(60)), "§4.2: equal is stale");
    assert_eq!(
        (terms.ttl(at(0)), terms.ttl(at(59)), terms.ttl(at(63))),
        (60, 1, -3)
    );
    assert_eq!(
        terms.age(Timestamp(0)),
        seconds(0),
        "ages are never negative"
    );
}

#[test]
fn what_forbids_stale_use_is_kept_in_the_terms() {
    let rows = [
        ("§5.2.2.2", "max-age=1, must-revalidate", true, false),
        ("§5.2.2.8", "max-age=1, proxy-revalidate", true, false),
        ("§5.2.2.10", "s-maxage=1", true, false),
        ("§5.2.2.4", "max-age=1, no-cache", false, true),
        (
            "§5.2.2.4, qualified",
            "max-age=1, no-cache=\"a\"",
            false,
            false,
        ),
        (
            "§5.2.2.4, both",
            "max-age=1, no-cache=\"a\", no-cache",
            false,
            true,
        ),
        ("§5.2.2.4, empty", "max-age=1, no-cache=\"\"", false, true),
        ("§5.2.2.4, token", "max-age=1, no-cache=a", false, false),
        (
            "§5.2.2.4, open quote",
            "max-age=1, no-cache=\"a",
            false,
            true,
        ),
        ("§5.2.2.10, invalid", "max-age=1, s-maxage=x", true, false),
        (
            "§5.2.2.2, any case",
            "max-age=1, MUST-Revalidate",
            true,
            false,
        ),
        (
            "§5.2.2.2, with an argument",
            "max-age=1, must-revalidate=1",
            true,
            false,
        ),
        (
            "§5.2.2.2, only quoted",
            "max-age=1, x=\"must-revalidate\"",
            false,
            false,
        ),
        ("§5.2.2.4, junk", "max-age=1, no-cache=\"a b\"", false, true),
        ("§4.2.4, none", "max-age=1", false, false),
    ];
    for (rule, control, must_revalidate, always_validate) in rows {
        let terms = terms_of(&[&format!("Cache-Control: {control}")]);
        assert_eq!(
            (terms.must_revalidate, terms.always_validate),
            (must_revalidate, always_validate),
            "{rule}: {control}"
        );
    }
}

#[test]
fn a_lifetime_tells_what_it_rests_on() {
    let expires = format!("Expires: {HOUR_LATER}");
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let rows: &[(&[&str], Basis)] = &[
        (&["Cache-Control: s-maxage=9, max-age=60"], Basis::SMaxage),
        (&["Cache-Control: max-age=60", &expires], Basis::MaxAge),
        (&["Cache-Control: max-age=x"], Basis::MaxAge),
        (&["CDN-Cache-Control: max-age=60", &expires], Basis::MaxAge),
        (&[&expires, &modified], Basis::Expires),
        (&["Expires: 0"], Basis::Expires),
        (&[&modified], Basis::Heuristic),
        (&[], Basis::Nothing),
    ];
    let of = |response: &[&str], policy: Policy| {
        let mut scene = Scene::new(200, response);
        scene.response.extend(headers(&["ETag: \"a\""]));
        scene.policy = policy;
        scene.terms().basis
    };
    for (response, basis) in rows {
        let given = |given: Basis| if basis.is_stated() { *basis } else { given };
        let default_ttl = Policy {
            default_ttl: Some(seconds(5)),
            ..Policy::default()
        };
        let status_ttl = Policy {
            status_ttl: vec![("2xx".parse().expect("a pattern"), seconds(5))],
            ..default_ttl.clone()
        };
        let ttl = Policy {
            ttl: Some(seconds(5)),
            ..status_ttl.clone()
        };
        assert_eq!(of(response, Policy::default()), *basis, "{response:?}");
        assert_eq!(
            of(response, default_ttl),
            given(Basis::DefaultTtl),
            "{response:?}"
        );
        assert_eq!(
            of(response, status_ttl),
            given(Basis::StatusTtl),
            "{response:?}"
        );
        assert_eq!(of(response, ttl), Basis::Ttl, "{response:?}");
    }
}

#[test]
fn every_basis_has_a_name_and_a_number_of_its_own() {
    let mut names: Vec<_> = Basis::ALL.iter().map(|basis| basis.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Basis::ALL.len());
    for basis in Basis::ALL {
        assert_eq!(Basis::from_number(basis.number()), Some(*basis));
    }
    let numbers = (0..=u8::MAX).filter_map(Basis::from_number);
    assert_eq!(numbers.count(), Basis::ALL.len());
}
