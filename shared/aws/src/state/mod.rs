//! State in one DynamoDB table: the store of the Lambda functions.
//!
//! What a port method does is in the file named after its subject; here is only what a process remembers between calls.
//! What is remembered saves units and decides nothing: every write is conditional, or blind and idempotent.

mod batches;
mod buckets;
mod consumed;
mod create;
mod dead_letters;
mod entry;
mod errors;
mod head;
mod item;
mod limiter;
mod manifest;
mod rebucket;
mod runs;
mod table;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::bucket::{Bucket, EntryWrite};
use domain::clock::Millis;
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::fault::Fault;
use domain::head::Head;
use domain::in_doubt::ClaimNotes;
use domain::key::KeyHash;
use domain::limiter::{Lease, LimiterState};
use domain::manifest::ManifestPage;
use domain::ports::{BatchRef, BucketStore, Claim, DeadLetterStore, HeadStore, LimiterStore, Progress, RunStore};
use domain::run::{BatchState, Run, Tally};

pub use consumed::Consumed;
pub use create::create_table;

use crate::Clients;
use head::{BucketEpoch, StoredHead};
use table::DynamoTable;

/// State in a DynamoDB table.
pub struct DynamoState {
    table: DynamoTable,
    memory: Mutex<Memory>,
}

/// What a process remembers.
#[derive(Default)]
struct Memory {
    /// Of every sync the layout and the newest generation seen.
    heads: HashMap<String, (BucketEpoch, u64)>,
    /// The cells of the batches that are claimed here, as they were written.
    cells: HashMap<(String, u32), Vec<u8>>,
    /// Runs that are on the list of those that may leave records in doubt.
    indexed: HashSet<String>,
    /// The next slots of connections.
    slots: HashMap<String, i64>,
}

/// More than this is not remembered of batches and runs: a process that lives long starts anew.
const REMEMBERED: usize = 10_000;

impl DynamoState {
    /// State in this table. Does not connect yet.
    pub fn new(clients: &Clients, table: &str) -> Self {
        Self { table: DynamoTable::new(clients, table), memory: Mutex::default() }
    }

    /// Makes at most so many attempts of one call, at least one. Without this it is nine, over about ten seconds.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { table: self.table.with_attempts(attempts), ..self }
    }

    /// What was used of DynamoDB since this was made.
    pub fn consumed(&self) -> Consumed {
        self.table.counters.now()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a head that was read.
    fn seen(&self, sync: &str, stored: &StoredHead) {
        let mut memory = self.memory();
        let (layout, generation) = memory.heads.entry(sync.to_owned()).or_default();
        if stored.head.generation >= *generation {
            (*layout, *generation) = (stored.layout.clone(), stored.head.generation);
        }
    }

    fn known_layout(&self, sync: &str) -> Option<BucketEpoch> {
        self.memory().heads.get(sync).map(|(layout, _)| layout.clone())
    }

    fn known_generation(&self, sync: &str) -> Option<u64> {
        self.memory().heads.get(sync).map(|(_, generation)| *generation)
    }

    fn remember_cell(&self, batch: BatchRef<'_>, cell: Vec<u8>) {
        let cells = &mut self.memory().cells;
        if cells.len() >= REMEMBERED {
            cells.clear();
        }
        cells.insert((batch.run.to_owned(), batch.number), cell);
    }

    fn forget_cell(&self, batch: BatchRef<'_>) -> Option<Vec<u8>> {
        self.memory().cells.remove(&(batch.run.to_owned(), batch.number))
    }

    fn is_indexed(&self, run: &str) -> bool {
        self.memory().indexed.contains(run)
    }

    fn set_indexed(&self, run: &str, is: bool) {
        let indexed = &mut self.memory().indexed;
        if !is {
            indexed.remove(run);
            return;
        }
        if indexed.len() >= REMEMBERED {
            indexed.clear();
        }
        indexed.insert(run.to_owned());
    }

    fn known_slot(&self, connection: &str) -> Option<i64> {
        self.memory().slots.get(connection).copied()
    }

    fn remember_slot(&self, connection: &str, next_slot_micros: Option<i64>) {
        let slots = &mut self.memory().slots;
        match next_slot_micros {
            Some(next) => slots.insert(connection.to_owned(), next),
            None => slots.remove(connection),
        };
    }
}

#[async_trait]
impl HeadStore for DynamoState {
    async fn head(&self, sync: &str) -> Result<Head, Fault> {
        Ok(self.stored_head(sync).await?.head)
    }

    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault> {
        self.write_head(sync, head, None).await
    }
}

#[async_trait]
impl BucketStore for DynamoState {
    async fn manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault> {
        self.read_manifest(sync, bits).await
    }

    /// Every write is durable once DynamoDB has answered.
    async fn put_page(&self, sync: &str, bits: u8, page: &ManifestPage, _durable: bool) -> Result<bool, Fault> {
        self.write_page(sync, bits, page).await
    }

    async fn buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault> {
        self.read_buckets(sync, bits, numbers).await
    }

    async fn commit(&self, sync: &str, bits: u8, writes: Vec<(KeyHash, EntryWrite)>) -> Result<u64, Fault> {
        self.write_entries(sync, bits, &writes).await
    }

    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault> {
        self.lay_out_anew(sync, from, to, head).await
    }
}

#[async_trait]
impl RunStore for DynamoState {
    async fn put_run(&self, run: &Run) -> Result<(), Fault> {
        self.write_run(run).await
    }

    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault> {
        self.read_run(sync, id).await
    }

    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault> {
        self.newest_runs(sync, most).await
    }

    async fn claim(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault> {
        self.claim_batch(batch, generation, doubt, now, until).await
    }

    /// While a run goes on, `done` counts whole pages of batches and that of this batch: it may lag behind, and is
    /// exact when the run is through.
    async fn settle(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        progress: Option<Millis>,
    ) -> Result<Progress, Fault> {
        self.settle_batch(batch, state, progress).await
    }

    async fn set_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        self.write_batch_total(run, batches).await
    }

    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        self.newest_progress(run).await
    }

    async fn tally(&self, run: &str) -> Result<Tally, Fault> {
        self.sum(run).await
    }

    async fn in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault> {
        self.all_in_doubt(sync).await
    }

    async fn clear_in_doubt(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault> {
        self.clear_in_doubt_of(sync, runs, now).await
    }
}

#[async_trait]
impl DeadLetterStore for DynamoState {
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault> {
        self.write_letters(letters).await
    }

    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
        self.newest_letters(sync, most).await
    }

    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
        self.delete_letters(sync, hashes).await
    }
}

#[async_trait]
impl LimiterStore for DynamoState {
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault> {
        self.lease_slots(connection, limit, now_micros, want).await
    }

    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault> {
        self.pause_slots(connection, until).await
    }

    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault> {
        self.read_limiter(connection).await
    }

    async fn lift(&self, connection: &str) -> Result<(), Fault> {
        self.delete_limiter(connection).await
    }
}
