//! What a workspace is made of, and what goes wrong in it when it is told to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::sql::{Database, SqlDialect, SqlResult};

/// A workspace in memory.
pub struct DatabricksWorkspace {
    /// Its one SQL warehouse.
    pub warehouse: String,
    /// Access tokens that are good.
    pub tokens: BTreeSet<String>,
    /// A service principal: its client id and secret.
    pub principal: Option<(String, String)>,
    /// Tokens that were minted.
    pub minted: u32,
    /// Its tables.
    pub database: Database,
    /// Rows in a chunk.
    pub chunk_rows: usize,
    /// Times that a statement is still at work when it is asked about.
    pub polls: u32,
    /// Results are cut.
    pub truncates: bool,
    pub(super) statements: BTreeMap<String, ExecutedStatement>,
    pub(super) failures: Vec<(DatabricksStep, DatabricksFailure, u32)>,
    /// Links that were given out: they are good once each.
    pub(super) links: BTreeMap<String, (String, usize)>,
    /// Bodies of statements that were submitted, in order.
    pub submitted: Vec<Value>,
    /// Statements that were cancelled.
    pub cancelled: Vec<String>,
    /// Links that were asked for.
    pub linked: usize,
    /// Requests to the storage that carried a token: none may.
    pub tokens_shown: u32,
}

/// A statement that was submitted.
pub(super) struct ExecutedStatement {
    pub(super) waits: u32,
    pub(super) outcome: Result<SqlResult, String>,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabricksStep {
    Submit,
    Poll,
    /// Asking for the link of a chunk.
    Link,
    /// A chunk in the storage, by its number.
    Chunk(usize),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum DatabricksFailure {
    /// A status with a code and a message.
    Status(u16, &'static str, &'static str),
    /// A page of some gateway.
    Html(u16),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The link has ended, as the storage says it.
    Expired,
    /// The last rows are left out.
    RowsMissing,
}

impl DatabricksWorkspace {
    /// A workspace without tables.
    pub fn new(warehouse: &str) -> rusqlite::Result<Self> {
        Ok(Self {
            warehouse: warehouse.to_owned(),
            tokens: BTreeSet::new(),
            principal: None,
            minted: 0,
            database: Database::new(SqlDialect::Databricks)?,
            chunk_rows: 1000,
            polls: 1,
            truncates: false,
            statements: BTreeMap::new(),
            failures: Vec::new(),
            links: BTreeMap::new(),
            submitted: Vec::new(),
            cancelled: Vec::new(),
            linked: 0,
            tokens_shown: 0,
        })
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: DatabricksStep, failure: DatabricksFailure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: DatabricksStep) -> Option<DatabricksFailure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}
