//! What it reads: a SQL warehouse of Databricks, by the Statement Execution API: all of a model, rows from a cursor value on,
//!   or rows of some keys.
//! Auth: a service principal (OAuth machine to machine), or a personal access token.
//! Limits: one statement for each read, cancelled at `statement_timeout`; its result lies in the storage for an hour, in chunks
//!   of Arrow, some of which are fetched at once; one that Databricks cut (100 GiB) is a fault.
//! Types: numbers, decimals and times exactly; arrays, maps, structs and variants as JSON, intervals as text.
//!   Per-record errors: NaN and infinity are unreadable values and harm only records that map them.
//! Idempotency: reading changes nothing; a statement is one snapshot of each table.
//! API version and sources: 2.0; <https://docs.databricks.com/api/workspace/statementexecution>.

mod api;
mod config;
mod fault;
mod literal;
mod open;
mod read;
mod version;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::Column;

use self::api::DatabricksApi;
use self::config::Config;
use self::read::ChunkReader;
use self::wire::ColumnInfo;
use crate::parts;
use crate::relation::only_relation;
use crate::sql::{self, Dialect};
use crate::timed::timed;

/// Databricks, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "databricks",
    about: "Databricks SQL",
    open: open::open,
    schema: || schemars::schema_for!(Config),
};

struct DatabricksWarehouse {
    api: Arc<DatabricksApi>,
    /// Chunks that are read at once.
    chunks: usize,
}

#[async_trait]
impl Warehouse for DatabricksWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        let (_, manifest) = self.api.run(&sql::around(model, "limit 0"), &query.label).await?;
        let columns: Vec<Column> = manifest.schema.columns.iter().map(ColumnInfo::column).collect();
        Ok(ModelSchema { findings: sql::named_twice(&columns), columns, ..ModelSchema::default() })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let statement = statement(model, query.only.as_ref()).map_err(|why| self.api.place.failed(why))?;
        let (id, manifest) = timed(&query.usage, self.api.run(&statement, &query.label)).await?;
        let reader = ChunkReader::new(Arc::clone(&self.api), id, manifest, statement);
        Ok(parts::rows(Arc::new(reader), self.chunks))
    }

    async fn version(&self, query: &Query) -> Result<Option<String>, Fault> {
        let Some(relation) = only_relation(self.model(query)?, Dialect::Databricks) else { return Ok(None) };
        version::of_table(&self.api, &relation, &query.label).await
    }
}

impl DatabricksWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Databricks).map_err(|why| self.api.place.failed(why))
    }
}

/// The SQL to send.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<sql::Statement, String> {
    Ok(match only {
        None => sql::plain(model),
        Some(RowFilter::From { column, cell }) => {
            let (column, from) = (literal::name(column), literal::of_cell(column, cell)?);
            sql::filtered(model, &format!("{column} >= {from} or {column} is null"))
        }
        Some(RowFilter::Keys { columns, keys }) => {
            let text = |column: &str| format!("cast({} as string)", literal::name(column));
            sql::filtered(model, &sql::any_key(columns, keys, text, literal::quoted))
        }
    })
}
