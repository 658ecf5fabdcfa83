use tidegate_semantics::{Policy, Reuse, Stale, Standing, Terms, only_if_cached, reuse};

use crate::support::{NOW, headers, seconds, terms_of};

fn at(terms: &Terms, age: u64, standing: Standing) -> Reuse {
    reuse(
        &headers(&[]),
        terms,
        NOW.plus(seconds(age)),
        standing,
        &Policy::default(),
    )
}

fn validate(reason: Stale, stale_if_error: bool) -> Reuse {
    Reuse::Validate {
        reason,
        stale_if_error,
    }
}

#[test]
fn a_stored_response_is_used_as_its_terms_allow() {
    use Reuse::{Fresh, StaleWhileRevalidate};
    let both = "max-age=60, stale-while-revalidate=30, stale-if-error=90";
    let rows: &[(&str, &str, u64, Reuse)] = &[
        ("§4.2", "max-age=60", 0, Fresh),
        ("§4.2", "max-age=60", 59, Fresh),
        (
            "§4.2, equal is stale",
            "max-age=60",
            60,
            validate(Stale::Expired, false),
        ),
        ("§4.2.1", "max-age=0", 0, validate(Stale::Expired, false)),
        (
            "§5.2.2.4",
            "no-cache, max-age=60",
            0,
            validate(Stale::NoCache, false),
        ),
        (
            "§5.2.2.4, no grace",
            "no-cache, max-age=60, stale-if-error=90",
            0,
            validate(Stale::NoCache, false),
        ),
        (
            "§5.2.2.2, while fresh",
            "max-age=60, must-revalidate",
            59,
            Fresh,
        ),
        (
            "§5.2.2.2",
            "max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=90",
            60,
            validate(Stale::Expired, false),
        ),
        (
            "§5.2.2.8",
            "max-age=60, proxy-revalidate, stale-while-revalidate=30, stale-if-error=90",
            60,
            validate(Stale::Expired, false),
        ),
        (
            "§5.2.2.10",
            "s-maxage=60, stale-while-revalidate=30, stale-if-error=90",
            60,
            validate(Stale::Expired, false),
        ),
        ("RFC 5861 §3", both, 60, StaleWhileRevalidate),
        ("RFC 5861 §3", both, 89, StaleWhileRevalidate),
        (
            "RFC 5861 §3, past the window",
            both,
            90,
            validate(Stale::Expired, true),
        ),
        ("RFC 5861 §4", both, 149, validate(Stale::Expired, true)),
        (
            "RFC 5861 §4, past the window",
            both,
            150,
            validate(Stale::Expired, false),
        ),
    ];
    for (rule, control, age, expected) in rows {
        let terms = terms_of(&[&format!("Cache-Control: {control}")]);
        assert_eq!(
            at(&terms, *age, Standing::Valid),
            *expected,
            "{rule}: {control} at {age}"
        );
    }
}

#[test]
fn a_purge_limits_what_the_terms_allow() {
    use Reuse::StaleWhileRevalidate;
    let purged = |at: u64| Standing::SoftPurged(NOW.plus(seconds(at)));
    let both = "max-age=60, stale-while-revalidate=30, stale-if-error=90";
    let rows: &[(&str, &str, u64, Standing, Reuse)] = &[
        (
            "stale from the purge on",
            "max-age=60",
            20,
            purged(10),
            validate(Stale::SoftPurged, false),
        ),
        ("in its window", both, 39, purged(10), StaleWhileRevalidate),
        (
            "past its window",
            both,
            40,
            purged(10),
            validate(Stale::SoftPurged, true),
        ),
        (
            "past every window",
            both,
            100,
            purged(10),
            validate(Stale::SoftPurged, false),
        ),
        (
            "expired before the purge",
            both,
            95,
            purged(80),
            validate(Stale::Expired, true),
        ),
        (
            "purged in this exchange",
            both,
            10,
            purged(11),
            StaleWhileRevalidate,
        ),
        (
            "must-revalidate",
            "max-age=60, must-revalidate",
            20,
            purged(10),
            validate(Stale::SoftPurged, false),
        ),
        (
            "no-cache",
            "no-cache",
            20,
            purged(10),
            validate(Stale::NoCache, false),
        ),
        (
            "below the floor",
            both,
            0,
            Standing::BelowFloor,
            validate(Stale::BelowFloor, false),
        ),
        (
            "below the floor, stale",
            both,
            70,
            Standing::BelowFloor,
            validate(Stale::BelowFloor, false),
        ),
    ];
    for (rule, control, age, standing, expected) in rows {
        let terms = terms_of(&[&format!("Cache-Control: {control}")]);
        assert_eq!(at(&terms, *age, *standing), *expected, "{rule}");
    }
}

#[test]
fn request_directives_are_heeded_where_the_route_says_so_and_nowhere_else() {
    use Reuse::{Fresh, StaleWhileRevalidate, Unsatisfiable};
    let plain = "max-age=60";
    let both = "max-age=60, stale-while-revalidate=30, stale-if-error=90";
    let firm = "max-age=60, must-revalidate";
    let asked = |grace| validate(Stale::RequestDirective, grace);
    let expired = |grace| validate(Stale::Expired, grace);
    let rows: &[(&str, &str, u64, &str, Reuse)] = &[
        ("§5.2.1.4", plain, 1, "no-cache", asked(false)),
        ("§5.2.1.4, no grace", both, 100, "no-cache", expired(false)),
        ("§5.2.1.5, storing only", plain, 1, "no-store", Fresh),
        ("§5.2.1.1", plain, 10, "max-age=10", Fresh),
        ("§5.2.1.1, older", plain, 11, "max-age=10", asked(false)),
        (
            "§5.2.1.1, older, with grace",
            both,
            11,
            "max-age=10",
            asked(true),
        ),
        ("§5.2.1.1, zero", plain, 0, "max-age=0", asked(false)),
        ("§5.2.1.1, junk", plain, 1, "max-age=x", asked(false)),
        (
            "§5.2.1.1, no stale ones",
            both,
            70,
            "max-age=100",
            asked(true),
        ),
        ("§5.2.1.3", plain, 50, "min-fresh=10", Fresh),
        (
            "§5.2.1.3, too little",
            plain,
            51,
            "min-fresh=10",
            asked(false),
        ),
        ("§5.2.1.2", plain, 70, "max-stale=10", Fresh),
        (
            "§5.2.1.2, too stale",
            plain,
            71,
            "max-stale=10",
            expired(false),
        ),
        ("§5.2.1.2, any", plain, 10_000, "max-stale", Fresh),
        ("§5.2.1.2, forbidden", firm, 70, "max-stale", expired(false)),
        (
            "§5.2.1.2, no-cache",
            "no-cache",
            1,
            "max-stale",
            validate(Stale::NoCache, false),
        ),
        (
            "§5.2.1.2, with max-age",
            plain,
            70,
            "max-stale=10, max-age=100",
            Fresh,
        ),
        (
            "§5.2.1.2, in a window",
            both,
            70,
            "max-stale=10",
            StaleWhileRevalidate,
        ),
        ("§5.2.1.7", plain, 1, "only-if-cached", Fresh),
        (
            "§5.2.1.7, stale",
            plain,
            61,
            "only-if-cached",
            Unsatisfiable,
        ),
        (
            "§5.2.1.7, in a window",
            both,
            70,
            "only-if-cached",
            StaleWhileRevalidate,
        ),
        (
            "§5.2.1.7, accepted stale",
            plain,
            70,
            "only-if-cached, max-stale",
            Fresh,
        ),
        ("§5.2.3, unknown", plain, 1, "foobar", Fresh),
        (
            "§5.2.1.1, quoted",
            plain,
            11,
            "max-age=\"10\"",
            asked(false),
        ),
        ("§5.2, case", plain, 1, "No-Cache", asked(false)),
        ("§5.2.1.2, junk", plain, 70, "max-stale=x", expired(false)),
        (
            "§1.2.2, over 2^31",
            plain,
            1,
            "min-fresh=99999999999",
            asked(false),
        ),
        (
            "§5.2.1.3, no stale ones",
            both,
            70,
            "min-fresh=0",
            asked(true),
        ),
        ("RFC 5861 §4", plain, 70, "stale-if-error=20", expired(true)),
        (
            "RFC 5861 §4, past it",
            plain,
            80,
            "stale-if-error=20",
            expired(false),
        ),
        (
            "RFC 5861 §4, shorter than ours",
            both,
            100,
            "stale-if-error=1",
            expired(true),
        ),
        (
            "RFC 5861 §4, forbidden",
            firm,
            70,
            "stale-if-error=20",
            expired(false),
        ),
        (
            "RFC 5861 §4, no-cache",
            "no-cache",
            1,
            "stale-if-error=20",
            validate(Stale::NoCache, false),
        ),
    ];
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    for (rule, control, age, directives, expected) in rows {
        let terms = terms_of(&[&format!("Cache-Control: {control}")]);
        let request = headers(&[&format!("Cache-Control: {directives}")]);
        let now = NOW.plus(seconds(*age));
        let answer = |policy| reuse(&request, &terms, now, Standing::Valid, policy);
        assert_eq!(
            answer(&heeding),
            *expected,
            "{rule}: {control} at {age} for {directives}"
        );
        assert_eq!(
            answer(&Policy::default()),
            at(&terms, *age, Standing::Valid),
            "{rule}: ignored"
        );
    }
}

#[test]
fn max_stale_does_not_reach_below_the_floor() {
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    let terms = terms_of(&["Cache-Control: max-age=60"]);
    let request = headers(&["Cache-Control: max-stale"]);
    let answer = reuse(&request, &terms, NOW, Standing::BelowFloor, &heeding);
    assert_eq!(answer, validate(Stale::BelowFloor, false));
}

#[test]
fn pragma_is_ignored() {
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    let terms = terms_of(&["Cache-Control: max-age=60"]);
    let answer = reuse(
        &headers(&["Pragma: no-cache"]),
        &terms,
        NOW,
        Standing::Valid,
        &heeding,
    );
    assert_eq!(answer, Reuse::Fresh, "§5.4");
}

#[test]
fn only_if_cached_is_told_where_it_is_heeded() {
    let heeding = Policy {
        honour_request_directives: true,
        ..Policy::default()
    };
    let request = headers(&["Cache-Control: only-if-cached"]);
    assert!(only_if_cached(&request, &heeding), "§5.2.1.7");
    assert!(!only_if_cached(&request, &Policy::default()));
    assert!(!only_if_cached(&headers(&[]), &heeding));
}
