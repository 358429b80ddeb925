//! What it reads: BigQuery, in GoogleSQL: all of a model, rows from a cursor value on, or rows of some keys.
//! Auth: the key of a service account, an AWS role by workload identity federation, or an access token.
//! Limits: one query job for each read, ended at `statement_timeout`, refused above `maximum_bytes_billed`; its result is
//!   kept by BigQuery for a day. A large one is read by the Storage Read API (Arrow, several streams at once, a broken one from
//!   its row on, for six hours at most), any other page by page (`page_rows`), some at once.
//! Types: numbers, decimals and times exactly; repeated fields and records as JSON; GEOGRAPHY and INTERVAL as the text that
//!   BigQuery writes, RANGE with bounds in ISO 8601; the same cells by both APIs. Per-record errors: NaN and infinity are
//!   unreadable values and harm only records that map them.
//! Idempotency: reading changes nothing; a query is one snapshot, and is begun under one request id.
//! API version and sources: v2 and Storage v1; <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query>,
//!   <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults>,
//!   <https://cloud.google.com/bigquery/docs/reference/storage/rpc>.

mod api;
mod arrow_cells;
mod aws_identity;
mod cells;
mod config;
mod fault;
mod job;
mod literal;
mod login;
mod open;
mod read_messages;
#[cfg(test)]
mod same_cells;
mod schema;
mod spans;
mod storage;
mod storage_fault;
mod version;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::Column;
use domain::usage::{WarehouseUsage, bytes_in_words};

use self::api::BigQueryApi;
use self::config::{Config, ReadApi};
use self::job::{PageReader, QueryResult, QuerySettings};
use self::schema::ResultField;
use self::storage::StorageApi;
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

/// A result of more rows is read by the Storage Read API: from there on a session is sooner there than the pages are.
const MAX_PAGED_ROWS: u64 = 50_000;

struct BigQueryWarehouse {
    api: Arc<BigQueryApi>,
    settings: QuerySettings,
    /// Pages that are read at once.
    pages: usize,
    read_api: ReadApi,
    /// None where results are read page by page only.
    storage: Option<Arc<StorageApi>>,
    /// The Storage Read API refused access, and is not asked again.
    refused: AtomicBool,
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
        if let Some(rows) = self.streams(&result).await? {
            return Ok(rows);
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
    /// The rows of a result by the Storage Read API; none where it is to be read page by page.
    async fn streams(&self, result: &QueryResult) -> Result<Option<RowStream>, Fault> {
        let Some(storage) = &self.storage else { return Ok(None) };
        let auto = self.read_api == ReadApi::Auto;
        // A result without a row has nothing to read, and one without a job no table.
        let few = if auto { MAX_PAGED_ROWS } else { 0 };
        if result.rows <= few || result.job.id.is_empty() || self.refused.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match storage.open(&result.job, result.fields.clone(), result.rows).await {
            Ok(reader) => Ok(Some(parts::rows_in_any_order(Arc::new(reader), storage.ahead()))),
            Err(fault) if auto => {
                if fault.code == Code::WarehouseDenied {
                    self.refused.store(true, Ordering::Relaxed);
                }
                let next = fault.next.as_deref().unwrap_or_default();
                tracing::warn!(
                    rows = result.rows,
                    "a large result is read page by page, which is slower: {} {next}",
                    fault.what
                );
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

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
