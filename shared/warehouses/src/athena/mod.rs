//! What it reads: Amazon Athena, engine version 3: all of a model, rows from a cursor value on, or rows of some keys. Each read
//!   is an UNLOAD into a folder of its own in S3, in Parquet, whose files are read from there and deleted.
//! Auth: the AWS role of the process (IAM), or keys.
//! Limits: SQL of 262,144 bytes; one query for each read (several for many long keys), and one without rows for the columns' types, which reads no data;
//!   queries are stopped at `statement_timeout` and when a run stops. Files that could not be deleted stay in `output`.
//! Types: numbers, decimals and times exactly, whatever their precision; arrays, maps, rows and JSON as JSON. Spatial types and
//!   sketches are refused before the run where the sync uses them. Per-record errors: NaN, infinity and times with parts of a
//!   microsecond are unreadable values and harm only records that map them.
//! Idempotency: reading changes no table; a query is one snapshot of each table, is started under one client token, and no
//!   result of the past is used again.
//! API version and sources: 2017-05-18; <https://docs.aws.amazon.com/athena/latest/APIReference/Welcome.html>.

mod api;
mod config;
mod fault;
mod literal;
mod open;
mod types;
mod version;

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, QueryLabel, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::Column;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Mutex;

use self::api::{AthenaApi, FinishedQuery, MAX_SQL_BYTES};
use self::config::Config;
use self::types::AthenaColumn;
use crate::lake::{self, ResultFile, ResultFolder, S3Client, S3Location};
use crate::relation::only_relation;
use crate::sql::{self, Dialect, Statement};

/// Athena, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "athena",
    about: "Amazon Athena",
    open: open::open,
    schema: || schemars::schema_for!(Config),
};

/// The columns of the model that was described last, and its SQL.
type DescribedModel = (String, Vec<AthenaColumn>);

struct AthenaWarehouse {
    api: Arc<AthenaApi>,
    s3: Arc<S3Client>,
    output: S3Location,
    described: Mutex<Option<DescribedModel>>,
}

#[async_trait]
impl Warehouse for AthenaWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let described = self.columns(self.model(query)?, &query.label).await?;
        let columns: Vec<Column> = described.iter().map(AthenaColumn::column).collect();
        let mut findings = sql::named_twice(&columns);
        findings.extend(types::unnamed(&described));
        let unreadable = described.iter().filter_map(AthenaColumn::unreadable).collect();
        Ok(ModelSchema { findings, columns, unreadable, cost: None })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let known = self.described.lock().await.clone().filter(|(sql, _)| sql == model);
        let columns = match known {
            Some((_, columns)) => columns,
            None => self.columns(model, &query.label).await?,
        };
        let mut streams = Vec::new();
        for only in fitting(query.only.as_ref(), model.len()) {
            streams.push(self.unloaded(model, only.as_ref(), query, &columns).await?);
        }
        // A fault is the last item.
        let rows = stream::iter(streams).flatten().scan(false, |ended, item| {
            let item = (!*ended).then_some(item);
            *ended = matches!(item, Some(Err(_)));
            ready(item)
        });
        Ok(rows.boxed())
    }

    async fn version(&self, query: &Query) -> Result<Option<String>, Fault> {
        let Some(relation) = only_relation(self.model(query)?, Dialect::Athena) else { return Ok(None) };
        version::of_table(&self.api, &relation).await
    }
}

impl AthenaWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Athena).map_err(|why| self.api.place.failed(why))
    }

    /// The columns of a model, by a query for none of its rows: Athena plans it and reads no data.
    async fn columns(&self, model: &str, label: &QueryLabel) -> Result<Vec<AthenaColumn>, Fault> {
        let statement = sql::around(model, "limit 0").within(&format!("{}\n", comment(label)), "");
        let folder = ResultFolder::new(&self.s3, &self.output, label);
        let (finished, folder) = self.api.run(&statement, folder).await?;
        let columns = self.api.columns(&finished.id, &statement).await?;
        folder.remove().await;
        *self.described.lock().await = Some((model.to_owned(), columns.clone()));
        Ok(columns)
    }

    /// The rows of one query.
    async fn unloaded(
        &self,
        model: &str,
        only: Option<&RowFilter>,
        query: &Query,
        columns: &[AthenaColumn],
    ) -> Result<RowStream, Fault> {
        let label = &query.label;
        let folder = ResultFolder::new(&self.s3, &self.output, label);
        let statement =
            unload(model, only, label, columns, folder.location()).map_err(|why| self.api.place.failed(why))?;
        let (finished, folder) = self.api.run(&statement, folder).await?;
        query.usage.note(finished.used);
        let files = self.files(&finished, &folder).await?;
        let kinds = columns.iter().map(|column| column.column().kind).collect();
        Ok(lake::rows(files, kinds, folder))
    }

    /// The files that a query wrote: those of its manifest, and where it has none, those that lie there. A query without rows
    /// writes no file.
    async fn files(&self, finished: &FinishedQuery, folder: &ResultFolder) -> Result<Vec<ResultFile>, Fault> {
        let listed = match &finished.manifest {
            Some(manifest) => self.s3.text(manifest).await?,
            None => None,
        };
        let locations = match listed {
            Some(text) => self.manifest(&text)?,
            None => self.s3.list(&folder.location().join(ROWS)).await?,
        };
        Ok(locations.into_iter().map(|location| ResultFile { location, rows: None }).collect())
    }

    /// A manifest has an address in each line.
    fn manifest(&self, text: &str) -> Result<Vec<S3Location>, Fault> {
        let lines = text.lines().map(|line| line.trim().trim_matches('"')).filter(|line| !line.is_empty());
        let read = |line: &str| {
            S3Location::parse(line).ok_or_else(|| {
                self.api.place.unreachable(format!("the manifest of a query has a line that is no address: {line}."))
            })
        };
        lines.map(read).collect()
    }
}

/// Where the files of a result lie in its folder. UNLOAD wants it empty.
const ROWS: &str = "rows/";

/// Who asks, as a comment: the history of queries shows it.
fn comment(label: &QueryLabel) -> String {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect::<String>();
    let (sync, run) = (plain(&label.sync), plain(&label.run));
    format!("/* app=sluicegate sync={sync} run={run} */").replace(" sync= ", " ").replace(" run= ", " ")
}

/// The filter in as many parts as the longest SQL makes of it: many long keys take several queries.
fn fitting(only: Option<&RowFilter>, model_bytes: usize) -> Vec<Option<RowFilter>> {
    let Some(RowFilter::Keys { columns, keys }) = only else { return vec![only.cloned()] };
    // A quarter is left for the columns and what else is written around model and keys.
    let room = (MAX_SQL_BYTES * 3 / 4).saturating_sub(model_bytes);
    let mut parts: Vec<Vec<Vec<String>>> = vec![Vec::new()];
    let mut taken = 0;
    for key in keys {
        // Quotes are doubled at worst; two, a comma and a blank go around each part.
        let bytes: usize = key.iter().map(|part| literal::quoted(part).len() + 4).sum();
        if taken + bytes > room && taken > 0 {
            parts.push(Vec::new());
            taken = 0;
        }
        taken += bytes;
        if let Some(part) = parts.last_mut() {
            part.push(key.clone());
        }
    }
    parts.into_iter().map(|keys| Some(RowFilter::Keys { columns: columns.clone(), keys })).collect()
}

/// The SQL to send. The columns are numbered: which names a file can have is another matter than which a query can.
fn unload(
    model: &str,
    only: Option<&RowFilter>,
    label: &QueryLabel,
    columns: &[AthenaColumn],
    folder: &S3Location,
) -> Result<Statement, String> {
    let selected: Vec<_> =
        columns.iter().enumerate().map(|(at, column)| format!("{} as c{at}", column.selected())).collect();
    let condition = match only {
        None => String::new(),
        Some(RowFilter::From { column, cell }) => {
            let (name, from) = (sql::identifier(column), literal::of_cell(column, cell)?);
            format!("where {name} >= {from} or {name} is null")
        }
        Some(RowFilter::Keys { columns, keys }) => {
            let text = |column: &str| format!("cast({} as varchar)", sql::identifier(column));
            format!("where {}", sql::any_key(columns, keys, text, literal::quoted))
        }
    };
    let target = literal::quoted(&folder.join(ROWS).to_string());
    // Within the brackets, the comment is part of the query and not of the command around it.
    let open = format!("UNLOAD (\n{}\n", comment(label));
    let close = format!("\n) TO {target} WITH (format = 'PARQUET', compression = 'SNAPPY')");
    Ok(sql::choosing(&selected.join(", "), model, &condition).within(&open, &close))
}
