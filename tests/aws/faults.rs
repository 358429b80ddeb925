//! What AWS does to us: nothing is lost or done twice, and the operator is told what to do.

use std::collections::BTreeMap;

use aws::Clients;
use aws::state::DynamoState;
use domain::bucket::{Accepted, DeliveryFailure, EntryWrite, FailureKind};
use domain::clock::{Millis, Span};
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::fault::{Code, Fault};
use domain::head::{ActiveRun, Head};
use domain::key::KeyHash;
use domain::manifest::ManifestPage;
use domain::mode::Op;
use domain::ports::{BatchRef, BucketStore, Claim, DeadLetterStore, HeadStore, LimiterStore, Progress, RunStore};
use domain::run::BatchState;
use support::dynamodb;
use support::proxy::{Harm, Proxy};

const BATCH: BatchRef<'_> = BatchRef { sync: "s", run: "r1", number: 0 };
const THROTTLE: Harm = Harm::Refuse(400, "ProvisionedThroughputExceededException", "as told");

/// A store behind a proxy, a store beside it, and the table.
async fn stores() -> (Proxy, DynamoState, DynamoState, String) {
    let table = dynamodb::table().await;
    let proxy = Proxy::start(dynamodb::endpoint()).await;
    let store = DynamoState::new(&Clients::emulator(&proxy.url).await, &table);
    (proxy, store, dynamodb::state_in(&table).await, table)
}

fn hash(n: u32) -> KeyHash {
    KeyHash::of(&n.to_le_bytes())
}

fn accept(n: u32) -> (KeyHash, EntryWrite) {
    (
        hash(n),
        EntryWrite::Accepted { accepted: Accepted { checksum: n.into(), ..Accepted::default() }, clear_failure: false },
    )
}

async fn checksums(store: &DynamoState, bits: u8) -> BTreeMap<KeyHash, u64> {
    let buckets = store.buckets("s", bits, &(0..1 << bits).collect::<Vec<_>>()).await.unwrap();
    buckets
        .into_iter()
        .flat_map(|bucket| bucket.entries)
        .map(|(hash, entry)| (hash, entry.accepted.unwrap().checksum))
        .collect()
}

fn expected(count: u32) -> BTreeMap<KeyHash, u64> {
    (0..count).map(|n| (hash(n), n.into())).collect()
}

fn done() -> BatchState {
    let mut state = BatchState { attempts: 1, done: true, ..BatchState::default() };
    (state.tally.sent, state.tally.created) = (1, 1);
    state
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_throttled_table_is_asked_again() {
    let (proxy, store, beside, _) = stores().await;
    for harm in [
        THROTTLE,
        Harm::Refuse(400, "ThrottlingException", "as told"),
        Harm::Refuse(500, "InternalServerError", "as told"),
        Harm::Refuse(503, "ServiceUnavailable", "as told"),
    ] {
        proxy.plan("UpdateItem", harm, 2);
        proxy.plan("GetItem", harm, 2);
        store.commit("s", 1, (0..40).map(accept).collect()).await.unwrap();
        proxy.plan("BatchGetItem", harm, 2);
        assert_eq!(checksums(&store, 1).await, expected(40));
        assert!(proxy.all_done());
    }
    assert_eq!(checksums(&beside, 1).await, expected(40));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn keys_and_items_that_were_left_out_are_asked_for_again() {
    let (proxy, store, beside, _) = stores().await;
    store.commit("s", 8, (0..600).map(accept).collect()).await.unwrap();
    for harm in [Harm::Half, Harm::Nothing, Harm::Half] {
        proxy.plan("BatchGetItem", harm, 2);
    }
    assert_eq!(checksums(&store, 8).await, expected(600));
    assert!(proxy.all_done());
    // Laying out anew writes and removes in batches.
    for harm in [Harm::Half, Harm::Nothing, Harm::Half] {
        proxy.plan("BatchWriteItem", harm, 3);
    }
    assert!(store.rebucket("s", 8, 6, &Head { bucket_bits: 6, ..Head::default() }).await.unwrap());
    assert!(proxy.all_done());
    assert_eq!(checksums(&beside, 6).await, expected(600));
    assert_eq!(checksums(&beside, 8).await, BTreeMap::new(), "the old layout is gone");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_write_whose_answer_is_lost_counts_once() {
    let (proxy, store, beside, _) = stores().await;
    let lose = || proxy.plan("UpdateItem", Harm::LoseAnswer, 1);
    lose();
    assert!(store.put_head("s", &Head::default()).await.unwrap(), "our own write is not somebody else's");
    assert!(!store.put_head("s", &Head::default()).await.unwrap(), "but a second one is a second one");
    lose();
    assert!(store.put_page("s", 1, &ManifestPage::empty(0, 1), true).await.unwrap());
    assert!(!store.put_page("s", 1, &ManifestPage::empty(0, 1), true).await.unwrap());
    lose();
    assert_eq!(
        store.claim(BATCH, 0, b"note", Millis(0), Millis(9)).await.unwrap(),
        Claim::Granted(BatchState::default())
    );
    assert_eq!(beside.claim(BATCH, 0, b"note", Millis(0), Millis(9)).await.unwrap(), Claim::InProgress(Millis(9)));
    lose();
    assert_eq!(store.settle(BATCH, &done(), Some(Millis(5))).await.unwrap(), Progress { done: 1, total: None });
    // How many there are, and that the one page of them is full.
    lose();
    lose();
    assert!(store.set_batch_total("r1", 1).await.unwrap().is_complete());
    assert_eq!(store.settle(BATCH, &done(), Some(Millis(6))).await.unwrap(), Progress { done: 1, total: Some(1) });
    assert_eq!(store.tally("r1").await.unwrap(), done().tally);
    lose();
    lose();
    store.commit("s", 0, vec![accept(0), accept(1)]).await.unwrap();
    assert!(proxy.all_done());
    assert_eq!(checksums(&beside, 0).await, expected(2));
    let limit = RateLimit { requests: 10, per: Span::seconds(1) };
    lose();
    let first = store.lease("crm", limit, 1_000_000, 2).await.unwrap();
    let second = beside.lease("crm", limit, 1_000_000, 1).await.unwrap();
    assert!(second.first_micros >= first.start(1) + 100_000, "no slot is given out twice: {first:?} {second:?}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_new_layout_whose_answer_is_lost_shows_whole() {
    let (proxy, store, beside, _) = stores().await;
    store.commit("s", 0, (0..90).map(accept).collect()).await.unwrap();
    // The first update notes what there is to remove, the second names the new layout.
    proxy.plan("UpdateItem", Harm::LoseAnswer, 2);
    assert!(store.rebucket("s", 0, 2, &Head { bucket_bits: 2, ..Head::default() }).await.unwrap());
    assert_eq!((checksums(&beside, 2).await, beside.head("s").await.unwrap().version), (expected(90), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn ten_writers_keep_one_rate() {
    let table = dynamodb::table().await;
    let limit = RateLimit { requests: 50, per: Span::seconds(1) };
    let writers: Vec<_> = (0..10u32)
        .map(|writer| {
            let table = table.clone();
            tokio::spawn(async move {
                let store = dynamodb::state_in(&table).await;
                let mut starts = Vec::new();
                for round in 0..10 {
                    let lease = store.lease("crm", limit, round * 90_000, 1 + writer % 3).await.unwrap();
                    starts.extend((0..lease.slots).map(|slot| lease.start(slot)));
                    if round == 5 {
                        store.pause("crm", Millis(1_000)).await.unwrap();
                    }
                }
                starts
            })
        })
        .collect();
    let mut starts = Vec::new();
    for writer in writers {
        starts.extend(writer.await.unwrap());
    }
    starts.sort_unstable();
    assert!(starts.windows(51).all(|window| window[50] - window[0] >= 1_000_000));
}

fn said(fault: &Fault, parts: &[&str]) {
    assert_eq!(fault.code, Code::StateUnusable);
    let text = fault.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_table_that_stays_throttled_is_named_and_nothing_half_done_shows() {
    let (proxy, store, beside, table) = stores().await;
    let store = store.with_attempts(2);
    proxy.plan("UpdateItem", THROTTLE, 2);
    let fault = store.commit("s", 0, vec![accept(0)]).await.unwrap_err();
    said(&fault, &[&table, "UpdateItem", "ProvisionedThroughputExceededException", "throttled", "Nothing is lost"]);
    proxy.plan("BatchGetItem", Harm::Nothing, 2);
    said(&store.buckets("s", 0, &[0]).await.unwrap_err(), &[&table, "BatchGetItem", "UnprocessedKeys", "throttled"]);
    // Laying out anew fails while the new layout is written: everything is as it was, and the next attempt is not
    // misled.
    store.commit("s", 1, (0..50).map(accept).collect()).await.unwrap();
    proxy.plan("BatchWriteItem", Harm::Half, 1);
    proxy.plan("BatchWriteItem", Harm::Nothing, 3);
    let bits = |bucket_bits| Head { bucket_bits, ..Head::default() };
    said(&store.rebucket("s", 1, 4, &bits(4)).await.unwrap_err(), &[&table, "BatchWriteItem", "UnprocessedItems"]);
    assert_eq!((checksums(&beside, 1).await, checksums(&beside, 4).await), (expected(50), BTreeMap::new()));
    store.commit("s", 1, vec![(hash(3), EntryWrite::Removed)]).await.unwrap();
    assert!(store.rebucket("s", 1, 4, &bits(4)).await.unwrap());
    let mut left = expected(50);
    left.remove(&hash(3));
    assert_eq!(checksums(&beside, 4).await, left);
    assert!(proxy.all_done());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn whoever_runs_it_is_told_what_is_wrong() {
    let nowhere = dynamodb::state_in("no-such-table").await;
    let fault = nowhere.head("s").await.unwrap_err();
    said(&fault, &["no-such-table", "ResourceNotFoundException", "deploy the stack or set SLUICEGATE_TABLE"]);
    let (proxy, store, _, table) = stores().await;
    proxy.plan("Query", Harm::Refuse(400, "AccessDeniedException", "as told"), 1);
    said(&store.runs("s", 1).await.unwrap_err(), &[&table, "AccessDeniedException", "allow `dynamodb:Query`"]);
    proxy.plan("GetItem", Harm::Refuse(400, "ExpiredTokenException", "as told"), 1);
    said(&store.head("s").await.unwrap_err(), &[&table, "ExpiredTokenException", "renew the AWS credentials"]);
    let gone = DynamoState::new(&Clients::emulator("http://127.0.0.1:9").await, &table).with_attempts(2);
    said(&gone.head("s").await.unwrap_err(), &[&table, "no connection", "run again"]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_full_bucket_is_a_fault_that_shows_no_record() {
    let (_, store, _, table) = stores().await;
    let large = |n| {
        let identifier = Some(b"planted-identifier".repeat(1200).into());
        (
            hash(n),
            EntryWrite::Accepted {
                accepted: Accepted { checksum: 1, identifier, ..Accepted::default() },
                clear_failure: false,
            },
        )
    };
    store.commit("s", 0, (0..18).map(large).collect()).await.unwrap();
    let fault = store.commit("s", 0, (18..30).map(large).collect()).await.unwrap_err();
    said(&fault, &[&table, "400 KB", "shorter identifier"]);
    assert!(!format!("{fault:?}").contains("planted"), "{fault:?}");
    assert_eq!(checksums(&store, 0).await.len(), 18, "what was accepted before is there");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn many_writes_to_one_bucket_fit_into_expressions_of_their_size() {
    let (proxy, store, beside, _) = stores().await;
    let failure = |n: u32| {
        (hash(n), EntryWrite::Failure(DeliveryFailure::after(None, FailureKind::Rejected, n.into(), "bad", Millis(0))))
    };
    store.commit("s", 0, (0..700).map(failure).collect()).await.unwrap();
    let accepted = |n: u32| {
        (
            hash(n),
            EntryWrite::Accepted {
                accepted: Accepted { checksum: n.into(), ..Accepted::default() },
                clear_failure: true,
            },
        )
    };
    store.commit("s", 0, (0..700).map(accepted).collect()).await.unwrap();
    assert_eq!(checksums(&beside, 0).await, expected(700));
    let updates = proxy.requests("UpdateItem");
    assert_eq!(updates, 700usize.div_ceil(200) + 1400usize.div_ceil(200));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_process_that_ends_between_two_writes_of_a_settlement_hangs_nothing() {
    let (proxy, store, beside, _) = stores().await;
    let store = store.with_attempts(1);
    store.set_batch_total("r1", 1).await.unwrap();
    assert_eq!(
        store.claim(BATCH, 0, b"note", Millis(0), Millis(9)).await.unwrap(),
        Claim::Granted(BatchState::default())
    );
    // The batch is settled, and the process ends before it notes that this was the last one.
    proxy.plan("GetItem", Harm::Refuse(500, "InternalServerError", "as told"), 1);
    store.settle(BATCH, &done(), Some(Millis(5))).await.unwrap_err();
    assert_eq!(
        beside.claim(BATCH, 0, b"note", Millis(6), Millis(9)).await.unwrap(),
        Claim::Done(Progress { done: 1, total: Some(1) })
    );
    assert_eq!(beside.set_batch_total("r1", 1).await.unwrap(), Progress { done: 1, total: Some(1) });
    assert_eq!(beside.in_doubt("s").await.unwrap().notes, Vec::<Vec<u8>>::new());
    assert_eq!(beside.tally("r1").await.unwrap(), done().tally);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_claim_that_meets_a_newer_run_leaves_no_doubt() {
    let (_, store, beside, _) = stores().await;
    let active = Some(ActiveRun { run: BATCH.run.to_owned(), since: Millis(0) });
    store.put_head("s", &Head { generation: 1, active, ..Head::default() }).await.unwrap();
    let of_another_run = BatchRef { run: "r0", ..BATCH };
    assert_eq!(
        store.claim(of_another_run, 1, b"old", Millis(0), Millis(9)).await.unwrap(),
        Claim::Stale(1),
        "a generation that came up again"
    );
    assert_eq!(
        store.claim(BATCH, 1, b"one", Millis(0), Millis(9)).await.unwrap(),
        Claim::Granted(BatchState::default())
    );
    beside.put_head("s", &Head { generation: 2, version: 1, ..Head::default() }).await.unwrap();
    assert_eq!(
        beside.in_doubt("s").await.unwrap().notes,
        [b"one".to_vec()],
        "whoever takes over sees every claim that was granted"
    );
    let other = BatchRef { number: 1, ..BATCH };
    assert_eq!(store.claim(other, 1, b"two", Millis(0), Millis(9)).await.unwrap(), Claim::Stale(2));
    assert_eq!(store.claim(BATCH, 1, b"three", Millis(10), Millis(19)).await.unwrap(), Claim::Stale(2));
    assert_eq!(beside.in_doubt("s").await.unwrap().notes, [b"one".to_vec()]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn large_notes_and_letters_are_kept() {
    let (_, store, beside, _) = stores().await;
    let note: Vec<u8> = (0..700_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    assert_eq!(
        store.claim(BATCH, 0, &note, Millis(0), Millis(9)).await.unwrap(),
        Claim::Granted(BatchState::default())
    );
    assert_eq!(beside.in_doubt("s").await.unwrap().notes, std::slice::from_ref(&note));
    store.settle(BATCH, &done(), Some(Millis(5))).await.unwrap();
    assert_eq!(beside.in_doubt("s").await.unwrap().notes, Vec::<Vec<u8>>::new());
    let letter = |size: usize| DeadLetter {
        sync: "s".into(),
        hash: hash(size as u32),
        key: "7".into(),
        op: Op::Upsert,
        kind: FailureKind::Rejected,
        code: "bad".into(),
        detail: "no".into(),
        at: Millis(size as i64),
        run: "r1".into(),
        attempts: 1,
        record: serde_json::json!({ "text": "x".repeat(size) }),
    };
    store.put_dead_letters(vec![letter(300_000), letter(900_000)]).await.unwrap();
    let letters = beside.dead_letters("s", 9).await.unwrap();
    assert_eq!((letters.len(), &letters[1]), (2, &letter(300_000)));
    assert!(letters[0].record.is_null() && letters[0].detail.contains("too large"), "{}", letters[0].detail);
}
