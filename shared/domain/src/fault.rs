//! Every sentence a user reads when something fails: a code, what happened, and what to do next.
//!
//! A [`Fault`] ends what it happened to (a run, a command); it is never about a single record, whose fate
//! is an [`crate::outcome::Outcome`] or an [`crate::mapping::Invalid`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of fault. The code is stable: alerts and scripts may match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The project folder or one of its files cannot be read.
    ProjectUnreadable,
    /// A sync file is not valid.
    SyncInvalid,
    /// `connections.yaml` is not valid.
    ConnectionInvalid,
    /// A secret that a connection refers to is not there.
    SecretMissing,
    /// Preflight found something that would make the run fail or do harm.
    PreflightFailed,
    /// The warehouse does not answer.
    WarehouseUnreachable,
    /// The warehouse refuses the credentials or the access.
    WarehouseDenied,
    /// The model's SQL fails.
    ModelFailed,
    /// The model took longer than its timeout.
    ModelTimeout,
    /// The destination does not answer.
    DestinationUnreachable,
    /// The destination refuses the credentials or the access.
    DestinationUnauthorized,
    /// The destination says that the address or the settings are wrong.
    DestinationMisconfigured,
    /// The destination's quota is used up for longer than a run waits.
    DestinationLimit,
    /// Another run of the same sync is active.
    RunActive,
    /// The same trigger has made a run before.
    AlreadyRun,
    /// The sync is paused.
    Paused,
    /// What was asked for does not fit into the time that the function has.
    OutOfTime,
    /// A guard stopped the run before anything was sent.
    GuardTripped,
    /// The plan is no longer the one that was approved.
    PlanChanged,
    /// A newer run took over.
    Superseded,
    /// The state store cannot be read or written, or changed under the run.
    StateUnusable,
    /// The queue cannot be read or written.
    QueueUnusable,
    /// A message of the queue that is none of ours, or damaged, or whose body is gone: reading it again changes
    /// nothing.
    MessageUnreadable,
    /// The spool cannot be written or read.
    SpoolUnusable,
    /// Stopped by the user or by the system.
    Interrupted,
    /// The run made no progress for its stall time.
    Stalled,
    /// An event that the function cannot read.
    EventUnknown,
    /// What the user asked for does not exist.
    NotFound,
    /// A mistake in Sluicegate itself.
    Internal,
}

impl Code {
    /// The code as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::ProjectUnreadable => "project_unreadable",
            Code::SyncInvalid => "sync_invalid",
            Code::ConnectionInvalid => "connection_invalid",
            Code::SecretMissing => "secret_missing",
            Code::PreflightFailed => "preflight_failed",
            Code::WarehouseUnreachable => "warehouse_unreachable",
            Code::WarehouseDenied => "warehouse_denied",
            Code::ModelFailed => "model_failed",
            Code::ModelTimeout => "model_timeout",
            Code::DestinationUnreachable => "destination_unreachable",
            Code::DestinationUnauthorized => "destination_unauthorized",
            Code::DestinationMisconfigured => "destination_misconfigured",
            Code::DestinationLimit => "destination_limit",
            Code::RunActive => "run_active",
            Code::AlreadyRun => "already_run",
            Code::Paused => "paused",
            Code::OutOfTime => "out_of_time",
            Code::GuardTripped => "guard_tripped",
            Code::PlanChanged => "plan_changed",
            Code::Superseded => "superseded",
            Code::StateUnusable => "state_unusable",
            Code::QueueUnusable => "queue_unusable",
            Code::MessageUnreadable => "message_unreadable",
            Code::SpoolUnusable => "spool_unusable",
            Code::Interrupted => "interrupted",
            Code::Stalled => "stalled",
            Code::EventUnknown => "event_unknown",
            Code::NotFound => "not_found",
            Code::Internal => "internal",
        }
    }

    /// What to do next when the fault itself does not say something better.
    pub fn next_step(self) -> &'static str {
        match self {
            Code::ProjectUnreadable => {
                "Run `sluice init` in an empty folder, or point --project at the folder that holds connections.yaml and syncs/."
            }
            Code::SyncInvalid => {
                "Correct the sync file; `sluice check` says when it is good, `sluice schema` prints what is allowed."
            }
            Code::ConnectionInvalid => "Correct connections.yaml; `sluice check` says when it is good.",
            Code::SecretMissing => "Set the variable or create the secret, then run again. Nothing was sent.",
            Code::PreflightFailed => "Correct what the findings name; nothing was read or sent.",
            Code::WarehouseUnreachable => {
                "Check host, port and network of the warehouse connection, then run again. Nothing was sent."
            }
            Code::WarehouseDenied => "Check user, password and grants of the warehouse connection. Nothing was sent.",
            Code::ModelFailed => {
                "Run the model's SQL in the warehouse to see it fail, correct it, then run again. Nothing was sent."
            }
            Code::ModelTimeout => {
                "Make the model faster or raise statement_timeout of the connection. Nothing was sent."
            }
            Code::DestinationUnreachable => {
                "Check the destination's address and status page. What was not delivered is planned again by the next run."
            }
            Code::DestinationUnauthorized => {
                "Renew the credentials of the connection. What was not delivered is planned again by the next run."
            }
            Code::DestinationMisconfigured => {
                "Correct the connection or the sync's destination. What was not delivered is planned again by the next run."
            }
            Code::DestinationLimit => {
                "Run again when the destination's quota is back. What was not delivered is planned again by the next run."
            }
            Code::RunActive => "Wait until it has ended; `sluice runs SYNC` shows it.",
            Code::AlreadyRun => "Nothing to do: the trigger was delivered twice, and its run exists.",
            Code::Paused => {
                "Let it run again with `sluice resume SYNC --stack STACK`. A tick missed meanwhile is not made up."
            }
            Code::OutOfTime => {
                "Read less in a run (a cursor, two syncs), or give the function more memory and time. Nothing was sent."
            }
            Code::GuardTripped => {
                "Look at it with `sluice plan SYNC`; if the change is meant, run again with --approve and the plan hash."
            }
            Code::PlanChanged => "Look at the new plan with `sluice plan SYNC` and approve its hash.",
            Code::Superseded => "Nothing to do: the newer run plans everything again.",
            Code::StateUnusable => {
                "Check that the state can be read and written (disk space, permissions), then run again; nothing is lost."
            }
            Code::QueueUnusable => "Run again: what was not delivered is planned again.",
            Code::MessageUnreadable => "Remove it: what was not delivered is planned again by the next run.",
            Code::SpoolUnusable => "Free some disk space in the temporary folder, then run again. Nothing was sent.",
            Code::Interrupted => "Run again: what was not delivered is planned again.",
            Code::Stalled => "Nothing to do: this run plans everything again that was not accepted.",
            Code::EventUnknown => "Compare it with the files of events/, which are what the function takes.",
            Code::NotFound => "Check the name; `sluice check` lists the syncs.",
            Code::Internal => "Please report it, with the message above.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure that a person has to read: what happened and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}\n  next: {} [{code}]", self.next_step())]
pub struct Fault {
    /// The kind.
    pub code: Code,
    /// What happened, to what: one or more sentences without a secret and without a record's values.
    pub what: String,
    /// What to do next, where it is more than [`Code::next_step`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Fault {
    /// A fault with the code's own next step.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), next: None }
    }

    /// The same with a better next step.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What to do next.
    pub fn next_step(&self) -> &str {
        self.next.as_deref().unwrap_or_else(|| self.code.next_step())
    }
}
