//! I4: one run at a time per sync, fenced by a generation number. A message of an older generation is dropped.

use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, Message};
use domain::fault::Code;
use domain::head::{ActiveRun, Head};
use domain::run::Status;
use engine::Settings;
use engine::deliver::{MessageResult, handle};
use local::drive;
use support::project::{Project, request};
use support::watched::{Log, WatchedQueue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_an_older_generation_is_dropped() {
    let project = Project::webhook(20);
    let mut engine = project.engine().await.unwrap();
    let queue = WatchedQueue::new(Arc::clone(&engine.queue), Log::default());
    engine.context.queue = queue.clone();
    drive::run(&engine, &request()).await.unwrap();
    let old = queue.messages();
    assert_eq!(old.len(), 2);
    project.warehouse("update customers set name = 'New'");
    project.approve_whatever().await;
    project.assert_arrived();
    let (there, count) = (project.there(), project.double.count());
    for message in old {
        // As redelivered, and as one that nobody ever claimed.
        let unclaimed =
            Message { header: BatchHeader { number: 99, ..message.header.clone() }, body: message.body.clone() };
        for message in [&message, &unclaimed] {
            assert_eq!(handle(&engine.context, message).await.unwrap(), MessageResult::Stale);
        }
    }
    assert_eq!((project.there(), project.double.count()), (there, count), "nothing was sent");
    assert_eq!(project.run().await.tally.requests, 0, "and the state did not move");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_delivered_twice_is_done_once() {
    let project = Project::webhook(10);
    let mut engine = project.engine().await.unwrap();
    let queue = WatchedQueue::new(Arc::clone(&engine.queue), Log::default());
    engine.context.queue = queue.clone();
    drive::run(&engine, &request()).await.unwrap();
    // Of this very generation, as long as nobody took the sync since.
    let generation = engine.store.head("crm").await.unwrap().generation;
    let message = &queue.messages()[0];
    assert_eq!(message.header.generation, generation);
    assert_eq!(handle(&engine.context, message).await.unwrap(), MessageResult::Stale);
    assert_eq!(project.double.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_run_keeps_the_sync_and_a_stalled_one_loses_it() {
    let project = Project::webhook(10);
    let mut engine = project.engine().await.unwrap();
    engine.context.settings = Settings { stall: Duration::from_secs(600), ..engine.settings.clone() };
    let now = engine.clock.now();
    let active =
        Head { generation: 5, active: Some(ActiveRun { run: "another".into(), since: now }), ..Head::default() };
    assert!(engine.store.put_head("crm", &active).await.unwrap());
    let fault = drive::run(&engine, &request()).await.unwrap_err();
    assert!(fault.code == Code::RunActive && fault.what.contains("another"), "{fault}");
    assert_eq!(project.double.count(), 0);
    project.later(Duration::from_secs(601));
    let run = drive::run(&engine, &request()).await.unwrap();
    assert_eq!((run.status, run.generation), (Status::Complete, 6));
    project.assert_arrived();
}
