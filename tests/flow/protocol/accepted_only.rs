//! I1: a checksum moves only after the destination accepted that record. What failed is planned again, from the
//! current row.

use domain::bucket::FailureKind;
use domain::run::Status;
use support::double::Behaviour;
use support::project::Project;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_record_is_planned_again_from_the_current_row() {
    let project = Project::webhook(20);
    project.double.answer(Behaviour::fail_keys([7], "invalid"));
    project.run().await;
    let store = project.store().await;
    let bits = store.head("crm").await.unwrap().bucket_bits;
    let buckets = store.buckets("crm", bits, &[0]).await.unwrap();
    let entries: Vec<_> = buckets.iter().flat_map(|b| &b.entries).map(|(_, e)| e).collect();
    assert_eq!((bits, entries.len()), (0, 20));
    let refused: Vec<_> = entries.iter().filter(|e| e.accepted.is_none()).collect();
    assert_eq!(refused.len(), 1, "exactly the refused record has no accepted checksum");
    assert_eq!(refused[0].failure.as_ref().map(|t| t.kind), Some(FailureKind::Rejected));
    project.double.forget();
    // Changed twice since: what is sent is what the row is now.
    project.warehouse("update customers set name = 'First' where id = 7");
    project.warehouse("update customers set name = 'Second' where id = 7");
    project.double.recover();
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added, run.tally.sent), (Status::Complete, 1, 1));
    let sent = project.double.deliveries();
    assert_eq!((sent.len(), sent[0].fields["name"].as_str()), (1, Some("Second")));
    project.assert_arrived();
}

/// A version that the destination refused does not replace the one it accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_change_and_the_way_back_need_nothing() {
    let project = Project::webhook(20);
    project.run().await;
    project.double.answer(Behaviour::fail_keys([7], "invalid"));
    project.warehouse("update customers set name = 'Refused' where id = 7");
    assert_eq!(project.run().await.tally.rejected, 1);
    project.double.recover();
    project.double.forget();
    project.warehouse("update customers set name = 'Customer 7' where id = 7");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.unchanged, run.tally.sent), (Status::Complete, 20, 0));
    project.assert_arrived();
    assert!(project.store().await.dead_letters("crm", 9).await.unwrap().is_empty(), "its trouble is over");
}
