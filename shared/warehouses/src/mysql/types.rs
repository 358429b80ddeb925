//! Which types of MySQL are read, and as what.

use domain::finding::Finding;
use domain::row::{Column, RowBatch};
use domain::value::{Type, Value};
use jiff::civil;
use mysql_async::Value as Stored;
use mysql_async::consts::{ColumnFlags, ColumnType};

/// The character set that says that there is none.
const BINARY: u16 = 63;

const ZERO_DATE: &str =
    "a date of zeros: write nullif(COLUMN, '0000-00-00') in the model, or another value in its place";
const LONG_TIME: &str = "a time that is negative or beyond a day: write time_to_sec(COLUMN) in the model";
const MALFORMED: Value<'static> = Value::Unreadable("bytes that are no value of the column's type");

/// How a column's values are read.
#[derive(Debug, Clone)]
pub(super) struct ColumnReader {
    name: String,
    kind: ColumnKind,
    /// The type's name, for messages.
    told: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Int,
    /// A whole number without a sign of 64 bits.
    Unsigned,
    Float,
    Decimal,
    Text,
    Bytes,
    /// Bits: a number in bytes, the highest first.
    Bits,
    Date,
    Time,
    DateTime,
    Timestamp,
    Json,
    Unsupported,
}

impl ColumnReader {
    pub(super) fn of(column: &mysql_async::Column) -> Self {
        use ColumnType as C;
        let binary = column.character_set() == BINARY;
        let kind = match column.column_type() {
            C::MYSQL_TYPE_LONGLONG if column.flags().contains(ColumnFlags::UNSIGNED_FLAG) => ColumnKind::Unsigned,
            C::MYSQL_TYPE_TINY
            | C::MYSQL_TYPE_SHORT
            | C::MYSQL_TYPE_INT24
            | C::MYSQL_TYPE_LONG
            | C::MYSQL_TYPE_LONGLONG
            | C::MYSQL_TYPE_YEAR => ColumnKind::Int,
            C::MYSQL_TYPE_FLOAT | C::MYSQL_TYPE_DOUBLE => ColumnKind::Float,
            C::MYSQL_TYPE_DECIMAL | C::MYSQL_TYPE_NEWDECIMAL => ColumnKind::Decimal,
            C::MYSQL_TYPE_BIT => ColumnKind::Bits,
            C::MYSQL_TYPE_DATE | C::MYSQL_TYPE_NEWDATE => ColumnKind::Date,
            C::MYSQL_TYPE_TIME | C::MYSQL_TYPE_TIME2 => ColumnKind::Time,
            C::MYSQL_TYPE_DATETIME | C::MYSQL_TYPE_DATETIME2 => ColumnKind::DateTime,
            C::MYSQL_TYPE_TIMESTAMP | C::MYSQL_TYPE_TIMESTAMP2 => ColumnKind::Timestamp,
            C::MYSQL_TYPE_JSON => ColumnKind::Json,
            C::MYSQL_TYPE_GEOMETRY => ColumnKind::Unsupported,
            C::MYSQL_TYPE_VARCHAR
            | C::MYSQL_TYPE_VAR_STRING
            | C::MYSQL_TYPE_STRING
            | C::MYSQL_TYPE_ENUM
            | C::MYSQL_TYPE_SET
            | C::MYSQL_TYPE_NULL
            | C::MYSQL_TYPE_TINY_BLOB
            | C::MYSQL_TYPE_MEDIUM_BLOB
            | C::MYSQL_TYPE_LONG_BLOB
            | C::MYSQL_TYPE_BLOB => {
                if binary && column.column_type() != C::MYSQL_TYPE_NULL {
                    ColumnKind::Bytes
                } else {
                    ColumnKind::Text
                }
            }
            _ => ColumnKind::Unsupported,
        };
        let told = format!("{:?}", column.column_type()).trim_start_matches("MYSQL_TYPE_").to_lowercase();
        Self { name: column.name_str().into_owned(), kind, told }
    }

    /// The column as the engine knows it.
    pub(super) fn column(&self) -> Column {
        let kind = match self.kind {
            ColumnKind::Int | ColumnKind::Bits => Type::Int,
            ColumnKind::Unsigned | ColumnKind::Decimal => Type::Decimal,
            ColumnKind::Float => Type::Float,
            ColumnKind::Text => Type::Text,
            ColumnKind::Bytes => Type::Bytes,
            ColumnKind::Date => Type::Date,
            ColumnKind::Time => Type::Time,
            ColumnKind::DateTime => Type::DateTime,
            ColumnKind::Timestamp => Type::Timestamp,
            ColumnKind::Json => Type::Json,
            ColumnKind::Unsupported => Type::Any,
        };
        Column { name: self.name.clone(), kind }
    }

    /// What is said of a column that cannot be read.
    pub(super) fn unreadable(&self) -> Option<(String, Finding)> {
        if self.kind != ColumnKind::Unsupported {
            return None;
        }
        let name = &self.name;
        let what = format!("the column `{name}` is of type {}, which cannot be read", self.told);
        let fix = if self.told == "geometry" {
            format!("write st_astext({name}) in the model")
        } else {
            format!("cast it in the model: cast({name} as char)")
        };
        Some((name.clone(), Finding::error("model", what, fix)))
    }

    /// Appends a value of the column.
    pub(super) fn push(&self, stored: Option<&Stored>, batch: &mut RowBatch) {
        let Some(stored) = stored else { return batch.push(MALFORMED) };
        match (self.kind, stored) {
            (_, Stored::NULL) => batch.push(Value::Null),
            (ColumnKind::Unsigned | ColumnKind::Decimal, Stored::Int(v)) => batch.push(Value::Decimal(&v.to_string())),
            (ColumnKind::Unsigned | ColumnKind::Decimal, Stored::UInt(v)) => batch.push(Value::Decimal(&v.to_string())),
            (_, Stored::Int(v)) => batch.push(Value::Int(*v)),
            (_, Stored::UInt(v)) => match i64::try_from(*v) {
                Ok(v) => batch.push(Value::Int(v)),
                Err(_) => batch.push(Value::Decimal(&v.to_string())),
            },
            // The digits that a single precision number is written with, and not those of the same number in 64 bits.
            (_, Stored::Float(v)) => batch.push(Value::Float(v.to_string().parse().unwrap_or(f64::from(*v)))),
            (_, Stored::Double(v)) => batch.push(Value::Float(*v)),
            (kind, Stored::Date(year, month, day, hour, minute, second, micros)) => {
                batch.push(moment(kind, (*year, *month, *day), (*hour, *minute, *second, *micros)));
            }
            (_, Stored::Time(negative, days, hours, minutes, seconds, micros)) => {
                let within = !negative && *days == 0 && *hours < 24;
                let total = (i64::from(*hours) * 3600 + i64::from(*minutes) * 60 + i64::from(*seconds)) * 1_000_000;
                batch.push(if within { Value::Time(total + i64::from(*micros)) } else { Value::Unreadable(LONG_TIME) });
            }
            (kind, Stored::Bytes(bytes)) => batch.push(of_bytes(kind, bytes)),
        }
    }
}

fn of_bytes(kind: ColumnKind, bytes: &[u8]) -> Value<'_> {
    if kind == ColumnKind::Bytes {
        return Value::Bytes(bytes);
    }
    if kind == ColumnKind::Bits {
        let number = (bytes.len() <= 8).then(|| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)));
        return number.and_then(|n| i64::try_from(n).ok()).map_or(MALFORMED, Value::Int);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Value::Unreadable("text that is not UTF-8") };
    match kind {
        ColumnKind::Decimal => Value::Decimal(text),
        ColumnKind::Json => Value::Json(text),
        ColumnKind::Text => Value::Text(text),
        _ => MALFORMED,
    }
}

fn moment(kind: ColumnKind, (year, month, day): (u16, u8, u8), (h, m, s, micros): (u8, u8, u8, u32)) -> Value<'static> {
    let date = i16::try_from(year).ok().and_then(|year| civil::Date::new(year, month as i8, day as i8).ok());
    let Some(date) = date else { return Value::Unreadable(ZERO_DATE) };
    let Ok(days) = date.since((jiff::Unit::Day, civil::date(1970, 1, 1))).map(|span| span.get_days()) else {
        return MALFORMED;
    };
    let of_day = (i64::from(h) * 3600 + i64::from(m) * 60 + i64::from(s)) * 1_000_000 + i64::from(micros);
    let at = i64::from(days) * 86_400_000_000 + of_day;
    match kind {
        ColumnKind::Date => Value::Date(days),
        ColumnKind::Timestamp => Value::Timestamp(at),
        _ => Value::DateTime(at),
    }
}
