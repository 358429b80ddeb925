//! A run and its report: what was planned, what became of it, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert_settings::KnownProblem;
use crate::change::Counts;
use crate::clock::Millis;
use crate::fault::Fault;
use crate::guard::Tripped;
use crate::job::Job;
use crate::mapping::Invalid;
use crate::outcome::Effect;
use crate::readback::ReadbackResult;
use crate::usage::WarehouseUsage;

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person, by hand.
    Manual,
    /// A person, through the deployed function.
    Invoke {
        /// The invocation's id: the same invocation tried again has the same.
        id: String,
    },
    /// The schedule; the id tells one tick from another.
    Schedule {
        /// The tick.
        tick: String,
    },
    /// An event of another system.
    Event {
        /// The event's id: the same event delivered again has the same.
        id: String,
    },
}

impl Trigger {
    /// What tells this trigger from another, where a repeated delivery can be recognised.
    pub fn id(&self) -> Option<&str> {
        match self {
            Trigger::Manual => None,
            Trigger::Schedule { tick: id } | Trigger::Event { id } | Trigger::Invoke { id } => Some(id),
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Going on.
    Running,
    /// Everything planned was accepted, or skipped on purpose.
    Complete,
    /// Delivered, with records rejected, exhausted or invalid.
    Partial,
    /// Stopped by a guard before anything was sent.
    Blocked,
    /// Ended before everything was delivered; the next run plans again.
    Incomplete,
    /// Ended by a fault.
    Failed,
    /// Never began: another run had taken the sync at the same moment.
    Skipped,
}

impl Status {
    /// True when nothing more will happen in the run.
    pub fn is_closed(self) -> bool {
        self != Status::Running
    }
}

/// How often something happened, with the first example.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reason {
    /// How often.
    pub count: u64,
    /// What the destination said the first time.
    pub detail: String,
    /// Key of the first record it happened to.
    pub key: String,
}

/// Reasons are kept for at most so many codes.
pub const MAX_REASONS: usize = 20;

/// What became of records that were sent. Additive: the run's tally is the sum of its batches'.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Records handed to the destination at least once.
    pub sent: u64,
    /// Accepted, created there.
    pub created: u64,
    /// Accepted, updated there.
    pub updated: u64,
    /// Accepted, deleted there.
    pub deleted: u64,
    /// Accepted, the destination does not say how.
    pub accepted_unknown: u64,
    /// Not written on purpose.
    pub skipped: u64,
    /// Refused by the destination.
    pub rejected: u64,
    /// Attempts ran out.
    pub exhausted: u64,
    /// Given up because the run was stopped (credentials, settings): planned again by the next run.
    pub unsent: u64,
    /// Requests made, also those that failed.
    pub requests: u64,
    /// Times the destination asked to slow down.
    pub throttled: u64,
    /// Records that had to be sent more than once.
    pub retried: u64,
    /// Why records were not accepted, by code.
    pub reasons: BTreeMap<String, Reason>,
    /// What reading accepted records back came to.
    #[serde(skip_serializing_if = "ReadbackResult::is_empty")]
    pub read_back: ReadbackResult,
}

impl Tally {
    /// Accepted records, whatever the effect.
    pub fn accepted(&self) -> u64 {
        self.created + self.updated + self.deleted + self.accepted_unknown
    }

    /// The arithmetic that must hold when a batch is done:
    /// accepted + skipped + rejected + exhausted = sent.
    pub fn balances(&self) -> bool {
        self.accepted() + self.skipped + self.rejected + self.exhausted == self.sent
    }

    /// Counts an accepted record.
    pub fn accept(&mut self, effect: Effect) {
        match effect {
            Effect::Created => self.created += 1,
            Effect::Updated => self.updated += 1,
            Effect::Deleted => self.deleted += 1,
            Effect::Unknown => self.accepted_unknown += 1,
        }
    }

    /// Notes why a record was not accepted.
    pub fn reason(&mut self, code: &str, detail: &str, key: impl FnOnce() -> String) {
        if let Some(reason) = self.reasons.get_mut(code) {
            reason.count += 1;
        } else {
            let code = if self.reasons.len() < MAX_REASONS { code } else { "other" };
            self.reasons
                .entry(code.to_owned())
                .or_insert_with(|| Reason { count: 0, detail: detail.to_owned(), key: key() })
                .count += 1;
        }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.created += other.created;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.accepted_unknown += other.accepted_unknown;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.exhausted += other.exhausted;
        self.unsent += other.unsent;
        self.requests += other.requests;
        self.throttled += other.throttled;
        self.retried += other.retried;
        self.read_back.add(&other.read_back);
        for (code, reason) in &other.reasons {
            let code = if self.reasons.contains_key(code) || self.reasons.len() < MAX_REASONS {
                code.as_str()
            } else {
                "other"
            };
            self.reasons.entry(code.to_owned()).or_insert_with(|| Reason { count: 0, ..reason.clone() }).count +=
                reason.count;
        }
    }
}

/// A record refused by us, for the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidRecord {
    /// The key for people.
    pub key: String,
    /// What is wrong with it.
    #[serde(flatten)]
    pub why: Invalid,
}

/// One run, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Sorts by time, and no other run of any sync has it: `20260102T030405.678Z-12-5f3a9c1e`.
    pub id: String,
    /// The sync.
    pub sync: String,
    /// The version of the sync definition.
    pub sync_version: String,
    /// The generation it acquired.
    pub generation: u64,
    /// What started it.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: Status,
    /// When it acquired the head.
    pub started: Millis,
    /// When it was closed.
    pub ended: Option<Millis>,
    /// When it last got anywhere.
    pub progress: Millis,
    /// True when the model was read in full.
    pub full: bool,
    /// The plan in numbers.
    pub counts: Counts,
    /// The plan's hash.
    pub plan_hash: Option<String>,
    /// Batches planned; known when all are enqueued.
    pub batches: Option<u32>,
    /// What became of what was sent. Filled when the run is closed.
    pub tally: Tally,
    /// Guards that tripped.
    pub tripped: Vec<Tripped>,
    /// The first records refused by us.
    pub invalid: Vec<InvalidRecord>,
    /// What ended it early, or stopped its sending.
    pub fault: Option<Fault>,
    /// Refused records that the plan met, skipped ones apart.
    #[serde(default)]
    pub refused: FailedBefore,
    /// What was told of the sync's problems up to this run, by the name of who was told. `None`: nobody was looked
    /// for after this run, so the run before says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerted: Option<BTreeMap<String, Vec<KnownProblem>>>,
    /// What reading the model used at the warehouse, as far as it says.
    #[serde(default, skip_serializing_if = "WarehouseUsage::is_empty")]
    pub usage: WarehouseUsage,
    /// What people should know of the plan, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the head keeps if the run is delivered in full.
    pub on_success: OnSuccess,
}

/// Records of the model that failed before in the version that the model has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailedBefore {
    /// How many of them are held.
    pub held: u64,
    /// When the first of them failed, those included that are sent again.
    pub since: Option<Millis>,
}

impl FailedBefore {
    /// Notes one that failed first at `first`.
    pub fn note(&mut self, first: Millis, held: bool) {
        self.held += u64::from(held);
        self.since = Some(self.since.map_or(first, |since| since.min(first)));
    }
}

/// What a run leaves for the next one when everything it planned was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OnSuccess {
    /// Where the next incremental read begins.
    pub cursor: Option<String>,
    /// Records of the model, after a full read.
    pub records: Option<u64>,
    /// The columns for the drift guard.
    pub columns: Vec<crate::row::Column>,
    /// Records that were accepted before the run, deletes of the plan taken off.
    #[serde(default)]
    pub known: u64,
    /// When the first of the held records is due.
    #[serde(default)]
    pub look_again: Option<Millis>,
    /// The model's version, asked before it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
}

impl Run {
    /// The status of a delivered run from its numbers. `refused`: records that were refused by earlier runs and are
    /// held.
    pub fn delivered_status(counts: &Counts, tally: &Tally, refused: u64) -> Status {
        if tally.unsent > 0 {
            Status::Incomplete
        } else if tally.rejected + tally.exhausted + counts.invalid + refused > 0 {
            Status::Partial
        } else {
            Status::Complete
        }
    }

    /// True when the run leaves nothing behind that is still to arrive: every record to send was accepted, skipped,
    /// rejected, held or invalid. Whoever is refused is told of apart, and a few of them do not make all the others
    /// old. A record that was not sent, or ran out of attempts, is data that the destination should have and has not.
    pub fn has_delivered(&self) -> bool {
        matches!(self.status, Status::Complete | Status::Partial) && self.tally.exhausted + self.tally.unsent == 0
    }
}

/// What a batch has come to so far. Replaces what was stored for it, so writing it twice counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchState {
    /// Real attempts so far.
    pub attempts: u32,
    /// A bit for each record (in order, lowest bit first) that needs no more sending.
    pub settled: Vec<u8>,
    /// A bit for each record that may have arrived unseen: a request or a job of it got no clear answer, and nothing
    /// has been accepted since. Whatever else is said of it later, it stays in doubt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<u8>,
    /// Nothing is left to send.
    pub done: bool,
    /// The notes of records that stay in doubt although the batch is done (see [`crate::in_doubt`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubt: Vec<u8>,
    /// The job that has the records which are not settled yet (see [`crate::job`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<Job>>,
    /// The numbers so far.
    pub tally: Tally,
}

impl BatchState {
    /// True when record `index` needs no more sending.
    pub fn is_settled(&self, index: usize) -> bool {
        bit(&self.settled, index)
    }

    /// Marks record `index` as needing no more sending.
    pub fn settle(&mut self, index: usize) {
        set_bit(&mut self.settled, index);
    }

    /// True when record `index` may have arrived unseen.
    pub fn is_unseen(&self, index: usize) -> bool {
        bit(&self.unseen, index)
    }

    /// Notes that record `index` may have arrived unseen.
    pub fn set_unseen(&mut self, index: usize) {
        set_bit(&mut self.unseen, index);
    }

    /// The destination accepted record `index`: what came before does not matter any more.
    pub fn clear_unseen(&mut self, index: usize) {
        if let Some(byte) = self.unseen.get_mut(index / 8) {
            *byte &= !(1 << (index % 8));
        }
    }
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

fn set_bit(bits: &mut Vec<u8>, index: usize) {
    if bits.len() <= index / 8 {
        bits.resize(index / 8 + 1, 0);
    }
    bits[index / 8] |= 1 << (index % 8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_balance() {
        let mut a = Tally { sent: 3, requests: 1, ..Tally::default() };
        a.accept(Effect::Created);
        a.accept(Effect::Unknown);
        a.rejected += 1;
        a.reason("bad", "no such option", || "7".into());
        let mut sum = Tally::default();
        sum.add(&a);
        sum.add(&a);
        assert!(sum.balances());
        assert_eq!((sum.accepted(), sum.reasons["bad"].count), (4, 2));
        sum.sent += 1;
        assert!(!sum.balances());
    }

    #[test]
    fn a_run_has_delivered_despite_refused_records_but_not_missing_ones() {
        let run = |status: Status, tally: &Tally| {
            let json = serde_json::json!({
                "id": "r", "sync": "crm", "sync_version": "v", "generation": 1, "trigger": "manual", "status": status, "started": 1, "ended": 2,
                "progress": 2, "full": true, "counts": Counts { held: 2, invalid: 1, ..Counts::default() }, "plan_hash": null, "batches": 1,
                "tally": tally, "tripped": [], "invalid": [], "fault": null, "on_success": OnSuccess::default(),
            });
            serde_json::from_value::<Run>(json).unwrap().has_delivered()
        };
        let tally = |rejected, exhausted, unsent| Tally {
            sent: 9,
            created: 5,
            skipped: 1,
            rejected,
            exhausted,
            unsent,
            ..Tally::default()
        };
        for (status, tally, delivered) in [
            (Status::Complete, tally(0, 0, 0), true),
            (Status::Partial, tally(3, 0, 0), true),
            (Status::Partial, tally(0, 1, 0), false),
            (Status::Incomplete, tally(0, 0, 1), false),
            (Status::Failed, tally(0, 0, 0), false),
            (Status::Blocked, tally(0, 0, 0), false),
            (Status::Running, tally(0, 0, 0), false),
        ] {
            assert_eq!(run(status, &tally), delivered, "{status:?} {tally:?}");
        }
    }

    #[test]
    fn reasons_are_bounded() {
        let mut t = Tally::default();
        for i in 0..100 {
            t.reason(&format!("code-{i:03}"), "", String::new);
        }
        assert_eq!(t.reasons.len(), MAX_REASONS + 1);
        assert_eq!(t.reasons.values().map(|r| r.count).sum::<u64>(), 100);
    }

    #[test]
    fn settled_bits() {
        let mut state = BatchState::default();
        state.settle(9);
        assert!(state.is_settled(9) && !state.is_settled(8) && !state.is_settled(1000));
    }
}
