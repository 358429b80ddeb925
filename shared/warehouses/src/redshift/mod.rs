//! What it reads: Amazon Redshift, serverless or provisioned: all of a model, rows from a cursor value on, or rows of some keys.
//!   By the Data API no network path to the cluster is needed; `via: wire` is for those that have one.
//! Auth: the AWS role of the process (IAM), or a secret of Secrets Manager; by wire a user and a password.
//! Limits: a result of at most 500 MB, a row of at most 64 KB, pages one after the other; with `unload` results of any size, by
//!   way of files of Parquet in S3; by wire results of any size in one stream. One statement for each read, cancelled at
//!   `statement_timeout`; its result lies there for a day, and what was unloaded until it is read.
//! Types: numbers, decimals and times exactly, `real` with the digits Redshift writes; SUPER as JSON. Spatial types are refused before the run where the sync uses
//!   them. Per-record errors: NaN and infinity are unreadable values and harm only records that map them.
//! Idempotency: reading changes nothing; a statement is one snapshot, and is executed under one client token.
//! API version and sources: 2019-12-20; <https://docs.aws.amazon.com/redshift-data/latest/APIReference/Welcome.html>; by wire
//!   PostgreSQL's protocol 3.0, as PostgreSQL 8.0 has it.

mod api;
mod cells;
mod config;
mod fault;
mod literal;
mod open;
mod unload;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, QueryLabel, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::{Column, RowBatch};
use domain::usage::WarehouseUsage;
use domain::value::Value;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Mutex;

use self::api::{DataApi, ResultPage};
use self::cells::{CellReader, ColumnMetadata};
use self::config::Config;
use self::unload::UnloadTarget;
use crate::lake;
use crate::sql::{self, Dialect};

/// Redshift, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "redshift",
    about: "Amazon Redshift",
    open: open::open,
    schema: || schemars::schema_for!(Config),
};

/// Conditions in one chain of OR.
const MAX_OR_CHAIN: usize = 100;

/// The columns of the model that was described last, and its SQL.
type DescribedColumns = (String, Vec<ColumnMetadata>);

struct RedshiftWarehouse {
    api: Arc<DataApi>,
    unload: Option<UnloadTarget>,
    described: Mutex<Option<DescribedColumns>>,
}

#[async_trait]
impl Warehouse for RedshiftWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        Ok(schema(&self.columns(self.model(query)?, &query.label).await?))
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        // Rows of some keys are few.
        if let (Some(unload), None | Some(RowFilter::From { .. })) = (&self.unload, &query.only) {
            return self.unloaded(unload, model, query).await;
        }
        let statement = statement(model, query.only.as_ref()).map_err(|why| self.api.place.failed(why))?;
        let done = self.api.run(&statement, &query.label, &mut None).await?;
        query.usage.note(WarehouseUsage::millis(done.millis));
        let page = self.api.page(&done.id, None).await?;
        let readers = page.column_metadata.iter().map(ColumnMetadata::reader).collect();
        let reading = PagesReading {
            api: Arc::clone(&self.api),
            id: done.id,
            readers,
            page,
            at: 0,
            read: 0,
            promised: done.rows,
            ended: false,
        };
        Ok(stream::unfold(reading, PagesReading::next).boxed())
    }
}

impl RedshiftWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Postgres).map_err(|why| self.api.place.failed(why))
    }

    /// The columns of a model, by a statement for none of its rows.
    async fn columns(&self, model: &str, label: &QueryLabel) -> Result<Vec<ColumnMetadata>, Fault> {
        let done = self.api.run(&sql::around(model, "limit 0"), label, &mut None).await?;
        let columns = self.api.page(&done.id, None).await?.column_metadata;
        *self.described.lock().await = Some((model.to_owned(), columns.clone()));
        Ok(columns)
    }

    /// The rows by way of S3.
    async fn unloaded(&self, unload: &UnloadTarget, model: &str, query: &Query) -> Result<RowStream, Fault> {
        let known = self.described.lock().await.clone().filter(|(sql, _)| sql == model);
        let columns = match known {
            Some((_, columns)) => columns,
            None => self.columns(model, &query.label).await?,
        };
        let condition = match &query.only {
            Some(RowFilter::From { column, cell }) => from(column, cell).map_err(|why| self.api.place.failed(why))?,
            _ => String::new(),
        };
        let condition = if condition.is_empty() { condition } else { format!("where {condition}") };
        let folder = unload.folder(&query.label);
        let statement = unload.statement(model, &condition, &columns, &folder);
        let mut held = Some(folder);
        let done = self.api.run(&statement, &query.label, &mut held).await?;
        query.usage.note(WarehouseUsage::millis(done.millis));
        let Some(folder) = held else {
            return Err(self.api.place.unreachable("the folder of an UNLOAD is gone before it was read."));
        };
        let files = unload.files(&self.api.place, &folder).await?;
        let kinds = columns.iter().map(|column| column.column().kind).collect();
        Ok(lake::rows(files, kinds, folder))
    }
}

/// Pages, one after the other: a token leads from each to the next.
struct PagesReading {
    api: Arc<DataApi>,
    id: String,
    readers: Vec<CellReader>,
    page: ResultPage,
    /// Rows of the page that were handed on.
    at: usize,
    /// Rows that were handed on.
    read: i64,
    /// Rows that the statement says it has; negative where it does not say.
    promised: i64,
    ended: bool,
}

impl PagesReading {
    async fn next(mut self) -> Option<(Result<RowBatch, Fault>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            let mut batch = RowBatch::new(self.readers.len());
            let mut buffer = Vec::new();
            while self.at < self.page.records.len() && !batch.is_full() {
                let row = &self.page.records[self.at];
                for (column, reader) in self.readers.iter().enumerate() {
                    batch.push(row.get(column).map_or(Value::Null, |cell| reader.json(cell, &mut buffer)));
                }
                self.at += 1;
            }
            self.read += batch.len() as i64;
            if !batch.is_empty() {
                return Some((Ok(batch), self));
            }
            let Some(token) = self.page.next_token.take() else {
                self.ended = true;
                if self.promised >= 0 && self.promised != self.read {
                    let what = format!("the result has {} rows, and {} were promised.", self.read, self.promised);
                    return Some((Err(self.api.place.unreachable(what)), self));
                }
                return None;
            };
            match self.api.page(&self.id, Some(&token)).await {
                Ok(page) => (self.page, self.at) = (page, 0),
                Err(fault) => {
                    self.ended = true;
                    return Some((Err(fault), self));
                }
            }
        }
    }
}

fn schema(described: &[ColumnMetadata]) -> ModelSchema {
    let columns: Vec<Column> = described.iter().map(ColumnMetadata::column).collect();
    let unreadable = described.iter().filter_map(ColumnMetadata::unreadable).collect();
    ModelSchema { findings: sql::named_twice(&columns), columns, unreadable, cost: None }
}

/// The SQL to send.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<sql::Statement, String> {
    Ok(match only {
        None => sql::plain(model),
        Some(RowFilter::From { column, cell }) => sql::filtered(model, &from(column, cell)?),
        Some(RowFilter::Keys { columns, keys }) => {
            let text = |column: &str| format!("cast({} as varchar)", sql::identifier(column));
            // Redshift has no rows as values, so that keys of several parts are compared part by part, in groups, because a
            // long chain of OR is a deep one.
            let one_by_one = |keys: &[Vec<String>]| {
                let each = |key| sql::any_key(columns, std::slice::from_ref(key), text, literal::quoted);
                format!("({})", keys.iter().map(each).collect::<Vec<_>>().join(" or "))
            };
            let condition = match keys.chunks(MAX_OR_CHAIN) {
                groups if columns.len() > 1 && keys.len() > 1 => {
                    groups.map(one_by_one).collect::<Vec<_>>().join(" or ")
                }
                _ => sql::any_key(columns, keys, text, literal::quoted),
            };
            sql::filtered(model, &condition)
        }
    })
}

/// The condition that a column is at least this value; the error is a sentence.
fn from(column: &str, cell: &[u8]) -> Result<String, String> {
    let (name, from) = (sql::identifier(column), literal::of_cell(column, cell)?);
    Ok(format!("{name} >= {from} or {name} is null"))
}
