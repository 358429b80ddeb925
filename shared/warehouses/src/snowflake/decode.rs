//! A cell's text as a value. Text is borrowed; what has to be made is written into a buffer that is used again.

use domain::value::Value;
use serde::de::IgnoredAny;

use super::types::CellDecoder;

/// What is not as its type promises.
const MALFORMED: Value<'static> = Value::Unreadable("text that is no value of the column's type");
/// Snowflake counts nanoseconds, and nothing here does.
pub(super) const TOO_FINE: &str =
    "a time with parts of a microsecond: cast the column in the model, such as COLUMN::timestamp_ntz(6)";
const NOT_JSON: Value<'static> = Value::Unreadable(
    "a document with `undefined` or a number that JSON has not: write it in the model with to_json(strip_null_value(COLUMN)), or leave it out",
);

/// Buffers for values that are not borrowed.
#[derive(Debug, Default)]
pub(super) struct CellScratch {
    text: String,
    bytes: Vec<u8>,
}

/// Reads one cell that is not null.
pub(super) fn value<'a>(decoder: CellDecoder, cell: &'a [u8], scratch: &'a mut CellScratch) -> Value<'a> {
    read(decoder, cell, scratch).unwrap_or(MALFORMED)
}

fn read<'a>(decoder: CellDecoder, cell: &'a [u8], scratch: &'a mut CellScratch) -> Option<Value<'a>> {
    let text = || std::str::from_utf8(cell).ok();
    Some(match decoder {
        CellDecoder::Text => match text() {
            Some(text) => Value::Text(text),
            None => Value::Unreadable("text that is not UTF-8"),
        },
        CellDecoder::Int => Value::Int(int(cell)?),
        CellDecoder::Decimal => decimal(text()?, &mut scratch.text)?,
        CellDecoder::Float => float(text()?)?,
        CellDecoder::Bool => match cell {
            b"true" | b"TRUE" | b"1" => Value::Bool(true),
            b"false" | b"FALSE" | b"0" => Value::Bool(false),
            _ => return None,
        },
        CellDecoder::Binary => {
            scratch.bytes.clear();
            for pair in cell.chunks(2) {
                let [high, low] = *pair else { return None };
                scratch.bytes.push((digit(high)? << 4) | digit(low)?);
            }
            Value::Bytes(&scratch.bytes)
        }
        CellDecoder::Date => Value::Date(i32::try_from(int(cell)?).ok()?),
        CellDecoder::Time => moment(cell, Value::Time)?,
        CellDecoder::DateTime => moment(cell, Value::DateTime)?,
        // The offset says where somebody was; the moment is the same everywhere.
        CellDecoder::Timestamp => moment(cell.split(|b| *b == b' ').next()?, Value::Timestamp)?,
        CellDecoder::Json => document(text()?),
        CellDecoder::Unsupported => Value::Unreadable("a value of a type that cannot be read"),
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|d| d as u8)
}

/// A whole number in decimal digits.
fn int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if !(0..=9).contains(&digit) {
            return None;
        }
        // Counted downwards, so that the lowest number has a place.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A decimal number; one with an exponent is written out into `buffer`.
fn decimal<'a>(text: &'a str, buffer: &'a mut String) -> Option<Value<'a>> {
    let Some(at) = text.find(['e', 'E']) else {
        return match text {
            "NaN" => Some(Value::Unreadable("not a number (NaN)")),
            "inf" | "-inf" | "Infinity" | "-Infinity" => Some(Value::Unreadable("an infinite number")),
            text if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.')) => {
                Some(Value::Decimal(text))
            }
            _ => None,
        };
    };
    let exponent: i32 = text[at + 1..].parse().ok().filter(|e: &i32| e.abs() <= 20_000)?;
    let (sign, digits) = match text[..at].strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", &text[..at]),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    // Where the point goes, counted from the first digit.
    let point = whole.len() as i32 + exponent;
    buffer.clear();
    buffer.push_str(sign);
    match usize::try_from(point) {
        Ok(point) if point >= all.len() => {
            buffer.push_str(&all);
            buffer.extend(std::iter::repeat_n('0', point - all.len()));
        }
        Ok(point) if point > 0 => {
            buffer.push_str(&all[..point]);
            buffer.push('.');
            buffer.push_str(&all[point..]);
        }
        _ => {
            buffer.push_str("0.");
            buffer.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
            buffer.push_str(&all);
        }
    }
    Some(Value::Decimal(buffer))
}

fn float(text: &str) -> Option<Value<'static>> {
    Some(match text {
        "NaN" | "nan" => Value::Unreadable("not a number (NaN)"),
        "inf" | "-inf" | "Infinity" | "-Infinity" | "INF" | "-INF" => Value::Unreadable("an infinite number"),
        text => Value::Float(text.parse().ok()?),
    })
}

/// Seconds with up to nine digits after the point, as microseconds.
fn moment(text: &[u8], of: fn(i64) -> Value<'static>) -> Option<Value<'static>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let seconds = int(&text[..point])?;
    let mut nanos: i64 = 0;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if fraction.len() > 9 {
        return None;
    }
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        nanos = nanos * 10 + i64::from(digit - b'0');
    }
    if nanos % 1000 != 0 {
        return Some(Value::Unreadable(TOO_FINE));
    }
    let micros = seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000)?;
    Some(of(if negative { -micros } else { micros }))
}

/// A document. Snowflake writes what JSON has not for some values.
fn document(text: &str) -> Value<'_> {
    let odd = ["undefined", "NaN", "Infinity", "-inf"].iter().any(|word| text.contains(word));
    if odd && serde_json::from_str::<IgnoredAny>(text).is_err() {
        return NOT_JSON;
    }
    Value::Json(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(decoder: CellDecoder, cell: &str, check: impl Fn(Value<'_>)) {
        check(value(decoder, cell.as_bytes(), &mut CellScratch::default()));
    }

    #[test]
    fn cells_become_values() {
        use CellDecoder as D;
        for (decoder, cell, expected) in [
            (D::Int, "-9223372036854775808", Value::Int(i64::MIN)),
            (D::Int, "9223372036854775807", Value::Int(i64::MAX)),
            (D::Int, "9223372036854775808", MALFORMED),
            (D::Int, "1.5", MALFORMED),
            (
                D::Decimal,
                "-12345678901234567890123456789012345.678",
                Value::Decimal("-12345678901234567890123456789012345.678"),
            ),
            (D::Decimal, "1.5e3", Value::Decimal("1500")),
            (D::Decimal, "-1.25E-3", Value::Decimal("-0.00125")),
            (D::Decimal, "1.2345e2", Value::Decimal("123.45")),
            (D::Decimal, "abc", MALFORMED),
            (D::Float, "0.1", Value::Float(0.1)),
            (D::Float, "1.7976931348623157e308", Value::Float(f64::MAX)),
            (D::Float, "NaN", Value::Unreadable("not a number (NaN)")),
            (D::Float, "-inf", Value::Unreadable("an infinite number")),
            (D::Bool, "true", Value::Bool(true)),
            (D::Bool, "yes", MALFORMED),
            (D::Text, "", Value::Text("")),
            (D::Binary, "00FFa0", Value::Bytes(&[0, 255, 0xa0])),
            (D::Binary, "0", MALFORMED),
            (D::Date, "-1", Value::Date(-1)),
            (D::Date, "19782", Value::Date(19_782)),
            (D::Time, "45296.000007000", Value::Time(45_296_000_007)),
            (D::DateTime, "1709210096.000007000", Value::DateTime(1_709_210_096_000_007)),
            (D::DateTime, "1709210096", Value::DateTime(1_709_210_096_000_000)),
            (D::DateTime, "-0.000001000", Value::DateTime(-1)),
            (D::DateTime, "1709210096.000000001", Value::Unreadable(TOO_FINE)),
            (D::Timestamp, "1709210096.000000000 960", Value::Timestamp(1_709_210_096_000_000)),
            (D::Json, "{\n  \"a\": \"undefined\"\n}", Value::Json("{\n  \"a\": \"undefined\"\n}")),
            (D::Json, "[\n  undefined\n]", NOT_JSON),
            (D::Json, "{\"a\": NaN}", NOT_JSON),
        ] {
            of(decoder, cell, |value| assert_eq!(value, expected, "{decoder:?} {cell}"));
        }
    }
}
