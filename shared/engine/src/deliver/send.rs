//! The requests of an attempt, one after the other: each waits for its slots, and what is refused whole is sent in
//! smaller parts until the record to blame is known.

use std::collections::VecDeque;
use std::time::Duration;

use domain::batch::{BatchRecord, WriteBatch};
use domain::fault::{Code, Fault};
use domain::outcome::{Outcome, WriteError};
use domain::ports::Destination;
use domain::retry::MAX_RETRY_AFTER;

use super::attempt::{Attempt, Attempted};
use super::on_error::{ErrorContext, PROBES, Reaction, on_error};

/// More requests than this for one message mean that halving gets nowhere: what is left waits for the next attempt.
const MAX_REQUESTS: u32 = 256;
/// After so long the fence is looked at again before a request.
const FENCE_AGAIN: Duration = Duration::from_secs(5);
/// The code of records whose request came to nothing.
pub(super) const UNAVAILABLE: &str = "unavailable";

impl Attempt<'_> {
    /// Sends the open records. A fault within means that the run must stop.
    pub(super) async fn send(&mut self, open: &[usize]) -> Result<Option<Fault>, Fault> {
        let identifiers = self.header.layout.clone();
        let mut parts = self.parts(open);
        // Every attempt begins with another request: one that fails always does not keep the others from being sent.
        let first = self.state.attempts as usize % parts.len().max(1);
        parts.rotate_left(first);
        let (mut requests, mut suspects, mut said) = (0, Vec::new(), String::new());
        let (began, patience) = (self.context.clock.now(), self.context.settings.patience);
        let mut looked = began;
        while let Some(part) = parts.pop_front() {
            // This process may be ended soon, and there is more for it to do: once something has come of it, the rest
            // is for another delivery.
            let patience = match self.has_results() {
                true => patience.saturating_sub(self.context.clock.now().since(began)),
                false => patience,
            };
            if patience.is_zero() && self.has_results() {
                self.wait = self.wait.max(Some(Duration::ZERO));
                self.defer(part.iter().chain(parts.iter().flatten()));
                break;
            }
            if requests == MAX_REQUESTS {
                let said = format!(
                    "{MAX_REQUESTS} requests for one batch were not enough to find the records that are refused; the last answer: {said}"
                );
                self.retry(part.iter().chain(parts.iter().flatten()), "too_many_refusals", &said);
                break;
            }
            let records: Vec<BatchRecord<'_>> = part.iter().map(|i| self.records[*i]).collect();
            let batch =
                WriteBatch { sync: &self.header.sync, op: self.header.op, layout: &identifiers, records: &records };
            let destination = self.destination();
            match self.take_slots(destination.as_ref(), &batch, patience).await {
                Ok(None) => {}
                // Waiting costs time that the queue has for nothing.
                Ok(Some(wait)) => {
                    self.wait = self.wait.max(Some(wait));
                    self.defer(part.iter().chain(parts.iter().flatten()));
                    break;
                }
                Err(fault) if fault.code == Code::DestinationLimit => {
                    self.defer(part.iter().chain(parts.iter().flatten()));
                    return Ok(Some(fault));
                }
                Err(fault) => return Err(fault),
            }
            // Whoever waited for long may have been taken over meanwhile: nothing older may come after what is newer.
            if self.context.clock.now().since(looked) > FENCE_AGAIN {
                if self.is_stale().await? {
                    return Ok(None);
                }
                looked = self.context.clock.now();
            }
            requests += 1;
            let error = match destination.write(&batch).await {
                Ok(outcomes) => {
                    self.note(&part, outcomes);
                    continue;
                }
                Err(error) => error,
            };
            said = error.to_string();
            match self.decide(error, &part).await? {
                Reaction::Reject { code, detail } => {
                    self.results[part[0]] = Attempted::Answered(Outcome::Rejected { code, detail })
                }
                Reaction::Halve => {
                    self.refused = true;
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.push_front(right.to_vec());
                    parts.push_front(left.to_vec());
                }
                Reaction::Probe => {
                    self.refused = true;
                    let (alone, rest) = spread(&part);
                    if !rest.is_empty() {
                        parts.push_front(rest);
                    }
                    alone.into_iter().rev().for_each(|index| parts.push_front(vec![index]));
                }
                Reaction::Suspect { code, detail } => {
                    self.retry(&part, &code, &detail);
                    suspects.push((part[0], code, detail));
                    // Something from elsewhere is tried next: neighbours may well have the same failure.
                    parts.rotate_right(usize::from(parts.len() > 1 && self.has_passed()));
                }
                Reaction::Wait { after } => {
                    self.defer(part.iter().chain(parts.iter().flatten()));
                    if let Some(fault) = self.pause_connection(after).await? {
                        return Ok(Some(fault));
                    }
                    break;
                }
                Reaction::Fail { after, detail } => {
                    self.unavailable(after, &detail);
                    self.may_have_arrived(&part);
                    self.retry(part.iter().chain(parts.iter().flatten()), UNAVAILABLE, &detail);
                    break;
                }
                Reaction::Renew => parts.push_front(part),
                Reaction::Stop { code, detail } => return Ok(Some(self.stopping(code, &detail))),
            }
        }
        self.judge(suspects);
        Ok(None)
    }

    /// Takes the outcomes of a request.
    fn note(&mut self, part: &[usize], outcomes: Vec<Outcome>) {
        if outcomes.len() != part.len() {
            // A connector must give one outcome each. One that does not has not told us anything.
            tracing::error!(
                expected = part.len(),
                got = outcomes.len(),
                "a destination gave a wrong number of outcomes"
            );
            part.iter().for_each(|i| self.take(*i, Outcome::unmentioned()));
            return;
        }
        if outcomes.iter().any(passes) {
            self.context.slots.refusals().passed(&self.header.run);
        }
        self.context.slots.answered();
        for (index, outcome) in part.iter().zip(outcomes) {
            self.take(*index, outcome);
        }
    }

    /// Takes the outcome of a record that was sent.
    pub(super) fn take(&mut self, index: usize, outcome: Outcome) {
        if let Outcome::Retry { after, .. } = &outcome {
            self.wait = self.wait.max(after.map(|after| after.min(MAX_RETRY_AFTER)));
            self.state.set_unseen(index);
        }
        self.results[index] = Attempted::Answered(outcome);
    }

    /// What a request that came to nothing means. Newer credentials are there when they are to be tried.
    pub(super) async fn decide(&mut self, error: WriteError, part: &[usize]) -> Result<Reaction, Fault> {
        let action = on_error(error.clone(), &self.facts(&error, part).await?);
        match action {
            Reaction::Renew if !self.renew().await? => Ok(on_error(error.clone(), &self.facts(&error, part).await?)),
            action => Ok(action),
        }
    }

    async fn facts(&self, error: &WriteError, part: &[usize]) -> Result<ErrorContext, Fault> {
        let facts = ErrorContext {
            records: part.len(),
            renewable: self.is_renewable(),
            passed: false,
            alone: 0,
            to_blame: false,
            planned: u64::MAX,
            in_a_row: 0,
            attempts: self.state.attempts,
            last: self.is_last(),
        };
        let (code, detail, of_all) = match error {
            WriteError::Throttled { .. } | WriteError::Unavailable { .. } => return Ok(facts),
            WriteError::Unauthorized { .. } if facts.renewable => return Ok(facts),
            WriteError::Refused { code, detail } => (code.as_str(), detail, false),
            WriteError::Unauthorized { detail } => ("unauthorized", detail, true),
            WriteError::Misconfigured { detail } => ("misconfigured", detail, true),
        };
        let alone = part.first().filter(|_| of_all && part.len() == 1).map(|index| self.records[*index].hash);
        let run = &self.header.run;
        let known = self.context.slots.refusals().refused(run, code, detail, alone);
        let facts = ErrorContext {
            alone: known.alone,
            to_blame: known.to_blame,
            in_a_row: known.in_a_row,
            passed: known.passed,
            ..facts
        };
        if !of_all {
            return Ok(facts);
        }
        // Rare enough to ask what other processes have seen.
        let store = self.context.store.as_ref();
        let passed = facts.passed
            || self.state.tally.accepted() > 0
            || self.has_passed()
            || store.tally(run).await?.accepted() > 0;
        let planned = store.run(&self.header.sync, run).await?.map_or(u64::MAX, |run| run.counts.to_send());
        Ok(ErrorContext { passed, planned, ..facts })
    }

    /// Records that were refused alone before anything else passed: once something has, they are to blame.
    fn judge(&mut self, suspects: Vec<(usize, String, String)>) {
        if !self.has_passed() {
            return;
        }
        for (index, code, detail) in suspects {
            self.results[index] = Attempted::Answered(Outcome::Rejected { code, detail });
        }
    }

    /// True when something of this attempt was accepted.
    fn has_passed(&self) -> bool {
        self.results.iter().any(|fate| matches!(fate, Attempted::Answered(outcome) if passes(outcome)))
    }

    /// The destination could not be asked.
    pub(super) fn unavailable(&mut self, after: Option<Duration>, detail: &str) {
        tracing::warn!(sync = self.header.sync, batch = self.header.number, detail, "the destination is unavailable");
        self.wait = self.wait.max(after.map(|a| a.min(MAX_RETRY_AFTER)));
    }

    pub(super) fn stopping(&self, code: Code, detail: &str) -> Fault {
        Fault::new(code, format!("The destination of `{}` {detail}", self.header.sync))
    }

    /// Waits for as many slots as the batch needs requests, at the rate that the destination has now; the time to wait
    /// where that is too long.
    async fn take_slots(
        &mut self,
        destination: &dyn Destination,
        batch: &WriteBatch<'_>,
        patience: Duration,
    ) -> Result<Option<Duration>, Fault> {
        let settings = &self.context.settings;
        if settings.rate.is_none() {
            self.context.slots.adjust(destination.limits().rate);
        }
        let requests = destination.requests(batch).max(1);
        let wait = self.context.slots.take(requests, &self.context.stop, patience).await?;
        if wait.is_none() {
            self.state.tally.requests += u64::from(requests);
            self.context.meter.add_requests(requests);
        }
        Ok(wait)
    }

    /// The open records in parts that one write takes: a batch that was cut for a job is larger.
    fn parts(&self, open: &[usize]) -> VecDeque<Vec<usize>> {
        let limits = self.context.destination.limits();
        let (mut parts, mut bytes) = (VecDeque::<Vec<usize>>::new(), 0);
        for index in open {
            let size = self.records[*index].fields.bytes().len();
            match parts.back_mut() {
                Some(part) if part.len() < limits.batch_records.max(1) && bytes + size <= limits.batch_bytes => {
                    part.push(*index);
                    bytes += size;
                }
                _ => {
                    parts.push_back(vec![*index]);
                    bytes = size;
                }
            }
        }
        parts
    }
}

/// True for what shows that credentials and address are good.
fn passes(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. } | Outcome::Skipped { .. })
}

/// Some records of a part, from all over it, and the others.
fn spread(part: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let most = (PROBES as usize).min(part.len());
    let chosen: Vec<usize> = (0..most).map(|n| n * part.len() / most).collect();
    let (mut alone, mut rest) = (Vec::new(), Vec::new());
    for (at, index) in part.iter().enumerate() {
        if chosen.contains(&at) { &mut alone } else { &mut rest }.push(*index);
    }
    (alone, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_come_from_all_over_a_part() {
        let part: Vec<usize> = (100..200).collect();
        let (alone, rest) = spread(&part);
        assert_eq!((alone, rest.len()), (vec![100, 120, 140, 160, 180], 95));
        assert_eq!(spread(&[3, 4]), (vec![3, 4], vec![]));
    }
}
