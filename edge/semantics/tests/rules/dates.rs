use tidegate_semantics::time::parse_date_at;
use tidegate_semantics::{Timestamp, format_date, parse_date};

use crate::support::NOW;

const NOVEMBER_1994: u64 = 784_111_777_000;
const AUGUST_2050: u64 = 2_544_400_878_000;

#[test]
fn a_date_is_read_in_its_three_forms_and_nothing_else_is_a_date() {
    let rows: &[(&str, &str, Option<u64>)] = &[
        (
            "RFC 9110 §5.6.7, IMF-fixdate",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            Some(NOVEMBER_1994),
        ),
        (
            "RFC 9110 §5.6.7, RFC 850",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            Some(NOVEMBER_1994),
        ),
        (
            "RFC 9110 §5.6.7, asctime",
            "Sun Nov  6 08:49:37 1994",
            Some(NOVEMBER_1994),
        ),
        (
            "asctime, two-digit day",
            "Thu Aug 18 02:01:18 2050",
            Some(AUGUST_2050),
        ),
        (
            "RFC 9111 §4.2, weekday's case",
            "THU, 18 Aug 2050 02:01:18 GMT",
            Some(AUGUST_2050),
        ),
        (
            "RFC 9111 §4.2, month's case",
            "Thu, 18 AUG 2050 02:01:18 GMT",
            Some(AUGUST_2050),
        ),
        (
            "RFC 9111 §4.2, zone's case",
            "Thu, 18 Aug 2050 02:01:18 gMT",
            Some(AUGUST_2050),
        ),
        ("the epoch", "Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("before the epoch", "Wed, 31 Dec 1969 23:59:59 GMT", Some(0)),
        ("the year nought", "Sat, 01 Jan 0000 00:00:00 GMT", Some(0)),
        (
            "after 2038",
            "Tue, 19 Jan 2038 03:14:08 GMT",
            Some(2_147_483_648_000),
        ),
        (
            "after 2286",
            "Sat, 20 Nov 2286 17:46:40 GMT",
            Some(10_000_000_000_000),
        ),
        (
            "a leap day",
            "Tue, 29 Feb 2028 00:00:00 GMT",
            Some(1_835_395_200_000),
        ),
        (
            "a leap second",
            "Sat, 31 Dec 2016 23:59:60 GMT",
            Some(1_483_228_800_000),
        ),
        ("no leap day", "Thu, 29 Feb 2029 00:00:00 GMT", None),
        ("no leap century", "Thu, 29 Feb 2100 00:00:00 GMT", None),
        ("day 0", "Thu, 00 Aug 2050 02:01:18 GMT", None),
        ("day 31 of 30", "Thu, 31 Sep 2050 02:01:18 GMT", None),
        ("hour 24", "Thu, 18 Aug 2050 24:01:18 GMT", None),
        ("minute 60", "Thu, 18 Aug 2050 02:60:18 GMT", None),
        ("another zone", "Thu, 18 Aug 2050 02:01:18 UTC", None),
        ("an offset", "Thu, 18 Aug 2050 02:01:18 +00", None),
        ("two-digit year", "Thu, 18 Aug 50 02:01:18 GMT", None),
        ("missing comma", "Thu 18 Aug 2050 02:01:18 GMT", None),
        ("doubled spaces", "Thu, 18  Aug  2050 02:01:18 GMT", None),
        ("dashes", "Thu, 18-Aug-2050 02:01:18 GMT", None),
        ("dots in the time", "Thu, 18 Aug 2050 02.01.18 GMT", None),
        ("one-digit hour", "Thu, 18 Aug 2050 2:01:18 GMT", None),
        ("one-digit day", "Thu, 8 Aug 2050 02:01:18 GMT", None),
        ("no weekday", "Foo, 18 Aug 2050 02:01:18 GMT", None),
        ("no month", "Thu, 18 Agu 2050 02:01:18 GMT", None),
        (
            "short weekday in RFC 850",
            "Sun, 06-Nov-94 08:49:37 GMT",
            None,
        ),
        (
            "long weekday in IMF",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            None,
        ),
        ("signs for digits", "Thu, +8 Aug 2050 02:01:18 GMT", None),
        ("space around", " Thu, 18 Aug 2050 02:01:18 GMT", None),
        ("a number", "0", None),
        ("a negative number", "-1", None),
        ("nothing", "", None),
    ];
    for (rule, text, expected) in rows {
        assert_eq!(
            parse_date(text.as_bytes()),
            expected.map(Timestamp),
            "{rule}: {text}"
        );
    }
}

#[test]
fn a_two_digit_year_is_at_most_fifty_years_ahead() {
    // NOW is Sun, 06 Nov 2033 08:49:37 GMT; RFC 9110 §5.6.7.
    let rows = [
        (
            "Sunday, 06-Nov-83 08:49:37 GMT",
            "Sat, 06 Nov 2083 08:49:37 GMT",
        ),
        (
            "Sunday, 06-Nov-83 08:49:38 GMT",
            "Sun, 06 Nov 1983 08:49:38 GMT",
        ),
        (
            "Sunday, 06-Nov-84 08:49:37 GMT",
            "Tue, 06 Nov 1984 08:49:37 GMT",
        ),
        (
            "Sunday, 06-Nov-33 08:49:37 GMT",
            "Sun, 06 Nov 2033 08:49:37 GMT",
        ),
        (
            "Sunday, 06-Nov-00 08:49:37 GMT",
            "Mon, 06 Nov 2000 08:49:37 GMT",
        ),
        (
            "Sunday, 06-Nov-99 08:49:37 GMT",
            "Sat, 06 Nov 1999 08:49:37 GMT",
        ),
    ];
    for (text, expected) in rows {
        let date = parse_date_at(text.as_bytes(), NOW);
        assert_eq!(
            date.map(format_date).as_ref().and_then(|d| d.to_str().ok()),
            Some(expected),
            "{text}"
        );
    }
}

#[test]
fn a_date_is_written_as_imf_fixdate_and_never_beyond_the_year_9999() {
    assert_eq!(
        format_date(Timestamp(NOVEMBER_1994 + 999)),
        "Sun, 06 Nov 1994 08:49:37 GMT"
    );
    assert_eq!(format_date(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(
        format_date(Timestamp(u64::MAX)),
        "Fri, 31 Dec 9999 23:59:59 GMT"
    );
}
