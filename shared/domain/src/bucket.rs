//! What the state holds for records: packed into buckets, so that cost follows change and not size.

use serde::{Deserialize, Serialize};

use crate::clock::{Millis, Span};
use crate::key::KeyHash;

/// Records per bucket that a new sync is laid out for.
pub const RECORDS_PER_BUCKET: u64 = 64;
/// Average at which the next run re-buckets.
pub const REBUCKET_ABOVE: u64 = 256;
/// Most buckets there can be, as a power of two.
pub const MAX_BITS: u8 = 24;

/// The power of two of buckets for so many records.
pub fn bits_for(records: u64) -> u8 {
    let buckets = records.div_ceil(RECORDS_PER_BUCKET).max(1);
    // The next power of two would leave buckets half empty; from 1.5 times on it is nearer than the last.
    let floor = buckets.ilog2() as u8;
    let up = u8::from(buckets >= (3u64 << floor) / 2 && buckets > 1);
    (floor + up).min(MAX_BITS)
}

/// True when `records` in `2^bits` buckets are too many for them.
pub fn outgrown(records: u64, bits: u8) -> bool {
    bits < MAX_BITS && records >> bits >= REBUCKET_ABOVE
}

/// What is known of one record. At least one of `accepted` and `failure` is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredEntry {
    /// What the destination accepted last.
    pub accepted: Option<Accepted>,
    /// Why the newest version did not arrive.
    pub failure: Option<DeliveryFailure>,
}

/// What the destination accepted last of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Checksum of the accepted record.
    pub checksum: u64,
    /// Counts accepted versions; wraps.
    pub revision: u16,
    /// In mirror mode: the cells of the identifier fields, needed to delete it.
    pub identifier: Option<Box<[u8]>>,
    /// The destination's id for it, where it gave one.
    pub record_id: Option<Box<str>>,
}

/// Why a delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The destination refused it; unchanged it is held.
    Rejected,
    /// The destination has no such record (update mode); unchanged it is held.
    Skipped,
    /// Its attempts ran out; the next run sends it again.
    Exhausted,
}

/// A failed delivery of a record: what was sent, why it failed, when to try again unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFailure {
    /// The kind.
    pub kind: FailureKind,
    /// Checksum of the version that failed; another version is sent at once.
    pub checksum: u64,
    /// The destination's code.
    pub code: String,
    /// When it first failed with this checksum.
    pub first: Millis,
    /// Failures with this checksum.
    pub failures: u32,
    /// Not before then, unless the record changes.
    pub next_retry: Millis,
}

/// Pause after the first refusal; doubles with every further one …
pub const HOLD_FIRST: Span = Span::seconds(3600);
/// … up to this.
pub const HOLD_MOST: Span = Span::seconds(7 * 86_400);

/// The code of a record that a destination rejects because nobody knows whether it arrived, and because it cannot be
/// sent again without perhaps arriving twice. It is held until a person lets it go, or (but in mode append) it changes.
pub const UNKNOWN_OUTCOME: &str = "unknown_outcome";
/// As good as for ever: 1,000 years.
const HOLD_UNKNOWN: Span = Span::seconds(1000 * 365 * 86_400);

impl DeliveryFailure {
    /// The failure after one more failure at `now`: pauses double while the same version keeps failing.
    pub fn after(
        previous: Option<&DeliveryFailure>,
        kind: FailureKind,
        checksum: u64,
        code: &str,
        now: Millis,
    ) -> DeliveryFailure {
        let same = previous.filter(|p| p.checksum == checksum && p.kind == kind);
        let failures = same.map_or(1, |p| p.failures.saturating_add(1));
        let pause = match kind {
            FailureKind::Exhausted => std::time::Duration::ZERO,
            // Sent again, it might arrive twice: that is for a person to decide.
            FailureKind::Rejected if code == UNKNOWN_OUTCOME => HOLD_UNKNOWN.0,
            _ => HOLD_FIRST.0.saturating_mul(1 << (failures - 1).min(16)).min(HOLD_MOST.0),
        };
        DeliveryFailure {
            kind,
            checksum,
            code: code.to_owned(),
            first: same.map_or(now, |p| p.first),
            failures,
            next_retry: now.plus(pause),
        }
    }

    /// True when nobody knows whether the record arrived, and it must not arrive twice.
    pub fn is_unknown(&self) -> bool {
        self.kind == FailureKind::Rejected && self.code == UNKNOWN_OUTCOME
    }

    /// True when a record of this checksum is not to be sent at `now`.
    pub fn holds(&self, checksum: u64, now: Millis) -> bool {
        // A pause that no rule gives was noted by a clock that was ahead.
        let believed = self.is_unknown() || self.next_retry.since(now) <= HOLD_MOST.0;
        self.checksum == checksum && now < self.next_retry && believed
    }
}

/// One change to the state of one record. Blind and idempotent: it needs no read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryWrite {
    /// The destination accepted this version.
    Accepted {
        /// What it accepted.
        accepted: Accepted,
        /// Also forget its failure.
        clear_failure: bool,
    },
    /// The destination deleted it, or there is nothing left to remember.
    Removed,
    /// It failed; what was accepted before stays.
    Failure(DeliveryFailure),
    /// Forget its failure, so that the next run sends it again.
    ClearFailure,
}

/// A bucket as read from the state: entries in the order of their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Number of the bucket.
    pub number: u32,
    /// Its records.
    pub entries: Vec<(KeyHash, StoredEntry)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_about_sixty_four() {
        assert_eq!(bits_for(0), 0);
        assert_eq!(bits_for(64), 0);
        for records in [1_000u64, 10_000, 100_000, 1_000_000, 5_000_000] {
            let average = records as f64 / f64::from(1u32 << bits_for(records));
            assert!((43.0..=97.0).contains(&average), "{records}: {average}");
        }
        assert!(!outgrown(64 * 255, 6) && outgrown(64 * 256, 6));
    }

    #[test]
    fn pauses_grow_while_the_same_version_fails() {
        let hour = 3_600_000;
        let first = DeliveryFailure::after(None, FailureKind::Rejected, 1, "bad", Millis(0));
        assert_eq!(first.next_retry, Millis(hour));
        let second = DeliveryFailure::after(Some(&first), FailureKind::Rejected, 1, "bad", Millis(hour));
        assert_eq!((second.next_retry, second.first, second.failures), (Millis(3 * hour), Millis(0), 2));
        let other = DeliveryFailure::after(Some(&second), FailureKind::Rejected, 2, "bad", Millis(0));
        assert_eq!(other.failures, 1);
        let mut long = first;
        for _ in 0..40 {
            long = DeliveryFailure::after(Some(&long), FailureKind::Rejected, 1, "bad", Millis(0));
        }
        assert_eq!(long.next_retry, Millis(7 * 24 * hour));
        assert!(long.holds(1, Millis(5)) && !long.holds(2, Millis(5)));
    }

    #[test]
    fn an_unknown_outcome_waits_for_a_person_where_twice_is_harm() {
        let now = Millis(1_767_323_045_678);
        let failure = DeliveryFailure::after(None, FailureKind::Rejected, 7, UNKNOWN_OUTCOME, now);
        assert!(failure.holds(7, now.plus(HOLD_MOST.0 * 100)) && !failure.holds(8, now));
        let run_out = DeliveryFailure::after(None, FailureKind::Exhausted, 7, UNKNOWN_OUTCOME, now);
        assert!(!run_out.holds(7, now), "a destination that takes a record twice without harm is asked again");
    }

    #[test]
    fn exhausted_records_are_sent_again_at_once() {
        assert!(!DeliveryFailure::after(None, FailureKind::Exhausted, 1, "timeout", Millis(9)).holds(1, Millis(9)));
    }
}
