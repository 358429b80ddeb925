//! Destinations: one file (or folder) each, and the registry that lists them.

pub mod alerts;
pub mod hubspot;
pub mod mysql;
mod pool;
pub mod postgres;
pub mod salesforce;
pub mod slack;
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod template;
pub mod webhook;

use std::path::Path;
use std::sync::Arc;

use domain::config::SecretSource;
use domain::connection::{Connection, unknown_kind};
use domain::fault::{Code, Fault};
use domain::mode::Mode;
use domain::ports::{Clock, Destination, DestinationEntry, OpenArgs};
use domain::sync::Sync;

/// Every destination, in the order of their names.
pub const REGISTRY: &[&DestinationEntry] = &[
    &hubspot::ENTRY,
    &mysql::ENTRY,
    &postgres::ENTRY,
    &salesforce::ENTRY,
    &slack::ENTRY,
    #[cfg(feature = "sqlite")]
    &sqlite::ENTRY,
    &webhook::ENTRY,
];

/// The entry of a connection's `type`.
pub fn find(name: &str) -> Option<&'static DestinationEntry> {
    REGISTRY.iter().copied().find(|e| e.name == name)
}

/// Opens the connection of a sync's destination; relative paths begin at `folder`. Does not connect yet.
/// Refuses a mode that the destination cannot honour.
pub async fn open(
    sync: &Sync,
    connection: &Connection,
    folder: &Path,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Destination>, Fault> {
    let name = &sync.destination.connection;
    let known: Vec<&str> = REGISTRY.iter().map(|e| e.name).collect();
    let entry = find(&connection.kind).ok_or_else(|| unknown_kind(name, &connection.kind, "destination", &known))?;
    if let Err(reason) = (entry.modes)(sync.mode) {
        let modes: Vec<_> = Mode::ALL.iter().filter(|m| (entry.modes)(**m).is_ok()).map(|m| m.name()).collect();
        let what = format!(
            "Sync `{}` has mode {}, which a {} destination cannot honour: {reason}.",
            sync.name, sync.mode, entry.name
        );
        return Err(Fault::new(Code::SyncInvalid, what).with_next(format!("use one of {}", modes.join(", "))));
    }
    (entry.open)(OpenArgs { name, config: &connection.config, folder, secrets, clock }, &sync.destination).await
}
