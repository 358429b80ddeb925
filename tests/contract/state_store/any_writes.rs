//! Any writes in any batches come to the same as in a plain map.

use std::collections::BTreeMap;

use domain::bucket::{Accepted, DeliveryFailure, EntryWrite, FailureKind, StoredEntry};
use domain::clock::Millis;
use domain::key::KeyHash;
use proptest::prelude::*;

use super::{Opened, STORES, STORES_OF_AWS, Task, entries, hash};

/// What a write does, said in the plainest way.
fn model(entries: &mut BTreeMap<KeyHash, StoredEntry>, hash: KeyHash, write: &EntryWrite) {
    let entry = entries.entry(hash).or_default();
    match write.clone() {
        EntryWrite::Accepted { accepted, clear_failure } => {
            entry.accepted = Some(accepted);
            entry.failure = entry.failure.take().filter(|_| !clear_failure);
        }
        EntryWrite::Removed => *entry = StoredEntry::default(),
        EntryWrite::Failure(failure) => entry.failure = Some(failure),
        EntryWrite::ClearFailure => entry.failure = None,
    }
    entries.retain(|_, entry| *entry != StoredEntry::default());
}

fn any_write() -> impl Strategy<Value = EntryWrite> {
    let identifier = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let accepted = (any::<u64>(), any::<u16>(), identifier, proptest::option::of("\\PC{0,12}")).prop_map(
        |(checksum, revision, identifier, record_id)| Accepted {
            checksum,
            revision,
            identifier: identifier.map(Into::into),
            record_id: record_id.map(Into::into),
        },
    );
    let kind = proptest::sample::select(vec![FailureKind::Rejected, FailureKind::Skipped, FailureKind::Exhausted]);
    let failure = (kind, any::<u64>(), "\\PC{0,12}", any::<i64>(), any::<u32>(), any::<i64>()).prop_map(
        |(kind, checksum, code, first, failures, retry)| DeliveryFailure {
            kind,
            checksum,
            code,
            first: Millis(first),
            failures,
            next_retry: Millis(retry),
        },
    );
    prop_oneof![
        3 => (accepted, any::<bool>()).prop_map(|(accepted, clear_failure)| EntryWrite::Accepted { accepted, clear_failure }),
        2 => failure.prop_map(EntryWrite::Failure),
        1 => Just(EntryWrite::Removed),
        1 => Just(EntryWrite::ClearFailure),
    ]
}

fn any_batches() -> impl Strategy<Value = Vec<Batch>> {
    proptest::collection::vec(proptest::collection::vec((0..24u32, any_write()), 0..12), 1..8)
}

type Batch = Vec<(u32, EntryWrite)>;

fn comes_to_the_same(stores: &[(&str, fn() -> Task<Opened>)], bits: u8, batches: &[Batch]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, open) in stores {
        runtime.block_on(async {
            let (store, _folder) = open().await;
            let mut expected = BTreeMap::new();
            for batch in batches {
                batch.iter().for_each(|(n, write)| model(&mut expected, hash(*n), write));
                store
                    .commit("s", bits, batch.iter().map(|(n, write)| (hash(*n), write.clone())).collect())
                    .await
                    .unwrap();
            }
            assert_eq!(entries(&store, "s", bits).await, expected, "{name}");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_writes_in_any_batches_come_to_the_same(bits in 0..4u8, batches in any_batches()) {
        comes_to_the_same(STORES, bits, &batches);
    }

    #[test]
    #[ignore = "needs the AWS emulator: ./tests/run"]
    fn any_writes_in_any_batches_come_to_the_same_on_aws(bits in 0..4u8, batches in any_batches()) {
        comes_to_the_same(STORES_OF_AWS, bits, &batches);
    }
}
