//! Values as text that PostgreSQL reads without loss, and back.
//!
//! Times carry `Z` where they are points in time, bytes are hexadecimal, documents are JSON, arrays are PostgreSQL's
//! own text of them (see `array`). Read back, dates and times come as whole days and microseconds, so no calendar text
//! is parsed.

use domain::value::{Type, Value};

use super::array;
use super::table::PostgresColumn;

/// A value as text for a column; `None` for null.
pub(super) fn text(value: Value<'_>, column: Option<&PostgresColumn>) -> Option<String> {
    match value {
        Value::Json(json) => {
            let literal =
                column.filter(|column| column.is_array).and_then(|column| array::literal(json, column.element()));
            Some(literal.unwrap_or_else(|| json.to_owned()))
        }
        Value::Missing | Value::Null => None,
        Value::Bytes(bytes) => Some(format!("\\x{}", hex(bytes))),
        Value::Date(_) | Value::DateTime(_) | Value::Timestamp(_) => Some(before_christ(value.to_text().into_owned())),
        other => Some(other.to_text().into_owned()),
    }
}

/// Years before 1 have no sign in PostgreSQL, and there is no year 0.
pub(super) fn before_christ(text: String) -> String {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let Some((year, tail)) = rest.split_once('-') else { return text };
    match year.parse::<i64>() {
        Ok(0) => format!("0001-{tail} BC"),
        Ok(year) if negative => format!("{:04}-{tail} BC", year + 1),
        _ => text,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// An expression whose text [`push`] reads. What no value of ours can hold (`infinity`) stays text.
pub(super) fn readable(value: &str, column: &PostgresColumn) -> String {
    match column.kind {
        Type::Json if column.is_array => format!("to_json({value})::text"),
        Type::Bytes => format!("encode({value}, 'hex')"),
        Type::Date => {
            format!("case when isfinite({value}) then ({value} - date '1970-01-01')::text else {value}::text end")
        }
        Type::DateTime | Type::Timestamp => {
            format!(
                "case when isfinite({value}) then (extract(epoch from {value}) * 1000000)::int8::text else {value}::text end"
            )
        }
        Type::Time => format!("(extract(epoch from {value}) * 1000000)::int8::text"),
        _ => format!("{value}::text"),
    }
}

/// Appends what [`readable`] gave as a cell of the column's type.
pub(super) fn push(out: &mut Vec<u8>, text: Option<&str>, column: &PostgresColumn) {
    let Some(text) = text else { return domain::cells::push(out, Value::Null) };
    let unreadable = Value::Unreadable("a value that cannot be read");
    let value = match column.kind {
        Type::Bool => Value::Bool(text == "true"),
        Type::Int => text.parse().map_or(unreadable, Value::Int),
        Type::Float => text.parse().map_or(unreadable, Value::Float),
        Type::Decimal => Value::Decimal(text),
        Type::Date => text.parse().map_or(Value::Unreadable("an infinite date"), Value::Date),
        Type::Time => text.parse().map_or(unreadable, Value::Time),
        Type::DateTime => text.parse().map_or(Value::Unreadable("an infinite time"), Value::DateTime),
        Type::Timestamp => text.parse().map_or(Value::Unreadable("an infinite time"), Value::Timestamp),
        Type::Bytes => {
            let bytes = bytes(text);
            return domain::cells::push(out, bytes.as_deref().map_or(unreadable, Value::Bytes));
        }
        Type::Uuid => match u128::from_str_radix(&text.replace('-', ""), 16) {
            Ok(number) => Value::Uuid(number.to_be_bytes()),
            Err(_) => unreadable,
        },
        Type::Json => return domain::cells::push(out, Value::Json(&compact(text))),
        Type::Text | Type::Any => Value::Text(text),
    };
    domain::cells::push(out, value);
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// JSON without white space between its tokens; numbers keep every digit.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    json.chars()
        .filter(|&c| {
            let keep = in_text || !c.is_ascii_whitespace();
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = in_text,
                '"' => in_text = !in_text,
                _ => {}
            }
            keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_postgresql_reads_them() {
        for (value, expected) in [
            (Value::Null, None),
            (Value::Bool(true), Some("true")),
            (Value::Bytes(&[0, 255]), Some("\\x00ff")),
            (Value::Timestamp(0), Some("1970-01-01T00:00:00Z")),
            (Value::DateTime(1), Some("1970-01-01T00:00:00.000001")),
            (Value::Date(-719_163), Some("0001-12-31 BC")),
            (Value::Date(-719_529), Some("0002-12-31 BC")),
            (Value::Date(-719_162), Some("0001-01-01")),
            (Value::Decimal("-1.5"), Some("-1.5")),
            (Value::Json("[1]"), Some("[1]")),
        ] {
            assert_eq!(text(value, None).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn json_loses_white_space_outside_of_text_only() {
        assert_eq!(compact(r#"{"a": "x \" y", "b": [1, 2.50]}"#), r#"{"a":"x \" y","b":[1,2.50]}"#);
    }
}
