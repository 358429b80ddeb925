//! Cuts a plan into batches and sends them to the queue.
//!
//! Batches are cut in the order of the hashes, so that a batch touches few buckets. Deletes come after all
//! writes. Records are read from the spool on a blocking thread while earlier batches are being sent.

use std::collections::HashMap;

use bytes::Bytes;
use domain::batch::{BatchHeader, BatchRecord, Message, RECORD_OVERHEAD};
use domain::cells::Cells;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::layout::Layout;
use domain::mode::{Mode, Op};
use domain::ports::{Limits, Shelf};
use domain::retry::MAX_ATTEMPTS;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::Context;
use crate::diff::{GONE, Removed};
use crate::entries::Entry;
use crate::extract::{Extracted, split};
use crate::stop::Stop;

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

/// What enqueueing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// All batches are in the queue; so many.
    All(u32),
    /// The time is over: the other batches lie on the shelf.
    Shelved {
        /// Batches in all.
        batches: u32,
        /// Parts on the shelf.
        parts: u32,
    },
    /// The writers gave up before all were sent.
    GivenUp,
}

/// Bytes of a part of a stored plan; a batch is never divided.
const PART: usize = 8 * 1024 * 1024;

/// Sends every batch of the plan, and lays down on the shelf those that there is no time left to send.
/// Stops between batches when asked to.
pub async fn enqueue(context: &Context, cut: Cut, model: Extracted, removed: Vec<Removed>, record_ids: HashMap<KeyHash, Box<str>>) -> Result<Enqueued, Fault> {
    let (sender, mut batches) = mpsc::channel(2);
    let (stop, run) = (context.stop.clone(), cut.header.run.clone());
    let mut left = bytes_of(&model, &removed);
    let cutting = tokio::task::spawn_blocking(move || {
        let mut cutter = Cutter { cut, sender, stop, body: Vec::new(), records: 0, whole: 0, number: 0 };
        cutter.writes(model, &record_ids)?;
        cutter.deletes(&removed)
    });
    let (mut count, mut given_up) = (0, false);
    let mut shelving: Option<Shelving<'_>> = None;
    let mut sends = Sends::new(context);
    while let Some(message) = batches.recv().await {
        let message: Message = message;
        context.stop.check()?;
        left = left.saturating_sub(message.body.len() as u64);
        if shelving.is_none()
            && let Some(shelf) = time_is_over(context, left)
        {
            shelving = Some(Shelving { shelf, run: &run, part: Vec::new(), parts: 0 });
        }
        match &mut shelving {
            Some(shelving) => shelving.add(&message).await?,
            None if !sends.send(message).await? => {
                given_up = true;
                break;
            }
            None => {}
        }
        count += 1;
    }
    drop(batches);
    given_up = !sends.finish().await? || given_up;
    match cutting.await.map_err(|e| Fault::new(Code::Internal, format!("The thread that cuts batches ended: {e}.")))? {
        Ok(()) | Err(Ended::NobodyListens) if given_up => Ok(Enqueued::GivenUp),
        Ok(()) | Err(Ended::NobodyListens) => match shelving {
            None => Ok(Enqueued::All(count)),
            Some(shelving) => Ok(Enqueued::Shelved { batches: count, parts: shelving.finish().await? }),
        },
        Err(Ended::Fault(fault)) => Err(fault),
    }
}

/// Sends on their way to the queue, as many at once as it likes.
pub(crate) struct Sends<'a> {
    context: &'a Context,
    under_way: FuturesUnordered<BoxFuture<'a, Result<bool, Fault>>>,
}

impl<'a> Sends<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self { context, under_way: FuturesUnordered::new() }
    }

    /// Begins to send a message, once there is room. `false`: the writers gave up.
    pub(crate) async fn send(&mut self, message: Message) -> Result<bool, Fault> {
        self.under_way.push(Box::pin(send(self.context, message)));
        self.fewer_than(self.context.queue.sends_at_once().max(1)).await
    }

    /// Waits until everything is in the queue. `false`: the writers gave up.
    pub(crate) async fn finish(mut self) -> Result<bool, Fault> {
        self.fewer_than(1).await
    }

    async fn fewer_than(&mut self, most: usize) -> Result<bool, Fault> {
        while self.under_way.len() >= most {
            if let Some(sent) = self.under_way.next().await
                && !sent?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Sends a message. `false`: the writers gave up. A queue that is full waits for writers, and there may be none any more.
async fn send(context: &Context, message: Message) -> Result<bool, Fault> {
    let sent = tokio::select! {
        sent = context.queue.send(message) => Some(sent),
        () = context.slots.wait_halted() => None,
        () = context.stop.stopped() => None,
    };
    context.stop.check()?;
    sent.transpose().map(|sent| sent.is_some())
}

/// The shelf, when `left` bytes of batches do not fit into the time that is left.
fn time_is_over(context: &Context, left: u64) -> Option<&dyn Shelf> {
    let deadline = context.settings.deadline?;
    let shelf = context.shelf.as_deref()?;
    (context.clock.now() >= deadline.of_enqueueing(left)).then_some(shelf)
}

/// About how many bytes the batches will have.
fn bytes_of(model: &Extracted, removed: &[Removed]) -> u64 {
    let writes = model.entries.iter().filter(|e| e.is_sent()).map(|e| e.len as usize + RECORD_OVERHEAD);
    let deletes = removed.iter().map(|r| 2 * r.identifier.len() + RECORD_OVERHEAD);
    writes.chain(deletes).map(|bytes| bytes as u64).sum()
}

/// Batches on their way to the shelf.
struct Shelving<'a> {
    shelf: &'a dyn Shelf,
    run: &'a str,
    part: Vec<u8>,
    parts: u32,
}

impl Shelving<'_> {
    async fn add(&mut self, message: &Message) -> Result<(), Fault> {
        message.push_to(&mut self.part);
        if self.part.len() >= PART { self.put().await } else { Ok(()) }
    }

    async fn put(&mut self) -> Result<(), Fault> {
        let part = std::mem::take(&mut self.part);
        self.shelf.put(self.run, self.parts, part.into()).await?;
        self.parts += 1;
        Ok(())
    }

    async fn finish(mut self) -> Result<u32, Fault> {
        if !self.part.is_empty() {
            self.put().await?;
        }
        Ok(self.parts)
    }
}

enum Ended {
    NobodyListens,
    Fault(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Ended::Fault(fault)
    }
}

struct Cutter {
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
    fn writes(&mut self, mut model: Extracted, record_ids: &HashMap<KeyHash, Box<str>>) -> Result<(), Ended> {
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

    fn deletes(&mut self, removed: &[Removed]) -> Result<(), Ended> {
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
        let mut cutter = Cutter { cut, sender, stop: Stop::default(), body: Vec::new(), records: 0, whole: 0, number: 0 };
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
