//! INTERVAL and RANGE as text: the same text whichever API gave the value.

use std::fmt::Write as _;

use domain::mapping::iso::{self, Moment};
use domain::value::Value;

/// The end of a range that has none.
const UNBOUNDED: &str = "UNBOUNDED";

/// `1-2 3 4:5:6.500`, as GoogleSQL casts an INTERVAL to STRING.
/// <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#interval_type>
pub(super) fn interval(out: &mut String, months: i32, days: i32, nanos: i64) {
    let (whole, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let sign = |negative: bool| if negative { "-" } else { "" };
    let (years, rest) = (months.unsigned_abs() / 12, months.unsigned_abs() % 12);
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    // Writing to a String cannot fail.
    let _ = write!(out, "{}{years}-{rest} {days} ", sign(months < 0));
    let _ = write!(out, "{}{hours}:{minutes}:{seconds}", sign(nanos < 0));
    // In groups of three digits, as many as there must be.
    let _ = match fraction {
        0 => Ok(()),
        f if f % 1_000_000 == 0 => write!(out, ".{:03}", f / 1_000_000),
        f if f % 1000 == 0 => write!(out, ".{:06}", f / 1000),
        f => write!(out, ".{f:09}"),
    };
}

/// `[2024-01-01, UNBOUNDED)`
pub(super) fn range(out: &mut String, start: Option<Value<'_>>, end: Option<Value<'_>>) {
    let bound = |value: Option<Value<'_>>| value.map_or(UNBOUNDED.into(), |value| value.to_text().into_owned());
    let (start, end): (String, String) = (bound(start), bound(end));
    let _ = write!(out, "[{start}, {end})");
}

/// A range of the REST API, spelt as [`range`] does; as it is where it is none. Bounds that are moments come as microseconds.
pub(super) fn range_of_text(out: &mut String, text: &str) {
    let bounds = text.strip_prefix('[').and_then(|t| t.strip_suffix(')')).and_then(|t| t.split_once(", "));
    let read = bounds.and_then(|(start, end)| Some((bound(start)?, bound(end)?)));
    match read {
        Some((start, end)) => range(out, start, end),
        None => out.push_str(text),
    }
}

fn bound(text: &str) -> Option<Option<Value<'static>>> {
    if text == UNBOUNDED || text == "NULL" {
        return Some(None);
    }
    if let Ok(micros) = text.parse() {
        return Some(Some(Value::Timestamp(micros)));
    }
    Some(Some(match iso::moment(text)? {
        Moment::Date(days) => Value::Date(days),
        Moment::DateTime(micros) => Value::DateTime(micros),
        Moment::Timestamp(micros) => Value::Timestamp(micros),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_spelt_as_googlesql_does() {
        for (months, days, nanos, expected) in [
            (0, 0, 0, "0-0 0 0:0:0"),
            (13, 0, 0, "1-1 0 0:0:0"),
            (-13, -30, 0, "-1-1 -30 0:0:0"),
            (12345, 0, 0, "1028-9 0 0:0:0"),
            (0, 0, -1, "0-0 0 -0:0:0.000000001"),
            (0, 0, 1_001, "0-0 0 0:0:0.000001001"),
            (0, 0, -100_000, "0-0 0 -0:0:0.000100"),
            (0, 0, 3_723_456_000_000, "0-0 0 1:2:3.456"),
            (0, 0, 360_000_000_000_000, "0-0 0 100:0:0"),
            (-123, 4567, -320_854_000_056_789, "-10-3 4567 -89:7:34.000056789"),
        ] {
            let mut out = String::new();
            interval(&mut out, months, days, nanos);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn ranges_have_one_spelling() {
        for (text, expected) in [
            ("[2024-01-01, 2024-02-29)", "[2024-01-01, 2024-02-29)"),
            ("[UNBOUNDED, 2024-02-29)", "[UNBOUNDED, 2024-02-29)"),
            ("[2024-01-01 12:00:00.500000, UNBOUNDED)", "[2024-01-01T12:00:00.500000, UNBOUNDED)"),
            ("[2024-01-01T12:00:00.5, UNBOUNDED)", "[2024-01-01T12:00:00.500000, UNBOUNDED)"),
            ("[0, 1500000)", "[1970-01-01T00:00:00Z, 1970-01-01T00:00:01.500000Z)"),
            ("whatever else", "whatever else"),
        ] {
            let mut out = String::new();
            range_of_text(&mut out, text);
            assert_eq!(out, expected);
        }
    }
}
