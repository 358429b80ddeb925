//! What people are told when a run of a sync is over: which problems the sync has, which of them are new, which are over.
//!
//! People are told once per change: what was told is kept with the run (`Run::alerted`), for each of those who are told.
//! A problem that a run says nothing about (how many records are held, for a run that never came to plan) stays as it
//! was. All of this is decided when a run is closed, and on AWS once more by the watch of the stack, with what it saw
//! ([`crate::watch`]): that no run starts, no run can tell.

mod text;

use serde::{Deserialize, Serialize};

pub use crate::alert_settings::{Alerts, Channel, Problem, SlackChannel, SnsChannel, Told, WebhookChannel};
use crate::clock::Millis;
use crate::run::{Run, Status};
use crate::watch::Seen;

/// What is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The run, closed.
    pub run: &'a Run,
    /// When the last run that delivered began.
    pub delivered: Option<Millis>,
    /// What a watch sees now; none when nobody watches and a run is told of.
    pub seen: Option<&'a Seen>,
    /// Records of the model at the last full read.
    pub records: u64,
    /// What was told before.
    pub before: &'a [Told],
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
pub enum Kind {
    /// At least one problem is new.
    Problem,
    /// No problem is new and at least one is over.
    Recovery,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing arrives, or not everything.
    Error,
    /// Most of it arrives.
    Warning,
    /// All is well.
    Resolved,
}

/// One problem in an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
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
pub struct Grouped {
    /// The code: the destination's, or `invalid` for those that were refused here.
    pub code: String,
    /// How many records.
    pub count: u64,
    /// What was said the first time.
    pub detail: String,
}

/// The run in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Numbers {
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
    pub kind: Kind,
    /// How bad it is now.
    pub severity: Severity,
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
    pub problems: Vec<Said>,
    /// Problems that it no longer has.
    pub over: Vec<Problem>,
    /// The run in numbers.
    pub numbers: Numbers,
    /// Why records were not accepted, the most frequent first.
    pub reasons: Vec<Grouped>,
    /// Commands to look further.
    pub commands: Vec<String>,
}

/// What is to be told, and what people then know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// To be told; `None`: nothing has changed.
    pub alert: Option<Alert>,
    /// What is known once it was told.
    pub told: Vec<Told>,
}

/// Decides what is to be told after a run.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let run = facts.run;
    let found: Vec<(Problem, Option<String>, String)> = text::problems(facts).into_iter().filter(|(problem, ..)| facts.settings.tells(*problem)).collect();
    let before: Vec<&Told> = facts.before.iter().filter(|told| facts.settings.tells(told.problem)).collect();
    let known = |problem, code: &Option<String>| before.iter().find(|told| told.problem == problem && told.code == *code);
    let mut told = Vec::new();
    let mut problems = Vec::new();
    for (problem, code, what) in found {
        let earlier = known(problem, &code);
        told.push(Told { problem, code: code.clone(), since: earlier.map_or(run.started, |told| told.since) });
        problems.push(Said { problem, code, what, new: earlier.is_none() });
    }
    let mut over = Vec::new();
    for earlier in before {
        if told.iter().any(|told| told.problem == earlier.problem) {
            continue;
        }
        if says_of(facts, earlier) {
            over.push(earlier.problem);
        } else {
            problems.push(Said { problem: earlier.problem, code: None, what: text::still(earlier), new: false });
            told.push(earlier.clone());
        }
    }
    problems.sort_by_key(|said| (!said.new, said.problem));
    told.sort_by_key(|told| told.problem);
    let kind = match (problems.iter().any(|said| said.new), over.is_empty()) {
        (true, _) => Kind::Problem,
        (false, false) => Kind::Recovery,
        (false, true) => return Decision { alert: None, told },
    };
    Decision { alert: Some(text::alert(facts, kind, problems, over)), told }
}

/// True when it is known whether the sync still has that problem: a run that ended early knows little.
fn says_of(facts: &Facts<'_>, earlier: &Told) -> bool {
    let run = facts.run;
    let went_through = matches!(run.status, Status::Complete | Status::Partial);
    match earlier.problem {
        Problem::Failed | Problem::Blocked | Problem::Incomplete => true,
        Problem::Partial | Problem::Held => went_through,
        Problem::Stale => facts.delivered.is_some(),
        Problem::NotLanded => !run.tally.read_back.is_empty(),
        // Seen to be over, or this run is another than the one after which it was told: so one has started.
        Problem::Overdue | Problem::Stalled => facts.seen.is_some() || run.started > earlier.since,
    }
}

#[cfg(test)]
mod tests;
