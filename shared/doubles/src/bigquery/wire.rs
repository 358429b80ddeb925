//! Values and answers as the API writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::exchange::DoubleReply;
use crate::sql::{ResultColumn, SqlKind, SqlValue};

/// An error, as the API tells it.
pub(super) fn refused(status: u16, reason: &str, message: &str) -> DoubleReply {
    let errors = json!([{ "message": message, "domain": "global", "reason": reason }]);
    DoubleReply::json(status, &json!({ "error": { "code": status, "message": message, "errors": errors } }))
}

/// A field of a schema.
pub(super) fn field(column: &ResultColumn) -> Value {
    let kind = match column.kind.kind {
        SqlKind::Bool => "BOOLEAN",
        SqlKind::Number if column.kind.scale == 0 && column.kind.precision <= 18 => "INTEGER",
        SqlKind::Number => "NUMERIC",
        SqlKind::Float => "FLOAT",
        SqlKind::Text | SqlKind::Uuid => "STRING",
        SqlKind::Bytes => "BYTES",
        SqlKind::Date => "DATE",
        SqlKind::Time => "TIME",
        SqlKind::DateTime => "DATETIME",
        SqlKind::Timestamp | SqlKind::TimestampTz => "TIMESTAMP",
        SqlKind::Json => "JSON",
    };
    json!({ "name": column.name, "type": kind, "mode": "NULLABLE" })
}

/// A row.
pub(super) fn row(values: &[SqlValue]) -> Value {
    let cells: Vec<Value> = values.iter().map(|value| json!({ "v": cell(value) })).collect();
    json!({ "f": cells })
}

fn cell(value: &SqlValue) -> Value {
    Value::String(match value {
        SqlValue::Null => return Value::Null,
        SqlValue::Bytes(bytes) => STANDARD.encode(bytes),
        SqlValue::Time(time) => format!("{time:.6}"),
        SqlValue::DateTime(at) => format!("{at:.6}"),
        SqlValue::Timestamp(at) | SqlValue::TimestampTz(at, _) => at.as_microsecond().to_string(),
        SqlValue::Float(v) if v.is_nan() => "NaN".into(),
        SqlValue::Float(v) if v.is_infinite() => if *v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        other => other.show(),
    })
}
