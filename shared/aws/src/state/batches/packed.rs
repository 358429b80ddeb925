//! What is known of one batch, in a few bytes: a cell of a page of batches.
//!
//! `flags 1 · attempts · counters · [token 4 · until 8 · settled · unseen · job] · [stamp of the reasons 8] · [note]`.
//! Numbers without a width are varints; counters are a mask of those that are not zero, then those. The middle part is
//! left out of a batch that is done, of which some nine bytes remain. A cell is written only over the very bytes that
//! were seen, so that claim and settlement need no transaction.

use domain::clock::Millis;
use domain::run::{BatchState, Tally};

use super::varint::{self, VarintReader};

const DONE: u8 = 1;
const REASONS: u8 = 2;
const NOTE: u8 = 4;
const NOTE_APART: u8 = 8;
const JOB: u8 = 16;
const UNSEEN: u8 = 32;

#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::state) struct PackedBatch {
    /// Tells one claim from another that is otherwise the same.
    pub(in crate::state) token: u32,
    /// Until when it is claimed; 0 when it is not.
    pub(in crate::state) until: Millis,
    /// Attempts, settled records (of a batch that is not done), counters; neither reasons nor doubts.
    pub(in crate::state) state: BatchState,
    /// The stamp of the reasons, which are kept apart.
    pub(in crate::state) reasons: Option<u64>,
    /// Which records are in doubt.
    pub(in crate::state) note: ClaimedRecords,
}

/// The note of a claim.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::state) enum ClaimedRecords {
    #[default]
    None,
    /// In the cell, packed.
    Inline(Vec<u8>),
    /// In items of its own, in so many parts.
    External {
        /// The stamp of its bytes.
        stamp: u64,
        parts: u8,
    },
}

/// True when these bytes are the cell of a batch that is done.
pub(in crate::state) fn is_done(cell: &[u8]) -> bool {
    cell.first().is_some_and(|flags| flags & DONE != 0)
}

/// True when these bytes are the cell of a batch with records in doubt.
pub(in crate::state) fn has_in_doubt(cell: &[u8]) -> bool {
    cell.first().is_some_and(|flags| flags & (NOTE | NOTE_APART) != 0)
}

impl PackedBatch {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let mut flags = if self.state.done { DONE } else { 0 } | if self.reasons.is_some() { REASONS } else { 0 };
        flags |= match self.note {
            ClaimedRecords::None => 0,
            ClaimedRecords::Inline(_) => NOTE,
            ClaimedRecords::External { .. } => NOTE_APART,
        };
        // A job is plain data with text keys: it always serialises.
        let job =
            self.state.job.as_ref().filter(|_| !self.state.done).map(|job| serde_json::to_vec(job).unwrap_or_default());
        flags |= if job.is_some() { JOB } else { 0 };
        let unseen = !self.state.done && self.state.unseen.iter().any(|bits| *bits != 0);
        flags |= if unseen { UNSEEN } else { 0 };
        let mut out = vec![flags];
        varint::push(&mut out, self.state.attempts.into());
        let counters = counters(&self.state.tally);
        let mask = counters.iter().enumerate().fold(0, |mask, (at, count)| mask | (u64::from(*count != 0) << at));
        varint::push(&mut out, mask);
        counters.iter().filter(|count| **count != 0).for_each(|count| varint::push(&mut out, *count));
        if !self.state.done {
            out.extend_from_slice(&self.token.to_le_bytes());
            out.extend_from_slice(&self.until.0.to_le_bytes());
            varint::push(&mut out, self.state.settled.len() as u64);
            out.extend_from_slice(&self.state.settled);
        }
        if unseen {
            varint::push(&mut out, self.state.unseen.len() as u64);
            out.extend_from_slice(&self.state.unseen);
        }
        if let Some(job) = job {
            varint::push(&mut out, job.len() as u64);
            out.extend_from_slice(&job);
        }
        if let Some(stamp) = self.reasons {
            out.extend_from_slice(&stamp.to_le_bytes());
        }
        match &self.note {
            ClaimedRecords::None => {}
            ClaimedRecords::Inline(packed) => out.extend_from_slice(packed),
            ClaimedRecords::External { stamp, parts } => {
                out.extend_from_slice(&stamp.to_le_bytes());
                out.push(*parts);
            }
        }
        out
    }

    /// Reads a cell; `None` when the bytes are none.
    pub(in crate::state) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = VarintReader(bytes);
        let [flags] = bytes.array()?;
        let mut cell = PackedBatch::default();
        cell.state.done = flags & DONE != 0;
        cell.state.attempts = u32::try_from(bytes.varint()?).ok()?;
        let mask = bytes.varint()?;
        let mut counts = [0; COUNTERS];
        for (at, count) in counts.iter_mut().enumerate() {
            if mask >> at & 1 == 1 {
                *count = bytes.varint()?;
            }
        }
        cell.state.tally = tally(counts);
        if !cell.state.done {
            cell.token = u32::from_le_bytes(bytes.array()?);
            cell.until = Millis(i64::from_le_bytes(bytes.array()?));
            let len = usize::try_from(bytes.varint()?).ok()?;
            cell.state.settled = bytes.take(len)?.to_vec();
        }
        if flags & UNSEEN != 0 {
            let len = usize::try_from(bytes.varint()?).ok()?;
            cell.state.unseen = bytes.take(len)?.to_vec();
        }
        if flags & JOB != 0 {
            let len = usize::try_from(bytes.varint()?).ok()?;
            cell.state.job = Some(serde_json::from_slice(bytes.take(len)?).ok()?);
        }
        if flags & REASONS != 0 {
            cell.reasons = Some(u64::from_le_bytes(bytes.array()?));
        }
        if flags & NOTE_APART != 0 {
            cell.note =
                ClaimedRecords::External { stamp: u64::from_le_bytes(bytes.array()?), parts: bytes.array::<1>()?[0] };
        } else if flags & NOTE != 0 {
            cell.note = ClaimedRecords::Inline(bytes.0.to_vec());
        }
        Some(cell)
    }
}

const COUNTERS: usize = 12;

fn counters(tally: &Tally) -> [u64; COUNTERS] {
    let Tally {
        sent,
        created,
        updated,
        deleted,
        accepted_unknown,
        skipped,
        rejected,
        exhausted,
        unsent,
        requests,
        throttled,
        retried,
        reasons: _,
        read_back: _,
    } = tally;
    [
        *sent,
        *created,
        *requests,
        *updated,
        *deleted,
        *accepted_unknown,
        *skipped,
        *rejected,
        *exhausted,
        *unsent,
        *throttled,
        *retried,
    ]
}

fn tally(counts: [u64; COUNTERS]) -> Tally {
    let [
        sent,
        created,
        requests,
        updated,
        deleted,
        accepted_unknown,
        skipped,
        rejected,
        exhausted,
        unsent,
        throttled,
        retried,
    ] = counts;
    let (reasons, read_back) = Default::default();
    Tally {
        sent,
        created,
        updated,
        deleted,
        accepted_unknown,
        skipped,
        rejected,
        exhausted,
        unsent,
        requests,
        throttled,
        retried,
        reasons,
        read_back,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back() {
        let tally = Tally { sent: 100, created: 1, updated: 1 << 40, retried: 7, requests: 300, ..Tally::default() };
        let job = domain::job::Job {
            ticket: domain::job::Ticket("750xx".into()),
            begun: Millis(1),
            heard: Millis(2),
            failures: 3,
        };
        let state = BatchState {
            attempts: 3,
            settled: vec![1, 0, 255],
            unseen: vec![0, 2],
            done: false,
            doubt: vec![],
            tally,
            job: Some(Box::new(job)),
        };
        for note in [
            ClaimedRecords::None,
            ClaimedRecords::Inline(vec![]),
            ClaimedRecords::Inline(vec![1, 2]),
            ClaimedRecords::External { stamp: u64::MAX, parts: 3 },
        ] {
            for reasons in [None, Some(5)] {
                let open =
                    PackedBatch { token: 9, until: Millis(-1), state: state.clone(), reasons, note: note.clone() };
                let done = PackedBatch {
                    state: BatchState { done: true, settled: vec![], unseen: vec![], job: None, ..state.clone() },
                    token: 0,
                    until: Millis(0),
                    ..open.clone()
                };
                for cell in [open, done] {
                    let bytes = cell.encode();
                    assert_eq!(
                        (is_done(&bytes), has_in_doubt(&bytes)),
                        (cell.state.done, note != ClaimedRecords::None)
                    );
                    assert_eq!(PackedBatch::decode(&bytes), Some(cell));
                }
            }
        }
        assert_eq!(PackedBatch::decode(&[]), None);
        assert_eq!(PackedBatch::decode(&[0, 1]), None);
    }

    #[test]
    fn a_batch_that_went_well_takes_few_bytes() {
        let tally = Tally { sent: 100, created: 100, requests: 1, ..Tally::default() };
        let cell = PackedBatch {
            state: BatchState { attempts: 1, done: true, tally, ..BatchState::default() },
            ..PackedBatch::default()
        };
        assert_eq!(cell.encode().len(), 6);
    }
}
