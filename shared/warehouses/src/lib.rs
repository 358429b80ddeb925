//! Warehouses: one file (or folder) each, and the registry that lists them.

use domain::ports::WarehouseEntry;

mod postgres;
mod sql;
mod sqlite;

/// Every warehouse, in the order of their names.
pub const REGISTRY: &[&WarehouseEntry] = &[&postgres::ENTRY, &sqlite::ENTRY];

/// The entry of a connection's `type`.
pub fn find(name: &str) -> Option<&'static WarehouseEntry> {
    REGISTRY.iter().copied().find(|e| e.name == name)
}
