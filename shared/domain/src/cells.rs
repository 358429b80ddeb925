//! The canonical encoding: how values lie in memory, in the spool, in a message and under a checksum.
//!
//! A *cell* is one encoded value: a tag byte, then the payload. Fixed payloads are little-endian;
//! text and bytes carry their length in four bytes. The encoding is canonical: equal values have equal
//! bytes, so a checksum can be taken from the bytes without decoding them, and copying a column into a
//! record is a `memcpy`. [`VERSION`] goes into every checksum: raise it when the encoding changes.

use crate::value::{Type, Value, canonical_decimal};

/// Version of the canonical encoding; part of every checksum's seed.
pub const VERSION: u8 = 1;

const MISSING: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const INT: u8 = 4;
const FLOAT: u8 = 5;
const DECIMAL: u8 = 6;
const TEXT: u8 = 7;
const BYTES: u8 = 8;
const DATE: u8 = 9;
const TIME: u8 = 10;
const DATETIME: u8 = 11;
const TIMESTAMP: u8 = 12;
const JSON: u8 = 13;
const UUID: u8 = 14;
const UNREADABLE: u8 = 15;

/// Appends `value` as one cell. Decimals are brought to their one spelling, `-0.0` becomes `0.0`, and a
/// float that is not finite becomes [`Value::Unreadable`].
pub fn push(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Missing => out.push(MISSING),
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(v) => fixed(out, INT, v.to_le_bytes()),
        Value::Float(v) if v.is_nan() => variable(out, UNREADABLE, b"not a number (NaN)"),
        Value::Float(v) if v.is_infinite() => variable(out, UNREADABLE, b"an infinite number"),
        // Adding zero turns -0.0 into 0.0 and leaves every other number as it is.
        Value::Float(v) => fixed(out, FLOAT, (v + 0.0).to_le_bytes()),
        Value::Decimal(v) => match canonical_decimal(v) {
            Some(canonical) => variable(out, DECIMAL, canonical.as_bytes()),
            None => variable(out, UNREADABLE, b"not a decimal number"),
        },
        Value::Text(v) => variable(out, TEXT, v.as_bytes()),
        Value::Bytes(v) => variable(out, BYTES, v),
        Value::Date(v) => fixed(out, DATE, v.to_le_bytes()),
        Value::Time(v) => fixed(out, TIME, v.to_le_bytes()),
        Value::DateTime(v) => fixed(out, DATETIME, v.to_le_bytes()),
        Value::Timestamp(v) => fixed(out, TIMESTAMP, v.to_le_bytes()),
        Value::Json(v) => variable(out, JSON, v.as_bytes()),
        Value::Uuid(v) => fixed(out, UUID, v),
        Value::Unreadable(v) => variable(out, UNREADABLE, v.as_bytes()),
    }
}

fn fixed<const N: usize>(out: &mut Vec<u8>, tag: u8, payload: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&payload);
}

fn variable(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    // A single value of 4 GiB cannot come out of any warehouse client we have; it is cut rather than wrapped.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.reserve(5 + payload.len());
    out.push(tag);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&payload[..len as usize]);
}

/// A run of cells, one after the other: a record's fields, a key. Reading it never panics: bytes that
/// are no cells (a damaged file) end the iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells<'a>(pub &'a [u8]);

impl<'a> Cells<'a> {
    /// The encoded bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (value, next) = take(rest)?;
            rest = next;
            Some(value)
        })
    }

    /// The encoded cells in order.
    pub fn cells(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let len = cell_len(rest)?;
            let (cell, next) = rest.split_at(len);
            rest = next;
            Some(cell)
        })
    }

    /// The value at position `index`.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        self.values().nth(index)
    }
}

/// Length in bytes of the first cell of `bytes`; `None` if there is no whole cell.
pub fn cell_len(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.first()? {
        MISSING | NULL | FALSE | TRUE => 1,
        INT | FLOAT | TIME | DATETIME | TIMESTAMP => 9,
        DATE => 5,
        UUID => 17,
        DECIMAL | TEXT | BYTES | JSON | UNREADABLE => {
            5 + u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize
        }
        _ => return None,
    };
    (bytes.len() >= len).then_some(len)
}

/// Decodes one cell (as [`Cells::cells`] yields it). A damaged cell reads as unreadable.
pub fn value(cell: &[u8]) -> Value<'_> {
    take(cell).map_or(Value::Unreadable("a damaged value"), |(value, _)| value)
}

/// Appends a cell as JSON, as [`Value::write_json`] does, without looking at text twice.
pub fn write_json(cell: &[u8], out: &mut Vec<u8>) {
    match cell {
        // Text came in as text, so it need not be checked to be UTF-8 again.
        [TEXT, _, _, _, _, text @ ..] => crate::value::render::json_escape(out, text),
        [DECIMAL | JSON, _, _, _, _, text @ ..] => out.extend_from_slice(text),
        _ => value(cell).write_json(out),
    }
}

/// True for a cell that is left out of the record.
pub fn is_missing(cell: &[u8]) -> bool {
    cell.first() == Some(&MISSING)
}

/// True for a cell that holds null or is missing, without decoding it.
pub fn is_empty(cell: &[u8]) -> bool {
    matches!(cell.first(), Some(&NULL | &MISSING) | None)
}

/// True for a cell that is unreadable, without decoding it.
pub fn is_unreadable(cell: &[u8]) -> bool {
    cell.first() == Some(&UNREADABLE)
}

/// True for a cell that holds a value of type `kind`, without decoding it; [`Type::Any`] is every type.
pub fn is_of(cell: &[u8], kind: Type) -> bool {
    let Some(&tag) = cell.first() else { return false };
    match kind {
        Type::Any => (FALSE..UNREADABLE).contains(&tag),
        Type::Bool => tag == FALSE || tag == TRUE,
        Type::Int => tag == INT,
        Type::Float => tag == FLOAT,
        Type::Decimal => tag == DECIMAL,
        Type::Text => tag == TEXT,
        Type::Bytes => tag == BYTES,
        Type::Date => tag == DATE,
        Type::Time => tag == TIME,
        Type::DateTime => tag == DATETIME,
        Type::Timestamp => tag == TIMESTAMP,
        Type::Json => tag == JSON,
        Type::Uuid => tag == UUID,
    }
}

fn take(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let len = cell_len(bytes)?;
    let (cell, rest) = bytes.split_at(len);
    let payload = &cell[1..];
    let eight = || payload.try_into().map(i64::from_le_bytes).ok();
    let text = || std::str::from_utf8(&payload[4..]).ok();
    let value = match cell[0] {
        MISSING => Value::Missing,
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(eight()?),
        FLOAT => Value::Float(f64::from_bits(eight()? as u64)),
        DECIMAL => Value::Decimal(text()?),
        TEXT => Value::Text(text()?),
        BYTES => Value::Bytes(&payload[4..]),
        DATE => Value::Date(payload.try_into().map(i32::from_le_bytes).ok()?),
        TIME => Value::Time(eight()?),
        DATETIME => Value::DateTime(eight()?),
        TIMESTAMP => Value::Timestamp(eight()?),
        JSON => Value::Json(text()?),
        UUID => Value::Uuid(payload.try_into().ok()?),
        UNREADABLE => Value::Unreadable(text()?),
        _ => return None,
    };
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, value);
        out
    }

    #[test]
    fn every_value_comes_back() {
        let all = [
            Value::Missing,
            Value::Null,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Decimal("-12.5"),
            Value::Text("é🌊"),
            Value::Bytes(&[0, 255]),
            Value::Date(-1),
            Value::Time(1),
            Value::DateTime(2),
            Value::Timestamp(3),
            Value::Json("{}"),
            Value::Uuid([7; 16]),
            Value::Unreadable("why"),
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|v| push(&mut bytes, *v));
        assert_eq!(Cells(&bytes).values().collect::<Vec<_>>(), all);
        assert_eq!(Cells(&bytes).cells().map(value).collect::<Vec<_>>(), all);
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        assert_eq!(one(Value::Decimal("1.50")), one(Value::Decimal("1.5")));
        assert_eq!(one(Value::Float(-0.0)), one(Value::Float(0.0)));
        assert!(is_unreadable(&one(Value::Float(f64::NAN))));
    }

    #[test]
    fn types_do_not_collide() {
        let forms = [
            one(Value::Int(1)),
            one(Value::Text("1")),
            one(Value::Bool(true)),
            one(Value::Decimal("1")),
            one(Value::Float(1.0)),
            one(Value::Json("1")),
        ];
        for (i, a) in forms.iter().enumerate() {
            assert!(forms[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn a_cell_knows_its_type() {
        let int = one(Value::Int(1));
        assert!(is_of(&int, Type::Int) && is_of(&int, Type::Any) && !is_of(&int, Type::Text));
        assert!(is_of(&one(Value::Bool(false)), Type::Bool) && is_of(&one(Value::Bool(true)), Type::Bool));
        assert!(!is_of(&one(Value::Null), Type::Any) && !is_of(&one(Value::Unreadable("why")), Type::Any));
    }

    #[test]
    fn damaged_bytes_end_the_iteration() {
        let mut bytes = one(Value::Text("hello"));
        bytes.truncate(7);
        assert_eq!(Cells(&bytes).values().count(), 0);
        assert_eq!(Cells(&[99, 1, 2]).values().count(), 0);
    }
}
