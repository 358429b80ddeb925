//! Laying the buckets out anew while others are at work.

use std::sync::Arc;

use domain::bucket::{Accepted, EntryWrite};
use domain::head::Head;
use domain::key::KeyHash;
use domain::ports::{BucketStore, HeadStore, StateStore};
use support::dynamodb;

fn accept(n: u32, checksum: u64) -> (KeyHash, EntryWrite) {
    (
        KeyHash::of(&n.to_le_bytes()),
        EntryWrite::Accepted { accepted: Accepted { checksum, ..Accepted::default() }, clear_failure: false },
    )
}

/// What a writer of an older generation does: commits to the layout it knows, and again where it was told of another.
async fn commit(store: &dyn StateStore, bits: u8, write: (KeyHash, EntryWrite)) {
    store.commit("s", bits, vec![write.clone()]).await.unwrap();
    let now = store.head("s").await.unwrap().bucket_bits;
    if now != bits {
        store.commit("s", now, vec![write]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_a_late_writer_commits_meanwhile_is_not_lost() {
    late_writer(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn nor_when_the_process_ends_once_the_new_layout_holds() {
    late_writer(true).await;
}

/// Lays out anew under a writer that commits all the time. `dies`: the process ends with the write that makes the new
/// layout hold.
async fn late_writer(dies: bool) {
    let table = dynamodb::table().await;
    let store = Arc::new(dynamodb::state_in(&table).await);
    let first = Head { bucket_bits: 6, ..Head::default() };
    store.put_head("s", &first).await.unwrap();
    store.commit("s", 6, (0..2_000).map(|n| accept(n, 1)).collect()).await.unwrap();
    let late = Arc::new(dynamodb::state_in(&table).await);
    let writer = tokio::spawn(async move {
        for n in 0..300 {
            commit(late.as_ref(), 6, accept(n, 2)).await;
        }
        // One that left as well.
        commit(late.as_ref(), 6, (KeyHash::of(&1_999u32.to_le_bytes()), EntryWrite::Removed)).await;
    });
    let head = store.head("s").await.unwrap();
    let laying = {
        let (store, head) = (Arc::clone(&store), Head { bucket_bits: 9, ..head.clone() });
        tokio::spawn(async move { store.rebucket("s", 6, 9, &head).await.unwrap() })
    };
    if dies {
        while store.head("s").await.unwrap().version == head.version {}
        laying.abort();
        let _ = laying.await;
    } else {
        assert!(laying.await.unwrap());
    }
    writer.await.unwrap();
    let buckets = store.buckets("s", 9, &(0..512).collect::<Vec<_>>()).await.unwrap();
    let entries: Vec<_> = buckets.into_iter().flat_map(|bucket| bucket.entries).collect();
    assert_eq!(entries.len(), 1_999);
    assert_eq!(entries.iter().filter(|(_, entry)| entry.accepted.as_ref().unwrap().checksum == 2).count(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn of_two_that_lay_out_anew_one_wins_and_nothing_is_mixed() {
    let table = dynamodb::table().await;
    let store = dynamodb::state_in(&table).await;
    store.put_head("s", &Head { bucket_bits: 4, ..Head::default() }).await.unwrap();
    store.commit("s", 4, (0..1_000).map(|n| accept(n, 1)).collect()).await.unwrap();
    let head = store.head("s").await.unwrap();
    let tasks = [7, 7].map(|bits| {
        let (table, head) = (table.clone(), Head { bucket_bits: bits, ..head.clone() });
        tokio::spawn(async move { dynamodb::state_in(&table).await.rebucket("s", 4, bits, &head).await.unwrap() })
    });
    let mut won = 0;
    for task in tasks {
        won += u32::from(task.await.unwrap());
    }
    let buckets = store.buckets("s", 7, &(0..128).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((won, buckets.iter().map(|bucket| bucket.entries.len()).sum::<usize>()), (1, 1_000));
    assert_eq!(store.head("s").await.unwrap().version, head.version + 1);
    // A process that still thinks of the first layout commits to the right one of the same size.
    let head = store.head("s").await.unwrap();
    assert!(dynamodb::state_in(&table).await.rebucket("s", 7, 7, &head).await.unwrap());
    store.commit("s", 7, vec![accept(0, 5)]).await.unwrap();
    let bucket = KeyHash::of(&0u32.to_le_bytes()).bucket(7);
    let read = dynamodb::state_in(&table).await.buckets("s", 7, &[bucket]).await.unwrap();
    assert!(read[0].entries.iter().any(|(_, entry)| entry.accepted.as_ref().unwrap().checksum == 5));
}
