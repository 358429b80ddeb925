//! I6: one bad record never blocks its batch, one bad batch never its run, one slow destination never another.

use std::time::Duration;

use domain::run::Status;
use local::drive;
use serde_json::json;
use support::double::{Behaviour, Double};
use support::project::{Project, assert_balances, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_batch_does_not_block_its_run() {
    let mut project = Project::webhook(100);
    project.connections["there"]["concurrency"] = json!(1);
    // The first batch fails once and again; the others go through between its attempts.
    project.double.answer_next(1, Behaviour::status(500));
    project.double.answer_every(11, Behaviour::status(500));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 100));
    assert_balances(&run);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_destination_does_not_block_another_sync() {
    let mut project = Project::webhook(50);
    let slow = Double::start();
    slow.answer(Behaviour::Hang(Duration::from_secs(600)));
    project.connections["slow"] = project.connections["there"].clone();
    project.connections["slow"]["url"] = json!(slow.url());
    project.connections["slow"]["timeout"] = json!("10m");
    let mut other = project.syncs[0].clone();
    other["name"] = json!("slow");
    other["destination"]["connection"] = json!("slow");
    project.syncs.push(other);
    let store = project.store().await;
    let (first, second) = (
        project.engine_on("slow", store.clone()).await.unwrap(),
        project.engine_on("crm", store.clone()).await.unwrap(),
    );
    let hanging = tokio::spawn(async move { drive::run(&first, &request()).await });
    while slow.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let run = drive::run(&second, &request()).await.unwrap();
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 50));
    assert!(!hanging.is_finished(), "the other is still waiting");
    project.assert_arrived();
    // The one that hangs is given up; later its destination answers again.
    hanging.abort();
    let _ = hanging.await;
    slow.recover();
    let run = drive::run(&project.engine_on("slow", store).await.unwrap(), &request()).await.unwrap();
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 50));
    assert_eq!(slow.records(), project.model());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_destination_does_not_block_another_sync() {
    let mut project = Project::webhook(50);
    let failing = Double::start();
    failing.answer(Behaviour::status(401));
    project.connections["failing"] = project.connections["there"].clone();
    project.connections["failing"]["url"] = json!(failing.url());
    let mut other = project.syncs[0].clone();
    other["name"] = json!("failing");
    other["destination"]["connection"] = json!("failing");
    project.syncs.push(other);
    let store = project.store().await;
    let (first, second) =
        (project.engine_on("failing", store.clone()).await.unwrap(), project.engine_on("crm", store).await.unwrap());
    let (request, again) = (request(), request());
    let both = async {
        tokio::join!(
            tokio::spawn(async move { drive::run(&first, &request).await }),
            tokio::spawn(async move { drive::run(&second, &again).await })
        )
    };
    let (bad, good) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("both end");
    assert_eq!(bad.unwrap().unwrap().status, Status::Failed);
    assert_eq!(good.unwrap().unwrap().status, Status::Complete);
    project.assert_arrived();
}
