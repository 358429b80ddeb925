//! Results as columns of Arrow: what doubles write streams and files from.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::sql::{ResultColumn, SqlKind, SqlResult, SqlValue, array};

/// The schema of a result.
pub(crate) fn schema(result: &SqlResult) -> SchemaRef {
    let fields: Vec<Field> = result.columns.iter().map(|c| Field::new(&c.name, data_type(c), true)).collect();
    Arc::new(Schema::new(fields))
}

/// Rows of a result as a batch.
pub(crate) fn batch(result: &SqlResult, schema: &SchemaRef, rows: &[Vec<SqlValue>]) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> =
        result.columns.iter().enumerate().map(|(at, column)| array(&data_type(column), rows, at)).collect();
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
