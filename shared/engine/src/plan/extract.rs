//! Reads the model: rows become mapped records in the spool and 32-byte entries in memory.
//!
//! Nothing is decided here but whether a record is valid. The work is done on a blocking thread, which
//! takes batches of rows off the warehouse's stream, so that reading and mapping overlap.

use std::sync::Arc;

use domain::batch::RECORD_OVERHEAD;
use domain::cells::{self, Cells};
use domain::fault::{Code, Fault};
use domain::key::{KeyHash, checksum, display_key};
use domain::layout::Layout;
use domain::mapping::{Invalid, Mapper};
use domain::mode::Mode;
use domain::ports::{Destination, Query, RowFilter, RowStream};
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
use crate::plan::spool::Spool;
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
    pub may_share_records: bool,
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
    let query = respell(query, &prepared.spelt);
    let stream = watch.within(0, engine.warehouse.rows(&query)).await??;
    let rule = IdentityRule::new(prepared.mapper.layout(), &prepared.schema);
    // A mirror deletes by identifiers, and an update goes by ids that were learnt under one.
    let owned = matches!(engine.sync.mode, Mode::Mirror | Mode::Update);
    let may_share_records = rule.folds() || identifiers_apart(engine, &prepared);
    let reader = Reader {
        key: prepared.key,
        cursor: prepared.cursor,
        rollout: engine.sync.rollout,
        identifiers: ((owned || may_share_records) && prepared.mapper.layout().identifiers().next().is_some())
            .then(Vec::new),
        rule,
        owned,
        may_share_records,
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

/// The query with the columns of its condition as the warehouse spells them.
fn respell(query: &Query, spelt: &[(String, String)]) -> Query {
    let own = |name: &mut String| {
        if let Some((_, own)) = spelt.iter().find(|(sync, _)| sync == name) {
            name.clone_from(own);
        }
    };
    let mut query = query.clone();
    match &mut query.only {
        Some(RowFilter::From { column, .. }) => own(column),
        Some(RowFilter::Keys { columns, .. }) => columns.iter_mut().for_each(own),
        None => {}
    }
    query
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
    // A transformed key may lose what tells two keys may_share_records (case, white space).
    let transformed = sync.identifiers().any(|m| !m.transform.is_empty() || !m.values.is_empty());
    // So may one that the destination wants in another type: `7` and `007` are one number.
    let field = |to: &str| layout.position(to).map(|at| layout.fields()[at].kind);
    let kind = |from: &str| prepared.columns.iter().find(|c| c.name == from).map(|c| c.kind);
    let coerced = sync
        .identifiers()
        .any(|m| field(&m.to).is_some_and(|to| to != Type::Any && m.from.as_deref().and_then(kind) != Some(to)));
    columns != key || transformed || coerced
}

pub(super) struct Reader {
    pub(super) key: Vec<usize>,
    pub(super) cursor: Option<usize>,
    pub(super) rollout: Rollout,
    /// The identity of each entry's identifier, when that may be another's too: parallel to `entries`.
    pub(super) identifiers: Option<Vec<Option<u64>>>,
    pub(super) rule: IdentityRule,
    pub(super) owned: bool,
    pub(super) may_share_records: bool,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) seed: u64,
    pub(super) mapper: Mapper,
    pub(super) max_record: usize,
    pub(super) entries: Vec<ModelEntry>,
    pub(super) spool: Spool,
    pub(super) rows: u64,
    pub(super) invalid: u64,
    pub(super) invalid_first: Vec<InvalidRecord>,
    pub(super) keyless: u64,
    pub(super) seen: CursorScan,
    /// The record being made.
    pub(super) record: Vec<u8>,
    pub(super) scratch: Vec<u8>,
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
            may_share_records: self.may_share_records,
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

    pub(super) fn note_invalid(&mut self, key: String, why: Invalid) {
        self.invalid += 1;
        if self.invalid_first.len() < INVALID_KEPT {
            self.invalid_first.push(InvalidRecord { key, why });
        }
    }
}
