//! Messages that hold the records of several requests, as the extractor on AWS makes them.

use std::sync::Arc;
use std::time::Duration;

use domain::clock::Span;
use domain::config::RateLimit;
use domain::run::{Run, Status};
use engine::Engine;
use engine::deliver::rate_limiter::RateLimiter;
use engine::deliver::{MessageResult, handle};
use engine::run::start;
use engine::started::Started;
use local::drive;
use serde_json::json;
use support::double::{Behaviour, Quota, RetryAfter};
use support::project::{Project, assert_balances, request};
use support::watched::{Log, WatchedStore};

/// 95 customers, ten to a request, one writer.
fn project() -> Project {
    let mut project = Project::webhook(95);
    project.connections["there"]["concurrency"] = json!(1);
    project
}

async fn engine(project: &Project, requests: usize) -> Engine {
    let mut engine = project.engine().await.unwrap();
    engine.context.settings.requests_per_message = requests;
    engine
}

async fn run(engine: &Engine) -> Run {
    let run = drive::run(engine, &request()).await.unwrap();
    assert_balances(&run);
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_holds_several_requests_and_no_request_is_smaller() {
    for (requests, batches) in [(1, 10), (3, 4), (5, 2), (9, 2)] {
        let project = project();
        let run = run(&engine(&project, requests).await).await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.batches),
            (Status::Complete, 95, Some(batches)),
            "{requests}"
        );
        assert_eq!((run.tally.requests, project.double.count()), (10, 10), "{requests}");
        project.assert_arrived();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_has_a_message_for_each_request() {
    let mut project = project();
    project.sync()["mode"] = json!("append");
    let run = run(&engine(&project, 5).await).await;
    assert_eq!((run.status, run.batches, project.double.count()), (Status::Complete, Some(10), 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_short_of_time_leaves_the_rest_to_another_delivery() {
    let project = project();
    let mut engine = engine(&project, 5).await;
    // Every delivery has the time for one request: more of them than there are attempts.
    engine.context.settings.patience = Duration::ZERO;
    let run = run(&engine).await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.retried, run.batches), (Status::Complete, 95, 0, Some(2)));
    assert_eq!(project.double.count(), 10);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_always_fails_blocks_no_other_of_its_message() {
    let project = project();
    project.double.answer(Behaviour::break_at_keys([7, 40, 80]));
    let run = run(&engine(&project, 5).await).await;
    // The others are taken before the attempts run out; of those in one request with a bad one nothing can be said.
    let exhausted = run.tally.exhausted;
    assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 95 - exhausted, 0));
    assert!((10..=30).contains(&exhausted), "{exhausted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_fails_now_and_then_gets_everything() {
    let project = project();
    // Of each message's first delivery the first request fails, of the second the first again.
    project.double.answer_next(4, Behaviour::status(503));
    let run = run(&engine(&project, 5).await).await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 95));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_message_goes_on_where_it_stopped() {
    let project = project();
    project.double.quota(Quota::new(3, Duration::from_millis(300), RetryAfter::Seconds(0.3)));
    let run = run(&engine(&project, 5).await).await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.exhausted), (Status::Complete, 95, 0));
    assert_eq!(project.double.duplicates(), 0, "what was taken is not sent again");
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_refused_whole_ends_however_little_time_there_is() {
    let project = project();
    project.double.answer(Behaviour::refuse_keys(1..=30));
    let mut engine = engine(&project, 5).await;
    engine.context.settings.patience = Duration::ZERO;
    let run = run(&engine).await;
    assert_eq!(
        (run.status, run.tally.rejected, run.tally.accepted(), run.tally.exhausted),
        (Status::Partial, 30, 65, 0),
        "{:?}",
        run.tally
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_between_two_requests_of_a_message_keeps_what_is_known() {
    let project = project();
    let mut engine = engine(&project, 5).await;
    let failing = WatchedStore::new(Arc::clone(&engine.store), Log::default());
    let rate = RateLimit { requests: 1_000, per: Span::seconds(1) };
    engine.context.slots = Arc::new(RateLimiter::new("there", Some(rate), failing.clone(), Arc::clone(&engine.clock)));
    engine.context.settings.rate = Some(rate);
    assert!(matches!(start(&engine, &request()).await.unwrap(), Started::Running(_)));
    let delivery = engine.queue.receive(1, Duration::from_secs(5)).await.unwrap().remove(0);
    // The destination asks for a pause after the second request, and nobody can be told of it.
    failing.fail("pause");
    project.double.answer_every(3, Behaviour::retry_after(429, RetryAfter::Seconds(0.1)));
    handle(&engine.context, &delivery.message).await.unwrap_err();
    assert_eq!(project.double.records().len(), 20);
    project.double.recover();
    let again = handle(&engine.context, &delivery.message).await.unwrap();
    assert_eq!((again, project.double.records().len()), (MessageResult::Done, 50));
    assert_eq!(project.double.duplicates(), 0, "what was taken is not sent again");
}
