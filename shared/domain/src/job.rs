//! Job APIs: destinations that take many records at once, work through them in their own time, and say afterwards
//! what became of each. Here is the face that such a destination has besides [`crate::ports::Destination`]; the
//! engine's half is `engine::deliver`.
//!
//! The life of a batch that a job takes: [`Jobs::submit`] → the ticket is stored with the batch → any number of
//! [`Jobs::poll`], each by whichever writer gets the message next → outcomes, committed as those of a write are.
//! Nobody holds a function open while the destination works, and polling costs no attempt.
//!
//! A job outlives the run that submitted it. So the next run that sends anything first has every job of an earlier run
//! stopped ([`Jobs::abort`], `engine::deliver::old_jobs`), whose tickets it finds with the records in doubt: their
//! older values cannot come after newer ones, and what they did until then is sent again as everything else in doubt
//! is.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::batch::WriteBatch;
use crate::clock::Millis;
use crate::mode::Mode;
use crate::outcome::{Outcome, WriteError};

/// What a plan will ask of a destination, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedLoad {
    /// How the records are written.
    pub mode: Mode,
    /// Records to be written: added and changed.
    pub writes: u64,
    /// Records to be deleted.
    pub deletes: u64,
}

impl PlannedLoad {
    /// All of them.
    pub fn records(&self) -> u64 {
        self.writes + self.deletes
    }
}

/// What the destination calls a job, with whatever it needs to ask for it again. Opaque to the engine, kept in the
/// state: at most 1 KB, no secret and no record content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket(pub String);

/// A job under way, as the state of its batch remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub ticket: Ticket,
    /// When it was submitted.
    pub begun: Millis,
    /// When the destination last said something about it.
    pub heard: Millis,
    /// Polls in a row that came to nothing.
    #[serde(default)]
    pub failures: u32,
}

/// What a poll came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Not done yet.
    Running {
        /// When to ask again.
        after: Duration,
    },
    /// Done: exactly one outcome for every record, in the batch's order. A record that the job's results do not
    /// mention is [`Outcome::unmentioned`]; a job that the destination no longer knows leaves all of them so.
    Finished(Vec<Outcome>),
}

/// What a call about a job came to, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<T> {
    /// Requests that were sent for it, whatever became of them.
    pub requests: u32,
    /// What was said.
    pub result: Result<T, WriteError>,
}

/// What stopping a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortResult {
    /// It changes nothing any more: it was stopped, had ended, or nobody knows it.
    Over,
    /// It cannot be stopped and goes on.
    GoesOn {
        /// When to ask again.
        after: Duration,
    },
}

/// A destination with a job API.
///
/// A writer may die between any two of these calls, and between a call and the storing of what it said. So:
/// - `submit` should only hand the records over, and the first `poll` should start the job, wherever the destination
///   has such a step: a ticket that was lost then had no effect. Where it has none, the batch is submitted again, and
///   the operations must be ones that can be repeated, or the connector's header says what the worst duplicate is.
/// - `poll` must be repeatable at any time, also after it has given the outcomes.
/// - after `abort` has said [`AbortResult::Over`], no call starts the job again: a `poll` that comes late finds it
///   stopped.
///
/// Errors of both are those of a write. What they mean here: a poll that is throttled or unavailable is repeated with
/// the ticket kept; a job that is `Refused` as a whole is given up, and its records go through
/// [`crate::ports::Destination::write`] in parts, which finds the record to blame.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// True when this batch is better off as a job. A batch larger than the destination's `limits` allow that is not
    /// taken is written in parts.
    fn takes(&self, batch: &WriteBatch<'_>) -> bool;

    /// Most requests that one of the calls below usually makes: as many slots of the connection's rate are taken
    /// before.
    fn requests(&self) -> u32 {
        1
    }

    /// Hands the records over.
    async fn submit(&self, batch: &WriteBatch<'_>) -> Counted<Ticket>;

    /// Asks how far the job is; `batch` holds the records it was submitted with.
    async fn poll(&self, ticket: &Ticket, batch: &WriteBatch<'_>) -> Counted<Poll>;

    /// Stops a job whose records are going to be sent again. Rows that it has worked through stay as they are.
    async fn abort(&self, ticket: &Ticket) -> Counted<AbortResult>;
}
