//! Runs and their batches: who claims one, what it came to, which records it leaves in doubt.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::change::Counts;
use domain::clock::Millis;
use domain::head::{ActiveRun, Head};
use domain::in_doubt::InDoubt;
use domain::job::{Job, Ticket};
use domain::outcome::Effect;
use domain::ports::{BatchRef, Claim, Progress};
use domain::run::{BatchState, OnSuccess, Run, Status, Tally, Trigger};

use super::{Store, at_once};

fn run(sync: &str, id: &str, status: Status) -> Run {
    Run {
        id: id.into(),
        sync: sync.into(),
        sync_version: "v1".into(),
        generation: 4,
        trigger: Trigger::Schedule { tick: "t".into() },
        status,
        started: Millis(1),
        ended: None,
        progress: Millis(2),
        full: true,
        counts: Counts { rows: 9, ..Counts::default() },
        plan_hash: Some("abc".into()),
        batches: None,
        tally: Tally::default(),
        tripped: Vec::new(),
        invalid: Vec::new(),
        fault: None,
        refused: Default::default(),
        alerted: None,
        usage: Default::default(),
        notes: vec![],
        on_success: OnSuccess::default(),
    }
}

pub async fn runs_come_newest_first(store: Store) {
    for id in ["r2", "r1", "r3"] {
        store.put_run(&run("s", id, Status::Running)).await.unwrap();
    }
    store.put_run(&run("t", "r4", Status::Running)).await.unwrap();
    let closed = Run { ended: Some(Millis(9)), batches: Some(3), ..run("s", "r2", Status::Partial) };
    store.put_run(&closed).await.unwrap();
    assert_eq!(store.run("s", "r2").await.unwrap(), Some(closed.clone()));
    assert_eq!(store.run("s", "r4").await.unwrap(), None, "of another sync");
    assert_eq!(store.runs("s", 2).await.unwrap(), [run("s", "r3", Status::Running), closed]);
    assert_eq!(store.runs("s", 99).await.unwrap().len(), 3);
    assert_eq!(store.runs("u", 99).await.unwrap(), []);
    // A process that was taken over does not know it yet.
    store.put_run(&run("s", "r2", Status::Running)).await.unwrap();
    assert_eq!(store.run("s", "r2").await.unwrap().unwrap().status, Status::Partial, "a closed run stays closed");
    store.put_run(&run("s", "r2", Status::Incomplete)).await.unwrap();
    assert_eq!(
        store.run("s", "r2").await.unwrap().unwrap().status,
        Status::Incomplete,
        "what is said of it when it is closed may change"
    );
}

fn batch_ref(run: &str, number: u32) -> BatchRef<'_> {
    BatchRef { sync: "s", run, number }
}

/// The state of a batch of which `sent` records were accepted.
fn batch(sent: u64, done: bool) -> BatchState {
    let mut state = BatchState { attempts: 1, done, ..BatchState::default() };
    state.tally.sent = sent;
    for index in 0..sent {
        state.settle(index as usize);
        state.tally.accept(Effect::Created);
    }
    if !done {
        state.set_unseen(9);
    }
    state.tally.reason("slow", "it took long", || "7".into());
    // A batch that is not done may be a job under way.
    state.job = (!done).then(|| {
        Box::new(Job { ticket: Ticket(format!("750-{sent}")), begun: Millis(3), heard: Millis(4), failures: 1 })
    });
    state
}

pub async fn batches_are_counted_once(store: Store) {
    store.put_run(&run("s", "r1", Status::Running)).await.unwrap();
    assert_eq!(store.last_progress("r1").await.unwrap(), None);
    assert_eq!(store.tally("r1").await.unwrap(), Tally::default());
    let open = Progress { done: 0, total: None };
    assert_eq!(store.settle(batch_ref("r1", 0), &batch(3, false), Some(Millis(10))).await.unwrap(), open);
    assert_eq!(store.settle(batch_ref("r1", 0), &batch(3, false), None).await.unwrap(), open);
    assert_eq!(store.last_progress("r1").await.unwrap(), Some(Millis(10)), "waiting is no progress");
    assert_eq!(store.tally("r1").await.unwrap().sent, 3);
    for now in [20, 30] {
        assert_eq!(
            store.settle(batch_ref("r1", 0), &batch(5, true), Some(Millis(now))).await.unwrap(),
            Progress { done: 1, total: None },
            "twice counts once"
        );
    }
    assert_eq!(
        store.settle(batch_ref("r1", 0), &batch(1, false), Some(Millis(40))).await.unwrap(),
        Progress { done: 1, total: None },
        "a done batch stays done"
    );
    assert_eq!(
        store.claim(batch_ref("r1", 0), 0, b"note", Millis(41), Millis(50)).await.unwrap(),
        Claim::Done(Progress { done: 1, total: None })
    );
    let sealed = store.set_batch_total("r1", 2).await.unwrap();
    assert_eq!(sealed, Progress { done: 1, total: Some(2) });
    assert!(!sealed.is_complete());
    assert!(store.settle(batch_ref("r1", 1), &batch(2, true), Some(Millis(60))).await.unwrap().is_complete());
    let mut sum = batch(5, true).tally;
    sum.add(&batch(2, true).tally);
    assert_eq!(store.tally("r1").await.unwrap(), sum);
    assert_eq!(store.last_progress("r1").await.unwrap(), Some(Millis(60)));
    let again = store.claim(batch_ref("r1", 1), 0, b"note", Millis(61), Millis(70)).await.unwrap();
    assert_eq!(
        again,
        Claim::Done(Progress { done: 2, total: Some(2) }),
        "whoever comes late learns that the run is through"
    );
    assert_eq!(store.set_batch_total("r1", 2).await.unwrap(), Progress { done: 2, total: Some(2) }, "said twice");
    assert_eq!(
        store.set_batch_total("r2", 0).await.unwrap(),
        Progress { done: 0, total: Some(0) },
        "a run without batches"
    );
}

pub async fn a_claim_holds_until_its_time(store: Store) {
    let claim =
        async |now, until| store.claim(batch_ref("r1", 7), 0, b"note", Millis(now), Millis(until)).await.unwrap();
    assert_eq!(claim(0, 100).await, Claim::Granted(BatchState::default()));
    assert_eq!(claim(99, 200).await, Claim::InProgress(Millis(100)));
    assert_eq!(claim(100, 200).await, Claim::Granted(BatchState::default()), "it ran out");
    store.settle(batch_ref("r1", 7), &batch(4, false), Some(Millis(150))).await.unwrap();
    assert_eq!(
        claim(151, 300).await,
        Claim::Granted(batch(4, false)),
        "given up before its time, with what it came to"
    );
    assert_eq!(claim(301, 400).await, Claim::Granted(batch(4, false)), "what it came to outlives a claim");
    assert_eq!(store.tally("r1").await.unwrap(), batch(4, false).tally);
    store.settle(batch_ref("r1", 7), &batch(6, true), Some(Millis(350))).await.unwrap();
    assert_eq!(claim(360, 500).await, Claim::Done(Progress { done: 1, total: None }));
    assert_eq!(
        store.claim(batch_ref("r1", 8), 0, b"note", Millis(360), Millis(500)).await.unwrap(),
        Claim::Granted(BatchState::default()),
        "another batch"
    );
    // A restored state counts generations again: a message of a run that had this one before is of nobody now.
    let active = Some(ActiveRun { run: "r9".into(), since: Millis(0) });
    assert!(store.put_head("s", &Head { generation: 3, active, ..store.head("s").await.unwrap() }).await.unwrap());
    assert_eq!(store.claim(batch_ref("r8", 0), 3, b"note", Millis(0), Millis(9)).await.unwrap(), Claim::Stale(3));
    assert_eq!(
        store.claim(batch_ref("r9", 0), 3, b"note", Millis(0), Millis(9)).await.unwrap(),
        Claim::Granted(BatchState::default())
    );
}

pub async fn of_many_claims_one_is_granted(store: Store) {
    let claims = at_once(8, |_| {
        let store = Arc::clone(&store);
        async move { store.claim(batch_ref("r1", 0), 0, b"note", Millis(0), Millis(9)).await.unwrap() }
    })
    .await;
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Granted(_))).count(), 1, "{claims:?}");
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::InProgress(Millis(9))).count(), 7, "{claims:?}");
}

pub async fn doubts_appear_and_are_forgotten(store: Store) {
    for (sync, id) in [("s", "r1"), ("s", "r2"), ("t", "r3")] {
        store.put_run(&run(sync, id, Status::Running)).await.unwrap();
    }
    let in_doubt =
        async |sync| store.in_doubt(sync).await.unwrap().notes.into_iter().flatten().collect::<BTreeSet<u8>>();
    let claim_of = async |sync, run, number, note: &'static [u8]| {
        store.claim(BatchRef { sync, run, number }, 0, note, Millis(0), Millis(9)).await.unwrap();
    };
    let claim = async |run, number, note| claim_of("s", run, number, note).await;
    let forget = async |run: &str, now| store.clear_in_doubt("s", &[run.to_owned()], Millis(now)).await.unwrap();
    assert_eq!(in_doubt("s").await, BTreeSet::new());
    claim("r1", 0, &[1, 255]).await;
    claim("r1", 1, &[3]).await;
    claim("r2", 0, &[4]).await;
    claim_of("t", "r3", 0, &[5]).await;
    store.settle(batch_ref("r1", 0), &batch(1, false), Some(Millis(5))).await.unwrap();
    let of_job = InDoubt::of_job(batch(1, false).job.as_deref().unwrap());
    let notes = BTreeSet::from_iter(store.in_doubt("s").await.unwrap().notes);
    assert_eq!(
        notes,
        BTreeSet::from([vec![1, 255], of_job, vec![3], vec![4]]),
        "settled is not done, and its job may be at work"
    );
    store.settle(batch_ref("r1", 0), &batch(2, true), Some(Millis(6))).await.unwrap();
    assert_eq!(in_doubt("s").await, BTreeSet::from([3, 4]));
    assert_eq!(store.in_doubt("s").await.unwrap().runs, ["r1", "r2"]);
    forget("r3", i64::MAX).await;
    assert_eq!(in_doubt("s").await, BTreeSet::from([3, 4]), "only of runs that are named");
    claim("r1", 5, &[7, 8]).await;
    store.settle(batch_ref("r1", 5), &BatchState { doubt: vec![8], ..batch(2, true) }, Some(Millis(6))).await.unwrap();
    assert_eq!(in_doubt("s").await, BTreeSet::from([3, 4, 8]), "done, with a record whose fate is unknown");
    forget("r1", 8).await;
    assert_eq!(in_doubt("s").await, BTreeSet::from([3, 4, 8]), "a writer may still be at work on one of them");
    forget("r1", 9).await;
    assert_eq!(in_doubt("s").await, BTreeSet::from([4]));
    assert_eq!(store.tally("r1").await.unwrap().sent, 4, "a run that goes on keeps its numbers");
    store.put_run(&run("s", "r1", Status::Complete)).await.unwrap();
    store.put_run(&run("s", "r4", Status::Running)).await.unwrap();
    forget("r2", i64::MAX).await;
    assert_eq!(in_doubt("s").await, BTreeSet::new());
    assert_eq!(in_doubt("t").await, BTreeSet::from([5]), "of another sync, though of a run before");
}
