//! What a record has become since the destination last accepted it.

use serde::{Deserialize, Serialize};

use crate::bucket::{DeliveryFailure, FailureKind, StoredEntry};
use crate::clock::Millis;
use crate::mode::Mode;

/// The fate of a record of the model in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Never accepted: send it.
    Added,
    /// Accepted in another version: send it.
    Changed,
    /// Accepted as it is.
    Unchanged,
    /// Refused before and unchanged since: not sent until its pause is over.
    Held,
}

/// A record of the model, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its checksum.
    pub checksum: u64,
    /// A delivery of it began in an earlier run and nobody knows how it ended: what the state says of it
    /// cannot be trusted.
    pub in_doubt: bool,
}

/// Decides for one record that is in the model and valid.
pub fn decide(mode: Mode, wanted: Candidate, stored: Option<&StoredEntry>, now: Millis) -> Change {
    let accepted = stored.and_then(|e| e.accepted.as_ref());
    if mode == Mode::Append && accepted.is_some() {
        return Change::Unchanged;
    }
    let failed = stored.and_then(|e| e.failure.as_ref()).is_some_and(|t| t.checksum == wanted.checksum);
    let up_to_date = accepted.is_some_and(|a| a.checksum == wanted.checksum);
    // Sending this very version failed after the accepted one: what the destination holds is not known.
    if up_to_date && !wanted.in_doubt && !failed {
        return Change::Unchanged;
    }
    // What is sent once may have been sent, whichever version it was.
    let held_for_good = |t: &DeliveryFailure| mode == Mode::Append && t.is_unknown() && t.holds(t.checksum, now);
    // A record that was absent is absent for updates only: every other mode creates it.
    let absent = |t: &DeliveryFailure| t.kind == FailureKind::Skipped && mode != Mode::Update;
    let held = stored
        .and_then(|e| e.failure.as_ref())
        .is_some_and(|t| t.holds(wanted.checksum, now) && !absent(t) || held_for_good(t));
    match (held, accepted) {
        (true, _) => Change::Held,
        (false, None) => Change::Added,
        (false, Some(_)) => Change::Changed,
    }
}

/// True when the state has a record that is gone from the model and that this mode deletes.
pub fn removes(mode: Mode, stored: &StoredEntry) -> bool {
    mode == Mode::Mirror && stored.accepted.is_some()
}

/// How many records of each kind a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rows the model gave.
    pub rows: u64,
    /// Never accepted before.
    pub added: u64,
    /// Accepted in another version.
    pub changed: u64,
    /// Gone from the model: deleted in mirror mode, elsewhere not counted.
    pub removed: u64,
    /// Nothing to do.
    pub unchanged: u64,
    /// Refused before and unchanged since.
    pub held: u64,
    /// Refused by us: null or duplicate key, failed validation, a value that does not fit.
    pub invalid: u64,
    /// Outside the rollout's share of keys.
    pub outside_rollout: u64,
    /// Keys that are gone from the model and whose identifier a record of the model has: the key is spelt anew, and
    /// nothing is deleted.
    #[serde(default)]
    pub respelt: u64,
    /// Records of a mirror that are gone from the model and cannot be deleted: they were sent before it was one, or
    /// under another identifier.
    #[serde(default)]
    pub undeletable: u64,
    /// Deletes that wait because some rows of the model have no key: which records those are nobody can tell.
    #[serde(default)]
    pub deletes_held: u64,
}

impl Counts {
    /// Records to be sent.
    pub fn to_send(&self) -> u64 {
        self.added + self.changed + self.removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Accepted;

    fn stored(checksum: u64) -> StoredEntry {
        StoredEntry { accepted: Some(Accepted { checksum, ..Accepted::default() }), failure: None }
    }

    fn decide_(mode: Mode, checksum: u64, stored: Option<&StoredEntry>) -> Change {
        decide(mode, Candidate { checksum, in_doubt: false }, stored, Millis(0))
    }

    #[test]
    fn the_table() {
        for mode in [Mode::Upsert, Mode::Update] {
            assert_eq!(decide_(mode, 1, None), Change::Added);
            assert_eq!(decide_(mode, 1, Some(&stored(1))), Change::Unchanged);
            assert_eq!(decide_(mode, 2, Some(&stored(1))), Change::Changed);
        }
        assert_eq!(
            decide_(Mode::Append, 2, Some(&stored(1))),
            Change::Unchanged,
            "append never touches a record again"
        );
        assert_eq!(decide_(Mode::Mirror, 1, Some(&stored(1))), Change::Unchanged);
    }

    #[test]
    fn a_record_in_doubt_is_sent_even_if_the_state_agrees() {
        let wanted = Candidate { checksum: 1, in_doubt: true };
        assert_eq!(decide(Mode::Upsert, wanted, Some(&stored(1)), Millis(0)), Change::Changed);
        assert_eq!(decide(Mode::Append, wanted, Some(&stored(1)), Millis(0)), Change::Unchanged);
    }

    #[test]
    fn what_may_have_been_appended_is_not_appended_in_another_version() {
        let failure = DeliveryFailure::after(None, FailureKind::Rejected, 5, crate::bucket::UNKNOWN_OUTCOME, Millis(0));
        let entry = StoredEntry { accepted: None, failure: Some(failure.clone()) };
        assert_eq!(decide_(Mode::Append, 6, Some(&entry)), Change::Held);
        assert_eq!(decide_(Mode::Upsert, 6, Some(&entry)), Change::Added);
        let released =
            StoredEntry { accepted: None, failure: Some(DeliveryFailure { next_retry: Millis(0), ..failure }) };
        assert_eq!(decide_(Mode::Append, 6, Some(&released)), Change::Added, "a person let it go");
    }

    #[test]
    fn failure_holds_only_the_version_that_failed() {
        let failure = DeliveryFailure::after(None, FailureKind::Rejected, 5, "bad", Millis(0));
        let entry = StoredEntry { accepted: None, failure: Some(failure) };
        assert_eq!(decide_(Mode::Upsert, 5, Some(&entry)), Change::Held);
        assert_eq!(decide_(Mode::Upsert, 6, Some(&entry)), Change::Added);
        assert_eq!(
            decide(Mode::Upsert, Candidate { checksum: 5, in_doubt: false }, Some(&entry), Millis(i64::MAX)),
            Change::Added
        );
        assert!(!removes(Mode::Mirror, &entry), "what never arrived is not deleted");
    }
}
