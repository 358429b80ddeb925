//! From one type to another, without losing anything: which pairs of types can work at all, and the
//! conversion of one value.
//!
//! | from | to |
//! |---|---|
//! | bool | text, json |
//! | int | decimal, text, json; float up to 2^53; bool from 0 and 1 |
//! | float | decimal (its shortest digits), text, json; int when whole and below 2^53 |
//! | decimal | text, json; int when whole; float when that prints the same number again |
//! | text | int, float, decimal, bool, date, time, datetime, timestamp, uuid, json: read whole or refused |
//! | bytes | json (base64) |
//! | date | datetime and timestamp (midnight, UTC), text, json |
//! | time | text, json |
//! | datetime | date at midnight, text, json; never timestamp, because its zone is not known |
//! | timestamp | datetime (UTC), date at midnight UTC, text, json |
//! | json | text |
//! | uuid | text, json |

use std::fmt::Write as _;

use super::{ValueRefusal, iso, number};
use crate::value::{Type, Value, canonical_decimal};

/// How values of one type fit another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Every value does.
    Always,
    /// It depends on the value.
    PerValue,
    /// No value does.
    Never,
}

/// How values of type `from` fit type `to`.
pub fn fit(from: Type, to: Type) -> Fit {
    use Type::*;
    match (from, to) {
        (_, Any) => Fit::Always,
        (Any, _) => Fit::PerValue,
        _ if from == to => Fit::Always,
        (Text, Json) => Fit::PerValue,
        (_, Json) => Fit::Always,
        (Bytes, _) => Fit::Never,
        (_, Text) => Fit::Always,
        (Int | Float, Decimal) | (Date, DateTime | Timestamp) | (Timestamp, DateTime) => Fit::Always,
        (Int, Float | Bool) | (Float, Int) | (Decimal, Int | Float) | (DateTime | Timestamp, Date) => Fit::PerValue,
        (Text, Bool | Int | Float | Decimal | Date | Time | DateTime | Timestamp | Uuid) => Fit::PerValue,
        _ => Fit::Never,
    }
}

/// What to do about a pair of types that never fits.
pub fn mend(from: Type, to: Type, column: &str) -> String {
    match (from, to) {
        (Type::Bytes, _) => {
            format!("encode it in the model's SQL, such as `encode({column}, 'base64')`, or map another column")
        }
        (Type::DateTime, Type::Timestamp) => {
            format!("cast it in the model's SQL with a zone: `{column} at time zone 'UTC'`")
        }
        (Type::Bool, Type::Int) => format!("cast it in the model's SQL: `case when {column} then 1 else 0 end`"),
        (Type::Json, _) => format!("take the value out of the document in the model's SQL and cast it to {to}"),
        _ => format!("cast it to {to} in the model's SQL, or map it to a field that takes {from}"),
    }
}

/// `value` as a value of type `to`. Text that has to be written goes to `buffer`.
pub(super) fn coerce<'v>(value: Value<'v>, to: Type, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    let refuse = |rule: &'static str| Err(ValueRefusal::new(rule, &value));
    if let Value::Unreadable(why) = value {
        return Err(ValueRefusal::unreadable(why));
    }
    match (to, value) {
        (Type::Any, _) | (_, Value::Missing | Value::Null) => Ok(value),

        (Type::Bool, Value::Bool(_)) => Ok(value),
        (Type::Bool, Value::Int(0)) => Ok(Value::Bool(false)),
        (Type::Bool, Value::Int(1)) => Ok(Value::Bool(true)),
        (Type::Bool, Value::Int(_)) => refuse("must be 0 or 1 to become a bool"),
        (Type::Bool, Value::Text(text)) => match boolean(text) {
            Some(v) => Ok(Value::Bool(v)),
            None => refuse("must be true or false"),
        },

        (Type::Int, Value::Int(_)) => Ok(value),
        (Type::Int, Value::Float(v)) if v == v.trunc() && v.abs() < EXACT => Ok(Value::Int(v as i64)),
        (Type::Int, Value::Float(v)) if v == v.trunc() => refuse("must be a whole number below 2^53 to become an int"),
        (Type::Int, Value::Decimal(text) | Value::Text(text)) if whole(text) => match text.parse() {
            Ok(v) => Ok(Value::Int(v)),
            Err(_) => refuse("must be a whole number of at most 64 bits"),
        },
        (Type::Int, Value::Float(_) | Value::Decimal(_) | Value::Text(_)) => refuse("must be a whole number"),

        (Type::Float, Value::Float(_)) => Ok(value),
        (Type::Float, Value::Int(v)) if v.unsigned_abs() <= EXACT as u64 => Ok(Value::Float(v as f64)),
        (Type::Float, Value::Int(_)) => refuse("must be a number of at most 2^53 to become a float"),
        (Type::Float, Value::Decimal(text)) => match number::exact_float(text, buffer) {
            Some(v) => Ok(Value::Float(v)),
            None => refuse("has more digits than a float keeps"),
        },
        (Type::Float, Value::Text(text)) => match number::exact_float(text, buffer) {
            Some(v) => Ok(Value::Float(v)),
            None => refuse("must be a number with no more digits than a float keeps"),
        },

        (Type::Decimal, Value::Decimal(_)) => Ok(value),
        (Type::Decimal, Value::Int(v)) => Ok(Value::Decimal(write(buffer, format_args!("{v}")))),
        // Display writes the shortest digits that read back as the same float, never an exponent.
        (Type::Decimal, Value::Float(v)) => Ok(Value::Decimal(write(buffer, format_args!("{v}")))),
        (Type::Decimal, Value::Text(text)) => match canonical_decimal(text) {
            Some(canonical) => Ok(Value::Decimal(write(buffer, format_args!("{canonical}")))),
            None => refuse("must be a decimal number"),
        },

        (Type::Text, Value::Text(_)) => Ok(value),
        (Type::Text, Value::Decimal(text) | Value::Json(text)) => Ok(Value::Text(text)),
        (Type::Text, Value::Bytes(_)) => refuse("must be text: encode it in SQL"),
        (Type::Text, Value::Int(v)) => Ok(Value::Text(write(buffer, format_args!("{v}")))),
        (Type::Text, _) => {
            let text = value.to_text();
            Ok(Value::Text(write(buffer, format_args!("{text}"))))
        }

        (Type::Bytes, Value::Bytes(_)) => Ok(value),

        (Type::Date, Value::Date(_)) => Ok(value),
        (Type::Date, Value::Timestamp(micros) | Value::DateTime(micros)) => match iso::day_at_midnight(micros) {
            Some(days) => Ok(Value::Date(days)),
            None => refuse("has a time of day that a date would lose: cast it to date in SQL"),
        },
        (Type::Date, Value::Text(text)) => match iso::date(text) {
            Some(days) => Ok(Value::Date(days)),
            None => refuse("must be a date such as 2026-01-02"),
        },

        (Type::Time, Value::Time(_)) => Ok(value),
        (Type::Time, Value::Text(text)) => match iso::time(text) {
            Some(micros) => Ok(Value::Time(micros)),
            None => refuse("must be a time of day such as 03:04:05"),
        },

        (Type::DateTime, Value::DateTime(_)) => Ok(value),
        (Type::DateTime, Value::Date(days)) => Ok(Value::DateTime(iso::midnight(days))),
        (Type::DateTime, Value::Timestamp(micros)) => Ok(Value::DateTime(micros)),
        (Type::DateTime, Value::Text(text)) => match iso::moment(text) {
            Some(iso::Moment::DateTime(micros) | iso::Moment::Timestamp(micros)) => Ok(Value::DateTime(micros)),
            _ => refuse("must be a date and time such as 2026-01-02T03:04:05"),
        },

        (Type::Timestamp, Value::Timestamp(_)) => Ok(value),
        (Type::Timestamp, Value::Date(days)) => Ok(Value::Timestamp(iso::midnight(days))),
        (Type::Timestamp, Value::DateTime(_)) => refuse("has no time zone: cast it in SQL with `at time zone`"),
        (Type::Timestamp, Value::Text(text)) => match iso::moment(text) {
            Some(iso::Moment::Timestamp(micros)) => Ok(Value::Timestamp(micros)),
            _ => refuse("must be a date and time with a zone, such as 2026-01-02T03:04:05Z"),
        },

        (Type::Json, Value::Json(_)) => Ok(value),
        (Type::Json, Value::Text(text)) => {
            json(text).map(Value::Json).ok_or_else(|| ValueRefusal::new("must be JSON", &value))
        }
        (Type::Json, _) => encode_json(value, buffer),

        (Type::Uuid, Value::Uuid(_)) => Ok(value),
        (Type::Uuid, Value::Text(text)) => match iso::uuid(text) {
            Some(uuid) => Ok(Value::Uuid(uuid)),
            None => refuse("must be a UUID"),
        },

        (Type::Bool | Type::Int | Type::Float | Type::Decimal | Type::Bytes, _)
        | (Type::Date | Type::Time | Type::DateTime | Type::Timestamp | Type::Uuid, _) => {
            Err(ValueRefusal::new(format!("cannot become {to}: cast it in SQL"), &value))
        }
    }
}

/// Every whole number up to this is exact in a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Replaces what is in `buffer`.
fn write<'v>(buffer: &'v mut String, text: std::fmt::Arguments<'_>) -> &'v str {
    buffer.clear();
    // Writing to a String cannot fail.
    let _ = buffer.write_fmt(text);
    buffer
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "1" => Some(true),
        "f" | "0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The document that `text` holds, without white space around it. It is checked, not built.
pub(super) fn json(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    Some(text)
}

/// Any value but text as a JSON document.
pub(super) fn encode_json<'v>(value: Value<'v>, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    if let Value::Json(_) = value {
        return Ok(value);
    }
    let mut bytes = std::mem::take(buffer).into_bytes();
    bytes.clear();
    value.write_json(&mut bytes);
    // JSON is written from valid text and ASCII.
    *buffer = String::from_utf8(bytes).map_err(|_| ValueRefusal::new("must be JSON", &value))?;
    Ok(Value::Json(buffer))
}
