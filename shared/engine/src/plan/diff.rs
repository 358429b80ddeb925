//! Compares the model with the state, bucket by bucket. Reads only the buckets whose digest differs.

use std::collections::HashMap;
use std::ops::Range;

use domain::bucket::{Accepted, Bucket, StoredEntry};
use domain::cells::Cells;
use domain::change::{Candidate, Change, Counts, decide, removes};
use domain::clock::Millis;
use domain::fault::Fault;
use domain::in_doubt::InDoubtSet;
use domain::key::KeyHash;
use domain::manifest::ManifestPage;
use domain::meaning::Shift;
use domain::mode::Mode;
use domain::ports::{Destination, StateStore};

use super::approval::plan_hash;
use super::difference::{Difference, Forget, Removed, Respelt, UNKNOWN};
use crate::plan::entries::{EntryKind, ModelEntry, digest};
use crate::plan::extract::Extracted;
use crate::plan::identity::{Identities, IdentityRule};
use crate::plan::respelt;

/// Buckets read from the state at a time.
const CHUNK: usize = 512;

/// What the comparison needs besides the model.
pub struct DiffInput<'a> {
    /// The sync's name.
    pub sync: &'a str,
    /// The version of its definition; part of the plan's hash.
    pub sync_version: &'a str,
    /// Its mode.
    pub mode: Mode,
    /// The generation of the head the plan begins from.
    pub generation: u64,
    /// Buckets, as a power of two.
    pub bits: u8,
    /// The manifest as it was before any bucket was read.
    pub manifest: &'a [ManifestPage],
    /// Records in doubt.
    pub in_doubt: &'a InDoubtSet,
    /// What an entry and its agreement mean now ([`domain::meaning::Meaning::seed`]).
    pub meaning: u64,
    /// What has changed of that since the state was written.
    pub shift: Shift,
    /// True when the model was read in full.
    pub full: bool,
    /// Now.
    pub now: Millis,
}

/// Compares. Reads the state, asks the destination which identifiers are one, writes nothing.
pub async fn diff(
    store: &dyn StateStore,
    destination: &dyn Destination,
    basis: &DiffInput<'_>,
    model: &mut Extracted,
) -> Result<Difference, Fault> {
    let mut out = Difference::default();
    out.counts.rows = model.rows;
    out.counts.invalid = model.invalid;
    let mut asked: Vec<(u32, Range<usize>, u64)> = Vec::with_capacity(CHUNK);
    let mut start = 0;
    for bucket in 0..1u32 << basis.bits {
        let end = start + model.entries[start..].iter().take_while(|e| e.hash.bucket(basis.bits) == bucket).count();
        let range = start..end;
        start = end;
        if !basis.full && range.is_empty() {
            continue;
        }
        let digest = if basis.full { digest(&model.entries[range.clone()], basis.meaning) } else { 0 };
        if basis.full && noted(basis.manifest, bucket) == Some(digest) && !basis.in_doubt.touches(bucket, basis.bits) {
            for entry in &model.entries[range] {
                match entry.kind() {
                    EntryKind::Outside => out.counts.outside_rollout += 1,
                    EntryKind::Invalid => {}
                    _ => {
                        out.counts.unchanged += 1;
                        out.known += 1;
                    }
                }
            }
            continue;
        }
        asked.push((bucket, range, digest));
        if asked.len() == CHUNK {
            compare(store, basis, model, &mut asked, &mut out).await?;
        }
    }
    compare(store, basis, model, &mut asked, &mut out).await?;
    respelt::confirm(destination, basis.bits, basis.now, model, &mut out).await?;
    settle_respelt(store, basis, model, &mut out).await?;
    out.hash = plan_hash(basis.meaning, basis.sync_version, &model.entries, &out.removed);
    Ok(out)
}

/// Both spellings of a key write one record, so the state may say of the older version that it was accepted, too. From
/// when the record is sent under its new key, the version under the old one is unknown; once that is so and the new one
/// is accepted, the old key is forgotten. Where both are known, nobody can tell which was written last: the record is
/// sent once more.
async fn settle_respelt(
    store: &dyn StateStore,
    basis: &DiffInput<'_>,
    model: &mut Extracted,
    out: &mut Difference,
) -> Result<(), Fault> {
    let mut again = Vec::new();
    for Respelt { old, accepted, owner, .. } in std::mem::take(&mut out.respelt) {
        let Ok(at) = model.entries.binary_search_by(|e| e.hash.cmp(&owner)) else { continue };
        let (is_unchanged, is_known) = (model.entries[at].kind() == EntryKind::Valid, accepted.checksum != UNKNOWN);
        if is_unchanged && !is_known {
            out.forget.push((old, Forget::Record));
        } else if is_known && (is_unchanged || model.entries[at].is_sent()) {
            out.unknown.push((old, Accepted { checksum: UNKNOWN, ..accepted }));
            again.extend(is_unchanged.then_some(at));
        }
    }
    again.sort_unstable();
    again.dedup();
    for places in again.chunks(CHUNK) {
        send_again(store, basis, &mut model.entries, places, out).await?;
    }
    Ok(())
}

/// Has records sent that the state takes for delivered; `places` are theirs among the entries, in order.
async fn send_again(
    store: &dyn StateStore,
    basis: &DiffInput<'_>,
    entries: &mut [ModelEntry],
    places: &[usize],
    out: &mut Difference,
) -> Result<(), Fault> {
    let mut buckets: Vec<u32> = places.iter().map(|at| entries[*at].hash.bucket(basis.bits)).collect();
    buckets.dedup();
    let stored = store.buckets(basis.sync, basis.bits, &buckets).await?;
    let mut stored: HashMap<KeyHash, StoredEntry> = stored.into_iter().flat_map(|b| b.entries).collect();
    for at in places {
        let wanted = &mut entries[*at];
        let Some(StoredEntry { accepted: Some(accepted), failure }) = stored.remove(&wanted.hash) else { continue };
        wanted.set_kind(EntryKind::Changed);
        wanted.set_history(accepted.revision.wrapping_add(1), failure.is_some());
        out.counts.unchanged -= 1;
        out.counts.changed += 1;
        // Until it is accepted again, the state must not say that it was.
        out.unknown.push((wanted.hash, Accepted { checksum: UNKNOWN, ..accepted }));
    }
    out.touched(buckets);
    Ok(())
}

fn noted(manifest: &[ManifestPage], bucket: u32) -> Option<u64> {
    let (page, position) = ManifestPage::place(bucket);
    manifest.get(page as usize)?.digests.get(position).copied()
}

async fn compare(
    store: &dyn StateStore,
    basis: &DiffInput<'_>,
    model: &mut Extracted,
    asked: &mut Vec<(u32, Range<usize>, u64)>,
    out: &mut Difference,
) -> Result<(), Fault> {
    if asked.is_empty() {
        return Ok(());
    }
    let numbers: Vec<u32> = asked.iter().map(|(bucket, ..)| *bucket).collect();
    let stored = store.buckets(basis.sync, basis.bits, &numbers).await?;
    out.buckets_read += numbers.len() as u64;
    for ((bucket, range, digest), stored) in asked.drain(..).zip(&stored) {
        out.learnt |= stored.entries.iter().any(|(_, entry)| entry.accepted.is_some());
        let waiting = |counts: &Counts| counts.held + counts.respelt + counts.deletes_held;
        let before = (out.counts.to_send(), waiting(&out.counts));
        let owners = Owners {
            identities: &model.identities,
            keyless: model.keyless > 0,
            may_share_records: model.may_share_records,
        };
        merge(basis, &mut model.entries[range], stored, &owners, &mut model.rule, out);
        if out.counts.to_send() > before.0 {
            out.dirty.push(bucket);
        } else if basis.full && waiting(&out.counts) == before.1 && noted(basis.manifest, bucket) != Some(digest) {
            out.clean.push((bucket, digest));
        }
    }
    Ok(())
}

/// Who owns the records of the destination.
struct Owners<'a> {
    identities: &'a Identities,
    /// Some rows of the model have no key: they may own any record.
    keyless: bool,
    /// Two keys may be one record.
    may_share_records: bool,
}

/// Merges a bucket of the model with the same bucket of the state; both are in the order of their hashes.
fn merge(
    basis: &DiffInput<'_>,
    model: &mut [ModelEntry],
    stored: &Bucket,
    owners: &Owners<'_>,
    rule: &mut IdentityRule,
    out: &mut Difference,
) {
    if basis.shift.place {
        return begin_anew(basis, model, stored, out);
    }
    let mut state = stored.entries.iter().peekable();
    for wanted in model.iter_mut() {
        while let Some((hash, entry)) = state.next_if(|(hash, _)| *hash < wanted.hash) {
            only_stored(basis, hash, entry, owners, rule, out);
        }
        let found = state.next_if(|(hash, _)| *hash == wanted.hash).map(|(_, entry)| entry);
        in_model(basis, wanted, found, out);
        forget_stale_id(wanted, found, owners, rule, out);
    }
    for (hash, entry) in state {
        only_stored(basis, hash, entry, owners, rule, out);
    }
    if basis.full && basis.mode == Mode::Mirror {
        unconfirmed_inserts(basis, model, stored, owners, rule, out);
    }
    // What was appended is never sent again, whichever version it was.
    if basis.mode != Mode::Append && basis.in_doubt.touches(stored.number, basis.bits) {
        unknown_versions(basis, stored, out);
    }
}

/// At another place nothing was accepted yet, and whatever was learnt at the old one is forgotten.
fn begin_anew(basis: &DiffInput<'_>, model: &mut [ModelEntry], stored: &Bucket, out: &mut Difference) {
    for wanted in model {
        in_model(basis, wanted, None, out);
    }
    out.forget.extend(stored.entries.iter().map(|(hash, _)| (*hash, Forget::Record)));
}

/// Records in doubt of which the state says that a certain version was accepted; of a mirror also those that the state
/// does not know, because they must be deleted some day.
fn unknown_versions(basis: &DiffInput<'_>, stored: &Bucket, out: &mut Difference) {
    for (hash, entry) in stored.entries.iter().filter(|(hash, _)| basis.in_doubt.contains(hash)) {
        if let Some(accepted) = entry.accepted.as_ref().filter(|a| a.checksum != UNKNOWN) {
            out.unknown.push((*hash, Accepted { checksum: UNKNOWN, ..accepted.clone() }));
        }
    }
    for (hash, revision, identifier) in basis.in_doubt.records_in(stored.number, basis.bits) {
        let in_state = stored
            .entries
            .binary_search_by(|(h, _)| h.cmp(hash))
            .is_ok_and(|at| stored.entries[at].1.accepted.is_some());
        if basis.mode == Mode::Mirror && !in_state {
            // One revision before the one it was sent as: sent again, the record keeps the stable id it had.
            let identifier = Some(identifier.clone().into_boxed_slice());
            out.unknown.push((
                *hash,
                Accepted { checksum: UNKNOWN, revision: revision.wrapping_sub(1), identifier, record_id: None },
            ));
        }
    }
}

fn in_model(basis: &DiffInput<'_>, wanted: &mut ModelEntry, stored: Option<&StoredEntry>, out: &mut Difference) {
    let accepted = stored.and_then(|s| s.accepted.as_ref());
    let failure = stored.and_then(|s| s.failure.as_ref());
    out.known += u64::from(accepted.is_some());
    match wanted.kind() {
        EntryKind::Outside => {
            out.counts.outside_rollout += 1;
            return;
        }
        EntryKind::Invalid => return,
        _ => {}
    }
    let question = Candidate { checksum: wanted.checksum, in_doubt: basis.in_doubt.contains(&wanted.hash) };
    match decide(basis.mode, question, stored, basis.now) {
        Change::Unchanged => {
            out.counts.unchanged += 1;
            if failure.is_some() {
                out.forget.push((wanted.hash, Forget::Failure));
            }
            if let Some(accepted) =
                accepted.filter(|a| basis.mode == Mode::Mirror && (a.identifier.is_none() || basis.shift.identifiers))
            {
                out.unnamed.push((wanted.hash, accepted.clone()));
            }
            return;
        }
        Change::Held => {
            out.counts.held += 1;
            out.due(failure);
            out.note_refused(failure, wanted.checksum, true);
            wanted.set_kind(EntryKind::Held);
            return;
        }
        Change::Added => {
            out.counts.added += 1;
            wanted.set_kind(EntryKind::Added);
        }
        Change::Changed => {
            out.counts.changed += 1;
            wanted.set_kind(EntryKind::Changed);
        }
    }
    out.note_refused(failure, wanted.checksum, false);
    if let Some(id) = accepted.filter(|_| !basis.shift.identifiers).and_then(|a| a.record_id.clone()) {
        out.record_ids.insert(wanted.hash, id);
    }
    let revision = accepted.map_or_else(|| basis.first_revision(&wanted.hash), |a| a.revision.wrapping_add(1));
    wanted.set_history(revision, failure.is_some());
}

/// The destination's id of a record is no good once the record is found by another identifier: that may be another
/// record.
fn forget_stale_id(
    wanted: &ModelEntry,
    stored: Option<&StoredEntry>,
    owners: &Owners<'_>,
    rule: &mut IdentityRule,
    out: &mut Difference,
) {
    let known = || stored?.accepted.as_ref()?.identifier.as_ref();
    if wanted.is_sent()
        && out.record_ids.contains_key(&wanted.hash)
        && let Some(identifier) = known()
        && owners.identities.owner(rule.identity(Cells(identifier))) != Some(&wanted.hash)
    {
        out.record_ids.remove(&wanted.hash);
    }
}

impl DiffInput<'_> {
    /// The revision of a record that the state does not know. A mirror forgets what it deleted, so a record that comes
    /// back must not begin where it began before: a receiver would take it for a repetition. Other modes never forget.
    fn first_revision(&self, hash: &KeyHash) -> u16 {
        match self.mode {
            Mode::Mirror => self.in_doubt.revision(hash).unwrap_or(self.generation as u16),
            _ if self.shift.place => self.generation as u16,
            _ => 0,
        }
    }
}

fn only_stored(
    basis: &DiffInput<'_>,
    hash: &KeyHash,
    entry: &StoredEntry,
    owners: &Owners<'_>,
    rule: &mut IdentityRule,
    out: &mut Difference,
) {
    out.known += u64::from(entry.accepted.is_some());
    if !basis.full {
        return;
    }
    let no_key_of_now = basis.shift.key && basis.mode != Mode::Mirror;
    if entry.accepted.is_none() || no_key_of_now {
        out.forget.push((*hash, Forget::Record));
    } else if removes(basis.mode, entry) {
        let Some(accepted) = &entry.accepted else { return };
        // Without its identifier (sent before the sync was a mirror, or found by other fields) nobody can say what to
        // delete.
        let Some(identifier) = accepted.identifier.as_ref().filter(|_| !basis.shift.identifiers) else {
            out.counts.undeletable += 1;
            if basis.shift.identifiers && accepted.identifier.is_some() {
                out.unknown.push((*hash, Accepted { identifier: None, ..accepted.clone() }));
            }
            return;
        };
        if let Some(owner) = owners.identities.owner(rule.identity(Cells(identifier))) {
            out.counts.respelt += 1;
            let (accepted, failure) = (accepted.clone(), entry.failure.clone());
            out.respelt.push(Respelt { old: *hash, accepted, failure, owner: *owner });
            return;
        }
        out.gone(hash, accepted, entry.failure.as_ref(), owners.keyless, basis.now);
    } else if owners.may_share_records && basis.mode != Mode::Append {
        // While it is gone, another key may overwrite its record. Should it come back as it was, it is sent again.
        out.unknown.extend(
            entry
                .accepted
                .as_ref()
                .filter(|a| a.checksum != UNKNOWN)
                .map(|a| (*hash, Accepted { checksum: UNKNOWN, ..a.clone() })),
        );
    }
}

/// Records of a mirror that may have arrived without a commit and that neither the model nor the state has.
fn unconfirmed_inserts(
    basis: &DiffInput<'_>,
    model: &[ModelEntry],
    stored: &Bucket,
    owners: &Owners<'_>,
    rule: &mut IdentityRule,
    out: &mut Difference,
) {
    for (hash, revision, identifier) in basis.in_doubt.records_in(stored.number, basis.bits) {
        let in_model = model.binary_search_by(|e| e.hash.cmp(hash)).is_ok();
        let in_state = stored
            .entries
            .binary_search_by(|(h, _)| h.cmp(hash))
            .is_ok_and(|at| stored.entries[at].1.accepted.is_some());
        let mut owned = || owners.keyless || owners.identities.owner(rule.identity(Cells(identifier))).is_some();
        if !in_model && !in_state && !basis.shift.identifiers && !owned() {
            out.counts.removed += 1;
            let removed = Removed {
                hash: *hash,
                identifier: identifier.clone().into(),
                record_id: None,
                revision: revision.wrapping_add(1),
                had_failure: false,
            };
            let at = out.removed.partition_point(|r| r.hash < *hash);
            out.removed.insert(at, removed);
        }
    }
}
