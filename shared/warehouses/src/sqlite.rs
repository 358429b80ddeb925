//! What it reads: an SQLite database file on this machine: all of a model, rows from a cursor value on, or rows of
//!   one key.
//! Auth: none; the file must be readable.
//! Limits: one reader thread for each stream; a database that another process holds locked is waited for
//!   (`busy_timeout`).
//! Types: per value, so every column is `any`: integers, floats, text and bytes come as what they are stored as.
//!   SQLite has no booleans, dates or decimals.
//! Per-record errors: text that is not UTF-8 is an unreadable value and harms only records that map it.
//! Idempotency: reading changes nothing; the file is opened read-only and a stream is one read transaction.
//! API version and sources: SQLite 3 as bundled with rusqlite; <https://sqlite.org/c3ref/step.html>,
//!   <https://sqlite.org/c3ref/interrupt.html>, <https://sqlite.org/datatype3.html>.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use async_trait::async_trait;
use clients::sqlite::{SqliteConfig, SqliteFile};
use clients::{DatabasePlace, SentSql};
use domain::cells;
use domain::config;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, OpenArgs, OpenFuture, Query, RowFilter, RowStream, Warehouse, WarehouseEntry};
use domain::row::{Column, RowBatch};
use domain::value::{Type, Value};
use rusqlite::types::{Value as Owned, ValueRef};
use rusqlite::{Connection, InterruptHandle, params_from_iter};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::sql::{self, Dialect};

/// SQLite, as the registry lists it.
pub(crate) const ENTRY: WarehouseEntry = WarehouseEntry {
    name: "sqlite",
    about: "an SQLite database file",
    open,
    schema: || schemars::schema_for!(SqliteConfig),
};

/// Batches that wait for the reader.
const MAX_BATCHES_AHEAD: usize = 4;

struct SqliteWarehouse {
    file: SqliteFile,
}

fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: SqliteConfig = config::read(&place.to_string(), opening.config)?;
        Ok(Arc::new(SqliteWarehouse { file: config.file(place, opening.folder) }) as Arc<dyn Warehouse>)
    })
}

#[async_trait]
impl Warehouse for SqliteWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let (file, sql) = (self.file.clone(), query.sql.clone());
        blocking(&self.file.place, move || describe(&file, &sql)).await
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let file = self.file.clone();
        let connection = blocking(&self.file.place, move || file.open_read_only()).await?;
        let interrupt = connection.get_interrupt_handle();
        let (sender, receiver) = channel(MAX_BATCHES_AHEAD);
        let (file, query) = (self.file.clone(), query.clone());
        tokio::task::spawn_blocking(move || {
            let last = match read(&file, &connection, &query, &sender) {
                Ok(()) => Sending::End,
                Err(fault) => Sending::Fault(fault),
            };
            // Nobody listening is no error: the stream was dropped.
            let _ = sender.blocking_send(last);
        });
        Ok(Box::pin(SqliteRows { receiver, interrupt, place: self.file.place.clone(), ended: false }))
    }
}

/// Runs what blocks on a thread for such things.
async fn blocking<T: Send + 'static>(
    place: &DatabasePlace,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(broken(place, &e.to_string())))
}

fn broken(place: &DatabasePlace, why: &str) -> Fault {
    Fault::new(Code::Internal, format!("{place}: the reading thread broke off: {why}."))
}

fn describe(file: &SqliteFile, model: &str) -> Result<ModelSchema, Fault> {
    let model = sql::one_statement(model, Dialect::Sqlite).map_err(|why| file.place.failed(why))?;
    let connection = file.open_read_only()?;
    let statement = prepare(file, &connection, &sql::plain(model), model, 0)?;
    let columns: Vec<_> =
        statement.column_names().map(|name| Column { name: name.to_owned(), kind: Type::Any }).collect();
    Ok(ModelSchema { findings: sql::named_twice(&columns), columns, unreadable: Vec::new(), cost: None })
}

fn prepare<'c>(
    file: &SqliteFile,
    connection: &'c Connection,
    statement: &sql::Statement,
    model: &str,
    parameters: usize,
) -> Result<rusqlite::Statement<'c>, Fault> {
    let sent = SentSql { sql: model, before: statement.before };
    let prepared = connection.prepare(&statement.text).map_err(|e| file.fault(&e, Some(sent)))?;
    if !prepared.readonly() {
        return Err(file.place.failed("a model can only read, and this SQL writes."));
    }
    if prepared.parameter_count() != parameters {
        return Err(file.place.failed(
            "the SQL has a parameter (`?`, `:name`, `@name` or `$name`), and a model has none; write the value itself.",
        ));
    }
    Ok(prepared)
}

/// What goes through the channel. Without an explicit end, a thread that broke off would look like the last row.
enum Sending {
    Rows(RowBatch),
    Fault(Fault),
    End,
}

/// Steps through the model and hands on batches until the last row, an error, or nobody listens.
fn read(file: &SqliteFile, connection: &Connection, query: &Query, sender: &Sender<Sending>) -> Result<(), Fault> {
    let model = sql::one_statement(&query.sql, Dialect::Sqlite).map_err(|why| file.place.failed(why))?;
    let (statement, parameters) = statement(model, query.only.as_ref()).map_err(|why| file.place.failed(why))?;
    let failed = |e: rusqlite::Error| file.fault(&e, Some(SentSql { sql: model, before: statement.before }));
    connection.execute_batch("begin").map_err(failed)?;
    let mut prepared = prepare(file, connection, &statement, model, parameters.len())?;
    let columns = prepared.column_count();
    let mut batch = RowBatch::new(columns);
    let outcome = {
        let mut rows = prepared.query(params_from_iter(parameters)).map_err(failed)?;
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    for column in 0..columns {
                        batch.push(
                            row.get_ref(column).map_or(Value::Unreadable("a value that SQLite does not give"), value),
                        );
                    }
                }
                Ok(None) => break Ok(()),
                Err(e) => break Err(failed(e)),
            }
            if batch.is_full()
                && sender.blocking_send(Sending::Rows(std::mem::replace(&mut batch, RowBatch::new(columns)))).is_err()
            {
                return Ok(());
            }
        }
    };
    if !batch.is_empty() {
        let _ = sender.blocking_send(Sending::Rows(batch));
    }
    outcome
}

fn value(stored: ValueRef<'_>) -> Value<'_> {
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(v) => Value::Int(v),
        ValueRef::Real(v) => Value::Float(v),
        ValueRef::Text(v) => std::str::from_utf8(v).map_or(Value::Unreadable("text that is not UTF-8"), Value::Text),
        ValueRef::Blob(v) => Value::Bytes(v),
    }
}

/// The SQL to send and its parameters.
fn statement(model: &str, only: Option<&RowFilter>) -> Result<(sql::Statement, Vec<Owned>), String> {
    match only {
        None => Ok((sql::plain(model), Vec::new())),
        Some(RowFilter::From { column, cell }) => {
            let from = match cells::value(cell) {
                Value::Bool(v) => Owned::Integer(i64::from(v)),
                Value::Int(v) => Owned::Integer(v),
                Value::Float(v) => Owned::Real(v),
                Value::Decimal(v) => v.parse().map_or_else(|_| Owned::Text(v.to_owned()), Owned::Real),
                Value::Bytes(v) => Owned::Blob(v.to_vec()),
                v @ (Value::Text(_) | Value::Date(_) | Value::Time(_) | Value::DateTime(_) | Value::Timestamp(_)) => {
                    Owned::Text(v.to_text().into_owned())
                }
                v => {
                    return Err(format!(
                        "the cursor `{column}` cannot continue from a value of type {}.",
                        v.type_name()
                    ));
                }
            };
            Ok((sql::filtered(model, &format!("{0} >= ?1 or {0} is null", sql::identifier(column))), vec![from]))
        }
        Some(RowFilter::Keys { columns, keys }) => {
            let mut parameters = Vec::new();
            let parameter = |part: &str| {
                parameters.push(Owned::Text(part.to_owned()));
                format!("?{}", parameters.len())
            };
            let text = |column: &str| format!("cast({} as text)", sql::identifier(column));
            let condition = sql::any_key(columns, keys, text, parameter);
            Ok((sql::filtered(model, &condition), parameters))
        }
    }
}

/// The stream. Dropping it stops the statement: at once by the interrupt, and by the closed channel where the
/// thread is between two steps.
struct SqliteRows {
    receiver: Receiver<Sending>,
    interrupt: InterruptHandle,
    place: DatabasePlace,
    ended: bool,
}

impl futures_util::Stream for SqliteRows {
    type Item = Result<RowBatch, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = ready!(self.receiver.poll_recv(cx));
        self.ended = !matches!(received, Some(Sending::Rows(_)));
        Poll::Ready(match received {
            Some(Sending::Rows(batch)) => Some(Ok(batch)),
            Some(Sending::Fault(fault)) => Some(Err(fault)),
            Some(Sending::End) => None,
            None => Some(Err(broken(&self.place, "it ended without a word"))),
        })
    }
}

impl Drop for SqliteRows {
    fn drop(&mut self) {
        self.receiver.close();
        self.interrupt.interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_keep_their_type() {
        assert_eq!(value(ValueRef::Text("é".as_bytes())), Value::Text("é"));
        assert_eq!(value(ValueRef::Text(&[0xff])), Value::Unreadable("text that is not UTF-8"));
        assert_eq!(value(ValueRef::Blob(&[0xff])), Value::Bytes(&[0xff]));
        assert_eq!(value(ValueRef::Integer(1)), Value::Int(1));
    }

    #[test]
    fn conditions_are_parameters() {
        let mut cell = Vec::new();
        cells::push(&mut cell, Value::Date(0));
        let (statement, parameters) =
            statement("select 1", Some(&RowFilter::From { column: "d".into(), cell })).unwrap();
        assert!(statement.text.ends_with("where \"d\" >= ?1 or \"d\" is null"), "{}", statement.text);
        assert_eq!(parameters, [Owned::Text("1970-01-01".into())]);
    }

    #[test]
    fn a_cursor_without_a_value_is_refused() {
        let mut cell = Vec::new();
        cells::push(&mut cell, Value::Null);
        assert!(
            statement("select 1", Some(&RowFilter::From { column: "d".into(), cell }))
                .unwrap_err()
                .contains("type null")
        );
    }
}
