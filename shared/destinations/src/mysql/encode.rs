//! Values as literals that a column keeps as they are, and back.
//!
//! A strict session refuses what does not fit. What it would still change without a word is refused here: a fraction in a
//! column of whole numbers, parts of a second that a column has no digits for, a number as the place of an enum's member,
//! `10:11:12` as a date, a year of two digits, spaces at the end of a `char`, bytes that a `binary` fills up.

use clients::mysql_literal::{bytes, quoted};
use domain::cells;
use domain::outcome::Outcome;
use domain::value::{Type, Value, canonical_decimal, render};
use jiff::civil;

use super::table::{MysqlColumn, MysqlType};
use crate::sql::{DAY, micros};

/// Most digits of a number that is exact; more make it one of floating point.
const MAX_DIGITS: usize = 65;

/// A value as SQL for a column; the error is the record's.
pub(super) fn literal(value: Value<'_>, column: &MysqlColumn) -> Result<String, Outcome> {
    match value {
        Value::Text(text) if column.is_char() && text.ends_with(' ') => {
            rejected(column, "value_too_wide", "it is `char`, which loses the spaces at the end; declare it as varchar")
        }
        Value::Bytes(held) if column.is_longer_than(held.len()) => rejected(
            column,
            "value_too_wide",
            "it is `binary`, which fills these bytes up with zeros; declare it as varbinary",
        ),
        _ => identifier(value, column),
    }
}

fn rejected(column: &MysqlColumn, code: &str, why: &str) -> Result<String, Outcome> {
    Err(Outcome::rejected(code, format!("column `{}`: {why}", column.field.name)))
}

/// An identifier's value as SQL: the column finds its row by it, whatever it fills up.
pub(super) fn identifier(value: Value<'_>, column: &MysqlColumn) -> Result<String, Outcome> {
    let refused = |code: &str, why: &str| rejected(column, code, why);
    let timed = |time: Result<String, TimeError>, what: &str| match time {
        Ok(text) => Ok(quoted(&text)),
        Err(TimeError::NoTime) => refused("invalid_datetime_format", what),
        Err(TimeError::TooFine) => refused(
            "value_too_wide",
            "it keeps less digits after the second than the value has; round it in the model, or widen the column",
        ),
    };
    let text = match value {
        Value::Missing | Value::Null => return Ok("null".to_owned()),
        Value::Bytes(v) if takes_bytes(&column.kind) => return Ok(bytes(v)),
        other => other.to_text(),
    };
    match &column.kind {
        MysqlType::Whole | MysqlType::Bits | MysqlType::Year => match number(value, &text) {
            Some(number) if number.contains(['.', 'e']) => {
                refused("numeric_value_out_of_range", "it takes whole numbers, and would round this one")
            }
            Some(number) if column.kind == MysqlType::Year && number.len() != 4 => {
                refused("numeric_value_out_of_range", "it takes years of four digits")
            }
            Some(number) => Ok(number),
            None => refused("invalid_text_representation", "not a number that the column takes"),
        },
        MysqlType::Decimal | MysqlType::Float { .. } => match number(value, &text) {
            Some(number) if column.kind == (MysqlType::Float { single: true }) && !fits_single(&number) => {
                refused("value_too_wide", "a number of single precision would be another; declare it as double")
            }
            Some(number) => Ok(number),
            None => refused("invalid_text_representation", "not a number that the column takes"),
        },
        MysqlType::Enum(members) if !is_member(members, &text) => {
            refused("invalid_text_representation", "the text is none of the values of the column's type")
        }
        MysqlType::Set(members) if !text.is_empty() && !text.split(',').all(|part| is_member(members, part)) => {
            refused("invalid_text_representation", "the text holds a value that is none of the column's type")
        }
        MysqlType::Date => match date(&text) {
            Some(text) => Ok(quoted(&text)),
            None => refused("invalid_datetime_format", "not a date that the column takes"),
        },
        MysqlType::DateTime(digits) | MysqlType::Timestamp(digits) => {
            timed(moment(&text, *digits), "not a date and time that the column takes")
        }
        MysqlType::Time(digits) => timed(time(&text, *digits), "not a time that the column takes"),
        MysqlType::Bytes { fixed: Some(length) } => {
            let uuid;
            let held = match value {
                Value::Uuid(bytes) if *length == 16 => {
                    uuid = bytes;
                    uuid.as_slice()
                }
                Value::Bytes(held) => held,
                _ => text.as_bytes(),
            };
            // As the column fills it up: else no row would be found by it.
            let mut held = held.to_vec();
            held.resize(held.len().max(usize::try_from(*length).unwrap_or(0)), 0);
            Ok(bytes(&held))
        }
        MysqlType::Enum(_)
        | MysqlType::Set(_)
        | MysqlType::Text
        | MysqlType::Bytes { .. }
        | MysqlType::Json
        | MysqlType::Other
        | MysqlType::Unwritable => Ok(quoted(&text)),
    }
}

/// Bytes go there as they are.
fn takes_bytes(kind: &MysqlType) -> bool {
    let times = matches!(kind, MysqlType::Date | MysqlType::Time(_) | MysqlType::DateTime(_) | MysqlType::Timestamp(_));
    !kind.is_number() && !times && !matches!(kind, MysqlType::Bytes { fixed: Some(_) })
}

/// A column of single precision has this number, as far as its digits go: 0.1, and not 16777217.
fn fits_single(number: &str) -> bool {
    let (Ok(single), Ok(double)) = (number.parse::<f32>(), number.parse::<f64>()) else { return false };
    single.to_string().parse::<f64>().is_ok_and(|read| read == double)
}

/// A number as SQL: plain digits, or with an exponent where a number of floating point is too large or too small.
fn number(value: Value<'_>, text: &str) -> Option<String> {
    match value {
        Value::Bool(v) => Some(u8::from(v).to_string()),
        Value::Float(v) if !v.is_finite() => None,
        Value::Float(v) => {
            let plain = render::float(v);
            Some(canonical_decimal(&plain).map_or_else(|| format!("{v:e}"), |number| number.into_owned()))
        }
        Value::Int(_) | Value::Decimal(_) | Value::Text(_) => canonical_decimal(text)
            .filter(|number| number.bytes().filter(u8::is_ascii_digit).count() <= MAX_DIGITS)
            .map(|number| number.into_owned()),
        _ => None,
    }
}

/// Whether an enum has this member, in the same spelling: MySQL would write its own.
fn is_member(members: &[String], text: &str) -> bool {
    members.iter().any(|member| member == text)
}

/// The day of a date, or of midnight.
fn date(text: &str) -> Option<String> {
    let date = match text.parse::<civil::Date>() {
        Ok(date) if text.len() == 10 => date,
        _ => day_and_time(text).filter(|at| at.time() == civil::Time::midnight())?.date(),
    };
    (date.year() > 0).then(|| date.to_string())
}

/// Why a text is no time of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeError {
    NoTime,
    /// It has parts of a second that the column has no digits for.
    TooFine,
}

/// A date and time with so many digits after the second.
fn moment(text: &str, digits: usize) -> Result<String, TimeError> {
    let at = day_and_time(text).filter(|at| at.year() > 0).ok_or(TimeError::NoTime)?;
    Ok(format!("{} {}", at.date(), clock(at.time(), digits)?))
}

fn day_and_time(text: &str) -> Option<civil::DateTime> {
    // Digits alone are a number and no date.
    text.get(4..5).filter(|dash| *dash == "-")?;
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.to_zoned(jiff::tz::TimeZone::UTC).datetime());
    }
    text.parse().ok()
}

fn time(text: &str, digits: usize) -> Result<String, TimeError> {
    if text.contains(':')
        && let Ok(time) = text.parse::<civil::Time>()
    {
        return clock(time, digits);
    }
    // A length of time, up to 838 hours.
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.strip_prefix('-').unwrap_or(whole).split(':').collect();
    let plain = |part: &&str| (2..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() != 3 || !parts.iter().all(plain) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimeError::NoTime);
    }
    let fraction = fraction.trim_end_matches('0');
    match fraction.len() {
        0 => Ok(whole.to_owned()),
        kept if kept <= digits => Ok(format!("{whole}.{fraction}")),
        _ => Err(TimeError::TooFine),
    }
}

fn clock(time: civil::Time, digits: usize) -> Result<String, TimeError> {
    let whole = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    let fraction = format!("{:09}", time.subsec_nanosecond());
    let (kept, lost) = fraction.split_at(digits.min(9));
    match lost.trim_matches('0').is_empty() {
        true if kept.is_empty() => Ok(whole),
        true => Ok(format!("{whole}.{kept}")),
        false => Err(TimeError::TooFine),
    }
}

/// A condition: the column has this value, in its own terms but for the case of texts.
pub(super) fn has(column: &MysqlColumn, literal: &str) -> String {
    let name = clients::mysql_literal::name(&column.field.name);
    match (&column.kind, &column.collation) {
        (MysqlType::Text, Some(collation)) => {
            let text = format!("convert({literal} using {})", collation.character_set);
            format!("cast({name} as binary) <=> cast({text} as binary)")
        }
        (MysqlType::Bytes { fixed: Some(length) }, _) => format!("{name} <=> cast({literal} as binary({length}))"),
        (MysqlType::Json, _) => format!("{name} <=> cast({literal} as json)"),
        _ => format!("{name} <=> {literal}"),
    }
}

/// What to select so that [`push`] reads it.
pub(super) fn readable(column: &MysqlColumn) -> String {
    let name = clients::mysql_literal::name(&column.field.name);
    match column.kind {
        // As text, single precision has six digits.
        MysqlType::Float { single: true } => format!("{name} + 0e0"),
        MysqlType::Bits => format!("{name} + 0"),
        _ => name,
    }
}

/// Appends what a row holds as a cell of the column's type, or of the layout's where the column has none of its own.
pub(super) fn push(out: &mut Vec<u8>, held: Option<&[u8]>, column: &MysqlColumn, kind: Type) {
    let Some(held) = held else { return cells::push(out, Value::Null) };
    if matches!(column.kind, MysqlType::Bytes { .. }) {
        return cells::push(
            out,
            match <[u8; 16]>::try_from(held) {
                Ok(uuid) if kind == Type::Uuid => Value::Uuid(uuid),
                _ => Value::Bytes(held),
            },
        );
    }
    let unreadable = Value::Unreadable("a value that cannot be read");
    let Ok(text) = std::str::from_utf8(held) else {
        return cells::push(out, Value::Unreadable("text that is not UTF-8"));
    };
    let value = match column.field.kind.unwrap_or(kind) {
        Type::Bool if text == "0" || text == "1" => Value::Bool(text == "1"),
        Type::Bool | Type::Int => text.parse().map_or(unreadable, Value::Int),
        Type::Float => text.parse().map_or(unreadable, Value::Float),
        Type::Decimal => match canonical_decimal(text) {
            Some(number) => return cells::push(out, Value::Decimal(&number)),
            None => unreadable,
        },
        Type::Date => text
            .parse()
            .ok()
            .and_then(|date: civil::Date| i32::try_from(micros(date.into()) / DAY).ok())
            .map_or(Value::Unreadable("a date of zeros"), Value::Date),
        Type::Time => text
            .parse()
            .ok()
            .map(|time: civil::Time| Value::Time(micros(civil::date(1970, 1, 1).to_datetime(time))))
            .unwrap_or(Value::Text(text)),
        Type::DateTime => at(text).map_or(Value::Unreadable("a time of zeros"), Value::DateTime),
        // The session is in UTC.
        Type::Timestamp => at(text).map_or(Value::Unreadable("a time of zeros"), Value::Timestamp),
        Type::Json => Value::Json(text),
        Type::Uuid => {
            u128::from_str_radix(&text.replace('-', ""), 16).map_or(unreadable, |v| Value::Uuid(v.to_be_bytes()))
        }
        Type::Text | Type::Bytes | Type::Any => Value::Text(text),
    };
    cells::push(out, value);
}

fn at(text: &str) -> Option<i64> {
    text.parse().ok().map(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::destination_schema::DestinationField;

    fn column(kind: MysqlType) -> MysqlColumn {
        let field = DestinationField { name: "c".into(), ..DestinationField::default() };
        MysqlColumn { kind, field, declared: String::new(), collation: None }
    }

    #[test]
    fn values_are_written_as_the_column_keeps_them() {
        let members = vec!["lead".to_owned(), "1".to_owned()];
        for (value, kind, expected) in [
            (Value::Null, MysqlType::Whole, "null"),
            (Value::Bool(true), MysqlType::Whole, "1"),
            (Value::Bool(true), MysqlType::Text, "'true'"),
            (Value::Float(2.0), MysqlType::Whole, "2"),
            (Value::Text("007"), MysqlType::Whole, "7"),
            (Value::Float(1.5e-7), MysqlType::Float { single: false }, "1.5e-7"),
            (Value::Decimal("12345678901234567890.5"), MysqlType::Decimal, "12345678901234567890.5"),
            (Value::Text("it's \\"), MysqlType::Text, "'it''s \\\\'"),
            (Value::Text("lead"), MysqlType::Enum(members.clone()), "'lead'"),
            (Value::Text("1,lead"), MysqlType::Set(members.clone()), "'1,lead'"),
            (Value::Bytes(&[0, 255]), MysqlType::Bytes { fixed: None }, "x'00ff'"),
            (Value::Uuid([1; 16]), MysqlType::Bytes { fixed: Some(16) }, "x'01010101010101010101010101010101'"),
            (Value::Timestamp(1_709_000_000), MysqlType::Timestamp(0), "'1970-01-01 00:28:29'"),
            (Value::Timestamp(-1), MysqlType::DateTime(6), "'1969-12-31 23:59:59.999999'"),
            (Value::Text("2024-01-31T10:00:00+01:00"), MysqlType::DateTime(3), "'2024-01-31 09:00:00.000'"),
            (Value::DateTime(0), MysqlType::Date, "'1970-01-01'"),
            (Value::Text("100:00:00.90"), MysqlType::Time(1), "'100:00:00.9'"),
            (Value::Float(0.1), MysqlType::Float { single: true }, "0.1"),
            (Value::Bytes(&[1, 0, 0]), MysqlType::Bytes { fixed: Some(3) }, "x'010000'"),
            (Value::Time(86_399_999_999), MysqlType::Time(6), "'23:59:59.999999'"),
        ] {
            assert_eq!(literal(value, &column(kind.clone())).unwrap(), expected, "{value:?} {kind:?}");
        }
    }

    #[test]
    fn what_mysql_would_change_is_refused() {
        let members = vec!["lead".to_owned(), "customer".to_owned()];
        for (value, kind, code) in [
            (Value::Float(1.5), MysqlType::Whole, "numeric_value_out_of_range"),
            (Value::Decimal("1.5"), MysqlType::Whole, "numeric_value_out_of_range"),
            (Value::Text("abc"), MysqlType::Whole, "invalid_text_representation"),
            (Value::Float(f64::NAN), MysqlType::Decimal, "invalid_text_representation"),
            (Value::Int(70), MysqlType::Year, "numeric_value_out_of_range"),
            (Value::Int(1), MysqlType::Enum(members.clone()), "invalid_text_representation"),
            (Value::Text("1"), MysqlType::Set(members), "invalid_text_representation"),
            (Value::Text("10:11:12"), MysqlType::Date, "invalid_datetime_format"),
            (Value::Int(20_240_131), MysqlType::Date, "invalid_datetime_format"),
            (Value::DateTime(1), MysqlType::Date, "invalid_datetime_format"),
            (Value::Text("0000-00-00"), MysqlType::Date, "invalid_datetime_format"),
            (Value::Date(-719_529), MysqlType::Date, "invalid_datetime_format"),
            (Value::Text("10"), MysqlType::Time(0), "invalid_datetime_format"),
            (Value::Int(16_777_217), MysqlType::Float { single: true }, "value_too_wide"),
            (Value::Text("LEAD"), MysqlType::Enum(vec!["lead".into()]), "invalid_text_representation"),
            (Value::Timestamp(1_709_999_999), MysqlType::Timestamp(0), "value_too_wide"),
            (Value::DateTime(100), MysqlType::DateTime(3), "value_too_wide"),
            (Value::Text("100:00:00.9"), MysqlType::Time(0), "value_too_wide"),
            (Value::Text("12:00:00.1234567"), MysqlType::Time(6), "value_too_wide"),
            (Value::Bytes(&[1]), MysqlType::Bytes { fixed: Some(3) }, "value_too_wide"),
        ] {
            match literal(value, &column(kind.clone())) {
                Err(Outcome::Rejected { code: got, .. }) => assert_eq!(got, code, "{value:?} {kind:?}"),
                other => panic!("{value:?} {kind:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_char_keeps_no_spaces_at_its_end() {
        let of = |declared: &str| MysqlColumn { declared: declared.into(), ..column(MysqlType::Text) };
        assert!(literal(Value::Text("ab "), &of("char(6)")).is_err());
        assert!(
            literal(Value::Text(" ab"), &of("char(6)")).is_ok()
                && literal(Value::Text("ab "), &of("varchar(6)")).is_ok()
        );
    }

    #[test]
    fn an_identifier_is_never_cut_and_may_be_filled_up() {
        for (value, digits, whole) in [
            (Value::DateTime(100_000), 0, false),
            (Value::DateTime(100_000), 1, true),
            (Value::DateTime(0), 0, true),
            (Value::DateTime(10_000_000), 3, true),
        ] {
            assert_eq!(identifier(value, &column(MysqlType::DateTime(digits))).is_ok(), whole, "{value:?} {digits}");
        }
        let filled = identifier(Value::Bytes(&[1]), &column(MysqlType::Bytes { fixed: Some(3) }));
        assert_eq!(filled.unwrap(), "x'010000'");
    }
}
