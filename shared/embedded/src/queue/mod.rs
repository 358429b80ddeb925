//! The queue of one destination in memory, for runs on one machine.
//!
//! It keeps nothing beyond the process: what was not delivered when that ends is planned again by the
//! next run. Time is tokio's, so that tests can turn it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::Message;
use domain::fault::{Code, Fault};
use domain::ports::{BatchQueue, Delivery, Receipt};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Bytes of messages held at once, unless told otherwise.
pub const BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of a body, unless told otherwise: as much as the queue on AWS takes, so that plans are cut alike.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// What a message counts besides its body, so that tiny messages are bounded too.
const MESSAGE_BYTES: usize = 512;

/// A queue in memory.
pub struct MemoryQueue {
    visibility: Duration,
    max_body_bytes: usize,
    /// The bound, in permits of a byte. Fair: a large message is not overtaken for ever by small ones.
    room: Semaphore,
    bytes: u32,
    held: Mutex<QueueContents>,
    /// Wakes receivers. Someone is told of every message that is visible: the sender tells one receiver, and
    /// a receiver that leaves some behind tells the next. When the time to wait gets shorter, all are told.
    changed: Notify,
}

#[derive(Default)]
struct QueueContents {
    last: u64,
    messages: HashMap<u64, QueuedMessage>,
    /// When each message is to be seen, in that order: at once, after its delay, or when its visibility
    /// time has passed. Exactly one place for every message.
    seen_from: BTreeSet<(Instant, u64)>,
}

struct QueuedMessage {
    message: Message,
    permits: u32,
    receives: u32,
    seen_from: Instant,
}

impl MemoryQueue {
    /// A queue whose received messages stay invisible for `visibility`.
    pub fn new(visibility: Duration) -> Self {
        Self {
            visibility,
            max_body_bytes: MAX_BODY_BYTES,
            room: Semaphore::new(0),
            bytes: 0,
            held: Mutex::default(),
            changed: Notify::new(),
        }
        .with_bytes(BYTES)
    }

    /// The same with room for so many bytes. A larger message goes through when the queue is empty.
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = u32::try_from(bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        self.room = Semaphore::new(self.bytes as usize);
        self
    }

    /// The same with bodies up to so many bytes.
    pub fn with_max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    fn held(&self) -> MutexGuard<'_, QueueContents> {
        // Nothing between lock and release can panic half-way through a change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is visible; else says when to look again.
    fn take(&self, most: usize, now: Instant) -> Result<Vec<Delivery>, Option<Instant>> {
        let (deliveries, next) = {
            let mut held = self.held();
            let mut deliveries = Vec::new();
            while deliveries.len() < most && held.seen_from.first().is_some_and(|(from, _)| *from <= now) {
                let Some((_, id)) = held.seen_from.pop_first() else { break };
                let Some(stored) = held.messages.get_mut(&id) else { continue };
                stored.receives += 1;
                stored.seen_from = now + self.visibility;
                deliveries.push(Delivery {
                    message: stored.message.clone(),
                    receipt: receipt(id, stored.receives),
                    receives: stored.receives,
                });
                let place = (stored.seen_from, id);
                held.seen_from.insert(place);
            }
            (deliveries, held.seen_from.first().map(|(from, _)| *from))
        };
        if deliveries.is_empty() {
            return Err(next);
        }
        match next {
            Some(next) if next <= now => self.changed.notify_one(),
            // The messages just taken may be the only ones: who waits has to know when they come back.
            _ => self.changed.notify_waiters(),
        }
        Ok(deliveries)
    }
}

fn receipt(id: u64, receives: u32) -> Receipt {
    Receipt(format!("{id}-{receives}"))
}

impl QueueContents {
    /// The message of a receipt; `None` if it is gone or was received again since: then the later receipt counts.
    fn of(&self, receipt: &Receipt) -> Option<u64> {
        let (id, receives) = receipt.0.split_once('-')?;
        let (id, receives): (u64, u32) = (id.parse().ok()?, receives.parse().ok()?);
        self.messages.get(&id).is_some_and(|stored| stored.receives == receives).then_some(id)
    }

    fn remove(&mut self, id: u64) -> Option<QueuedMessage> {
        let stored = self.messages.remove(&id)?;
        self.seen_from.remove(&(stored.seen_from, id));
        Some(stored)
    }
}

#[async_trait]
impl BatchQueue for MemoryQueue {
    fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    async fn send(&self, message: Message) -> Result<(), Fault> {
        if message.body.len() > self.max_body_bytes {
            let (size, most) = (message.body.len(), self.max_body_bytes);
            return Err(Fault::new(
                Code::QueueUnusable,
                format!("Batch {} has {size} bytes, the queue takes {most}.", message.header.number),
            ));
        }
        let permits = u32::try_from(message.body.len() + MESSAGE_BYTES).unwrap_or(u32::MAX).min(self.bytes);
        let closed = |_| Fault::new(Code::QueueUnusable, "The queue in memory is closed.");
        self.room.acquire_many(permits).await.map_err(closed)?.forget();
        let seen_from = Instant::now();
        {
            let mut held = self.held();
            held.last += 1;
            let id = held.last;
            held.messages.insert(id, QueuedMessage { message, permits, receives: 0, seen_from });
            held.seen_from.insert((seen_from, id));
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault> {
        let most = most.max(1);
        let begun = Instant::now();
        let give_up = begun.checked_add(wait).unwrap_or(begun + Duration::from_secs(86_400));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change between looking and waiting is missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let next = match self.take(most, now) {
                Ok(deliveries) => return Ok(deliveries),
                Err(_) if now >= give_up => return Ok(Vec::new()),
                Err(next) => next.map_or(give_up, |next| next.min(give_up)),
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(next) => {}
            }
        }
    }

    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault> {
        {
            let mut held = self.held();
            let Some((id, mut stored)) = held.of(receipt).and_then(|id| Some((id, held.remove(id)?))) else {
                return Ok(());
            };
            stored.seen_from = Instant::now() + delay;
            held.seen_from.insert((stored.seen_from, id));
            held.messages.insert(id, stored);
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn done(&self, receipt: &Receipt) -> Result<(), Fault> {
        let removed = {
            let mut held = self.held();
            held.of(receipt).and_then(|id| held.remove(id))
        };
        if let Some(stored) = removed {
            self.room.add_permits(stored.permits as usize);
        }
        Ok(())
    }
}
