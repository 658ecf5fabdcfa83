//! Points in time, and the three forms of HTTP-date (RFC 9110 §5.6.7).
//!
//! The parser is our own because caches must be strict where browsers are kind: an `Expires` that is almost a date is
//! already expired (RFC 9111 §5.3), and a two-digit year is read against the present, not against 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This point moved into the future; saturates at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    /// This point moved into the past; saturates at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// The time since `earlier`: never negative, zero when `earlier` is in fact later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The system's time as a timestamp; times before the epoch become the epoch.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(milliseconds(since_epoch))
    }

    /// Cut down to whole seconds, the grain of every date in HTTP.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What `parse_date` takes for the present when it reads a two-digit year: the beginning of 2026.
const REFERENCE: Timestamp = Timestamp(1_767_225_600_000);

/// Reads an HTTP-date in any of its three forms and any letter case; `None` for whatever is not exactly one.
///
/// Dates before 1970 become the epoch. Two-digit years are read as of 2026; see [`parse_date_at`].
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<Timestamp> {
    parse_date_at(value, REFERENCE)
}

/// Like [`parse_date`], where `now` decides the century of an RFC 850 date: a year that would lie more than 50 years
/// ahead of it is the most recent past year with the same two digits (RFC 9110 §5.6.7).
#[must_use]
pub fn parse_date_at(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    imf_fixdate(value)
        .or_else(|| asctime(value))
        .or_else(|| rfc850(value, now))?
        .timestamp()
}

/// An IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`; times after the year 9999 become its last second.
#[must_use]
pub fn format_date(time: Timestamp) -> HeaderValue {
    let seconds = (time.0 / 1000).min(LAST);
    let date = Civil::at(seconds);
    let weekday = SHORT_WEEKDAYS[usize::try_from((seconds / DAY + 4) % 7).unwrap_or_default()];
    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[..3].copy_from_slice(weekday);
    two_digits(&mut text[5..7], date.day);
    text[8..11].copy_from_slice(MONTHS[usize::from(date.month - 1)]);
    two_digits(
        &mut text[12..14],
        u8::try_from(date.year / 100).unwrap_or(99),
    );
    two_digits(
        &mut text[14..16],
        u8::try_from(date.year % 100).unwrap_or(99),
    );
    two_digits(&mut text[17..19], date.hour);
    two_digits(&mut text[20..22], date.minute);
    two_digits(&mut text[23..25], date.second);
    HeaderValue::from_bytes(&text).expect("digits, letters, commas and colons are visible ASCII")
}

fn two_digits(place: &mut [u8], number: u8) {
    place[0] = b'0' + number / 10;
    place[1] = b'0' + number % 10;
}

const DAY: u64 = 86_400;

/// The last second of the year 9999, with which dates of four digits end.
const LAST: u64 = 253_402_300_799;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

const SHORT_WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];

const LONG_WEEKDAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];

/// A date and time of day in UTC. Ordered, so that two of them compare as points in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Civil {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Civil {
    /// The civil date of a number of seconds since the epoch, at most the year 9999.
    fn at(seconds: u64) -> Self {
        // The usual conversion by 400-year eras of 146,097 days that begin on the first of March.
        let days = seconds / DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: small(month),
            day: small(day_of_year - (153 * shifted_month + 2) / 5 + 1),
            hour: small(seconds % DAY / 3600),
            minute: small(seconds % 3600 / 60),
            second: small(seconds % 60),
        }
    }

    /// The point in time, if such a day and time exist. A leap second is the second after it.
    fn timestamp(self) -> Option<Timestamp> {
        if self.day == 0 || self.day > self.days_in_month() {
            return None;
        }
        if self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let (month, day) = (u64::from(self.month), u64::from(self.day));
        // Counted from the year -400, so that every step stays positive.
        let year = u64::from(self.year) + 400 - u64::from(month <= 2);
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).saturating_sub(719_468 + 146_097);
        let before_epoch = self.year < 1970;
        let seconds = days * DAY
            + u64::from(self.hour) * 3600
            + u64::from(self.minute) * 60
            + u64::from(self.second);
        Some(Timestamp(if before_epoch { 0 } else { seconds * 1000 }))
    }

    fn days_in_month(self) -> u8 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(value: &[u8]) -> Option<Civil> {
    let text: &[u8; 29] = value.try_into().ok()?;
    weekday(
        &text[..3],
        SHORT_WEEKDAYS.iter().map(|name| name.as_slice()),
    )?;
    literal(&text[3..5], b", ")?;
    literal(&text[7..8], b" ")?;
    literal(&text[11..12], b" ")?;
    literal(&text[16..17], b" ")?;
    literal(&text[25..], b" GMT")?;
    let (hour, minute, second) = time_of_day(&text[17..25])?;
    Some(Civil {
        year: number(&text[12..16])?,
        month: month(&text[8..11])?,
        day: small(&text[5..7])?,
        hour,
        minute,
        second,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850(value: &[u8], now: Timestamp) -> Option<Civil> {
    let comma = value.iter().position(|byte| *byte == b',')?;
    weekday(&value[..comma], LONG_WEEKDAYS.iter().copied())?;
    let text: &[u8; 24] = value[comma..].try_into().ok()?;
    literal(&text[..2], b", ")?;
    literal(&text[4..5], b"-")?;
    literal(&text[8..9], b"-")?;
    literal(&text[11..12], b" ")?;
    literal(&text[20..], b" GMT")?;
    let (hour, minute, second) = time_of_day(&text[12..20])?;
    let present = Civil::at((now.0 / 1000).min(LAST));
    let horizon = Civil {
        year: present.year.saturating_add(50),
        ..present
    };
    let two_digits = number(&text[9..11])?;
    let mut date = Civil {
        year: horizon.year - (horizon.year + 100 - two_digits) % 100,
        month: month(&text[5..8])?,
        day: small(&text[2..4])?,
        hour,
        minute,
        second,
    };
    if date > horizon {
        date.year -= 100;
    }
    Some(date)
}

/// `Sun Nov  6 08:49:37 1994`, the day padded with a space.
fn asctime(value: &[u8]) -> Option<Civil> {
    let text: &[u8; 24] = value.try_into().ok()?;
    weekday(
        &text[..3],
        SHORT_WEEKDAYS.iter().map(|name| name.as_slice()),
    )?;
    literal(&text[3..4], b" ")?;
    literal(&text[7..8], b" ")?;
    literal(&text[10..11], b" ")?;
    literal(&text[19..20], b" ")?;
    let (hour, minute, second) = time_of_day(&text[11..19])?;
    let day = if text[8] == b' ' {
        small(&text[9..10])?
    } else {
        small(&text[8..10])?
    };
    Some(Civil {
        year: number(&text[20..])?,
        month: month(&text[4..7])?,
        day,
        hour,
        minute,
        second,
    })
}

/// `08:49:37`.
fn time_of_day(text: &[u8]) -> Option<(u8, u8, u8)> {
    literal(&text[2..3], b":")?;
    literal(&text[5..6], b":")?;
    Some((small(&text[..2])?, small(&text[3..5])?, small(&text[6..8])?))
}

fn literal(text: &[u8], expected: &[u8]) -> Option<()> {
    text.eq_ignore_ascii_case(expected).then_some(())
}

fn weekday<'a>(text: &[u8], mut names: impl Iterator<Item = &'a [u8]>) -> Option<()> {
    names
        .any(|name| name.eq_ignore_ascii_case(text))
        .then_some(())
}

fn month(text: &[u8]) -> Option<u8> {
    let index = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))?;
    u8::try_from(index + 1).ok()
}

/// At most four digits, and nothing else.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |sum: u16, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u16::from(byte - b'0'))
    })
}

fn small(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits)?).ok()
}
