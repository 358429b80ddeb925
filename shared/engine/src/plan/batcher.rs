//! Cuts a plan into batches, in the order of the hashes, so that a batch touches few buckets; deletes come after all writes.
//! Not here: how batches get into the queue.

use std::collections::HashMap;

use bytes::Bytes;
use domain::batch::{BatchHeader, BatchRecord, Message, RECORD_OVERHEAD};
use domain::cells::Cells;
use domain::fault::Fault;
use domain::key::KeyHash;
use domain::layout::Layout;
use domain::mode::{Mode, Op};
use domain::ports::Limits;
use domain::retry::MAX_ATTEMPTS;
use tokio::sync::mpsc;

use super::diff::{GONE, Removed};
use super::entries::Entry;
use super::extract::Extracted;
use super::spool::split;
use crate::Context;
use crate::cancel::Stop;

/// What a plan is cut into batches by.
pub struct Cut {
    /// The header every batch begins from.
    pub header: BatchHeader,
    /// The operation of added and changed records.
    pub write_op: Op,
    /// How much of it a batch takes.
    pub size: Size,
}

/// How much one batch, and with it one message, takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Most records.
    pub records: usize,
    /// Most bytes of the body.
    pub bytes: usize,
    /// Records of one request of the destination.
    pub request: usize,
    /// Most bytes of the body of a batch for more than one request: what the queue carries itself.
    pub carried: usize,
}

/// Records in a batch for several requests, at most.
const SEVERAL: usize = 500;

impl Size {
    /// Batches for a destination with these limits. A batch costs the state and the queue the same, whatever is in it, so
    /// it may hold the records of several requests (`requests_per_message` of the settings). A record that is appended
    /// cannot be sent again without harm: there, a batch is one request. No more requests than attempts, so that each is
    /// the first of one.
    pub fn of(context: &Context, limits: &Limits) -> Self {
        let request = limits.batch_records.max(1);
        let most = if context.sync.mode == Mode::Append { 1 } else { context.settings.requests_per_message.clamp(1, MAX_ATTEMPTS as usize) };
        let requests = (SEVERAL / request).clamp(1, most);
        let bytes = max_body(context, limits).saturating_mul(requests).min(context.queue.max_body_bytes());
        Self { records: request * requests, bytes, request, carried: context.queue.carried_body_bytes() }
    }
}

/// Most bytes of the body of a batch for one request, between this queue and a destination with these limits.
pub fn max_body(context: &Context, limits: &Limits) -> usize {
    context.queue.max_body_bytes().min(limits.batch_bytes.saturating_add(RECORD_OVERHEAD))
}

/// Why cutting ended early.
pub(super) enum Ended {
    NobodyListens,
    Fault(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Ended::Fault(fault)
    }
}

/// Cuts records into batches as they come.
pub(super) struct Cutter {
    cut: Cut,
    sender: mpsc::Sender<Message>,
    stop: Stop,
    body: Vec<u8>,
    records: usize,
    /// Where in the body the last record ends that fills a request.
    whole: usize,
    number: u32,
}

impl Cutter {
    /// Batches go to `sender`, until `stop`.
    pub(super) fn new(cut: Cut, sender: mpsc::Sender<Message>, stop: Stop) -> Self {
        Self { cut, sender, stop, body: Vec::new(), records: 0, whole: 0, number: 0 }
    }

    pub(super) fn writes(&mut self, mut model: Extracted, record_ids: &HashMap<KeyHash, Box<str>>) -> Result<(), Ended> {
        let layout = model.layout.clone();
        let sent = model.entries.iter().filter(|e| e.is_sent()).count();
        model.spool.expect(sent > model.entries.len() / 10);
        for entry in model.entries.iter().filter(|e: &&Entry| e.is_sent()) {
            let (key, fields) = split(model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?);
            let record = BatchRecord {
                hash: entry.hash,
                checksum: entry.checksum,
                revision: entry.revision(),
                had_trouble: entry.had_trouble(),
                record_id: record_ids.get(&entry.hash).map(AsRef::as_ref),
                key,
                fields,
            };
            self.push(&record, self.cut.write_op, &layout)?;
        }
        self.flush(self.cut.write_op, &layout)
    }

    pub(super) fn deletes(&mut self, removed: &[Removed]) -> Result<(), Ended> {
        let layout = self.cut.header.layout.identifier_layout();
        for gone in removed {
            let identifier = Cells(&gone.identifier);
            let record = BatchRecord {
                hash: gone.hash,
                checksum: GONE,
                revision: gone.revision,
                had_trouble: gone.had_trouble,
                record_id: gone.record_id.as_deref(),
                key: identifier,
                fields: identifier,
            };
            self.push(&record, Op::Delete, &layout)?;
        }
        self.flush(Op::Delete, &layout)
    }

    fn push(&mut self, record: &BatchRecord<'_>, op: Op, layout: &Layout) -> Result<(), Ended> {
        let (before, size) = (self.body.len(), self.cut.size);
        record.push_to(&mut self.body);
        self.records += 1;
        let last = self.body.len() - before;
        if self.records > size.request && self.body.len() > size.carried {
            // What does not fill a request goes into the next batch, so that no request is smaller than it could be.
            self.flush_up_to(self.whole, (self.records - 1) / size.request * size.request, op, layout)?;
        }
        if self.records > 1 && self.body.len() > size.bytes {
            self.flush_up_to(self.body.len() - last, self.records - 1, op, layout)?;
        }
        if self.records.is_multiple_of(size.request) {
            self.whole = self.body.len();
        }
        if self.records == size.records { self.flush(op, layout) } else { Ok(()) }
    }

    /// Flushes the first `records`, which end at byte `end`; the others go into the next batch.
    fn flush_up_to(&mut self, end: usize, records: usize, op: Op, layout: &Layout) -> Result<(), Ended> {
        let (rest, left) = (self.body.split_off(end), self.records - records);
        self.records = records;
        self.flush(op, layout)?;
        self.body.extend_from_slice(&rest);
        self.records = left;
        Ok(())
    }

    fn flush(&mut self, op: Op, layout: &Layout) -> Result<(), Ended> {
        if self.records == 0 {
            return Ok(());
        }
        self.stop.check()?;
        let header = BatchHeader { number: self.number, op, records: self.records as u32, layout: layout.clone(), ..self.cut.header.clone() };
        let capacity = self.body.len();
        let body = Bytes::from(std::mem::replace(&mut self.body, Vec::with_capacity(capacity)));
        self.number += 1;
        (self.records, self.whole) = (0, 0);
        self.sender.blocking_send(Message { header, body }).map_err(|_| Ended::NobodyListens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::batch::read_body;
    use domain::cells;
    use domain::value::Value;

    fn cut(sizes: &[usize], size: Size) -> Vec<Message> {
        let (sender, mut receiver) = mpsc::channel(10_000);
        let header = BatchHeader {
            sync: "s".into(),
            sync_version: "v".into(),
            run: "r".into(),
            generation: 1,
            number: 0,
            op: Op::Upsert,
            records: 0,
            bucket_bits: 0,
            read_back_below: 0,
            layout: Layout::new(vec![]),
        };
        let cut = Cut { header, write_op: Op::Upsert, size };
        let mut cutter = Cutter::new(cut, sender, Stop::default());
        let layout = Layout::new(vec![]);
        for (i, size) in sizes.iter().enumerate() {
            let mut fields = Vec::new();
            cells::push(&mut fields, Value::Text(&"x".repeat(*size)));
            let hash = KeyHash::of(&i.to_le_bytes());
            let record = BatchRecord { hash, checksum: i as u64, revision: 0, had_trouble: false, record_id: None, key: Cells(&[]), fields: Cells(&fields) };
            assert!(cutter.push(&record, Op::Upsert, &layout).is_ok());
        }
        assert!(cutter.flush(Op::Upsert, &layout).is_ok());
        drop(cutter);
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    proptest::proptest! {
        #[test]
        fn every_record_is_in_exactly_one_batch_in_order(sizes in proptest::collection::vec(0usize..300, 0..200), request in 1usize..20, requests in 1usize..5, bytes in 400usize..2000, carried in 400usize..2000) {
            let records = request * requests;
            let batches = cut(&sizes, Size { records, bytes, request, carried });
            let mut next = 0;
            for (number, batch) in batches.iter().enumerate() {
                let read = read_body(&batch.body);
                assert_eq!(batch.header.number as usize, number);
                assert!(!read.is_empty() && read.len() <= records && read.len() == batch.header.records as usize);
                assert!(batch.body.len() <= bytes || read.len() == 1);
                assert!(batch.body.len() <= carried || read.len() <= request);
                let is_whole = read.len().is_multiple_of(request) || read.len() < request || number + 1 == batches.len();
                assert!(is_whole || batch.body.len() + 400 > bytes, "only what the destination cannot take divides a request");
                for record in read {
                    assert_eq!(record.checksum, next);
                    next += 1;
                }
            }
            assert_eq!(next as usize, sizes.len());
        }
    }
}
