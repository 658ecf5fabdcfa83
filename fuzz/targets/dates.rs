//! Dates in their three forms. The first eight bytes are the present, the rest is the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_semantics::time::parse_date_at;
use tidegate_semantics::{Timestamp, format_date, parse_date};

/// Fifty years with their leap days, and one day more, in milliseconds.
const HORIZON: u64 = (50 * 365 + 13 + 1) * 86_400_000;

/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799_000;

fuzz_target!(|data: &[u8]| {
    let Some((now, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    let now = Timestamp(u64::from_le_bytes(*now));
    assert_eq!(format_date(now).len(), 29);

    let read = parse_date_at(text, now);
    assert_eq!(
        read,
        parse_date_at(&text.to_ascii_uppercase(), now),
        "no case"
    );
    assert_eq!(
        read,
        parse_date_at(&text.to_ascii_lowercase(), now),
        "no case"
    );
    let is_rfc850 = text.len() >= 30;
    assert!(
        is_rfc850 || read == parse_date(text),
        "four digits need no present"
    );
    let Some(time) = read else { return };

    assert_eq!(time.0 % 1000, 0, "whole seconds");
    // Two digits may reach fifty years beyond four.
    assert!(time.0 <= LAST + HORIZON);
    if is_rfc850 {
        assert!(
            time.0 <= now.0.saturating_add(HORIZON),
            "at most fifty years ahead"
        );
    }
    if time.0 <= LAST {
        let printed = format_date(time);
        assert_eq!(
            parse_date(printed.as_bytes()),
            Some(time),
            "printed and read"
        );
    }
});
