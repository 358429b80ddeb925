//! Values of the tables as arrays of Arrow.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType};
use jiff::civil;
use jiff::tz::Offset;

use super::value::SqlValue;

/// The values of column `at`, as an array of this type; texts where it is of no type that is known here.
pub fn array(kind: &DataType, rows: &[Vec<SqlValue>], at: usize) -> Result<ArrayRef, ArrowError> {
    let values = || rows.iter().map(|row| &row[at]);
    let int = |value: &SqlValue| if let SqlValue::Int(v) = value { Some(*v) } else { None };
    Ok(match kind {
        DataType::Boolean => Arc::new(
            values().map(|v| if let SqlValue::Bool(v) = v { Some(*v) } else { None }).collect::<BooleanArray>(),
        ),
        DataType::Int64 => Arc::new(values().map(int).collect::<Int64Array>()),
        DataType::Decimal128(precision, scale) => {
            let digits = |v: &SqlValue| -> Option<i128> {
                let text = if *v == SqlValue::Null { return None } else { v.show() };
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(*scale as usize).collect();
                format!("{whole}{fraction}").parse().ok()
            };
            Arc::new(values().map(digits).collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Float64 => {
            let float = |v: &SqlValue| match v {
                SqlValue::Float(v) => Some(*v),
                SqlValue::Int(v) => Some(*v as f64),
                _ => None,
            };
            Arc::new(values().map(float).collect::<Float64Array>())
        }
        DataType::Binary => Arc::new(
            values()
                .map(|v| if let SqlValue::Bytes(v) = v { Some(v.as_slice()) } else { None })
                .collect::<BinaryArray>(),
        ),
        DataType::Date32 => {
            let days = |v: &SqlValue| match v {
                SqlValue::Date(date) => {
                    date.since((jiff::Unit::Day, civil::date(1970, 1, 1))).ok().map(|s| s.get_days())
                }
                _ => None,
            };
            Arc::new(values().map(days).collect::<Date32Array>())
        }
        DataType::Time64(_) => {
            let micros = |v: &SqlValue| match v {
                SqlValue::Time(time) => {
                    time.since((jiff::Unit::Microsecond, civil::Time::midnight())).ok().map(|s| s.get_microseconds())
                }
                _ => None,
            };
            Arc::new(values().map(micros).collect::<Time64MicrosecondArray>())
        }
        DataType::Timestamp(_, zone) => {
            let micros = |v: &SqlValue| match v {
                SqlValue::DateTime(at) => Offset::UTC.to_timestamp(*at).ok().map(jiff::Timestamp::as_microsecond),
                SqlValue::Timestamp(at) | SqlValue::TimestampTz(at, _) => Some(at.as_microsecond()),
                _ => None,
            };
            Arc::new(values().map(micros).collect::<TimestampMicrosecondArray>().with_timezone_opt(zone.clone()))
        }
        _ => Arc::new(
            values().map(|v| if *v == SqlValue::Null { None } else { Some(v.show()) }).collect::<StringArray>(),
        ),
    })
}
