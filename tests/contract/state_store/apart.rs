//! Dead letters and the limiter: what a store keeps apart from runs.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use domain::bucket::FailureKind;
use domain::clock::Millis;
use domain::dead_letter::DeadLetter;
use domain::mode::Op;

use super::{RATE, Store, at_once, hash};

pub(super) async fn dead_letters_are_replaced_listed_and_removed(store: Store) {
    let letter = |sync: &str, n, at| DeadLetter {
        sync: sync.into(),
        hash: hash(n),
        key: n.to_string(),
        op: Op::Upsert,
        kind: FailureKind::Exhausted,
        code: "timeout".into(),
        detail: "it did not answer".into(),
        at: Millis(at),
        run: "r1".into(),
        attempts: 5,
        record: serde_json::json!({ "email": "a@example.com", "score": 1.5 }),
    };
    store
        .put_dead_letters(vec![letter("s", 1, 10), letter("s", 2, 20), letter("s", 3, 15), letter("t", 1, 5)])
        .await
        .unwrap();
    store.put_dead_letters(vec![letter("s", 1, 30)]).await.unwrap();
    assert_eq!(store.dead_letters("s", 9).await.unwrap(), [letter("s", 1, 30), letter("s", 2, 20), letter("s", 3, 15)]);
    assert_eq!(store.dead_letters("s", 1).await.unwrap(), [letter("s", 1, 30)]);
    store.remove_dead_letters("s", &[hash(1), hash(3), hash(99)]).await.unwrap();
    assert_eq!(store.dead_letters("s", 9).await.unwrap(), [letter("s", 2, 20)]);
    assert_eq!(store.dead_letters("t", 9).await.unwrap(), [letter("t", 1, 5)]);
}

pub(super) async fn leases_never_exceed_the_rate(store: Store) {
    let mut starts = at_once(4, |task| {
        let store = Arc::clone(&store);
        async move {
            let mut starts = Vec::new();
            for round in 0..15 {
                let lease = store.lease("crm", RATE, round * 170_000, 1 + task).await.unwrap();
                starts.extend((0..lease.slots).map(|i| lease.start(i)));
            }
            starts
        }
    })
    .await
    .concat();
    starts.sort_unstable();
    assert_eq!(starts.len(), 15 * (1 + 2 + 3 + 4));
    for window in starts.windows(RATE.requests as usize + 1) {
        assert!(window[RATE.requests as usize] - window[0] >= 1_000_000, "{window:?}");
    }
}

pub(super) async fn a_pause_moves_every_lease(store: Store) {
    store.pause("crm", Millis(5_000)).await.unwrap();
    store.pause("crm", Millis(4_000)).await.unwrap();
    assert_eq!(
        store.lease("crm", RATE, 1_000_000, 2).await.unwrap().first_micros,
        5_000_000,
        "a shorter pause does not end a longer one"
    );
    assert_eq!(store.lease("crm", RATE, 1_000_000, 1).await.unwrap().first_micros, 5_200_000);
    assert_eq!(
        store.lease("other", RATE, 1_000_000, 1).await.unwrap().first_micros,
        1_000_000,
        "of another connection"
    );
    assert_eq!(store.limiter("crm").await.unwrap().next_slot_micros, 5_300_000);
    store.lift("crm").await.unwrap();
    assert_eq!(store.limiter("crm").await.unwrap().next_slot_micros, 0);
    assert_eq!(
        store.lease("crm", RATE, 1_000_000, 1).await.unwrap().first_micros,
        1_000_000,
        "a pause that was lifted is over"
    );
}
