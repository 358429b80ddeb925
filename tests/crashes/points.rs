//! Crash points: the ports of a run, counted through. At one chosen call the process "dies": that call never
//! returns, and neither does any that comes later. Or the call fails although it was done, as a connection does that
//! is lost before the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::{Message, WriteBatch};
use domain::bucket::{Bucket, EntryWrite};
use domain::clock::Millis;
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::in_doubt::ClaimNotes;
use domain::job::{AbortResult, Counted, Jobs, PlannedLoad, Poll, Ticket};
use domain::key::KeyHash;
use domain::limiter::{Lease, LimiterState};
use domain::manifest::ManifestPage;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{
    BatchQueue, BatchRef, BucketStore, Claim, DeadLetterStore, Delivery, Destination, HeadStore, LimiterStore, Limits,
    PreflightRequest, Progress, Receipt, RunStore, StateStore,
};
use domain::run::{BatchState, Run, Tally};
use tokio::sync::Notify;

use crate::ledger::{Begin, Ledger};
use crate::rig::BATCH;

/// How a run ends at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It dies when the call has been done.
    After,
    /// It dies within a write: the destination has taken half of the batch. Only writes count.
    Half,
    /// The call is done and says that it failed; the run lives on.
    Lost,
    /// The run is held before the call, goes on when it is let go, and lives on.
    Held,
    /// The same, and it dies when the call has been done.
    HeldToDie,
}

/// Where a run is to end.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// At this call, from 1. 0: nowhere.
    pub call: usize,
    pub end: End,
}

pub struct Points {
    point: Point,
    calls: Mutex<Vec<&'static str>>,
    dead: AtomicBool,
    died: Notify,
    held: Notify,
    let_go: Notify,
}

impl Points {
    pub fn new(point: Point) -> Arc<Self> {
        Arc::new(Self {
            point,
            calls: Mutex::default(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            held: Notify::new(),
            let_go: Notify::new(),
        })
    }

    /// The names of the calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True when the chosen call was reached.
    pub fn reached(&self) -> bool {
        self.point.call > 0 && self.calls().len() >= self.point.call
    }

    /// Waits for the end.
    pub async fn died(&self) {
        let waiting = self.died.notified();
        tokio::pin!(waiting);
        waiting.as_mut().enable();
        if !self.dead.load(Ordering::Acquire) {
            waiting.await;
        }
    }

    /// Waits until the run is held.
    pub async fn held(&self) {
        self.held.notified().await;
    }

    /// Lets it go on.
    pub fn let_go(&self) {
        self.let_go.notify_one();
    }

    /// Holds the run, where it is to be held at this call.
    async fn hold(&self, chosen: bool) {
        if chosen && matches!(self.point.end, End::Held | End::HeldToDie) {
            self.held.notify_one();
            self.let_go.notified().await;
        }
    }

    /// True when the run dies after this call.
    fn is_last(&self, chosen: bool) -> bool {
        chosen && matches!(self.point.end, End::After | End::HeldToDie)
    }

    async fn die<T>(&self) -> T {
        self.dead.store(true, Ordering::Release);
        self.died.notify_waiters();
        std::future::pending().await
    }

    fn count(&self, name: &'static str) -> bool {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(name);
        calls.len() == self.point.call
    }

    /// Does a call, or ends in it.
    async fn call<T>(&self, name: &'static str, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        if self.dead.load(Ordering::Acquire) {
            return std::future::pending().await;
        }
        let chosen = self.point.end != End::Half && self.count(name);
        self.hold(chosen).await;
        let done = call.await;
        if self.dead.load(Ordering::Acquire) || self.is_last(chosen) {
            return self.die().await;
        }
        if chosen && self.point.end == End::Lost {
            Err(Fault::new(Code::StateUnusable, format!("The answer to `{name}` was lost.")))
        } else {
            done
        }
    }
}

/// A port with its calls counted.
pub struct CountedPort<P: ?Sized> {
    pub points: Arc<Points>,
    pub port: Arc<P>,
}

/// Most records in a batch that a job may take.
pub const JOB_BATCH: usize = 25;

/// The destination: takes everything, unless it is the end.
pub struct Recording {
    pub points: Arc<Points>,
    pub ledger: Arc<Ledger>,
    pub limits: Limits,
    /// When its jobs begin; `None`: it has no jobs.
    pub begin: Option<Begin>,
    /// It compares identifiers without regard to case.
    pub folds: bool,
}

impl Recording {
    /// A call about a job, done by `call`; or the end in it.
    async fn about_job<T>(&self, name: &'static str, call: impl FnOnce(Begin) -> T) -> Counted<T> {
        let told = |result| Counted { requests: 1, result };
        let (points, begin) = (&self.points, self.begin.unwrap_or(Begin::AtSubmit));
        if points.dead.load(Ordering::Acquire) {
            return std::future::pending().await;
        }
        let chosen = points.point.end != End::Half && points.count(name);
        points.hold(chosen).await;
        let done = call(begin);
        match points.point.end {
            _ if points.is_last(chosen) => points.die().await,
            End::Lost if chosen => {
                told(Err(WriteError::Unavailable { after: None, detail: "the answer was lost".into() }))
            }
            _ => told(Ok(done)),
        }
    }
}

#[async_trait]
impl Jobs for Recording {
    fn takes(&self, batch: &WriteBatch<'_>) -> bool {
        batch.records.len() > BATCH
    }

    async fn submit(&self, batch: &WriteBatch<'_>) -> Counted<Ticket> {
        self.about_job("submit", |begin| self.ledger.submit(batch, begin)).await
    }

    async fn poll(&self, ticket: &Ticket, _: &WriteBatch<'_>) -> Counted<Poll> {
        self.about_job("poll", |_| self.ledger.poll(ticket)).await
    }

    async fn abort(&self, ticket: &Ticket) -> Counted<AbortResult> {
        self.about_job("stop", |_| self.ledger.stop(ticket)).await
    }
}

#[async_trait]
impl Destination for Recording {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn limits_for(&self, _: PlannedLoad) -> Limits {
        Limits { batch_records: if self.begin.is_some() { JOB_BATCH } else { BATCH }, ..self.limits }
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        self.begin.is_some().then_some(self)
    }

    async fn preflight(&self, _: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let field =
            |name: &str, equality| DestinationField { name: name.into(), equality, ..DestinationField::default() };
        let fields = self.folds.then(|| vec![field("id", Equality::IgnoresCase), field("name", Equality::Exact)]);
        Ok(DestinationSchema { fields, ..DestinationSchema::default() })
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let points = &self.points;
        if points.dead.load(Ordering::Acquire) {
            return std::future::pending().await;
        }
        let chosen = points.count("write");
        points.hold(chosen).await;
        let half = chosen && points.point.end == End::Half;
        let outcomes = self.ledger.write(batch, if half { batch.records.len() / 2 } else { batch.records.len() });
        match points.point.end {
            _ if half || points.is_last(chosen) => points.die().await,
            End::Lost if chosen => Err(WriteError::Unavailable { after: None, detail: "the answer was lost".into() }),
            _ => Ok(outcomes),
        }
    }
}

macro_rules! counted {
    ($self:ident.$name:ident($($argument:expr),*)) => {
        $self.points.call(stringify!($name), $self.port.$name($($argument),*)).await
    };
}

#[async_trait]
impl BatchQueue for CountedPort<dyn BatchQueue> {
    fn max_body_bytes(&self) -> usize {
        self.port.max_body_bytes()
    }
    async fn send(&self, message: Message) -> Result<(), Fault> {
        counted!(self.send(message))
    }
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault> {
        // Waiting is no step: it is left out of the count, so that the count does not depend on the time.
        self.port.receive(most, wait).await
    }
    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault> {
        counted!(self.delay(receipt, delay))
    }
    async fn done(&self, receipt: &Receipt) -> Result<(), Fault> {
        counted!(self.done(receipt))
    }
}

#[async_trait]
impl HeadStore for CountedPort<dyn StateStore> {
    async fn head(&self, sync: &str) -> Result<Head, Fault> {
        counted!(self.head(sync))
    }

    async fn put_head(&self, sync: &str, head: &Head) -> Result<bool, Fault> {
        counted!(self.put_head(sync, head))
    }
}

#[async_trait]
impl BucketStore for CountedPort<dyn StateStore> {
    async fn manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault> {
        counted!(self.manifest(sync, bits))
    }

    async fn put_page(&self, sync: &str, bits: u8, page: &ManifestPage, durable: bool) -> Result<bool, Fault> {
        counted!(self.put_page(sync, bits, page, durable))
    }

    async fn buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault> {
        counted!(self.buckets(sync, bits, numbers))
    }

    async fn commit(&self, sync: &str, bits: u8, writes: Vec<(KeyHash, EntryWrite)>) -> Result<u64, Fault> {
        counted!(self.commit(sync, bits, writes))
    }

    async fn rebucket(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault> {
        counted!(self.rebucket(sync, from, to, head))
    }
}

#[async_trait]
impl RunStore for CountedPort<dyn StateStore> {
    async fn put_run(&self, run: &Run) -> Result<(), Fault> {
        counted!(self.put_run(run))
    }

    async fn run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault> {
        counted!(self.run(sync, id))
    }

    async fn runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault> {
        counted!(self.runs(sync, most))
    }

    async fn claim(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault> {
        counted!(self.claim(batch, generation, doubt, now, until))
    }

    async fn settle(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        progress: Option<Millis>,
    ) -> Result<Progress, Fault> {
        counted!(self.settle(batch, state, progress))
    }

    async fn set_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        counted!(self.set_batch_total(run, batches))
    }

    async fn last_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        counted!(self.last_progress(run))
    }

    async fn tally(&self, run: &str) -> Result<Tally, Fault> {
        counted!(self.tally(run))
    }

    async fn in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault> {
        counted!(self.in_doubt(sync))
    }

    async fn clear_in_doubt(&self, sync: &str, runs: &[String], now: Millis) -> Result<(), Fault> {
        counted!(self.clear_in_doubt(sync, runs, now))
    }
}

#[async_trait]
impl DeadLetterStore for CountedPort<dyn StateStore> {
    async fn put_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault> {
        counted!(self.put_dead_letters(letters))
    }

    async fn dead_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
        counted!(self.dead_letters(sync, most))
    }

    async fn remove_dead_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
        counted!(self.remove_dead_letters(sync, hashes))
    }
}

#[async_trait]
impl LimiterStore for CountedPort<dyn StateStore> {
    async fn lease(&self, connection: &str, limit: RateLimit, now_micros: i64, want: u32) -> Result<Lease, Fault> {
        counted!(self.lease(connection, limit, now_micros, want))
    }

    async fn pause(&self, connection: &str, until: Millis) -> Result<(), Fault> {
        counted!(self.pause(connection, until))
    }

    async fn limiter(&self, connection: &str) -> Result<LimiterState, Fault> {
        counted!(self.limiter(connection))
    }

    async fn lift(&self, connection: &str) -> Result<(), Fault> {
        counted!(self.lift(connection))
    }
}
