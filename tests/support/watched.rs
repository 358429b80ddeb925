//! A state store and a queue that write down what they are asked, in one list and in order, and a store that fails
//! when told to. Everything is done by the ones behind them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::Message;
use domain::bucket::{Bucket, EntryWrite};
use domain::clock::Millis;
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::in_doubt::ClaimNotes;
use domain::key::KeyHash;
use domain::limiter::{Lease, LimiterState};
use domain::manifest::{CLEARED, ManifestPage};
use domain::ports::{
    BatchQueue, BatchRef, BucketStore, Claim, DeadLetterStore, Delivery, HeadStore, LimiterStore, Progress, Receipt,
    RunStore, StateStore,
};
use domain::run::{BatchState, Run, Tally};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Buckets(usize),
    /// A page of the manifest was written: digests that are noted after, and whether to disk at once.
    Page {
        /// Digests that are not cleared.
        noted: usize,
        /// To disk before it returns.
        durable: bool,
    },
    /// A message was sent.
    Send(u32),
    Commit(usize),
    /// A batch was settled.
    Settle(u32),
    /// Anything else that writes.
    Other(&'static str),
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    fn add(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// What was asked so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A store that writes down what it is asked.
pub struct WatchedStore {
    inner: Arc<dyn StateStore>,
    log: Log,
    /// The call that fails.
    failing: Mutex<&'static str>,
}

impl WatchedStore {
    /// In front of this store.
    pub fn new(inner: Arc<dyn StateStore>, log: Log) -> Arc<Self> {
        Arc::new(Self { inner, log, failing: Mutex::default() })
    }

    /// From now on this call fails, before anything is written: as if the process ended then. One of `commit`,
    /// `put_head`, `tally` and `pause`.
    pub fn fail(&self, call: &'static str) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }

    fn check(&self, call: &str) -> Result<(), Fault> {
        if *self.failing.lock().unwrap_or_else(PoisonError::into_inner) == call {
            return Err(Fault::new(Code::StateUnusable, "the store was told to fail"));
        }
        Ok(())
    }
}

#[async_trait]
impl HeadStore for WatchedStore {
    async fn head(&self, sync: &str) -> Result<Head, Fault> {
        self.inner.head(sync).await
    }

    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault> {
        self.check("put_head")?;
        self.log.add(Event::Other("put_head"));
        self.inner.put_head(sync, head).await
    }
}

#[async_trait]
impl BucketStore for WatchedStore {
    async fn manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault> {
        self.inner.manifest(sync, bits).await
    }

    async fn put_page(&self, sync: &str, bits: u8, page: &ManifestPage, durable: bool) -> Result<bool, Fault> {
        self.log.add(Event::Page { noted: page.digests.iter().filter(|d| **d != CLEARED).count(), durable });
        self.inner.put_page(sync, bits, page, durable).await
    }

    async fn buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault> {
        self.log.add(Event::Buckets(numbers.len()));
        self.inner.buckets(sync, bits, numbers).await
    }

    async fn commit(&self, sync: &str, bits: u8, writes: Vec<(KeyHash, EntryWrite)>) -> Result<u64, Fault> {
        self.check("commit")?;
        self.log.add(Event::Commit(writes.len()));
        self.inner.commit(sync, bits, writes).await
    }

    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault> {
        self.log.add(Event::Other("rebucket"));
        self.inner.rebucket(sync, from, to, head).await
    }
}

#[async_trait]
impl RunStore for WatchedStore {
    async fn put_run(&self, run: &Run) -> Result<(), Fault> {
        self.log.add(Event::Other("put_run"));
        self.inner.put_run(run).await
    }

    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault> {
        self.inner.run(sync, id).await
    }

    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault> {
        self.inner.runs(sync, most).await
    }

    async fn claim(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault> {
        self.log.add(Event::Other("claim"));
        self.inner.claim(batch, generation, doubt, now, until).await
    }

    async fn settle(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        progress: Option<Millis>,
    ) -> Result<Progress, Fault> {
        self.log.add(Event::Settle(batch.number));
        self.inner.settle(batch, state, progress).await
    }

    async fn set_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        self.log.add(Event::Other("set_batch_total"));
        self.inner.set_batch_total(run, batches).await
    }

    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        self.inner.last_progress(run).await
    }

    async fn tally(&self, run: &str) -> Result<Tally, Fault> {
        self.check("tally")?;
        self.inner.tally(run).await
    }

    async fn in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault> {
        self.inner.in_doubt(sync).await
    }

    async fn clear_in_doubt(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault> {
        self.log.add(Event::Other("clear_in_doubt"));
        self.inner.clear_in_doubt(sync, runs, now).await
    }
}

#[async_trait]
impl DeadLetterStore for WatchedStore {
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault> {
        self.log.add(Event::Other("put_dead_letters"));
        self.inner.put_dead_letters(letters).await
    }

    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
        self.inner.dead_letters(sync, most).await
    }

    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
        self.log.add(Event::Other("remove_dead_letters"));
        self.inner.remove_dead_letters(sync, hashes).await
    }
}

#[async_trait]
impl LimiterStore for WatchedStore {
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault> {
        self.log.add(Event::Other("lease"));
        self.inner.lease(connection, limit, now_micros, want).await
    }

    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault> {
        self.check("pause")?;
        self.log.add(Event::Other("pause"));
        self.inner.pause(connection, until).await
    }

    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault> {
        self.inner.limiter(connection).await
    }

    async fn lift(&self, connection: &str) -> Result<(), Fault> {
        self.inner.lift(connection).await
    }
}

/// A queue that writes down what it sends.
pub struct WatchedQueue {
    inner: Arc<dyn BatchQueue>,
    log: Log,
    kept: Mutex<Vec<Message>>,
}

impl WatchedQueue {
    /// In front of this queue.
    pub fn new(inner: Arc<dyn BatchQueue>, log: Log) -> Arc<Self> {
        Arc::new(Self { inner, log, kept: Mutex::default() })
    }

    /// Every message that was sent.
    pub fn messages(&self) -> Vec<Message> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl BatchQueue for WatchedQueue {
    fn max_body_bytes(&self) -> usize {
        self.inner.max_body_bytes()
    }
    async fn send(&self, message: Message) -> Result<(), Fault> {
        self.log.add(Event::Send(message.header.number));
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
        self.inner.send(message).await
    }
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault> {
        self.inner.receive(most, wait).await
    }
    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault> {
        self.inner.delay(receipt, delay).await
    }
    async fn done(&self, receipt: &Receipt) -> Result<(), Fault> {
        self.inner.done(receipt).await
    }
}
