//! A table in an SQLite database: an application's own file, or a place to try things.
//!
//! - **What it writes**: rows of one table (`object: customers`); a field is a column. True and false are 1 and 0;
//!   dates and times ISO 8601 text; documents and UUIDs text; bytes a blob; a decimal is text, or a number where the
//!   column's affinity is numeric and the number holds every digit. A field that a record leaves out keeps what the
//!   row has; null clears it.
//! - **Auth**: none; the file must be writable. Its journal mode is its owner's and stays as it is.
//! - **Modes**: upsert, update, append, mirror. A row is found by a unique index of exactly the identifier columns,
//!   with that index's collation, and changed only where something differs. Whether it is there is asked first, within
//!   the same write transaction: that tells created from updated.
//! - **Limits**: 1,000 records (`options.batch_size`) and 4 MiB in a batch, one batch at once, no rate.
//! - **Per-record errors**: a batch is one transaction and a record one statement. A statement that breaks a
//!   constraint, or the type of a strict table, is undone by itself and its record rejected with the kind of
//!   constraint; the others arrive. Only a foreign key that is deferred shows at the commit, and refuses the batch.
//!   Identifiers that occur twice in a batch are rejected.
//! - **Idempotency**: upsert, update and delete can be repeated. Append is at least once: after a crash between the
//!   commit and its record it meets its own rows where a unique index guards them, which `options.on_conflict: skip`
//!   passes over (`exists`) and `reject`, the default, rejects (`unique_violation`); without a unique index it writes
//!   them again.
//! - **API version and sources**: SQLite 3, compiled in; sqlite.org/lang_conflict.html, datatype3.html, rescode.html.

mod classify;
mod encode;
mod table;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clients::DatabasePlace;
use clients::sqlite::SqliteFile;
use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::Cells;
use domain::config;
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::layout::Layout;
use domain::mode::Mode;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, OpenArgs, OpenFuture, PreflightRequest};
use domain::sync::Target;
use rusqlite::Connection;

use crate::sql::{ObjectName, Options};
use table::{SqliteLookup, SqliteTable};
use write::SqliteWrite;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "sqlite",
    about: "a table in an SQLite database file",
    modes,
    open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

/// Settings of the connection: the same as for a warehouse.
pub use clients::sqlite::SqliteConfig as Config;

fn modes(_: Mode) -> Result<(), &'static str> {
    Ok(())
}

fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let place = DatabasePlace::destination(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let file = config.file(place, opening.folder);
        let (object, options) = (ObjectName::of(target)?, Options::of(target)?);
        Ok(
            Arc::new(SqliteDestination {
                inner: Arc::new(OpenSqlite { file, object, options, open: Mutex::default() }),
            }) as Arc<dyn Destination>,
        )
    })
}

/// A table as a destination.
struct SqliteDestination {
    inner: Arc<OpenSqlite>,
}

struct OpenSqlite {
    file: SqliteFile,
    object: ObjectName,
    options: Options,
    /// The connection, opened when it is first needed. One writer at a time is all that SQLite has.
    open: Mutex<Option<Connection>>,
}

/// A batch with its bytes, so that it can go to a thread where blocking is allowed.
struct OwnedBatch {
    sync: String,
    op: domain::mode::Op,
    layout: Layout,
    records: Vec<Vec<u8>>,
}

impl OpenSqlite {
    /// Runs `work` on the connection. After an error the connection is closed and opened anew next time.
    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match open.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let done = work(&connection)?;
        *open = Some(connection);
        Ok(done)
    }

    fn connect(&self) -> Result<Connection, Fault> {
        let connection = self.file.open_read_write()?;
        let failed = |e: rusqlite::Error| self.file.fault(&e, None);
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        Ok(connection)
    }

    fn table(&self, connection: &Connection) -> Result<SqliteTable, Fault> {
        match table::find(connection, &self.object).map_err(|e| self.file.fault(&e, None))? {
            SqliteLookup::Table(table) => Ok(table),
            SqliteLookup::Not(finding) => {
                Err(Fault::new(Code::DestinationMisconfigured, format!("{}: {finding}.", self.file.place)))
            }
        }
    }

    fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        self.with(|connection| {
            let found = table::find(connection, &self.object).map_err(|e| self.file.fault(&e, None))?;
            Ok(match found {
                SqliteLookup::Table(table) => table.schema(need),
                SqliteLookup::Not(finding) => {
                    DestinationSchema { findings: vec![finding], ..DestinationSchema::default() }
                }
            })
        })
    }

    fn write(&self, batch: &OwnedBatch) -> Result<Vec<Outcome>, WriteError> {
        // Only the fields are written; what else a record has is the engine's.
        let record = |fields| BatchRecord {
            hash: KeyHash([0; 12]),
            checksum: 0,
            revision: 0,
            had_failure: false,
            record_id: None,
            key: Cells(&[]),
            fields: Cells(fields),
        };
        let records: Vec<BatchRecord<'_>> = batch.records.iter().map(|fields| record(fields)).collect();
        let batch = WriteBatch { sync: &batch.sync, op: batch.op, layout: &batch.layout, records: &records };
        let written = self.with(|connection| {
            let table = self.table(connection)?;
            Ok(SqliteWrite {
                connection,
                file: &self.file,
                table: &table,
                batch: &batch,
                on_conflict: self.options.on_conflict,
            }
            .run())
        });
        written.unwrap_or_else(|fault| Err(write::batch_error(fault)))
    }
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(
    inner: &Arc<OpenSqlite>,
    work: impl FnOnce(&OpenSqlite) -> T + Send + 'static,
) -> Result<T, Fault> {
    let inner = inner.clone();
    tokio::task::spawn_blocking(move || work(&inner))
        .await
        .map_err(|e| Fault::new(Code::Internal, format!("the thread that writes to SQLite ended: {e}")))
}

#[async_trait]
impl Destination for SqliteDestination {
    fn limits(&self) -> Limits {
        self.inner.options.limits(1)
    }

    async fn place(&self) -> Result<String, Fault> {
        // Names of tables are the same in capitals.
        blocking(&self.inner, |inner| {
            format!("{} of the file {}", inner.object.table.to_ascii_lowercase(), inner.file.identity())
        })
        .await
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let (mode, fields) = (need.mode, need.fields.to_vec());
        blocking(&self.inner, move |inner| inner.preflight(PreflightRequest { mode, fields: &fields })).await?
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let records = batch.records.iter().map(|r| r.fields.bytes().to_vec()).collect();
        let owned = OwnedBatch { sync: batch.sync.to_owned(), op: batch.op, layout: batch.layout.clone(), records };
        let written = blocking(&self.inner, move |inner| inner.write(&owned)).await;
        written.unwrap_or_else(|fault| Err(WriteError::Unavailable { after: None, detail: fault.what }))
    }

    fn reads_back(&self) -> bool {
        true
    }

    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let (layout, identifiers) = (layout.clone(), identifiers.to_vec());
        let read = move |inner: &OpenSqlite| {
            inner.with(|connection| {
                write::read(connection, &inner.file, &inner.table(connection)?, &layout, &identifiers)
            })
        };
        blocking(&self.inner, read).await?.map(Some)
    }
}
