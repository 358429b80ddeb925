//! What it reads: MySQL 5.7 or newer and MariaDB 10.4 or newer, in the binary format of the wire: all of a model, rows from a
//!   cursor value on, or rows of some keys.
//! Auth: user and password; TLS, verified by default.
//! Limits: one connection for each stream. `statement_timeout` covers the statement (`max_execution_time`,
//!   `max_statement_time`).
//! Types: every number, decimal and time exactly as stored; `tinyint(1)` is a number, which becomes a bool where a field wants
//!   one; TIMESTAMP is a moment, DATETIME has no zone; JSON of MariaDB is text. Spatial types are refused before the run where
//!   the sync uses them. Per-record errors: dates of zeros and times beyond a day are unreadable values and harm only records
//!   that map them.
//! Idempotency: reading changes nothing; a stream is one read-only transaction with a consistent snapshot.
//! API version and sources: protocol 10; <https://dev.mysql.com/doc/refman/8.4/en/data-types.html>.

mod literal;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use clients::mysql::{MysqlConfig, MysqlConnected, MysqlConnector};
use clients::mysql_literal::{name, quoted};
use clients::{DatabasePlace, SentSql};
use domain::config;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, OpenArgs, OpenFuture, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::RowBatch;
use futures_util::stream::{self, StreamExt as _};
use mysql_async::prelude::Queryable as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::types::ColumnReader;
use crate::sql::{self, Dialect};

/// MySQL, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry =
    WarehouseEntry { name: "mysql", about: "MySQL and MariaDB", open, schema: || schemars::schema_for!(MysqlConfig) };

/// Batches that are read ahead of those who take them.
const MAX_BATCHES_AHEAD: usize = 4;

struct MysqlWarehouse {
    connector: MysqlConnector,
}

fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: MysqlConfig = config::read(&place.to_string(), opening.config)?;
        let connector = config.resolve(place, opening.folder, opening.secrets).await?;
        Ok(Arc::new(MysqlWarehouse { connector }) as Arc<dyn Warehouse>)
    })
}

#[async_trait]
impl Warehouse for MysqlWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        let mut connected = self.begin().await?;
        let prepared = self.prepare(&mut connected, model, &sql::plain(model)).await?;
        let readers: Vec<ColumnReader> = prepared.columns().iter().map(ColumnReader::of).collect();
        connected.close().await;
        let columns: Vec<_> = readers.iter().map(ColumnReader::column).collect();
        let unreadable = readers.iter().filter_map(ColumnReader::unreadable).collect();
        Ok(ModelSchema { findings: sql::named_twice(&columns), columns, unreadable, cost: None })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let sent = statement(model, query.only.as_ref()).map_err(|why| self.connector.place().failed(why))?;
        let mut connected = self.begin().await?;
        let prepared = self.prepare(&mut connected, model, &sent).await?;
        let id = connected.conn.id();
        let (sender, items) = mpsc::channel(MAX_BATCHES_AHEAD);
        let (connector, model, before) = (self.connector.clone(), model.to_owned(), sent.before);
        let task = tokio::spawn(async move {
            let last = match read(&mut connected, prepared, &model, before, &sender).await {
                Ok(()) => RowsItem::End,
                Err(fault) => RowsItem::Fault(fault),
            };
            // Nobody listening is no error: the stream was dropped.
            let _ = sender.send(last).await;
            connected.close().await;
        });
        let reading = MysqlRows { items, task, connector, id, ended: false };
        Ok(stream::unfold(reading, MysqlRows::next).boxed())
    }
}

impl MysqlWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Mysql).map_err(|why| self.connector.place().failed(why))
    }

    /// Connects and begins the one transaction of this connection.
    async fn begin(&self) -> Result<MysqlConnected, Fault> {
        let mut connected = self.connector.connect().await?;
        connected.limit().await?;
        for sql in [
            "set session transaction isolation level repeatable read",
            "start transaction with consistent snapshot, read only",
        ] {
            connected.conn.query_drop(sql).await.map_err(|e| self.connector.fault(&e, None))?;
        }
        Ok(connected)
    }

    async fn prepare(
        &self,
        connected: &mut MysqlConnected,
        model: &str,
        statement: &sql::Statement,
    ) -> Result<mysql_async::Statement, Fault> {
        let sent = SentSql { sql: model, before: statement.before };
        let prepared =
            connected.conn.prep(statement.text.as_str()).await.map_err(|e| self.connector.fault(&e, Some(sent)))?;
        let place = self.connector.place();
        if prepared.num_params() > 0 {
            return Err(place.failed("the SQL has a parameter (`?`), and a model has none; write the value itself."));
        }
        if prepared.num_columns() == 0 {
            return Err(place.failed("the SQL returns no columns; a model is a query that returns rows."));
        }
        Ok(prepared)
    }
}

/// What goes through the channel. Without an explicit end, a task that broke off would look like the last row.
enum RowsItem {
    Rows(RowBatch),
    Fault(Fault),
    End,
}

/// Reads rows and hands on batches until the last row, an error, or nobody listens.
async fn read(
    connected: &mut MysqlConnected,
    prepared: mysql_async::Statement,
    model: &str,
    before: usize,
    sender: &mpsc::Sender<RowsItem>,
) -> Result<(), Fault> {
    let connector = connected.connector().clone();
    let failed = |e: mysql_async::Error| connector.fault(&e, Some(SentSql { sql: model, before }));
    let readers: Vec<ColumnReader> = prepared.columns().iter().map(ColumnReader::of).collect();
    let mut rows = connected.conn.exec_iter(prepared, ()).await.map_err(failed)?;
    let mut batch = RowBatch::new(readers.len());
    let outcome = loop {
        match rows.next().await {
            Ok(Some(row)) => {
                for (at, reader) in readers.iter().enumerate() {
                    reader.push(row.as_ref(at), &mut batch);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(failed(error)),
        }
        if batch.is_full() {
            let full = std::mem::replace(&mut batch, RowBatch::new(readers.len()));
            if sender.send(RowsItem::Rows(full)).await.is_err() {
                return Ok(());
            }
        }
    };
    if !batch.is_empty() {
        let _ = sender.send(RowsItem::Rows(batch)).await;
    }
    outcome
}

/// The stream. Dropping it before its end stops the statement in the server.
struct MysqlRows {
    items: mpsc::Receiver<RowsItem>,
    task: JoinHandle<()>,
    connector: MysqlConnector,
    /// The connection's id at the server.
    id: u32,
    ended: bool,
}

impl MysqlRows {
    async fn next(mut self) -> Option<(Result<RowBatch, Fault>, Self)> {
        if self.ended {
            return None;
        }
        let item = self.items.recv().await;
        self.ended = !matches!(item, Some(RowsItem::Rows(_)));
        match item {
            Some(RowsItem::Rows(batch)) => Some((Ok(batch), self)),
            Some(RowsItem::Fault(fault)) => Some((Err(fault), self)),
            Some(RowsItem::End) => None,
            None => {
                let what = format!("{}: the reading task ended without a word.", self.connector.place());
                Some((Err(Fault::new(Code::Internal, what)), self))
            }
        }
    }
}

impl Drop for MysqlRows {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.task.abort();
        let (connector, id) = (self.connector.clone(), self.id);
        // Without a runtime there is nothing left to talk to the server with; it notices the closed connection.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(fault) = connector.kill(id).await {
                tracing::debug!(%fault, "a statement could not be stopped");
            }
        });
    }
}

/// The SQL to send.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<sql::Statement, String> {
    Ok(match only {
        None => sql::plain(model),
        Some(RowFilter::From { column, cell }) => {
            let (column, from) = (name(column), literal::of_cell(column, cell)?);
            sql::filtered(model, &format!("{column} >= {from} or {column} is null"))
        }
        Some(RowFilter::Keys { columns, keys }) => {
            // Most collations take `a` for `A`, and a key is one of them.
            let text = |column: &str| format!("cast({} as char) collate utf8mb4_bin", name(column));
            sql::filtered(model, &sql::any_key(columns, keys, text, quoted))
        }
    })
}
