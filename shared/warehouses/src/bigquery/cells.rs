//! A cell of a JSON page as a value: `{"v": "1"}`, nested ones as documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::mapping::iso::{self, Moment};
use domain::value::{Value, canonical_decimal, render};
use serde_json::Value as Json;

use super::schema::{FieldKind, ResultField};
use super::spans;

const MALFORMED: &str = "text that is no value of the column's type";
const NAN: &str = "not a number (NaN)";
const INFINITE: &str = "an infinite number";

/// Buffers for values that are not borrowed.
#[derive(Debug, Default)]
pub(super) struct PageScratch {
    bytes: Vec<u8>,
    text: String,
}

/// Reads the value `v` of a cell.
pub(super) fn value<'a>(field: &ResultField, v: &'a Json, scratch: &'a mut PageScratch) -> Value<'a> {
    if v.is_null() && !field.is_repeated() {
        return Value::Null;
    }
    if field.is_repeated() || field.kind() == FieldKind::Record {
        scratch.bytes.clear();
        return match document(field, v, &mut scratch.bytes) {
            Ok(()) => std::str::from_utf8(&scratch.bytes).map_or(Value::Unreadable(MALFORMED), Value::Json),
            Err(why) => Value::Unreadable(why),
        };
    }
    // Where integers are asked for, booleans may come as such.
    if let Some(bool) = v.as_bool() {
        return Value::Bool(bool);
    }
    match v.as_str() {
        Some(text) => {
            scalar(field.kind(), text, &mut scratch.bytes, &mut scratch.text).unwrap_or_else(Value::Unreadable)
        }
        None => Value::Unreadable(MALFORMED),
    }
}

/// Reads a value that is neither repeated nor a record.
fn scalar<'a>(
    kind: FieldKind,
    text: &'a str,
    buffer: &'a mut Vec<u8>,
    spelt: &'a mut String,
) -> Result<Value<'a>, &'static str> {
    Ok(match kind {
        FieldKind::Text => Value::Text(text),
        FieldKind::Range => {
            spelt.clear();
            spans::range_of_text(spelt, text);
            Value::Text(spelt)
        }
        FieldKind::Json => Value::Json(text),
        FieldKind::Bool => match text {
            "true" | "TRUE" => Value::Bool(true),
            "false" | "FALSE" => Value::Bool(false),
            _ => return Err(MALFORMED),
        },
        FieldKind::Int => Value::Int(text.parse().map_err(|_| MALFORMED)?),
        FieldKind::Float => match text {
            "NaN" => return Err(NAN),
            "Infinity" | "-Infinity" | "inf" | "-inf" => return Err(INFINITE),
            text => Value::Float(text.parse().map_err(|_| MALFORMED)?),
        },
        FieldKind::Numeric => match text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.')) {
            true => Value::Decimal(text),
            false => return Err(MALFORMED),
        },
        FieldKind::Bytes => {
            buffer.clear();
            STANDARD.decode_vec(text, buffer).map_err(|_| MALFORMED)?;
            Value::Bytes(buffer)
        }
        FieldKind::Date => Value::Date(iso::date(text).ok_or(MALFORMED)?),
        FieldKind::Time => Value::Time(iso::time(text).ok_or(MALFORMED)?),
        FieldKind::DateTime => match iso::moment(text) {
            Some(Moment::DateTime(at)) => Value::DateTime(at),
            _ => return Err(MALFORMED),
        },
        FieldKind::Timestamp => Value::Timestamp(timestamp(text).ok_or(MALFORMED)?),
        FieldKind::Record => return Err(MALFORMED),
    })
}

/// Microseconds since 1970, as `useInt64Timestamp` has them.
fn timestamp(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A number of a document, in its one spelling: the APIs differ in the zeros at its end.
pub(super) fn push_decimal(out: &mut Vec<u8>, digits: &str) {
    let spelt = canonical_decimal(digits);
    out.extend_from_slice(spelt.as_deref().unwrap_or(digits).as_bytes());
}

/// A repeated field or a record as JSON.
fn document(field: &ResultField, v: &Json, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !field.is_repeated() {
        return single(field, v, out);
    }
    out.push(b'[');
    for (at, item) in v.as_array().into_iter().flatten().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        single(field, item.get("v").unwrap_or(&Json::Null), out)?;
    }
    out.push(b']');
    Ok(())
}

fn single(field: &ResultField, v: &Json, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if v.is_null() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if field.kind() != FieldKind::Record {
        let (mut buffer, mut spelt) = (Vec::new(), String::new());
        let value = match (v.as_bool(), v.as_str()) {
            (Some(bool), _) => Value::Bool(bool),
            (_, Some(text)) => scalar(field.kind(), text, &mut buffer, &mut spelt)?,
            _ => return Err(MALFORMED),
        };
        match value {
            Value::Decimal(digits) => push_decimal(out, digits),
            value => value.write_json(out),
        }
        return Ok(());
    }
    let cells = v.get("f").and_then(Json::as_array).ok_or(MALFORMED)?;
    out.push(b'{');
    for (at, (inner, cell)) in field.fields.iter().zip(cells).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        render::json_string(out, &inner.name);
        out.push(b':');
        document(inner, cell.get("v").unwrap_or(&Json::Null), out)?;
    }
    out.push(b'}');
    Ok(())
}
