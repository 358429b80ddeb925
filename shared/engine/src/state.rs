//! What a person may ask of a sync's state: to be shown, to have records sent anew, to be told that a place is the
//! same, to be forgotten, to go by another name. Works on any store; nothing is sent.
//!
//! Each raises the generation first: a message that is still in a queue stays without effect, and a run that begins
//! meanwhile is not in the way. While a run is active nothing is changed.

use domain::bucket::StoredEntry;
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::key::KeyHash;
use domain::meaning::Meaning;
use domain::ports::StateStore;
use serde::Serialize;

use crate::plan::difference::UNKNOWN;
use crate::{commit, digests};

/// Buckets that are read at once.
const CHUNK: usize = 64;
/// Dead letters that are moved or removed.
const LETTERS: usize = 1_000_000;

/// A state, for people and machines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateReport {
    /// The sync.
    pub sync: String,
    /// Raised by every run.
    pub generation: u64,
    /// The run that is active.
    pub active: Option<String>,
    /// What the records below mean.
    pub meaning: Option<Meaning>,
    /// Records that the destination has accepted.
    pub accepted: u64,
    /// Those of them whose version there nobody knows.
    pub unknown: u64,
    /// Records that were refused, or whose attempts ran out.
    pub failing: u64,
    /// Notes of writers that nobody heard the end of: the next run sends what they had.
    pub in_doubt: usize,
    /// When everything was read and accepted last.
    pub last_full: Option<Millis>,
    /// When the destination was brought up to date last.
    pub delivered: Option<Millis>,
    /// True when the next read is a full one, cursor or not.
    pub reads_in_full: bool,
}

/// What the state says.
pub async fn show(store: &dyn StateStore, sync: &str) -> Result<StateReport, Fault> {
    let head = store.head(sync).await?;
    let (mut accepted, mut unknown, mut failing) = (0, 0, 0);
    each_bucket(store, sync, head.bucket_bits, async |entries| {
        for (_, entry) in &entries {
            accepted += u64::from(entry.accepted.is_some());
            unknown += u64::from(entry.accepted.as_ref().is_some_and(|a| a.checksum == UNKNOWN));
            failing += u64::from(entry.failure.is_some());
        }
        Ok(())
    })
    .await?;
    Ok(StateReport {
        sync: sync.to_owned(),
        generation: head.generation,
        active: head.active.map(|active| active.run),
        meaning: head.meaning,
        accepted,
        unknown,
        failing,
        in_doubt: store.in_doubt(sync).await?.notes.len(),
        last_full: head.last_full,
        delivered: head.delivered,
        reads_in_full: head.must_read_full.is_some(),
    })
}

/// Has these records, or all of them, sent by the next run, whatever the destination accepted before. Returns how many.
pub async fn resend(store: &dyn StateStore, sync: &str, only: Option<&[KeyHash]>) -> Result<u64, Fault> {
    let head = take(store, sync, |head| head.must_read_full = Some(head.generation)).await?;
    let (bits, mut sent) = (head.bucket_bits, 0);
    let mode = head.meaning.as_ref().map(|meaning| meaning.mode);
    clear_all(store, sync, bits).await?;
    each_bucket(store, sync, bits, async |mut entries| {
        entries.retain(|(hash, _)| only.is_none_or(|only| only.contains(hash)));
        sent += entries.len() as u64;
        commit::unlearn(store, sync, bits, mode, entries).await
    })
    .await?;
    Ok(sent)
}

/// Takes the place that the next run finds for the one that the state tells of.
pub async fn same_place(store: &dyn StateStore, sync: &str) -> Result<(), Fault> {
    let forget = |head: &mut Head| {
        if let Some(meaning) = &mut head.meaning {
            meaning.place.clear();
        }
    };
    take(store, sync, forget).await.map(drop)
}

/// Forgets what was delivered, and returns how many records that was. The generation stays.
pub async fn forget(store: &dyn StateStore, sync: &str) -> Result<u64, Fault> {
    let head = take(store, sync, |head| *head = fresh(head)).await?;
    let (bits, mut forgotten) = (head.bucket_bits, 0);
    clear_all(store, sync, bits).await?;
    each_bucket(store, sync, bits, async |entries| {
        forgotten += entries.len() as u64;
        commit::remove(store, sync, bits, entries).await
    })
    .await?;
    let letters: Vec<KeyHash> =
        store.dead_letters(sync, LETTERS).await?.into_iter().map(|letter| letter.hash).collect();
    store.remove_dead_letters(sync, &letters).await?;
    // Notes of writers are about what is forgotten.
    let noted = store.in_doubt(sync).await?;
    store.clear_in_doubt(sync, &noted.runs, Millis(i64::MAX)).await?;
    Ok(forgotten)
}

/// Gives the state another sync's name, which has none of its own. Returns how many records there are.
pub async fn rename(store: &dyn StateStore, sync: &str, name: &str) -> Result<u64, Fault> {
    let there = store.head(name).await?;
    if there.meaning.is_some() || there.active.is_some() || there.last_full.is_some() || there.records > 0 {
        let what = format!("`{name}` has a state of its own, which would be lost.");
        return Err(Fault::new(Code::StateUnusable, what)
            .with_next(format!("`sluice state show {name}` shows it; `sluice state forget {name}` gives it up")));
    }
    if !store.in_doubt(sync).await?.notes.is_empty() {
        let what = format!("A run of `{sync}` was cut off, and which records it had delivered is not known yet.");
        return Err(Fault::new(Code::StateUnusable, what)
            .with_next(format!("run `{sync}` once under its old name, then rename it")));
    }
    let head = take(store, sync, |_| {}).await?;
    let moved = Head {
        version: there.version,
        generation: there.generation + 1,
        active: None,
        last_full: None,
        ..head.clone()
    };
    if !store.put_head(name, &Head { must_read_full: Some(moved.generation), ..moved }).await? {
        return Err(Fault::new(Code::RunActive, format!("The state of `{name}` is being written.")));
    }
    let mut count = 0;
    each_bucket(store, sync, head.bucket_bits, async |entries| {
        count += entries.len() as u64;
        commit::carry_over(store, name, head.bucket_bits, entries).await
    })
    .await?;
    let mut letters = store.dead_letters(sync, LETTERS).await?;
    letters.iter_mut().for_each(|letter| letter.sync = name.to_owned());
    store.put_dead_letters(letters).await?;
    forget(store, sync).await?;
    Ok(count)
}

/// A head without anything that was learnt.
fn fresh(head: &Head) -> Head {
    Head { version: head.version, generation: head.generation, bucket_bits: head.bucket_bits, ..Head::default() }
}

/// Changes the head, in a new generation, while no run is active.
async fn take(store: &dyn StateStore, sync: &str, change: impl FnOnce(&mut Head)) -> Result<Head, Fault> {
    let mut head = store.head(sync).await?;
    if let Some(active) = &head.active {
        let what =
            format!("Run {} of sync `{sync}` is active, or was cut off: its state is not changed now.", active.run);
        return Err(Fault::new(Code::RunActive, what)
            .with_next("wait until it is over; one that was cut off is closed by the next run"));
    }
    head.generation += 1;
    change(&mut head);
    if !store.put_head(sync, &head).await? {
        return Err(Fault::new(
            Code::RunActive,
            format!("A run of sync `{sync}` began meanwhile; nothing was changed."),
        ));
    }
    head.version += 1;
    Ok(head)
}

async fn clear_all(store: &dyn StateStore, sync: &str, bits: u8) -> Result<(), Fault> {
    let all: Vec<u32> = (0..1u32 << bits).collect();
    digests::invalidate(store, sync, bits, &all).await
}

async fn each_bucket(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    mut visit: impl AsyncFnMut(Vec<(KeyHash, StoredEntry)>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let all: Vec<u32> = (0..1u32 << bits).collect();
    for numbers in all.chunks(CHUNK) {
        for bucket in store.buckets(sync, bits, numbers).await? {
            if !bucket.entries.is_empty() {
                visit(bucket.entries).await?;
            }
        }
    }
    Ok(())
}
