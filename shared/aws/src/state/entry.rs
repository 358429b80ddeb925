//! A record's entry as attributes of its bucket: what was accepted under the key hash, the last failure under `!` and
//! the key hash. Nothing is read to write either, so every write is blind.
//!
//! Accepted: `checksum 8`, then `revision 2` unless it is 0 and nothing follows, then `flags 1 · identifier length 4 ·
//! identifier · record id`. DeliveryFailure: `kind 1 · checksum 8 · first 8 · failures 4 · next retry 8 · code`.
//! Little-endian.

use std::collections::BTreeMap;

use domain::bucket::{Accepted, Bucket, DeliveryFailure, EntryWrite, FailureKind, StoredEntry};
use domain::clock::Millis;
use domain::key::KeyHash;

use super::item::Item;
use crate::keys::{PK, SK};

const TROUBLE: char = '!';
const IDENTIFIER: u8 = 1;
const RECORD_ID: u8 = 2;

/// What becomes of attributes, by their names: a new value, or removal.
pub(super) type Actions = BTreeMap<String, Option<Vec<u8>>>;

/// Adds a write. Of several to one record the later wins, attribute by attribute.
pub(super) fn apply(actions: &mut Actions, hash: &KeyHash, write: &EntryWrite) {
    let accepted = hash.to_string();
    let failure = format!("{TROUBLE}{accepted}");
    match write {
        EntryWrite::Accepted { accepted: new, clear_failure } => {
            actions.insert(accepted, Some(encode_accepted(new)));
            if *clear_failure {
                actions.insert(failure, None);
            }
        }
        EntryWrite::Removed => {
            actions.insert(accepted, None);
            actions.insert(failure, None);
        }
        EntryWrite::Failure(new) => {
            actions.insert(failure, Some(encode_failure(new)));
        }
        EntryWrite::ClearFailure => {
            actions.insert(failure, None);
        }
    }
}

/// Reads a bucket; `None` when an attribute is not what was written there.
pub(super) fn read(number: u32, item: &Item) -> Option<Bucket> {
    let mut entries: BTreeMap<KeyHash, StoredEntry> = BTreeMap::new();
    for (name, value) in item {
        if name == PK || name == SK {
            continue;
        }
        let bytes = value.as_b().ok()?.as_ref();
        match name.strip_prefix(TROUBLE) {
            Some(hash) => entries.entry(KeyHash::parse(hash)?).or_default().failure = Some(decode_failure(bytes)?),
            None => entries.entry(KeyHash::parse(name)?).or_default().accepted = Some(decode_accepted(bytes)?),
        }
    }
    Some(Bucket { number, entries: entries.into_iter().collect() })
}

/// The record that an attribute of a bucket is about.
pub(super) fn hash_of(name: &str) -> Option<KeyHash> {
    KeyHash::parse(name.strip_prefix(TROUBLE).unwrap_or(name))
}

fn encode_accepted(accepted: &Accepted) -> Vec<u8> {
    let Accepted { checksum, revision, identifier, record_id } = accepted;
    let mut out = checksum.to_le_bytes().to_vec();
    let plain = identifier.is_none() && record_id.is_none();
    if *revision != 0 || !plain {
        out.extend_from_slice(&revision.to_le_bytes());
    }
    if plain {
        return out;
    }
    out.push(identifier.as_ref().map_or(0, |_| IDENTIFIER) | record_id.as_ref().map_or(0, |_| RECORD_ID));
    let identifier = identifier.as_deref().unwrap_or_default();
    out.extend_from_slice(&(identifier.len() as u32).to_le_bytes());
    out.extend_from_slice(identifier);
    out.extend_from_slice(record_id.as_deref().unwrap_or_default().as_bytes());
    out
}

fn decode_accepted(bytes: &[u8]) -> Option<Accepted> {
    let (checksum, rest) = bytes.split_first_chunk::<8>()?;
    let mut accepted = Accepted { checksum: u64::from_le_bytes(*checksum), ..Accepted::default() };
    if rest.is_empty() {
        return Some(accepted);
    }
    let (revision, rest) = rest.split_first_chunk::<2>()?;
    accepted.revision = u16::from_le_bytes(*revision);
    let Some((flags, rest)) = rest.split_first() else { return Some(accepted) };
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (identifier, record_id) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    accepted.identifier = (flags & IDENTIFIER != 0).then(|| identifier.into());
    if flags & RECORD_ID != 0 {
        accepted.record_id = Some(std::str::from_utf8(record_id).ok()?.into());
    }
    Some(accepted)
}

fn encode_failure(failure: &DeliveryFailure) -> Vec<u8> {
    let kind = match failure.kind {
        FailureKind::Rejected => 0,
        FailureKind::Skipped => 1,
        FailureKind::Exhausted => 2,
    };
    let mut out = vec![kind];
    out.extend_from_slice(&failure.checksum.to_le_bytes());
    out.extend_from_slice(&failure.first.0.to_le_bytes());
    out.extend_from_slice(&failure.failures.to_le_bytes());
    out.extend_from_slice(&failure.next_retry.0.to_le_bytes());
    out.extend_from_slice(failure.code.as_bytes());
    out
}

fn decode_failure(bytes: &[u8]) -> Option<DeliveryFailure> {
    let (kind, rest) = bytes.split_first()?;
    let kind = match kind {
        0 => FailureKind::Rejected,
        1 => FailureKind::Skipped,
        2 => FailureKind::Exhausted,
        _ => return None,
    };
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (failures, rest) = rest.split_first_chunk::<4>()?;
    let (next_retry, code) = rest.split_first_chunk::<8>()?;
    Some(DeliveryFailure {
        kind,
        checksum: u64::from_le_bytes(*checksum),
        first: Millis(i64::from_le_bytes(*first)),
        failures: u32::from_le_bytes(*failures),
        next_retry: Millis(i64::from_le_bytes(*next_retry)),
        code: std::str::from_utf8(code).ok()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_accepted_comes_back_and_is_small() {
        let plain = Accepted { checksum: 7, ..Accepted::default() };
        let identifier = Accepted { identifier: Some([1, 2].into()), ..plain.clone() };
        let all = [
            (plain.clone(), 8),
            (Accepted { revision: 3, ..plain.clone() }, 10),
            (identifier.clone(), 17),
            (Accepted { record_id: Some("é".into()), ..plain.clone() }, 17),
            (Accepted { record_id: Some("".into()), revision: 1, ..identifier }, 17),
            (Accepted { identifier: Some([].into()), ..plain }, 15),
        ];
        for (accepted, len) in all {
            let bytes = encode_accepted(&accepted);
            assert_eq!((bytes.len(), decode_accepted(&bytes)), (len, Some(accepted)));
        }
    }

    #[test]
    fn failure_comes_back_and_damage_is_noticed() {
        let failure = DeliveryFailure {
            kind: FailureKind::Exhausted,
            checksum: 9,
            code: "tïme".into(),
            first: Millis(-1),
            failures: 3,
            next_retry: Millis(i64::MAX),
        };
        let bytes = encode_failure(&failure);
        assert_eq!(decode_failure(&bytes), Some(failure));
        assert!((0..29).all(|len| decode_failure(&bytes[..len]).is_none()));
        assert!((0..8).all(|len| decode_accepted(&bytes[..len]).is_none()));
    }

    #[test]
    fn of_writes_to_one_record_the_last_wins() {
        let hash = KeyHash([5; 12]);
        let accept = |checksum| EntryWrite::Accepted {
            accepted: Accepted { checksum, ..Accepted::default() },
            clear_failure: true,
        };
        let failure = DeliveryFailure::after(None, FailureKind::Rejected, 1, "bad", Millis(0));
        let mut actions = Actions::new();
        for write in [EntryWrite::Removed, accept(1), accept(2), EntryWrite::Failure(failure.clone())] {
            apply(&mut actions, &hash, &write);
        }
        let expected = Actions::from([
            (hash.to_string(), Some(2u64.to_le_bytes().to_vec())),
            (format!("!{hash}"), Some(encode_failure(&failure))),
        ]);
        assert_eq!(actions, expected);
        assert!(actions.keys().all(|name| hash_of(name) == Some(hash)));
    }
}
