//! The version of an Iceberg table: where its newest metadata lie, which every commit moves. The catalogue says it, and
//! nothing is scanned. A table of files without such metadata has none: whoever writes a file says so nowhere.
//! <https://docs.aws.amazon.com/athena/latest/APIReference/API_GetTableMetadata.html>

use domain::fault::Fault;
use serde_json::{Value as Json, json};

use super::api::AthenaApi;
use super::fault::fault;
use crate::relation::NamePart;
use crate::sql::Statement;

/// The version of a relation; `None` where it is no Iceberg table, or cannot be told which one is meant.
pub(super) async fn of_table(api: &AthenaApi, relation: &[NamePart]) -> Result<Option<String>, Fault> {
    let part = |at: usize| relation[at].name.to_lowercase();
    let (catalog, database, table) = match (relation.len(), &api.database) {
        (1, Some(database)) => (api.catalog.clone(), database.clone(), part(0)),
        (2, _) => (api.catalog.clone(), part(0), part(1)),
        // Names of catalogs keep their case.
        (3, _) => (relation[0].name.clone(), part(1), part(2)),
        _ => return Ok(None),
    };
    let sent = Statement::default();
    let explain = |refusal: &_| fault(refusal, &api.place, api.json.host(), &api.workgroup, &sent);
    let body = json!({ "CatalogName": catalog, "DatabaseName": database, "TableName": table });
    let told = api.json.call("GetTableMetadata", &body, explain).await?;
    let parameter = |name: &str| told.pointer(&format!("/TableMetadata/Parameters/{name}")).and_then(Json::as_str);
    if !parameter("table_type").is_some_and(|kind| kind.eq_ignore_ascii_case("iceberg")) {
        return Ok(None);
    }
    Ok(parameter("metadata_location").map(|at| format!("{}/{catalog}.{database}.{table}@{at}", api.json.host())))
}
