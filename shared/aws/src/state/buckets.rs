//! Buckets in the table: read many at once, written without being read.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use domain::bucket::{Bucket, EntryWrite};
use domain::fault::Fault;
use domain::key::KeyHash;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::DynamoState;
use super::entry::{self, Actions};
use super::item::{Item, bytes, get_text};
use super::rebucket::bits_of;
use super::table::CONCURRENT;
use crate::keys::{self, Key, PK};

/// Attributes changed in one UpdateItem: an expression has at most 300 operators and 4 KB.
const ACTIONS_AT_ONCE: usize = 200;

impl DynamoState {
    pub(super) async fn read_buckets(&self, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, Fault> {
        let layout = self.stored_head(sync).await?.layout.name(bits);
        let found = self.bucket_items(sync, &layout, numbers).await?;
        let read = |number: &u32| match found.get(number) {
            None => Ok(Bucket { number: *number, entries: Vec::new() }),
            Some(item) => {
                entry::read(*number, item).ok_or_else(|| self.table.corrupt(format!("Bucket {number} of `{sync}`")))
            }
        };
        numbers.iter().map(read).collect()
    }

    /// Those of these buckets that are there, as items. Strongly consistent: a run that saw an older state could take
    /// a record for delivered that is not.
    pub(super) async fn bucket_items(
        &self,
        sync: &str,
        layout: &str,
        numbers: &[u32],
    ) -> Result<HashMap<u32, Item>, Fault> {
        let mut asked: HashMap<String, u32> = HashMap::with_capacity(numbers.len());
        for number in numbers {
            asked.insert(keys::bucket(sync, layout, *number).pk, *number);
        }
        let names: Vec<Key> = asked.values().map(|number| keys::bucket(sync, layout, *number)).collect();
        let items = self.table.batch_get(&names).await?;
        Ok(items.into_iter().filter_map(|item| Some((*asked.get(get_text(&item, PK)?)?, item))).collect())
    }

    /// Commits, and returns the generation as it is afterwards. If a rebucket finished meanwhile, the writes are
    /// repeated in the new epoch; if one is under way, they go to both.
    pub(super) async fn write_entries(
        &self,
        sync: &str,
        bits: u8,
        writes: &[(KeyHash, EntryWrite)],
    ) -> Result<u64, Fault> {
        let mut layout = match self.known_layout(sync) {
            Some(layout) => layout.name(bits),
            None => self.stored_head(sync).await?.layout.name(bits),
        };
        let mut made: Vec<String> = Vec::new();
        loop {
            self.write_actions(sync, &layout, &actions(writes, bits)).await?;
            made.push(layout);
            let after = self.stored_head(sync).await?;
            if let Some(coming) = after.coming.filter(|coming| !made.contains(coming)) {
                self.write_actions(sync, &coming, &actions(writes, bits_of(&coming))).await?;
                made.push(coming);
            }
            // To buckets of another number the caller commits again: it is told the generation.
            layout = after.layout.name(bits);
            if made.contains(&layout) || !after.layout.has(bits) || writes.is_empty() {
                return Ok(after.head.generation);
            }
        }
    }

    /// Changes attributes of buckets, blindly.
    pub(super) async fn write_actions(
        &self,
        sync: &str,
        layout: &str,
        buckets: &BTreeMap<u32, Actions>,
    ) -> Result<(), Fault> {
        let mut updates = Vec::new();
        for (number, actions) in buckets {
            let actions: Vec<_> = actions.iter().collect();
            updates.extend(
                actions.chunks(ACTIONS_AT_ONCE).map(|part| self.update_of(&keys::bucket(sync, layout, *number), part)),
            );
        }
        stream::iter(updates)
            .map(|update| self.table.write_blindly(update))
            .buffer_unordered(CONCURRENT)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    fn update_of(&self, bucket: &Key, actions: &[(&String, &Option<Vec<u8>>)]) -> UpdateItemFluentBuilder {
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        let mut request = self.table.update(bucket);
        for (at, (name, value)) in actions.iter().enumerate() {
            request = request.expression_attribute_names(format!("#{at}"), *name);
            match value {
                Some(value) => {
                    set.push(format!("#{at}=:{at}"));
                    request = request.expression_attribute_values(format!(":{at}"), bytes(value.clone()));
                }
                None => remove.push(format!("#{at}")),
            }
        }
        let clause = |word: &str, parts: Vec<String>| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(",")) }
        };
        request.update_expression(format!("{}{}", clause("SET", set), clause("REMOVE", remove)))
    }
}

/// What is to be done to which bucket.
fn actions(writes: &[(KeyHash, EntryWrite)], bits: u8) -> BTreeMap<u32, Actions> {
    let mut buckets: BTreeMap<u32, Actions> = BTreeMap::new();
    for (hash, write) in writes {
        entry::apply(buckets.entry(hash.bucket(bits)).or_default(), hash, write);
    }
    buckets
}
