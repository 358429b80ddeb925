//! Columns of Arrow as the Storage Read API sends them, read to the very cells that [`super::cells`] reads from JSON: the digest
//! of a record must not depend on the way that it came.
//! <https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details>

use arrow_array::cast::AsArray as _;
use arrow_array::types::IntervalMonthDayNanoType;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, IntervalUnit};
use domain::row::RowBatch;
use domain::value::{Type, Value, render};

use super::cells::push_decimal;
use super::schema::{FieldKind, ResultField};
use super::spans;
use crate::arrow::{self, ArrowScratch};

const MALFORMED: &str = "a value that is not of the column's type";

/// Buffers for values that are not borrowed.
#[derive(Debug, Default)]
pub(super) struct StorageScratch {
    arrow: ArrowScratch,
    text: String,
    json: Vec<u8>,
}

/// A column that is read, with what is asked of its field for every cell.
pub(super) struct StorageColumn<'f> {
    field: &'f ResultField,
    kind: Type,
    /// A list or a record.
    nested: bool,
}

impl<'f> StorageColumn<'f> {
    pub(super) fn new(field: &'f ResultField) -> Self {
        let nested = field.is_repeated() || field.kind() == FieldKind::Record;
        Self { field, kind: field.column().kind, nested }
    }
}

/// Appends the rows `from..` of a batch to `out`, until it is full; the row to go on from.
pub(super) fn push_rows(
    batch: &RecordBatch,
    columns: &[StorageColumn<'_>],
    from: usize,
    out: &mut RowBatch,
    scratch: &mut StorageScratch,
) -> usize {
    let mut row = from;
    while row < batch.num_rows() && !out.is_full() {
        for (column, array) in columns.iter().zip(batch.columns()) {
            out.push(value(column, array.as_ref(), row, scratch));
        }
        row += 1;
    }
    row
}

fn value<'a>(
    column: &StorageColumn<'_>,
    array: &'a dyn Array,
    row: usize,
    scratch: &'a mut StorageScratch,
) -> Value<'a> {
    if !column.nested {
        let StorageScratch { arrow, text, .. } = scratch;
        return scalar(column.kind, array, row, arrow, text);
    }
    if array.is_null(row) && !column.field.is_repeated() {
        return Value::Null;
    }
    scratch.json.clear();
    match document(column.field, array, row, &mut scratch.json) {
        Ok(()) => std::str::from_utf8(&scratch.json).map_or(Value::Unreadable(MALFORMED), Value::Json),
        Err(why) => {
            scratch.text = why;
            Value::Unreadable(&scratch.text)
        }
    }
}

/// Reads a value that is neither repeated nor a record.
fn scalar<'a>(
    kind: Type,
    array: &'a dyn Array,
    row: usize,
    scratch: &'a mut ArrowScratch,
    text: &'a mut String,
) -> Value<'a> {
    match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let held = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            text.clear();
            spans::interval(text, held.months, held.days, held.nanoseconds);
            Value::Text(text)
        }
        // A range: a bound that is null has no end.
        DataType::Struct(_) => {
            let bounds = array.as_struct();
            let (Some(start), Some(end)) = (bounds.column_by_name("start"), bounds.column_by_name("end")) else {
                return Value::Unreadable(MALFORMED);
            };
            let (mut first, mut second) = (ArrowScratch::default(), ArrowScratch::default());
            let start = Some(arrow::value(start.as_ref(), row, Type::Any, &mut first));
            let end = Some(arrow::value(end.as_ref(), row, Type::Any, &mut second));
            text.clear();
            spans::range(text, start.filter(|v| *v != Value::Null), end.filter(|v| *v != Value::Null));
            Value::Text(text)
        }
        _ => arrow::value(array, row, kind, scratch),
    }
}

/// A repeated field or a record as JSON.
fn document(field: &ResultField, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if !field.is_repeated() {
        return single(field, array, row, out);
    }
    let items = match array.data_type() {
        // No list is an empty one, for BigQuery.
        _ if array.is_null(row) => None,
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        _ => return Err(MALFORMED.into()),
    };
    out.push(b'[');
    if let Some(items) = items {
        for at in 0..items.len() {
            if at > 0 {
                out.push(b',');
            }
            single(field, items.as_ref(), at, out)?;
        }
    }
    out.push(b']');
    Ok(())
}

fn single(field: &ResultField, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if field.kind() != FieldKind::Record {
        let (mut scratch, mut text) = (ArrowScratch::default(), String::new());
        match scalar(field.item_type(), array, row, &mut scratch, &mut text) {
            Value::Unreadable(why) => return Err(why.to_owned()),
            Value::Decimal(digits) => push_decimal(out, digits),
            value => value.write_json(out),
        }
        return Ok(());
    }
    let record = array.as_struct_opt().filter(|record| record.num_columns() == field.fields.len()).ok_or(MALFORMED)?;
    out.push(b'{');
    for (at, inner) in field.fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        render::json_string(out, &inner.name);
        out.push(b':');
        document(inner, record.column(at).as_ref(), row, out)?;
    }
    out.push(b'}');
    Ok(())
}
