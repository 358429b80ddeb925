//! Destinations: one file (or folder) each, and the registry that lists them.

pub mod http;
pub mod postgres;
mod sql;
pub mod sqlite;
pub mod webhook;

use domain::ports::DestinationEntry;

/// Every destination, in the order of their names.
pub const REGISTRY: &[&DestinationEntry] = &[&postgres::ENTRY, &sqlite::ENTRY, &webhook::ENTRY];

/// The entry of a connection's `type`.
pub fn find(name: &str) -> Option<&'static DestinationEntry> {
    REGISTRY.iter().copied().find(|e| e.name == name)
}
