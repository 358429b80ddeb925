//! Dates, times and UUIDs out of text, strictly: the forms of ISO 8601 that PostgreSQL and SQLite write,
//! and nothing before or after them.
//!
//! Years have four digits. A fraction of a second finer than a microsecond and a leap second are not
//! accepted, because they could not be kept.

use jiff::civil::{self, Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::{SignedDuration, Timestamp};

const DAY_MICROS: i64 = 86_400_000_000;
const EPOCH: Date = civil::date(1970, 1, 1);

/// A date, or a date with a time, with or without a zone. The numbers are those of [`crate::value::Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A calendar date.
    Date(i32),
    /// Date and time without a zone.
    DateTime(i64),
    /// A point in time.
    Timestamp(i64),
}

/// `YYYY-MM-DD`, `YYYY-MM-DD HH:MM[:SS[.ffffff]]` (also with `T`), the latter with `Z`, `+HH`, `+HHMM` or `+HH:MM`.
pub fn moment(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
    if !(digits(0..4) && digits(5..7) && digits(8..10) && bytes[4] == b'-' && bytes[7] == b'-') {
        return None;
    }
    if bytes.len() > 10 {
        // jiff reads more than we take: shorter times, commas, zone names in brackets, a 60th second.
        let clock =
            matches!(bytes[10], b'T' | b't' | b' ') && digits(11..13) && bytes.get(13) == Some(&b':') && digits(14..16);
        let rest = bytes.get(16..).unwrap_or_default();
        if !clock
            || !rest.iter().all(|b| matches!(b, b'0'..=b'9' | b':' | b'.' | b'+' | b'-' | b'Z' | b'z'))
            || rest.starts_with(b":60")
        {
            return None;
        }
    }
    let pieces = Pieces::parse(text).ok()?;
    let days = days_of(pieces.date())?;
    if bytes.len() == 10 {
        return Some(Moment::Date(days));
    }
    let wall = i64::from(days) * DAY_MICROS + micros_of(pieces.time()?)?;
    Some(match pieces.to_numeric_offset() {
        Some(offset) => Moment::Timestamp(wall - i64::from(offset.seconds()) * 1_000_000),
        None => Moment::DateTime(wall),
    })
}

/// `YYYY-MM-DD`
pub fn date(text: &str) -> Option<i32> {
    match moment(text)? {
        Moment::Date(days) => Some(days),
        _ => None,
    }
}

/// `HH:MM[:SS[.ffffff]]`
pub fn time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let plain = bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b':' | b'.'));
    if !plain || bytes.get(2) != Some(&b':') || bytes.get(5..).is_some_and(|rest| rest.starts_with(b":60")) {
        return None;
    }
    micros_of(text.parse().ok()?)
}

/// `8-4-4-4-12` hexadecimal digits in either case.
pub fn uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut out = 0u128;
    for (at, &b) in bytes.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if b != b'-' {
                return None;
            }
        } else {
            out = out << 4 | u128::from((b as char).to_digit(16)?);
        }
    }
    Some(out.to_be_bytes())
}

/// The calendar date, where jiff has it (years -9999 to 9999).
pub fn civil_date(days: i32) -> Option<Date> {
    EPOCH.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).ok()
}

/// The calendar date and time, where jiff has it (years -9999 to 9999).
pub fn civil_datetime(micros: i64) -> Option<DateTime> {
    EPOCH.to_datetime(civil::Time::midnight()).checked_add(SignedDuration::from_micros(micros)).ok()
}

/// The point in time, where jiff has it.
pub fn timestamp(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

/// Microseconds at midnight of a day.
pub fn midnight(days: i32) -> i64 {
    i64::from(days) * DAY_MICROS
}

/// The day whose midnight this is.
pub fn day_at_midnight(micros: i64) -> Option<i32> {
    if micros.rem_euclid(DAY_MICROS) != 0 {
        return None;
    }
    i32::try_from(micros.div_euclid(DAY_MICROS)).ok()
}

/// The day that holds this moment.
pub fn day_of(micros: i64) -> Option<i32> {
    i32::try_from(micros.div_euclid(DAY_MICROS)).ok()
}

fn days_of(date: Date) -> Option<i32> {
    i32::try_from(date.duration_since(EPOCH).as_hours() / 24).ok()
}

fn micros_of(time: civil::Time) -> Option<i64> {
    let nanos = i64::from(time.subsec_nanosecond());
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    (nanos % 1000 == 0).then_some(seconds * 1_000_000 + nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T03:04:05 in microseconds.
    const AT: i64 = 1_767_323_045_000_000;

    #[test]
    fn every_form_of_a_moment_is_read() {
        for (text, expected) in [
            ("2026-01-02", Moment::Date(20_455)),
            ("1969-12-31", Moment::Date(-1)),
            ("0001-01-01", Moment::Date(-719_162)),
            ("9999-12-31", Moment::Date(2_932_896)),
            ("2026-01-02 03:04:05", Moment::DateTime(AT)),
            ("2026-01-02T03:04:05", Moment::DateTime(AT)),
            ("2026-01-02 03:04", Moment::DateTime(AT - 5_000_000)),
            ("2026-01-02 03:04:05.5", Moment::DateTime(AT + 500_000)),
            ("2026-01-02T03:04:05.000006", Moment::DateTime(AT + 6)),
            ("2026-01-02T03:04:05Z", Moment::Timestamp(AT)),
            ("2026-01-02t03:04:05z", Moment::Timestamp(AT)),
            ("2026-01-02 03:04:05+00", Moment::Timestamp(AT)),
            ("2026-01-02 03:04:05.000006+00:00", Moment::Timestamp(AT + 6)),
            ("2026-01-02 03:04:05+05:30", Moment::Timestamp(AT - 19_800_000_000)),
            ("2026-01-02 03:04:05+0530", Moment::Timestamp(AT - 19_800_000_000)),
            ("2026-01-02 03:04:05-08", Moment::Timestamp(AT + 28_800_000_000)),
            ("9999-12-31T23:59:59Z", Moment::Timestamp(253_402_300_799_000_000)),
        ] {
            assert_eq!(moment(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_moment() {
        for text in [
            "",
            "today",
            "2026-1-2",
            "20260102",
            "2026-02-30",
            "02/01/2026",
            "2026-01-02 ",
            " 2026-01-02",
            "2026-01-02 03",
            "2026-01-02 03:04:05.1234567",
            "2026-01-02 23:59:60",
            "2026-01-02 24:00:00",
            "2026-01-02T03:04:05[UTC]",
            "2026-01-02T03:04:05Z[UTC]",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02 03:04:05,5",
            "12026-01-02",
            "-026-01-02",
            "2026-01-02\u{e9}",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn times_and_uuids_are_read_whole() {
        assert_eq!(time("03:04:05"), Some(11_045_000_000));
        assert_eq!(time("03:04"), Some(11_040_000_000));
        assert_eq!(time("23:59:59.999999"), Some(DAY_MICROS - 1));
        for text in [
            "",
            "3:04",
            "24:00:00",
            "03:04:05Z",
            "03:04:05+01",
            "23:59:60",
            "03:04:05.1234567",
            "0304",
            "2026-01-02 03:04",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(uuid("00112233-4455-6677-8899-AABBccddeeff").map(|u| u[15]), Some(0xff));
        for text in [
            "",
            "00112233445566778899aabbccddeeff",
            "{00112233-4455-6677-8899-aabbccddeeff}",
            "00112233-4455-6677-8899-aabbccddeefg",
        ] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_calendars_agree() {
        for days in (-700_000..2_900_000).step_by(997) {
            assert_eq!(date(&civil_date(days).unwrap().to_string()), Some(days).filter(|d| *d >= -719_528));
        }
        assert_eq!(civil_datetime(AT).unwrap().to_string(), "2026-01-02T03:04:05");
        assert_eq!((civil_date(i32::MAX), day_at_midnight(AT), day_of(-1)), (None, None, Some(-1)));
    }
}
