//! What it reads: PostgreSQL 12 or newer (and what speaks its protocol), in the binary format of the wire: all of a
//!   model, rows from a cursor value on, or rows of one key.
//! Auth: user and password (SCRAM), or whatever the server's `pg_hba.conf` lets in; TLS with the system's
//!   certificates or `ca_file`.
//! Limits: one connection for each stream. `statement_timeout` covers the whole of a read, the time we take for
//!   the rows included.
//! Types: every number, decimal and time exactly as stored. Arrays come as JSON; intervals, times with a zone and
//! network addresses as text. Composites, ranges, geometry, `money` and other types are refused before the run where
//! the sync uses them. Per-record errors: NaN, `infinity` and text that is not UTF-8 are unreadable values and harm
//! only records that
//!   map them.
//! Idempotency: reading changes nothing; a stream is one `repeatable read read only` transaction.
//! API version and sources: protocol 3.0; <https://www.postgresql.org/docs/current/protocol-message-formats.html>;
//!   the binary forms are those of the server's `*_send` functions.

pub(crate) mod decode;
mod json_array;
mod literal;
mod text;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use clients::postgres::{Connected, Connector, PostgresConfig};
use clients::{DatabasePlace, SentSql};
use domain::config;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::ports::{ModelSchema, OpenArgs, OpenFuture, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::{Column, RowBatch};
use domain::value::{Type, Value};
use futures_util::stream::{self, StreamExt as _};
use tokio_postgres::types::{ToSql, Type as PgType};

use crate::sql::{self, Dialect};
use decode::{Decoder, Scratch, Wire};

/// PostgreSQL, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry =
    WarehouseEntry { name: "postgres", about: "PostgreSQL", open, schema: || schemars::schema_for!(PostgresConfig) };

struct PostgresWarehouse {
    connector: Connector,
}

fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: PostgresConfig = config::read(&place.to_string(), opening.config)?;
        let connector = config.resolve(place, opening.folder, opening.secrets).await?;
        Ok(Arc::new(PostgresWarehouse { connector }) as Arc<dyn Warehouse>)
    })
}

#[async_trait]
impl Warehouse for PostgresWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        let connected = self.begin().await?;
        let statement = prepare(&connected, model, &sql::plain(model)).await?;
        let described = describe(statement.columns());
        connected.close().await;
        Ok(described)
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let sent = statement(model, query.only.as_ref()).map_err(|why| self.connector.place().failed(why))?;
        let connected = self.begin().await?;
        let prepared = prepare(&connected, model, &sent).await?;
        let decoders: Vec<_> =
            prepared.columns().iter().map(|c| types::decoder(c.type_()).unwrap_or(Decoder::Unsupported)).collect();
        let nothing: [&(dyn ToSql + Sync); 0] = [];
        let rows = connected
            .client
            .query_raw(&prepared, nothing)
            .await
            .map_err(|e| connected.fault(&e, Some(SentSql { sql: model, before: sent.before })))?;
        let reading = Reading {
            rows: Box::pin(rows),
            decoders,
            scratch: Scratch::default(),
            connected: Some(connected),
            model: model.to_owned(),
            before: sent.before,
            last: None,
        };
        Ok(stream::unfold(reading, Reading::next).boxed())
    }
}

impl PostgresWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Postgres).map_err(|why| self.connector.place().failed(why))
    }

    /// Connects and begins the one transaction of this connection.
    async fn begin(&self) -> Result<Connected, Fault> {
        let connected = self.connector.connect().await?;
        let timeout = connected.statement_timeout().as_millis();
        let begin = format!("begin isolation level repeatable read read only; set local statement_timeout = {timeout}");
        connected.client.batch_execute(&begin).await.map_err(|e| connected.fault(&e, None))?;
        Ok(connected)
    }
}

async fn prepare(
    connected: &Connected,
    model: &str,
    statement: &sql::Statement,
) -> Result<tokio_postgres::Statement, Fault> {
    let sent = SentSql { sql: model, before: statement.before };
    let prepared = connected.client.prepare(&statement.text).await.map_err(|e| connected.fault(&e, Some(sent)))?;
    let place = connected.place();
    if !prepared.params().is_empty() {
        return Err(place.failed("the SQL has a parameter (`$1`), and a model has none; write the value itself."));
    }
    if prepared.columns().is_empty() {
        return Err(place.failed("the SQL returns no columns; a model is a query that returns rows."));
    }
    Ok(prepared)
}

fn describe(columns: &[tokio_postgres::Column]) -> ModelSchema {
    let mut unreadable = Vec::new();
    let mut described = Vec::with_capacity(columns.len());
    for column in columns {
        let kind = types::decoder(column.type_()).map_or(Type::Any, |decoder| decoder.kind());
        if types::decoder(column.type_()).is_none() {
            let name = column.name();
            let what = format!("the column `{name}` is of type {}, which cannot be read", column.type_().name());
            // The text of an amount has a sign and separators, by the server's locale.
            let cast = if *column.type_() == PgType::MONEY { "numeric" } else { "text" };
            let fix = format!("cast it in the model: {name}::{cast}");
            unreadable.push((name.to_owned(), Finding::error("model", what, fix)));
        }
        described.push(Column { name: column.name().to_owned(), kind });
    }
    ModelSchema { findings: sql::named_twice(&described), columns: described, unreadable, cost: None }
}

/// The SQL to send.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<sql::Statement, String> {
    Ok(match only {
        None => sql::plain(model),
        Some(RowFilter::From { column, cell }) => sql::filtered(
            model,
            &format!("{0} >= {1} or {0} is null", sql::identifier(column), literal::of_cell(column, cell)?),
        ),
        Some(RowFilter::Keys { columns, keys }) => {
            let text = |column: &str| format!("cast({} as text)", sql::identifier(column));
            sql::filtered(model, &sql::any_key(columns, keys, text, literal::quoted))
        }
    })
}

/// A read under way. Dropping it before its end stops the statement in the server.
struct Reading {
    rows: std::pin::Pin<Box<tokio_postgres::RowStream>>,
    decoders: Vec<Decoder>,
    scratch: Scratch,
    /// Gone when the read has ended.
    connected: Option<Connected>,
    model: String,
    before: usize,
    /// What is still to be told after the last rows.
    last: Option<Fault>,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<RowBatch, Fault>, Self)> {
        if let Some(fault) = self.last.take() {
            return Some((Err(fault), self));
        }
        self.connected.as_ref()?;
        let mut batch = RowBatch::new(self.decoders.len());
        while !batch.is_full() {
            match self.rows.next().await {
                Some(Ok(row)) => self.push(&row, &mut batch),
                Some(Err(error)) => {
                    self.last = self
                        .connected
                        .as_ref()
                        .map(|c| c.fault(&error, Some(SentSql { sql: &self.model, before: self.before })));
                    self.close().await;
                    break;
                }
                None => {
                    self.close().await;
                    break;
                }
            }
        }
        if !batch.is_empty() {
            return Some((Ok(batch), self));
        }
        self.last.take().map(|fault| (Err(fault), self))
    }

    fn push(&mut self, row: &tokio_postgres::Row, batch: &mut RowBatch) {
        for (index, decoder) in self.decoders.iter().enumerate() {
            // Taking the bytes of a column that exists cannot fail.
            let value = match row.try_get::<_, Option<Wire<'_>>>(index) {
                Ok(Some(Wire(bytes))) => decode::value(decoder, bytes, &mut self.scratch),
                Ok(None) => Value::Null,
                Err(_) => decode::MALFORMED,
            };
            batch.push(value);
        }
    }

    async fn close(&mut self) {
        if let Some(connected) = self.connected.take() {
            connected.close().await;
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some(connected) = self.connected.take() else { return };
        // Without a runtime there is nothing left to talk to the server with; it notices the closed connection.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(fault) = connected.cancel().await {
                tracing::debug!(%fault, "a statement could not be cancelled");
            }
            connected.close().await;
        });
    }
}
