//! What it reads: Snowflake, by its SQL API: all of a model, rows from a cursor value on, or rows of some keys.
//! Auth: a user's RSA key (PKCS#8, encrypted or not), a programmatic access token, or OAuth.
//! Limits: one statement for each read, asynchronous, ended at `statement_timeout`; its result comes in partitions, some
//!   of which are fetched at once, and is kept by Snowflake for 24 hours, so that a broken partition is fetched again.
//! Types: numbers and decimals exactly; whole numbers of up to 18 digits as int, larger ones as decimal. A time with
//!   parts of a microsecond is an unreadable value (cast it to six digits). TIMESTAMP_TZ is its moment; the offset is not
//!   kept. VARIANT, OBJECT, ARRAY and spatial types come as JSON.
//! Per-record errors: NaN, infinity, parts of microseconds and documents that are no JSON are unreadable values and harm
//!   only records that map them.
//! Idempotency: reading changes nothing; a statement is one snapshot, and is submitted under one request id.
//! API version and sources: v2; <https://docs.snowflake.com/en/developer-guide/sql-api/reference>,
//!   <https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses>.

mod api;
mod auth;
mod config;
mod decode;
mod fault;
mod key;
mod literal;
mod open;
mod read;
mod scan;
mod types;
mod version;

use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::Column;

use self::api::SnowflakeApi;
use self::config::Config;
use self::read::PartitionReader;
use self::types::RowType;
use crate::parts;
use crate::relation::only_relation;
use crate::sql::{self, Dialect};
use crate::timed::timed;

/// Snowflake, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "snowflake",
    about: "Snowflake",
    open: open::open,
    schema: || schemars::schema_for!(Config),
};

struct SnowflakeWarehouse {
    api: Arc<SnowflakeApi>,
    /// Partitions that are read at once.
    partitions: usize,
}

#[async_trait]
impl Warehouse for SnowflakeWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        // No row is computed for this: Snowflake compiles the statement and answers from its metadata.
        let statement = sql::around(model, "limit 0");
        let result = self.api.run(&statement, &query.label).await?;
        let columns: Vec<_> = result
            .columns
            .iter()
            .map(|column| Column { name: column.name.clone(), kind: column.decoder().kind() })
            .collect();
        let unreadable = result.columns.iter().filter_map(RowType::unreadable).collect();
        Ok(ModelSchema { findings: sql::named_twice(&columns), columns, unreadable, cost: None })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let statement = statement(model, query.only.as_ref()).map_err(|why| self.api.place.failed(why))?;
        let result = timed(&query.usage, self.api.run(&statement, &query.label)).await?;
        let reader = PartitionReader::new(Arc::clone(&self.api), result, statement);
        Ok(parts::rows(Arc::new(reader), self.partitions))
    }

    async fn version(&self, query: &Query) -> Result<Option<String>, Fault> {
        let Some(relation) = only_relation(self.model(query)?, Dialect::Snowflake) else { return Ok(None) };
        version::of_table(&self.api, &relation, &query.label).await
    }
}

impl SnowflakeWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Snowflake).map_err(|why| self.api.place.failed(why))
    }
}

/// The SQL to send.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<sql::Statement, String> {
    Ok(match only {
        None => sql::plain(model),
        Some(RowFilter::From { column, cell }) => {
            let (column, from) = (sql::identifier(column), literal::of_cell(column, cell)?);
            sql::filtered(model, &format!("{column} >= {from} or {column} is null"))
        }
        Some(RowFilter::Keys { columns, keys }) => {
            let text = |column: &str| format!("to_varchar({})", sql::identifier(column));
            sql::filtered(model, &sql::any_key(columns, keys, text, literal::quoted))
        }
    })
}
