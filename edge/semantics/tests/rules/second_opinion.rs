//! The same questions asked of another implementation of these rules, the crate `http-cache-semantics`: may a response
//! be used some time later, without asking anybody, for a request?
//!
//! Where the answers differ, one of [`DIFFERENCES`] must say why. They are meant to be few and to have a section.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select as one_of;
use tidegate_semantics::{
    Basis, Exchange, Policy, Reuse, Standing, Storable, Terms, Vary, reuse, storable,
};

use crate::support::{DATE, HOUR_EARLIER, HOUR_LATER, NOW, headers};

/// A response to a request, and another request some seconds later.
#[derive(Clone, Debug)]
struct Case {
    method: Method,
    status: StatusCode,
    first: HeaderMap,
    response: HeaderMap,
    later: HeaderMap,
    seconds: u64,
}

impl Case {
    fn new(status: u16, first: &[&str], response: &[&str], later: &[&str], seconds: u64) -> Self {
        Self {
            method: Method::GET,
            status: StatusCode::from_u16(status).expect("a status"),
            first: headers(first),
            response: headers(response),
            later: headers(later),
            seconds,
        }
    }

    fn kept(&self) -> Option<(Terms, Vary)> {
        let exchange = Exchange {
            method: &self.method,
            path: "/",
            request: &self.first,
            status: self.status,
            response: &self.response,
            requested_at: NOW,
            received_at: NOW,
        };
        let Storable::Keep(terms) = storable(&exchange, &heeding()) else {
            return None;
        };
        let vary = Vary::of(&self.response, &self.first).expect("what is kept has no asterisk");
        Some((terms, vary))
    }

    /// Whether we use the response for the later request.
    fn ours(&self) -> bool {
        let later = NOW.plus(Duration::from_secs(self.seconds));
        self.kept().is_some_and(|(terms, vary)| {
            vary.matches(&self.later)
                && reuse(&self.later, &terms, later, Standing::Valid, &heeding()) == Reuse::Fresh
        })
    }

    /// Whether they do.
    fn theirs(&self) -> bool {
        let request = |fields: &HeaderMap| {
            let mut request = Request::builder().uri("/").method(self.method.clone());
            *request.headers_mut().expect("a sound builder") = fields.clone();
            request.body(()).expect("a request")
        };
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.response.clone();
        let now = std::time::UNIX_EPOCH + Duration::from_millis(NOW.0);
        let options = CacheOptions::default();
        let policy = CachePolicy::new_options(&request(&self.first), &response, now, options);
        let later = now + Duration::from_secs(self.seconds);
        policy.is_storable()
            && policy
                .before_request(&request(&self.later), later)
                .satisfies_without_revalidation()
    }

    /// The first difference that accounts for the answers; `None` if none does.
    fn explanation(&self, ours: bool) -> Option<&'static str> {
        let mut fitting = DIFFERENCES
            .iter()
            .filter(|difference| difference.we_use_it == ours && (difference.applies)(self));
        fitting.next().map(|difference| difference.reason)
    }

    fn control(&self) -> String {
        text(&self.response, &header::CACHE_CONTROL)
    }

    fn asked(&self) -> String {
        text(&self.later, &header::CACHE_CONTROL)
    }

    /// The directives of the response as they stand: names and arguments.
    fn directives(&self) -> Vec<(String, Option<String>)> {
        directives(&self.control())
    }

    fn has(&self, name: &str) -> bool {
        self.directives()
            .iter()
            .any(|(directive, _)| directive == name)
    }

    fn accepts_stale(&self) -> bool {
        self.asked().contains("max-stale")
    }

    /// Dates that are in another form than IMF-fixdate, or are none.
    fn has_odd_dates(&self) -> bool {
        [header::DATE, header::EXPIRES, header::LAST_MODIFIED]
            .iter()
            .flat_map(|name| self.response.get_all(name))
            .any(|date| {
                let parsed = tidegate_semantics::parse_date(date.as_bytes());
                parsed.map(tidegate_semantics::format_date).as_ref() != Some(date)
            })
    }
}

/// A route that heeds what requests ask for, as they do.
fn heeding() -> Policy {
    Policy {
        honour_request_directives: true,
        ..Policy::default()
    }
}

fn text(fields: &HeaderMap, name: &HeaderName) -> String {
    let value = tidegate_semantics::combined(fields, name).unwrap_or_default();
    String::from_utf8(value).expect("text")
}

fn directives(control: &str) -> Vec<(String, Option<String>)> {
    let members = control.split(',').map(str::trim);
    members
        .filter(|member| !member.is_empty())
        .map(|member| match member.split_once('=') {
            Some((name, argument)) => (name.to_owned(), Some(argument.to_owned())),
            None => (member.to_owned(), None),
        })
        .collect()
}

/// A number as delta-seconds are written, that everybody reads alike.
fn is_plain_number(argument: &str) -> bool {
    argument.len() < 10
        && !argument.is_empty()
        && argument.bytes().all(|byte| byte.is_ascii_digit())
}

/// A reason for which our answer is not theirs.
struct Difference {
    /// The section by which we go, and what it says.
    reason: &'static str,
    /// Whether we are the ones who use the response.
    we_use_it: bool,
    applies: fn(&Case) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "RFC 9111 §4.2.3: Date makes a response old, too",
        we_use_it: false,
        applies: |case| {
            case.kept()
                .is_some_and(|(terms, _)| !terms.age(NOW).is_zero())
        },
    },
    Difference {
        reason: "RFC 9110 §9.3.3: a POST is stored only if Content-Location says what it is",
        we_use_it: false,
        applies: |case| case.method == Method::POST,
    },
    Difference {
        reason: "RFC 9111 §5.2: names of directives have no case",
        we_use_it: false,
        applies: |case| {
            let has_upper = |text: String| text.bytes().any(|byte| byte.is_ascii_uppercase());
            has_upper(case.control()) || has_upper(case.asked())
        },
    },
    Difference {
        reason: "RFC 9111 §5.2: names of directives have no case",
        we_use_it: true,
        applies: |case| case.control().bytes().any(|byte| byte.is_ascii_uppercase()),
    },
    Difference {
        reason: "RFC 9110 §5.6.4: what stands in a quoted string is no directive",
        we_use_it: false,
        applies: |case| case.control().contains("x=\""),
    },
    Difference {
        reason: "RFC 9110 §5.6.4: what stands in a quoted string is no directive",
        we_use_it: true,
        applies: |case| case.control().contains("x=\""),
    },
    Difference {
        reason: "RFC 9111 §4.2.1: what is malformed errs towards not caching",
        we_use_it: false,
        applies: |case| case.control().contains(';'),
    },
    Difference {
        reason: "RFC 9111 §1.2.2, §4.2.1: only digits are a number, and no number is stale",
        we_use_it: false,
        applies: |case| {
            case.directives().iter().any(|(name, argument)| {
                let is_number = argument.as_deref().is_some_and(is_plain_number);
                let is_spaced = name.ends_with(' ');
                matches!(name.trim(), "max-age" | "s-maxage") && (is_spaced || !is_number)
            })
        },
    },
    Difference {
        reason: "RFC 9111 §1.2.2: numbers over 2^31 are 2^31, however long",
        we_use_it: true,
        applies: |case| {
            let is_long = |argument: &str| {
                argument.len() >= 10 && argument.bytes().all(|byte| byte.is_ascii_digit())
            };
            let of =
                |(_, argument): &(String, Option<String>)| argument.as_deref().is_some_and(is_long);
            case.directives().iter().any(of)
        },
    },
    Difference {
        reason: "RFC 9111 §4.2.1: of duplicates the first counts, and forbids nothing more",
        we_use_it: true,
        applies: |case| {
            let mut names: Vec<_> = case
                .directives()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            names.len() < count && case.accepts_stale()
        },
    },
    Difference {
        reason: "RFC 9111 §4.2.4: s-maxage and proxy-revalidate forbid stale use to max-stale, too",
        we_use_it: false,
        applies: |case| {
            case.accepts_stale() && (case.has("s-maxage") || case.has("proxy-revalidate"))
        },
    },
    Difference {
        reason: "RFC 9111 §5.2.2.4: no-cache forbids unvalidated use to max-stale, too",
        we_use_it: false,
        applies: |case| case.accepts_stale() && case.has("no-cache"),
    },
    Difference {
        reason: "RFC 9111 §5.2.1.2: max-stale takes up to that many seconds, and a number",
        we_use_it: false,
        applies: |case| {
            let junk = |(name, argument): &(String, Option<String>)| {
                name == "max-stale"
                    && argument
                        .as_deref()
                        .is_some_and(|argument| !is_plain_number(argument))
            };
            directives(&case.asked()).iter().any(junk)
        },
    },
    Difference {
        reason: "RFC 9111 §5.2.1.2: max-stale takes up to that many seconds, and a number",
        we_use_it: true,
        applies: |case| {
            let is_exact = |limit: u64| {
                case.kept().is_some_and(|(terms, _)| {
                    let later = NOW.plus(Duration::from_secs(case.seconds));
                    terms.age(later) == terms.lifetime + Duration::from_secs(limit)
                })
            };
            directives(&case.asked()).iter().any(|(name, argument)| {
                let limit = argument
                    .as_deref()
                    .and_then(|argument| argument.parse().ok());
                name == "max-stale" && limit.is_some_and(is_exact)
            })
        },
    },
    Difference {
        reason: "RFC 9111 §5.2.1.3: min-fresh rules stale responses out, also min-fresh=0",
        we_use_it: false,
        applies: |case| case.accepts_stale() && case.asked().contains("min-fresh"),
    },
    Difference {
        reason: "RFC 9111 §5.2.1.1: max-age=0 asks for validation, and so does what is no number",
        we_use_it: false,
        applies: |case| {
            let strict = |(name, argument): &(String, Option<String>)| {
                let number = argument
                    .as_deref()
                    .filter(|argument| is_plain_number(argument));
                name == "max-age" && number.is_none_or(|number| number.parse() == Ok(0))
            };
            directives(&case.asked()).iter().any(strict)
        },
    },
    Difference {
        reason: "RFC 9111 §3: without freshness or a validator there is nothing to keep",
        we_use_it: false,
        applies: |case| case.accepts_stale() && case.kept().is_none(),
    },
    Difference {
        reason: "RFC 9111 §4.1, RFC 9110 §5.3: all lines of a selecting field count",
        we_use_it: false,
        applies: |case| {
            let varies = text(&case.response, &header::VARY);
            let names = varies
                .split(',')
                .filter_map(|name| name.trim().parse::<HeaderName>().ok());
            names.into_iter().any(|name| {
                let lines = |fields: &HeaderMap| fields.get_all(&name).iter().count();
                lines(&case.first) > 1 || lines(&case.later) > 1
            })
        },
    },
    Difference {
        reason: "RFC 9111 §4.1: selecting fields are compared in a normal form",
        we_use_it: true,
        applies: |case| {
            let names = Vary::of(&case.response, &case.first).unwrap_or_default();
            names.fields.iter().any(|(name, _)| {
                text(&case.first, name) != text(&case.later, name)
                    || case.first.get_all(name).iter().count()
                        != case.later.get_all(name).iter().count()
            })
        },
    },
    Difference {
        reason: "RFC 9111 §7.3: Set-Cookie does not by itself stop caching",
        we_use_it: true,
        applies: |case| case.response.contains_key(header::SET_COOKIE),
    },
    Difference {
        reason: "RFC 9111 §7.3: a cookie is shared only under freshness that the response states",
        we_use_it: false,
        applies: |case| case.response.contains_key(header::SET_COOKIE),
    },
    Difference {
        reason: "RFC 9111 §5.2.2.8: proxy-revalidate forbids only stale use",
        we_use_it: true,
        applies: |case| case.has("proxy-revalidate"),
    },
    Difference {
        reason: "RFC 9111 §3: any final status with explicit freshness is stored",
        we_use_it: true,
        applies: |case| {
            let known = [
                200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
            ];
            !known.contains(&case.status.as_u16())
        },
    },
    Difference {
        reason: "RFC 9111 §5.4: Pragma is ignored",
        we_use_it: true,
        applies: |case| {
            case.response.contains_key(header::PRAGMA) || case.later.contains_key(header::PRAGMA)
        },
    },
    Difference {
        reason: "RFC 8246 §2: immutable gives no freshness",
        we_use_it: false,
        applies: |case| case.has("immutable"),
    },
    Difference {
        reason: "RFC 9110 §5.6.7: all three forms of dates are read, and nothing else",
        we_use_it: true,
        applies: Case::has_odd_dates,
    },
    Difference {
        reason: "RFC 9110 §5.6.7: all three forms of dates are read, and nothing else",
        we_use_it: false,
        applies: Case::has_odd_dates,
    },
    Difference {
        reason: "RFC 9111 §5.3: several Expires are already expired",
        we_use_it: false,
        applies: |case| case.response.get_all(header::EXPIRES).iter().count() > 1,
    },
    Difference {
        reason: "RFC 9111 §5.1: of a list in Age the first counts, and only digits are a number",
        we_use_it: true,
        applies: |case| {
            let age = text(&case.response, &header::AGE);
            !age.is_empty() && !is_plain_number(&age)
        },
    },
    Difference {
        reason: "RFC 9111 §3.5: only a valid permission shares a response to Authorization",
        we_use_it: false,
        applies: |case| {
            let odd = |(name, argument): &(String, Option<String>)| {
                (name == "public" && argument.is_some())
                    || (name == "s-maxage" && !argument.as_deref().is_some_and(is_plain_number))
            };
            case.first.contains_key(header::AUTHORIZATION) && case.directives().iter().any(odd)
        },
    },
    Difference {
        reason: "RFC 9111 §5.2.2.4: no-cache with fields withholds those alone",
        we_use_it: true,
        applies: |case| case.control().contains("no-cache=\""),
    },
    Difference {
        reason: "RFC 9111 §5.2.2.3: must-understand takes no-store back",
        we_use_it: true,
        applies: |case| case.has("must-understand"),
    },
    Difference {
        reason: "RFC 9111 §5.2.2.3: an unknown status is not stored under must-understand",
        we_use_it: false,
        applies: |case| case.has("must-understand"),
    },
    Difference {
        reason: "RFC 9111 §4.2.2: a guess ends after a day",
        we_use_it: false,
        applies: |case| {
            case.kept().is_some_and(|(terms, _)| {
                terms.basis == Basis::Heuristic && terms.lifetime == Duration::from_secs(86_400)
            })
        },
    },
    Difference {
        reason: "RFC 9213 §2.2: a targeted field governs in place of Cache-Control",
        we_use_it: true,
        applies: |case| case.response.contains_key("cdn-cache-control"),
    },
    Difference {
        reason: "RFC 9213 §2.2: a targeted field governs in place of Cache-Control",
        we_use_it: false,
        applies: |case| case.response.contains_key("cdn-cache-control"),
    },
];

/// The first request, the response, the later request, how many seconds later, and whether the response is used.
type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], u64, bool);

#[test]
fn on_the_plain_rules_all_are_of_one_mind() {
    let expires = format!("Expires: {HOUR_LATER}");
    let date = format!("Date: {DATE}");
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let authorized: &[&str] = &["Authorization: x"];
    let rows: &[Row] = &[
        (&[], &["Cache-Control: max-age=60"], &[], 59, true),
        (&[], &["Cache-Control: max-age=60"], &[], 60, false),
        (
            &[],
            &["Cache-Control: max-age=60, s-maxage=9"],
            &[],
            9,
            false,
        ),
        (
            &[],
            &["Cache-Control: max-age=60", "Age: 30"],
            &[],
            30,
            false,
        ),
        (&[], &[&date, &expires], &[], 3599, true),
        (&[], &[&date, &expires], &[], 3600, false),
        (&[], &["Expires: 0", &modified], &[], 0, false),
        (&[], &[&date, &modified], &[], 359, true),
        (&[], &[&date, &modified], &[], 361, false),
        (&[], &["Cache-Control: no-store, max-age=60"], &[], 0, false),
        (&[], &["Cache-Control: private, max-age=60"], &[], 0, false),
        (&[], &["Cache-Control: no-cache, max-age=60"], &[], 0, false),
        (authorized, &["Cache-Control: max-age=60"], &[], 0, false),
        (
            authorized,
            &["Cache-Control: public, max-age=60"],
            &[],
            0,
            true,
        ),
        (
            &["A: 1"],
            &["Cache-Control: max-age=60", "Vary: A"],
            &["A: 1"],
            0,
            true,
        ),
        (
            &["A: 1"],
            &["Cache-Control: max-age=60", "Vary: A"],
            &["A: 2"],
            0,
            false,
        ),
        (
            &["A: 1"],
            &["Cache-Control: max-age=60", "Vary: *"],
            &["A: 1"],
            0,
            false,
        ),
        (
            &[],
            &["Cache-Control: max-age=60"],
            &["Cache-Control: no-cache"],
            0,
            false,
        ),
        (
            &[],
            &["Cache-Control: max-age=60"],
            &["Cache-Control: max-age=9"],
            10,
            false,
        ),
        (
            &[],
            &["Cache-Control: max-age=60"],
            &["Cache-Control: min-fresh=9"],
            52,
            false,
        ),
        (
            &[],
            &["Cache-Control: max-age=60"],
            &["Cache-Control: max-stale=9"],
            65,
            true,
        ),
        (
            &[],
            &["Cache-Control: max-age=60"],
            &["Cache-Control: max-stale=9"],
            70,
            false,
        ),
    ];
    for (first, response, later, seconds, expected) in rows {
        let case = Case::new(200, first, response, later, *seconds);
        assert_eq!(
            (case.ours(), case.theirs()),
            (*expected, *expected),
            "{case:?}"
        );
    }
}

#[test]
fn every_difference_has_a_case_that_shows_it() {
    let modified = format!("Last-Modified: {HOUR_EARLIER}");
    let earlier = format!("Date: {HOUR_EARLIER}");
    let expires = format!("Expires: {HOUR_LATER}");
    let cc = |control: &str| format!("Cache-Control: {control}");
    let of = |control: &str| Case::new(200, &[], &[&cc(control)], &[], 10);
    let asking = |control: &str, asked: &str, seconds| {
        Case::new(200, &[], &[&cc(control)], &[&cc(asked)], seconds)
    };
    let with = |lines: &[&str]| Case::new(200, &[], lines, &[], 10);
    let varying = |first: &[&str], later: &[&str]| {
        Case::new(200, first, &[&cc("max-age=60"), "Vary: A"], later, 10)
    };
    let old = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let mut post = of("max-age=60");
    post.method = Method::POST;
    let authorized =
        |control: &str| Case::new(200, &["Authorization: x"], &[&cc(control)], &[], 10);
    let failed = |control: &str| Case::new(599, &[], &[&cc(control)], &[], 10);
    let cases = [
        with(&[&cc("max-age=600"), &earlier]),
        post,
        of("max-age=60, No-Store"),
        of("MAX-AGE=60"),
        of("x=\"a, max-age=60\""),
        of("max-age=60, x=\"a, no-store, b\""),
        of("max-age=60, a; private"),
        of("max-age=+60"),
        of("max-age=99999999999999999999"),
        asking("max-age=5, max-age=6", "max-stale", 10),
        asking("s-maxage=5", "max-stale", 10),
        asking("max-age=60, no-cache", "max-stale", 10),
        asking("max-age=5", "max-stale=x", 10),
        asking("max-age=5", "max-stale=5", 10),
        asking("max-age=5", "max-stale=9, min-fresh=0", 10),
        asking("max-age=60", "max-age=0", 0),
        asking("public", "max-stale", 10),
        varying(&["A: 1"], &["A: 1", "A: 2"]),
        varying(&["A: 1, 2"], &["A: 1,2"]),
        with(&[&cc("max-age=60"), "Set-Cookie: a"]),
        with(&[&cc("public"), &modified, "Set-Cookie: a"]),
        of("max-age=60, proxy-revalidate"),
        failed("max-age=60"),
        with(&[&modified, "Pragma: no-cache"]),
        of("immutable"),
        with(&["Expires: Sun Nov  6 09:49:37 2033"]),
        with(&["Expires: Sun, 06 Nov 2033 09:49:37 +0000"]),
        with(&[&expires, &expires]),
        with(&[&cc("max-age=60"), "Age: +90"]),
        authorized("max-age=60, public=1"),
        of("max-age=60, no-cache=\"a\""),
        of("max-age=60, must-understand, no-store"),
        Case::new(200, &[], &[old], &[], 100_000),
        with(&[&cc("no-store"), "CDN-Cache-Control: max-age=60"]),
        with(&[&cc("max-age=60"), "CDN-Cache-Control: no-store"]),
    ];
    let mut shown = Vec::new();
    for case in cases {
        let (ours, theirs) = (case.ours(), case.theirs());
        assert_ne!(ours, theirs, "no difference: {case:?}");
        let reason = case
            .explanation(ours)
            .unwrap_or_else(|| panic!("unexplained: {case:?}"));
        shown.push((reason, ours));
    }
    // Nobody shows this one alone: what we do not know they do not store.
    let unshown = ["RFC 9111 §5.2.2.3: an unknown status is not stored under must-understand"];
    for difference in DIFFERENCES {
        let is_shown = shown.contains(&(difference.reason, difference.we_use_it));
        assert!(
            is_shown || unshown.contains(&difference.reason),
            "not shown: {}",
            difference.reason
        );
    }
}

fn line(
    field: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Option<String>> {
    one_of(values).prop_map(move |value| (!value.is_empty()).then(|| format!("{field}: {value}")))
}

fn control() -> impl Strategy<Value = Option<String>> {
    let directives = [
        "max-age=60",
        "max-age=0",
        "max-age=600",
        "s-maxage=30",
        "s-maxage=0",
        "no-store",
        "private",
        "public",
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "immutable",
        "must-understand",
        "max-age=x",
        "max-age",
        "s-maxage=x",
        "max-age=\"60\"",
        "no-cache=\"a\"",
        "private=\"a\"",
        "Max-Age=60",
        "x=\"a, max-age=60\"",
        "max-age=60; a",
        "a=b",
        "max-age=9999999999",
        "public=1",
        "max-age =60",
        "max-age= 60",
        "stale-while-revalidate=30",
        "stale-if-error=30",
        "",
    ];
    vec(one_of(directives.to_vec()), 0..4).prop_map(|directives| {
        (!directives.is_empty()).then(|| format!("Cache-Control: {}", directives.join(", ")))
    })
}

fn asked() -> impl Strategy<Value = Option<String>> {
    let directives = [
        "max-age=0",
        "max-age=30",
        "max-age=x",
        "min-fresh=10",
        "min-fresh=0",
        "max-stale",
        "max-stale=50",
        "max-stale=x",
        "no-cache",
        "No-Cache",
        "no-transform",
        "only-if-cached",
    ];
    vec(one_of(directives.to_vec()), 0..3).prop_map(|directives| {
        (!directives.is_empty()).then(|| format!("Cache-Control: {}", directives.join(", ")))
    })
}

const DATES: &[&str] = &[
    "",
    "",
    DATE,
    DATE,
    HOUR_EARLIER,
    HOUR_LATER,
    "0",
    "Sunday, 06-Nov-33 08:49:37 GMT",
    "Sun Nov  6 09:49:37 2033",
    "Sun, 06 Nov 2033 09:49:37 +0000",
    "Thu, 01 Jan 1970 00:00:00 GMT",
];

const VALUES: &[&str] = &["", "", "1", "1, 2", "1,2", "2"];

prop_compose! {
    fn case()(
        status in one_of(vec![200u16, 200, 200, 203, 204, 301, 302, 404, 410, 500, 502, 299, 403]),
        response in (
            control(), line("Expires", DATES), line("Date", DATES), line("Last-Modified", DATES),
            line("Age", &["", "", "", "0", "10", "100", "10, 100", "x", "-5", "+5"]),
            line("ETag", &["", "\"a\"", "W/\"a\""]),
            line("Set-Cookie", &["", "", "", "", "a=b"]),
            line("Vary", &["", "", "A", "A, B", "*", "A, *", "Accept-Encoding"]),
            line("Pragma", &["", "", "", "no-cache"]),
        ),
        first in (
            line("Authorization", &["", "", "", "x"]), line("A", VALUES), line("B", VALUES),
            line("Accept-Encoding", &["", "gzip", "gzip, br", "GZIP"]),
        ),
        later in (
            asked(), line("A", VALUES), line("A", VALUES), line("B", VALUES),
            line("Accept-Encoding", &["", "gzip", "br,gzip", "GZIP"]), line("Pragma", &["", "", "", "no-cache"]),
        ),
        seconds in one_of(vec![0u64, 1, 10, 29, 30, 59, 60, 80, 110, 359, 361, 3000, 100_000]),
    ) -> Case {
        let response = [
            response.0, response.1, response.2, response.3, response.4, response.5, response.6, response.7,
            response.8,
        ];
        let first = [first.0, first.1, first.2, first.3];
        let later = [later.0, later.1, later.2, later.3, later.4, later.5];
        let lines = |lines: &[Option<String>]| {
            headers(&lines.iter().flatten().map(String::as_str).collect::<Vec<_>>())
        };
        Case {
            method: Method::GET,
            status: StatusCode::from_u16(status).expect("a status"),
            first: lines(&first),
            response: lines(&response),
            later: lines(&later),
            seconds,
        }
    }
}

proptest! {
    #[test]
    fn what_differs_is_explained(case in case()) {
        let (ours, theirs) = (case.ours(), case.theirs());
        prop_assert!(ours == theirs || case.explanation(ours).is_some(), "we use it: {ours}, they: {theirs}");
    }
}
