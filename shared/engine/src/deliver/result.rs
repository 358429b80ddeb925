//! What the queue does with a message after a delivery of it.

use std::time::Duration;

use domain::run::Run;

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum MessageResult {
    /// Remove it from the queue: its batch is done.
    Done,
    /// Remove it from the queue: its run is closed or was taken over, and none of its other messages will do more.
    Stale,
    /// Remove it from the queue: its run is closed. The run is here when it was closed by this very message, so
    /// that it is reported once.
    RunClosed(Option<Box<Run>>),
    /// Make it visible again after this time.
    RetryAfter(Duration),
}
