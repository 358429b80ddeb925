//! The version of a Delta table: the last entry of its history. The catalogue says first whether it is one; the history is
//! a statement, for which the SQL warehouse runs, but it reads no data.
//! <https://docs.databricks.com/api/workspace/tables/get>,
//! <https://docs.databricks.com/en/sql/language-manual/delta-describe-history.html>

use std::sync::Arc;

use clients::http::{Method, percent_encode};
use domain::fault::Fault;
use domain::ports::QueryLabel;
use futures_util::StreamExt as _;
use serde_json::Value as Json;

use super::api::DatabricksApi;
use super::literal::name as quoted;
use super::read::ChunkReader;
use crate::parts;
use crate::relation::NamePart;
use crate::sql;

/// The version of a relation; `None` where it is no Delta table, or cannot be told which one is meant.
pub(super) async fn of_table(
    api: &Arc<DatabricksApi>,
    relation: &[NamePart],
    label: &QueryLabel,
) -> Result<Option<String>, Fault> {
    let part = |at: usize| relation[at].name.to_lowercase();
    let name = match (relation.len(), &api.catalog, &api.schema) {
        (1, Some(catalog), Some(schema)) => [catalog.clone(), schema.clone(), part(0)],
        (2, Some(catalog), _) => [catalog.clone(), part(0), part(1)],
        (3, ..) => [part(0), part(1), part(2)],
        _ => return Ok(None),
    };
    let path = format!("/api/2.1/unity-catalog/tables/{}", percent_encode(&name.join(".")));
    let told: Json = api.call(Method::GET, &path, None, None).await?;
    let text = |field: &str| told.get(field).and_then(Json::as_str).unwrap_or_default();
    if !matches!(text("table_type"), "MANAGED" | "EXTERNAL") || text("data_source_format") != "DELTA" {
        return Ok(None);
    }
    let table = name.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
    let statement = sql::plain(&format!("describe history {table} limit 1"));
    let (id, manifest) = api.run(&statement, label).await?;
    let at = |name: &str| manifest.schema.columns.iter().position(|column| column.column().name == name);
    let (Some(version), Some(time)) = (at("version"), at("timestamp")) else { return Ok(None) };
    let reader = ChunkReader::new(Arc::clone(api), id, manifest, statement);
    let Some(batch) = parts::rows(Arc::new(reader), 1).next().await.transpose()? else { return Ok(None) };
    let host = api.base.host_str().unwrap_or_default();
    Ok(batch.rows().next().map(|row| {
        let (version, time) = (row.value(version).to_text().into_owned(), row.value(time).to_text().into_owned());
        format!("{host}/{}@{version}/{time}", name.join("."))
    }))
}
