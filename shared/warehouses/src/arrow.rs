//! Arrow's columns as rows of values: whatever a warehouse sends in Arrow comes through here.
//! <https://arrow.apache.org/docs/format/Columnar.html>

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use domain::mapping::iso::{self, Moment};
use domain::row::RowBatch;
use domain::value::{Type, Value, render};

/// Buffers for values that are not borrowed.
#[derive(Debug, Default)]
pub(crate) struct ArrowScratch {
    text: String,
    json: Vec<u8>,
}

const UNSUPPORTED: &str = "a value of a type that cannot be read";
const UNREAD_TIME: &str =
    "a time that cannot be read, perhaps with parts of a microsecond: cast the column to microseconds in the model";
const TOO_FINE: &str = "a time with parts of a microsecond: cast the column to microseconds in the model";

/// Appends the rows `from..` of a batch to `out`, until it is full; the row to go on from. `kinds` are the columns' types as
/// the warehouse describes them: a text may be a document.
pub(crate) fn push_rows(
    batch: &RecordBatch,
    kinds: &[Type],
    from: usize,
    out: &mut RowBatch,
    scratch: &mut ArrowScratch,
) -> usize {
    let mut row = from;
    while row < batch.num_rows() && !out.is_full() {
        for (at, column) in batch.columns().iter().enumerate() {
            out.push(value(column.as_ref(), row, kinds.get(at).copied().unwrap_or(Type::Any), scratch));
        }
        row += 1;
    }
    row
}

/// The value of a column at `row`.
pub(crate) fn value<'a>(column: &'a dyn Array, row: usize, kind: Type, scratch: &'a mut ArrowScratch) -> Value<'a> {
    if column.is_null(row) {
        return Value::Null;
    }
    let text = |text: &'a str| match kind {
        Type::Json => Value::Json(text),
        Type::Decimal => Value::Decimal(text),
        // Where a warehouse's files cannot hold a type, it is written as text.
        Type::Date | Type::Time | Type::DateTime | Type::Timestamp | Type::Uuid => {
            written(kind, text).unwrap_or(Value::Unreadable(UNREAD_TIME))
        }
        _ => Value::Text(text),
    };
    match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8 => Value::Int(i64::from(column.as_primitive::<Int8Type>().value(row))),
        DataType::Int16 => Value::Int(i64::from(column.as_primitive::<Int16Type>().value(row))),
        DataType::Int32 => Value::Int(i64::from(column.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::Int(i64::from(column.as_primitive::<UInt8Type>().value(row))),
        DataType::UInt16 => Value::Int(i64::from(column.as_primitive::<UInt16Type>().value(row))),
        DataType::UInt32 => Value::Int(i64::from(column.as_primitive::<UInt32Type>().value(row))),
        DataType::UInt64 => {
            let value = column.as_primitive::<UInt64Type>().value(row);
            match i64::try_from(value) {
                Ok(value) => Value::Int(value),
                Err(_) => {
                    scratch.text = value.to_string();
                    Value::Decimal(&scratch.text)
                }
            }
        }
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            // The digits that it is written with, and not those of the same number in 64 bits.
            float(if value.is_finite() {
                value.to_string().parse().unwrap_or(f64::from(value))
            } else {
                f64::from(value)
            })
        }
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            scaled(column.as_primitive::<Decimal128Type>().value(row).to_string(), *scale, &mut scratch.text);
            Value::Decimal(&scratch.text)
        }
        DataType::Decimal256(_, scale) => {
            scaled(column.as_primitive::<Decimal256Type>().value(row).to_string(), *scale, &mut scratch.text);
            Value::Decimal(&scratch.text)
        }
        DataType::Utf8 => text(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(column.as_string::<i64>().value(row)),
        DataType::Utf8View => text(column.as_string_view().value(row)),
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            // A file may not say that its bytes are text.
            match kind {
                Type::Text | Type::Json => {
                    std::str::from_utf8(bytes).map_or(Value::Unreadable("text that is not UTF-8"), text)
                }
                _ => Value::Bytes(bytes),
            }
        }
        DataType::LargeBinary => Value::Bytes(column.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => Value::Bytes(column.as_fixed_size_binary().value(row)),
        DataType::Date32 => Value::Date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Value::Time(column.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            nanos(column.as_primitive::<Time64NanosecondType>().value(row), Value::Time)
        }
        DataType::Timestamp(unit, zone) => {
            let of = if zone.is_some() { Value::Timestamp } else { Value::DateTime };
            match unit {
                TimeUnit::Second => micros(column.as_primitive::<TimestampSecondType>().value(row), 1_000_000, of),
                TimeUnit::Millisecond => micros(column.as_primitive::<TimestampMillisecondType>().value(row), 1000, of),
                TimeUnit::Microsecond => of(column.as_primitive::<TimestampMicrosecondType>().value(row)),
                TimeUnit::Nanosecond => nanos(column.as_primitive::<TimestampNanosecondType>().value(row), of),
            }
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..) => {
            scratch.json.clear();
            match document(column, row, &mut scratch.json) {
                Ok(()) => std::str::from_utf8(&scratch.json).map_or(Value::Unreadable(UNSUPPORTED), Value::Json),
                Err(why) => Value::Unreadable(why),
            }
        }
        _ => Value::Unreadable(UNSUPPORTED),
    }
}

/// A value that is written as text, in ISO 8601.
fn written(kind: Type, text: &str) -> Option<Value<'static>> {
    match (kind, iso::moment(text)) {
        (Type::Date, _) => iso::date(text).map(Value::Date),
        (Type::Time, _) => iso::time(text).map(Value::Time),
        (Type::Uuid, _) => iso::uuid(text).map(Value::Uuid),
        (Type::DateTime, Some(Moment::DateTime(at))) => Some(Value::DateTime(at)),
        // A session in UTC may leave out the zone.
        (Type::Timestamp, Some(Moment::Timestamp(at) | Moment::DateTime(at))) => Some(Value::Timestamp(at)),
        _ => None,
    }
}

fn float(value: f64) -> Value<'static> {
    if value.is_nan() {
        Value::Unreadable("not a number (NaN)")
    } else if value.is_infinite() {
        Value::Unreadable("an infinite number")
    } else {
        Value::Float(value)
    }
}

fn micros(value: i64, factor: i64, of: fn(i64) -> Value<'static>) -> Value<'static> {
    value.checked_mul(factor).map_or(Value::Unreadable("a time too far away"), of)
}

fn nanos(value: i64, of: fn(i64) -> Value<'static>) -> Value<'static> {
    if value % 1000 != 0 { Value::Unreadable(TOO_FINE) } else { of(value / 1000) }
}

/// Digits with a point before the last `scale` of them.
fn scaled(digits: String, scale: i8, out: &mut String) {
    out.clear();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    out.push_str(sign);
    match usize::try_from(scale) {
        Ok(0) => out.push_str(digits),
        Ok(scale) => {
            if digits.len() <= scale {
                out.push_str("0.");
                out.extend(std::iter::repeat_n('0', scale - digits.len()));
                out.push_str(digits);
            } else {
                out.push_str(&digits[..digits.len() - scale]);
                out.push('.');
                out.push_str(&digits[digits.len() - scale..]);
            }
        }
        Err(_) => {
            out.push_str(digits);
            out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
    }
}

/// A nested value as JSON.
fn document(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match column.data_type() {
        DataType::List(_) => list(column.as_list::<i32>().value(row).as_ref(), out),
        DataType::LargeList(_) => list(column.as_list::<i64>().value(row).as_ref(), out),
        DataType::FixedSizeList(..) => list(column.as_fixed_size_list().value(row).as_ref(), out),
        DataType::Struct(fields) => {
            let columns = column.as_struct();
            out.push(b'{');
            for (at, field) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                render::json_string(out, field.name());
                out.push(b':');
                document(columns.column(at).as_ref(), row, out)?;
            }
            out.push(b'}');
            Ok(())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            out.push(b'{');
            for at in 0..entries.len() {
                if at > 0 {
                    out.push(b',');
                }
                let mut scratch = ArrowScratch::default();
                let key = value(entries.column(0).as_ref(), at, Type::Any, &mut scratch);
                render::json_string(out, &key.to_text());
                out.push(b':');
                document(entries.column(1).as_ref(), at, out)?;
            }
            out.push(b'}');
            Ok(())
        }
        _ => {
            let mut scratch = ArrowScratch::default();
            match value(column, row, Type::Any, &mut scratch) {
                Value::Unreadable(_) => {
                    Err("a list or record with a number that JSON has not, or a type that cannot be read")
                }
                value => {
                    value.write_json(out);
                    Ok(())
                }
            }
        }
    }
}

fn list(items: &dyn Array, out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.push(b'[');
    for at in 0..items.len() {
        if at > 0 {
            out.push(b',');
        }
        document(items, at, out)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array,
        StringArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn only(array: ArrayRef, kind: Type, check: impl Fn(Value<'_>)) {
        let mut scratch = ArrowScratch::default();
        check(value(array.as_ref(), 0, kind, &mut scratch));
    }

    #[test]
    fn columns_become_values() {
        let decimal = |value: i128, scale: i8| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap())
        };
        for (array, kind, expected) in [
            (Arc::new(Int64Array::from(vec![i64::MIN])) as ArrayRef, Type::Int, Value::Int(i64::MIN)),
            (Arc::new(Int64Array::from(vec![None])), Type::Int, Value::Null),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), Type::Int, Value::Decimal("18446744073709551615")),
            (Arc::new(BooleanArray::from(vec![true])), Type::Bool, Value::Bool(true)),
            (Arc::new(Float32Array::from(vec![0.1])), Type::Float, Value::Float(0.1)),
            (Arc::new(Float64Array::from(vec![f64::NAN])), Type::Float, Value::Unreadable("not a number (NaN)")),
            (decimal(-12345, 3), Type::Decimal, Value::Decimal("-12.345")),
            (decimal(5, 3), Type::Decimal, Value::Decimal("0.005")),
            (decimal(-5, 0), Type::Decimal, Value::Decimal("-5")),
            (Arc::new(StringArray::from(vec!["é"])), Type::Text, Value::Text("é")),
            (Arc::new(StringArray::from(vec!["{}"])), Type::Json, Value::Json("{}")),
            (
                Arc::new(StringArray::from(vec!["2024-02-29T12:34:56.000007"])),
                Type::DateTime,
                Value::DateTime(1_709_210_096_000_007),
            ),
            (
                Arc::new(StringArray::from(vec!["1970-01-01T02:00:00.001+02:00"])),
                Type::Timestamp,
                Value::Timestamp(1000),
            ),
            (Arc::new(StringArray::from(vec!["1970-01-01 00:00:00+00"])), Type::Timestamp, Value::Timestamp(0)),
            (Arc::new(StringArray::from(vec!["00:00:01.5"])), Type::Time, Value::Time(1_500_000)),
            (
                Arc::new(StringArray::from(vec!["1970-01-01T00:00:00.0000001"])),
                Type::DateTime,
                Value::Unreadable(UNREAD_TIME),
            ),
            (
                Arc::new(StringArray::from(vec!["00000000-0000-0000-0000-0000000000ff"])),
                Type::Uuid,
                Value::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
            ),
            (Arc::new(BinaryArray::from(vec![&[0u8, 255][..]])), Type::Bytes, Value::Bytes(&[0, 255])),
            (Arc::new(Date32Array::from(vec![-1])), Type::Date, Value::Date(-1)),
            (Arc::new(TimestampMicrosecondArray::from(vec![-1])), Type::DateTime, Value::DateTime(-1)),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC")),
                Type::Timestamp,
                Value::Timestamp(7),
            ),
            (Arc::new(TimestampNanosecondArray::from(vec![7000])), Type::DateTime, Value::DateTime(7)),
            (Arc::new(TimestampNanosecondArray::from(vec![7001])), Type::DateTime, Value::Unreadable(TOO_FINE)),
        ] {
            only(array, kind, |value| assert_eq!(value, expected));
        }
    }

    #[test]
    fn nested_columns_become_documents() {
        let mut list = ListBuilder::new(Int32Builder::new());
        list.values().append_value(1);
        list.values().append_null();
        list.append(true);
        only(Arc::new(list.finish()), Type::Json, |value| assert_eq!(value, Value::Json("[1,null]")));
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("a\"");
        map.values().append_value(7);
        map.append(true).unwrap();
        only(Arc::new(map.finish()), Type::Json, |value| assert_eq!(value, Value::Json("{\"a\\\"\":7}")));
        let inner: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let day: ArrayRef = Arc::new(Date32Array::from(vec![19_782]));
        let record = StructArray::try_from(vec![("t", inner), ("d", day)]).unwrap();
        only(Arc::new(record), Type::Json, |value| {
            assert_eq!(value, Value::Json("{\"t\":\"x\",\"d\":\"2024-02-29\"}"))
        });
        let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
        let record = StructArray::try_from(vec![("n", nan)]).unwrap();
        only(Arc::new(record), Type::Json, |value| assert!(matches!(value, Value::Unreadable(_))));
    }
}
