//! The flow of a run, over ports: what a Lambda handler and the `sluice` command both call.
//!
//! One direction, two halves around the queue:
//!
//! ```text
//! run ─► plan: acquire ─ prepare ─ extract ─ diff ─ guards ║ digests ─ enqueue ─► queue
//!                            nothing is written before ════╝                        │
//!        close ◄─ commit ◄─ deliver: claim ─ send ─ record ◄────────────────────────┘
//! ```
//!
//! - [`run`] puts the first half in order; [`plan`] is what it does, [`started`] what is asked and answered,
//!   [`continuation`] how a run goes on whose batches did not all fit into one process.
//! - [`deliver`] is the second half: one message, from fence to settling.
//! - [`commit`] moves checksums, [`digests`] what vouches for them, [`close`] ends a run.
//! - For people: [`report`] and [`explain`], [`state`] (show, resend, forget), [`notify`] (alerts), [`progress`].

#![warn(missing_docs)]

pub mod cancel;
pub mod close;
pub mod commit;
pub mod continuation;
pub mod deadline;
pub mod deliver;
pub mod digests;
pub mod explain;
pub mod notify;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod started;
pub mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::config::RateLimit;
use domain::ports::{BatchQueue, Clock, Destination, PlanStore, Renew, StateStore, Warehouse};
use domain::sync::Sync;

pub use cancel::CancelToken;
pub use deadline::Deadline;
pub use progress::RunProgress;

/// What both halves of a run need, opened and ready.
#[derive(Clone)]
pub struct Context {
    /// The sync.
    pub sync: Arc<Sync>,
    /// Where its records go.
    pub destination: Arc<dyn Destination>,
    /// Opens the destination anew when it refuses the credentials; a process that begins with fresh ones needs none.
    pub renew: Option<Arc<dyn Renew>>,
    /// Where its state is kept.
    pub store: Arc<dyn StateStore>,
    /// The queue between the two halves.
    pub queue: Arc<dyn BatchQueue>,
    /// Where batches go that there is no time left to enqueue; only a process with a deadline needs one.
    pub plan_store: Option<Arc<dyn PlanStore>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Request slots of the destination's connection, shared by the writers of this process.
    pub slots: Arc<deliver::rate_limiter::RateLimiter>,
    /// Numbers for whoever watches.
    pub meter: Arc<RunProgress>,
    /// Tells everyone to stop.
    pub stop: CancelToken,
    /// Sizes and times.
    pub settings: Settings,
}

/// The first half: [`Context`] and a warehouse.
#[derive(Clone)]
pub struct Engine {
    /// What both halves need.
    pub context: Context,
    /// Where the rows come from.
    pub warehouse: Arc<dyn Warehouse>,
}

impl std::ops::Deref for Engine {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// Sizes and times of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A run without progress for this long is taken over by the next. It must be longer than a writer can
    /// be busy with one message.
    pub stall: Duration,
    /// How long a writer may keep a batch before another may claim it.
    pub claim: Duration,
    /// The rate that holds instead of the destination's own.
    pub rate: Option<RateLimit>,
    /// A writer waits this long for a request slot; a message whose slot is further away goes back to the queue. So
    /// does what is left of a message after this long.
    pub patience: Duration,
    /// Requests whose records one message holds, at most. More of them cost less; a writer that dies in the middle of a
    /// message leaves more that is sent again.
    pub requests_per_message: usize,
    /// When the system ends this process: the engine stops early enough, and says so. `None`: it is not ended.
    pub deadline: Option<Deadline>,
    /// The spool stays in memory up to this size, in bytes.
    pub spool_memory: usize,
    /// The folder for the spool's temporary file.
    pub spool_folder: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30 * 60),
            claim: Duration::from_secs(15 * 60),
            rate: None,
            patience: Duration::MAX,
            requests_per_message: 1,
            deadline: None,
            spool_memory: 16 * 1024 * 1024,
            spool_folder: std::env::temp_dir(),
        }
    }
}
