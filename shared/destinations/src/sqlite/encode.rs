//! Values as SQLite keeps them, and back.
//!
//! SQLite has four storage classes, so the rest goes by convention: true and false are 1 and 0; dates and
//! times are ISO 8601 text (`Z` for a point in time); documents and UUIDs are text; bytes are a blob. A decimal
//! is text, unless the column's affinity turns text into a number anyway: then it is a number where that holds
//! every digit. What a column would change for good (`008` in one of numbers) is refused.

use domain::cells;
use domain::value::{Type, Value, render};
use rusqlite::types::{Value as Stored, ValueRef};

use crate::sql::{DAY, micros};

/// What a column makes of the values it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Text,
    /// Text that is a number becomes one.
    Numeric,
    /// The same, and every number becomes a floating point number.
    Real,
    /// Everything stays as it is.
    None,
}

/// SQLite's rules for a declared type, in its order.
pub(super) fn affinity(declared: &str, strict: bool) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    match () {
        () if has("INT") => Affinity::Numeric,
        () if has("CHAR") || has("CLOB") || has("TEXT") => Affinity::Text,
        () if has("BLOB") || declared.is_empty() || (strict && declared == "ANY") => Affinity::None,
        () if has("REAL") || has("FLOA") || has("DOUB") => Affinity::Real,
        () => Affinity::Numeric,
    }
}

/// A value as it is bound; `None` when the column would change it for good.
pub(super) fn stored(value: Value<'_>, affinity: Affinity) -> Option<Stored> {
    Some(match value {
        Value::Missing | Value::Null => Stored::Null,
        Value::Bool(v) => Stored::Integer(i64::from(v)),
        Value::Int(v) if affinity == Affinity::Real && v.unsigned_abs() > EXACT => return None,
        Value::Int(v) => Stored::Integer(v),
        // SQLite's own text of a number has 15 digits.
        Value::Float(v) if affinity == Affinity::Text => Stored::Text(render::float(v)),
        Value::Float(v) => Stored::Real(v),
        Value::Decimal(v) if matches!(affinity, Affinity::Numeric | Affinity::Real) => number(v, affinity)?,
        Value::Bytes(v) => Stored::Blob(v.to_vec()),
        other => {
            let text = other.to_text();
            if matches!(affinity, Affinity::Numeric | Affinity::Real) && !keeps(&text, affinity) {
                return None;
            }
            Stored::Text(text.into_owned())
        }
    })
}

/// Whole numbers up to this one are exact as floating point numbers.
const EXACT: u64 = 1 << 53;

/// True when a column of numbers leaves this text as it is, or makes a number of it that reads as the same text.
fn keeps(text: &str, affinity: Affinity) -> bool {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0c']);
    let looks_like_one = !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if !looks_like_one || trimmed.parse::<f64>().is_err() {
        return true;
    }
    match number(text, affinity) {
        Some(Stored::Integer(v)) => v.to_string() == text,
        Some(Stored::Real(v)) => render::float(v) == text,
        _ => false,
    }
}

/// A decimal as a number of the same digits.
fn number(decimal: &str, affinity: Affinity) -> Option<Stored> {
    if let Ok(whole) = decimal.parse::<i64>() {
        return (affinity != Affinity::Real || whole.unsigned_abs() <= EXACT).then_some(Stored::Integer(whole));
    }
    let float: f64 = decimal.parse().ok()?;
    (render::float(float) == decimal).then_some(Stored::Real(float))
}

/// Appends what a row holds as a cell of the layout's type, or of its own where it does not fit that.
pub(super) fn push(out: &mut Vec<u8>, held: ValueRef<'_>, kind: Type) {
    let text = match held {
        ValueRef::Null => return cells::push(out, Value::Null),
        ValueRef::Blob(bytes) => return cells::push(out, Value::Bytes(bytes)),
        ValueRef::Integer(v) => {
            let value = match kind {
                Type::Bool if v == 0 || v == 1 => Value::Bool(v == 1),
                Type::Float => Value::Float(v as f64),
                Type::Decimal => return cells::push(out, Value::Decimal(&v.to_string())),
                Type::Text => return cells::push(out, Value::Text(&v.to_string())),
                Type::Json => return cells::push(out, Value::Json(&v.to_string())),
                _ => Value::Int(v),
            };
            return cells::push(out, value);
        }
        ValueRef::Real(v) => {
            let digits = render::float(v);
            let value = match kind {
                Type::Int if v == v.trunc() && v.abs() < 9e15 => Value::Int(v as i64),
                Type::Decimal => Value::Decimal(&digits),
                Type::Text => Value::Text(&digits),
                Type::Json => Value::Json(&digits),
                _ => Value::Float(v),
            };
            return cells::push(out, value);
        }
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => return cells::push(out, Value::Unreadable("text that is not UTF-8")),
        },
    };
    let value = match kind {
        Type::Decimal => Some(Value::Decimal(text)),
        Type::Json => Some(Value::Json(text)),
        Type::Date => text.parse().ok().map(|date: jiff::civil::Date| Value::Date((micros(date.into()) / DAY) as i32)),
        Type::Time => text
            .parse()
            .ok()
            .map(|time: jiff::civil::Time| Value::Time(micros(jiff::civil::date(1970, 1, 1).to_datetime(time)))),
        Type::DateTime => text.parse().ok().map(|at: jiff::civil::DateTime| Value::DateTime(micros(at))),
        Type::Timestamp => text.parse().ok().map(|at: jiff::Timestamp| Value::Timestamp(at.as_microsecond())),
        Type::Uuid => u128::from_str_radix(&text.replace('-', ""), 16).ok().map(|v| Value::Uuid(v.to_be_bytes())),
        _ => None,
    };
    cells::push(out, value.unwrap_or(Value::Text(text)));
}

/// How an index compares texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    Binary,
    /// Without regard to the case of ASCII letters.
    NoCase,
    /// Without regard to spaces at the end.
    RTrim,
}

/// An identifier value as a unique index compares it: equal keys are one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum UniqueKey {
    Null,
    Integer(i64),
    Real(u64),
    Text(String),
    Blob(Vec<u8>),
}

/// The key of a value that is bound to a column.
pub(super) fn key(stored: &Stored, affinity: Affinity, collation: Collation) -> UniqueKey {
    let text = |text: &str| match collation {
        Collation::Binary => UniqueKey::Text(text.to_owned()),
        Collation::NoCase => UniqueKey::Text(text.to_ascii_lowercase()),
        Collation::RTrim => UniqueKey::Text(text.trim_end_matches(' ').to_owned()),
    };
    let real = |v: f64| {
        if v == v.trunc() && v.abs() < 9e15 { UniqueKey::Integer(v as i64) } else { UniqueKey::Real(v.to_bits()) }
    };
    match (stored, affinity) {
        (Stored::Null, _) => UniqueKey::Null,
        (Stored::Integer(v), Affinity::Text) => text(&v.to_string()),
        (Stored::Integer(v), _) => UniqueKey::Integer(*v),
        (Stored::Real(v), _) => real(*v),
        (Stored::Text(v), Affinity::Numeric | Affinity::Real) => {
            let trimmed = v.trim();
            match (trimmed.parse(), trimmed.parse::<f64>()) {
                (Ok(whole), _) => UniqueKey::Integer(whole),
                // Words such as `inf` and `nan` are no numbers to SQLite.
                (_, Ok(float)) if !trimmed.contains(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E') => {
                    real(float)
                }
                _ => text(v),
            }
        }
        (Stored::Text(v), _) => text(v),
        (Stored::Blob(v), _) => UniqueKey::Blob(v.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinities_follow_the_declared_type() {
        for (declared, expected) in [
            ("INTEGER", Affinity::Numeric),
            ("VARCHAR(10)", Affinity::Text),
            ("", Affinity::None),
            ("BLOB", Affinity::None),
            ("DECIMAL(10,2)", Affinity::Numeric),
            ("CHARINT", Affinity::Numeric),
            ("ANY", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
            ("DOUBLE PRECISION", Affinity::Real),
        ] {
            assert_eq!(affinity(declared, false), expected, "{declared}");
        }
        assert_eq!(affinity("ANY", true), Affinity::None);
    }

    #[test]
    fn values_are_stored_by_convention() {
        for (value, affinity, expected) in [
            (Value::Bool(true), Affinity::None, Some(Stored::Integer(1))),
            (Value::Timestamp(0), Affinity::Text, Some(Stored::Text("1970-01-01T00:00:00Z".into()))),
            (Value::Uuid([0; 16]), Affinity::Text, Some(Stored::Text("00000000-0000-0000-0000-000000000000".into()))),
            (Value::Bytes(&[1]), Affinity::Text, Some(Stored::Blob(vec![1]))),
            (Value::Decimal("1.5"), Affinity::Text, Some(Stored::Text("1.5".into()))),
            (Value::Decimal("1.5"), Affinity::Numeric, Some(Stored::Real(1.5))),
            (Value::Decimal("12"), Affinity::Numeric, Some(Stored::Integer(12))),
            (Value::Decimal("12345678901234567890.5"), Affinity::Numeric, None),
            (
                Value::Decimal("12345678901234567890.5"),
                Affinity::Text,
                Some(Stored::Text("12345678901234567890.5".into())),
            ),
            (Value::Text("008"), Affinity::Numeric, None),
            (Value::Text("1.10"), Affinity::Numeric, None),
            (Value::Text(" 8"), Affinity::Numeric, None),
            (Value::Text("1e3"), Affinity::Real, None),
            (Value::Text("12345678901234567890"), Affinity::Numeric, None),
            (Value::Text("8"), Affinity::Numeric, Some(Stored::Text("8".into()))),
            (Value::Text("-1.5"), Affinity::Real, Some(Stored::Text("-1.5".into()))),
            (Value::Text("8a"), Affinity::Numeric, Some(Stored::Text("8a".into()))),
            (Value::Text("inf"), Affinity::Numeric, Some(Stored::Text("inf".into()))),
            (Value::Text(""), Affinity::Numeric, Some(Stored::Text("".into()))),
            (Value::Text("008"), Affinity::Text, Some(Stored::Text("008".into()))),
            (Value::Json("1.10"), Affinity::Numeric, None),
            (Value::Int(9_007_199_254_740_993), Affinity::Real, None),
            (Value::Int(9_007_199_254_740_993), Affinity::Numeric, Some(Stored::Integer(9_007_199_254_740_993))),
            (Value::Float(0.1 + 0.2), Affinity::Text, Some(Stored::Text("0.30000000000000004".into()))),
        ] {
            assert_eq!(stored(value, affinity), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_stored_reads_back_as_the_layouts_type() {
        for (value, kind) in [
            (Value::Bool(true), Type::Bool),
            (Value::Int(-3), Type::Int),
            (Value::Float(2.0), Type::Float),
            (Value::Decimal("1.5"), Type::Decimal),
            (Value::Date(-1), Type::Date),
            (Value::Time(3_600_000_001), Type::Time),
            (Value::DateTime(-1), Type::DateTime),
            (Value::Timestamp(1_709_210_096_000_007), Type::Timestamp),
            (Value::Json("{\"a\":1}"), Type::Json),
            (Value::Uuid([7; 16]), Type::Uuid),
            (Value::Bytes(&[0, 255]), Type::Bytes),
            (Value::Text("é🌊"), Type::Text),
            (Value::Text("1"), Type::Any),
        ] {
            for affinity in [Affinity::Numeric, Affinity::None] {
                let stored = stored(value, affinity).unwrap();
                let mut cell = Vec::new();
                push(&mut cell, ValueRef::from(&stored), kind);
                assert_eq!(cells::value(&cell), value, "{kind}");
            }
        }
    }

    #[test]
    fn keys_are_equal_where_an_index_says_so() {
        let text = |v: &str| Stored::Text(v.into());
        for (a, b, affinity, collation, equal) in [
            (text("Ada"), text("ada"), Affinity::Text, Collation::NoCase, true),
            (text("Ada"), text("ada"), Affinity::Text, Collation::Binary, false),
            (text("É"), text("é"), Affinity::Text, Collation::NoCase, false),
            (text("a  "), text("a"), Affinity::Text, Collation::RTrim, true),
            (text("1"), Stored::Integer(1), Affinity::Numeric, Collation::Binary, true),
            (text("1"), Stored::Integer(1), Affinity::Text, Collation::Binary, true),
            (text("1"), Stored::Integer(1), Affinity::None, Collation::Binary, false),
            (Stored::Real(1.0), Stored::Integer(1), Affinity::None, Collation::Binary, true),
            (text("inf"), text("INF"), Affinity::Numeric, Collation::Binary, false),
        ] {
            assert_eq!(key(&a, affinity, collation) == key(&b, affinity, collation), equal, "{a:?} {b:?}");
        }
    }
}
