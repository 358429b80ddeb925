//! What everyone of this process knows of refused requests: whether anything of a run has passed, which records were
//! refused alone since, and how often the same words came in a row.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::key::KeyHash;

/// Runs that are remembered. One that is forgotten begins anew.
const MAX_RUNS: usize = 64;
/// Records that are remembered as refused alone.
const MAX_RECORDS_ALONE: usize = 16;
/// Records that are remembered as being to blame.
const MAX_BLAMED_RECORDS: usize = 100_000;

/// By run.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<String, RunRefusals>>);

#[derive(Debug, Default)]
struct RunRefusals {
    passed: bool,
    alone: BTreeSet<KeyHash>,
    /// Refused alone, and something passed after that: those are to blame.
    blamed: HashSet<KeyHash>,
    words: (String, String),
    in_a_row: u32,
}

/// What is known after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCounts {
    /// Something has passed.
    pub passed: bool,
    /// Records that were refused alone since something passed last.
    pub alone: u32,
    /// The record was refused alone before, and something else has passed since.
    pub to_blame: bool,
    /// Requests in a row that were refused with the same words.
    pub in_a_row: u32,
}

impl Refusals {
    /// Something of the run was accepted.
    pub fn passed(&self, run: &str) {
        let mut all = self.all();
        if !all.contains_key(run) {
            all.insert(run.to_owned(), RunRefusals::default());
        }
        let Some(of) = all.get_mut(run) else { return };
        of.passed = true;
        of.in_a_row = 0;
        if !of.alone.is_empty() && of.blamed.len() < MAX_BLAMED_RECORDS {
            of.blamed.extend(std::mem::take(&mut of.alone));
        }
        of.alone.clear();
    }

    /// A request was refused whole, with this code and these words; `alone` is its record when it had only one.
    pub fn refused(&self, run: &str, code: &str, detail: &str, alone: Option<KeyHash>) -> RefusalCounts {
        let mut all = self.all();
        if all.len() >= MAX_RUNS && !all.contains_key(run) {
            all.clear();
        }
        let of = all.entry(run.to_owned()).or_default();
        let to_blame = alone.is_some_and(|hash| of.blamed.contains(&hash));
        if of.alone.len() < MAX_RECORDS_ALONE && !to_blame {
            of.alone.extend(alone);
        }
        if (of.words.0.as_str(), of.words.1.as_str()) != (code, detail) {
            (of.words, of.in_a_row) = ((code.to_owned(), detail.to_owned()), 0);
        }
        of.in_a_row += 1;
        RefusalCounts {
            passed: of.passed,
            alone: u32::try_from(of.alone.len()).unwrap_or(u32::MAX),
            to_blame,
            in_a_row: of.in_a_row,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, RunRefusals>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_ends_a_row() {
        let refusals = Refusals::default();
        let hash = |n: u8| KeyHash([n; 12]);
        assert_eq!(
            refusals.refused("r", "a", "x", None),
            RefusalCounts { passed: false, alone: 0, in_a_row: 1, to_blame: false }
        );
        assert_eq!(
            refusals.refused("r", "a", "x", Some(hash(1))),
            RefusalCounts { passed: false, alone: 1, in_a_row: 2, to_blame: false }
        );
        assert_eq!(
            refusals.refused("r", "a", "x", Some(hash(1))),
            RefusalCounts { passed: false, alone: 1, in_a_row: 3, to_blame: false }
        );
        assert_eq!(
            refusals.refused("r", "a", "y", Some(hash(2))),
            RefusalCounts { passed: false, alone: 2, in_a_row: 1, to_blame: false }
        );
        assert_eq!(
            refusals.refused("other", "a", "y", None),
            RefusalCounts { passed: false, alone: 0, in_a_row: 1, to_blame: false }
        );
        refusals.passed("r");
        assert_eq!(
            refusals.refused("r", "a", "y", Some(hash(3))),
            RefusalCounts { passed: true, alone: 1, in_a_row: 1, to_blame: false }
        );
        assert_eq!(
            refusals.refused("r", "a", "y", Some(hash(2))),
            RefusalCounts { passed: true, alone: 1, in_a_row: 2, to_blame: true }
        );
    }
}
