//! Keys that are spelt anew, where only the destination knows which spellings are one.
//!
//! A record that the model no longer has and whose identifier seems to be that of another record is not deleted: the other
//! one owns it. Whether it does is the destination's to say: `acme-1` and `acme1` seem to be one and mostly are not.

use domain::cells::Cells;
use domain::clock::Millis;
use domain::fault::Fault;
use domain::key::KeyHash;
use domain::ports::Destination;

use crate::plan::difference::{Difference, Respelt};
use crate::plan::extract::Extracted;
use crate::plan::spool::split;

/// Keys that are asked about at a time.
const CHUNK: usize = 500;

/// Keeps those that are spelt anew; the others are gone from the model, and so deleted.
pub(super) async fn confirm(
    destination: &dyn Destination,
    bits: u8,
    now: Millis,
    model: &mut Extracted,
    out: &mut Difference,
) -> Result<(), Fault> {
    if !model.rule.asks() {
        return Ok(());
    }
    let layout = model.layout.identifier_layout();
    let all = std::mem::take(&mut out.respelt);
    let mut deleted = Vec::new();
    for some in all.chunks(CHUNK) {
        let mut identifiers: Vec<Vec<u8>> = Vec::new();
        // For each key: where its own identifier is among them, and those of its owners after it.
        let mut places: Vec<(usize, Vec<KeyHash>)> = Vec::new();
        for respelt in some {
            let Some(identifier) = &respelt.accepted.identifier else { continue };
            let place = identifiers.len();
            identifiers.push(identifier.to_vec());
            let identity = model.rule.identity(Cells(identifier));
            let owners: Vec<KeyHash> = model.identities.owners(identity).copied().collect();
            for owner in &owners {
                identifiers.push(identifier_of(model, owner)?);
            }
            places.push((place, owners));
        }
        let said = destination.same_identity(&layout, &identifiers).await?;
        for (respelt, (place, owners)) in some.iter().zip(places) {
            let same = |at: usize| said.get(place).is_some_and(|own| said.get(place + 1 + at) == Some(own));
            let owner = owners.iter().enumerate().find(|(at, _)| same(*at)).map(|(_, owner)| *owner);
            let Respelt { old, accepted, failure, .. } = respelt;
            match owner {
                Some(owner) => {
                    out.respelt.push(Respelt { old: *old, accepted: accepted.clone(), failure: failure.clone(), owner })
                }
                None => {
                    out.counts.respelt -= 1;
                    out.gone(old, accepted, failure.as_ref(), model.keyless > 0, now);
                    deleted.push(old.bucket(bits));
                }
            }
        }
    }
    out.touched(deleted);
    Ok(())
}

/// The identifier of a record of the model, as cells.
fn identifier_of(model: &mut Extracted, hash: &KeyHash) -> Result<Vec<u8>, Fault> {
    let Ok(at) = model.entries.binary_search_by(|entry| entry.hash.cmp(hash)) else { return Ok(Vec::new()) };
    let entry = model.entries[at];
    let record = model.spool.read(hash, entry.offset(), entry.len as usize)?;
    Ok(model.layout.identifier_cells(split(record).1))
}
