//! Settles a batch: its cell says what it came to, and gives the claim up. A batch that is done stays so.

use aws_sdk_dynamodb::types::ReturnValue;
use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::{BatchRef, Progress};
use domain::run::BatchState;

use super::packed::{ClaimedRecords, PackedBatch};
use super::pages::{cell_name, page_of};
use crate::keys;
use crate::state::DynamoState;
use crate::state::item::{get_bytes, number};
use crate::state::table::Written;

impl DynamoState {
    pub(in crate::state) async fn settle_batch(
        &self,
        batch: BatchRef<'_>,
        state: &BatchState,
        at: Option<Millis>,
    ) -> Result<Progress, Fault> {
        let reasons = self.put_reasons(batch, &state.tally).await?;
        let kept = if state.done && !state.doubt.is_empty() {
            self.put_note(batch, &state.doubt).await?
        } else {
            ClaimedRecords::None
        };
        let page = page_of(batch.number);
        let mut seen = self.forget_cell(batch);
        let item = loop {
            let before = seen.as_deref().map(|cell| self.read_cell(batch, cell)).transpose()?.unwrap_or_default();
            if before.state.done {
                // It stays as it is; that it was heard of again is noted.
                let Some(at) = at else { return self.note_full(batch).await };
                let request = self.table.update(&keys::batch_page(batch.run, page)).update_expression("SET #at = :at");
                let request =
                    request.expression_attribute_names("#at", "at").expression_attribute_values(":at", number(at.0));
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
                request =
                    request.expression_attribute_names("#at", "at").expression_attribute_values(":at", number(at.0));
            }
            match self.table.write(request.return_values(ReturnValue::AllNew)).await? {
                Written::Done(item) => break item,
                Written::Refused(item) => {
                    let there =
                        item.as_ref().and_then(|item| get_bytes(item, &cell_name(batch.number))).map(<[u8]>::to_vec);
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
}
