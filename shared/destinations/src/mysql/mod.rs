//! A table in MySQL or MariaDB, such as the product's own database.
//!
//! - **What it writes**: rows of one table (`object: customers`, `object: shop.customers`); a field is a column. True and
//!   false are 1 and 0 in columns of numbers; moments are stored in UTC, fractions of a second as many digits as the column
//!   has; a UUID fills a `binary(16)`. A field that a record leaves out keeps what the row has; null clears it.
//! - **Auth**: user and password of the connection, TLS with the server's certificate verified by default. The user needs
//!   `select, insert, update` on the table, in mirror mode `delete`, in append mode `insert` only.
//! - **Modes**: upsert, update, append, mirror. A row is found by a unique index of exactly the identifier columns, as that
//!   index compares them, and only by it: another unique key that a record meets refuses the record and changes no other
//!   row (`on duplicate key update` would). A row that has the values already is not written.
//! - **Limits**: 1,000 records (`options.batch_size`) and 4 MiB in a batch, 4 batches at once, no rate.
//!   `statement_timeout` covers a request of many statements, `max_allowed_packet` of the server a record.
//! - **Per-record errors**: a batch is one transaction and a record one statement, many statements in one request. The session
//!   is strict whatever the server's default is; what MySQL would still change without a word (a fraction into a column of
//!   whole numbers, a number as the place in an enum, a time as a date) is refused here. A statement that fails is undone by
//!   itself and its record rejected with the kind of error; the others arrive. Identifiers that occur twice in a batch are
//!   rejected.
//! - **Idempotency**: upsert, update and delete can be repeated. Append is at least once: after a lost answer to a commit it
//!   meets its own rows where a unique index guards them, which `options.on_conflict: skip` passes over (`exists`) and
//!   `reject`, the default, rejects (`unique_violation`); without a unique index it writes them again.
//! - **API version and sources**: MySQL 5.7 or newer and MariaDB 10.4 or newer, tried with MariaDB; the manual on SQL modes,
//!   on out-of-range values and on error codes (dev.mysql.com/doc/refman/8.4/en, mariadb.com/kb).

mod ask;
mod classify;
mod encode;
mod look_up;
mod script;
mod table;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clients::DatabasePlace;
use clients::mysql::{MysqlConnected, MysqlConnector};
use domain::batch::WriteBatch;
use domain::config;
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::layout::Layout;
use domain::mode::Mode;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, OpenArgs, OpenFuture, PreflightRequest};
use domain::sync::Target;
use mysql_async::prelude::Queryable as _;

use crate::pool::{ConnectionPool, PooledConnection};
use crate::sql::{ObjectName, Options};
use table::{MysqlLookup, MysqlTable};
use write::MysqlWrite;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "mysql",
    about: "a table in MySQL or MariaDB",
    modes,
    open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

/// Settings of the connection: the same as for a warehouse.
pub use clients::mysql::MysqlConfig as Config;

const CONCURRENCY: usize = 4;

/// Locks on rows and not on the gaps between them: batches that go at once do not wait for each other's new rows.
const ISOLATION: &str = "set session transaction isolation level read committed";

fn modes(_: Mode) -> Result<(), &'static str> {
    Ok(())
}

fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let place = DatabasePlace::destination(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let connector = config.resolve(place, opening.folder, opening.secrets).await?;
        let (object, options) = (ObjectName::of(target)?, Options::of(target)?);
        let object =
            ObjectName { schema: Some(object.schema.unwrap_or_else(|| connector.database().to_owned())), ..object };
        Ok(Arc::new(MysqlDestination {
            connector,
            object,
            options,
            pool: ConnectionPool::new(CONCURRENCY),
            table: Mutex::default(),
        }) as Arc<dyn Destination>)
    })
}

/// A table as a destination.
struct MysqlDestination {
    connector: MysqlConnector,
    /// With its schema, which is what MySQL calls a database.
    object: ObjectName,
    options: Options,
    pool: ConnectionPool<MysqlConnected>,
    /// The table as it was last looked up.
    table: Mutex<Option<Arc<MysqlTable>>>,
}

impl MysqlDestination {
    async fn connect(&self) -> Result<MysqlConnected, Fault> {
        let mut connected = self.connector.connect().await?;
        connected.limit().await?;
        connected.conn.query_drop(ISOLATION).await.map_err(|e| self.connector.fault(&e, None))?;
        Ok(connected)
    }

    /// A connection in a new transaction. One that was closed while it lay idle is replaced: nothing was sent over it
    /// yet.
    async fn begun(&self) -> Result<PooledConnection<'_, MysqlConnected>, Fault> {
        loop {
            let mut lease = self.pool.lease(|_| false, async || self.connect().await).await?;
            match lease.connection.conn.query_drop("start transaction").await {
                Ok(()) => return Ok(lease),
                Err(_) if lease.reused => drop(lease),
                Err(error) => return Err(self.connector.fault(&error, None)),
            }
        }
    }

    /// Ends a transaction that only read.
    async fn end(&self, mut lease: PooledConnection<'_, MysqlConnected>) -> Result<(), Fault> {
        lease.connection.conn.query_drop("rollback").await.map_err(|e| self.connector.fault(&e, None))?;
        self.pool.give_back(lease);
        Ok(())
    }

    async fn look_up(&self, connection: &mut MysqlConnected) -> Result<MysqlLookup, Fault> {
        let found = look_up::find(&mut connection.conn, &self.object).await;
        let found = found.map_err(|e| self.connector.fault(&e, None))?;
        *lock(&self.table) = match &found {
            MysqlLookup::Table(table) => Some(table.clone()),
            MysqlLookup::Not(_) => None,
        };
        Ok(found)
    }

    /// The table as last looked up, looked up when it was not.
    async fn table(&self, connection: &mut MysqlConnected) -> Result<Arc<MysqlTable>, Fault> {
        let known = lock(&self.table).clone();
        match known {
            Some(table) => Ok(table),
            None => match self.look_up(connection).await? {
                MysqlLookup::Table(table) => Ok(table),
                MysqlLookup::Not(finding) => {
                    Err(Fault::new(Code::DestinationMisconfigured, format!("{}: {finding}.", self.connector.place())))
                }
            },
        }
    }

    async fn write_in(
        &self,
        connection: &mut MysqlConnected,
        batch: &WriteBatch<'_>,
    ) -> Result<Vec<Outcome>, WriteError> {
        let table = self.table(connection).await.map_err(write::batch_error)?;
        MysqlWrite { connection, table: &table, batch, on_conflict: self.options.on_conflict }.run().await
    }

    async fn preflight_in(
        &self,
        connection: &mut MysqlConnected,
        need: PreflightRequest<'_>,
    ) -> Result<DestinationSchema, Fault> {
        let table = match self.look_up(connection).await? {
            MysqlLookup::Table(table) => table,
            MysqlLookup::Not(finding) => {
                return Ok(DestinationSchema { findings: vec![finding], ..DestinationSchema::default() });
            }
        };
        let mut schema = table.schema(need);
        let missing = look_up::missing_privileges(&mut connection.conn, &table, need).await;
        schema.findings.extend(missing.map_err(|e| self.connector.fault(&e, None))?);
        Ok(schema)
    }
}

#[async_trait]
impl Destination for MysqlDestination {
    fn limits(&self) -> Limits {
        self.options.limits(CONCURRENCY)
    }

    async fn place(&self) -> Result<String, Fault> {
        let mut lease = self.begun().await?;
        let table = self.table(&mut lease.connection).await;
        self.end(lease).await?;
        let name = &table?.name;
        let database = name.schema.as_deref().unwrap_or_default();
        Ok(format!("{} of the database {database} at {}", name.table, self.connector.address()))
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let mut lease = self.begun().await?;
        let schema = self.preflight_in(&mut lease.connection, need).await?;
        self.end(lease).await?;
        Ok(schema)
    }

    async fn same_identity(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Vec<u32>, Fault> {
        let mut lease = self.begun().await?;
        let table = self.table(&mut lease.connection).await?;
        let same = ask::same_identity(&mut lease.connection, &table, layout, identifiers).await?;
        self.end(lease).await?;
        Ok(same)
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let mut lease = self.begun().await.map_err(write::batch_error)?;
        let written = self.write_in(&mut lease.connection, batch).await;
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
        let mut lease = self.begun().await?;
        let table = self.table(&mut lease.connection).await?;
        let agrees = ask::agrees(&mut lease.connection, &table, layout, records).await?;
        self.end(lease).await?;
        Ok(Some(agrees))
    }

    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let mut lease = self.begun().await?;
        let table = self.table(&mut lease.connection).await?;
        let records = ask::read(&mut lease.connection, &table, layout, identifiers).await?;
        self.end(lease).await?;
        Ok(Some(records))
    }
}

/// What the mutex holds is whole at any time, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
