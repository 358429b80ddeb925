//! Batches on their way to a destination, and plans that wait for time.

use std::time::Duration;

use async_trait::async_trait;

use crate::batch::Message;
use crate::fault::Fault;

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
pub trait PlanStore: Send + Sync {
    /// Keeps a part of a run. Replaces one of the same number.
    async fn put(&self, run: &str, part: u32, bytes: bytes::Bytes) -> Result<(), Fault>;

    /// A part of a run, if it is there.
    async fn get(&self, run: &str, part: u32) -> Result<Option<bytes::Bytes>, Fault>;
}
