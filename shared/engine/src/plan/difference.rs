//! What a comparison of model and state comes to: records to send and to delete, and what the state must say before
//! that.

use std::collections::HashMap;

use domain::bucket::{Accepted, DeliveryFailure, FailureKind};
use domain::change::Counts;
use domain::clock::Millis;
use domain::key::KeyHash;
use domain::run::FailedBefore;

/// A record that is gone from the model and to be deleted at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Hash of its key.
    pub hash: KeyHash,
    /// The cells of its identifier.
    pub identifier: Box<[u8]>,
    /// The destination's id, where known.
    pub record_id: Option<Box<str>>,
    /// The revision of its being gone, one more than that of what was accepted.
    pub revision: u16,
    /// The state holds a failure of it.
    pub had_failure: bool,
}

/// The checksum that stands for "gone": a failed delete is noted under it.
pub const GONE: u64 = 0;

/// The checksum of an accepted version that nobody knows: it matches no record.
pub const UNKNOWN: u64 = 0;

/// What the comparison found. The entries of [`super::extract::Extracted`] now say which of them are to be sent.
#[derive(Debug, Default)]
pub struct Difference {
    /// How many of each kind.
    pub counts: Counts,
    /// Records that the destination had accepted before.
    pub known: u64,
    /// True when an entry that was looked at says that something was accepted, wherever and under whatever key.
    pub learnt: bool,
    /// Records that failed before in the version that the model has now.
    pub refused: FailedBefore,
    /// Records to delete, in the order of their hashes.
    pub removed: Vec<Removed>,
    /// Buckets with something to send, in order.
    pub dirty: Vec<u32>,
    /// Buckets with nothing left to do whose digest is not yet noted, in order.
    pub clean: Vec<(u32, u64)>,
    /// Records whose failure is over without sending (gone from the model, or back to what was accepted).
    pub forget: Vec<(KeyHash, Forget)>,
    /// What the state must say of records in doubt before the doubt can be forgotten: that some version was accepted,
    /// and not which. Else a record that is not sent now (it left the model, or is invalid, or is refused) would count
    /// as delivered when it goes back to the version that was accepted before.
    pub unknown: Vec<(KeyHash, Accepted)>,
    /// Keys that are spelt anew.
    pub(super) respelt: Vec<Respelt>,
    /// Accepted records of a mirror whose identifier the state does not know yet.
    pub unnamed: Vec<(KeyHash, Accepted)>,
    /// When the first of the held records is due.
    pub look_again: Option<Millis>,
    /// The destination's ids of changed records, where it gave some.
    pub record_ids: HashMap<KeyHash, Box<str>>,
    /// Hash of everything that would be sent.
    pub hash: String,
    /// Buckets read from the state.
    pub buckets_read: u64,
}

/// A key that is spelt anew.
#[derive(Debug)]
pub(super) struct Respelt {
    /// Hash of the key as it was.
    pub(super) old: KeyHash,
    /// What was accepted under it.
    pub(super) accepted: Accepted,
    /// How its delivery failed since, if it did.
    pub(super) failure: Option<DeliveryFailure>,
    /// Hash of the key of the record that owns its identifier now.
    pub(super) owner: KeyHash,
}

/// What to forget of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// Its failure; what was accepted stays.
    Failure,
    /// All of it: it was never accepted and the model no longer has it.
    Record,
}

impl Difference {
    /// Notes a record that failed before, unless it was skipped on purpose or has changed since.
    pub(super) fn note_refused(&mut self, failure: Option<&DeliveryFailure>, checksum: u64, held: bool) {
        if let Some(failure) = failure.filter(|t| t.kind != FailureKind::Skipped && t.checksum == checksum) {
            self.refused.note(failure.first, held);
        }
    }

    /// A record that the model no longer has is deleted, unless something holds that back.
    pub(super) fn gone(
        &mut self,
        hash: &KeyHash,
        accepted: &Accepted,
        failure: Option<&DeliveryFailure>,
        keyless: bool,
        now: Millis,
    ) {
        let Some(identifier) = &accepted.identifier else { return };
        if keyless {
            self.counts.deletes_held += 1;
            return;
        }
        if failure.is_some_and(|failure| failure.holds(GONE, now)) {
            self.counts.held += 1;
            self.due(failure);
            self.note_refused(failure, GONE, true);
            return;
        }
        self.counts.removed += 1;
        let removed = Removed {
            hash: *hash,
            identifier: identifier.clone(),
            record_id: accepted.record_id.clone(),
            revision: accepted.revision.wrapping_add(1),
            had_failure: failure.is_some(),
        };
        let at = self.removed.partition_point(|known| known.hash < *hash);
        self.removed.insert(at, removed);
    }

    /// These buckets have something to send after all.
    pub(super) fn touched(&mut self, mut buckets: Vec<u32>) {
        buckets.sort_unstable();
        self.clean.retain(|(clean, _)| buckets.binary_search(clean).is_err());
        self.dirty.extend(&buckets);
        self.dirty.sort_unstable();
        self.dirty.dedup();
    }

    /// Notes when a held record is due.
    pub(super) fn due(&mut self, failure: Option<&DeliveryFailure>) {
        if let Some(at) = failure.filter(|t| !t.is_unknown()).map(|t| t.next_retry) {
            self.look_again = Some(self.look_again.map_or(at, |first| first.min(at)));
        }
    }
}
