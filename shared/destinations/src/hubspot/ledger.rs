//! What became of each record of a batch, while requests about it are under way.

use std::collections::{HashMap, HashSet};

use domain::outcome::Outcome;

/// What became of the records so far.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Option<Outcome>>);

impl Ledger {
    pub(super) fn new(records: usize) -> Self {
        Self(vec![None; records])
    }

    /// Records of which nothing is known yet.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, o)| o.is_none()).map(|(at, _)| at)
    }

    /// What became of an open record.
    pub(super) fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(slot @ None) = self.0.get_mut(at) {
            *slot = Some(outcome);
        }
    }

    /// What became of a record after all.
    pub(super) fn replace(&mut self, at: usize, outcome: Outcome) {
        if let Some(slot) = self.0.get_mut(at) {
            *slot = Some(outcome);
        }
    }

    /// The accepted records, each with its record id.
    pub(super) fn accepted(&self) -> impl Iterator<Item = (usize, Option<&str>)> + '_ {
        self.0.iter().enumerate().filter_map(|(at, outcome)| match outcome {
            Some(Outcome::Accepted { record_id, .. }) => Some((at, record_id.as_deref())),
            _ => None,
        })
    }

    /// Refuses the open records that share what finds them: HubSpot would refuse the request for them.
    pub(super) fn refuse_duplicates(&mut self, keys: &[Option<String>]) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut twice = HashSet::new();
        for (at, key) in keys.iter().enumerate().filter_map(|(at, key)| Some((at, key.as_deref()?))) {
            if let Some(first) = seen.insert(key, at) {
                twice.extend([first, at]);
            }
        }
        let detail = "another record of the batch has the same identifier, as HubSpot compares it; make the identifier unique in the model";
        twice.into_iter().for_each(|at| self.set(at, Outcome::rejected("duplicate_identifier", detail)));
    }

    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        self.0.into_iter().map(|o| o.unwrap_or_else(Outcome::unmentioned)).collect()
    }
}
