//! One typed value, as a warehouse gives it and a destination gets it.
//!
//! Not here: how a value is laid out in memory and hashed ([`crate::cells`]), and how it is turned
//! into another type ([`crate::mapping`]).

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A borrowed value. Text is UTF-8; times are microseconds, dates are days, both from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The field is left out of the record: the destination keeps what it has.
    Missing,
    /// SQL NULL. In a mapped record: the destination's field is to be cleared.
    Null,
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A binary floating point number; never NaN or infinite (those are [`Value::Unreadable`]).
    Float(f64),
    /// A decimal number, exactly: `-?digits[.digits]`, no exponent, no trailing zeros after the point.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A calendar date: days since 1970-01-01.
    Date(i32),
    /// A time of day: microseconds since midnight.
    Time(i64),
    /// A date and time without a zone: microseconds since 1970-01-01T00:00:00.
    DateTime(i64),
    /// A point in time: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A JSON document as text (arrays of the warehouse come this way too).
    Json(&'a str),
    /// A UUID.
    Uuid([u8; 16]),
    /// A value the warehouse holds and nobody can use (invalid UTF-8, NaN, `infinity`); the text says why.
    /// A record that maps it is invalid; one that does not is not harmed.
    Unreadable(&'a str),
}

/// The type of a column or of a destination's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Not known before the values are seen (SQLite columns, a webhook's fields).
    Any,
    /// true or false.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A binary floating point number of 64 bits.
    Float,
    /// An exact decimal number.
    Decimal,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A calendar date.
    Date,
    /// A time of day.
    Time,
    /// Date and time without a zone.
    DateTime,
    /// A point in time.
    Timestamp,
    /// A JSON document.
    Json,
    /// A UUID.
    Uuid,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Any => "any",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Float => "float",
            Type::Decimal => "decimal",
            Type::Text => "text",
            Type::Bytes => "bytes",
            Type::Date => "date",
            Type::Time => "time",
            Type::DateTime => "datetime",
            Type::Timestamp => "timestamp",
            Type::Json => "json",
            Type::Uuid => "uuid",
        })
    }
}

impl<'a> Value<'a> {
    /// The value's type in a word, for messages ("null" and "missing" included).
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Missing => "missing",
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Decimal(_) => "decimal",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::DateTime(_) => "datetime",
            Value::Timestamp(_) => "timestamp",
            Value::Json(_) => "json",
            Value::Uuid(_) => "uuid",
            Value::Unreadable(_) => "unreadable",
        }
    }

    /// True for [`Value::Null`] and [`Value::Missing`].
    pub fn is_empty(&self) -> bool {
        matches!(self, Value::Null | Value::Missing)
    }

    /// The value as text a person reads and most destinations take: ISO 8601 dates (`2026-01-02`,
    /// `2026-01-02T03:04:05.000006`, with `Z` for a timestamp), plain numbers, standard base64 for
    /// bytes. Empty for null and missing.
    pub fn to_text(&self) -> Cow<'a, str> {
        use crate::value::render;
        match *self {
            Value::Missing | Value::Null => Cow::Borrowed(""),
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Int(v) => Cow::Owned(v.to_string()),
            Value::Float(v) => Cow::Owned(render::float(v)),
            Value::Decimal(v) | Value::Text(v) | Value::Json(v) | Value::Unreadable(v) => Cow::Borrowed(v),
            Value::Bytes(v) => Cow::Owned(render::base64(v)),
            Value::Date(v) => Cow::Owned(render::date(v)),
            Value::Time(v) => Cow::Owned(render::time(v)),
            Value::DateTime(v) => Cow::Owned(render::datetime(v)),
            Value::Timestamp(v) => Cow::Owned(render::datetime(v) + "Z"),
            Value::Uuid(v) => Cow::Owned(render::uuid(v)),
        }
    }

    /// Appends the value as JSON: numbers and booleans natively, decimals as numbers with every digit,
    /// JSON documents as they are, all else as a string in the form of [`Value::to_text`].
    /// A missing value is written as `null`; leave the field out before you call this.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Missing | Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
            Value::Int(v) => render::int(out, v),
            Value::Float(v) => out.extend_from_slice(render::float(v).as_bytes()),
            Value::Decimal(v) => out.extend_from_slice(v.as_bytes()),
            Value::Text(v) | Value::Unreadable(v) => render::json_string(out, v),
            Value::Json(v) => out.extend_from_slice(v.as_bytes()),
            Value::Date(v) => quoted(out, |out| render::push_date(out, i64::from(v))),
            Value::Time(v) => quoted(out, |out| render::push_time(out, v)),
            Value::DateTime(v) => quoted(out, |out| render::push_datetime(out, v)),
            Value::Timestamp(v) => quoted(out, |out| {
                render::push_datetime(out, v);
                out.push(b'Z');
            }),
            Value::Uuid(v) => quoted(out, |out| render::push_uuid(out, v)),
            Value::Bytes(v) => quoted(out, |out| out.extend_from_slice(render::base64(v).as_bytes())),
        }
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// How the types are written as text. Kept apart so that each form exists once.
pub mod render {
    use base64::Engine as _;
    use std::io::Write as _;

    /// Appends a whole number in decimal digits.
    pub fn int(out: &mut Vec<u8>, v: i64) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{v}");
    }

    /// The shortest digits that read back as the same number, whole numbers without `.0`.
    pub fn float(v: f64) -> String {
        if v == v.trunc() && v.abs() < 1e15 {
            return format!("{v:.0}");
        }
        let text = format!("{v:?}");
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    }

    /// Standard base64 with padding.
    pub fn base64(v: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(v)
    }

    /// `8-4-4-4-12` lowercase hexadecimal.
    pub fn uuid(v: [u8; 16]) -> String {
        text(|out| push_uuid(out, v))
    }

    /// `YYYY-MM-DD`, any year (negative and five-digit years keep their sign and digits).
    pub fn date(days: i32) -> String {
        text(|out| push_date(out, i64::from(days)))
    }

    /// `HH:MM:SS` with microseconds where there are any.
    pub fn time(micros: i64) -> String {
        text(|out| push_time(out, micros))
    }

    /// `YYYY-MM-DDTHH:MM:SS` with microseconds where there are any.
    pub fn datetime(micros: i64) -> String {
        text(|out| push_datetime(out, micros))
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::with_capacity(36);
        write(&mut out);
        // Only ASCII is written below.
        String::from_utf8(out).unwrap_or_default()
    }

    pub(super) fn push_uuid(out: &mut Vec<u8>, v: [u8; 16]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for (i, byte) in v.into_iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }

    pub(super) fn push_date(out: &mut Vec<u8>, days: i64) {
        let (y, m, d) = civil(days);
        if (0..=9999).contains(&y) {
            two(out, y / 100);
            two(out, y % 100);
        } else {
            let _ = write!(out, "{y:04}");
        }
        out.push(b'-');
        two(out, m);
        out.push(b'-');
        two(out, d);
    }

    pub(super) fn push_time(out: &mut Vec<u8>, micros: i64) {
        let (s, us) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        two(out, s / 3600);
        out.push(b':');
        two(out, s / 60 % 60);
        out.push(b':');
        two(out, s % 60);
        if us != 0 {
            out.push(b'.');
            two(out, us / 10_000);
            two(out, us / 100 % 100);
            two(out, us % 100);
        }
    }

    pub(super) fn push_datetime(out: &mut Vec<u8>, micros: i64) {
        const DAY: i64 = 86_400_000_000;
        push_date(out, micros.div_euclid(DAY));
        out.push(b'T');
        push_time(out, micros.rem_euclid(DAY));
    }

    /// Appends a number from 0 to 99 in two digits; a greater one (hour 24 and beyond) in as many as it has.
    fn two(out: &mut Vec<u8>, n: i64) {
        match u8::try_from(n) {
            Ok(n) if n < 100 => out.extend_from_slice(&[b'0' + n / 10, b'0' + n % 10]),
            _ => int(out, n),
        }
    }

    /// Days since 1970-01-01 to year, month, day in the proleptic Gregorian calendar. The calendar
    /// repeats every 400 years (146,097 days); years are counted from March so that the leap day comes last.
    fn civil(days: i64) -> (i64, i64, i64) {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, month, day)
    }

    /// Appends `text` as a JSON string, quotes included. Runs without escapes are copied whole.
    pub fn json_string(out: &mut Vec<u8>, text: &str) {
        json_escape(out, text.as_bytes());
    }

    /// [`json_string`] for bytes that are known to be UTF-8.
    pub(crate) fn json_escape(out: &mut Vec<u8>, text: &[u8]) {
        out.push(b'"');
        let mut rest = text;
        while let Some(at) = first_escape(rest) {
            out.extend_from_slice(&rest[..at]);
            match rest[at] {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                control => drop(write!(out, "\\u{control:04x}")),
            }
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(b'"');
    }

    /// Position of the first byte that a JSON string cannot hold as it is. Whole chunks are tested without a
    /// branch per byte, which the compiler turns into vector instructions.
    fn first_escape(bytes: &[u8]) -> Option<usize> {
        const CHUNK: usize = 16;
        let special = |b: &u8| (*b < 0x20) | (*b == b'"') | (*b == b'\\');
        let (chunks, _) = bytes.as_chunks::<CHUNK>();
        let clean =
            chunks.iter().take_while(|chunk| !chunk.iter().fold(false, |any, b| any | special(b))).count() * CHUNK;
        bytes[clean..].iter().position(special).map(|at| clean + at)
    }
}

/// The canonical spelling of a decimal: no `+`, no needless zeros, no `-0`. `None` when `text` is not
/// plain decimal digits with at most one point (an exponent is not accepted).
pub fn canonical_decimal(text: &str) -> Option<Cow<'_, str>> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return None;
    }
    let begins_with_digit = !whole.is_empty();
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    // Where there is a digit before the point, characters are only ever left out: none left out, none changed.
    if begins_with_digit && sign.len() + whole.len() + point.len() + fraction.len() == text.len() {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(format!("{sign}{whole}{point}{fraction}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_iso() {
        assert_eq!(Value::Date(0).to_text(), "1970-01-01");
        assert_eq!(Value::Date(-1).to_text(), "1969-12-31");
        assert_eq!(Value::Date(19_782).to_text(), "2024-02-29");
        assert_eq!(Value::Timestamp(1_709_210_096_000_007).to_text(), "2024-02-29T12:34:56.000007Z");
        assert_eq!(Value::DateTime(-1).to_text(), "1969-12-31T23:59:59.999999");
        assert_eq!(Value::Time(3_600_000_000).to_text(), "01:00:00");
    }

    #[test]
    fn dates_agree_with_a_calendar_library() {
        for days in (-200_000..200_000).step_by(37) {
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            assert_eq!(render::date(days), date.to_string(), "{days}");
        }
    }

    #[test]
    fn floats_are_short_and_plain() {
        assert_eq!(render::float(1.0), "1");
        assert_eq!(render::float(0.1), "0.1");
        assert_eq!(render::float(-2.5e-7), "-2.5e-7");
        assert_eq!(render::float(1e21), "1e21");
    }

    #[test]
    fn decimals_have_one_spelling() {
        for (given, expected) in [
            ("1.00", "1"),
            ("-0.0", "0"),
            ("+05.250", "5.25"),
            (".5", "0.5"),
            ("7.", "7"),
            (".50", "0.5"),
            ("+.5", "0.5"),
            ("-12.5", "-12.5"),
        ] {
            assert_eq!(canonical_decimal(given).as_deref(), Some(expected), "{given}");
        }
        for bad in ["", "-", ".", "1e5", "1.2.3", "abc", "1 "] {
            assert_eq!(canonical_decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn json_strings_agree_with_serde_json() {
        let long = "a text of more than sixteen bytes \" and \n on, with the last one at the end of it \\";
        for text in
            ["", "plain", "q\"b\\n\n\r\t\u{1}\u{1f}é🌊", "\u{7f}", "exactly sixteen.", "exactly sixteen.\"", long]
        {
            let mut out = Vec::new();
            render::json_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
