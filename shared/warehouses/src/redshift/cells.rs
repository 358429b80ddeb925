//! Columns and cells of a result as the Data API writes them: `{"stringValue": "1.50"}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::finding::Finding;
use domain::mapping::iso::{self, Moment};
use domain::row::Column;
use domain::value::{Type, Value};
use serde::Deserialize;
use serde_json::Value as Json;

const MALFORMED: Value<'static> = Value::Unreadable("text that is no value of the column's type");

/// A column of a result.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ColumnMetadata {
    pub(super) name: String,
    pub(super) type_name: String,
}

impl ColumnMetadata {
    /// The column as the engine knows it.
    /// <https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html>
    pub(super) fn column(&self) -> Column {
        let kind = match self.type_name.as_str() {
            "bool" | "boolean" => Type::Bool,
            "int2" | "int4" | "int8" | "oid" => Type::Int,
            "float4" | "float8" => Type::Float,
            "numeric" => Type::Decimal,
            "varbyte" => Type::Bytes,
            "date" => Type::Date,
            "time" => Type::Time,
            "timestamp" => Type::DateTime,
            "timestamptz" => Type::Timestamp,
            "super" => Type::Json,
            // varchar, bpchar, text, name, timetz, intervals, and whatever comes as text.
            _ => Type::Text,
        };
        Column { name: self.name.clone(), kind }
    }

    /// What is said of a column that cannot be read.
    pub(super) fn unreadable(&self) -> Option<(String, Finding)> {
        let spatial = matches!(self.type_name.as_str(), "geometry" | "geography" | "hllsketch");
        spatial.then(|| {
            let name = &self.name;
            let what = format!("the column `{name}` is of type {}, which cannot be read", self.type_name);
            (name.clone(), Finding::error("model", what, format!("write st_astext({name}) in the model")))
        })
    }
}

/// Reads one cell. Text that has to be made goes into `buffer`.
pub(super) fn value<'a>(kind: Type, cell: &'a Json, buffer: &'a mut Vec<u8>) -> Value<'a> {
    if cell.get("isNull").and_then(Json::as_bool) == Some(true) {
        return Value::Null;
    }
    if let Some(bool) = cell.get("booleanValue").and_then(Json::as_bool) {
        return Value::Bool(bool);
    }
    if let Some(int) = cell.get("longValue").and_then(Json::as_i64) {
        return Value::Int(int);
    }
    if let Some(float) = cell.get("doubleValue").and_then(Json::as_f64) {
        return Value::Float(float);
    }
    if let Some(blob) = cell.get("blobValue").and_then(Json::as_str) {
        buffer.clear();
        return if STANDARD.decode_vec(blob, buffer).is_ok() { Value::Bytes(buffer) } else { MALFORMED };
    }
    let Some(text) = cell.get("stringValue").and_then(Json::as_str) else { return MALFORMED };
    let read = match kind {
        Type::Decimal if text == "NaN" => Some(Value::Unreadable("not a number (NaN)")),
        Type::Decimal => Some(Value::Decimal(text)),
        Type::Json => Some(Value::Json(text)),
        Type::Float => match text {
            "NaN" => Some(Value::Unreadable("not a number (NaN)")),
            "Infinity" | "-Infinity" => Some(Value::Unreadable("an infinite number")),
            text => text.parse().ok().map(Value::Float),
        },
        Type::Int => text.parse().ok().map(Value::Int),
        Type::Bool => match text {
            "true" | "t" => Some(Value::Bool(true)),
            "false" | "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Date => iso::date(text).map(Value::Date),
        Type::Time => iso::time(text).map(Value::Time),
        Type::DateTime => match iso::moment(text) {
            Some(Moment::DateTime(at)) => Some(Value::DateTime(at)),
            _ => None,
        },
        Type::Timestamp => match iso::moment(text) {
            Some(Moment::Timestamp(at)) => Some(Value::Timestamp(at)),
            // The Data API leaves out the zone of a session in UTC.
            Some(Moment::DateTime(at)) => Some(Value::Timestamp(at)),
            _ => None,
        },
        Type::Bytes => {
            buffer.clear();
            let mut digits = text.bytes().map(|b| char::from(b).to_digit(16));
            let mut read = || Some(((digits.next()?? << 4) | digits.next()??) as u8);
            for _ in 0..text.len() / 2 {
                let Some(byte) = read() else { return MALFORMED };
                buffer.push(byte);
            }
            Some(Value::Bytes(buffer))
        }
        _ => Some(Value::Text(text)),
    };
    read.unwrap_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_become_values() {
        for (kind, cell, expected) in [
            (Type::Int, json!({ "isNull": true }), Value::Null),
            (Type::Int, json!({ "longValue": i64::MIN }), Value::Int(i64::MIN)),
            (
                Type::Decimal,
                json!({ "stringValue": "-12345678901234567890.50" }),
                Value::Decimal("-12345678901234567890.50"),
            ),
            (Type::Float, json!({ "doubleValue": 0.1 }), Value::Float(0.1)),
            (Type::Float, json!({ "stringValue": "NaN" }), Value::Unreadable("not a number (NaN)")),
            (Type::Bool, json!({ "booleanValue": true }), Value::Bool(true)),
            (Type::Text, json!({ "stringValue": "" }), Value::Text("")),
            (Type::Json, json!({ "stringValue": "{\"a\":1}" }), Value::Json("{\"a\":1}")),
            (Type::Date, json!({ "stringValue": "2024-02-29" }), Value::Date(19_782)),
            (Type::Time, json!({ "stringValue": "12:34:56.000007" }), Value::Time(45_296_000_007)),
            (
                Type::DateTime,
                json!({ "stringValue": "2024-02-29 12:34:56.000007" }),
                Value::DateTime(1_709_210_096_000_007),
            ),
            (
                Type::Timestamp,
                json!({ "stringValue": "2024-02-29 12:34:56.000007+00" }),
                Value::Timestamp(1_709_210_096_000_007),
            ),
            (Type::Bytes, json!({ "blobValue": "AP8=" }), Value::Bytes(&[0, 255])),
            (Type::Bytes, json!({ "stringValue": "00ff" }), Value::Bytes(&[0, 255])),
            (Type::Date, json!({ "stringValue": "soon" }), MALFORMED),
            (Type::Date, json!({}), MALFORMED),
        ] {
            assert_eq!(value(kind, &cell, &mut Vec::new()), expected, "{kind} {cell}");
        }
    }
}
