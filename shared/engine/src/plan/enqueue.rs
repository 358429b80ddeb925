//! Sends the batches of a plan to the queue, and lays down those that there is no time left to send. Records are read
//! from the spool on a blocking thread while earlier batches are being sent.

use std::collections::HashMap;

use domain::batch::{Message, RECORD_OVERHEAD};
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::ports::PlanStore;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::batcher::{BatchPlan, Batcher, BatchingEnd};
use super::difference::Removed;
use super::extract::Extracted;
use crate::Context;

/// What enqueueing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// All batches are in the queue; so many.
    All(u32),
    /// The time is over: the other batches lie in the plan store.
    Deferred {
        /// Batches in all.
        batches: u32,
        /// Parts in the plan store.
        parts: u32,
    },
    /// The writers gave up before all were sent.
    GivenUp,
}

/// Bytes of a part of a stored plan; a batch is never divided.
const PART: usize = 8 * 1024 * 1024;

/// Sends every batch of the plan, and lays down in the plan store those that there is no time left to send.
/// Stops between batches when asked to.
pub async fn enqueue(
    context: &Context,
    cut: BatchPlan,
    model: Extracted,
    removed: Vec<Removed>,
    record_ids: HashMap<KeyHash, Box<str>>,
) -> Result<Enqueued, Fault> {
    let (sender, mut batches) = mpsc::channel(2);
    let (stop, run) = (context.stop.clone(), cut.header.run.clone());
    let mut left = bytes_of(&model, &removed);
    let cutting = tokio::task::spawn_blocking(move || {
        let mut cutter = Batcher::new(cut, sender, stop);
        cutter.writes(model, &record_ids)?;
        cutter.deletes(&removed)
    });
    let (mut count, mut given_up) = (0, false);
    let mut deferring: Option<PlanStoreWriter<'_>> = None;
    let mut sends = SendPool::new(context);
    while let Some(message) = batches.recv().await {
        let message: Message = message;
        context.stop.check()?;
        left = left.saturating_sub(message.body.len() as u64);
        if deferring.is_none()
            && let Some(store) = time_is_over(context, left)
        {
            deferring = Some(PlanStoreWriter { store, run: &run, part: Vec::new(), parts: 0 });
        }
        match &mut deferring {
            Some(deferring) => deferring.add(&message).await?,
            None if !sends.send(message).await? => {
                given_up = true;
                break;
            }
            None => {}
        }
        count += 1;
    }
    drop(batches);
    given_up = !sends.finish().await? || given_up;
    match cutting.await.map_err(|e| Fault::new(Code::Internal, format!("The thread that cuts batches ended: {e}.")))? {
        Ok(()) | Err(BatchingEnd::NobodyListens) if given_up => Ok(Enqueued::GivenUp),
        Ok(()) | Err(BatchingEnd::NobodyListens) => match deferring {
            None => Ok(Enqueued::All(count)),
            Some(deferring) => Ok(Enqueued::Deferred { batches: count, parts: deferring.finish().await? }),
        },
        Err(BatchingEnd::Fault(fault)) => Err(fault),
    }
}

/// Sends on their way to the queue, as many at once as it likes.
pub(crate) struct SendPool<'a> {
    context: &'a Context,
    under_way: FuturesUnordered<BoxFuture<'a, Result<bool, Fault>>>,
}

impl<'a> SendPool<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self { context, under_way: FuturesUnordered::new() }
    }

    /// Begins to send a message, once there is room. `false`: the writers gave up.
    pub(crate) async fn send(&mut self, message: Message) -> Result<bool, Fault> {
        self.under_way.push(Box::pin(send(self.context, message)));
        self.fewer_than(self.context.queue.sends_at_once().max(1)).await
    }

    /// Waits until everything is in the queue. `false`: the writers gave up.
    pub(crate) async fn finish(mut self) -> Result<bool, Fault> {
        self.fewer_than(1).await
    }

    async fn fewer_than(&mut self, most: usize) -> Result<bool, Fault> {
        while self.under_way.len() >= most {
            if let Some(sent) = self.under_way.next().await
                && !sent?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Sends a message. `false`: the writers gave up. A queue that is full waits for writers, and there may be none any
/// more.
async fn send(context: &Context, message: Message) -> Result<bool, Fault> {
    let sent = tokio::select! {
        sent = context.queue.send(message) => Some(sent),
        () = context.slots.wait_halted() => None,
        () = context.stop.cancelled() => None,
    };
    context.stop.check()?;
    sent.transpose().map(|sent| sent.is_some())
}

/// The plan store, when `left` bytes of batches do not fit into the time that is left.
fn time_is_over(context: &Context, left: u64) -> Option<&dyn PlanStore> {
    let deadline = context.settings.deadline?;
    let store = context.plan_store.as_deref()?;
    (context.clock.now() >= deadline.of_enqueueing(left)).then_some(store)
}

/// About how many bytes the batches will have.
fn bytes_of(model: &Extracted, removed: &[Removed]) -> u64 {
    let writes = model.entries.iter().filter(|e| e.is_sent()).map(|e| e.len as usize + RECORD_OVERHEAD);
    let deletes = removed.iter().map(|r| 2 * r.identifier.len() + RECORD_OVERHEAD);
    writes.chain(deletes).map(|bytes| bytes as u64).sum()
}

/// Batches on their way to the plan store.
struct PlanStoreWriter<'a> {
    store: &'a dyn PlanStore,
    run: &'a str,
    part: Vec<u8>,
    parts: u32,
}

impl PlanStoreWriter<'_> {
    async fn add(&mut self, message: &Message) -> Result<(), Fault> {
        message.push_to(&mut self.part);
        if self.part.len() >= PART { self.put().await } else { Ok(()) }
    }

    async fn put(&mut self) -> Result<(), Fault> {
        let part = std::mem::take(&mut self.part);
        self.store.put(self.run, self.parts, part.into()).await?;
        self.parts += 1;
        Ok(())
    }

    async fn finish(mut self) -> Result<u32, Fault> {
        if !self.part.is_empty() {
            self.put().await?;
        }
        Ok(self.parts)
    }
}
