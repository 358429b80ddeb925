//! Which BigQuery types are read, and as what.

use domain::row::Column;
use domain::value::Type;
use serde::Deserialize;

/// A field of a result's schema.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ResultField {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    pub(super) fields: Vec<ResultField>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ResultSchema {
    #[serde(default)]
    pub(super) fields: Vec<ResultField>,
}

/// What kind of values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Bool,
    Int,
    Float,
    /// NUMERIC and BIGNUMERIC.
    Numeric,
    Text,
    /// From one bound to another, as text.
    Range,
    Bytes,
    Date,
    Time,
    DateTime,
    Timestamp,
    /// A document as text.
    Json,
    /// Fields of its own.
    Record,
}

impl ResultField {
    /// <https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema>
    pub(super) fn kind(&self) -> FieldKind {
        match self.kind.as_str() {
            "BOOLEAN" | "BOOL" => FieldKind::Bool,
            "INTEGER" | "INT64" => FieldKind::Int,
            "FLOAT" | "FLOAT64" => FieldKind::Float,
            "NUMERIC" | "BIGNUMERIC" => FieldKind::Numeric,
            "BYTES" => FieldKind::Bytes,
            "DATE" => FieldKind::Date,
            "TIME" => FieldKind::Time,
            "DATETIME" => FieldKind::DateTime,
            "TIMESTAMP" => FieldKind::Timestamp,
            "JSON" => FieldKind::Json,
            "RECORD" | "STRUCT" => FieldKind::Record,
            "RANGE" => FieldKind::Range,
            // GEOGRAPHY as WKT, INTERVAL as BigQuery writes it, and whatever else there will be.
            _ => FieldKind::Text,
        }
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.mode == "REPEATED"
    }

    /// The column as the engine knows it.
    pub(super) fn column(&self) -> Column {
        let kind = if self.is_repeated() { Type::Json } else { self.item_type() };
        Column { name: self.name.clone(), kind }
    }

    /// The type of one value of the field, repeated or not.
    pub(super) fn item_type(&self) -> Type {
        match self.kind() {
            FieldKind::Bool => Type::Bool,
            FieldKind::Int => Type::Int,
            FieldKind::Float => Type::Float,
            FieldKind::Numeric => Type::Decimal,
            FieldKind::Text | FieldKind::Range => Type::Text,
            FieldKind::Bytes => Type::Bytes,
            FieldKind::Date => Type::Date,
            FieldKind::Time => Type::Time,
            FieldKind::DateTime => Type::DateTime,
            FieldKind::Timestamp => Type::Timestamp,
            FieldKind::Json | FieldKind::Record => Type::Json,
        }
    }
}
