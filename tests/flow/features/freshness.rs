//! How fresh the destination is: since the last run after which nothing was still to arrive.

use domain::run::Status;
use serde_json::json;
use support::double::Behaviour;
use support::project::Project;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_records_do_not_make_the_others_old_and_missing_ones_do() {
    let mut project = Project::webhook(20);
    project.sync()["validate"] = json!([{ "field": "n", "min": 0 }]);
    let delivered = async || project.store().await.head("crm").await.unwrap().delivered;
    assert_eq!(delivered().await, None, "nothing ran yet");

    project.double.answer(Behaviour::fail_keys([7, 8], "invalid"));
    let rejected = project.run().await;
    assert_eq!((rejected.status, rejected.tally.rejected), (Status::Partial, 2));
    assert_eq!(delivered().await, Some(rejected.started), "all others arrived");
    let held = project.run().await;
    assert_eq!((held.status, held.counts.held), (Status::Partial, 2));
    assert_eq!(delivered().await, Some(held.started));

    project.warehouse("update customers set n = -1 where id = 20; update customers set name = 'New' where id = 1");
    let invalid = project.run().await;
    assert_eq!((invalid.status, invalid.counts.invalid), (Status::Partial, 1));
    assert_eq!(delivered().await, Some(invalid.started), "what we refuse is told of apart");

    project.warehouse("update customers set name = 'Newer' where id between 1 and 5");
    project.double.answer(Behaviour::status(503));
    let exhausted = project.run().await;
    assert_eq!((exhausted.status, exhausted.tally.exhausted), (Status::Partial, 5));
    project.double.answer(Behaviour::status(401));
    assert_eq!(project.run().await.status, Status::Failed);
    assert_eq!(delivered().await, Some(invalid.started), "what did not arrive is still to come");

    project.double.recover();
    let all = project.run().await;
    assert_eq!((delivered().await, all.tally.accepted()), (Some(all.started), 5));
}
