//! I5: accepted + skipped + rejected + exhausted = sent, whatever the destination answers; a record that the answer
//! does not mention is never accepted.

use std::sync::Arc;

use domain::run::Status;
use serde_json::{Value, json};
use support::double::Behaviour;
use support::double::behaviour::ResultsFn;
use support::project::{Project, assert_balances};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_has_exactly_one_outcome() {
    let project = Project::webhook(95);
    // By the last digit of the key: accepted, rejected, to be retried, without a result, without a status.
    let mixed: ResultsFn = Arc::new(|records| {
        let answer = |r: &support::double::Delivered| match r.key.as_bytes()[r.key.len() - 1] {
            b'1' => json!({ "id": r.id, "status": "failed", "error": { "code": "too_odd", "message": "one" } }),
            b'2' => json!({ "id": r.id, "status": "retry" }),
            b'3' => json!({ "id": "of-nobody", "status": "ok" }),
            b'4' => json!({ "id": r.id }),
            _ => json!({ "id": r.id, "status": "ok" }),
        };
        records.iter().map(answer).collect::<Vec<Value>>()
    });
    project.double.answer(Behaviour::ResultsOf(mixed));
    let run = project.run().await;
    let of = |digit: u32| (1..=95u32).filter(|id| id % 10 == digit).count() as u64;
    assert_eq!(run.status, Status::Partial);
    assert_eq!(
        (run.tally.sent, run.tally.rejected, run.tally.exhausted),
        (95, of(1), of(2) + of(3) + of(4)),
        "{:?}",
        run.tally
    );
    assert_balances(&run);
    assert_eq!(run.tally.reasons["too_odd"].count, of(1));
    let reasons: u64 = run.tally.reasons.values().map(|r| r.count).sum();
    assert_eq!(reasons, run.tally.rejected + run.tally.exhausted, "every record that did not arrive has a reason");
    // Nothing unmentioned has an accepted checksum.
    let store = project.store().await;
    let bits = store.head("crm").await.unwrap().bucket_bits;
    let all: Vec<u32> = (0..1 << bits).collect();
    let accepted = store
        .buckets("crm", bits, &all)
        .await
        .unwrap()
        .iter()
        .flat_map(|b| &b.entries)
        .filter(|(_, e)| e.accepted.is_some())
        .count();
    assert_eq!(accepted as u64, run.tally.accepted());
    project.double.recover();
    project.sluice(&["dead-letters", "retry", "crm"]).said(0, &["will be sent again"]);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.to_send()), (Status::Complete, of(1) + of(2) + of(3) + of(4)));
    assert_balances(&run);
    project.assert_arrived();
}
