//! What a project is made of, and what goes wrong in it when it is told to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::sql::{Database, SqlDialect, SqlResult};

/// A project in memory.
pub struct BigQueryProject {
    /// Its id.
    pub id: String,
    /// Service accounts by address: the public key of each, as PKCS#1 DER.
    pub accounts: BTreeMap<String, Vec<u8>>,
    /// Access tokens that are good; none is asked for while this is empty.
    pub tokens: BTreeSet<String>,
    /// Tokens that were minted.
    pub minted: u32,
    /// What a workload identity is let in for: the audience, and the service account that it may act as.
    pub federation: Option<(String, String)>,
    /// The last subject token of a workload identity, decoded.
    pub subject: Option<Value>,
    /// Its tables.
    pub database: Database,
    /// Times that a query is not done when it is asked about.
    pub polls: u32,
    /// Most rows of a page, whatever is asked for.
    pub page_rows: usize,
    /// Bytes that every query is said to read.
    pub bytes: u64,
    /// Rows are streaming into its tables.
    pub streaming: bool,
    /// Most streams of a read session, whatever is asked for.
    pub streams: usize,
    /// The identity may create read sessions.
    pub reads_sessions: bool,
    /// Streams that were begun to be read: the number of each, and the row that it was to go on from.
    pub begun_streams: Vec<(usize, usize)>,
    /// Read sessions by name, each with the job whose result it reads and the number of its streams.
    pub(super) sessions: BTreeMap<String, ReadSessionRecord>,
    pub(super) jobs: BTreeMap<String, JobRecord>,
    pub(super) failures: Vec<(BigQueryStep, BigQueryFailure, u32)>,
    /// Bodies of queries that were begun, in order.
    pub begun: Vec<Value>,
    /// Jobs that were cancelled.
    pub cancelled: Vec<String>,
}

/// A query that was begun.
pub(super) struct JobRecord {
    pub(super) waits: u32,
    pub(super) outcome: Result<SqlResult, (u16, &'static str, String)>,
    /// The request that began it.
    pub(super) request: String,
}

/// A read session that was created.
pub(super) struct ReadSessionRecord {
    pub(super) job: String,
    pub(super) streams: usize,
    /// Batches are compressed (LZ4).
    pub(super) compressed: bool,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BigQueryStep {
    Query,
    Page,
    /// Creating a read session.
    Session,
    /// Reading a stream of a session, by its number.
    Rows(usize),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum BigQueryFailure {
    /// A status with a reason and a message.
    Status(u16, &'static str, &'static str),
    /// A page of some gateway.
    Html(u16),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The page has no rows.
    Empty,
    /// A status of gRPC and its message, after so many messages.
    Grpc(usize, i32, &'static str),
    /// A stream ends well, without its last rows.
    RowsMissing,
}

impl BigQueryProject {
    /// A project without tables that lets everybody in.
    pub fn new(id: &str) -> rusqlite::Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            accounts: BTreeMap::new(),
            tokens: BTreeSet::new(),
            minted: 0,
            federation: None,
            subject: None,
            database: Database::new(SqlDialect::BigQuery)?,
            polls: 1,
            page_rows: 1000,
            bytes: 12_345_678,
            streaming: false,
            streams: 4,
            reads_sessions: true,
            begun_streams: Vec::new(),
            sessions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            failures: Vec::new(),
            begun: Vec::new(),
            cancelled: Vec::new(),
        })
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: BigQueryStep, failure: BigQueryFailure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: BigQueryStep) -> Option<BigQueryFailure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}
