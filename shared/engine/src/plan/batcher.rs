//! Cuts a plan into batches, in the order of the hashes, so that a batch touches few buckets; deletes come after all
//! writes. Not here: how batches get into the queue.

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

use super::difference::{GONE, Removed};
use super::entries::ModelEntry;
use super::extract::Extracted;
use super::spool::split;
use crate::Context;
use crate::cancel::CancelToken;

/// What a plan is cut into batches by.
pub struct BatchPlan {
    /// The header every batch begins from.
    pub header: BatchHeader,
    /// The operation of added and changed records.
    pub write_op: Op,
    /// How much of it a batch takes.
    pub size: BatchLimits,
}

/// How much one batch, and with it one message, takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records.
    pub records: usize,
    /// Most bytes of the body.
    pub bytes: usize,
    /// Records of one request of the destination.
    pub records_per_request: usize,
    /// Most bytes of the body of a batch for more than one request: what the queue carries itself.
    pub inline_bytes: usize,
}

/// Records in a batch for several requests, at most.
const MAX_RECORDS_OF_SEVERAL_REQUESTS: usize = 500;

impl BatchLimits {
    /// Batches for a destination with these limits. A batch costs the state and the queue the same, whatever is in it,
    /// so it may hold the records of several requests (`requests_per_message` of the settings). A record that is
    /// appended cannot be sent again without harm: there, a batch is one request. No batch has more requests than
    /// attempts: each attempt begins with another request, so that every request goes first once.
    pub fn of(context: &Context, limits: &Limits) -> Self {
        let request = limits.batch_records.max(1);
        let most = if context.sync.mode == Mode::Append {
            1
        } else {
            context.settings.requests_per_message.clamp(1, MAX_ATTEMPTS as usize)
        };
        let requests = (MAX_RECORDS_OF_SEVERAL_REQUESTS / request).clamp(1, most);
        let bytes = max_body(context, limits).saturating_mul(requests).min(context.queue.max_body_bytes());
        Self {
            records: request * requests,
            bytes,
            records_per_request: request,
            inline_bytes: context.queue.carried_body_bytes(),
        }
    }
}

/// Most bytes of the body of a batch for one request, between this queue and a destination with these limits.
pub fn max_body(context: &Context, limits: &Limits) -> usize {
    context.queue.max_body_bytes().min(limits.batch_bytes.saturating_add(RECORD_OVERHEAD))
}

/// Why cutting ended early.
pub(super) enum BatchingEnd {
    NobodyListens,
    Fault(Fault),
}

impl From<Fault> for BatchingEnd {
    fn from(fault: Fault) -> Self {
        BatchingEnd::Fault(fault)
    }
}

/// Cuts records into batches as they come.
pub(super) struct Batcher {
    cut: BatchPlan,
    sender: mpsc::Sender<Message>,
    stop: CancelToken,
    body: Vec<u8>,
    records: usize,
    /// Where in the body the last record ends that fills a request.
    last_request_end: usize,
    number: u32,
}

impl Batcher {
    /// Batches go to `sender`, until `stop`.
    pub(super) fn new(cut: BatchPlan, sender: mpsc::Sender<Message>, stop: CancelToken) -> Self {
        Self { cut, sender, stop, body: Vec::new(), records: 0, last_request_end: 0, number: 0 }
    }

    pub(super) fn writes(
        &mut self,
        mut model: Extracted,
        record_ids: &HashMap<KeyHash, Box<str>>,
    ) -> Result<(), BatchingEnd> {
        let layout = model.layout.clone();
        let sent = model.entries.iter().filter(|e| e.is_sent()).count();
        model.spool.expect(sent > model.entries.len() / 10);
        for entry in model.entries.iter().filter(|e: &&ModelEntry| e.is_sent()) {
            let (key, fields) = split(model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?);
            let record = BatchRecord {
                hash: entry.hash,
                checksum: entry.checksum,
                revision: entry.revision(),
                had_failure: entry.had_failure(),
                record_id: record_ids.get(&entry.hash).map(AsRef::as_ref),
                key,
                fields,
            };
            self.push(&record, self.cut.write_op, &layout)?;
        }
        self.flush(self.cut.write_op, &layout)
    }

    pub(super) fn deletes(&mut self, removed: &[Removed]) -> Result<(), BatchingEnd> {
        let layout = self.cut.header.layout.identifier_layout();
        for gone in removed {
            let identifier = Cells(&gone.identifier);
            let record = BatchRecord {
                hash: gone.hash,
                checksum: GONE,
                revision: gone.revision,
                had_failure: gone.had_failure,
                record_id: gone.record_id.as_deref(),
                key: identifier,
                fields: identifier,
            };
            self.push(&record, Op::Delete, &layout)?;
        }
        self.flush(Op::Delete, &layout)
    }

    fn push(&mut self, record: &BatchRecord<'_>, op: Op, layout: &Layout) -> Result<(), BatchingEnd> {
        let (before, size) = (self.body.len(), self.cut.size);
        record.push_to(&mut self.body);
        self.records += 1;
        let last = self.body.len() - before;
        if self.records > size.records_per_request && self.body.len() > size.inline_bytes {
            // What does not fill a request goes into the next batch, so that no request is smaller than it could be.
            self.flush_up_to(
                self.last_request_end,
                (self.records - 1) / size.records_per_request * size.records_per_request,
                op,
                layout,
            )?;
        }
        if self.records > 1 && self.body.len() > size.bytes {
            self.flush_up_to(self.body.len() - last, self.records - 1, op, layout)?;
        }
        if self.records.is_multiple_of(size.records_per_request) {
            self.last_request_end = self.body.len();
        }
        if self.records == size.records { self.flush(op, layout) } else { Ok(()) }
    }

    /// Flushes the first `records`, which end at byte `end`; the others go into the next batch.
    fn flush_up_to(&mut self, end: usize, records: usize, op: Op, layout: &Layout) -> Result<(), BatchingEnd> {
        let (rest, left) = (self.body.split_off(end), self.records - records);
        self.records = records;
        self.flush(op, layout)?;
        self.body.extend_from_slice(&rest);
        self.records = left;
        Ok(())
    }

    fn flush(&mut self, op: Op, layout: &Layout) -> Result<(), BatchingEnd> {
        if self.records == 0 {
            return Ok(());
        }
        self.stop.check()?;
        let header = BatchHeader {
            number: self.number,
            op,
            records: self.records as u32,
            layout: layout.clone(),
            ..self.cut.header.clone()
        };
        let capacity = self.body.len();
        let body = Bytes::from(std::mem::replace(&mut self.body, Vec::with_capacity(capacity)));
        self.number += 1;
        (self.records, self.last_request_end) = (0, 0);
        self.sender.blocking_send(Message { header, body }).map_err(|_| BatchingEnd::NobodyListens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::batch::read_body;
    use domain::cells;
    use domain::value::Value;

    fn cut(sizes: &[usize], size: BatchLimits) -> Vec<Message> {
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
            sample_below: 0,
            layout: Layout::new(vec![]),
        };
        let cut = BatchPlan { header, write_op: Op::Upsert, size };
        let mut cutter = Batcher::new(cut, sender, CancelToken::default());
        let layout = Layout::new(vec![]);
        for (i, size) in sizes.iter().enumerate() {
            let mut fields = Vec::new();
            cells::push(&mut fields, Value::Text(&"x".repeat(*size)));
            let hash = KeyHash::of(&i.to_le_bytes());
            let record = BatchRecord {
                hash,
                checksum: i as u64,
                revision: 0,
                had_failure: false,
                record_id: None,
                key: Cells(&[]),
                fields: Cells(&fields),
            };
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
            let batches = cut(&sizes, BatchLimits { records, bytes, records_per_request: request, inline_bytes: carried });
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
