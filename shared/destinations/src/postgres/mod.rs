//! A table in PostgreSQL, such as the product's own database.
//!
//! - **What it writes**: rows of one table (`object: public.customers`); a field is a column. Names are taken as
//!   they are written, with their case. Arrays take JSON arrays of one dimension. A field that a record leaves
//!   out keeps what the row has; null clears it.
//! - **Auth**: user and password of the connection, TLS with the server's certificate verified by default. The user
//!   needs `select, insert, update` on the table, in mirror mode `delete`, in append mode `insert` only.
//! - **Modes**: upsert, update, append, mirror. Upsert and update change a row only where something differs, and
//!   find it by a unique index of exactly the identifier columns; identifiers compare as the database compares them.
//! - **Limits**: 1,000 records (`options.batch_size`) and 4 MiB in a batch, 4 batches at once, no rate.
//! - **Per-record errors**: a batch is one transaction. A statement that fails on a value or a constraint (SQLSTATE
//!   classes 22 and 23, and what triggers raise) is halved under a savepoint until the record stands alone; it is
//!   rejected with the condition's name, and the others arrive. Identifiers that occur twice in a batch are rejected.
//! - **Idempotency**: upsert, update and delete can be repeated. Append is at least once: after a lost answer to a
//!   commit it meets its own rows where a unique index guards them, which `options.on_conflict: skip` passes over
//!   (`exists`) and `reject`, the default, rejects (`unique_violation`); without a unique index it writes them again.
//! - **API version and sources**: PostgreSQL 12 and newer, tried with 15; the manual on `INSERT … ON CONFLICT`, on the
//!   system catalogs and on error codes (postgresql.org/docs/current).

mod array;
mod classify;
mod encode;
mod statement;
mod table;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clients::DatabasePlace;
use clients::postgres::{Connected, Connector};
use domain::batch::WriteBatch;
use domain::cells::Cells;
use domain::config;
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::layout::Layout;
use domain::mode::Mode;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, OpenArgs, OpenFuture, PreflightRequest};
use domain::sync::Target;

use crate::pool::{ConnectionPool, PooledConnection};
use crate::sql::{ObjectName, Options};
use statement::StatementShape;
use table::{PostgresColumn, PostgresLookup, PostgresTable};
use write::PostgresWrite;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "postgres",
    about: "a table in PostgreSQL",
    modes,
    open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

/// Settings of the connection: the same as for a warehouse.
pub use clients::postgres::PostgresConfig as Config;

const CONCURRENCY: usize = 4;

fn modes(_: Mode) -> Result<(), &'static str> {
    Ok(())
}

fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let place = DatabasePlace::destination(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let connector = config.resolve(place, opening.folder, opening.secrets).await?;
        let (object, options) = (ObjectName::of(target)?, Options::of(target)?);
        Ok(Arc::new(PostgresDestination {
            connector,
            object,
            options,
            pool: ConnectionPool::new(CONCURRENCY),
            table: Mutex::default(),
        }) as Arc<dyn Destination>)
    })
}

/// A table as a destination.
struct PostgresDestination {
    connector: Connector,
    object: ObjectName,
    options: Options,
    pool: ConnectionPool<Connected>,
    /// The table as it was last looked up.
    table: Mutex<Option<Arc<PostgresTable>>>,
}

impl PostgresDestination {
    /// A connection in a new transaction. One that was closed while it lay idle is replaced: nothing was sent over it
    /// yet.
    async fn begun(&self) -> Result<PooledConnection<'_, Connected>, Fault> {
        loop {
            let lease = self.pool.lease(Connected::is_closed, async || self.connector.connect().await).await?;
            match write::begin(&lease.connection).await {
                Ok(()) => return Ok(lease),
                Err(_) if lease.reused => drop(lease),
                Err(error) => return Err(lease.connection.fault(&error, None)),
            }
        }
    }

    /// Ends a transaction that only read.
    async fn end(&self, lease: PooledConnection<'_, Connected>) -> Result<(), Fault> {
        lease.connection.client.batch_execute("rollback").await.map_err(|e| lease.connection.fault(&e, None))?;
        self.pool.give_back(lease);
        Ok(())
    }

    async fn look_up(&self, connection: &Connected) -> Result<PostgresLookup, Fault> {
        let found = table::find(connection, &self.object).await.map_err(|e| connection.fault(&e, None))?;
        *lock(&self.table) = match &found {
            PostgresLookup::Table(table) => Some(Arc::new(table.clone())),
            PostgresLookup::Not(_) => None,
        };
        Ok(found)
    }

    /// The table as last looked up, looked up when it was not.
    async fn table(&self, connection: &Connected) -> Result<Arc<PostgresTable>, Fault> {
        let known = lock(&self.table).clone();
        match known {
            Some(table) => Ok(table),
            None => match self.look_up(connection).await? {
                PostgresLookup::Table(table) => Ok(Arc::new(table)),
                PostgresLookup::Not(finding) => {
                    Err(Fault::new(Code::DestinationMisconfigured, format!("{}: {finding}.", connection.place())))
                }
            },
        }
    }

    async fn write_in(&self, connection: &Connected, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let table = self.table(connection).await.map_err(connecting)?;
        PostgresWrite { connection, table: &table, batch, on_conflict: self.options.on_conflict }.run().await
    }

    async fn read_in(
        &self,
        connection: &Connected,
        layout: &Layout,
        identifiers: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let table = self.table(connection).await?;
        let column = |name: &str| {
            table
                .column(name)
                .ok_or_else(|| connection.place().failed(format!("the table {} has no column `{name}`.", table.name)))
        };
        let keys: Vec<&PostgresColumn> =
            layout.identifiers().map(|(_, f)| column(&f.name)).collect::<Result<_, _>>()?;
        let columns: Vec<&PostgresColumn> =
            layout.fields().iter().map(|f| column(&f.name)).collect::<Result<_, _>>()?;
        let arrays = identifier_arrays(identifiers, keys.len());
        let statement =
            StatementShape { table: &table, columns: &keys, identifier: &vec![true; keys.len()] }.read(&columns);
        let mut records = vec![None; identifiers.len()];
        for row in connection
            .client
            .query_typed(&statement, &write::params(&arrays))
            .await
            .map_err(|e| connection.fault(&e, None))?
        {
            let mut cells = Vec::new();
            columns.iter().enumerate().for_each(|(at, column)| encode::push(&mut cells, row.get(at + 1), column));
            if let Some(slot) = records.get_mut(write::ordinal(&row)) {
                *slot = Some(cells);
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl Destination for PostgresDestination {
    fn limits(&self) -> Limits {
        self.options.limits(CONCURRENCY)
    }

    async fn place(&self) -> Result<String, Fault> {
        let lease = self.begun().await?;
        let table = self.table(&lease.connection).await;
        self.end(lease).await?;
        Ok(format!("{} of the database {} at {}", table?.name, self.connector.database(), self.connector.address()))
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let lease = self.begun().await?;
        let found = self.look_up(&lease.connection).await?;
        self.end(lease).await?;
        Ok(match found {
            PostgresLookup::Table(table) => table.schema(need),
            PostgresLookup::Not(finding) => {
                DestinationSchema { findings: vec![finding], ..DestinationSchema::default() }
            }
        })
    }

    async fn same_identity(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Vec<u32>, Fault> {
        let lease = self.begun().await?;
        let table = self.table(&lease.connection).await?;
        let each: Vec<u32> = (0..).take(identifiers.len()).collect();
        let Some(keys) =
            layout.identifiers().map(|(_, f)| table.column(&f.name)).collect::<Option<Vec<&PostgresColumn>>>()
        else {
            return Ok(each);
        };
        let statement = StatementShape { table: &table, columns: &keys, identifier: &vec![true; keys.len()] }.same();
        let arrays = identifier_arrays(identifiers, keys.len());
        let rows = lease.connection.client.query_typed(&statement, &write::params(&arrays)).await;
        self.end(lease).await?;
        let mut same = each;
        // One that is no value of its column is none there: its record is refused when it is written.
        for row in rows.unwrap_or_default() {
            if let Some(slot) = same.get_mut(write::ordinal(&row)) {
                *slot = u32::try_from(row.get::<_, i64>(1) - 1).unwrap_or_default();
            }
        }
        Ok(same)
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let lease = self.begun().await.map_err(connecting)?;
        let written = self.write_in(&lease.connection, batch).await;
        match &written {
            Ok(_) => self.pool.give_back(lease),
            // The table may have changed since it was looked up.
            Err(WriteError::Misconfigured { .. }) => *lock(&self.table) = None,
            Err(_) => {}
        }
        written
    }

    fn reads_back(&self) -> bool {
        true
    }

    async fn agrees(&self, layout: &Layout, records: &[Vec<u8>]) -> Result<Option<Vec<Vec<bool>>>, Fault> {
        let lease = self.begun().await?;
        let table = self.table(&lease.connection).await?;
        let Some(columns) =
            layout.fields().iter().map(|f| table.column(&f.name)).collect::<Option<Vec<&PostgresColumn>>>()
        else {
            return Ok(None);
        };
        let identifier: Vec<bool> = layout.fields().iter().map(|field| field.identifier).collect();
        let mut arrays: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(records.len()); columns.len()];
        for record in records {
            for ((value, column), array) in Cells(record).values().zip(&columns).zip(&mut arrays) {
                array.push(encode::text(value, Some(column)));
            }
        }
        let statement = StatementShape { table: &table, columns: &columns, identifier: &identifier }.agrees();
        let rows = lease.connection.client.query_typed(&statement, &write::params(&arrays)).await;
        self.end(lease).await?;
        // What the database cannot read as a value of its own it does not have.
        let Ok(rows) = rows else { return Ok(None) };
        let mut out = vec![vec![false; columns.len()]; records.len()];
        for row in rows {
            if let Some(fields) = out.get_mut(write::ordinal(&row)) {
                fields.iter_mut().enumerate().for_each(|(at, same)| *same = row.get(at + 1));
            }
        }
        Ok(Some(out))
    }

    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let lease = self.begun().await?;
        let records = self.read_in(&lease.connection, layout, identifiers).await?;
        self.end(lease).await?;
        Ok(Some(records))
    }
}

/// Identifiers column by column, as text.
fn identifier_arrays(identifiers: &[Vec<u8>], columns: usize) -> Vec<Vec<Option<String>>> {
    let mut arrays: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(identifiers.len()); columns];
    for identifier in identifiers {
        let mut values = Cells(identifier).values();
        arrays.iter_mut().for_each(|array| array.push(values.next().and_then(|value| encode::text(value, None))));
    }
    arrays
}

/// A fault of connecting, or of looking the table up, as the error of a batch.
fn connecting(fault: Fault) -> WriteError {
    match fault.code {
        Code::DestinationUnreachable => WriteError::Unavailable { after: None, detail: fault.what },
        Code::DestinationUnauthorized => WriteError::Unauthorized { detail: fault.what },
        _ => WriteError::Misconfigured { detail: fault.what },
    }
}

/// What the mutex holds is whole at any time, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
