//! Results as columns of Arrow: what doubles write streams and files from.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use jiff::civil;
use jiff::tz::Offset;

use crate::sql::{ResultColumn, SqlKind, SqlResult, SqlValue};

/// The schema of a result.
pub(crate) fn schema(result: &SqlResult) -> SchemaRef {
    let fields: Vec<Field> = result.columns.iter().map(|c| Field::new(&c.name, data_type(c), true)).collect();
    Arc::new(Schema::new(fields))
}

/// Rows of a result as a batch.
pub(crate) fn batch(result: &SqlResult, schema: &SchemaRef, rows: &[Vec<SqlValue>]) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> =
        result.columns.iter().enumerate().map(|(at, column)| array(column, rows, at)).collect();
    RecordBatch::try_new(Arc::clone(schema), columns?)
}

fn data_type(column: &ResultColumn) -> DataType {
    let kind = &column.kind;
    match kind.kind {
        SqlKind::Bool => DataType::Boolean,
        SqlKind::Number if kind.scale == 0 && kind.precision <= 18 => DataType::Int64,
        SqlKind::Number => DataType::Decimal128(38, kind.scale as i8),
        SqlKind::Float => DataType::Float64,
        SqlKind::Bytes => DataType::Binary,
        SqlKind::Date => DataType::Date32,
        SqlKind::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlKind::Timestamp | SqlKind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("Etc/UTC".into())),
        _ => DataType::Utf8,
    }
}

fn array(column: &ResultColumn, rows: &[Vec<SqlValue>], at: usize) -> Result<ArrayRef, ArrowError> {
    let values = || rows.iter().map(|row| &row[at]);
    let int = |value: &SqlValue| if let SqlValue::Int(v) = value { Some(*v) } else { None };
    Ok(match data_type(column) {
        DataType::Boolean => Arc::new(
            values().map(|v| if let SqlValue::Bool(v) = v { Some(*v) } else { None }).collect::<BooleanArray>(),
        ),
        DataType::Int64 => Arc::new(values().map(int).collect::<Int64Array>()),
        DataType::Decimal128(precision, scale) => {
            let digits = |v: &SqlValue| -> Option<i128> {
                let text = if *v == SqlValue::Null { return None } else { v.show() };
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(scale as usize).collect();
                format!("{whole}{fraction}").parse().ok()
            };
            Arc::new(values().map(digits).collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?)
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
        DataType::Timestamp(_, zone) => {
            let micros = |v: &SqlValue| match v {
                SqlValue::DateTime(at) => Offset::UTC.to_timestamp(*at).ok().map(jiff::Timestamp::as_microsecond),
                SqlValue::Timestamp(at) | SqlValue::TimestampTz(at, _) => Some(at.as_microsecond()),
                _ => None,
            };
            Arc::new(values().map(micros).collect::<TimestampMicrosecondArray>().with_timezone_opt(zone))
        }
        _ => Arc::new(
            values().map(|v| if *v == SqlValue::Null { None } else { Some(v.show()) }).collect::<StringArray>(),
        ),
    })
}
