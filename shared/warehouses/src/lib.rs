//! Warehouses: one file (or folder) each, and the registry that lists them.

use std::path::Path;
use std::sync::Arc;

use domain::config::SecretSource;
use domain::connection::{Connection, unknown_kind};
use domain::fault::Fault;
use domain::ports::{Clock, OpenArgs, Warehouse, WarehouseEntry};

mod arrow;
mod athena;
mod aws_json;
mod aws_login;
mod aws_sign;
mod bigquery;
mod databricks;
mod lake;
mod mysql;
mod parts;
mod postgres;
mod redshift;
mod relation;
mod settings;
mod snowflake;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod timed;
mod token;

/// Every warehouse, in the order of their names.
pub const REGISTRY: &[&WarehouseEntry] = &[
    &athena::ENTRY,
    &bigquery::ENTRY,
    &databricks::ENTRY,
    &mysql::ENTRY,
    &postgres::ENTRY,
    &redshift::ENTRY,
    &snowflake::ENTRY,
    #[cfg(feature = "sqlite")]
    &sqlite::ENTRY,
];

/// The entry of a connection's `type`.
pub fn find(name: &str) -> Option<&'static WarehouseEntry> {
    REGISTRY.iter().copied().find(|e| e.name == name)
}

/// Opens the connection `name`; relative paths begin at `folder`. Does not connect yet.
pub async fn open(
    name: &str,
    connection: &Connection,
    folder: &Path,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Warehouse>, Fault> {
    let known: Vec<&str> = REGISTRY.iter().map(|e| e.name).collect();
    let entry = find(&connection.kind).ok_or_else(|| unknown_kind(name, &connection.kind, "warehouse", &known))?;
    (entry.open)(OpenArgs { name, config: &connection.config, folder, secrets, clock }).await
}
