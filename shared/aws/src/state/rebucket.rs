//! Lays a sync's buckets out anew.
//!
//! The new layout is written under an epoch that nobody reads yet, and the head then names it: until that one
//! conditional write everything is as it was, and after it everything is new. A writer of an older generation may
//! commit to the old layout meanwhile. So the head announces the new one first: a writer reads the head after its
//! commit, and commits to both. What it wrote before it could know is found by reading the old layout again, until
//! nothing has changed. All of that is over before the head names the new layout, so a process that ends at any time
//! loses nothing.
//!
//! Layouts that have to be removed are noted first (`x` of the leftovers), so a process that ends in between leaves
//! nothing that a later one does not know of.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::fault::Fault;
use domain::head::Head;
use xxhash_rust::xxh3::Xxh3;

use super::DynamoState;
use super::entry::{self, Actions};
use super::head::BucketEpoch;
use super::item::{Item, get_text, key_item};
use super::table::Range;
use crate::keys::{self, Key, PK, SK};

/// Buckets moved at a time, as a power of two: some megabytes.
const SLICE_BITS: u8 = 10;

impl DynamoState {
    pub(super) async fn lay_out_anew(&self, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, Fault> {
        let before = self.stored_head(sync).await?;
        if before.head.version != head.version {
            return Ok(false);
        }
        let new = BucketEpoch::new(to, format!("{:08x}", fastrand::u32(..)));
        let (old_name, new_name) = (before.layout.name(from), new.name(to));
        let earlier = self.note_leftovers(sync, &[&old_name, &new_name]).await?;
        // Where there is no head yet, nobody has planned anything, and nobody writes.
        if head.version > 0 && !self.announce(sync, head.version, &new_name).await? {
            return Ok(false);
        }
        let mut copied = self.copy(sync, (&old_name, from), (&new_name, to)).await?;
        while self.catch_up(sync, (&old_name, from), (&new_name, to), &mut copied).await? {}
        if !self.write_head(sync, head, Some(&new)).await? {
            self.clean(sync, BTreeSet::from([new_name])).await;
            return Ok(false);
        }
        let mut over = earlier;
        over.insert(old_name);
        over.remove(&new_name);
        self.clean(sync, over).await;
        Ok(true)
    }

    /// Notes layouts as to be removed, and returns those that were noted before.
    async fn note_leftovers(&self, sync: &str, layouts: &[&str]) -> Result<BTreeSet<String>, Fault> {
        let key = keys::leftovers(sync);
        let noted = self.table.get(&key).await?;
        let noted = noted.as_ref().and_then(|item| item.get("x")?.as_ss().ok()).cloned().unwrap_or_default();
        let set = AttributeValue::Ss(layouts.iter().map(|layout| (*layout).to_owned()).collect());
        self.table
            .write_blindly(self.table.update(&key).update_expression("ADD x :x").expression_attribute_values(":x", set))
            .await?;
        Ok(noted.into_iter().collect())
    }

    /// Copies every entry; returns for each old bucket what it held, as a digest.
    async fn copy(&self, sync: &str, (old, from): (&str, u8), (new, to): (&str, u8)) -> Result<Vec<u64>, Fault> {
        let mut copied = Vec::with_capacity(1 << from);
        for slice in slices(from, to) {
            let found = self.bucket_items(sync, old, &slice).await?;
            let mut fresh: BTreeMap<u32, Item> = BTreeMap::new();
            for number in slice {
                let Some(item) = found.get(&number) else {
                    copied.push(digest(&Item::new()));
                    continue;
                };
                copied.push(digest(item));
                for (name, value) in entries(item) {
                    let hash = entry::hash_of(name)
                        .ok_or_else(|| self.table.corrupt(format!("Bucket {number} of `{sync}`")))?;
                    let number = hash.bucket(to);
                    fresh
                        .entry(number)
                        .or_insert_with(|| key_item(&keys::bucket(sync, new, number)))
                        .insert(name.clone(), value.clone());
                }
            }
            self.table.batch_put(fresh.into_values().collect()).await?;
        }
        Ok(copied)
    }

    /// Carries over what was committed to the old layout since it was read last. `false`: nothing was.
    async fn catch_up(
        &self,
        sync: &str,
        (old, from): (&str, u8),
        (new, to): (&str, u8),
        copied: &mut [u64],
    ) -> Result<bool, Fault> {
        let mut changed = false;
        for slice in slices(from, from) {
            let found = self.bucket_items(sync, old, &slice).await?;
            let empty = Item::new();
            for number in slice {
                let item = found.get(&number).unwrap_or(&empty);
                let (digest, before) = (digest(item), &mut copied[number as usize]);
                if *before != digest {
                    *before = digest;
                    changed = true;
                    self.carry_over(sync, (number, from, item), (new, to)).await?;
                }
            }
        }
        Ok(changed)
    }

    async fn carry_over(
        &self,
        sync: &str,
        (number, from, item): (u32, u8, &Item),
        (new, to): (&str, u8),
    ) -> Result<(), Fault> {
        let mut actions: BTreeMap<u32, Actions> = BTreeMap::new();
        // The new buckets that records of this old one can be in.
        let into: Vec<u32> = if to >= from {
            (number << (to - from)..(number + 1) << (to - from)).collect()
        } else {
            vec![number >> (from - to)]
        };
        for (at, there) in self.bucket_items(sync, new, &into).await? {
            let gone = entries(&there).filter(|(name, _)| {
                entry::hash_of(name).is_some_and(|h| h.bucket(from) == number) && !item.contains_key(*name)
            });
            actions.entry(at).or_default().extend(gone.map(|(name, _)| (name.clone(), None)));
        }
        for (name, value) in entries(item) {
            let value = value.as_b().ok().map(|bytes| bytes.as_ref().to_vec());
            let (Some(hash), Some(value)) = (entry::hash_of(name), value) else {
                return Err(self.table.corrupt(format!("Bucket {number} of `{sync}`")));
            };
            actions.entry(hash.bucket(to)).or_default().insert(name.clone(), Some(value));
        }
        actions.retain(|_, actions| !actions.is_empty());
        self.write_actions(sync, new, &actions).await
    }

    /// Removes layouts nobody reads. What cannot be removed now stays noted, and is by the next.
    async fn clean(&self, sync: &str, layouts: BTreeSet<String>) {
        for layout in layouts {
            if let Err(fault) = self.remove_layout(sync, &layout).await {
                tracing::warn!(sync, layout, %fault, "an old layout of the state was not removed; it takes up room until the next change of layout");
            }
        }
    }

    async fn remove_layout(&self, sync: &str, layout: &str) -> Result<(), Fault> {
        let bits = bits_of(layout);
        for slice in slices(bits, bits) {
            let there: Vec<Key> = self
                .bucket_items(sync, layout, &slice)
                .await?
                .into_keys()
                .map(|number| keys::bucket(sync, layout, number))
                .collect();
            self.table.batch_delete(&there).await?;
        }
        let pages = self.table.query(&keys::manifest(sync, layout), Range::All, true, usize::MAX).await?;
        let page = |item: &Item| Some(Key { pk: keys::manifest(sync, layout), sk: get_text(item, SK)?.to_owned() });
        let pages: Vec<Key> = pages.iter().filter_map(page).collect();
        self.table.batch_delete(&pages).await?;
        let set = AttributeValue::Ss(vec![layout.to_owned()]);
        let done = self
            .table
            .update(&keys::leftovers(sync))
            .update_expression("DELETE x :x")
            .expression_attribute_values(":x", set);
        self.table.write_blindly(done).await.map(drop)
    }
}

/// The bits of a layout by its name.
pub(super) fn bits_of(layout: &str) -> u8 {
    layout.split('.').next().and_then(|bits| bits.parse::<u8>().ok()).unwrap_or(0).min(domain::bucket::MAX_BITS)
}

/// The buckets in slices, each of which fills whole buckets of the other layout.
fn slices(from: u8, to: u8) -> impl Iterator<Item = Vec<u32>> {
    let slice = SLICE_BITS.max(from.saturating_sub(to)).min(from);
    (0..1u32 << (from - slice)).map(move |at| (at << slice..(at + 1) << slice).collect())
}

fn entries(item: &Item) -> impl Iterator<Item = (&String, &AttributeValue)> {
    item.iter().filter(|(name, _)| *name != PK && *name != SK)
}

/// Names what a bucket holds.
fn digest(item: &Item) -> u64 {
    let sorted: BTreeMap<_, _> = entries(item).collect();
    let mut digest = Xxh3::new();
    for (name, value) in sorted {
        digest.update(name.as_bytes());
        digest.update(value.as_b().map(AsRef::as_ref).unwrap_or_default());
    }
    digest.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_every_bucket_once_and_fill_whole_buckets() {
        for (from, to) in [(0, 16), (3, 7), (12, 13), (12, 0), (13, 2)] {
            let all: Vec<Vec<u32>> = slices(from, to).collect();
            assert_eq!(all.concat(), (0..1u32 << from).collect::<Vec<_>>());
            let whole = 1 << from.saturating_sub(to);
            assert!(
                all.iter().all(|slice| slice[0].is_multiple_of(whole) && (slice.len() as u32).is_multiple_of(whole)),
                "{from} to {to}"
            );
        }
    }
}
