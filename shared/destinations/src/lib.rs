//! Destinations: one file (or folder) each, and the registry that lists them.

pub mod http;
pub mod webhook;

use domain::ports::DestinationEntry;

/// Every destination, in the order of their names.
pub const REGISTRY: &[&DestinationEntry] = &[&webhook::ENTRY];

/// The entry of a connection's `type`.
pub fn find(name: &str) -> Option<&'static DestinationEntry> {
    REGISTRY.iter().copied().find(|e| e.name == name)
}
