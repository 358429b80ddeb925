//! What is remembered of every record while a run plans: 32 bytes each.

use domain::key::KeyHash;
use domain::manifest::BucketDigest;

/// What kind of record an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Valid; not yet compared, or up to date.
    Valid,
    /// Refused by us; its stored state is left alone.
    Invalid,
    /// Outside the rollout's share; its stored state is left alone.
    Outside,
    /// To be sent: never accepted before.
    Added,
    /// To be sent: accepted in another version.
    Changed,
    /// Refused before and unchanged: not sent.
    Held,
}

const KINDS: [EntryKind; 6] =
    [EntryKind::Valid, EntryKind::Invalid, EntryKind::Outside, EntryKind::Added, EntryKind::Changed, EntryKind::Held];

/// Bits of `place` for the spool offset: a terabyte.
const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const TROUBLE: u64 = 1 << 63;

/// One record of the model.
#[derive(Debug, Clone, Copy)]
pub struct ModelEntry {
    /// Hash of its key.
    pub hash: KeyHash,
    /// Length of its record in the spool.
    pub len: u32,
    /// Checksum of its fields; 0 for an invalid one or one outside the rollout.
    pub checksum: u64,
    /// Spool offset (40 bits), revision (16), kind (7), failure (1).
    place: u64,
}

impl ModelEntry {
    /// An entry of this kind at this place in the spool.
    pub fn new(hash: KeyHash, checksum: u64, offset: u64, len: u32, kind: EntryKind) -> Self {
        let mut entry = Self { hash, len, checksum, place: offset & OFFSET_MASK };
        entry.set_kind(kind);
        entry
    }

    /// Offset of its record in the spool.
    pub fn offset(&self) -> u64 {
        self.place & OFFSET_MASK
    }

    /// The kind.
    pub fn kind(&self) -> EntryKind {
        KINDS[(self.place >> 56 & 0x7f) as usize % KINDS.len()]
    }

    /// Changes the kind. An entry that is no longer valid loses its checksum, so that a digest does not depend on it.
    pub fn set_kind(&mut self, kind: EntryKind) {
        self.place = self.place & !(0x7f << 56) | (kind as u64) << 56;
        if matches!(kind, EntryKind::Invalid | EntryKind::Outside) {
            self.checksum = 0;
        }
    }

    /// The revision the record gets once accepted.
    pub fn revision(&self) -> u16 {
        (self.place >> OFFSET_BITS) as u16
    }

    /// The state holds a failure of it.
    pub fn had_failure(&self) -> bool {
        self.place & TROUBLE != 0
    }

    /// Sets the revision, and whether the state holds a failure.
    pub fn set_history(&mut self, revision: u16, had_failure: bool) {
        self.place = self.place & !(0xffff << OFFSET_BITS) & !TROUBLE
            | u64::from(revision) << OFFSET_BITS
            | if had_failure { TROUBLE } else { 0 };
    }

    /// True when the record is to be sent.
    pub fn is_sent(&self) -> bool {
        matches!(self.kind(), EntryKind::Added | EntryKind::Changed)
    }
}

/// The digest of a bucket's entries, which are in the order of their hashes. `meaning` is what agreement means
/// ([`domain::meaning::Meaning::seed`]).
pub fn digest(entries: &[ModelEntry], meaning: u64) -> u64 {
    let mut digest = BucketDigest::under(meaning);
    for entry in entries {
        let kind = match entry.kind() {
            EntryKind::Invalid => 1,
            EntryKind::Outside => 2,
            _ => 0,
        };
        digest.add(&entry.hash, entry.checksum, kind);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small_and_keeps_its_parts_apart() {
        assert_eq!(size_of::<ModelEntry>(), 32);
        let mut entry = ModelEntry::new(KeyHash([1; 12]), 9, OFFSET_MASK - 1, 77, EntryKind::Valid);
        for kind in KINDS {
            entry.set_kind(kind);
            entry.set_history(u16::MAX, true);
            assert_eq!(
                (entry.kind(), entry.offset(), entry.revision(), entry.had_failure()),
                (kind, OFFSET_MASK - 1, u16::MAX, true)
            );
            entry.set_history(0, false);
            assert_eq!(
                (entry.kind(), entry.offset(), entry.revision(), entry.had_failure()),
                (kind, OFFSET_MASK - 1, 0, false)
            );
        }
    }
}
