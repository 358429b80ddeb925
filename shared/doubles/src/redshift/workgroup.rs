//! What a workgroup is made of, and what goes wrong in it when it is told to.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::parquet::ParquetShape;
use crate::s3::SharedBuckets;
use crate::sql::{Database, SqlDialect, SqlResult};

/// A workgroup in memory.
pub struct RedshiftWorkgroup {
    pub name: String,
    pub access_key: String,
    pub secret_key: String,
    /// Its tables.
    pub database: Database,
    /// Rows of a page.
    pub page_rows: usize,
    /// A result with more rows is larger than the Data API gives out.
    pub result_rows: usize,
    /// Where UNLOAD writes, and the roles that it may be as.
    pub s3: Option<SharedBuckets>,
    pub roles: Vec<String>,
    /// Rows of a file and of a row group that UNLOAD writes.
    pub shape: ParquetShape,
    /// Times that a statement is still at work when it is asked about.
    pub polls: u32,
    pub(super) statements: BTreeMap<String, DescribedStatement>,
    pub(super) failures: Vec<(RedshiftStep, RedshiftFailure, u32)>,
    /// Bodies of statements that were executed, in order.
    pub executed: Vec<Value>,
    /// Statements that were cancelled.
    pub cancelled: Vec<String>,
    /// Pages that were asked for.
    pub pages: usize,
}

/// A statement that was executed.
pub(super) struct DescribedStatement {
    pub(super) waits: u32,
    pub(super) token: String,
    pub(super) outcome: Result<SqlResult, String>,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedshiftStep {
    Execute,
    Describe,
    Page,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum RedshiftFailure {
    /// A status, the exception's name and a message.
    Exception(u16, &'static str, &'static str),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The page says that it is the last one.
    LastPage,
}

impl RedshiftWorkgroup {
    /// A workgroup without tables.
    pub fn new(name: &str) -> rusqlite::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "planted-secret-key".into(),
            database: Database::new(SqlDialect::Redshift)?,
            page_rows: 1000,
            result_rows: usize::MAX,
            s3: None,
            roles: vec!["default".into()],
            shape: ParquetShape::default(),
            polls: 1,
            statements: BTreeMap::new(),
            failures: Vec::new(),
            executed: Vec::new(),
            cancelled: Vec::new(),
            pages: 0,
        })
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: RedshiftStep, failure: RedshiftFailure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: RedshiftStep) -> Option<RedshiftFailure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}
