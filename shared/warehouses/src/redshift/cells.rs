//! Columns and cells of a result: as the Data API writes them, `{"stringValue": "1.50"}`, and as the texts that the protocol
//! of PostgreSQL has. Both ways give the same values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::finding::Finding;
use domain::mapping::iso::{self, Moment};
use domain::row::Column;
use domain::value::{Type, Value};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio_postgres::types::Type as PgType;

use crate::postgres::decode;

const NOT_UTF8: Value<'static> = Value::Unreadable("text that is not UTF-8");
pub(super) const MALFORMED: Value<'static> = Value::Unreadable("text that is no value of the column's type");

/// A column of a result.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ColumnMetadata {
    pub(super) name: String,
    pub(super) type_name: String,
}

/// The types of Redshift that [`PgType`] does not have, by their numbers.
/// <https://github.com/aws/amazon-redshift-python-driver/blob/master/redshift_connector/utils/oids.py>
const OWN_TYPES: [(u32, &str); 7] = [
    (1188, "intervaly2m"),
    (1190, "intervald2s"),
    (3000, "geometry"),
    (3001, "geography"),
    (3999, "geometry"),
    (4000, "super"),
    (6551, "varbyte"),
];

/// How the cells of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellReader {
    kind: Type,
    /// A number of single precision, which some ways write with the digits of a double one.
    single: bool,
}

impl ColumnMetadata {
    /// The column by the number of its type. A number that is not known here is read as text.
    pub(super) fn of_oid(name: String, oid: u32) -> Self {
        let own = OWN_TYPES.iter().find(|(number, _)| *number == oid).map(|(_, name)| *name);
        let type_name = match own {
            Some(name) => name.to_owned(),
            None => PgType::from_oid(oid).map_or_else(|| "varchar".to_owned(), |of| of.name().to_owned()),
        };
        Self { name, type_name }
    }

    pub(super) fn reader(&self) -> CellReader {
        CellReader { kind: self.column().kind, single: self.type_name == "float4" }
    }

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

impl CellReader {
    /// Reads one cell of the Data API. Text that has to be made goes into `buffer`.
    pub(super) fn json<'a>(self, cell: &'a Json, buffer: &'a mut Vec<u8>) -> Value<'a> {
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
            return Value::Float(self.float(float));
        }
        if let Some(blob) = cell.get("blobValue").and_then(Json::as_str) {
            buffer.clear();
            return if STANDARD.decode_vec(blob, buffer).is_ok() { Value::Bytes(buffer) } else { MALFORMED };
        }
        cell.get("stringValue").and_then(Json::as_str).map_or(MALFORMED, |text| self.text(text, buffer))
    }

    /// Reads one cell of the protocol.
    pub(super) fn wire<'a>(self, cell: Option<&'a [u8]>, buffer: &'a mut Vec<u8>) -> Value<'a> {
        match cell.map(std::str::from_utf8) {
            None => Value::Null,
            Some(Ok(text)) => self.text(text, buffer),
            Some(Err(_)) => NOT_UTF8,
        }
    }

    /// Reads what stands as text.
    fn text<'a>(self, text: &'a str, buffer: &'a mut Vec<u8>) -> Value<'a> {
        let read = match self.kind {
            Type::Decimal | Type::Float if text == "NaN" => Some(Value::Unreadable("not a number (NaN)")),
            Type::Decimal => Some(Value::Decimal(text)),
            Type::Json => Some(Value::Json(text)),
            Type::Float => match text {
                "Infinity" | "-Infinity" => Some(Value::Unreadable("an infinite number")),
                text => text.parse().ok().map(|float| Value::Float(self.float(float))),
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
                // The Data API leaves out the zone of a session in UTC.
                Some(Moment::Timestamp(at) | Moment::DateTime(at)) => Some(Value::Timestamp(at)),
                _ => None,
            },
            Type::Bytes => bytes(text, buffer).map(Value::Bytes),
            _ => Some(Value::Text(text)),
        };
        read.unwrap_or(MALFORMED)
    }

    /// A number of single precision with the digits that one is written with: 0.1, and not 0.10000000149011612.
    fn float(self, float: f64) -> f64 {
        if self.single { decode::widened(float as f32) } else { float }
    }
}

/// Bytes that are written as hexadecimal digits.
fn bytes<'a>(text: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    for pair in pairs {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        buffer.push(((digit(0)? << 4) | digit(1)?) as u8);
    }
    rest.is_empty().then_some(buffer)
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
            let reader = CellReader { kind, single: false };
            assert_eq!(reader.json(&cell, &mut Vec::new()), expected, "{kind} {cell}");
        }
    }

    /// What the protocol writes for a value, and what the Data API does: the same value out of both.
    #[test]
    fn both_ways_give_the_same_values() {
        for (oid, wire, cell, expected) in [
            (16, "t", json!({ "booleanValue": true }), Value::Bool(true)),
            (16, "f", json!({ "booleanValue": false }), Value::Bool(false)),
            (21, "-32768", json!({ "longValue": -32768 }), Value::Int(-32768)),
            (20, "9223372036854775807", json!({ "longValue": i64::MAX }), Value::Int(i64::MAX)),
            (26, "4294967295", json!({ "longValue": 4_294_967_295u32 }), Value::Int(4_294_967_295)),
            (1700, "-1.50", json!({ "stringValue": "-1.50" }), Value::Decimal("-1.50")),
            (701, "0.10000000000000001", json!({ "doubleValue": 0.1 }), Value::Float(0.1)),
            (701, "1e+300", json!({ "doubleValue": 1e300 }), Value::Float(1e300)),
            (701, "NaN", json!({ "stringValue": "NaN" }), Value::Unreadable("not a number (NaN)")),
            (701, "-Infinity", json!({ "stringValue": "-Infinity" }), Value::Unreadable("an infinite number")),
            (700, "0.1", json!({ "doubleValue": 0.100_000_001_490_116_12 }), Value::Float(0.1)),
            (700, "19.99", json!({ "doubleValue": 19.99 }), Value::Float(19.99)),
            (1043, "", json!({ "stringValue": "" }), Value::Text("")),
            (1042, "ab ", json!({ "stringValue": "ab " }), Value::Text("ab ")),
            (705, "x", json!({ "stringValue": "x" }), Value::Text("x")),
            (6551, "00ff", json!({ "stringValue": "00ff" }), Value::Bytes(&[0, 255])),
            (6551, "00FF", json!({ "blobValue": "AP8=" }), Value::Bytes(&[0, 255])),
            (6551, "0", json!({ "stringValue": "0" }), MALFORMED),
            (1082, "2024-02-29", json!({ "stringValue": "2024-02-29" }), Value::Date(19_782)),
            (1083, "12:34:56.5", json!({ "stringValue": "12:34:56.5" }), Value::Time(45_296_500_000)),
            (1266, "12:34:56+00", json!({ "stringValue": "12:34:56+00" }), Value::Text("12:34:56+00")),
            (
                1114,
                "1970-01-01 00:00:00.000001",
                json!({ "stringValue": "1970-01-01 00:00:00.000001" }),
                Value::DateTime(1),
            ),
            (
                1184,
                "1970-01-01 00:00:01+00",
                json!({ "stringValue": "1970-01-01 00:00:01" }),
                Value::Timestamp(1_000_000),
            ),
            (4000, "{\"a\":1}", json!({ "stringValue": "{\"a\":1}" }), Value::Json("{\"a\":1}")),
            (1188, "1-2", json!({ "stringValue": "1-2" }), Value::Text("1-2")),
        ] {
            let reader = ColumnMetadata::of_oid("c".into(), oid).reader();
            assert_eq!(reader.wire(Some(wire.as_bytes()), &mut Vec::new()), expected, "{oid} {wire}");
            assert_eq!(reader.json(&cell, &mut Vec::new()), expected, "{oid} {cell}");
        }
        let reader = ColumnMetadata::of_oid("c".into(), 25).reader();
        assert_eq!(reader.wire(None, &mut Vec::new()), Value::Null);
        assert_eq!(reader.wire(Some(&[0xff]), &mut Vec::new()), NOT_UTF8);
        for oid in [3000, 3001, 3999] {
            assert!(ColumnMetadata::of_oid("c".into(), oid).unreadable().is_some(), "{oid}");
        }
    }
}
