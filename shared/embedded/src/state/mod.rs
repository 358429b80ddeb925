//! State in one SQLite file: the store of a machine of one's own.
//!
//! One thread writes and commits what waits together; readers have connections of their own and see what
//! is committed. Several processes may have the file open, each for syncs of its own. What a port method
//! does is in the file named after its subject; here is only who does it, the writer or a reader.

mod buckets;
mod dead_letters;
mod limiter;
mod packed;
mod runs;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::bucket::{Bucket, EntryWrite};
use domain::clock::Millis;
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::in_doubt::ClaimNotes;
use domain::key::KeyHash;
use domain::limiter::{Lease, LimiterState};
use domain::manifest::ManifestPage;
use domain::ports::{BatchRef, BucketStore, Claim, DeadLetterStore, HeadStore, LimiterStore, Progress, RunStore};
use domain::run::{BatchState, Run, Tally};
use rusqlite::Connection;

use schema::StateError;
use writer::StateWriter;

/// Buckets read in one look at the file: a long look would keep the log from being folded into it.
const BUCKETS_AT_ONCE: usize = 2048;
/// Connections for reading that are kept open.
const READERS: usize = 4;

/// State in one SQLite file.
pub struct SqliteState {
    // Before the writer, so that the writer's connection is the last to close: that one folds the log into the file.
    readers: Arc<Readers>,
    writer: StateWriter,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn read<T>(&self, look: impl FnOnce(&Connection) -> Result<T, StateError>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let read = || {
            let conn = idle.map_or_else(|| schema::open_reader(&self.path), Ok)?;
            let found = look(&conn)?;
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < READERS {
                idle.push(conn);
            }
            Ok(found)
        };
        read().map_err(|e: StateError| e.fault(&self.path))
    }
}

impl SqliteState {
    /// Opens the file; creates it and its folder if they are not there.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let writer = StateWriter::start(schema::open(&path)?, path.clone())?;
            Ok(Self { readers: Arc::new(Readers { path, idle: Mutex::default() }), writer })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Fault> {
        let readers = Arc::clone(&self.readers);
        blocking(move || readers.read(look)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        run: impl FnMut(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Fault> {
        self.writer.write(false, run).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    let ended = |_| {
        Fault::new(Code::StateUnusable, "Access to the state was cut off, most likely because the process is ending.")
    };
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl HeadStore for SqliteState {
    async fn head(&self, sync: &str) -> Result<Head, Fault> {
        let sync = sync.to_owned();
        self.read(move |conn| buckets::head(conn, &sync)).await
    }

    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault> {
        let (sync, head) = (sync.to_owned(), head.clone());
        self.write(move |conn| buckets::put_head(conn, &sync, &head)).await
    }
}

#[async_trait]
impl BucketStore for SqliteState {
    async fn manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault> {
        let sync = sync.to_owned();
        self.read(move |conn| buckets::manifest(conn, &sync, bits)).await
    }

    async fn put_page(&self, sync: &str, bits: u8, page: &ManifestPage, durable: bool) -> Result<bool, Fault> {
        let (sync, page) = (sync.to_owned(), page.clone());
        self.writer.write(durable, move |conn| buckets::put_page(conn, &sync, bits, &page)).await
    }

    async fn buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault> {
        let mut found = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(BUCKETS_AT_ONCE) {
            let (sync, numbers) = (sync.to_owned(), numbers.to_owned());
            found.append(&mut self.read(move |conn| buckets::buckets(conn, &sync, bits, &numbers)).await?);
        }
        Ok(found)
    }

    async fn commit(&self, sync: &str, bits: u8, mut writes: Vec<(KeyHash, EntryWrite)>) -> Result<u64, Fault> {
        let sync = sync.to_owned();
        // Stable: several writes to one record take effect in their order.
        writes.sort_by_key(|(hash, _)| *hash);
        self.write(move |conn| {
            buckets::commit(conn, &sync, bits, &writes)?;
            Ok(buckets::head(conn, &sync)?.generation)
        })
        .await
    }

    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault> {
        let (sync, head) = (sync.to_owned(), head.clone());
        // Durable, as the old manifest goes with it: a power cut must not bring back digests that a run went past.
        self.writer.write(true, move |conn| buckets::rebucket(conn, &sync, from, to, &head)).await
    }
}

#[async_trait]
impl RunStore for SqliteState {
    async fn put_run(&self, run: &Run) -> Result<(), Fault> {
        let run = run.clone();
        self.write(move |conn| runs::put_run(conn, &run)).await
    }

    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault> {
        let (sync, id) = (sync.to_owned(), id.to_owned());
        self.read(move |conn| runs::run(conn, &sync, &id)).await
    }

    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault> {
        let sync = sync.to_owned();
        self.read(move |conn| runs::runs(conn, &sync, most)).await
    }

    async fn claim(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault> {
        let (sync, run, number, doubt) = (batch.sync.to_owned(), batch.run.to_owned(), batch.number, doubt.to_owned());
        self.write(move |conn| match buckets::head(conn, &sync)? {
            head if head.is_of(&run, generation) => runs::claim(conn, &run, number, &doubt, now, until),
            head => Ok(Claim::Stale(head.generation)),
        })
        .await
    }

    async fn settle(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        progress: Option<Millis>,
    ) -> Result<Progress, Fault> {
        let (run, number, state) = (batch.run.to_owned(), batch.number, state.clone());
        let unwritten = |e| Fault::new(Code::Internal, format!("A tally or a job cannot be written: {e}."));
        let tally = serde_json::to_string(&state.tally).map_err(unwritten)?;
        let job = state.job.as_ref().map(serde_json::to_string).transpose().map_err(unwritten)?;
        self.write(move |conn| runs::settle(conn, &run, number, &state, (&tally, job.as_deref()), progress)).await
    }

    async fn set_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        let run = run.to_owned();
        self.write(move |conn| runs::set_batch_total(conn, &run, batches)).await
    }

    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        let run = run.to_owned();
        self.read(move |conn| runs::last_progress(conn, &run)).await
    }

    async fn tally(&self, run: &str) -> Result<Tally, Fault> {
        let run = run.to_owned();
        self.read(move |conn| runs::tally(conn, &run)).await
    }

    async fn in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault> {
        let sync = sync.to_owned();
        self.read(move |conn| runs::in_doubt(conn, &sync)).await
    }

    async fn clear_in_doubt(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault> {
        let (sync, runs) = (sync.to_owned(), runs.to_owned());
        self.write(move |conn| runs::clear_in_doubt(conn, &sync, &runs, now)).await
    }
}

#[async_trait]
impl DeadLetterStore for SqliteState {
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault> {
        self.write(move |conn| dead_letters::put_dead_letters(conn, &letters)).await
    }

    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
        let sync = sync.to_owned();
        self.read(move |conn| dead_letters::dead_letters(conn, &sync, most)).await
    }

    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
        let (sync, hashes) = (sync.to_owned(), hashes.to_owned());
        self.write(move |conn| dead_letters::remove_dead_letters(conn, &sync, &hashes)).await
    }
}

#[async_trait]
impl LimiterStore for SqliteState {
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault> {
        let connection = connection.to_owned();
        self.write(move |conn| limiter::lease(conn, &connection, limit, now_micros, want)).await
    }

    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault> {
        let connection = connection.to_owned();
        self.write(move |conn| limiter::pause(conn, &connection, until)).await
    }

    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault> {
        let connection = connection.to_owned();
        self.read(move |conn| limiter::limiter(conn, &connection)).await
    }

    async fn lift(&self, connection: &str) -> Result<(), Fault> {
        let connection = connection.to_owned();
        self.write(move |conn| limiter::lift(conn, &connection)).await
    }
}
