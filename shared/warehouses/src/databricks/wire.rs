//! The answers of the Statement Execution API, as far as they are read.
//! <https://docs.databricks.com/api/workspace/statementexecution>

use std::collections::BTreeMap;

use domain::row::Column;
use domain::value::Type;
use serde::Deserialize;

/// A statement, as every answer about it has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatementAnswer {
    pub(super) statement_id: String,
    pub(super) status: StatementStatus,
    pub(super) manifest: Option<Manifest>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatementStatus {
    /// `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELED`, `CLOSED`.
    pub(super) state: String,
    pub(super) error: Option<DatabricksError>,
}

/// What the service said of a failure.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct DatabricksError {
    #[serde(deserialize_with = "text_or_number")]
    pub(super) error_code: String,
    pub(super) message: String,
    #[serde(skip)]
    pub(super) status: u16,
}

/// What a result is made of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    pub(super) schema: ManifestSchema,
    pub(super) total_chunk_count: usize,
    pub(super) total_row_count: u64,
    pub(super) truncated: bool,
    pub(super) chunks: Vec<ChunkInfo>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ManifestSchema {
    pub(super) columns: Vec<ColumnInfo>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ColumnInfo {
    pub(super) name: String,
    type_name: String,
    type_text: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChunkInfo {
    pub(super) chunk_index: usize,
    pub(super) row_count: u64,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChunkAnswer {
    pub(super) external_links: Vec<ExternalLink>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExternalLink {
    pub(super) external_link: String,
    pub(super) http_headers: BTreeMap<String, String>,
}

impl ColumnInfo {
    /// The column as the engine knows it.
    pub(super) fn column(&self) -> Column {
        let text = self.type_text.to_lowercase();
        let kind = match self.type_name.as_str() {
            "BOOLEAN" => Type::Bool,
            "BYTE" | "SHORT" | "INT" | "LONG" => Type::Int,
            "FLOAT" | "DOUBLE" => Type::Float,
            "DECIMAL" => Type::Decimal,
            "BINARY" => Type::Bytes,
            "DATE" => Type::Date,
            _ if text == "timestamp_ntz" => Type::DateTime,
            "TIMESTAMP" => Type::Timestamp,
            "ARRAY" | "MAP" | "STRUCT" => Type::Json,
            _ if text == "variant" => Type::Json,
            "NULL" => Type::Any,
            // STRING, CHAR, INTERVAL, and whatever comes as text.
            _ => Type::Text,
        };
        Column { name: self.name.clone(), kind }
    }
}

/// Some gateways write a number where a name belongs.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}
