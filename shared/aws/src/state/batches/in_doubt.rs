//! Records in doubt: the notes of claims, and which runs of a sync may have left some.
//!
//! A run is put on the sync's list before its first claim, and taken off when it is through and nothing is left in
//! doubt. So a sync that is well pays one read for its doubts, however many batches its runs had.

use domain::clock::Millis;
use domain::fault::Fault;
use domain::in_doubt::{ClaimNotes, InDoubt, read};
use domain::ports::BatchRef;
use xxhash_rust::xxh3::xxh3_64;

use super::packed::ClaimedRecords;
use super::pages::noted_cells;
use super::progress::DAYS;
use super::varint::{self, VarintReader};
use crate::keys::{self, Key, SK};
use crate::state::DynamoState;
use crate::state::item::{bytes, get_bytes, get_text, item_with_ttl};
use crate::state::table::Range;

/// A packed note up to this size stays in the cell, in bytes; beyond, it would make two writes of its page larger.
const MAX_INLINE_BYTES: usize = 600;
/// Bytes of a note in one item.
const PART: usize = 300 * 1024;

/// The bytes of a note are as given.
const AS_GIVEN: u8 = 0;
/// The bytes of a note are the differences of ascending prefixes.
const PREFIXES: u8 = 1;

impl DynamoState {
    /// Puts a run on its sync's list, once per process.
    pub(in crate::state) async fn index_in_doubt(&self, sync: &str, run: &str) -> Result<(), Fault> {
        if self.is_indexed(run) {
            return Ok(());
        }
        self.table.batch_put(vec![item_with_ttl(&keys::doubtful_run(sync, run), DAYS)]).await?;
        self.set_indexed(run, true);
        Ok(())
    }

    /// Takes a run off its sync's list.
    pub(in crate::state) async fn unindex_in_doubt(&self, sync: &str, run: &str) -> Result<(), Fault> {
        self.set_indexed(run, false);
        self.table.batch_delete(&[keys::doubtful_run(sync, run)]).await
    }

    /// Lays a note down, if it is too large for a cell.
    pub(in crate::state) async fn put_note(&self, batch: BatchRef<'_>, note: &[u8]) -> Result<ClaimedRecords, Fault> {
        let packed = pack(note);
        if packed.len() <= MAX_INLINE_BYTES {
            return Ok(ClaimedRecords::Inline(packed));
        }
        let (stamp, parts) = (xxh3_64(&packed), packed.chunks(PART));
        let count = u8::try_from(parts.len())
            .map_err(|_| self.table.corrupt(format!("The note of batch {} of run {}", batch.number, batch.run)))?;
        for (part, data) in (0..count).zip(parts) {
            let mut item = item_with_ttl(&keys::note(batch.run, batch.number, stamp, part), DAYS);
            item.insert("b".into(), bytes(data));
            self.table.batch_put(vec![item]).await?;
        }
        Ok(ClaimedRecords::External { stamp, parts: count })
    }

    async fn read_note(&self, run: &str, number: u32, note: &ClaimedRecords) -> Result<Option<Vec<u8>>, Fault> {
        let corrupt = || self.table.corrupt(format!("The note of batch {number} of run {run}"));
        let packed = match note {
            ClaimedRecords::None => return Ok(None),
            ClaimedRecords::Inline(packed) => packed.clone(),
            ClaimedRecords::External { stamp, parts } => {
                let mut packed = Vec::new();
                for part in 0..*parts {
                    let item = self.table.get(&keys::note(run, number, *stamp, part)).await?;
                    packed.extend_from_slice(item.as_ref().and_then(|item| get_bytes(item, "b")).ok_or_else(corrupt)?);
                }
                packed
            }
        };
        unpack(&packed).map(Some).ok_or_else(corrupt)
    }

    pub(in crate::state) async fn all_in_doubt(&self, sync: &str) -> Result<ClaimNotes, Fault> {
        let mut noted = ClaimNotes::default();
        for item in self.table.query(&keys::doubtful_runs(sync), Range::All, true, usize::MAX).await? {
            let Some(run) = get_text(&item, SK) else { continue };
            noted.runs.push(run.to_owned());
            let progress = self.read_progress(run).await?;
            let complete = progress.is_complete();
            if complete && progress.doubtful.is_empty() {
                continue;
            }
            let pages = self.read_pages(run).await?;
            for (number, cell) in noted_cells(&pages) {
                let cell = self.read_cell(BatchRef { sync, run, number }, cell)?;
                noted.notes.extend(self.read_note(run, number, &cell.note).await?);
                noted.notes.extend(cell.state.job.as_deref().map(InDoubt::of_job));
            }
        }
        Ok(noted)
    }

    /// Takes those of these runs off the list whose writers are gone. Their batches stay until DynamoDB removes them:
    /// messages of theirs that come late are fenced off by their generation.
    pub(in crate::state) async fn clear_in_doubt_of(
        &self,
        sync: &str,
        runs: &[String],
        now: Millis,
    ) -> Result<(), Fault> {
        let partition = keys::doubtful_runs(sync);
        let mut over = Vec::new();
        for run in runs {
            if !self.is_claimed(sync, run, now).await? {
                over.push(Key { pk: partition.clone(), sk: run.clone() });
            }
        }
        over.iter().for_each(|key| self.set_indexed(&key.sk, false));
        self.table.batch_delete(&over).await
    }

    /// True when a writer may still be at work on a batch of the run.
    async fn is_claimed(&self, sync: &str, run: &str, now: Millis) -> Result<bool, Fault> {
        let pages = self.read_pages(run).await?;
        for (number, cell) in noted_cells(&pages) {
            let cell = self.read_cell(BatchRef { sync, run, number }, cell)?;
            if !cell.state.done && cell.until > now {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes a note small: ascending prefixes, which most notes are, take two bytes each instead of five.
fn pack(note: &[u8]) -> Vec<u8> {
    let prefixes: Option<Vec<u32>> = (note.len().is_multiple_of(5)).then(|| read(note)).and_then(|in_doubt| {
        let all: Option<Vec<u32>> = in_doubt
            .iter()
            .map(|doubt| if let InDoubt::Prefix(prefix) = doubt { Some(*prefix) } else { None })
            .collect();
        all.filter(|all| all.len() * 5 == note.len() && all.is_sorted())
    });
    let Some(prefixes) = prefixes else { return [&[AS_GIVEN], note].concat() };
    let (mut out, mut last) = (vec![PREFIXES], 0);
    for prefix in prefixes {
        varint::push(&mut out, u64::from(prefix - last));
        last = prefix;
    }
    out
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (form, rest) = packed.split_first()?;
    if *form == AS_GIVEN {
        return Some(rest.to_vec());
    }
    let (mut bytes, mut out, mut last) = (VarintReader(rest), Vec::new(), 0u32);
    while !bytes.0.is_empty() {
        last = last.checked_add(u32::try_from(bytes.varint()?).ok()?)?;
        InDoubt::Prefix(last).push_to(&mut out);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::key::KeyHash;

    fn note(in_doubt: &[InDoubt]) -> Vec<u8> {
        let mut out = Vec::new();
        in_doubt.iter().for_each(|doubt| doubt.push_to(&mut out));
        out
    }

    #[test]
    fn notes_come_back() {
        let record = InDoubt::Record(KeyHash([3; 12]), 7, vec![1; 30]);
        let notes = [
            note(&[]),
            note(&[InDoubt::Prefix(0), InDoubt::Prefix(9), InDoubt::Prefix(9), InDoubt::Prefix(u32::MAX)]),
            note(&[InDoubt::Prefix(9), InDoubt::Prefix(8)]),
            note(&[record.clone(), InDoubt::Prefix(9)]),
            note(&[record]),
            b"neither".to_vec(),
            b"fives".to_vec(),
        ];
        for note in notes {
            assert_eq!(unpack(&pack(&note)), Some(note));
        }
    }

    #[test]
    fn neighbouring_prefixes_are_small() {
        let hundred: Vec<InDoubt> = (0..100).map(|i| InDoubt::Prefix((1 << 31) + i * 859)).collect();
        assert!(pack(&note(&hundred)).len() <= 206);
    }
}
