//! Values and types of the tables: what SQLite has not is a text that begins with [`MARK`] and a letter, written so that
//! such texts sort as their values do.

use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use rusqlite::types::{Value as Stored, ValueRef};

/// Begins a text that is no text.
const MARK: char = '\u{1}';

/// What kind of type it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlKind {
    Bool,
    /// A number with `precision` digits, `scale` of them after the point.
    Number,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    /// Without a zone.
    DateTime,
    /// A moment.
    Timestamp,
    /// A moment, and the offset it was written with.
    TimestampTz,
    /// A document.
    Json,
    Uuid,
}

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlType {
    pub kind: SqlKind,
    pub precision: u32,
    pub scale: u32,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    Null,
    Bool(bool),
    Int(i64),
    /// Digits, perhaps a point and a sign.
    Decimal(String),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Date(civil::Date),
    Time(civil::Time),
    DateTime(civil::DateTime),
    Timestamp(jiff::Timestamp),
    TimestampTz(jiff::Timestamp, Offset),
    Json(String),
    Uuid(String),
}

impl SqlType {
    /// A type of this kind, as wide as it gets.
    pub fn of(kind: SqlKind) -> Self {
        Self { kind, precision: 38, scale: 0 }
    }

    /// A type in the words of the vendors: `NUMBER(10,2)`, `timestamp_ntz(9)`, `double precision`.
    pub fn parse(written: &str) -> Option<Self> {
        let lower = written.trim().to_lowercase();
        let (name, numbers) = match lower.split_once('(') {
            Some((name, rest)) => (name.trim(), rest.split(')').next().unwrap_or_default()),
            None => (lower.as_str(), ""),
        };
        let mut numbers = numbers.split(',').filter_map(|n| n.trim().parse::<u32>().ok());
        let kind = match name {
            "bool" | "boolean" => SqlKind::Bool,
            "number" | "numeric" | "decimal" | "int" | "integer" | "bigint" | "smallint" | "tinyint" | "byteint"
            | "int64" | "long" | "short" | "decfloat" | "int2" | "int4" | "int8" => SqlKind::Number,
            "float" | "float4" | "float8" | "double" | "double precision" | "real" | "float64" => SqlKind::Float,
            "text" | "varchar" | "string" | "char" | "character" | "character varying" => SqlKind::Text,
            "binary" | "varbinary" | "bytes" | "varbyte" => SqlKind::Bytes,
            "date" => SqlKind::Date,
            "time" => SqlKind::Time,
            "timestamp_ntz" | "datetime" | "timestamp" | "timestamp without time zone" => SqlKind::DateTime,
            "timestamp_ltz" | "timestamptz" | "timestamp with time zone" => SqlKind::Timestamp,
            "timestamp_tz" => SqlKind::TimestampTz,
            "variant" | "object" | "array" | "json" | "super" | "geography" => SqlKind::Json,
            "uuid" => SqlKind::Uuid,
            _ => return None,
        };
        // Integers of the vendors that have them have no digits after the point; the number types have what is written.
        let widest = if matches!(name, "int2" | "smallint" | "tinyint" | "int4") { 18 } else { 38 };
        let precision = numbers.next().unwrap_or(if kind == SqlKind::Number { widest } else { 9 });
        let scale = numbers.next().unwrap_or(match kind {
            SqlKind::Number => 0,
            _ => precision.min(9),
        });
        Some(Self { kind, precision, scale })
    }
}

impl SqlValue {
    /// A value of this type, in a vendor's words, from its text; `None` where it is none.
    pub fn of(kind: &str, text: &str) -> Option<Self> {
        SqlValue::text(text).cast(&SqlType::parse(kind)?).ok()
    }

    pub fn text(text: impl Into<String>) -> Self {
        SqlValue::Text(text.into())
    }

    /// Its type, as far as it shows; none for null.
    pub(super) fn kind(&self) -> Option<SqlType> {
        let of = |kind| Some(SqlType { kind, precision: 9, scale: 9 });
        match self {
            SqlValue::Null => None,
            SqlValue::Bool(_) => of(SqlKind::Bool),
            SqlValue::Int(_) => Some(SqlType { kind: SqlKind::Number, precision: 18, scale: 0 }),
            SqlValue::Decimal(text) => {
                let scale = text.split_once('.').map_or(0, |(_, digits)| digits.len() as u32);
                Some(SqlType { kind: SqlKind::Number, precision: 38, scale })
            }
            SqlValue::Float(_) => of(SqlKind::Float),
            SqlValue::Text(_) => of(SqlKind::Text),
            SqlValue::Bytes(_) => of(SqlKind::Bytes),
            SqlValue::Date(_) => of(SqlKind::Date),
            SqlValue::Time(_) => of(SqlKind::Time),
            SqlValue::DateTime(_) => of(SqlKind::DateTime),
            SqlValue::Timestamp(_) => of(SqlKind::Timestamp),
            SqlValue::TimestampTz(..) => of(SqlKind::TimestampTz),
            SqlValue::Json(_) => of(SqlKind::Json),
            SqlValue::Uuid(_) => of(SqlKind::Uuid),
        }
    }

    /// As text that a person reads, and that [`Self::cast`] takes.
    pub fn show(&self) -> String {
        match self {
            SqlValue::Null => String::new(),
            SqlValue::Bool(v) => v.to_string(),
            SqlValue::Int(v) => v.to_string(),
            SqlValue::Float(v) => v.to_string(),
            SqlValue::Decimal(v) | SqlValue::Text(v) | SqlValue::Json(v) | SqlValue::Uuid(v) => v.clone(),
            SqlValue::Bytes(v) => v.iter().map(|b| format!("{b:02X}")).collect(),
            SqlValue::Date(v) => v.to_string(),
            SqlValue::Time(v) => format!("{v:.9}"),
            SqlValue::DateTime(v) => format!("{v:.9}").replace('T', " "),
            SqlValue::Timestamp(v) => format!("{v:.9}"),
            SqlValue::TimestampTz(v, offset) => format!("{v:.9} {}", offset.seconds() / 60),
        }
    }

    /// A date or a time as text in ISO 8601, with milliseconds, or as many digits as it has.
    pub(super) fn iso8601(&self) -> Result<SqlValue, String> {
        let digits = |nanos: i32| match nanos {
            n if n % 1_000_000 == 0 => 3,
            n if n % 1_000 == 0 => 6,
            _ => 9,
        };
        Ok(SqlValue::Text(match self {
            SqlValue::Null => return Ok(SqlValue::Null),
            SqlValue::Date(v) => v.to_string(),
            SqlValue::DateTime(v) => format!("{v:.0$}", digits(v.subsec_nanosecond())),
            SqlValue::Timestamp(v) | SqlValue::TimestampTz(v, _) => format!("{v:.0$}", digits(v.subsec_nanosecond())),
            other => return Err(format!("Unexpected parameters ({other:?}) for function to_iso8601")),
        }))
    }

    pub(super) fn to_sqlite(&self) -> Stored {
        let marked = |letter: char| Stored::Text(format!("{MARK}{letter}{}", self.show()));
        match self {
            SqlValue::Null => Stored::Null,
            SqlValue::Int(v) => Stored::Integer(*v),
            SqlValue::Float(v) if v.is_finite() => Stored::Real(*v),
            SqlValue::Float(_) => marked('F'),
            SqlValue::Text(v) => Stored::Text(v.clone()),
            SqlValue::Bytes(v) => Stored::Blob(v.clone()),
            SqlValue::Bool(_) => marked('B'),
            SqlValue::Decimal(_) => marked('N'),
            SqlValue::Date(_) => marked('D'),
            SqlValue::Time(_) => marked('T'),
            SqlValue::DateTime(_) => marked('S'),
            SqlValue::Timestamp(_) => marked('L'),
            SqlValue::TimestampTz(..) => marked('Z'),
            SqlValue::Json(_) => marked('J'),
            SqlValue::Uuid(_) => marked('U'),
        }
    }

    pub(super) fn of_sqlite(stored: ValueRef<'_>) -> Self {
        let text = match stored {
            ValueRef::Null => return SqlValue::Null,
            ValueRef::Integer(v) => return SqlValue::Int(v),
            ValueRef::Real(v) => return SqlValue::Float(v),
            ValueRef::Blob(v) => return SqlValue::Bytes(v.to_vec()),
            ValueRef::Text(v) => String::from_utf8_lossy(v).into_owned(),
        };
        let Some(marked) = text.strip_prefix(MARK) else { return SqlValue::Text(text) };
        let held = marked.get(1..).unwrap_or_default();
        let read = match marked.chars().next() {
            Some('F') => held.parse().ok().map(SqlValue::Float),
            Some('B') => Some(SqlValue::Bool(held == "true")),
            Some('N') => Some(SqlValue::Decimal(held.to_owned())),
            Some('D') => held.parse().ok().map(SqlValue::Date),
            Some('T') => held.parse().ok().map(SqlValue::Time),
            Some('S') => held.parse().ok().map(SqlValue::DateTime),
            Some('L') => held.parse().ok().map(SqlValue::Timestamp),
            Some('Z') => held.split_once(' ').and_then(|(moment, minutes)| {
                let offset = Offset::from_seconds(minutes.parse::<i32>().ok()? * 60).ok()?;
                Some(SqlValue::TimestampTz(moment.parse().ok()?, offset))
            }),
            Some('J') => Some(SqlValue::Json(held.to_owned())),
            Some('U') => Some(SqlValue::Uuid(held.to_owned())),
            _ => None,
        };
        read.unwrap_or(SqlValue::Text(text.clone()))
    }

    /// The value as another type; the error is what a vendor would say.
    pub(super) fn cast(&self, to: &SqlType) -> Result<SqlValue, String> {
        if *self == SqlValue::Null {
            return Ok(SqlValue::Null);
        }
        let text = self.show();
        let refused = |kind: &str| format!("{kind} '{text}' is not recognized");
        Ok(match to.kind {
            SqlKind::Text => SqlValue::Text(text),
            SqlKind::Json => SqlValue::Json(text),
            SqlKind::Uuid => SqlValue::Uuid(text.to_lowercase()),
            SqlKind::Bool => match (self, text.to_lowercase().as_str()) {
                (SqlValue::Int(v), _) => SqlValue::Bool(*v != 0),
                (_, "true" | "t" | "yes") => SqlValue::Bool(true),
                (_, "false" | "f" | "no") => SqlValue::Bool(false),
                _ => return Err(refused("Boolean value")),
            },
            SqlKind::Bytes => match self {
                SqlValue::Bytes(_) => self.clone(),
                _ => SqlValue::Bytes(from_hex(&text).ok_or_else(|| refused("Binary value"))?),
            },
            SqlKind::Float => match text.to_lowercase().as_str() {
                "nan" => SqlValue::Float(f64::NAN),
                "inf" | "infinity" => SqlValue::Float(f64::INFINITY),
                "-inf" | "-infinity" => SqlValue::Float(f64::NEG_INFINITY),
                _ => SqlValue::Float(text.parse().map_err(|_| refused("Numeric value"))?),
            },
            SqlKind::Number => number(&text, to).ok_or_else(|| refused("Numeric value"))?,
            SqlKind::Date => match moment(&text) {
                Some((at, _)) => SqlValue::Date(at.date()),
                None => return Err(refused("Date")),
            },
            SqlKind::Time => SqlValue::Time(text.parse().map_err(|_| refused("Time"))?),
            SqlKind::DateTime => match moment(&text) {
                Some((at, _)) => SqlValue::DateTime(at),
                None => return Err(refused("Timestamp")),
            },
            SqlKind::Timestamp | SqlKind::TimestampTz => {
                let (at, offset) = moment(&text).ok_or_else(|| refused("Timestamp"))?;
                let offset = offset.unwrap_or(Offset::UTC);
                let point = TimeZone::fixed(offset).to_timestamp(at).map_err(|_| refused("Timestamp"))?;
                if to.kind == SqlKind::Timestamp {
                    SqlValue::Timestamp(point)
                } else {
                    SqlValue::TimestampTz(point, offset)
                }
            }
        })
    }
}

/// A number with as many digits after the point as its type has.
fn number(text: &str, to: &SqlType) -> Option<SqlValue> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    if to.scale == 0 && to.precision <= 18 {
        return format!("{sign}{whole}").parse().ok().map(SqlValue::Int);
    }
    let scale = to.scale as usize;
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(scale).collect();
    let point = if scale == 0 { "" } else { "." };
    Some(SqlValue::Decimal(format!("{sign}{whole}{point}{fraction}")))
}

/// A date, a date and a time, or a moment with its offset.
fn moment(text: &str) -> Option<(civil::DateTime, Option<Offset>)> {
    let text = text.trim();
    // As it is kept: a moment and its offset in minutes.
    if let Some((moment, minutes)) = text.rsplit_once(' ')
        && let (Ok(at), Ok(minutes)) = (moment.parse::<jiff::Timestamp>(), minutes.parse::<i32>())
    {
        let offset = Offset::from_seconds(minutes * 60).ok()?;
        return Some((offset.to_datetime(at), Some(offset)));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        let spelt = text.rfind(['+', '-', 'Z', 'z']).map_or("Z", |at| &text[at..]);
        let offset = offset_of(spelt).unwrap_or(Offset::UTC);
        return Some((offset.to_datetime(at), Some(offset)));
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return Some((at, None));
    }
    Some((text.parse::<civil::Date>().ok()?.at(0, 0, 0, 0), None))
}

fn offset_of(spelt: &str) -> Option<Offset> {
    let (sign, rest) = match spelt.as_bytes().first()? {
        b'+' => (1, &spelt[1..]),
        b'-' => (-1, &spelt[1..]),
        _ => return Some(Offset::UTC),
    };
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4).and_then(|m| m.parse().ok()).unwrap_or(0);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Bytes from hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}
