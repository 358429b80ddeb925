//! Salesforce: records of any sObject.
//!
//! - **What it writes**: fields of one sObject (`object: Contact`) by their API names; a parent by its external id
//!   (`to: Account.Ext__c`, `to: Owner__r.Ext__c`, of several types `to: Account:What.Ext__c`). A field that a record
//!   leaves out keeps what it has; null and the empty text clear it. Times are kept to the millisecond. Not: files,
//!   compound fields (write their parts), multi-select picklists other than as `a;b`, hard deletes, undeletes.
//! - **Auth**: OAuth client credentials or JWT bearer (RS256); one token for all writers of a process, asked for again
//!   when it is refused. The address is the token's `instance_url`.
//! - **Modes**: upsert by an external id; update by `Id` or an external id, whose record ids are queried where they are
//!   not remembered; append; mirror, which deletes by record id (remembered from upserts, queried where missing; into
//!   the recycle bin). An id of another object is never deleted.
//! - **Limits**: 200 records to a request (sObject Collections), plans above 2,000 by Bulk API 2.0 jobs of 5,000
//!   records; an update or delete of which a record id is not remembered, and a batch with the literal text `#N/A`,
//!   goes by collections. The day's requests are looked at before a plan starts; `REQUEST_LIMIT_EXCEEDED` stops the
//!   run.
//! - **Per-record errors**: by position in a collection, by what a job's results echo in any order (for append without
//!   an identifier the whole row; equal rows stand for each other). `UNABLE_TO_LOCK_ROW` is sent again, alone; rows of
//!   a job are sorted by parent so that it is rare. `ENTITY_IS_DELETED` on a delete is done. Identifiers that occur
//!   twice in a batch are rejected.
//! - **Idempotency**: upsert by external id, update and delete by record id can be repeated. Append is at least once:
//!   the worst duplicate is one request's records (200) when its answer is lost, and of a job what it had done when its
//!   run was given up; a job whose ticket is lost never starts. A unique external id that the mapping fills turns them
//!   into `DUPLICATE_VALUE`. A job whose run was given up goes on at Salesforce until the next run aborts it, which it
//!   does before it sends anything; the records of that job are all sent again.
//! - **API version and sources**: REST and Bulk API 2.0, v67.0 by default (`api_version`); the REST API, Bulk API and
//!   OAuth guides (developer.salesforce.com, help.salesforce.com). Whether an unknown column fails one record or the
//!   whole request is not documented: both are understood, and preflight names it first.

mod bulk;
mod classify;
mod collections;
pub mod config;
mod describe;
mod encode;
mod fault;
mod name;
mod open;
mod query;
mod quota;
mod session;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::cells::Cells;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::job::{Jobs, PlannedLoad};
use domain::layout::Layout;
use domain::mode::{Mode, Op};
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, PreflightRequest};
use tokio::sync::OnceCell;

use self::config::{Config, Options};
use self::fault::fault;
use self::session::Session;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "salesforce",
    about: "records of a Salesforce org",
    modes,
    open: open::open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

fn modes(_: Mode) -> Result<(), &'static str> {
    Ok(())
}

/// An open connection for one sync.
struct SalesforceDestination {
    /// `connection NAME`.
    about: String,
    object: String,
    session: Session,
    limits: Limits,
    config: Config,
    options: Options,
    /// What record ids of the object begin with.
    prefix: OnceCell<Option<String>>,
}

impl SalesforceDestination {
    /// What record ids of the object begin with, where it says so.
    async fn prefix(&self) -> Result<Option<&str>, WriteError> {
        let look = || async { Ok(self.describe(&self.object).await?.and_then(|d| d.key_prefix)) };
        self.prefix.get_or_try_init(look).await.map(Option::as_deref)
    }

    /// True when a plan of this size goes by jobs.
    fn by_jobs(&self, load: PlannedLoad) -> bool {
        load.records() > self.config.jobs_above
    }
}

#[async_trait]
impl Destination for SalesforceDestination {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn limits_for(&self, load: PlannedLoad) -> Limits {
        let batch_records = if self.by_jobs(load) { self.config.job_records } else { self.limits.batch_records };
        Limits { batch_records, ..self.limits }
    }

    fn requests(&self, batch: &WriteBatch<'_>) -> u32 {
        if matches!(batch.op, Op::Upsert | Op::Append) || collections::identifier_name(batch) == Some(encode::ID) {
            return 1;
        }
        // Those that are not known are looked up before.
        let known = batch.records.iter().filter(|r| r.record_id.is_some()).count();
        u32::from(known > 0) + 2 * u32::from(known < batch.records.len())
    }

    async fn check_quota(&self, load: PlannedLoad) -> Result<Option<Finding>, Fault> {
        self.room_for(load).await.map_err(|e| fault(&self.about, &e))
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        Some(self)
    }

    async fn place(&self) -> Result<String, Fault> {
        let org = self.session.org().await.map_err(|e| fault(&self.about, &e))?;
        Ok(format!("{} of the Salesforce org {org}", self.object.to_ascii_lowercase()))
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let refused = self.session.http().look_at(self.session.domain(), &self.about).await?;
        if refused.iter().any(Finding::is_error) {
            return Ok(DestinationSchema { findings: refused, ..DestinationSchema::default() });
        }
        let mut schema = self.schema(need).await.map_err(|e| fault(&self.about, &e))?;
        schema.findings.extend(refused);
        Ok(schema)
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        self.write_collection(batch).await
    }

    fn reads_back(&self) -> bool {
        true
    }

    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let mut names = layout.identifiers();
        let (Some((_, identifier)), None, Some(columns)) = (names.next(), names.next(), query::columns(layout)) else {
            return Ok(None);
        };
        let values: Vec<_> = identifiers.iter().filter_map(|cells| Cells(cells).get(0)).collect();
        if values.len() != identifiers.len() {
            return Ok(None);
        }
        let found = query::find(&self.session, &self.object, &identifier.name, &columns, &values)
            .await
            .map_err(|e| fault(&self.about, &e))?;
        Ok(Some(
            values
                .into_iter()
                .map(|value| found.of(value).first().map(|record| query::record(layout, record)))
                .collect(),
        ))
    }
}
