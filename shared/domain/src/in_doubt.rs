//! Records whose fate is unknown: a writer claimed their batch and was never heard of again.
//!
//! Their versions may have reached the destination without a commit. So a claim notes which records it is
//! about, and the next run sends them whatever the state says. A mirror notes the identifier too: a record
//! that arrived unseen and left the model since must be deleted, and nobody else remembers it.
//!
//! Where a job had the records, its ticket stands beside them: it may still be at work.
//!
//! The life of a record in doubt:
//!
//! ```text
//!  claim ────────► noted ──settled, done──► forgotten with its batch
//!  (engine::deliver)   │  └─attempts ran out──► noted, though the batch is done
//!                    │
//!                    │ the next run reads the notes before anything else (engine::plan)
//!                    ▼
//!                 in doubt ──in the model────────► sent again, whatever the state says
//!  (engine::plan::diff)    ├──gone from a mirror───────► deleted, by the identifier of the note
//!                    └──not sent now (invalid, held, gone elsewhere)
//!                    │
//!                    │ before the first message leaves: the state says "some version, nobody knows which" of each of
//!                    │ them (engine::commit::unsure), and the next reads are full ones (`Head::must_read_full`)
//!                    ▼
//!                 absorbed ──its writer is gone──► the note is forgotten (`StateStore::forget_doubts`)
//!                    └──its writer may be at work (the claim has not run out)──► the note stays for the next run
//! ```
//!
//! A writer that was overtaken and comes late clears the digests of its buckets and asks for a full read
//! (`engine::commit::commit`), so that what it did is looked at whether or not anybody doubts it.

use crate::clock::Millis;
use crate::job::{Job, Ticket};
use crate::key::KeyHash;

/// A record in doubt, or a job that nobody has seen the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InDoubt {
    /// A record whose hash begins so. Few bits are enough: a wrong guess costs one needless write.
    Prefix(u32),
    /// A record of a mirror: its hash, the revision it was sent as, the cells of its identifier.
    Record(KeyHash, u16, Vec<u8>),
    /// A job, and when it was submitted.
    Job(Ticket, Millis),
}

const PREFIX: u8 = 0;
const RECORD: u8 = 1;
const JOB: u8 = 2;

impl InDoubt {
    /// The note of a job that a batch is waiting for.
    pub fn of_job(job: &Job) -> Vec<u8> {
        let mut note = Vec::new();
        InDoubt::Job(job.ticket.clone(), job.begun).push_to(&mut note);
        note
    }

    /// Appends the note of this record.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        match self {
            InDoubt::Prefix(prefix) => {
                out.push(PREFIX);
                out.extend_from_slice(&prefix.to_be_bytes());
            }
            InDoubt::Record(hash, revision, identifier) => {
                out.push(RECORD);
                out.extend_from_slice(&hash.0);
                out.extend_from_slice(&revision.to_le_bytes());
                out.extend_from_slice(&(identifier.len() as u32).to_le_bytes());
                out.extend_from_slice(identifier);
            }
            InDoubt::Job(ticket, begun) => {
                out.push(JOB);
                out.extend_from_slice(&begun.0.to_le_bytes());
                out.extend_from_slice(&(ticket.0.len() as u32).to_le_bytes());
                out.extend_from_slice(ticket.0.as_bytes());
            }
        }
    }
}

/// Reads the notes of a claim. Damaged bytes end the list.
pub fn read(mut bytes: &[u8]) -> Vec<InDoubt> {
    let mut out = Vec::new();
    while let Some((doubt, rest)) = take(bytes) {
        out.push(doubt);
        bytes = rest;
    }
    out
}

fn take(bytes: &[u8]) -> Option<(InDoubt, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        PREFIX => {
            let (prefix, rest) = rest.split_first_chunk::<4>()?;
            Some((InDoubt::Prefix(u32::from_be_bytes(*prefix)), rest))
        }
        RECORD => {
            let (hash, rest) = rest.split_first_chunk::<12>()?;
            let (revision, rest) = rest.split_first_chunk::<2>()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (identifier, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            Some((InDoubt::Record(KeyHash(*hash), u16::from_le_bytes(*revision), identifier.to_vec()), rest))
        }
        JOB => {
            let (begun, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (ticket, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            let ticket = String::from_utf8(ticket.to_vec()).ok()?;
            Some((InDoubt::Job(Ticket(ticket), Millis(i64::from_le_bytes(*begun))), rest))
        }
        _ => None,
    }
}

/// What the claims of a sync's runs have noted, as a store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimNotes {
    /// The runs that have notes.
    pub runs: Vec<String>,
    /// One note for each batch, and one for each job.
    pub notes: Vec<Vec<u8>>,
}

/// The doubts of a sync, ready to be asked.
#[derive(Debug, Default)]
pub struct InDoubtSet {
    prefixes: Vec<u32>,
    records: Vec<(KeyHash, u16, Vec<u8>)>,
    /// Jobs that nobody has seen the end of, each with when it was submitted.
    pub jobs: Vec<(Ticket, Millis)>,
}

impl InDoubtSet {
    /// All notes of all unfinished claims.
    pub fn new(notes: &[Vec<u8>]) -> Self {
        let mut in_doubt = InDoubtSet::default();
        for doubt in notes.iter().flat_map(|n| read(n)) {
            match doubt {
                InDoubt::Prefix(prefix) => in_doubt.prefixes.push(prefix),
                InDoubt::Record(hash, revision, identifier) => {
                    in_doubt.prefixes.push(hash.prefix());
                    in_doubt.records.push((hash, revision, identifier));
                }
                InDoubt::Job(ticket, begun) => in_doubt.jobs.push((ticket, begun)),
            }
        }
        in_doubt.prefixes.sort_unstable();
        in_doubt.prefixes.dedup();
        in_doubt.records.sort_unstable();
        in_doubt.records.dedup_by(|a, b| a.0 == b.0);
        in_doubt
    }

    /// True when no record is in doubt.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// True when this record may have been sent without a commit.
    pub fn contains(&self, hash: &KeyHash) -> bool {
        !self.prefixes.is_empty() && self.prefixes.binary_search(&hash.prefix()).is_ok()
    }

    /// True when a record of this bucket is in doubt.
    pub fn touches(&self, bucket: u32, bits: u8) -> bool {
        if bits == 0 {
            return !self.is_empty();
        }
        let shift = 32 - u32::from(bits.min(32));
        let first = bucket << shift;
        let at = self.prefixes.partition_point(|p| *p < first);
        self.prefixes.get(at).is_some_and(|p| p >> shift == bucket)
    }

    /// The records of a mirror in doubt in this bucket: hash, revision, identifier.
    pub fn records_in(&self, bucket: u32, bits: u8) -> impl Iterator<Item = &(KeyHash, u16, Vec<u8>)> {
        self.records.iter().filter(move |(hash, ..)| hash.bucket(bits) == bucket)
    }

    /// The revision that a record of a mirror was sent as when it came into doubt.
    pub fn revision(&self, hash: &KeyHash) -> Option<u16> {
        self.records.binary_search_by(|(h, ..)| h.cmp(hash)).ok().map(|at| self.records[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let hash = KeyHash::of(b"7");
        let mut note = Vec::new();
        let all = vec![
            InDoubt::Prefix(9),
            InDoubt::Job(Ticket("750-1".into()), Millis(-7)),
            InDoubt::Record(hash, 513, vec![1, 2, 3]),
        ];
        all.iter().for_each(|d| d.push_to(&mut note));
        assert_eq!(read(&note), all);
        assert_eq!(read(&note[..note.len() - 1]), all[..2]);
        assert_eq!(InDoubtSet::new(&[note]).jobs, [(Ticket("750-1".into()), Millis(-7))]);
    }

    #[test]
    fn doubts_answer_by_record_and_by_bucket() {
        let (known, other) = (KeyHash::of(b"a"), KeyHash::of(b"b"));
        let mut note = Vec::new();
        InDoubt::Record(known, 7, vec![1]).push_to(&mut note);
        let in_doubt = InDoubtSet::new(&[note]);
        assert!(in_doubt.contains(&known) && !in_doubt.contains(&other));
        assert_eq!((in_doubt.revision(&known), in_doubt.revision(&other)), (Some(7), None));
        for bits in [0, 1, 6, 24] {
            assert!(in_doubt.touches(known.bucket(bits), bits));
            assert_eq!(in_doubt.records_in(known.bucket(bits), bits).count(), 1);
        }
        assert!(!in_doubt.touches(known.bucket(24) ^ 1, 24) && !InDoubtSet::default().touches(0, 0));
    }
}
