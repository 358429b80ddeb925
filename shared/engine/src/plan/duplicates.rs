//! Rows that would write one record: the same key twice, or two keys whose identifiers are one record at the
//! destination. None of them is sent, because which one is right nobody can tell; all of them are invalid.

use std::collections::BTreeMap;

use domain::fault::Fault;
use domain::key::display_key;
use domain::mapping::Invalid;

use super::entries::EntryKind;
use super::extract::{INVALID_KEPT, Reader};
use super::identity::Identities;
use super::spool::split;

impl Reader {
    /// Different keys that would write the same record at the destination: none of them is sent. Returns who owns what.
    pub(super) fn refuse_shared_identifiers(&mut self) -> Result<Identities, Fault> {
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
    pub(super) fn really_shared(&mut self, group: Vec<u32>) -> Result<Vec<Vec<u32>>, Fault> {
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
    pub(super) fn refuse_duplicate_keys(&mut self) -> Result<(), Fault> {
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

    pub(super) fn refuse(&mut self, index: usize, why: Invalid) -> Result<(), Fault> {
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
