//! Clears and sets digests of the manifest.
//!
//! Before the first message of a run leaves, the digests of every bucket the run touches are cleared, on
//! disk: from then on nobody trusts them until a later run sees state and model agree there.

use std::collections::BTreeMap;

use domain::fault::{Code, Fault};
use domain::manifest::{CLEARED, ManifestPage};
use domain::ports::StateStore;

/// Tries to write a page that someone else keeps writing.
const MAX_ATTEMPTS: u32 = 20;

/// Clears the digests of `touched` and notes those of `agreed`, page by page. `manifest` is as it was before
/// the buckets were read: a page that someone wrote since keeps its digests and only loses the touched ones.
pub async fn update(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    manifest: &[ManifestPage],
    touched: &[u32],
    agreed: &[(u32, u64)],
) -> Result<(), Fault> {
    let mut changes: BTreeMap<u32, Vec<(usize, u64)>> = BTreeMap::new();
    let cleared = touched.iter().map(|bucket| (*bucket, CLEARED));
    for (bucket, digest) in cleared.chain(agreed.iter().copied()) {
        let (page, position) = ManifestPage::place(bucket);
        changes.entry(page).or_default().push((position, digest));
    }
    for (number, changes) in changes {
        let Some(mut page) = manifest.get(number as usize).cloned() else { continue };
        // Written even where nothing changes: the raised version tells a plan that read this page before that it may no
        // longer note what it found to agree.
        changes.iter().for_each(|(position, digest)| page.digests[*position] = *digest);
        let durable = changes.iter().any(|(_, digest)| *digest == CLEARED);
        if !store.put_page(sync, bits, &page, durable).await? {
            // Someone cleared digests here since: what we found to agree may no longer.
            let positions: Vec<usize> =
                changes.iter().filter(|(_, digest)| *digest == CLEARED).map(|(position, _)| *position).collect();
            invalidate_positions(store, sync, bits, number, &positions).await?;
        }
    }
    Ok(())
}

/// Clears the digests of these buckets, whatever they are now. For a writer that finds itself overtaken.
pub async fn invalidate(store: &dyn StateStore, sync: &str, bits: u8, buckets: &[u32]) -> Result<(), Fault> {
    let mut pages: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for bucket in buckets {
        let (page, position) = ManifestPage::place(*bucket);
        pages.entry(page).or_default().push(position);
    }
    for (number, positions) in pages {
        invalidate_positions(store, sync, bits, number, &positions).await?;
    }
    Ok(())
}

async fn invalidate_positions(
    store: &dyn StateStore,
    sync: &str,
    bits: u8,
    number: u32,
    positions: &[usize],
) -> Result<(), Fault> {
    if positions.is_empty() {
        return Ok(());
    }
    for _ in 0..MAX_ATTEMPTS {
        let Some(mut page) = store.manifest(sync, bits).await?.into_iter().nth(number as usize) else { return Ok(()) };
        positions.iter().for_each(|p| page.digests[*p] = CLEARED);
        if store.put_page(sync, bits, &page, true).await? {
            return Ok(());
        }
    }
    Err(Fault::new(
        Code::StateUnusable,
        format!("Page {number} of the manifest of `{sync}` changed {MAX_ATTEMPTS} times while it was to be cleared."),
    ))
}
