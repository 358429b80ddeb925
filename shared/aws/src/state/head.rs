//! The head of a sync in the table, and which layout of buckets it has.
//!
//! A layout is a number of buckets and an epoch: every time the buckets are laid out anew their keys are new too, so
//! that nothing which an earlier attempt left behind, or a process that sleeps still writes, is ever read. The head
//! names the layout, so the change shows whole or not at all. A number of buckets that the head does not name has epoch
//! `0`.
//!
//! Attributes: `v` version, `g` generation, `d` the head as JSON, `lb` and `le` the layout's bits and epoch, `m` the
//! name of a layout that is being made to take its place, `n` the token of the write. The fence reads this item for
//! every batch: it is kept below 4 KB, one read unit, by most models.

use aws_sdk_dynamodb::types::ReturnValue;
use domain::fault::Fault;
use domain::head::Head;

use super::DynamoState;
use super::item::{Item, get_bytes, get_number, get_text, number, text, token};
use super::table::Written;
use crate::keys;

/// A head as stored.
pub(super) struct StoredHead {
    pub(super) head: Head,
    pub(super) layout: BucketEpoch,
    /// The name of the layout that is to replace it: who commits, commits there too.
    pub(super) coming: Option<String>,
}

/// The layout that a head names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BucketEpoch {
    bits: Option<u8>,
    epoch: String,
}

impl BucketEpoch {
    pub(super) fn new(bits: u8, epoch: String) -> Self {
        Self { bits: Some(bits), epoch }
    }

    /// False when the head names a layout of another number of buckets.
    pub(super) fn has(&self, bits: u8) -> bool {
        self.bits.is_none_or(|named| named == bits)
    }

    /// How keys name the layout of `2^bits` buckets.
    pub(super) fn name(&self, bits: u8) -> String {
        let epoch = if self.bits == Some(bits) { self.epoch.as_str() } else { "0" };
        format!("{bits}.{epoch}")
    }
}

impl DynamoState {
    /// The head, and the layout; both are remembered for the next commit and the next claim.
    pub(super) async fn stored_head(&self, sync: &str) -> Result<StoredHead, Fault> {
        let item = self.table.get(&keys::head(sync)).await?;
        let stored = match item {
            None => StoredHead { head: Head::default(), layout: BucketEpoch::default(), coming: None },
            Some(item) => self.read_head(sync, &item)?,
        };
        self.seen(sync, &stored);
        Ok(stored)
    }

    fn read_head(&self, sync: &str, item: &Item) -> Result<StoredHead, Fault> {
        let head = get_text(item, "d").and_then(|data| serde_json::from_str(data).ok());
        let head = head.ok_or_else(|| self.table.corrupt(format!("The head of `{sync}`")))?;
        let layout =
            BucketEpoch { bits: get_number(item, "lb"), epoch: get_text(item, "le").unwrap_or("0").to_owned() };
        Ok(StoredHead { head, layout, coming: get_text(item, "m").map(str::to_owned) })
    }

    /// Says under the head of this version that a layout is being made. `false`: the head has changed.
    pub(super) async fn announce(&self, sync: &str, version: u64, coming: &str) -> Result<bool, Fault> {
        let request =
            self.table.update(&keys::head(sync)).update_expression("SET m = :m").condition_expression("v = :old");
        let request = request
            .expression_attribute_values(":m", text(coming))
            .expression_attribute_values(":old", number(version));
        Ok(matches!(self.table.write(request).await?, Written::Done(_)))
    }

    /// Writes the head if its stored version is still `head.version`; with `layout`, which was announced, names that
    /// from now on. Whatever else was announced is no longer coming.
    pub(super) async fn write_head(
        &self,
        sync: &str,
        head: &Head,
        layout: Option<&BucketEpoch>,
    ) -> Result<bool, Fault> {
        let next = Head { version: head.version + 1, ..head.clone() };
        let data = serde_json::to_string(&next).map_err(|_| self.table.corrupt(format!("The new head of `{sync}`")))?;
        let mine = token();
        let mut request = self.table.update(&keys::head(sync)).return_values(ReturnValue::None);
        let mut set = "SET v = :v, g = :g, d = :d, n = :n".to_owned();
        if let Some((layout, bits)) = layout.and_then(|layout| Some((layout, layout.bits?))) {
            set.push_str(", lb = :lb, le = :le");
            request = request
                .expression_attribute_values(":lb", number(bits))
                .expression_attribute_values(":le", text(&layout.epoch));
        }
        set.push_str(" REMOVE m");
        request = match layout.and_then(|layout| Some(layout.name(layout.bits?))) {
            _ if head.version == 0 => request.condition_expression("attribute_not_exists(v)"),
            None => request.condition_expression("v = :old").expression_attribute_values(":old", number(head.version)),
            Some(announced) => {
                let request = request
                    .condition_expression("v = :old AND m = :m")
                    .expression_attribute_values(":m", text(announced));
                request.expression_attribute_values(":old", number(head.version))
            }
        };
        let request = request
            .update_expression(set)
            .expression_attribute_values(":v", number(next.version))
            .expression_attribute_values(":g", number(next.generation))
            .expression_attribute_values(":d", text(data))
            .expression_attribute_values(":n", mine.clone());
        Ok(match self.table.write(request).await? {
            Written::Done(_) => true,
            // The answer to our own write was lost, and this is the second attempt.
            Written::Refused(stored) => {
                stored.is_some_and(|stored| get_bytes(&stored, "n") == mine.as_b().ok().map(AsRef::as_ref))
            }
        })
    }
}
