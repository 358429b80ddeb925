//! What it reads: BigQuery, in GoogleSQL: all of a model, rows from a cursor value on, or rows of some keys.
//! Auth: the key of a service account, an AWS role by workload identity federation, or an access token.
//! Limits: one query job for each read, ended at `statement_timeout`, refused above `maximum_bytes_billed`; its result is
//!   read page by page (`page_rows`), some pages at once, and kept by BigQuery for a day, so that a page is read again.
//! Types: numbers, decimals and times exactly; repeated fields and records as JSON; GEOGRAPHY, INTERVAL and RANGE as the text
//!   that BigQuery writes. Per-record errors: NaN and infinity are unreadable values and harm only records that map them.
//! Idempotency: reading changes nothing; a query is one snapshot, and is begun under one request id.
//! API version and sources: v2; <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query>,
//!   <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults>.

mod api;
mod aws_identity;
mod cells;
mod config;
mod fault;
mod job;
mod literal;
mod login;
mod open;
mod schema;
mod version;

use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::Column;
use domain::usage::{WarehouseUsage, bytes_in_words};

use self::api::BigQueryApi;
use self::config::Config;
use self::job::{PageReader, QuerySettings};
use self::schema::ResultField;
use crate::parts;
use crate::relation::only_relation;
use crate::sql::{self, Dialect};

/// BigQuery, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "bigquery",
    about: "Google BigQuery",
    open: open::open,
    schema: || schemars::schema_for!(Config),
};

struct BigQueryWarehouse {
    api: Arc<BigQueryApi>,
    settings: QuerySettings,
    /// Pages that are read at once.
    pages: usize,
}

#[async_trait]
impl Warehouse for BigQueryWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        let (fields, bytes) = job::dry_run(&self.api, &self.settings, &sql::plain(model), &query.label).await?;
        let columns: Vec<Column> = fields.iter().map(ResultField::column).collect();
        let cost = bytes.map(|bytes| format!("a full read scans {}", bytes_in_words(bytes)));
        Ok(ModelSchema { findings: sql::named_twice(&columns), columns, unreadable: Vec::new(), cost })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let statement = statement(model, query.only.as_ref()).map_err(|why| self.api.place.failed(why))?;
        let result = job::run(&self.api, &self.settings, &statement, &query.label).await?;
        if let Some(scanned) = result.scanned {
            query.usage.note(WarehouseUsage::bytes(scanned));
        }
        let reader = PageReader::new(&self.api, &self.settings, result, statement);
        Ok(parts::rows(Arc::new(reader), self.pages))
    }

    async fn version(&self, query: &Query) -> Result<Option<String>, Fault> {
        let Some(relation) = only_relation(self.model(query)?, Dialect::BigQuery) else { return Ok(None) };
        version::of_table(&self.api, &self.settings, &relation).await
    }
}

impl BigQueryWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::BigQuery).map_err(|why| self.api.place.failed(why))
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
