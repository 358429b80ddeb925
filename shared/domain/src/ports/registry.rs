//! The kinds of connections there are, and how one is opened.

use std::sync::Arc;

use crate::config::SecretSource;
use crate::fault::Fault;
use crate::mode::Mode;
use crate::sync::Target;

use super::{Clock, Destination, Warehouse};

/// What opening a connection needs.
#[derive(Clone, Copy)]
pub struct OpenArgs<'a> {
    /// The connection's name, for messages.
    pub name: &'a str,
    /// The connection's settings, without `type`.
    pub config: &'a serde_json::Value,
    /// The folder that relative paths begin at.
    pub folder: &'a std::path::Path,
    /// Where references to secrets lead.
    pub secrets: &'a dyn SecretSource,
    /// The time that quotas, tokens and signatures go by: the engine's own clock.
    pub clock: &'a Arc<dyn Clock>,
}

/// A future that opens a connection.
pub type OpenFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<Arc<T>, Fault>> + Send + 'a>>;

/// One kind of warehouse, as the registry lists it.
pub struct WarehouseEntry {
    /// The connection's `type`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Opens a connection. Does not connect yet.
    pub open: for<'a> fn(OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse>,
    /// JSON Schema of its settings.
    pub schema: fn() -> schemars::Schema,
}

/// One kind of destination, as the registry lists it.
pub struct DestinationEntry {
    /// The connection's `type`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// For each mode whether it can be honoured, else the reason why not.
    pub modes: fn(Mode) -> Result<(), &'static str>,
    /// Opens a connection for one sync's target. Does not connect yet.
    pub open: for<'a> fn(OpenArgs<'a>, &'a Target) -> OpenFuture<'a, dyn Destination>,
    /// JSON Schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// JSON Schema of a sync's `destination.options`.
    pub options_schema: fn() -> schemars::Schema,
}
