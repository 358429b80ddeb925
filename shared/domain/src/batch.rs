//! A batch of records on its way to a destination: the message's header, its body, and how to read it.
//!
//! The body is binary and self-contained, so a writer needs nothing but the message and the sync's
//! version. One record in it is
//! `hash 12 · checksum 8 · revision 2 · flags 1 · id length 2 · key length 4 · fields length 4 · id · key · fields`,
//! numbers little-endian.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cells::Cells;
use crate::key::KeyHash;
use crate::layout::Layout;
use crate::mode::Op;

/// What a message says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// The sync's name.
    pub sync: String,
    /// The version of the sync definition that planned it.
    pub sync_version: String,
    /// The run that planned it.
    pub run: String,
    /// The run's generation: a message of an older one is dropped.
    pub generation: u64,
    /// Number of the batch within its run, from 0.
    pub number: u32,
    /// What to do with the records.
    pub op: Op,
    /// How many records.
    pub records: u32,
    /// How many buckets the state had when the batch was planned, as a power of two.
    pub bucket_bits: u8,
    /// Accepted records whose [`KeyHash::sample_rank`] is below this are read back; 0: none.
    #[serde(default, skip_serializing_if = "is_zero", alias = "read_back_below")]
    pub sample_below: u64,
    /// The fields of the records (for a delete: the identifier fields only).
    pub layout: Layout,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A batch as it travels through a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub header: BatchHeader,
    /// The records.
    pub body: Bytes,
}

impl Message {
    /// Appends the message to a part of a stored plan: `header length 4 · body length 4 · header as JSON · body`.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        // A header is plain data with text keys: it always serialises.
        let header = serde_json::to_vec(&self.header).unwrap_or_default();
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.body);
    }

    /// Reads the messages of a part of a stored plan; `None` when it is damaged.
    pub fn read_all(part: &Bytes) -> Option<Vec<Message>> {
        let mut rest = part.as_ref();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let header_len = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?) as usize;
            let body_len = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?) as usize;
            let header = serde_json::from_slice(take(&mut rest, header_len)?).ok()?;
            let body = part.slice_ref(take(&mut rest, body_len)?);
            out.push(Message { header, body });
        }
        Some(out)
    }
}

/// Set when the state holds a failure (a rejection, a skip, a dead letter) for this record, so that
/// accepting it must also clear that.
const FLAG_TROUBLE: u8 = 1;

/// Bytes of a record in a body besides its id, key and fields.
pub const RECORD_OVERHEAD: usize = 12 + 8 + 2 + 1 + 2 + 4 + 4;

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRecord<'a> {
    /// Hash of its key.
    pub hash: KeyHash,
    /// Checksum that the state will hold once the destination has accepted it.
    pub checksum: u64,
    /// Counts the accepted versions of this record; with hash and checksum it names this very change.
    pub revision: u16,
    /// The state holds a failure of it.
    pub had_failure: bool,
    /// The destination's id for the record, where one is known.
    pub record_id: Option<&'a str>,
    /// The model's key, for messages to people. For a delete: the identifier values.
    pub key: Cells<'a>,
    /// The mapped fields in the layout's order. For a delete: the identifier fields.
    pub fields: Cells<'a>,
}

impl BatchRecord<'_> {
    /// Appends the record to a body.
    pub fn push_to(&self, body: &mut Vec<u8>) {
        let id = self.record_id.unwrap_or("").as_bytes();
        let (key, fields) = (self.key.bytes(), self.fields.bytes());
        body.reserve(RECORD_OVERHEAD + id.len() + key.len() + fields.len());
        body.extend_from_slice(&self.hash.0);
        body.extend_from_slice(&self.checksum.to_le_bytes());
        body.extend_from_slice(&self.revision.to_le_bytes());
        body.push(if self.had_failure { FLAG_TROUBLE } else { 0 });
        body.extend_from_slice(&(id.len() as u16).to_le_bytes());
        body.extend_from_slice(&(key.len() as u32).to_le_bytes());
        body.extend_from_slice(&(fields.len() as u32).to_le_bytes());
        body.extend_from_slice(id);
        body.extend_from_slice(key);
        body.extend_from_slice(fields);
    }

    /// A name for this very change that is the same on every attempt and in every run that sends it
    /// again: what a receiver can drop duplicates by. 22 characters of base64url.
    pub fn stable_id(&self, sync: &str) -> String {
        use base64::Engine as _;
        let mut name = Vec::with_capacity(sync.len() + 23);
        name.extend_from_slice(sync.as_bytes());
        name.push(0);
        name.extend_from_slice(&self.hash.0);
        name.extend_from_slice(&self.checksum.to_le_bytes());
        name.extend_from_slice(&self.revision.to_le_bytes());
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(xxhash_rust::xxh3::xxh3_128(&name).to_be_bytes())
    }
}

/// Reads the records of a body. Damaged bytes end the list: compare its length with the header's.
pub fn read_body(body: &[u8]) -> Vec<BatchRecord<'_>> {
    let mut rest = body;
    std::iter::from_fn(|| read_record(&mut rest)).collect()
}

fn read_record<'a>(rest: &mut &'a [u8]) -> Option<BatchRecord<'a>> {
    let hash = KeyHash(take(rest, 12)?.try_into().ok()?);
    let checksum = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
    let revision = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    let flags = take(rest, 1)?[0];
    let id_len = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?) as usize;
    let key_len = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize;
    let fields_len = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize;
    let id = std::str::from_utf8(take(rest, id_len)?).ok()?;
    let key = Cells(take(rest, key_len)?);
    let fields = Cells(take(rest, fields_len)?);
    Some(BatchRecord {
        hash,
        checksum,
        revision,
        had_failure: flags & FLAG_TROUBLE != 0,
        record_id: (!id.is_empty()).then_some(id),
        key,
        fields,
    })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    if rest.len() < len {
        return None;
    }
    let (head, tail) = rest.split_at(len);
    *rest = tail;
    Some(head)
}

/// What a destination is asked to write: records of one operation and one layout.
#[derive(Debug, Clone, Copy)]
pub struct WriteBatch<'a> {
    /// The sync's name (for stable ids and messages).
    pub sync: &'a str,
    /// What to do.
    pub op: Op,
    /// The fields of the records.
    pub layout: &'a Layout,
    /// The records, at least one.
    pub records: &'a [BatchRecord<'a>],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells;
    use crate::value::Value;

    #[test]
    fn a_body_reads_back() {
        let mut key = Vec::new();
        cells::push(&mut key, Value::Int(7));
        let records: Vec<_> = (0..3u16)
            .map(|i| BatchRecord {
                hash: KeyHash::of(&i.to_le_bytes()),
                checksum: u64::from(i),
                revision: i,
                had_failure: i == 1,
                record_id: (i == 2).then_some("r-2"),
                key: Cells(&key),
                fields: Cells(&key),
            })
            .collect();
        let mut body = Vec::new();
        records.iter().for_each(|r| r.push_to(&mut body));
        assert_eq!(read_body(&body), records);
        assert_eq!(read_body(&body[..body.len() - 1]).len(), 2, "a cut body loses its last record and no other");
    }

    #[test]
    fn a_part_of_a_plan_reads_back_whole_or_not_at_all() {
        let header = |number| BatchHeader {
            sync: "s".into(),
            sync_version: "v".into(),
            run: "r".into(),
            generation: 1,
            number,
            op: Op::Upsert,
            records: 1,
            bucket_bits: 0,
            sample_below: 0,
            layout: Layout::new(vec![]),
        };
        let messages: Vec<_> =
            (0..3).map(|n| Message { header: header(n), body: Bytes::from(vec![n as u8; n as usize * 10]) }).collect();
        let mut part = Vec::new();
        messages.iter().for_each(|m| m.push_to(&mut part));
        assert_eq!(Message::read_all(&Bytes::from(part.clone())), Some(messages));
        assert_eq!(Message::read_all(&Bytes::from(part[..part.len() - 1].to_vec())), None);
        assert_eq!(Message::read_all(&Bytes::new()), Some(vec![]));
    }

    #[test]
    fn the_stable_id_names_the_change_and_not_the_attempt() {
        let record = BatchRecord {
            hash: KeyHash([1; 12]),
            checksum: 5,
            revision: 1,
            had_failure: false,
            record_id: None,
            key: Cells(&[]),
            fields: Cells(&[]),
        };
        let again = BatchRecord { had_failure: true, ..record };
        assert_eq!(record.stable_id("s"), again.stable_id("s"));
        let later = BatchRecord { revision: 3, ..record };
        assert_ne!(record.stable_id("s"), later.stable_id("s"), "going back to an old value is a new change");
        assert_ne!(record.stable_id("s"), record.stable_id("t"));
    }
}
