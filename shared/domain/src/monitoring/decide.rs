//! What people are alerted of when a run of a sync is over: which problems the sync has, which of them are new, which
//! are over.
//!
//! People are told once per change: what was told is kept with the run (`Run::alerted`), for each of those who are
//! told. A problem that a run says nothing about (how many records are held, for a run that never came to plan) stays
//! as it was. All of this is decided when a run is closed, and on AWS once more by the stack's monitor, with what it
//! saw ([`super::health`]): that no run starts, no run can tell.

use super::alert::{Alert, AlertInput, AlertKind, ReportedProblem};
use super::text;
use crate::alert_settings::{KnownProblem, Problem};
use crate::run::Status;

/// What is to be told, and what people then know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertDecision {
    /// To be told; `None`: nothing has changed.
    pub alert: Option<Alert>,
    /// What is known once it was told.
    pub told: Vec<KnownProblem>,
}

/// Decides what is to be told after a run.
pub fn decide(facts: &AlertInput<'_>) -> AlertDecision {
    let run = facts.run;
    let found: Vec<(Problem, Option<String>, String)> =
        text::problems(facts).into_iter().filter(|(problem, ..)| facts.settings.tells(*problem)).collect();
    let before: Vec<&KnownProblem> = facts.before.iter().filter(|told| facts.settings.tells(told.problem)).collect();
    let known =
        |problem, code: &Option<String>| before.iter().find(|told| told.problem == problem && told.code == *code);
    let mut told = Vec::new();
    let mut problems = Vec::new();
    for (problem, code, what) in found {
        let earlier = known(problem, &code);
        told.push(KnownProblem { problem, code: code.clone(), since: earlier.map_or(run.started, |told| told.since) });
        problems.push(ReportedProblem { problem, code, what, new: earlier.is_none() });
    }
    let mut over = Vec::new();
    for earlier in before {
        if told.iter().any(|told| told.problem == earlier.problem) {
            continue;
        }
        if says_of(facts, earlier) {
            over.push(earlier.problem);
        } else {
            problems.push(ReportedProblem {
                problem: earlier.problem,
                code: None,
                what: text::still(earlier),
                new: false,
            });
            told.push(earlier.clone());
        }
    }
    problems.sort_by_key(|said| (!said.new, said.problem));
    told.sort_by_key(|told| told.problem);
    let kind = match (problems.iter().any(|said| said.new), over.is_empty()) {
        (true, _) => AlertKind::Problem,
        (false, false) => AlertKind::Recovery,
        (false, true) => return AlertDecision { alert: None, told },
    };
    AlertDecision { alert: Some(text::alert(facts, kind, problems, over)), told }
}

/// True when it is known whether the sync still has that problem: a run that ended early knows little.
fn says_of(facts: &AlertInput<'_>, earlier: &KnownProblem) -> bool {
    let run = facts.run;
    let went_through = matches!(run.status, Status::Complete | Status::Partial);
    match earlier.problem {
        Problem::Failed | Problem::Blocked | Problem::Incomplete => true,
        Problem::Partial | Problem::Held => went_through,
        Problem::Stale => facts.delivered.is_some(),
        Problem::Costly => !run.usage.is_empty(),
        Problem::NotLanded => !run.tally.read_back.is_empty(),
        // Seen to be over, or this run is another than the one after which it was told: so one has started.
        Problem::Overdue | Problem::Stalled => facts.seen.is_some() || run.started > earlier.since,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
