//! Reads the model: rows become mapped records in the spool and 32-byte entries in memory.
//!
//! Nothing is decided here but whether a record is valid. The work is done on a blocking thread, which
//! takes batches of rows off the warehouse's stream, so that reading and mapping overlap.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::batch::RECORD_OVERHEAD;
use domain::cells::{self, Cells};
use domain::fault::{Code, Fault};
use domain::key::{KeyHash, checksum, display_key};
use domain::layout::Layout;
use domain::mapping::{Invalid, Mapper};
use domain::mode::Mode;
use domain::ports::{Destination, Query, RowStream};
use domain::row::{RowBatch, RowRef};
use domain::run::InvalidRecord;
use domain::sync::Rollout;
use domain::value::Type;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Engine;
use crate::cancel::CancelToken;
use crate::deadline::Deadline;
use crate::plan::cursor::CursorScan;
use crate::plan::entries::{EntryKind, ModelEntry};
use crate::plan::identity::{Identities, IdentityRule, identifier_into, is_whole};
use crate::plan::prepare::Prepared;
use crate::plan::spool::{Spool, split};
use crate::progress::RunProgress;

/// So many invalid records are kept with their reasons; the others are counted.
pub const INVALID_KEPT: usize = 50;

/// The model as read: entries in the order of their hashes, records in the spool.
pub struct Extracted {
    /// One entry for each key.
    pub entries: Vec<ModelEntry>,
    /// The records.
    pub spool: Spool,
    /// Rows read.
    pub rows: u64,
    /// Rows refused, duplicates counted each.
    pub invalid: u64,
    /// The first of them.
    pub invalid_first: Vec<InvalidRecord>,
    /// Rows without a readable key: which stored records they are nobody can tell.
    pub keyless: u64,
    /// Whose identifier is whose, in the modes mirror and update.
    pub identities: Identities,
    /// How identifiers are compared.
    pub rule: IdentityRule,
    /// Two keys may be one record at the destination, so one may have been overwritten under the other.
    pub apart: bool,
    /// What was seen of the cursor's column.
    pub cursor: CursorScan,
    /// The records' layout.
    pub layout: Layout,
}

/// Runs the query and maps every row. `max_body` is the most bytes a message's body may have.
/// `before` is the cursor that the read goes on from.
pub async fn extract(
    engine: &Engine,
    prepared: Prepared,
    query: &Query,
    before: Option<&[u8]>,
    max_body: usize,
) -> Result<Extracted, Fault> {
    let watch = ReadDeadline::new(engine);
    let stream = watch.within(0, engine.warehouse.rows(query)).await??;
    let rule = IdentityRule::new(prepared.mapper.layout(), &prepared.schema);
    // A mirror deletes by identifiers, and an update goes by ids that were learnt under one.
    let owned = matches!(engine.sync.mode, Mode::Mirror | Mode::Update);
    let apart = rule.folds() || identifiers_apart(engine, &prepared);
    let reader = Reader {
        key: prepared.key,
        cursor: prepared.cursor,
        rollout: engine.sync.rollout,
        identifiers: ((owned || apart) && prepared.mapper.layout().identifiers().next().is_some()).then(Vec::new),
        rule,
        owned,
        apart,
        destination: Arc::clone(&engine.destination),
        seed: prepared.mapper.layout().seed(),
        mapper: prepared.mapper,
        max_record: max_body.saturating_sub(RECORD_OVERHEAD),
        entries: Vec::new(),
        spool: Spool::new(engine.settings.spool_memory, &engine.settings.spool_folder),
        rows: 0,
        invalid: 0,
        invalid_first: Vec::new(),
        keyless: 0,
        seen: CursorScan::new(engine.clock.now(), before),
        record: Vec::new(),
        scratch: Vec::new(),
    };
    let (stop, meter) = (engine.stop.clone(), Arc::clone(&engine.meter));
    let batches = read_ahead(stream, watch);
    tokio::task::spawn_blocking(move || reader.read(batches, &stop, &meter))
        .await
        .map_err(|e| Fault::new(Code::Internal, format!("The mapping thread ended: {e}.")))?
}

/// Batches that wait between the warehouse and the mapping.
const MAX_BATCHES_AHEAD: usize = 4;

/// Takes batches off the stream while earlier ones are mapped: a warehouse that is polled batch by batch from the
/// mapping thread would wait for it, and it for the warehouse. Ends, and with it the statement, when nobody listens
/// or when the time for reading is over.
/// The end of the rows is said: a task that broke off must not look like the last row.
fn read_ahead(mut stream: RowStream, watch: ReadDeadline) -> mpsc::Receiver<Result<Option<RowBatch>, Fault>> {
    let (sender, batches) = mpsc::channel(MAX_BATCHES_AHEAD);
    tokio::spawn(async move {
        let mut rows = 0;
        loop {
            let batch = match watch.within(rows, stream.next()).await {
                Ok(batch) => batch.transpose(),
                Err(late) => Err(late),
            };
            rows += batch.as_ref().map_or(0, |b| b.as_ref().map_or(0, |b| b.len() as u64));
            let over = !matches!(batch, Ok(Some(_)));
            // The mapping may be what is slow: waiting for it counts too.
            match watch.within(rows, sender.send(batch)).await {
                Ok(Ok(())) if !over => {}
                Ok(_) => break,
                Err(late) => {
                    let _ = sender.send(Err(late)).await;
                    break;
                }
            }
        }
    });
    batches
}

/// Watches the time that reading has.
#[derive(Clone, Copy)]
struct ReadDeadline {
    began: Instant,
    /// When reading must be over.
    until: Option<Instant>,
}

impl ReadDeadline {
    fn new(engine: &Engine) -> Self {
        let began = Instant::now();
        let left = |deadline: Deadline| deadline.of_reading().since(engine.clock.now());
        Self { began, until: engine.settings.deadline.map(|d| began + left(d)) }
    }

    /// What `work` comes to, if it does in time; else the fault that says how fast reading was.
    async fn within<T>(&self, rows: u64, work: impl Future<Output = T>) -> Result<T, Fault> {
        match self.until {
            None => Ok(work.await),
            Some(until) => tokio::time::timeout_at(until, work).await.map_err(|_| self.late(rows)),
        }
    }

    fn late(&self, rows: u64) -> Fault {
        let seconds = self.began.elapsed().as_secs_f64();
        let what = match rows {
            0 => format!(
                "The model gave no row in {seconds:.0} seconds, which is all the time that this function has for reading."
            ),
            _ => {
                let rate = rows as f64 / seconds.max(0.001);
                format!(
                    "The model was read for {seconds:.0} seconds, {rows} rows at {rate:.0} rows a second, and the function has no more time for reading."
                )
            }
        };
        let next = match rows {
            0 => {
                "make the model faster (a table instead of a view), or run this sync with `sluice run` where no time limit holds; nothing was sent"
            }
            _ => {
                "give the sync a cursor, give the extractor more memory (more of it is more CPU) or a longer timeout (at most 15 minutes), \
                 divide the model into two syncs, or run it with `sluice run` where no time limit holds; nothing was sent"
            }
        };
        Fault::new(Code::OutOfTime, what).with_next(next)
    }
}

/// True when records are found at the destination by something other than the model's key: then two keys
/// may meet in one record there, and that must be found out here.
fn identifiers_apart(engine: &Engine, prepared: &Prepared) -> bool {
    let (sync, layout) = (&engine.sync, prepared.mapper.layout());
    let mut columns: Vec<_> = sync.identifiers().filter_map(|m| m.from.as_deref()).collect();
    let mut key: Vec<_> = sync.model.key.iter().map(String::as_str).collect();
    columns.sort_unstable();
    key.sort_unstable();
    // A transformed key may lose what tells two keys apart (case, white space).
    let transformed = sync.identifiers().any(|m| !m.transform.is_empty() || !m.values.is_empty());
    // So may one that the destination wants in another type: `7` and `007` are one number.
    let field = |to: &str| layout.position(to).map(|at| layout.fields()[at].kind);
    let kind = |from: &str| prepared.columns.iter().find(|c| c.name == from).map(|c| c.kind);
    let coerced = sync
        .identifiers()
        .any(|m| field(&m.to).is_some_and(|to| to != Type::Any && m.from.as_deref().and_then(kind) != Some(to)));
    columns != key || transformed || coerced
}

struct Reader {
    key: Vec<usize>,
    cursor: Option<usize>,
    rollout: Rollout,
    /// The identity of each entry's identifier, when that may be another's too: parallel to `entries`.
    identifiers: Option<Vec<Option<u64>>>,
    rule: IdentityRule,
    owned: bool,
    apart: bool,
    destination: Arc<dyn Destination>,
    seed: u64,
    mapper: Mapper,
    max_record: usize,
    entries: Vec<ModelEntry>,
    spool: Spool,
    rows: u64,
    invalid: u64,
    invalid_first: Vec<InvalidRecord>,
    keyless: u64,
    seen: CursorScan,
    /// The record being made.
    record: Vec<u8>,
    scratch: Vec<u8>,
}

impl Reader {
    fn read(
        mut self,
        mut batches: mpsc::Receiver<Result<Option<RowBatch>, Fault>>,
        stop: &CancelToken,
        meter: &RunProgress,
    ) -> Result<Extracted, Fault> {
        loop {
            let batch = batches.blocking_recv();
            stop.check()?;
            let Some(batch) = batch else {
                let what = format!("The reading of the model broke off after {} rows. Nothing was sent.", self.rows);
                return Err(Fault::new(Code::Internal, what));
            };
            let Some(batch) = batch? else { break };
            for row in batch.rows() {
                self.row(&row)?;
            }
            meter.add_rows(batch.len() as u64);
        }
        drop(batches);
        self.spool.finish()?;
        let identities = self.refuse_shared_identifiers()?;
        self.entries.sort_unstable_by_key(|e| e.hash);
        self.refuse_duplicate_keys()?;
        Ok(Extracted {
            entries: self.entries,
            spool: self.spool,
            rows: self.rows,
            invalid: self.invalid,
            invalid_first: self.invalid_first,
            keyless: self.keyless,
            identities,
            rule: self.rule,
            apart: self.apart,
            cursor: self.seen,
            layout: self.mapper.layout().clone(),
        })
    }

    /// A spooled record is `key length 4 · key · fields`.
    fn row(&mut self, row: &RowRef<'_>) -> Result<(), Fault> {
        self.rows += 1;
        if let Some(column) = self.cursor {
            self.seen.see(row.cell(column));
        }
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        let spooled = self.map_row(row, &mut record);
        self.record = record;
        spooled
    }

    fn map_row(&mut self, row: &RowRef<'_>, record: &mut Vec<u8>) -> Result<(), Fault> {
        record.extend_from_slice(&[0; 4]);
        let mut refused = None;
        for &column in &self.key {
            let cell = row.cell(column);
            if cells::is_empty(cell) {
                refused = Some(("must not be null: it is part of the key", "null"));
            } else if cells::is_unreadable(cell) {
                refused = Some(("cannot be read: it is part of the key", "unreadable"));
            }
            record.extend_from_slice(cell);
        }
        let key_end = record.len();
        record[..4].copy_from_slice(&(key_end as u32 - 4).to_le_bytes());
        if let Some((rule, got)) = refused {
            // Which stored record this was nobody can tell: it gets no entry.
            let key = display_key(Cells(&record[4..]));
            self.keyless += 1;
            self.note_invalid(key, Invalid { field: "key".into(), rule: rule.into(), got: got.into() });
            return Ok(());
        }
        let hash = KeyHash::of(&record[4..]);
        if !self.rollout.includes(&hash) {
            let identity = self.identity_of_row(row, record);
            return self.push(hash, 0, record, EntryKind::Outside, identity);
        }
        let mapped = match self.mapper.map(row, record) {
            Ok(()) if record.len() > self.max_record => {
                let got = format!("{} bytes", record.len());
                Err(Invalid {
                    field: "record".into(),
                    rule: format!("must fit into one message of {} bytes", self.max_record),
                    got,
                })
            }
            other => other,
        };
        match mapped {
            Ok(()) => {
                let fields = &record[key_end..];
                let sum = checksum(fields, self.seed);
                let identity = self.identifiers.is_some().then(|| {
                    identifier_into(self.mapper.layout(), Cells(fields), &mut self.scratch);
                    self.rule.identity(Cells(&self.scratch))
                });
                self.push(hash, sum, record, EntryKind::Valid, identity)
            }
            Err(why) => {
                record.truncate(key_end);
                self.note_invalid(display_key(Cells(&record[4..])), why);
                let identity = self.identity_of_row(row, record);
                self.push(hash, 0, record, EntryKind::Invalid, identity)
            }
        }
    }

    /// The identity of a row that is not sent: it owns its record all the same. `record` is left as it was.
    fn identity_of_row(&mut self, row: &RowRef<'_>, record: &mut Vec<u8>) -> Option<u64> {
        if !self.owned || self.identifiers.is_none() {
            return None;
        }
        let start = record.len();
        let whole = self.mapper.map_identifiers(row, record) && is_whole(&record[start..]);
        let identity = whole.then(|| self.rule.identity(Cells(&record[start..])));
        record.truncate(start);
        identity
    }

    fn push(
        &mut self,
        hash: KeyHash,
        checksum: u64,
        record: &[u8],
        kind: EntryKind,
        identity: Option<u64>,
    ) -> Result<(), Fault> {
        let offset = self.spool.append(&hash, record)?;
        self.entries.push(ModelEntry::new(hash, checksum, offset, record.len() as u32, kind));
        if let Some(identifiers) = &mut self.identifiers {
            identifiers.push(identity);
        }
        Ok(())
    }

    fn note_invalid(&mut self, key: String, why: Invalid) {
        self.invalid += 1;
        if self.invalid_first.len() < INVALID_KEPT {
            self.invalid_first.push(InvalidRecord { key, why });
        }
    }

    /// Different keys that would write the same record at the destination: none of them is sent. Returns who owns what.
    fn refuse_shared_identifiers(&mut self) -> Result<Identities, Fault> {
        let Some(identifiers) = self.identifiers.take() else { return Ok(Identities::default()) };
        let mut order: Vec<(u64, u32)> =
            identifiers.iter().zip(0..).filter_map(|(identity, i)| Some(((*identity)?, i))).collect();
        order.sort_unstable();
        let mut shared: Vec<Vec<u32>> = Vec::new();
        for group in order.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
            let valid = |i: &u32| self.entries[*i as usize].kind() == EntryKind::Valid;
            let group: Vec<u32> = group.iter().map(|(_, i)| *i).filter(valid).collect();
            // The same key twice is told as that.
            if group.iter().any(|i| self.entries[*i as usize].hash != self.entries[group[0] as usize].hash) {
                shared.extend(self.really_shared(group)?);
            }
        }
        for group in shared {
            for &i in &group {
                let rule = format!("must differ between records: {} rows of the model share it", group.len());
                let field =
                    self.mapper.layout().identifiers().map(|(_, f)| f.name.as_str()).collect::<Vec<_>>().join(", ");
                self.refuse(i as usize, Invalid { field, rule, got: "a duplicate identifier".into() })?;
            }
        }
        let owners = order.into_iter().map(|(identity, i)| (identity, self.entries[i as usize].hash));
        Ok(if self.owned { Identities::new(owners.collect()) } else { Identities::default() })
    }

    /// Of entries that seem to be one record at the destination, those that are, as far as only it knows.
    fn really_shared(&mut self, group: Vec<u32>) -> Result<Vec<Vec<u32>>, Fault> {
        if !self.rule.asks() {
            return Ok(vec![group]);
        }
        let layout = self.mapper.layout().identifier_layout();
        let mut identifiers = Vec::with_capacity(group.len());
        for &i in &group {
            let entry = self.entries[i as usize];
            let record = self.spool.read(&entry.hash, entry.offset(), entry.len as usize)?;
            identifiers.push(self.mapper.layout().identifier_cells(split(record).1));
        }
        // This is a blocking thread: it may wait.
        let said = tokio::runtime::Handle::current().block_on(self.destination.same_identity(&layout, &identifiers))?;
        let mut by_number: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        group.iter().zip(said).for_each(|(i, number)| by_number.entry(number).or_default().push(*i));
        let hash = |i: &u32| self.entries[*i as usize].hash;
        Ok(by_number.into_values().filter(|one| one.iter().any(|i| hash(i) != hash(&one[0]))).collect())
    }

    /// One key in several rows: none of them is sent, and one entry stands for all.
    fn refuse_duplicate_keys(&mut self) -> Result<(), Fault> {
        let mut at = 1;
        let mut duplicates = Vec::new();
        while at < self.entries.len() {
            if self.entries[at].hash == self.entries[at - 1].hash {
                let start = at - 1;
                while at < self.entries.len() && self.entries[at].hash == self.entries[start].hash {
                    at += 1;
                }
                duplicates.push((start, at));
            }
            at += 1;
        }
        for &(start, end) in &duplicates {
            for i in start..end {
                if self.entries[i].kind() != EntryKind::Invalid {
                    let rule = format!("must be unique: {} rows of the model have it", end - start);
                    self.refuse(i, Invalid { field: "key".into(), rule, got: "a duplicate key".into() })?;
                }
            }
        }
        if !duplicates.is_empty() {
            self.entries.dedup_by_key(|e| e.hash);
        }
        Ok(())
    }

    fn refuse(&mut self, index: usize, why: Invalid) -> Result<(), Fault> {
        let entry = self.entries[index];
        self.entries[index].set_kind(EntryKind::Invalid);
        let key = if self.invalid_first.len() < INVALID_KEPT {
            display_key(split(self.spool.read(&entry.hash, entry.offset(), entry.len as usize)?).0)
        } else {
            String::new()
        };
        self.note_invalid(key, why);
        Ok(())
    }
}
