//! What a workgroup is made of, and what goes wrong in it when it is told to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::parquet::ParquetShape;
use crate::s3::SharedBuckets;
use crate::sql::{Database, SqlDialect, SqlResult};

/// A workgroup in memory.
pub struct AthenaWorkgroup {
    pub name: String,
    pub access_key: String,
    pub secret_key: String,
    /// Its tables.
    pub database: Database,
    /// Those of them that are Iceberg tables.
    pub iceberg: BTreeSet<String>,
    /// Where results are written.
    pub s3: SharedBuckets,
    /// Rows of a file and of a row group.
    pub shape: ParquetShape,
    /// Where the workgroup has results of queries written, whatever a request says.
    pub enforced_output: Option<String>,
    /// An attempt that failed left a file that no manifest lists.
    pub leaves_orphans: bool,
    /// A query without rows has no manifest.
    pub omits_empty_manifests: bool,
    /// Times that a query is still at work when it is asked about.
    pub polls: u32,
    pub(super) queries: BTreeMap<String, StartedQuery>,
    pub(super) failures: Vec<(AthenaStep, AthenaFailure, u32)>,
    /// Bodies of queries that were started, in order.
    pub started: Vec<Value>,
    /// Queries that were stopped.
    pub stopped: Vec<String>,
}

/// A query that was started.
pub(super) struct StartedQuery {
    pub(super) waits: u32,
    pub(super) token: String,
    pub(super) body: Value,
    pub(super) outcome: Result<QueryOutcome, String>,
    /// Once it has ended: its state, why, the category of its error and whether it passes.
    pub(super) ended: Option<(&'static str, String, u8, bool)>,
}

/// What a query gives.
pub(super) struct QueryOutcome {
    pub(super) result: SqlResult,
    /// Where UNLOAD writes the rows.
    pub(super) target: Option<String>,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AthenaStep {
    Start,
    Poll,
    /// When a query would end.
    End,
    Results,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum AthenaFailure {
    /// A status, the exception's name and a message.
    Exception(u16, &'static str, &'static str),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The query ends in this state, with a reason, the category of its error, and whether it passes.
    Ends(&'static str, &'static str, u8, bool),
}

impl AthenaWorkgroup {
    /// A workgroup without tables.
    pub fn new(name: &str, s3: SharedBuckets) -> rusqlite::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "planted-secret-key".into(),
            database: Database::new(SqlDialect::Athena)?,
            iceberg: BTreeSet::new(),
            s3,
            shape: ParquetShape::default(),
            enforced_output: None,
            leaves_orphans: false,
            omits_empty_manifests: false,
            polls: 2,
            queries: BTreeMap::new(),
            failures: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
        })
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: AthenaStep, failure: AthenaFailure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: AthenaStep) -> Option<AthenaFailure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}
