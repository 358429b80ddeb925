//! The version of a table: when it was modified last. The catalogue says it, and nothing is billed.
//! <https://cloud.google.com/bigquery/docs/reference/rest/v2/tables/get>

use clients::http::{Method, percent_encode};
use domain::fault::Fault;
use serde_json::Value as Json;

use super::api::BigQueryApi;
use super::job::QuerySettings;
use crate::relation::NamePart;

/// The version of a relation; `None` where it is no table of BigQuery's own, or rows stream into it: those are not counted
/// in before they leave the buffer.
pub(super) async fn of_table(
    api: &BigQueryApi,
    settings: &QuerySettings,
    relation: &[NamePart],
) -> Result<Option<String>, Fault> {
    let part = |at: usize| relation[at].name.clone();
    let name = match (relation.len(), &settings.dataset) {
        (1, Some((project, dataset))) => [project.clone(), dataset.clone(), part(0)],
        (2, _) => [api.project.clone(), part(0), part(1)],
        (3, _) => [part(0), part(1), part(2)],
        _ => return Ok(None),
    };
    let [project, dataset, table] = &name;
    let path = format!("datasets/{}/tables/{}", percent_encode(dataset), percent_encode(table));
    let told = api.call_in(project, Method::GET, &path, None, None).await?;
    let text = |field: &str| told.get(field).and_then(Json::as_str);
    if text("type") != Some("TABLE") || told.get("streamingBuffer").is_some_and(|buffer| !buffer.is_null()) {
        return Ok(None);
    }
    let rows = text("numRows").unwrap_or_default();
    Ok(text("lastModifiedTime").map(|at| format!("{project}.{dataset}.{table}@{at}/{rows}")))
}
