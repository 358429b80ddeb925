//! What is known of a sync: five faces, so that who needs one subject sees no other.

use async_trait::async_trait;

use crate::bucket::{Bucket, EntryWrite};
use crate::clock::Millis;
use crate::config::RateLimit;
use crate::dead_letter::DeadLetter;
use crate::fault::Fault;
use crate::head::Head;
use crate::in_doubt::ClaimNotes;
use crate::key::KeyHash;
use crate::limiter::{Lease, LimiterState};
use crate::manifest::ManifestPage;
use crate::run::{BatchState, Run, Tally};

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

/// The heads of syncs: who runs, and what the last run left. Every fault is `StateUnusable`.
#[async_trait]
pub trait HeadStore: Send + Sync {
    /// The head of a sync; the default head when there is none.
    async fn head(&self, sync: &str) -> Result<Head, Fault>;

    /// Writes the head if its stored version is still `head.version`, and raises that by one.
    /// `false`: someone else wrote it.
    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault>;
}

/// What was accepted, record by record, in buckets; and the manifest, which says which buckets need no reading. Every
/// fault is `StateUnusable`.
#[async_trait]
pub trait BucketStore: Send + Sync {
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
    /// [`HeadStore::put_head`] does, so that the change shows whole or not at all. The manifest of `to` is empty after.
    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault>;
}

/// Runs and their batches: claims, what became of them, and which records were left in doubt. Every fault is
/// `StateUnusable`.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Writes a run. Batches are kept apart and not touched. A run that is closed stays closed: a process that does not
    /// know of it yet does not open it again.
    async fn put_run(&self, run: &Run) -> Result<(), Fault>;

    /// A run, by id.
    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault>;

    /// The newest runs first.
    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault>;

    /// Claims a batch until `until`, if `generation` is still the sync's. `doubt` names its records (see
    /// [`crate::in_doubt`]) and is remembered until the batch is done: it tells a later run whose fate is unknown.
    async fn claim(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault>;

    /// Replaces what a batch has come to and gives up the claim. A batch that is done stays as it is; of its
    /// doubts those in `state.doubt` are kept. `progress` is when its run got somewhere, if it did.
    async fn settle(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        progress: Option<Millis>,
    ) -> Result<Progress, Fault>;

    /// Says how many batches a run has, once all are enqueued.
    async fn set_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault>;

    /// When a run last settled a batch.
    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault>;

    /// The sum over a run's batches.
    async fn tally(&self, run: &str) -> Result<Tally, Fault>;

    /// What batches that were claimed and never done noted of their records, and the jobs that they wait for, in any
    /// run of the sync that was not [`RunStore::clear_in_doubt`].
    async fn in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault>;

    /// Forgets the unfinished claims of these runs, as far as their writers are gone at `now`: the state itself says by
    /// then that the versions of their records are not known. Runs are named, because their ids tell time by clocks
    /// that may differ.
    async fn clear_in_doubt(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault>;
}

/// Records set aside, each with its reason. Every fault is `StateUnusable`.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Sets records aside; replaces an older letter of the same record.
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault>;

    /// The letters of a sync, newest first.
    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault>;

    /// Removes letters.
    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault>;
}

/// Request slots and pauses of connections, shared by all writers. Every fault is `StateUnusable`.
#[async_trait]
pub trait LimiterStore: Send + Sync {
    /// Leases request slots of a connection (see [`crate::limiter::lease`]).
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault>;

    /// Nobody starts a request of the connection before `until`.
    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault>;

    /// What is remembered of a connection's slots and pauses.
    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault>;

    /// Forgets that: whoever asks next may send at once.
    async fn lift(&self, connection: &str) -> Result<(), Fault>;
}

/// All that is kept of syncs: whoever implements the five has it.
pub trait StateStore: HeadStore + BucketStore + RunStore + DeadLetterStore + LimiterStore {}

impl<T: HeadStore + BucketStore + RunStore + DeadLetterStore + LimiterStore> StateStore for T {}
