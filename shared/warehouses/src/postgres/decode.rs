//! The binary form of one value on the wire, read without allocating: what is not borrowed from the row is
//! written into a buffer that is used again for the next value.

use std::error::Error;

use domain::value::Value;
use tokio_postgres::types::{FromSql, Type};

use super::{json_array, text};

/// The bytes of a value, whatever its type.
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl<'a> FromSql<'a> for Wire<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Wire(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// How a column's values are read, resolved once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoder {
    Scalar(Scalar),
    /// An array of any dimension.
    Array(Scalar),
    /// Not at all; preflight says so.
    Unsupported,
}

/// How one value that is no array is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Json,
    Jsonb,
    Uuid,
    Inet,
    MacAddr,
}

/// Buffers for values that are not borrowed from the row.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A number, an interval, an address.
    text: String,
    json: Vec<u8>,
}

/// A value whose bytes are not what its type promises.
pub(crate) const MALFORMED: Value<'static> = Value::Unreadable("bytes that are no value of the column's type");
const NOT_UTF8: Value<'static> = Value::Unreadable("text that is not UTF-8");
const INFINITY: Value<'static> = Value::Unreadable(INFINITE);
pub(crate) const INFINITE: &str =
    "infinity, which few systems know: write nullif(COLUMN, 'infinity') in the model, or another value in its place";
const OUT_OF_RANGE: Value<'static> = Value::Unreadable("a date or time too far away");

/// Days and microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 10_957 * 86_400_000_000;

pub(crate) fn value<'a>(decoder: &Decoder, bytes: &'a [u8], scratch: &'a mut Scratch) -> Value<'a> {
    match decoder {
        Decoder::Scalar(of) => scalar(*of, bytes, &mut scratch.text),
        Decoder::Array(of) => {
            scratch.json.clear();
            match json_array::write(*of, bytes, &mut scratch.text, &mut scratch.json) {
                Ok(()) => std::str::from_utf8(&scratch.json).map_or(NOT_UTF8, Value::Json),
                Err(why) => Value::Unreadable(why),
            }
        }
        Decoder::Unsupported => Value::Unreadable("a value of a type that cannot be read"),
    }
}

/// Reads one value that is no array.
pub(crate) fn scalar<'a>(of: Scalar, bytes: &'a [u8], buffer: &'a mut String) -> Value<'a> {
    read(of, bytes, buffer).unwrap_or(MALFORMED)
}

/// `None`: the bytes are too short or too long.
fn read<'a>(of: Scalar, bytes: &'a [u8], buffer: &'a mut String) -> Option<Value<'a>> {
    Some(match of {
        Scalar::Bool => Value::Bool(fixed::<1>(bytes)?[0] != 0),
        Scalar::Int2 => Value::Int(i64::from(i16::from_be_bytes(fixed(bytes)?))),
        Scalar::Int4 => Value::Int(i64::from(i32::from_be_bytes(fixed(bytes)?))),
        Scalar::Int8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
        Scalar::Oid => Value::Int(i64::from(u32::from_be_bytes(fixed(bytes)?))),
        Scalar::Float4 => float(widened(f32::from_be_bytes(fixed(bytes)?))),
        Scalar::Float8 => float(f64::from_be_bytes(fixed(bytes)?)),
        Scalar::Numeric => numeric(bytes, buffer)?,
        Scalar::Text => std::str::from_utf8(bytes).map_or(NOT_UTF8, Value::Text),
        Scalar::Bytea => Value::Bytes(bytes),
        Scalar::Date => date(i32::from_be_bytes(fixed(bytes)?)),
        Scalar::Time => Value::Time(i64::from_be_bytes(fixed(bytes)?)),
        Scalar::Timestamp => moment(i64::from_be_bytes(fixed(bytes)?), Value::DateTime),
        Scalar::TimestampTz => moment(i64::from_be_bytes(fixed(bytes)?), Value::Timestamp),
        Scalar::Json => std::str::from_utf8(bytes).map_or(NOT_UTF8, Value::Json),
        Scalar::Jsonb => match bytes.split_first()? {
            (1, json) => std::str::from_utf8(json).map_or(NOT_UTF8, Value::Json),
            _ => return None,
        },
        Scalar::Uuid => Value::Uuid(fixed(bytes)?),
        Scalar::TimeTz => text::time_with_zone(bytes, buffer)?,
        Scalar::Interval => text::interval(bytes, buffer)?,
        Scalar::Inet => text::address(bytes, buffer)?,
        Scalar::MacAddr => text::hardware_address(bytes, buffer)?,
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// The double precision number with the digits that a single precision one is written with: 0.1, and not
/// 0.10000000149011612.
pub(crate) fn widened(v: f32) -> f64 {
    if v.is_finite() { v.to_string().parse().unwrap_or(f64::from(v)) } else { f64::from(v) }
}

fn float(v: f64) -> Value<'static> {
    if v.is_nan() {
        Value::Unreadable("not a number (NaN)")
    } else if v.is_infinite() {
        INFINITY
    } else {
        Value::Float(v)
    }
}

fn date(days: i32) -> Value<'static> {
    match days {
        i32::MAX | i32::MIN => INFINITY,
        days => days.checked_add(EPOCH_DAYS).map_or(OUT_OF_RANGE, Value::Date),
    }
}

fn moment(micros: i64, of: fn(i64) -> Value<'static>) -> Value<'static> {
    match micros {
        i64::MAX | i64::MIN => INFINITY,
        micros => micros.checked_add(EPOCH_MICROS).map_or(OUT_OF_RANGE, of),
    }
}

/// Digits in base 10,000: count, weight of the first (its power of 10,000), sign, display scale, digits.
fn numeric<'a>(bytes: &[u8], out: &'a mut String) -> Option<Value<'a>> {
    let (head, digits) = bytes.split_at_checked(8)?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let weight = i32::from(word(2) as i16);
    let negative = match word(4) {
        0 => false,
        0x4000 => true,
        0xC000 => return Some(Value::Unreadable("not a number (NaN)")),
        0xD000 | 0xF000 => return Some(INFINITY),
        _ => return None,
    };
    if digits.len() != 2 * usize::from(word(0)) {
        return None;
    }
    let mut groups = digits.chunks_exact(2).map(|d| u16::from_be_bytes([d[0], d[1]]));
    out.clear();
    if digits.is_empty() {
        return Some(Value::Decimal("0"));
    }
    if negative {
        out.push('-');
    }
    let whole_from = out.len();
    for _ in 0..=weight {
        group(out, groups.next().unwrap_or(0))?;
        if out.len() == whole_from + 4 {
            // No zeros before the first digit of the number.
            let zeros = out[whole_from..].bytes().take_while(|b| *b == b'0').count();
            out.replace_range(whole_from..whole_from + zeros, "");
        }
    }
    if out.len() == whole_from {
        out.push('0');
    }
    let whole_to = out.len();
    out.push('.');
    for _ in weight..-1 {
        group(out, 0)?;
    }
    for digits in groups {
        group(out, digits)?;
    }
    let kept = out[whole_to + 1..].trim_end_matches('0').len();
    out.truncate(if kept == 0 { whole_to } else { whole_to + 1 + kept });
    Some(Value::Decimal(out))
}

/// Appends four decimal digits.
fn group(out: &mut String, value: u16) -> Option<()> {
    if value > 9999 {
        return None;
    }
    for digit in [value / 1000, value / 100 % 10, value / 10 % 10, value % 10] {
        out.push(char::from(b'0' + digit as u8));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(count: usize, weight: i16, sign: u16, groups: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [count as u16, weight as u16, sign, 0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        groups.iter().for_each(|g| bytes.extend_from_slice(&g.to_be_bytes()));
        bytes
    }

    #[test]
    fn numeric_digits_become_plain_decimals() {
        for (weight, sign, groups, expected) in [
            (0, 0, &[][..], "0"),
            (0, 0, &[7], "7"),
            (0, 0x4000, &[1, 5000], "-1.5"),
            (1, 0, &[1, 0], "10000"),
            (1, 0, &[1], "10000"),
            (2, 0, &[12, 34, 5, 6700], "1200340005.67"),
            (-1, 0, &[100], "0.01"),
            (-2, 0x4000, &[1], "-0.00000001"),
            (-1, 0, &[1, 2], "0.00010002"),
            (
                9,
                0,
                &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999],
                "99999999999999999999999999999999999999",
            ),
        ] {
            let bytes = wire(groups.len(), weight, sign, groups);
            assert_eq!(scalar(Scalar::Numeric, &bytes, &mut "old".to_owned()), Value::Decimal(expected), "{groups:?}");
        }
        for sign in [0xC000, 0xD000, 0xF000] {
            assert!(matches!(
                scalar(Scalar::Numeric, &wire(0, 0, sign, &[]), &mut String::new()),
                Value::Unreadable(_)
            ));
        }
        for bad in [&wire(2, 0, 0, &[1])[..], &wire(1, 0, 0, &[10_000]), &wire(0, 0, 1, &[]), &[0, 1]] {
            assert_eq!(scalar(Scalar::Numeric, bad, &mut String::new()), MALFORMED);
        }
    }

    #[test]
    fn times_are_counted_from_1970() {
        let mut buffer = String::new();
        assert_eq!(scalar(Scalar::Date, &0i32.to_be_bytes(), &mut buffer), Value::Date(10_957));
        assert_eq!(scalar(Scalar::Timestamp, &(-EPOCH_MICROS).to_be_bytes(), &mut buffer), Value::DateTime(0));
        assert_eq!(
            scalar(Scalar::TimestampTz, &1i64.to_be_bytes(), &mut buffer),
            Value::Timestamp(946_684_800_000_001)
        );
        assert_eq!(scalar(Scalar::TimestampTz, &i64::MAX.to_be_bytes(), &mut buffer), INFINITY);
        assert_eq!(scalar(Scalar::Timestamp, &i64::MIN.to_be_bytes(), &mut buffer), INFINITY);
        assert_eq!(scalar(Scalar::Timestamp, &(i64::MAX - 1).to_be_bytes(), &mut buffer), OUT_OF_RANGE);
        assert_eq!(scalar(Scalar::Date, &i32::MIN.to_be_bytes(), &mut buffer), INFINITY);
    }

    #[test]
    fn scalars_are_read_and_wrong_lengths_are_unreadable() {
        let mut buffer = String::new();
        for (of, bytes, expected) in [
            (Scalar::Bool, &[1][..], Value::Bool(true)),
            (Scalar::Int2, &[0xff, 0xfe], Value::Int(-2)),
            (Scalar::Oid, &[0xff, 0xff, 0xff, 0xff], Value::Int(4_294_967_295)),
            (Scalar::Float4, &0.5f32.to_be_bytes(), Value::Float(0.5)),
            (Scalar::Float4, &19.99f32.to_be_bytes(), Value::Float(19.99)),
            (Scalar::Float4, &0.1f32.to_be_bytes(), Value::Float(0.1)),
            (Scalar::Float4, &f32::MAX.to_be_bytes(), Value::Float(3.4028235e38)),
            (Scalar::Float4, &1e-45f32.to_be_bytes(), Value::Float(1e-45)),
            (Scalar::Float8, &f64::NEG_INFINITY.to_be_bytes(), INFINITY),
            (Scalar::Float8, &f64::NAN.to_be_bytes(), Value::Unreadable("not a number (NaN)")),
            (Scalar::Text, &[0xff], NOT_UTF8),
            (Scalar::Jsonb, b"\x01{}", Value::Json("{}")),
            (Scalar::Jsonb, b"\x02{}", MALFORMED),
            (Scalar::Int4, &[0], MALFORMED),
            (Scalar::Uuid, &[7; 16], Value::Uuid([7; 16])),
            (Scalar::Uuid, &[7; 15], MALFORMED),
        ] {
            assert_eq!(scalar(of, bytes, &mut buffer), expected, "{of:?} {bytes:?}");
        }
    }
}
