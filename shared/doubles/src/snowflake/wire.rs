//! Values and answers as the API writes them.
//! <https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses>

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::exchange::{DoubleReply, DoubleRequest};
use crate::sql::{ResultColumn, SqlKind, SqlValue};

/// An error, as the API tells it.
pub(super) fn refused(status: u16, code: &str, message: &str) -> DoubleReply {
    let handle = "00000000-0000-0000-0000-000000000000";
    DoubleReply::json(
        status,
        &json!({ "code": code, "message": message, "sqlState": "42000", "statementHandle": handle }),
    )
}

/// A column of `rowType`.
pub(super) fn row_type(column: &ResultColumn) -> Value {
    let (name, kind) = (&column.name, &column.kind);
    let of = |kind: &str| json!({ "name": name, "type": kind, "nullable": true });
    match kind.kind {
        SqlKind::Bool => of("boolean"),
        SqlKind::Number => {
            json!({ "name": name, "type": "fixed", "nullable": true, "precision": kind.precision, "scale": kind.scale })
        }
        SqlKind::Float => of("real"),
        SqlKind::Text | SqlKind::Uuid => {
            json!({ "name": name, "type": "text", "nullable": true, "length": 16_777_216, "byteLength": 16_777_216 })
        }
        SqlKind::Bytes => of("binary"),
        SqlKind::Date => of("date"),
        SqlKind::Time => json!({ "name": name, "type": "time", "nullable": true, "precision": 0, "scale": 9 }),
        SqlKind::DateTime => {
            json!({ "name": name, "type": "timestamp_ntz", "nullable": true, "precision": 0, "scale": 9 })
        }
        SqlKind::Timestamp => {
            json!({ "name": name, "type": "timestamp_ltz", "nullable": true, "precision": 0, "scale": 9 })
        }
        SqlKind::TimestampTz => {
            json!({ "name": name, "type": "timestamp_tz", "nullable": true, "precision": 0, "scale": 9 })
        }
        SqlKind::Json => of("variant"),
    }
}

/// A cell: a text, or null.
pub(super) fn cell(value: &SqlValue) -> Value {
    let seconds = |nanos: i128| {
        let sign = if nanos < 0 { "-" } else { "" };
        let nanos = nanos.unsigned_abs();
        format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    };
    let text = match value {
        SqlValue::Null => return Value::Null,
        SqlValue::Date(date) => {
            let epoch = civil::date(1970, 1, 1);
            date.since((jiff::Unit::Day, epoch)).map(|span| span.get_days().to_string()).unwrap_or_default()
        }
        SqlValue::Time(time) => {
            let since = time.duration_since(civil::Time::midnight());
            seconds(since.as_nanos())
        }
        SqlValue::DateTime(at) => {
            seconds(Offset::UTC.to_timestamp(*at).map(jiff::Timestamp::as_nanosecond).unwrap_or_default())
        }
        SqlValue::Timestamp(at) => seconds(at.as_nanosecond()),
        SqlValue::TimestampTz(at, offset) => {
            format!("{} {}", seconds(at.as_nanosecond()), offset.seconds() / 60 + 1440)
        }
        SqlValue::Float(v) if v.is_nan() => "NaN".into(),
        SqlValue::Float(v) if v.is_infinite() => if *v > 0.0 { "inf" } else { "-inf" }.into(),
        other => other.show(),
    };
    Value::String(text)
}

/// The rows of a partition as JSON.
pub(super) fn rows(rows: &[Vec<SqlValue>]) -> Value {
    rows.iter().map(|row| row.iter().map(cell).collect::<Value>()).collect()
}

/// The reply, compressed for those who take it so.
pub(super) fn compressed(request: &DoubleRequest, mut reply: DoubleReply) -> DoubleReply {
    if !request.header("accept-encoding").is_some_and(|encodings| encodings.contains("gzip")) {
        return reply;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    if encoder.write_all(&reply.body).is_ok()
        && let Ok(body) = encoder.finish()
    {
        reply.body = Bytes::from(body);
        reply = reply.with("content-encoding", "gzip");
    }
    reply
}
