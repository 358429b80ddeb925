//! Buckets grow with the sync, and the rollout with its share of keys.

use domain::run::Status;
use serde_json::json;
use support::project::{Project, assert_balances};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_thousand_records_to_a_hundred_thousand() {
    let project = Project::table(1000);
    project.run().await;
    let bits = project.store().await.head("crm").await.unwrap().bucket_bits;
    project.run().await;
    project.add_rows(1001, 100_000);
    project.warehouse("update customers set name = 'Changed' where id in (1, 500)");
    let run = project.run().await;
    assert_eq!(
        (run.status, run.counts.added, run.counts.changed, run.counts.unchanged),
        (Status::Complete, 99_000, 2, 998)
    );
    assert_balances(&run);
    let more = project.store().await.head("crm").await.unwrap().bucket_bits;
    assert!(bits == 4 && more == 11, "{bits} → {more}");
    project.assert_arrived();
    let run = project.run().await;
    assert_eq!((run.counts.unchanged, run.tally.requests), (100_000, 0), "every entry moved");
    project.warehouse("update customers set name = 'Again' where id in (1, 90000)");
    assert_eq!(project.run().await.counts.changed, 2);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_grows_and_lowering_it_deletes_nothing() {
    let mut project = Project::webhook(400);
    project.sync()["mode"] = json!("mirror");
    let mut before = std::collections::BTreeMap::new();
    for percent in [10, 50, 100] {
        project.sync()["rollout"] = json!({ "percent": percent });
        let run = project.run().await;
        let there = project.there();
        assert_eq!((run.status, run.counts.removed, run.counts.changed), (Status::Complete, 0, 0));
        assert_eq!(
            (run.counts.added, run.counts.outside_rollout),
            ((there.len() - before.len()) as u64, 400 - there.len() as u64)
        );
        assert!(before.keys().all(|k| there.contains_key(k)), "who takes part keeps taking part");
        // A share of hashes, with room for chance.
        assert!((there.len() as i64 - 4 * percent).abs() < 60, "{percent} %: {}", there.len());
        before = there;
    }
    project.assert_arrived();
    project.double.forget();
    project.sync()["rollout"] = json!({ "percent": 10 });
    project.warehouse("update customers set name = 'x' where id <= 4");
    for _ in 0..2 {
        let run = project.run().await;
        assert_eq!((run.status, run.counts.removed), (Status::Complete, 0));
        assert!(run.counts.outside_rollout > 300);
    }
    assert!(project.double.deliveries().iter().all(|d| d.operation != "delete") && project.there().len() == 400);
    project.sync()["rollout"] = json!({ "percent": 100 });
    assert_eq!(project.run().await.status, Status::Complete);
    project.assert_arrived();
}
