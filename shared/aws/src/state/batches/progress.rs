//! How far a run is: which pages of batches are full, how many batches there are, and the sum of what they came to.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::{BatchRef, Progress};
use domain::run::Tally;

use super::pages::{batches_in, cells, done_in, done_in_full, doubtful, is_full, page_of};
use crate::keys::{self, BATCH_PAGES, SK, TTL};
use crate::state::DynamoState;
use crate::state::item::{Item, expires, get_number, get_text, number};
use crate::state::table::Range;

/// Days until DynamoDB removes what is known of batches: as long as their runs are kept, because a sync that is
/// switched off for a while must still know then which records are in doubt. 64 batches take less than a kilobyte.
pub(in crate::state) const DAYS: u64 = 90;

/// How far a run is, as stored.
#[derive(Debug, Default)]
pub(in crate::state) struct BatchProgress {
    pub(in crate::state) total: Option<u32>,
    pub(in crate::state) full: Vec<u32>,
    pub(in crate::state) doubtful: Vec<u32>,
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
    pub(in crate::state) fn is_complete(&self) -> bool {
        self.progress().is_complete()
    }
}

impl DynamoState {
    /// Notes that a batch's page is full, should whoever filled it have ended before doing so, and says how far the run
    /// is.
    pub(super) async fn note_full(&self, batch: BatchRef<'_>) -> Result<Progress, Fault> {
        let page = page_of(batch.number);
        let item = self.table.get(&keys::batch_page(batch.run, page)).await?.unwrap_or_default();
        self.count(Some(batch.sync), batch.run, vec![(page, item)], None).await
    }

    /// Notes those of these pages that are full, and says how far the run is. Read after the pages were: of two writers
    /// that fill the last two pages, one sees both.
    pub(super) async fn count(
        &self,
        sync: Option<&str>,
        run: &str,
        pages: Vec<(u32, Item)>,
        known: Option<BatchProgress>,
    ) -> Result<Progress, Fault> {
        let key = keys::progress(run);
        let mut stored = match known {
            Some(known) => known,
            None => self.table.get(&key).await?.as_ref().map(BatchProgress::read).unwrap_or_default(),
        };
        let full = |(page, item): &&(u32, Item)| is_full(*page, done_in(*page, item), stored.total);
        let newly: Vec<&(u32, Item)> =
            pages.iter().filter(full).filter(|(page, _)| !stored.full.contains(page)).collect();
        if !newly.is_empty() {
            let set = |pages: Vec<u32>| AttributeValue::Ns(pages.iter().map(ToString::to_string).collect());
            let kept: Vec<u32> =
                newly.iter().filter(|(page, item)| doubtful(*page, item)).map(|(page, _)| *page).collect();
            let mut add = "SET #ttl = :ttl ADD f :f".to_owned();
            let mut request = self
                .table
                .update(&key)
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":ttl", expires(DAYS));
            request = request.expression_attribute_values(":f", set(newly.iter().map(|(page, _)| *page).collect()));
            if !kept.is_empty() {
                add.push_str(", k :k");
                request = request.expression_attribute_values(":k", set(kept));
            }
            let request = request.update_expression(add).return_values(ReturnValue::AllNew);
            stored = BatchProgress::read(&self.table.write_blindly(request).await?);
        }
        let mut progress = stored.progress();
        progress.done += pages
            .iter()
            .filter(|(page, _)| !stored.full.contains(page))
            .map(|(page, item)| done_in(*page, item))
            .sum::<u32>();
        if let Some(sync) = sync.filter(|_| stored.is_complete() && stored.doubtful.is_empty()) {
            self.unindex_in_doubt(sync, run).await?;
        }
        Ok(progress)
    }

    pub(in crate::state) async fn write_batch_total(&self, run: &str, batches: u32) -> Result<Progress, Fault> {
        let request = self
            .table
            .update(&keys::progress(run))
            .update_expression("SET t = :t, #ttl = :ttl")
            .expression_attribute_names("#ttl", TTL);
        let request = request
            .expression_attribute_values(":t", number(batches))
            .expression_attribute_values(":ttl", expires(DAYS));
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
    pub(in crate::state) async fn read_pages(&self, run: &str) -> Result<Vec<(u32, Item)>, Fault> {
        let items = self
            .table
            .query(&keys::batches(run), Range::Between(BATCH_PAGES.0, BATCH_PAGES.1), true, usize::MAX)
            .await?;
        let page = |item: &Item| u32::from_str_radix(get_text(item, SK)?.strip_prefix("c#")?, 16).ok();
        items
            .into_iter()
            .map(|item| Ok((page(&item).ok_or_else(|| self.table.corrupt(format!("A batch of run {run}")))?, item)))
            .collect()
    }

    pub(in crate::state) async fn read_progress(&self, run: &str) -> Result<BatchProgress, Fault> {
        Ok(self.table.get(&keys::progress(run)).await?.as_ref().map(BatchProgress::read).unwrap_or_default())
    }

    pub(in crate::state) async fn newest_progress(&self, run: &str) -> Result<Option<Millis>, Fault> {
        Ok(self.read_pages(run).await?.iter().filter_map(|(_, item)| get_number(item, "at")).max().map(Millis))
    }

    pub(in crate::state) async fn sum(&self, run: &str) -> Result<Tally, Fault> {
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
}
