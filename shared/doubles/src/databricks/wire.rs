//! Values and answers as the API and its storage write them: manifests, and streams of Arrow.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use serde_json::{Value, json};

use crate::exchange::DoubleReply;
use crate::sql::{ResultColumn, SqlKind, SqlResult, SqlValue, array};

/// Rows of one record batch within a chunk.
const BATCH_ROWS: usize = 300;

/// An error, as the API tells it.
pub(super) fn refused(status: u16, code: &str, message: &str) -> DoubleReply {
    DoubleReply::json(status, &json!({ "error_code": code, "message": message }))
}

/// A column of a manifest.
pub(super) fn column(position: usize, column: &ResultColumn) -> Value {
    let kind = &column.kind;
    let (name, text) = match kind.kind {
        SqlKind::Bool => ("BOOLEAN", "BOOLEAN".to_owned()),
        SqlKind::Number if kind.scale == 0 && kind.precision <= 18 => ("LONG", "BIGINT".to_owned()),
        SqlKind::Number => ("DECIMAL", format!("DECIMAL({},{})", kind.precision, kind.scale)),
        SqlKind::Float => ("DOUBLE", "DOUBLE".to_owned()),
        SqlKind::Text | SqlKind::Uuid | SqlKind::Time => ("STRING", "STRING".to_owned()),
        SqlKind::Bytes => ("BINARY", "BINARY".to_owned()),
        SqlKind::Date => ("DATE", "DATE".to_owned()),
        SqlKind::DateTime => ("USER_DEFINED_TYPE", "TIMESTAMP_NTZ".to_owned()),
        SqlKind::Timestamp | SqlKind::TimestampTz => ("TIMESTAMP", "TIMESTAMP".to_owned()),
        SqlKind::Json => ("ARRAY", "ARRAY<INT>".to_owned()),
    };
    json!({ "name": column.name, "position": position, "type_name": name, "type_text": text })
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

/// Rows as a stream of Arrow.
pub(super) fn arrow(result: &SqlResult, rows: &[Vec<SqlValue>]) -> Result<Vec<u8>, ArrowError> {
    let fields: Vec<Field> = result.columns.iter().map(|c| Field::new(&c.name, data_type(c), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new(&mut out, &schema)?;
    for part in rows.chunks(BATCH_ROWS) {
        let columns: Result<Vec<ArrayRef>, ArrowError> =
            result.columns.iter().enumerate().map(|(at, column)| array(&data_type(column), part, at)).collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns?)?)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(out)
}
