//! Steps on a value on its way to a field: cleaning, hashing, formatting.
//!
//! A step is compiled against the type it will see, so that what can never work is found before a run.
//! Each step owns the buffer it writes to, so that a row costs no allocation.

use std::fmt::Write as _;

use jiff::fmt::strtime::BrokenDownTime;
use phonenumber::country;
use sha2::{Digest, Sha256};

use super::{ValueRefusal, coerce, iso, number};
use crate::sync::Transform;
use crate::value::{Type, Value, canonical_decimal};

/// A step that cannot be made, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformProblem {
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

impl TransformProblem {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// A compiled step.
#[derive(Debug)]
pub(super) struct TransformStep {
    action: TransformAction,
    buffer: String,
}

#[derive(Debug)]
enum TransformAction {
    Trim,
    Lowercase,
    Uppercase,
    Sha256,
    E164(country::Id),
    Date(String),
    Datetime(String),
    Number { decimals: usize, as_text: bool },
    Truncate(usize),
    Json,
}

/// The step's name in the sync file.
fn name(transform: &Transform) -> &'static str {
    match transform {
        Transform::Trim => "trim",
        Transform::Lowercase => "lowercase",
        Transform::Uppercase => "uppercase",
        Transform::Sha256 => "sha256",
        Transform::E164(_) => "e164",
        Transform::Date(_) => "date",
        Transform::Datetime(_) => "datetime",
        Transform::Number(_) => "number",
        Transform::Truncate(_) => "truncate",
        Transform::Json => "json",
    }
}

/// Whether the step can do anything with values of `kind`.
fn takes(transform: &Transform, kind: Type) -> bool {
    use Type::*;
    match transform {
        _ if kind == Any => true,
        Transform::Trim | Transform::Lowercase | Transform::Uppercase | Transform::Truncate(_) => kind == Text,
        Transform::Sha256 => kind != Bytes,
        Transform::E164(_) => matches!(kind, Text | Int),
        Transform::Date(_) | Transform::Datetime(_) => matches!(kind, Text | Date | DateTime | Timestamp),
        Transform::Number(_) => matches!(kind, Text | Int | Float | Decimal),
        Transform::Json => true,
    }
}

impl TransformStep {
    /// Compiles a step for values of `kind` and says which type comes out. `as_text`: what follows takes
    /// text, so a number keeps the zeros at its end.
    pub(super) fn compile(
        transform: &Transform,
        kind: Type,
        as_text: bool,
    ) -> Result<(TransformStep, Type), TransformProblem> {
        let name = name(transform);
        if !takes(transform, kind) {
            let fix = match kind {
                Type::Bytes => format!("remove `{name}`, or encode the column as text in the model's SQL"),
                _ => format!("remove `{name}`, or cast the column to text in the model's SQL"),
            };
            return Err(TransformProblem::new(format!("`{name}` does not take {kind}"), fix));
        }
        let (action, kind) = match transform {
            Transform::Trim => (TransformAction::Trim, Type::Text),
            Transform::Lowercase => (TransformAction::Lowercase, Type::Text),
            Transform::Uppercase => (TransformAction::Uppercase, Type::Text),
            Transform::Sha256 => (TransformAction::Sha256, Type::Text),
            Transform::E164(code) => (TransformAction::E164(country_of(code)?), Type::Text),
            Transform::Date(format) => {
                let sample = BrokenDownTime::from(jiff::civil::date(2026, 1, 2));
                (TransformAction::Date(checked(name, format, &sample, "%Y-%m-%d")?), Type::Text)
            }
            Transform::Datetime(format) => {
                // Without a zone, a format that asks for one can never work; text may bring one.
                let sample = match kind {
                    Type::Date | Type::DateTime => BrokenDownTime::from(jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0)),
                    _ => BrokenDownTime::from(jiff::Timestamp::UNIX_EPOCH),
                };
                (TransformAction::Datetime(checked(name, format, &sample, "%Y-%m-%dT%H:%M:%S")?), Type::Text)
            }
            Transform::Number(format) => {
                let decimals = usize::from(format.decimals);
                (TransformAction::Number { decimals, as_text }, if as_text { Type::Text } else { Type::Decimal })
            }
            Transform::Truncate(0) => {
                return Err(TransformProblem::new(
                    "`truncate: 0` leaves nothing of any value",
                    "give the most characters the field takes",
                ));
            }
            Transform::Truncate(most) => (TransformAction::Truncate(*most), Type::Text),
            Transform::Json => (TransformAction::Json, Type::Json),
        };
        Ok((TransformStep { action, buffer: String::new() }, kind))
    }

    /// The value after this step. It is neither null nor missing.
    pub(super) fn apply<'v>(&'v mut self, value: Value<'v>) -> Result<Value<'v>, ValueRefusal> {
        let buffer = &mut self.buffer;
        match &self.action {
            TransformAction::Trim => Ok(Value::Text(text(value)?.trim())),
            TransformAction::Lowercase => Ok(Value::Text(lowercase(text(value)?, buffer))),
            TransformAction::Uppercase => Ok(Value::Text(uppercase(text(value)?, buffer))),
            TransformAction::Sha256 => sha256(value, buffer),
            TransformAction::E164(country) => e164(value, *country, buffer),
            TransformAction::Date(format) => date(value, format, buffer),
            TransformAction::Datetime(format) => datetime(value, format, buffer),
            TransformAction::Number { decimals, as_text } => rounded(value, *decimals, *as_text, buffer),
            TransformAction::Truncate(most) => Ok(Value::Text(truncate(text(value)?, *most))),
            TransformAction::Json => coerce::coerce(value, Type::Json, buffer),
        }
    }
}

/// The country of a two-letter code.
fn country_of(code: &str) -> Result<country::Id, TransformProblem> {
    code.parse().map_err(|_| {
        let upper = code.to_uppercase();
        let fix = match upper.parse::<country::Id>() {
            Ok(_) => format!("did you mean `{upper}`?"),
            Err(_) => "write the two letters of ISO 3166, such as `e164: GB`".to_owned(),
        };
        TransformProblem::new(format!("`{code}` is not a country code"), fix)
    })
}

/// A strftime format that can be written for `sample`.
fn checked(name: &str, format: &str, sample: &BrokenDownTime, example: &str) -> Result<String, TransformProblem> {
    let fix = format!("write it in strftime, such as `{name}: \"{example}\"`");
    if !format.contains('%') {
        return Err(TransformProblem::new(format!("`{format}` names no part of a date"), fix));
    }
    match sample.format(format, &mut String::new()) {
        Ok(()) => Ok(format.to_owned()),
        Err(e) => Err(TransformProblem::new(format!("`{name}` cannot write `{format}`: {e}"), fix)),
    }
}

fn text<'v>(value: Value<'v>) -> Result<&'v str, ValueRefusal> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(ValueRefusal::new("must be text", &value)),
    }
}

fn lowercase<'v>(text: &'v str, buffer: &'v mut String) -> &'v str {
    if !text.is_ascii() {
        *buffer = text.to_lowercase();
        return buffer;
    }
    if !text.bytes().any(|b| b.is_ascii_uppercase()) {
        return text;
    }
    buffer.clear();
    buffer.push_str(text);
    buffer.make_ascii_lowercase();
    buffer
}

fn uppercase<'v>(text: &'v str, buffer: &'v mut String) -> &'v str {
    if !text.is_ascii() {
        *buffer = text.to_uppercase();
        return buffer;
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        return text;
    }
    buffer.clear();
    buffer.push_str(text);
    buffer.make_ascii_uppercase();
    buffer
}

fn truncate(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

fn sha256<'v>(value: Value<'v>, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    if let Value::Bytes(_) = value {
        return Err(ValueRefusal::new("must be text: hash bytes in SQL", &value));
    }
    let digest = Sha256::digest(value.to_text().as_bytes());
    buffer.clear();
    for byte in digest.iter() {
        buffer.push(HEX[usize::from(byte >> 4)] as char);
        buffer.push(HEX[usize::from(byte & 15)] as char);
    }
    Ok(Value::Text(buffer))
}

fn e164<'v>(value: Value<'v>, country: country::Id, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    const RULE: &str = "must be a phone number";
    if !matches!(value, Value::Text(_) | Value::Int(_)) {
        return Err(ValueRefusal::new(RULE, &value));
    }
    let number = match phonenumber::parse(Some(country), value.to_text()) {
        Ok(number) if number.is_valid() => number,
        _ => return Err(ValueRefusal::new(RULE, &value)),
    };
    if number.extension().is_some() {
        return Err(ValueRefusal::new("must be a phone number without an extension", &value));
    }
    buffer.clear();
    let _ = write!(buffer, "{}", number.format().mode(phonenumber::Mode::E164));
    Ok(Value::Text(buffer))
}

/// A date or a date and time, whatever the value is.
fn moment(value: Value<'_>) -> Option<iso::Moment> {
    match value {
        Value::Date(days) => Some(iso::Moment::Date(days)),
        Value::DateTime(micros) => Some(iso::Moment::DateTime(micros)),
        Value::Timestamp(micros) => Some(iso::Moment::Timestamp(micros)),
        Value::Text(text) => iso::moment(text),
        _ => None,
    }
}

fn date<'v>(value: Value<'v>, format: &str, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    let days = match moment(value) {
        Some(iso::Moment::Date(days)) => Some(days),
        Some(iso::Moment::DateTime(micros) | iso::Moment::Timestamp(micros)) => iso::day_of(micros),
        None => None,
    };
    let Some(date) = days.and_then(iso::civil_date) else {
        return Err(ValueRefusal::new("must be a date of the years -9999 to 9999", &value));
    };
    written(BrokenDownTime::from(date), format, value, buffer)
}

fn datetime<'v>(value: Value<'v>, format: &str, buffer: &'v mut String) -> Result<Value<'v>, ValueRefusal> {
    let parts = match moment(value) {
        Some(iso::Moment::Timestamp(micros)) => iso::timestamp(micros).map(BrokenDownTime::from),
        Some(iso::Moment::DateTime(micros)) => iso::civil_datetime(micros).map(BrokenDownTime::from),
        Some(iso::Moment::Date(days)) => iso::civil_datetime(iso::midnight(days)).map(BrokenDownTime::from),
        None => None,
    };
    let Some(parts) = parts else {
        return Err(ValueRefusal::new("must be a date and time of the years -9999 to 9999", &value));
    };
    written(parts, format, value, buffer)
}

fn written<'v>(
    parts: BrokenDownTime,
    format: &str,
    value: Value<'v>,
    buffer: &'v mut String,
) -> Result<Value<'v>, ValueRefusal> {
    buffer.clear();
    // The format itself was checked; what can still be missing is the zone.
    parts
        .format(format, &mut *buffer)
        .map_err(|_| ValueRefusal::new("must have a time zone, which the format asks for", &value))?;
    Ok(Value::Text(buffer))
}

fn rounded<'v>(
    value: Value<'v>,
    decimals: usize,
    as_text: bool,
    buffer: &'v mut String,
) -> Result<Value<'v>, ValueRefusal> {
    match value {
        Value::Int(v) => number::round(&v.to_string(), decimals, buffer),
        // Display writes the shortest digits of a float, never an exponent.
        Value::Float(v) => number::round(&v.to_string(), decimals, buffer),
        Value::Decimal(text) => number::round(text, decimals, buffer),
        Value::Text(text) => match canonical_decimal(text) {
            Some(decimal) => number::round(&decimal, decimals, buffer),
            None => return Err(ValueRefusal::new("must be a number", &value)),
        },
        _ => return Err(ValueRefusal::new("must be a number", &value)),
    }
    if as_text {
        return Ok(Value::Text(buffer));
    }
    let canonical = if buffer.contains('.') { buffer.trim_end_matches('0').trim_end_matches('.') } else { buffer };
    Ok(Value::Decimal(canonical))
}
