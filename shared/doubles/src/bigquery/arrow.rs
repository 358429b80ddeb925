//! Rows as the Storage Read API sends them: the schema once, and each batch as a message of its own.
//! <https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details>

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use hyper::body::Bytes;

use crate::sql::{ResultColumn, SqlKind, SqlResult, SqlValue, array};

/// The mark that ends a stream of Arrow, which no message of the API has.
const END_BYTES: usize = 8;

fn data_type(column: &ResultColumn) -> DataType {
    let kind = &column.kind;
    match kind.kind {
        SqlKind::Bool => DataType::Boolean,
        SqlKind::Number if kind.scale == 0 && kind.precision <= 18 => DataType::Int64,
        SqlKind::Number => DataType::Decimal128(38, kind.scale as i8),
        SqlKind::Float => DataType::Float64,
        SqlKind::Text | SqlKind::Uuid | SqlKind::Json => DataType::Utf8,
        SqlKind::Bytes => DataType::Binary,
        SqlKind::Date => DataType::Date32,
        SqlKind::Time => DataType::Time64(TimeUnit::Microsecond),
        SqlKind::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlKind::Timestamp | SqlKind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

fn schema_of(result: &SqlResult) -> Arc<Schema> {
    let fields: Vec<Field> = result.columns.iter().map(|c| Field::new(&c.name, data_type(c), true)).collect();
    Arc::new(Schema::new(fields))
}

/// The schema of a result.
pub(super) fn schema(result: &SqlResult) -> Result<Bytes, ArrowError> {
    let mut out = Vec::new();
    StreamWriter::try_new(&mut out, &schema_of(result))?.finish()?;
    out.truncate(out.len() - END_BYTES);
    Ok(Bytes::from(out))
}

/// Rows as one batch, without the schema.
pub(super) fn batch(result: &SqlResult, rows: &[Vec<SqlValue>], compressed: bool) -> Result<Bytes, ArrowError> {
    let known = schema_of(result);
    let options = IpcWriteOptions::default();
    let options = options.try_with_compression(compressed.then_some(CompressionType::LZ4_FRAME))?;
    let columns: Result<Vec<_>, ArrowError> =
        result.columns.iter().enumerate().map(|(at, column)| array(&data_type(column), rows, at)).collect();
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut out, &known, options)?;
    writer.write(&RecordBatch::try_new(Arc::clone(&known), columns?)?)?;
    writer.finish()?;
    drop(writer);
    let (from, to) = (schema(result)?.len(), out.len() - END_BYTES);
    Ok(Bytes::from(out).slice(from..to))
}
