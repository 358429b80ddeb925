//! Why records of a batch were not accepted, and what was read back: too much for its cell, so kept apart.

use domain::fault::Fault;
use domain::ports::BatchRef;
use domain::run::Tally;
use xxhash_rust::xxh3::xxh3_64;

use super::progress::DAYS;
use crate::keys;
use crate::state::DynamoState;
use crate::state::item::{get_text, item_with_ttl, text};

impl DynamoState {
    /// Keeps the reasons of a tally and what was read back, if there is any of it, under the stamp that is returned:
    /// whatever else fails, a cell that names the stamp finds these.
    pub(super) async fn put_reasons(&self, batch: BatchRef<'_>, tally: &Tally) -> Result<Option<u64>, Fault> {
        if tally.reasons.is_empty() && tally.read_back.is_empty() {
            return Ok(None);
        }
        let data = serde_json::to_string(tally)
            .map_err(|_| self.table.corrupt(format!("The tally of batch {} of run {}", batch.number, batch.run)))?;
        let stamp = xxh3_64(data.as_bytes());
        let mut item = item_with_ttl(&keys::reasons(batch.run, batch.number, stamp), DAYS);
        item.insert("d".into(), text(data));
        self.table.put(item).await?;
        Ok(Some(stamp))
    }

    pub(super) async fn read_reasons(&self, run: &str, number: u32, stamp: u64) -> Result<Tally, Fault> {
        let item = self.table.get(&keys::reasons(run, number, stamp)).await?;
        let tally = item.as_ref().and_then(|item| serde_json::from_str(get_text(item, "d")?).ok());
        tally.ok_or_else(|| self.table.corrupt(format!("The tally of batch {number} of run {run}")))
    }
}
