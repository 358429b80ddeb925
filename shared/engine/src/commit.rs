//! Moves checksums. This is the only place that does: a record's entry changes here, after the destination
//! accepted that record, and nowhere else. What may have been accepted unseen becomes an unknown version.

use std::collections::BTreeSet;

use domain::batch::{BatchHeader, BatchRecord};
use domain::bucket::{Accepted, DeliveryFailure, EntryWrite, StoredEntry};
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::mode::{Mode, Op};
use domain::ports::StateStore;

use crate::digests;
use crate::plan::difference::{Forget, UNKNOWN};

/// The write for a record that the destination accepted; `record_id` is what it calls the record.
pub fn accepted(mode: Mode, header: &BatchHeader, record: &BatchRecord<'_>, record_id: Option<&str>) -> EntryWrite {
    if header.op == Op::Delete {
        return EntryWrite::Removed;
    }
    let record_id: Option<Box<str>> = record_id.or(record.record_id).map(Box::from);
    // A mirror deletes by it; an update is made by the destination's id only as long as the identifier leads to that
    // record.
    let keeps = mode == Mode::Mirror || mode == Mode::Update && record_id.is_some();
    let identifier = keeps.then(|| header.layout.identifier_cells(record.fields).into_boxed_slice());
    let accepted = Accepted { checksum: record.checksum, revision: record.revision, identifier, record_id };
    EntryWrite::Accepted { accepted, clear_failure: record.had_failure }
}

/// What is known of a record after a delete that came late: that it may be there.
pub fn perhaps_deleted(header: &BatchHeader, record: &BatchRecord<'_>) -> Accepted {
    let identifier = header.layout.identifier_cells(record.fields).into_boxed_slice();
    Accepted { checksum: UNKNOWN, revision: record.revision, identifier: Some(identifier), record_id: None }
}

/// Commits the writes of a batch. A commit is never refused: what the destination accepted last is the
/// truth. A writer that was overtaken meanwhile clears the digests of its buckets, so that the next run looks
/// at them, and commits again if the buckets were laid out anew.
///
/// A late delete and the write of a newer run may have reached the destination in either order. So the records of
/// `deleted` stay known by their identifiers, in a version that matches nothing: the next run sends or deletes them.
pub async fn commit(
    store: &dyn StateStore,
    header: &BatchHeader,
    writes: Vec<(KeyHash, EntryWrite)>,
    deleted: Vec<(KeyHash, Accepted)>,
) -> Result<(), Fault> {
    if writes.is_empty() {
        return Ok(());
    }
    let generation = store.commit(&header.sync, header.bucket_bits, writes.clone()).await?;
    if generation != header.generation {
        let bits = store.head(&header.sync).await?.bucket_bits;
        // Written once more only where it did not get: into the new buckets.
        let mut late: Vec<_> = match bits == header.bucket_bits {
            true => Vec::new(),
            false => writes.iter().filter(|(_, write)| !matches!(write, EntryWrite::Removed)).cloned().collect(),
        };
        late.extend(
            deleted.into_iter().map(|(hash, accepted)| (hash, EntryWrite::Accepted { accepted, clear_failure: false })),
        );
        if !late.is_empty() {
            store.commit(&header.sync, bits, late).await?;
        }
        let buckets: BTreeSet<u32> = writes.iter().map(|(hash, _)| hash.bucket(bits)).collect();
        digests::invalidate(store, &header.sync, bits, &buckets.into_iter().collect::<Vec<_>>()).await?;
        // An incremental read does not look at buckets.
        read_in_full(store, &header.sync).await?;
    }
    Ok(())
}

/// Tries to write a head that others write too.
const MAX_ATTEMPTS: u32 = 20;

/// Makes the next run read the whole model, cursor or not.
pub async fn read_in_full(store: &dyn StateStore, sync: &str) -> Result<(), Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let mut head = store.head(sync).await?;
        if head.must_read_full == Some(head.generation) {
            return Ok(());
        }
        head.must_read_full = Some(head.generation);
        if store.put_head(sync, &head).await? {
            return Ok(());
        }
    }
    Err(Fault::new(
        Code::StateUnusable,
        format!("The head of `{sync}` changed {MAX_ATTEMPTS} times while a full read was to be asked for."),
    ))
}

/// Forgets failures that are over without anything being sent, and the dead letters that tell of it.
pub async fn forget(store: &dyn StateStore, sync: &str, bits: u8, records: &[(KeyHash, Forget)]) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let write = |what| match what {
        Forget::Failure => EntryWrite::ClearFailure,
        Forget::Record => EntryWrite::Removed,
    };
    store.commit(sync, bits, records.iter().map(|(hash, what)| (*hash, write(*what))).collect()).await?;
    let hashes: Vec<KeyHash> = records.iter().map(|(hash, _)| *hash).collect();
    store.remove_dead_letters(sync, &hashes).await
}

/// Notes that the version which the destination has of these records is not known. After that their doubts can be
/// forgotten: whatever becomes of the records in this run, the next version of them is sent.
pub async fn mark_unknown(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    records: &[(KeyHash, Accepted)],
) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let write = |accepted: &Accepted| EntryWrite::Accepted { accepted: accepted.clone(), clear_failure: false };
    store.commit(sync, bits, records.iter().map(|(hash, accepted)| (*hash, write(accepted))).collect()).await.map(drop)
}

/// Lets records that are held be sent by the next run: ends the pause of their failure. The failure itself stays, and
/// with it their dead letters, until they are delivered.
pub async fn release(store: &dyn StateStore, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
    let bits = store.head(sync).await?.bucket_bits;
    let buckets: BTreeSet<u32> = hashes.iter().map(|h| h.bucket(bits)).collect();
    let buckets: Vec<u32> = buckets.into_iter().collect();
    let chosen: BTreeSet<&KeyHash> = hashes.iter().collect();
    let stored = store.buckets(sync, bits, &buckets).await?;
    let troubled = stored.into_iter().flat_map(|b| b.entries).filter(|(hash, _)| chosen.contains(hash));
    let over = |(hash, entry): (KeyHash, StoredEntry)| {
        Some((hash, EntryWrite::Failure(DeliveryFailure { next_retry: Millis(0), ..entry.failure? })))
    };
    store.commit(sync, bits, troubled.filter_map(over).collect()).await?;
    digests::invalidate(store, sync, bits, &buckets).await?;
    read_in_full(store, sync).await
}

/// Has records sent by the next run, whatever was accepted before. What is appended is not sent again while it is
/// known, so it is not known any more.
pub async fn unlearn(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    mode: Option<Mode>,
    entries: Vec<(KeyHash, StoredEntry)>,
) -> Result<(), Fault> {
    let mut writes = Vec::new();
    for (hash, StoredEntry { accepted, failure }) in entries {
        writes.extend(accepted.map(|accepted| match mode {
            Some(Mode::Append) => (hash, EntryWrite::Removed),
            _ => (
                hash,
                EntryWrite::Accepted { accepted: Accepted { checksum: UNKNOWN, ..accepted }, clear_failure: false },
            ),
        }));
        writes.extend(
            failure.map(|failure| (hash, EntryWrite::Failure(DeliveryFailure { next_retry: Millis(0), ..failure }))),
        );
    }
    store.commit(sync, bits, writes).await.map(drop)
}

/// Forgets all that is known of records.
pub async fn remove(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    entries: Vec<(KeyHash, StoredEntry)>,
) -> Result<(), Fault> {
    let writes =
        entries.into_iter().flat_map(|(hash, _)| [(hash, EntryWrite::Removed), (hash, EntryWrite::ClearFailure)]);
    store.commit(sync, bits, writes.collect()).await.map(drop)
}

/// Writes what is known of records into the state of another name.
pub async fn carry_over(
    store: &dyn StateStore,
    name: &str,
    bits: u8,
    entries: Vec<(KeyHash, StoredEntry)>,
) -> Result<(), Fault> {
    let writes = entries.into_iter().flat_map(|(hash, entry)| {
        let accepted = entry.accepted.map(|accepted| EntryWrite::Accepted { accepted, clear_failure: false });
        accepted.into_iter().chain(entry.failure.map(EntryWrite::Failure)).map(move |write| (hash, write))
    });
    store.commit(name, bits, writes.collect()).await.map(drop)
}
