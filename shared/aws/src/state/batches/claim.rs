//! Claims a batch: its cell gets our token, unless it is done or another's. The note of which records it is about is
//! written before the head is read, so whoever takes over sees it.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::{BatchRef, Claim};
use domain::run::Tally;

use super::packed::PackedBatch;
use super::pages::{cell_name, page_of};
use super::progress::DAYS;
use crate::keys::{self, TTL};
use crate::state::DynamoState;
use crate::state::item::{bytes, expires, get_bytes, text};
use crate::state::table::Written;

impl DynamoState {
    pub(in crate::state) async fn claim_batch(
        &self,
        batch: BatchRef<'_>,
        generation: u64,
        doubt: &[u8],
        now: Millis,
        until: Millis,
    ) -> Result<Claim, Fault> {
        // Asked first where it may well be stale: the first message of a run here, or a generation older than one seen.
        // A run that was taken over long ago must not come back to the list of those with doubts.
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
            let cell = PackedBatch {
                token: fastrand::u32(..),
                until,
                state: before.state.clone(),
                reasons: before.reasons,
                note: note.clone(),
            };
            let mine = cell.encode();
            match self.table.write(self.cell_update(batch, seen.as_deref(), Some(&mine))).await? {
                Written::Done(_) => break (mine, before),
                Written::Refused(item) => {
                    let there =
                        item.as_ref().and_then(|item| get_bytes(item, &cell_name(batch.number))).map(<[u8]>::to_vec);
                    if there.as_deref() == Some(&mine) {
                        break (mine, before);
                    }
                    seen = there;
                }
            }
        };
        let head = self.stored_head(batch.sync).await?.head;
        if !head.is_of(batch.run, generation) {
            // Whoever took over need not doubt records that are not going to be sent. Not done if somebody else has it
            // by now.
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
    pub(super) fn cell_update(
        &self,
        batch: BatchRef<'_>,
        seen: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> UpdateItemFluentBuilder {
        let request = self
            .table
            .update(&keys::batch_page(batch.run, page_of(batch.number)))
            .expression_attribute_names("#c", cell_name(batch.number));
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

    pub(in crate::state) fn read_cell(&self, batch: BatchRef<'_>, cell: &[u8]) -> Result<PackedBatch, Fault> {
        PackedBatch::decode(cell)
            .ok_or_else(|| self.table.corrupt(format!("Batch {} of run {}", batch.number, batch.run)))
    }
}
