//! How a run is asked for, and how far its first half came.

use domain::run::{Run, Trigger};
use serde::{Deserialize, Serialize};

use crate::close::Closed;

/// How a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// What started it.
    pub trigger: Trigger,
    /// Send this plan although a guard trips: its hash. Good for this run only.
    pub approve: Option<String>,
    /// Read everything even if a cursor would do.
    pub full: bool,
}

/// How far the first half of a run came.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// The run is closed, by this call: there was nothing to send, a guard tripped, or a fault ended it, which is then
    /// in the run.
    Closed(Run),
    /// Either every batch is enqueued and writers will close the run, or another process has closed it already. This is
    /// the run as last seen.
    Running(Run),
    /// There was no time to enqueue all of it: the rest is to be enqueued from the plan store.
    Deferred(Run, Continuation),
}

impl Started {
    /// The run as it stands.
    pub fn run(&self) -> &Run {
        match self {
            Started::Closed(run) | Started::Running(run) | Started::Deferred(run, _) => run,
        }
    }

    pub(crate) fn closed(closed: Option<Closed>, run: Run) -> Self {
        match closed {
            Some(Closed { run, now: true }) => Started::Closed(run),
            Some(Closed { run, now: false }) => Started::Running(run),
            None => Started::Running(run),
        }
    }
}

/// What is left to enqueue of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// The run.
    pub run: String,
    /// Its generation: a newer one has planned everything again.
    pub generation: u64,
    /// Batches in all, those enqueued before included.
    pub batches: u32,
    /// Parts in the plan store.
    pub parts: u32,
    /// The part to go on with.
    pub part: u32,
    /// Messages of that part that are enqueued already.
    pub skip: usize,
}
