//! An alert as a value: what it is decided from, and what people get. When one is due is decided in [`super::decide`],
//! its words are in [`super::text`].

use serde::{Deserialize, Serialize};

use crate::alert_settings::{Alerts, KnownProblem, Problem};
use crate::clock::Millis;
use crate::monitoring::health::SyncHealth;
use crate::run::{Run, Status};
use crate::usage::WarehouseUsage;

/// What is decided from.
#[derive(Debug, Clone, Copy)]
pub struct AlertInput<'a> {
    /// The run, closed.
    pub run: &'a Run,
    /// When the last run that delivered began.
    pub delivered: Option<Millis>,
    /// What a watch sees now; none when nobody watches and a run is told of.
    pub seen: Option<&'a SyncHealth>,
    /// Records of the model at the last full read.
    pub records: u64,
    /// What runs like it used of the warehouse before ([`crate::monitoring::cost::usual`]).
    pub usual: WarehouseUsage,
    /// What was told before.
    pub before: &'a [KnownProblem],
    /// Of what people are to be told.
    pub settings: &'a Alerts,
    /// The stack that the sync runs on; none on one machine.
    pub stack: Option<&'a str>,
    /// Now.
    pub now: Millis,
}

/// Whether an alert tells of something that began or of something that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// At least one problem is new.
    Problem,
    /// No problem is new and at least one is over.
    Recovery,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// Nothing arrives, or not everything.
    Error,
    /// Most of it arrives.
    Warning,
    /// All is well.
    Resolved,
}

/// One problem in an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedProblem {
    /// Which.
    pub problem: Problem,
    /// The fault's code, for a run that was ended by one.
    pub code: Option<String>,
    /// What happened, in a sentence or more.
    pub what: String,
    /// People were not told of it before.
    pub new: bool,
}

/// A reason for which records were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The code: the destination's, or `invalid` for those that were refused here.
    pub code: String,
    /// How many records.
    pub count: u64,
    /// What was said the first time.
    pub detail: String,
}

/// The run in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AlertCounts {
    /// Records that were to be sent.
    pub planned: u64,
    /// Accepted.
    pub accepted: u64,
    /// Rejected, or out of attempts.
    pub rejected: u64,
    /// Refused by us.
    pub invalid: u64,
    /// Held after an earlier rejection.
    pub held: u64,
    /// Not delivered before the run ended.
    pub unsent: u64,
    /// Accepted records that were read back.
    pub checked: u64,
    /// Those of them that the destination has as they were sent.
    pub landed: u64,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Something began, or something is over.
    pub kind: AlertKind,
    /// How bad it is now.
    pub severity: AlertSeverity,
    /// The sync.
    pub sync: String,
    /// The stack it runs on; none on one machine.
    pub stack: Option<String>,
    /// The run after which this is told.
    pub run: String,
    /// How that run ended.
    pub status: Status,
    /// When it was told, as `2026-01-02T03:04:05Z`.
    pub at: String,
    /// One line.
    pub title: String,
    /// Problems that the sync has now, new ones first.
    pub problems: Vec<ReportedProblem>,
    /// Problems that it no longer has.
    pub over: Vec<Problem>,
    /// The run in numbers.
    pub numbers: AlertCounts,
    /// Why records were not accepted, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// Commands to look further.
    pub commands: Vec<String>,
}
