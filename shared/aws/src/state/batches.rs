//! Batches of a run: claims, what they have come to, and when the run is through.
//!
//! Everything about a batch is one cell (see `cell.rs`) of a page (`pages.rs`): a batch costs two write units, one to
//! claim it and one to settle it. The note of a claim is written before the head is read: a run that takes over after
//! that sees the note. A page that is full is noted once in the run's progress (`f`, of those with doubts also in `k`;
//! `t` is how many batches there are), which is done again by whoever comes by, so a process that ends in between hangs
//! nothing.
//!
//! ```text
//!                  the run's list          a page of 64 cells                       the run's progress
//!                  (doubts.rs)             (pages.rs, cell.rs)
//!  claim     1 put the run on it ─► 2 cell := token, until, note    (over what was seen)
//!                                     3 read the head, strongly: another run or generation? ─► put the cell back, Stale
//!  settle                           4 cell := outcome, until 0      (over what was seen; a done cell stays)
//!                                     5 the answer has the whole page: is it full?        ─► 6 add it to `f`, with doubts to `k`
//!                                                                                            7 all full, none in `k` ─┐
//!            8 take the run off it ◄────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Whoever ends between two of these leaves what the next one by finds and does again: 5 to 8 follow from the page alone, and
//! a run that takes over reads the list after it has the head, so it sees every claim that 3 let through.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::{BatchRef, Claim, Progress};
use domain::run::{BatchState, Tally};
use xxhash_rust::xxh3::xxh3_64;

use super::DynamoState;
use super::item::{Item, bytes, expires, get_bytes, get_number, get_text, item_with_ttl, number, text};
use super::packed_batch::{ClaimedRecords, PackedBatch, is_done};
use super::pages::{batches_in, cell_name, cells, done_in, done_in_full, doubtful, is_full, page_of};
use super::table::{Range, Written};
use crate::keys::{self, BATCH_PAGES, SK, TTL};

/// Days until DynamoDB removes what is known of batches: as long as their runs are kept, because a sync that is switched
/// off for a while must still know then which records are in doubt. 64 batches take less than a kilobyte.
pub(super) const DAYS: u64 = 90;

/// How far a run is, as stored.
#[derive(Debug, Default)]
pub(super) struct BatchProgress {
    pub(super) total: Option<u32>,
    pub(super) full: Vec<u32>,
    pub(super) doubtful: Vec<u32>,
}

impl BatchProgress {
    fn read(item: &Item) -> Self {
        let numbers = |name: &str| -> Vec<u32> {
            let set = item.get(name).and_then(|set| set.as_ns().ok());
            set.into_iter().flatten().filter_map(|number| number.parse().ok()).collect()
        };
        Self { total: get_number(item, "t"), full: numbers("f"), doubtful: numbers("k") }
    }

    fn progress(&self) -> Progress {
        Progress { done: done_in_full(&self.full, self.total), total: self.total }
    }

    /// True when every batch is done.
    pub(super) fn is_complete(&self) -> bool {
        self.progress().is_complete()
    }
}

impl DynamoState {
    pub(super) async fn claim_batch(&self, batch: BatchRef<'_>, generation: u64, doubt: &[u8], now: Millis, until: Millis) -> Result<Claim, Fault> {
        // Asked first where it may well be stale: the first message of a run here, or a generation older than one seen. A run
        // that was taken over long ago must not come back to the list of those with doubts.
        let newest = self.known_generation(batch.sync);
        if !self.is_indexed(batch.run) || newest.is_some_and(|newest| newest > generation) {
            let head = self.stored_head(batch.sync).await?.head;
            if !head.is_of(batch.run, generation) {
                return Ok(Claim::Stale(head.generation));
            }
        }
        self.index_in_doubt(batch.sync, batch.run).await?;
        let note = self.put_note(batch, doubt).await?;
        let mut seen: Option<Vec<u8>> = None;
        let (mine, before) = loop {
            let before = seen.as_deref().map(|cell| self.read_cell(batch, cell)).transpose()?;
            if let Some(cell) = &before {
                if cell.state.done {
                    return Ok(Claim::Done(self.note_full(batch).await?));
                }
                if cell.until > now {
                    return Ok(Claim::InProgress(cell.until));
                }
            }
            let before = before.unwrap_or_default();
            let cell = PackedBatch { token: fastrand::u32(..), until, state: before.state.clone(), reasons: before.reasons, note: note.clone() };
            let mine = cell.encode();
            match self.table.write(self.cell_update(batch, seen.as_deref(), Some(&mine))).await? {
                Written::Done(_) => break (mine, before),
                Written::Refused(item) => {
                    let there = item.as_ref().and_then(|item| get_bytes(item, &cell_name(batch.number))).map(<[u8]>::to_vec);
                    if there.as_deref() == Some(&mine) {
                        break (mine, before);
                    }
                    seen = there;
                }
            }
        };
        let head = self.stored_head(batch.sync).await?.head;
        if !head.is_of(batch.run, generation) {
            // Whoever took over need not doubt records that are not going to be sent. Not done if somebody else has it by now.
            self.table.write(self.cell_update(batch, Some(&mine), seen.as_deref())).await?;
            return Ok(Claim::Stale(head.generation));
        }
        self.remember_cell(batch, mine);
        let mut state = before.state;
        if let Some(stamp) = before.reasons {
            let kept = self.read_reasons(batch.run, batch.number, stamp).await?;
            state.tally = Tally { reasons: kept.reasons, read_back: kept.read_back, ..state.tally };
        }
        Ok(Claim::Granted(state))
    }

    /// An update of a batch's cell that takes effect only over what was seen. `None`: no cell.
    fn cell_update(&self, batch: BatchRef<'_>, seen: Option<&[u8]>, new: Option<&[u8]>) -> UpdateItemFluentBuilder {
        let request = self.table.update(&keys::batch_page(batch.run, page_of(batch.number))).expression_attribute_names("#c", cell_name(batch.number));
        let request = match seen {
            None => request.condition_expression("attribute_not_exists(#c)"),
            Some(seen) => request.condition_expression("#c = :old").expression_attribute_values(":old", bytes(seen)),
        };
        match new {
            None => request.update_expression("REMOVE #c"),
            Some(new) => request
                .update_expression("SET #c = :new, sync = :sync, #ttl = :ttl")
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":new", bytes(new))
                .expression_attribute_values(":sync", text(batch.sync))
                .expression_attribute_values(":ttl", expires(DAYS)),
        }
    }

    pub(super) fn read_cell(&self, batch: BatchRef<'_>, cell: &[u8]) -> Result<PackedBatch, Fault> {
        PackedBatch::decode(cell).ok_or_else(|| self.table.corrupt(format!("Batch {} of run {}", batch.number, batch.run)))
    }

    pub(super) async fn settle_batch(&self, batch: BatchRef<'_>, state: &BatchState, at: Option<Millis>) -> Result<Progress, Fault> {
        let reasons = self.put_reasons(batch, &state.tally).await?;
        let kept = if state.done && !state.doubt.is_empty() { self.put_note(batch, &state.doubt).await? } else { ClaimedRecords::None };
        let page = page_of(batch.number);
        let mut seen = self.forget_cell(batch);
        let item = loop {
            let before = seen.as_deref().map(|cell| self.read_cell(batch, cell)).transpose()?.unwrap_or_default();
            if before.state.done {
                // It stays as it is; that it was heard of again is noted.
                let Some(at) = at else { return self.note_full(batch).await };
                let request = self.table.update(&keys::batch_page(batch.run, page)).update_expression("SET #at = :at");
                let request = request.expression_attribute_names("#at", "at").expression_attribute_values(":at", number(at.0));
                break self.table.write_blindly(request.return_values(ReturnValue::AllNew)).await?;
            }
            let mut state = state.clone();
            if state.done {
                (state.settled, state.unseen) = Default::default();
            }
            let note = if state.done { kept.clone() } else { before.note };
            let token = if state.done { 0 } else { fastrand::u32(..) };
            let new = PackedBatch { token, until: Millis(0), state, reasons, note }.encode();
            let mut request = self.cell_update(batch, seen.as_deref(), Some(&new));
            if let Some(at) = at {
                request = request.update_expression("SET #c = :new, sync = :sync, #ttl = :ttl, #at = :at");
                request = request.expression_attribute_names("#at", "at").expression_attribute_values(":at", number(at.0));
            }
            match self.table.write(request.return_values(ReturnValue::AllNew)).await? {
                Written::Done(item) => break item,
                Written::Refused(item) => {
                    let there = item.as_ref().and_then(|item| get_bytes(item, &cell_name(batch.number))).map(<[u8]>::to_vec);
                    match item {
                        // The answer to our own write was lost, and this is the second attempt.
                        Some(item) if there.as_deref() == Some(&new) => break item,
                        _ => seen = there,
                    }
                }
            }
        };
        self.count(Some(batch.sync), batch.run, vec![(page, item)], None).await
    }

    /// Notes that a batch's page is full, should whoever filled it have ended before doing so, and says how far the run is.
    async fn note_full(&self, batch: BatchRef<'_>) -> Result<Progress, Fault> {
        let page = page_of(batch.number);
        let item = self.table.get(&keys::batch_page(batch.run, page)).await?.unwrap_or_default();
        self.count(Some(batch.sync), batch.run, vec![(page, item)], None).await
    }

    /// Notes those of these pages that are full, and says how far the run is. Read after the pages were: of two writers
    /// that fill the last two pages, one sees both.
    async fn count(&self, sync: Option<&str>, run: &str, pages: Vec<(u32, Item)>, known: Option<BatchProgress>) -> Result<Progress, Fault> {
        let key = keys::progress(run);
        let mut stored = match known {
            Some(known) => known,
            None => self.table.get(&key).await?.as_ref().map(BatchProgress::read).unwrap_or_default(),
        };
        let full = |(page, item): &&(u32, Item)| is_full(*page, done_in(*page, item), stored.total);
        let newly: Vec<&(u32, Item)> = pages.iter().filter(full).filter(|(page, _)| !stored.full.contains(page)).collect();
        if !newly.is_empty() {
            let set = |pages: Vec<u32>| AttributeValue::Ns(pages.iter().map(ToString::to_string).collect());
            let kept: Vec<u32> = newly.iter().filter(|(page, item)| doubtful(*page, item)).map(|(page, _)| *page).collect();
            let mut add = "SET #ttl = :ttl ADD f :f".to_owned();
            let mut request = self.table.update(&key).expression_attribute_names("#ttl", TTL).expression_attribute_values(":ttl", expires(DAYS));
            request = request.expression_attribute_values(":f", set(newly.iter().map(|(page, _)| *page).collect()));
            if !kept.is_empty() {
                add.push_str(", k :k");
                request = request.expression_attribute_values(":k", set(kept));
            }
            let request = request.update_expression(add).return_values(ReturnValue::AllNew);
            stored = BatchProgress::read(&self.table.write_blindly(request).await?);
        }
        let mut progress = stored.progress();
        progress.done += pages.iter().filter(|(page, _)| !stored.full.contains(page)).map(|(page, item)| done_in(*page, item)).sum::<u32>();
        if let Some(sync) = sync.filter(|_| stored.is_complete() && stored.doubtful.is_empty()) {
            self.unindex_in_doubt(sync, run).await?;
        }
        Ok(progress)
    }

    pub(super) async fn write_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        let request = self.table.update(&keys::progress(run)).update_expression("SET t = :t, #ttl = :ttl").expression_attribute_names("#ttl", TTL);
        let request = request.expression_attribute_values(":t", number(batches)).expression_attribute_values(":ttl", expires(DAYS));
        let stored = BatchProgress::read(&self.table.write_blindly(request.return_values(ReturnValue::AllNew)).await?);
        if batches == 0 {
            return Ok(stored.progress());
        }
        let mut pages = self.read_pages(run).await?;
        pages.retain(|(page, _)| batches_in(*page, batches) > 0);
        let sync = pages.first().and_then(|(_, item)| get_text(item, "sync")).map(str::to_owned);
        self.count(sync.as_deref(), run, pages, Some(stored)).await
    }

    /// The pages of a run's batches.
    pub(super) async fn read_pages(&self, run: &str) -> Result<Vec<(u32, Item)>, Fault> {
        let items = self.table.query(&keys::batches(run), Range::Between(BATCH_PAGES.0, BATCH_PAGES.1), true, usize::MAX).await?;
        let page = |item: &Item| u32::from_str_radix(get_text(item, SK)?.strip_prefix("c#")?, 16).ok();
        items.into_iter().map(|item| Ok((page(&item).ok_or_else(|| self.table.corrupt(format!("A batch of run {run}")))?, item))).collect()
    }

    pub(super) async fn read_progress(&self, run: &str) -> Result<BatchProgress, Fault> {
        Ok(self.table.get(&keys::progress(run)).await?.as_ref().map(BatchProgress::read).unwrap_or_default())
    }

    pub(super) async fn newest_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        Ok(self.read_pages(run).await?.iter().filter_map(|(_, item)| get_number(item, "at")).max().map(Millis))
    }

    pub(super) async fn sum(&self, run: &str) -> Result<Tally, Fault> {
        let pages = self.read_pages(run).await?;
        let mut all: Vec<(u32, &[u8])> = pages.iter().flat_map(|(page, item)| cells(*page, item)).collect();
        all.sort_by_key(|(number, _)| *number);
        let mut sum = Tally::default();
        for (number, cell) in all {
            let cell = self.read_cell(BatchRef { sync: "", run, number }, cell)?;
            match cell.reasons {
                None => sum.add(&cell.state.tally),
                Some(stamp) => {
                    let kept = self.read_reasons(run, number, stamp).await?;
                    sum.add(&Tally { reasons: kept.reasons, read_back: kept.read_back, ..cell.state.tally });
                }
            }
        }
        Ok(sum)
    }

    /// Keeps the reasons of a tally and what was read back, if there is any of it, under the stamp that is returned: whatever else fails, a cell that
    /// names the stamp finds these.
    async fn put_reasons(&self, batch: BatchRef<'_>, tally: &Tally) -> Result<Option<u64>, Fault> {
        if tally.reasons.is_empty() && tally.read_back.is_empty() {
            return Ok(None);
        }
        let data = serde_json::to_string(tally).map_err(|_| self.table.corrupt(format!("The tally of batch {} of run {}", batch.number, batch.run)))?;
        let stamp = xxh3_64(data.as_bytes());
        let mut item = item_with_ttl(&keys::reasons(batch.run, batch.number, stamp), DAYS);
        item.insert("d".into(), text(data));
        self.table.put(item).await?;
        Ok(Some(stamp))
    }

    async fn read_reasons(&self, run: &str, number: u32, stamp: u64) -> Result<Tally, Fault> {
        let item = self.table.get(&keys::reasons(run, number, stamp)).await?;
        let tally = item.as_ref().and_then(|item| serde_json::from_str(get_text(item, "d")?).ok());
        tally.ok_or_else(|| self.table.corrupt(format!("The tally of batch {number} of run {run}")))
    }
}

/// The cells of pages whose batches are open, or done with records in doubt.
pub(super) fn noted_cells(pages: &[(u32, Item)]) -> impl Iterator<Item = (u32, &[u8])> {
    pages.iter().flat_map(|(page, item)| cells(*page, item)).filter(|(_, cell)| super::packed_batch::has_in_doubt(cell) || !is_done(cell))
}
