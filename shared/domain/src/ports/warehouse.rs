//! Where rows come from.

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::fault::Fault;
use crate::finding::Finding;
use crate::row::{Column, RowBatch};
use crate::usage::UsageMeter;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The model's SQL.
    pub sql: String,
    /// Only rows where this holds.
    pub only: Option<RowFilter>,
    /// Who asks: a warehouse that labels statements labels them with it.
    pub label: QueryLabel,
    /// Where the warehouse notes what reading the rows used, as far as it says.
    pub usage: UsageMeter,
}

/// Who asks a warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryLabel {
    /// The sync.
    pub sync: String,
    /// The run; empty where there is none yet.
    pub run: String,
}

/// Most keys of a [`RowFilter::Keys`].
pub const MAX_KEYS: usize = 5000;

/// A condition on a model's rows.
#[derive(Debug, Clone, PartialEq)]
pub enum RowFilter {
    /// Rows whose column is at least this value, given as one canonical cell.
    From {
        /// The column.
        column: String,
        /// The value.
        cell: Vec<u8>,
    },
    /// Rows whose key columns, read as text by the warehouse, are one of these keys: at most [`MAX_KEYS`], in one
    /// statement.
    Keys {
        /// The key columns.
        columns: Vec<String>,
        /// Keys, each with as many parts as there are columns.
        keys: Vec<Vec<String>>,
    },
}

/// A model as the warehouse describes it without reading it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSchema {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// Columns named twice.
    pub findings: Vec<Finding>,
    /// Columns nobody can read, each with what to do; they harm only a sync that uses them.
    pub unreadable: Vec<(String, Finding)>,
    /// What a read of all of it costs, where the warehouse can say: `a full read scans 1.2 GB`.
    pub cost: Option<String>,
}

/// Rows in batches. Dropping the stream stops the statement in the warehouse.
pub type RowStream = BoxStream<'static, Result<RowBatch, Fault>>;

/// A source of rows.
#[async_trait]
pub trait Warehouse: Send + Sync {
    /// Connects, and describes the model's columns without running it.
    /// Faults: `WarehouseUnreachable`, `WarehouseDenied`, `ModelFailed` (with the position in the SQL where known).
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault>;

    /// Runs the model in one read-only snapshot and streams its rows, columns in the order of `describe`.
    /// Faults come as the stream's last item: `ModelFailed`, `ModelTimeout`, `WarehouseUnreachable`.
    async fn rows(&self, query: &Query) -> Result<RowStream, Fault>;

    /// The version of what the model reads, asked without reading it: a text that is another one whenever the rows may
    /// have changed. `None` where that cannot be said for certain: the model is more than columns of one table, or the
    /// warehouse keeps no such version.
    async fn version(&self, query: &Query) -> Result<Option<String>, Fault> {
        let _ = query;
        Ok(None)
    }
}
