//! What every state store does, whatever it is built on. A store is a line in [`STORES`]; the cases know
//! nothing but the port, and each gets a store with nothing in it.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod any_writes;
mod apart;
mod runs;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use domain::bucket::{Accepted, Bucket, DeliveryFailure, EntryWrite, FailureKind, StoredEntry};
use domain::clock::{Millis, Span};
use domain::config::RateLimit;
use domain::head::{ActiveRun, Head};
use domain::key::KeyHash;
use domain::manifest::{ManifestPage, PAGE};
use domain::ports::StateStore;
use embedded::SqliteState;
use tempfile::TempDir;

use self::apart::{
    a_pause_moves_every_lease, dead_letters_are_replaced_listed_and_removed, leases_never_exceed_the_rate,
};
use self::runs::{
    a_claim_holds_until_its_time, batches_are_counted_once, doubts_appear_and_are_forgotten,
    of_many_claims_one_is_granted, runs_come_newest_first,
};

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Store = Arc<dyn StateStore>;

/// A store of its own, and what has to live as long as it does.
type Opened = (Store, Option<TempDir>);

/// The stores under test.
const STORES: &[(&str, fn() -> Task<Opened>)] = &[("embedded", || Box::pin(embedded()))];

/// Those that need the emulator.
const STORES_OF_AWS: &[(&str, fn() -> Task<Opened>)] = &[("dynamodb", || Box::pin(dynamodb()))];

async fn dynamodb() -> Opened {
    (Arc::new(support::dynamodb::state().await), None)
}

async fn embedded() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(folder.path().join("state.db")).await.unwrap();
    (Arc::new(state), Some(folder))
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |store| Box::pin($case(store)))),*] };
}

const CASES: &[(&str, fn(Store) -> Task<()>)] = cases![
    the_head_is_written_conditionally,
    of_two_writers_of_the_head_one_wins,
    manifest_pages_are_written_conditionally,
    every_kind_of_write_takes_effect_and_twice_is_once,
    tasks_that_commit_to_the_same_buckets_lose_nothing,
    many_buckets_come_in_the_order_asked,
    syncs_and_layouts_do_not_see_each_other,
    rebucketing_keeps_every_entry,
    rebucketing_under_a_stale_head_changes_nothing,
    runs_come_newest_first,
    batches_are_counted_once,
    a_claim_holds_until_its_time,
    of_many_claims_one_is_granted,
    doubts_appear_and_are_forgotten,
    dead_letters_are_replaced_listed_and_removed,
    leases_never_exceed_the_rate,
    a_pause_moves_every_lease,
];

#[test]
fn every_store_passes_every_case() {
    pass(STORES);
}

#[test]
#[ignore = "needs the AWS emulator: ./tests/run"]
fn every_store_of_aws_passes_every_case() {
    pass(STORES_OF_AWS);
}

fn pass(stores: &[(&str, fn() -> Task<Opened>)]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = Vec::new();
    for (name, open) in stores {
        for (case, run) in CASES {
            let passed = runtime.block_on(async {
                let (store, _folder) = open().await;
                tokio::spawn(run(store)).await.is_ok()
            });
            if !passed {
                failed.push(format!("{name}: {case}"));
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}

const RATE: RateLimit = RateLimit { requests: 10, per: Span::seconds(1) };

fn hash(n: u32) -> KeyHash {
    KeyHash::of(&n.to_le_bytes())
}

fn accepted(checksum: u64) -> Accepted {
    Accepted { checksum, ..Accepted::default() }
}

fn accept(checksum: u64) -> EntryWrite {
    EntryWrite::Accepted { accepted: accepted(checksum), clear_failure: false }
}

fn failure(checksum: u64) -> DeliveryFailure {
    DeliveryFailure::after(None, FailureKind::Rejected, checksum, "bad_option", Millis(1_000))
}

async fn all(store: &Store, sync: &str, bits: u8) -> Vec<Bucket> {
    store.buckets(sync, bits, &(0..1 << bits).collect::<Vec<_>>()).await.unwrap()
}

async fn entries(store: &Store, sync: &str, bits: u8) -> BTreeMap<KeyHash, StoredEntry> {
    all(store, sync, bits).await.into_iter().flat_map(|bucket| bucket.entries).collect()
}

/// Runs something `count` times at once.
async fn at_once<F: Future<Output: Send + 'static> + Send + 'static>(
    count: u32,
    task: impl Fn(u32) -> F,
) -> Vec<F::Output> {
    let tasks: Vec<_> = (0..count).map(|i| tokio::spawn(task(i))).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

async fn the_head_is_written_conditionally(store: Store) {
    assert_eq!(store.head("s").await.unwrap(), Head::default());
    let head = Head {
        generation: 1,
        active: Some(ActiveRun { run: "r1".into(), since: Millis(7) }),
        cursor: Some("AQ".into()),
        ..Head::default()
    };
    assert!(store.put_head("s", &head).await.unwrap());
    assert!(!store.put_head("s", &head).await.unwrap(), "version 0 is no longer stored");
    let stored = store.head("s").await.unwrap();
    assert_eq!(stored, Head { version: 1, ..head.clone() });
    assert!(store.put_head("s", &Head { records: 5, ..stored.clone() }).await.unwrap());
    assert!(!store.put_head("s", &Head { records: 6, ..stored.clone() }).await.unwrap());
    assert!(!store.put_head("s", &Head { version: 9, ..stored.clone() }).await.unwrap(), "a version nobody wrote");
    assert!(!store.put_head("unknown", &stored).await.unwrap());
    assert_eq!(store.head("s").await.unwrap(), Head { version: 2, records: 5, ..head });
    assert_eq!(store.head("t").await.unwrap(), Head::default());
}

async fn of_two_writers_of_the_head_one_wins(store: Store) {
    for round in 0..10 {
        let head = store.head("s").await.unwrap();
        let won = at_once(2, |i| {
            let (store, head) = (Arc::clone(&store), Head { generation: round * 2 + u64::from(i), ..head.clone() });
            async move { store.put_head("s", &head).await.unwrap() }
        })
        .await;
        assert!(won[0] != won[1], "{won:?}");
        assert_eq!(store.head("s").await.unwrap().generation, round * 2 + u64::from(won[1]));
    }
}

async fn manifest_pages_are_written_conditionally(store: Store) {
    let empty: Vec<_> = (0..2).map(|number| ManifestPage::empty(number, 13)).collect();
    assert_eq!(store.manifest("s", 13).await.unwrap(), empty);
    let mut page = empty[1].clone();
    (page.digests[0], page.digests[PAGE - 1]) = (u64::MAX, 3);
    assert!(store.put_page("s", 13, &page, true).await.unwrap());
    assert!(!store.put_page("s", 13, &page, false).await.unwrap());
    assert_eq!(store.manifest("s", 13).await.unwrap(), [empty[0].clone(), ManifestPage { version: 1, ..page.clone() }]);
    (page.version, page.digests[0]) = (1, 0);
    assert!(store.put_page("s", 13, &page, false).await.unwrap());
    assert!(!store.put_page("s", 13, &page, true).await.unwrap());
    assert!(
        !store.put_page("s", 13, &ManifestPage { version: 1, ..empty[0].clone() }, true).await.unwrap(),
        "never written"
    );
    assert_eq!(store.manifest("s", 13).await.unwrap(), [empty[0].clone(), ManifestPage { version: 2, ..page }]);
    assert_eq!(store.manifest("s", 12).await.unwrap(), [ManifestPage::empty(0, 12)], "of another size");
    assert_eq!(store.manifest("t", 13).await.unwrap(), empty);
}

async fn every_kind_of_write_takes_effect_and_twice_is_once(store: Store) {
    let full = Accepted {
        checksum: u64::MAX,
        revision: 65_535,
        identifier: Some([0, 255, 7].into()),
        record_id: Some("Ünï-1".into()),
    };
    let fail = |checksum| EntryWrite::Failure(failure(checksum));
    let clear = |checksum| EntryWrite::Accepted { accepted: accepted(checksum), clear_failure: true };
    let steps = [
        vec![
            (hash(1), EntryWrite::Accepted { accepted: full.clone(), clear_failure: false }),
            (hash(2), fail(2)),
            (hash(3), accept(3)),
            (hash(4), fail(4)),
            (hash(5), fail(5)),
            (hash(6), accept(6)),
        ],
        vec![
            (hash(1), fail(11)),
            (hash(2), clear(12)),
            (hash(3), EntryWrite::Removed),
            (hash(4), EntryWrite::ClearFailure),
            (hash(5), accept(15)),
            (hash(6), EntryWrite::ClearFailure),
            (hash(7), EntryWrite::Removed),
        ],
    ];
    for writes in steps {
        store.commit("s", 1, writes.clone()).await.unwrap();
        let once = all(&store, "s", 1).await;
        store.commit("s", 1, writes).await.unwrap();
        assert_eq!(all(&store, "s", 1).await, once);
        assert!(once.iter().all(|bucket| bucket.entries.is_sorted_by_key(|(hash, _)| *hash)));
    }
    let expected = BTreeMap::from([
        (hash(1), StoredEntry { accepted: Some(full), failure: Some(failure(11)) }),
        (hash(2), StoredEntry { accepted: Some(accepted(12)), failure: None }),
        (hash(5), StoredEntry { accepted: Some(accepted(15)), failure: Some(failure(5)) }),
        (hash(6), StoredEntry { accepted: Some(accepted(6)), failure: None }),
    ]);
    assert_eq!(entries(&store, "s", 1).await, expected);
    store.commit("s", 1, Vec::new()).await.unwrap();
    store.commit("s", 1, (0..9).map(|n| (hash(n), EntryWrite::Removed)).collect()).await.unwrap();
    assert_eq!(all(&store, "s", 1).await, [0, 1].map(|number| Bucket { number, entries: Vec::new() }));
}

async fn tasks_that_commit_to_the_same_buckets_lose_nothing(store: Store) {
    at_once(8, |task| {
        let store = Arc::clone(&store);
        async move {
            for step in 0..20u32 {
                let writes = (0..5).map(|i| task + 8 * (5 * step + i)).map(|n| (hash(n), accept(n.into()))).collect();
                store.commit("s", 2, writes).await.unwrap();
            }
        }
    })
    .await;
    let expected: BTreeMap<_, _> =
        (0..800u32).map(|n| (hash(n), StoredEntry { accepted: Some(accepted(n.into())), failure: None })).collect();
    assert_eq!(entries(&store, "s", 2).await, expected);
}

async fn many_buckets_come_in_the_order_asked(store: Store) {
    store.commit("s", 12, (0..6_000).map(|n| (hash(n), accept(n.into()))).collect()).await.unwrap();
    let numbers: Vec<u32> = (0..4096).rev().collect();
    let buckets = store.buckets("s", 12, &numbers).await.unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket.number).collect::<Vec<_>>(), numbers);
    assert!(buckets.iter().any(|bucket| bucket.entries.is_empty()), "an empty one is there too");
    assert!(buckets.iter().all(|bucket| bucket.entries.iter().all(|(hash, _)| hash.bucket(12) == bucket.number)));
    assert_eq!(buckets.iter().map(|bucket| bucket.entries.len()).sum::<usize>(), 6_000);
    assert_eq!(store.buckets("s", 12, &[9, 3]).await.unwrap(), [buckets[4095 - 9].clone(), buckets[4095 - 3].clone()]);
}

async fn syncs_and_layouts_do_not_see_each_other(store: Store) {
    store.commit("s", 0, vec![(hash(1), accept(1))]).await.unwrap();
    store.commit("s", 1, vec![(hash(1), accept(2))]).await.unwrap();
    store.commit("t", 0, vec![(hash(2), accept(3))]).await.unwrap();
    for (sync, bits, n, checksum) in [("s", 0, 1, 1), ("s", 1, 1, 2), ("t", 0, 2, 3)] {
        let expected = BTreeMap::from([(hash(n), StoredEntry { accepted: Some(accepted(checksum)), failure: None })]);
        assert_eq!(entries(&store, sync, bits).await, expected, "{sync} {bits}");
    }
}

async fn rebucketing_keeps_every_entry(store: Store) {
    let mut writes: Vec<_> = (0..2_000).map(|n| (hash(n), accept(n.into()))).collect();
    writes.extend((1_900..2_100).map(|n| (hash(n), EntryWrite::Failure(failure(n.into())))));
    store.commit("s", 3, writes).await.unwrap();
    let before = entries(&store, "s", 3).await;
    assert_eq!(before.len(), 2_100);
    let mut from = 3;
    for to in [7, 2, 0, 5] {
        assert!(store.put_page("s", from, &ManifestPage::empty(0, from), false).await.unwrap());
        let head = store.head("s").await.unwrap();
        assert!(store.rebucket("s", from, to, &Head { bucket_bits: to, ..head.clone() }).await.unwrap());
        assert_eq!(store.head("s").await.unwrap(), Head { bucket_bits: to, version: head.version + 1, ..head });
        let buckets = all(&store, "s", to).await;
        assert!(buckets.iter().all(
            |b| b.entries.is_sorted_by_key(|(h, _)| *h) && b.entries.iter().all(|(h, _)| h.bucket(to) == b.number)
        ));
        assert_eq!(entries(&store, "s", to).await, before, "from {from} to {to}");
        assert_eq!(store.manifest("s", to).await.unwrap(), [ManifestPage::empty(0, to)]);
        from = to;
    }
}

async fn rebucketing_under_a_stale_head_changes_nothing(store: Store) {
    assert!(store.put_head("s", &Head::default()).await.unwrap());
    store.commit("s", 1, (0..50).map(|n| (hash(n), accept(n.into()))).collect()).await.unwrap();
    let page = ManifestPage { digests: vec![5, 6], ..ManifestPage::empty(0, 1) };
    assert!(store.put_page("s", 1, &page, false).await.unwrap());
    let before = (store.head("s").await.unwrap(), all(&store, "s", 1).await, all(&store, "s", 4).await);
    assert!(!store.rebucket("s", 1, 4, &Head { bucket_bits: 4, ..Head::default() }).await.unwrap());
    assert_eq!((store.head("s").await.unwrap(), all(&store, "s", 1).await, all(&store, "s", 4).await), before);
    assert_eq!(store.manifest("s", 1).await.unwrap(), [ManifestPage { version: 1, ..page }]);
}
