//! What an account is made of, and what goes wrong in it when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::sql::{Database, SqlDialect, SqlResult};

/// An account in memory.
pub struct SnowflakeAccount {
    /// Its identifier, in capitals, without a region.
    pub(super) name: String,
    /// Users by name, in capitals: the public key of each, as PKCS#1 DER.
    pub(super) users: BTreeMap<String, Vec<u8>>,
    /// Programmatic access tokens.
    pub tokens: BTreeSet<String>,
    /// Access tokens of OAuth: those that were given, and those that were minted.
    pub oauth_tokens: BTreeSet<String>,
    /// The client that may mint tokens: its id, its secret, and the refresh token where there is one.
    pub oauth_client: Option<(String, String, Option<String>)>,
    /// Tokens that were minted.
    pub minted: u32,
    /// Its tables.
    pub database: Database,
    /// Roles that users have.
    pub roles: BTreeSet<String>,
    /// Virtual warehouses that roles may use.
    pub warehouses: BTreeSet<String>,
    /// A virtual warehouse that cannot be resumed, and why.
    pub stopped: Option<String>,
    /// Rows in a partition; the first one has a tenth of them.
    pub partition_rows: usize,
    /// Times that a statement is still in progress when it is asked about.
    pub polls: u32,
    /// Seconds that its clock is ahead of this machine's.
    pub clock_ahead: i64,
    /// Statements by handle.
    pub(super) statements: BTreeMap<String, StatementRecord>,
    /// Request ids and the statements they submitted.
    pub(super) requests: BTreeMap<String, String>,
    pub(super) failures: Vec<(SnowflakeStep, SnowflakeFailure, u32)>,
    /// Statements that were submitted, in order: the text and its query tag.
    pub submitted: Vec<(String, String)>,
    /// Handles that were cancelled.
    pub cancelled: Vec<String>,
    /// Partitions that were asked for, in order.
    pub fetched: Vec<usize>,
    /// Statements for which a virtual warehouse had to run.
    pub computed: u32,
}

/// A statement that was submitted.
pub(super) struct StatementRecord {
    /// Times that it is still in progress when it is asked about.
    pub(super) waits: u32,
    pub(super) outcome: Result<SqlResult, (u16, &'static str, String)>,
    /// Where partitions begin.
    pub(super) starts: Vec<usize>,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnowflakeStep {
    Submit,
    Poll,
    /// A partition, by its number.
    Partition(usize),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum SnowflakeFailure {
    /// A status with a code and a message.
    Status(u16, &'static str, &'static str),
    /// 429, with a `Retry-After` in seconds.
    TooMany(u32),
    /// A page of some gateway.
    Html(u16),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The last row is left out.
    RowMissing,
    /// The answer comes after this time.
    Slow(Duration),
}

impl SnowflakeAccount {
    /// An account without users, with a role `READER` and a warehouse `WH`.
    pub fn new(name: &str) -> rusqlite::Result<Self> {
        Ok(Self {
            name: name.to_uppercase(),
            users: BTreeMap::new(),
            tokens: BTreeSet::new(),
            oauth_tokens: BTreeSet::new(),
            oauth_client: None,
            minted: 0,
            database: Database::new(SqlDialect::Snowflake)?,
            roles: BTreeSet::from(["READER".to_owned()]),
            warehouses: BTreeSet::from(["WH".to_owned()]),
            stopped: None,
            partition_rows: 1000,
            polls: 1,
            clock_ahead: 0,
            statements: BTreeMap::new(),
            requests: BTreeMap::new(),
            failures: Vec::new(),
            submitted: Vec::new(),
            cancelled: Vec::new(),
            fetched: Vec::new(),
            computed: 0,
        })
    }

    /// A user with the public half of a key, as PKCS#1 DER.
    pub fn user(&mut self, name: &str, public_key: &[u8]) {
        self.users.insert(name.to_uppercase(), public_key.to_vec());
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: SnowflakeStep, failure: SnowflakeFailure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: SnowflakeStep) -> Option<SnowflakeFailure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }

    /// True while a statement runs that nobody cancelled.
    pub fn running(&self) -> bool {
        self.statements.iter().any(|(handle, s)| s.waits > 0 && !self.cancelled.contains(handle))
    }
}
