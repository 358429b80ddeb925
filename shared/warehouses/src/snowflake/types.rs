//! Which Snowflake types are read, and as what.

use domain::finding::Finding;
use domain::value::Type;
use serde::Deserialize;

/// A column as the metadata of a result describe it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RowType {
    pub(super) name: String,
    /// In lower case: `fixed`, `text`, `timestamp_ntz` …
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) precision: Option<i64>,
    #[serde(default)]
    pub(super) scale: Option<i64>,
}

/// How a column's cells are read, resolved once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellDecoder {
    Bool,
    /// A whole number that fits into 64 bits.
    Int,
    /// A decimal number, an exponent included.
    Decimal,
    Float,
    Text,
    /// Hexadecimal digits.
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Seconds with nine digits after the point: since midnight …
    Time,
    /// … or since 1970-01-01, without a zone …
    DateTime,
    /// … or in UTC, an offset after it where the type has one.
    Timestamp,
    /// A document as text.
    Json,
    /// Not at all; preflight says so.
    Unsupported,
}

/// Numbers of so many digits always fit into 64 bits.
const INT_DIGITS: i64 = 18;

impl RowType {
    /// <https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses>
    pub(super) fn decoder(&self) -> CellDecoder {
        match self.kind.to_lowercase().as_str() {
            "fixed" if self.scale.unwrap_or(0) == 0 && self.precision.is_some_and(|p| p <= INT_DIGITS) => {
                CellDecoder::Int
            }
            "fixed" | "decfloat" => CellDecoder::Decimal,
            "real" | "float" | "double" => CellDecoder::Float,
            "text" | "varchar" | "string" | "char" => CellDecoder::Text,
            "boolean" => CellDecoder::Bool,
            "binary" => CellDecoder::Binary,
            "date" => CellDecoder::Date,
            "time" => CellDecoder::Time,
            "timestamp_ntz" => CellDecoder::DateTime,
            "timestamp_ltz" | "timestamp_tz" => CellDecoder::Timestamp,
            // Spatial values are GeoJSON, unless the account has another output format.
            "variant" | "object" | "array" | "map" | "vector" | "geography" | "geometry" => CellDecoder::Json,
            _ => CellDecoder::Unsupported,
        }
    }

    /// What is said of a column that cannot be read.
    pub(super) fn unreadable(&self) -> Option<(String, Finding)> {
        if self.decoder() != CellDecoder::Unsupported {
            return None;
        }
        let name = &self.name;
        let what = format!("the column `{name}` is of type {}, which cannot be read", self.kind);
        Some((name.clone(), Finding::error("model", what, format!("cast it in the model: to_varchar({name})"))))
    }
}

impl CellDecoder {
    /// The type of the values it gives.
    pub(super) fn kind(self) -> Type {
        match self {
            CellDecoder::Bool => Type::Bool,
            CellDecoder::Int => Type::Int,
            CellDecoder::Decimal => Type::Decimal,
            CellDecoder::Float => Type::Float,
            CellDecoder::Text => Type::Text,
            CellDecoder::Binary => Type::Bytes,
            CellDecoder::Date => Type::Date,
            CellDecoder::Time => Type::Time,
            CellDecoder::DateTime => Type::DateTime,
            CellDecoder::Timestamp => Type::Timestamp,
            CellDecoder::Json => Type::Json,
            CellDecoder::Unsupported => Type::Any,
        }
    }
}
