//! I3: a bucket's digest is cleared before the first message of a run is sent, and set again only by a later run that
//! saw state and model agree.

use std::sync::Arc;

use domain::run::{Run, Status};
use local::drive;
use support::project::{Project, request};
use support::watched::{Event, Log, WatchedQueue, WatchedStore};

/// Runs it, and tells what was asked of state and queue, in order.
async fn watched(project: &Project) -> (Run, Vec<Event>) {
    let log = Log::default();
    let store = WatchedStore::new(project.store().await, log.clone());
    let mut engine = project.engine_on("crm", store).await.unwrap();
    engine.context.queue = WatchedQueue::new(Arc::clone(&engine.queue), log.clone());
    let run = drive::run(&engine, &request()).await.unwrap();
    (run, log.events())
}

fn pages(events: &[Event]) -> Vec<(usize, bool)> {
    events
        .iter()
        .filter_map(|e| if let Event::Page { noted, durable } = e { Some((*noted, *durable)) } else { None })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_are_cleared_before_sending_and_noted_by_later_runs() {
    // 1,000 records lie in 16 buckets.
    let project = Project::webhook(1000);
    let (run, events) = watched(&project).await;
    assert_eq!(run.status, Status::Complete);
    assert!(
        pages(&events).iter().all(|(noted, _)| *noted == 0),
        "the run that delivers vouches for nothing: {:?}",
        pages(&events)
    );

    let (run, events) = watched(&project).await;
    assert_eq!(
        (run.counts.unchanged, pages(&events)),
        (1000, vec![(16, false)]),
        "the run that finds nothing to do notes the digests"
    );

    project.warehouse("update customers set name = 'Ada' where id = 7");
    let (run, events) = watched(&project).await;
    assert_eq!((run.status, run.counts.changed), (Status::Complete, 1));
    assert_eq!(pages(&events), [(15, true)], "one digest is cleared, on disk, and none is noted");
    let at = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted).unwrap();
    let cleared = at(&|e| matches!(e, Event::Page { .. }));
    let sent = at(&|e| matches!(e, Event::Send(_)));
    let committed = at(&|e| matches!(e, Event::Commit(_)));
    let settled = at(&|e| matches!(e, Event::Settle(_)));
    assert!(cleared < sent && sent < committed && committed < settled, "{events:?}");

    let (_, events) = watched(&project).await;
    assert_eq!(pages(&events), [(16, false)]);
    assert!(events.contains(&Event::Buckets(1)), "only the one bucket is read: {events:?}");
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_run_reads_no_bucket_and_sends_nothing() {
    let project = Project::webhook(1000);
    project.run().await;
    project.run().await;
    let sent = project.double.count();
    let (run, events) = watched(&project).await;
    assert_eq!((run.status, run.counts.unchanged, run.tally.requests), (Status::Complete, 1000, 0));
    let busy = |e: &&Event| !matches!(e, Event::Other(_));
    assert_eq!(events.iter().filter(busy).count(), 0, "{events:?}");
    assert_eq!(project.double.count(), sent);
}
