//! The version of a table: the token of its last commit. Both statements are answered from metadata.
//! <https://docs.snowflake.com/en/sql-reference/functions/system_last_change_commit_time>,
//! <https://docs.snowflake.com/en/sql-reference/sql/show-objects>

use std::sync::Arc;

use domain::fault::Fault;
use domain::ports::QueryLabel;
use serde::Deserialize;

use super::api::{ResultSet, SnowflakeApi};
use super::literal::quoted;
use crate::relation::NamePart;
use crate::sql::{self, identifier};

/// Rows of a first partition.
#[derive(Deserialize)]
struct FirstRows {
    data: Vec<Vec<Option<String>>>,
}

/// The version of a relation; `None` where it is no table of Snowflake's own, or cannot be told which one is meant.
pub(super) async fn of_table(
    api: &Arc<SnowflakeApi>,
    relation: &[NamePart],
    label: &QueryLabel,
) -> Result<Option<String>, Fault> {
    let Some([database, schema, table]) = whole_name(api, relation) else { return Ok(None) };
    let within = format!("{}.{}", identifier(&database), identifier(&schema));
    // A view may change although the tables below it do not.
    let shown = format!("show objects like {} in schema {within}", quoted(&table));
    let shown = api.run(&sql::plain(&shown), label).await?;
    if !is_own_table(&shown, &table) {
        return Ok(None);
    }
    let name = format!("{within}.{}", identifier(&table));
    let asked = format!("select system$last_change_commit_time({}) as version", quoted(&name));
    let answer = api.run(&sql::plain(&asked), label).await?;
    let version = rows(&answer).into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let account = api.base.host_str().unwrap_or_default();
    Ok(version.filter(|v| !v.is_empty()).map(|version| format!("{account}/{name}@{version}")))
}

/// Database, schema and table, as Snowflake stores them: without quotes in capitals.
fn whole_name(api: &SnowflakeApi, relation: &[NamePart]) -> Option<[String; 3]> {
    let stored = |part: &NamePart| if part.quoted { part.name.clone() } else { part.name.to_uppercase() };
    let given = |name: &Option<String>| Some(name.clone()?.to_uppercase());
    match relation {
        [table] => Some([given(&api.session.database)?, given(&api.session.schema)?, stored(table)]),
        [schema, table] => Some([given(&api.session.database)?, stored(schema), stored(table)]),
        [database, schema, table] => Some([stored(database), stored(schema), stored(table)]),
        _ => None,
    }
}

/// True when exactly this name is listed, as a table that Snowflake itself keeps.
fn is_own_table(shown: &ResultSet, table: &str) -> bool {
    let at = |name: &str| shown.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let (Some(name), Some(kind)) = (at("name"), at("kind")) else { return false };
    let text = |row: &[Option<String>], at: Option<usize>| -> String {
        at.and_then(|at| row.get(at)).cloned().flatten().unwrap_or_default()
    };
    let foreign = ["is_external", "is_iceberg"].map(at);
    rows(shown).iter().any(|row| {
        text(row, Some(name)) == table
            && text(row, Some(kind)).eq_ignore_ascii_case("table")
            && foreign.iter().all(|at| !text(row, *at).eq_ignore_ascii_case("y"))
    })
}

fn rows(result: &ResultSet) -> Vec<Vec<Option<String>>> {
    serde_json::from_slice::<FirstRows>(&result.first).map(|first| first.data).unwrap_or_default()
}
