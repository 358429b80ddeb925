//! What the extractor answers to who invoked it by hand, and to `sluice … --stack`.

use domain::fault::Fault;
use domain::monitoring::health::SyncHealth;
use serde::Serialize;

/// A sync as the monitor saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonitorResponse {
    pub sync: String,
    pub paused: bool,
    /// What was seen; none when it could not be looked at.
    pub seen: Option<SyncHealth>,
    pub fault: Option<Fault>,
}

/// What the extractor answers; read by whoever invoked it by hand.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractorResponse {
    /// The run as far as the extractor saw it.
    Run(Box<domain::run::Run>),
    /// The run goes on in another invocation.
    Resumed {
        run: String,
    },
    /// No run: another is active, the sync is paused, or this very trigger has made one.
    Skipped(Fault),
    /// Syncs that an event of another system started.
    Started(Vec<String>),
    Plan(Box<engine::report::PlanReport>),
    /// What `check` found.
    Check(Box<engine::report::CheckReport>),
    /// What is known of a record.
    Explain(Box<engine::explain::ExplainReport>),
    /// Every sync as the monitor saw it.
    Watched(Vec<MonitorResponse>),
    /// It could not be answered.
    Fault(Fault),
}
