//! The faces that other rooms implement: where rows come from, where records go, where state and
//! batches are kept. The engine knows these and nothing behind them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::alert::Alert;
use crate::batch::{Message, WriteBatch};
use crate::bucket::{Bucket, EntryWrite};
use crate::cells::Cells;
use crate::clock::Millis;
use crate::config::{RateLimit, Reference};
use crate::dead_letter::DeadLetter;
use crate::doubt::ClaimNotes;
use crate::equality::Equality;
use crate::fault::Fault;
use crate::finding::Finding;
use crate::head::Head;
use crate::job::{Jobs, Load};
use crate::key::KeyHash;
use crate::layout::Layout;
use crate::limiter::{Lease, LimiterState};
use crate::manifest::ManifestPage;
use crate::mode::Mode;
use crate::outcome::{Outcome, WriteError};
use crate::row::{Column, RowBatch};
use crate::run::{BatchState, Run, Tally};
use crate::sync::Target;
use crate::value::Type;

/// The time, so that tests can turn the clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;
}

/// Where references to secrets lead.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secret. The fault names the reference, never a value.
    async fn get(&self, reference: &Reference) -> Result<String, Fault>;
}

// ---------------------------------------------------------------------------------------------------
// Warehouses

/// What to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The model's SQL.
    pub sql: String,
    /// Only rows where this holds.
    pub only: Option<Only>,
}

/// A condition on a model's rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Only {
    /// Rows whose column is at least this value, given as one canonical cell.
    From {
        /// The column.
        column: String,
        /// The value.
        cell: Vec<u8>,
    },
    /// Rows whose key columns, read as text by the warehouse, are these.
    Key(Vec<(String, String)>),
}

/// A model as the warehouse describes it without reading it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Described {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// Columns named twice.
    pub findings: Vec<Finding>,
    /// Columns nobody can read, each with what to do; they harm only a sync that uses them.
    pub unreadable: Vec<(String, Finding)>,
}

/// Rows in batches. Dropping the stream stops the statement in the warehouse.
pub type RowStream = BoxStream<'static, Result<RowBatch, Fault>>;

/// A source of rows.
#[async_trait]
pub trait Warehouse: Send + Sync {
    /// Connects, and describes the model's columns without running it.
    /// Faults: `WarehouseUnreachable`, `WarehouseDenied`, `ModelFailed` (with the position in the SQL where known).
    async fn describe(&self, query: &Query) -> Result<Described, Fault>;

    /// Runs the model in one read-only snapshot and streams its rows, columns in the order of `describe`.
    /// Faults come as the stream's last item: `ModelFailed`, `ModelTimeout`, `WarehouseUnreachable`.
    async fn rows(&self, query: &Query) -> Result<RowStream, Fault>;
}

// ---------------------------------------------------------------------------------------------------
// Destinations

/// What a destination can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most records in one `write`.
    pub batch_records: usize,
    /// Most bytes of record bodies in one `write`.
    pub batch_bytes: usize,
    /// `write` calls at once, over all writers of this process.
    pub concurrency: usize,
    /// Requests in a time, shared by all writers of the connection. `None`: as fast as it answers.
    pub rate: Option<RateLimit>,
    /// The pause before the second attempt where the destination names none.
    pub first_pause: Duration,
}

/// A field as the destination describes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DestinationField {
    /// Its name.
    pub name: String,
    /// The type its values must have; `None` when it takes anything.
    pub kind: Option<Type>,
    /// It cannot be written.
    pub read_only: bool,
    /// A record cannot be created without it.
    pub required: bool,
    /// Null is refused.
    pub not_null: bool,
    /// Most characters of a text.
    pub max_length: Option<usize>,
    /// Digits in all and after the point, where the destination limits them.
    pub precision: Option<(u32, u32)>,
    /// Whole numbers within these bounds.
    pub range: Option<(i64, i64)>,
    /// The only values it takes.
    pub one_of: Option<Vec<String>>,
    /// How its values are compared when records are found by it.
    pub equality: Equality,
}

/// What a destination says of the object a sync writes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DestinationSchema {
    /// Its fields; `None` when it takes any field (a webhook).
    pub fields: Option<Vec<DestinationField>>,
    /// What is wrong on the destination's side (an identifier that is not unique, a missing table …). One about a
    /// mapped field is made by [`Finding::on_field`]: the engine puts the mapping's line in its place.
    pub findings: Vec<Finding>,
}

impl DestinationSchema {
    /// How the destination compares the values of the field named `name` when it finds records by them.
    pub fn equality(&self, name: &str) -> Equality {
        self.fields.iter().flatten().find(|field| field.name == name).map_or(Equality::Exact, |field| field.equality)
    }
}

/// What a sync needs of its destination.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The mode.
    pub mode: Mode,
    /// The names of the mapped fields, each with whether it identifies the record.
    pub fields: &'a [(String, bool)],
}

/// A place records go to.
#[async_trait]
pub trait Destination: Send + Sync {
    /// What it can take. May change while the connection is open: a destination that tells its quota with its answers
    /// is asked again before every write, and its new rate holds from then on.
    fn limits(&self) -> Limits;

    /// How many requests `write` will make for this batch, at most: one, unless something has to be looked up
    /// before or linked after. The engine takes as many slots of the connection's rate before it calls `write`.
    fn requests(&self, batch: &WriteBatch<'_>) -> u32 {
        let _ = batch;
        1
    }

    /// What the batches of a plan of this size are cut by. Larger batches than [`Destination::limits`] allows are
    /// for [`Destination::jobs`].
    fn limits_for(&self, load: Load) -> Limits {
        let _ = load;
        self.limits()
    }

    /// Looks whether the destination will take so much today. A finding that is an error keeps a run from sending
    /// anything; a warning is shown with the plan. Not asked when there is nothing to send.
    /// Faults: as of [`Destination::preflight`].
    async fn headroom(&self, load: Load) -> Result<Option<Finding>, Fault> {
        let _ = load;
        Ok(None)
    }

    /// The face of a destination that also takes batches as jobs.
    fn jobs(&self) -> Option<&dyn Jobs> {
        None
    }

    /// Looks at the destination's schema without writing. Findings are about the destination's own side;
    /// field types are compared by the mapping.
    /// Faults: `DestinationUnreachable`, `DestinationUnauthorized`, `DestinationMisconfigured`.
    async fn preflight(&self, need: Need<'_>) -> Result<DestinationSchema, Fault>;

    /// Which place this is, as the destination itself identifies it: host, database and table; portal and object; org and
    /// object; a URL without its secrets. The same place has the same text however the connection is named or reached, and two
    /// places never share one. Shown to people; never a secret. Asked once a run, after [`Destination::preflight`].
    /// Faults: as of [`Destination::preflight`].
    async fn place(&self) -> Result<String, Fault> {
        Ok(String::new())
    }

    /// Of identifiers (cells in the layout's order) that may be one record there, which are: equal numbers mean one record.
    /// Asked only where a field's equality is [`Equality::Destination`], and only about identifiers whose folded forms are
    /// the same.
    /// Faults: as of [`Destination::preflight`].
    async fn same_identity(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Vec<u32>, Fault> {
        let _ = (layout, identifiers);
        Ok(vec![0; identifiers.len()])
    }

    /// Writes a batch: exactly one outcome for every record, in order, or one error for the whole batch.
    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError>;

    /// True when [`Destination::read`] can read records; asked before anything is spent on reading.
    fn reads_back(&self) -> bool {
        false
    }

    /// For each record (cells of the layout) and each of its fields whether what is there is the same in the destination's own
    /// terms; asked about records that [`Destination::read`] gives otherwise spelt. `Ok(None)`: it cannot tell.
    async fn agrees(&self, layout: &Layout, records: &[Vec<u8>]) -> Result<Option<Vec<Vec<bool>>>, Fault> {
        let _ = (layout, records);
        Ok(None)
    }

    /// Reads records back by their identifier cells: for each, its fields in the layout's order as
    /// canonical cells, or `None` when there is none. `Ok(None)`: this destination cannot be read.
    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let _ = (layout, identifiers);
        Ok(None)
    }

    /// A record of `layout` as the destination holds it after it has accepted it, to be compared with what
    /// [`Destination::read`] gives: other spellings, less precision, an option's value for its label. Asked after `read`.
    fn as_stored(&self, layout: &Layout, record: Cells<'_>) -> Vec<u8> {
        let _ = layout;
        record.bytes().to_vec()
    }
}

/// Tells people. Whoever asks for that goes on whatever becomes of it.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The same for as long as its settings are: what was told before is kept under it.
    fn name(&self) -> &str;

    /// Tells it, once. The fault says why it could not; it is then told after the next run.
    async fn notify(&self, alert: &Alert) -> Result<(), Fault>;
}

/// Opens a destination anew when its credentials are refused: they may have been replaced meanwhile.
#[async_trait]
pub trait Renew: Send + Sync {
    /// The destination with its secrets read anew; `None` when they are as they were.
    async fn renew(&self) -> Result<Option<Arc<dyn Destination>>, Fault>;
}

/// What opening a connection needs.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The connection's name, for messages.
    pub name: &'a str,
    /// The connection's settings, without `type`.
    pub config: &'a serde_json::Value,
    /// The folder that relative paths begin at.
    pub folder: &'a std::path::Path,
    /// Where references to secrets lead.
    pub secrets: &'a dyn SecretSource,
}

/// A future that opens a connection.
pub type Opened<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<Arc<T>, Fault>> + Send + 'a>>;

/// One kind of warehouse, as the registry lists it.
pub struct WarehouseEntry {
    /// The connection's `type`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Opens a connection. Does not connect yet.
    pub open: for<'a> fn(Opening<'a>) -> Opened<'a, dyn Warehouse>,
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
    pub open: for<'a> fn(Opening<'a>, &'a Target) -> Opened<'a, dyn Destination>,
    /// JSON Schema of its settings.
    pub schema: fn() -> schemars::Schema,
    /// JSON Schema of a sync's `destination.options`.
    pub options_schema: fn() -> schemars::Schema,
}

// ---------------------------------------------------------------------------------------------------
// State and queue

/// Names a batch of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef<'a> {
    /// The sync.
    pub sync: &'a str,
    /// The run.
    pub run: &'a str,
    /// The batch's number.
    pub number: u32,
}

/// What a claim of a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly every claim is granted, and none is kept")]
pub enum Claim {
    /// The sync has moved to this newer generation; drop the message.
    Stale(u64),
    /// It is yours: go on from this state.
    Granted(BatchState),
    /// It is done, and its run is so far; drop the message.
    Done(Progress),
    /// Another writer works on it, at the latest until then.
    InProgress(Millis),
}

/// How far a run's batches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Batches with nothing left to send.
    pub done: u32,
    /// Batches in all; `None` while more are being enqueued.
    pub total: Option<u32>,
}

impl Progress {
    /// True when the last batch is out.
    pub fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.done >= total)
    }
}

/// State: heads, buckets, manifest, runs, batches, dead letters, limiter. Every fault is `StateUnusable`.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The head of a sync; the default head when there is none.
    async fn head(&self, sync: &str) -> Result<Head, Fault>;

    /// Writes the head if its stored version is still `head.version`, and raises that by one.
    /// `false`: someone else wrote it.
    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault>;

    /// The manifest of `2^bits` buckets: every page, in order, empty ones included.
    async fn manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault>;

    /// Writes a page if its stored version is still `page.version`, and raises that by one. A write with
    /// `durable` survives a power cut once this returns. `false`: someone else wrote it.
    async fn put_page(&self, sync: &str, bits: u8, page: &ManifestPage, durable: bool) -> Result<bool, Fault>;

    /// These buckets, in the order asked, empty ones included.
    async fn buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault>;

    /// Applies writes to records, blindly. Idempotent. Returns the sync's generation as it is after the commit.
    async fn commit(&self, sync: &str, bits: u8, writes: Vec<(KeyHash, EntryWrite)>) -> Result<u64, Fault>;

    /// Moves all entries from `2^from` to `2^to` buckets and writes `head` (with its new bits) as
    /// [`StateStore::put_head`] does, so that the change shows whole or not at all. The manifest of `to` is empty after.
    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault>;

    /// Writes a run. Batches are kept apart and not touched. A run that is closed stays closed: a process that does not know
    /// of it yet does not open it again.
    async fn put_run(&self, run: &Run) -> Result<(), Fault>;

    /// A run, by id.
    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault>;

    /// The newest runs first.
    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault>;

    /// Claims a batch until `until`, if `generation` is still the sync's. `doubt` names its records (see
    /// [`crate::doubt`]) and is remembered until the batch is done: it tells a later run whose fate is unknown.
    async fn claim(&self, batch: BatchRef<'_>, generation: u64, doubt: &[u8], now: Millis, until: Millis) -> Result<Claim, Fault>;

    /// Replaces what a batch has come to and gives up the claim. A batch that is done stays as it is; of its
    /// doubts those in `state.doubt` are kept. `progress` is when its run got somewhere, if it did.
    async fn settle(&self, batch: BatchRef<'_>, state: &BatchState, progress: Option<Millis>) -> Result<Progress, Fault>;

    /// Says how many batches a run has, once all are enqueued.
    async fn seal(&self, run: &str, batches: u32) -> Result<Progress, Fault>;

    /// When a run last settled a batch.
    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault>;

    /// The sum over a run's batches.
    async fn tally(&self, run: &str) -> Result<Tally, Fault>;

    /// What batches that were claimed and never done noted of their records, and the jobs that they wait for, in any run of
    /// the sync that was not [`StateStore::forget_doubts`].
    async fn doubts(&self, sync: &str) -> Result<ClaimNotes, Fault>;

    /// Forgets the unfinished claims of these runs, as far as their writers are gone at `now`: the state itself says by then
    /// that the versions of their records are not known. Runs are named, because their ids tell time by clocks that may differ.
    async fn forget_doubts(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault>;

    /// Sets records aside; replaces an older letter of the same record.
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault>;

    /// The letters of a sync, newest first.
    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault>;

    /// Removes letters.
    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault>;

    /// Leases request slots of a connection (see [`crate::limiter::lease`]).
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault>;

    /// Nobody starts a request of the connection before `until`.
    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault>;

    /// What is remembered of a connection's slots and pauses.
    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault>;

    /// Forgets that: whoever asks next may send at once.
    async fn lift(&self, connection: &str) -> Result<(), Fault>;
}

/// Names one delivery of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Names this delivery.
    pub receipt: Receipt,
    /// How often it was received, this time included.
    pub receives: u32,
}

/// The queue of one destination. At least once, in any order. Every fault is `QueueUnusable`.
#[async_trait]
pub trait BatchQueue: Send + Sync {
    /// Most bytes a message's body may have.
    fn max_body_bytes(&self) -> usize;

    /// Most bytes of a body that a message carries itself; a larger one costs more, because it goes another way.
    fn carried_body_bytes(&self) -> usize {
        self.max_body_bytes()
    }

    /// How many calls of [`BatchQueue::send`] at once are of use.
    fn sends_at_once(&self) -> usize {
        1
    }

    /// Sends a message; waits while the queue is full. Once this returns, the message is safe in the queue.
    async fn send(&self, message: Message) -> Result<(), Fault>;

    /// Receives up to `most` messages, waiting up to `wait` for the first. Each stays invisible to other
    /// receivers for the queue's visibility time.
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault>;

    /// Makes a received message visible again after `delay`.
    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault>;

    /// Removes a received message for good.
    async fn done(&self, receipt: &Receipt) -> Result<(), Fault>;
}

/// Where a run lays down batches that it has no time left to enqueue. Every fault is `QueueUnusable`.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Keeps a part of a run. Replaces one of the same number.
    async fn put(&self, run: &str, part: u32, bytes: bytes::Bytes) -> Result<(), Fault>;

    /// A part of a run, if it is there.
    async fn get(&self, run: &str, part: u32) -> Result<Option<bytes::Bytes>, Fault>;
}
