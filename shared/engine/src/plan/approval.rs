//! What `--approve` takes: a hash that names a plan, everything that would be sent and under which definition. An
//! approval is good for that plan only.

use domain::key::KeyHash;
use domain::mode::Op;
use xxhash_rust::xxh3::Xxh3;

use super::difference::{GONE, Removed};
use super::entries::ModelEntry;

/// Names a plan: everything that would be sent, and under which definition.
pub(super) fn plan_hash(meaning: u64, sync_version: &str, entries: &[ModelEntry], removed: &[Removed]) -> String {
    let mut hash = Xxh3::with_seed(meaning);
    hash.update(sync_version.as_bytes());
    let mut add = |op: Op, key: &KeyHash, checksum: u64| {
        let mut bytes = [0; 21];
        bytes[0] = op as u8;
        bytes[1..13].copy_from_slice(&key.0);
        bytes[13..].copy_from_slice(&checksum.to_le_bytes());
        hash.update(&bytes);
    };
    entries.iter().filter(|e| e.is_sent()).for_each(|e| add(Op::Upsert, &e.hash, e.checksum));
    removed.iter().for_each(|r| add(Op::Delete, &r.hash, GONE));
    format!("{:016x}", hash.digest())
}
