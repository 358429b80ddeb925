//! Jobs whose run was given up: they go on at Salesforce until the next run stops them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::job::{AbortResult, Counted, Jobs, PlannedLoad, Poll, Ticket};
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, Limits, PreflightRequest};
use domain::run::{Run, Status};
use doubles::salesforce::Fail;
use engine::deliver::{MessageResult, handle};
use serde_json::json;
use tokio::sync::Notify;

use crate::rig::{World, request};

const ROWS: i64 = 200;

/// A sync whose rows go by one job.
async fn one_job(mode: &'static str) -> World {
    World { config: json!({ "jobs_above": 100 }), ..World::new(mode, ROWS).await }
}

/// Gives every row another score.
fn change(world: &mut World, score: i64) {
    world.rows.values_mut().for_each(|row| row.score = Some(score));
}

/// A run that is given up while its job is at work: the day's requests are used up when it asks a second time.
async fn given_up(world: &World) -> Run {
    let failed = {
        let mut org = world.double.org();
        org.fails.extend([Fail::Not; 4]);
        org.fails.push_back(Fail::Says(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
        org.jobs().len()
    };
    let run = world.run().await;
    assert_eq!((run.status, run.fault.as_ref().map(|f| f.code)), (Status::Incomplete, Some(Code::DestinationLimit)));
    assert_eq!(world.double.org().jobs()[failed..], ["UploadComplete"], "nobody stopped it");
    world.double.org().recover();
    run
}

#[tokio::test]
async fn an_old_job_cannot_overwrite_what_came_after_it() {
    let mut world = one_job("upsert").await;
    given_up(&world).await;
    change(&mut world, 5);
    world.run_well().await;
    world.double.org().finish_jobs();
    world.assert_arrived();
    assert_eq!(world.double.org().jobs(), ["Aborted", "JobComplete"]);
    let rows = world.double.org().rows;
    world.run_well().await;
    assert_eq!(world.double.org().rows, rows, "nothing is in doubt any more");
}

#[tokio::test]
async fn what_an_old_job_had_done_is_looked_at_again() {
    for mode in ["upsert", "mirror"] {
        let mut world = one_job(mode).await;
        change(&mut world, 1);
        world.run_well().await;
        change(&mut world, 2);
        given_up(&world).await;
        // The model is as the state knows it. Only a doubt tells that 50 contacts are not.
        change(&mut world, 1);
        world.double.org().rows_before_abort = 50;
        let run = world.run_well().await;
        assert_eq!(run.counts.changed, ROWS as u64, "{mode}: every record of the job was sent again");
        assert_eq!(world.double.org().jobs(), ["JobComplete", "Aborted", "JobComplete"]);
        world.assert_arrived();
    }
}

#[tokio::test]
async fn an_old_job_that_ended_meanwhile_needs_no_stopping() {
    let mut world = one_job("upsert").await;
    given_up(&world).await;
    world.double.org().finish_jobs();
    change(&mut world, 5);
    world.run_well().await;
    world.assert_arrived();
    assert_eq!(world.double.org().jobs(), ["JobComplete", "JobComplete"]);
}

#[tokio::test]
async fn nothing_is_sent_while_an_old_job_cannot_be_stopped() {
    let mut world = one_job("upsert").await;
    given_up(&world).await;
    change(&mut world, 5);
    let rows = world.double.org().rows;
    world.double.org().fails_every = Some((1, Fail::With(503, "SERVER_UNAVAILABLE")));
    let run = world.run().await;
    let fault = run.fault.unwrap();
    assert_eq!((run.status, fault.code, run.tally.sent), (Status::Failed, Code::DestinationUnreachable, 0));
    assert!(
        fault.what.contains("of an earlier run of sync `crm` cannot be stopped")
            && fault.next_step().contains("end the job there"),
        "{fault}"
    );
    assert_eq!(world.double.org().rows, rows);
    // A day later it does not matter any more: what has not begun by then never does.
    world.clock.forward(Duration::from_secs(25 * 3600));
    world.double.org().recover();
    world.double.org().fails.extend([Fail::With(503, "SERVER_UNAVAILABLE"); 5]);
    world.run_well().await;
    world.assert_arrived();
}

#[tokio::test]
async fn an_endless_job_is_stopped_and_asked_what_it_did() {
    let world = one_job("upsert").await;
    (world.double.org().polls_of_a_job, world.double.org().rows_before_abort) = (u32::MAX, 70);
    let engine = world.engine().await;
    engine::run::start(&engine, &request()).await.unwrap();
    let mut run = None;
    while run.is_none() {
        for delivery in engine.queue.receive(1, Duration::ZERO).await.unwrap() {
            match handle(&engine, &delivery.message).await.unwrap() {
                MessageResult::RetryAfter(_) => engine.queue.delay(&delivery.receipt, Duration::ZERO).await.unwrap(),
                MessageResult::RunClosed(closed) => run = closed,
                MessageResult::Done | MessageResult::Stale => panic!("the last batch closes the run"),
            }
        }
        world.clock.forward(Duration::from_secs(7 * 3600));
    }
    let run = run.unwrap();
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, ROWS as u64), "{:#?}", run.tally);
    world.assert_arrived();
    assert_eq!(world.double.org().jobs(), ["Aborted", "Aborted"], "the last 60 went by a collection");
    assert_eq!(world.double.org().rows, ROWS as u64 + 3, "no row twice; three accounts were there before");
}

#[tokio::test]
async fn a_kill_between_submit_and_remember_leaves_a_job_that_never_starts() {
    let mut world = one_job("append").await;
    let mut engine = world.engine().await;
    let submitted = Arc::new(Notify::new());
    engine.context.destination =
        Arc::new(Mortal { inner: engine.context.destination.clone(), submitted: submitted.clone() });
    let by_hand = request();
    tokio::select! {
        run = local::drive::run(&engine, &by_hand) => panic!("the process was to end: {run:?}"),
        () = submitted.notified() => {}
    }
    drop(engine);
    assert_eq!(world.double.org().jobs(), ["Open"]);
    change(&mut world, 5);
    world.run_well().await;
    world.double.org().finish_jobs();
    world.assert_arrived();
    assert_eq!(world.double.org().jobs(), ["Open", "JobComplete"]);
    assert_eq!(world.double.org().object("Contact").records().len(), ROWS as usize, "nothing was appended twice");
}

/// A destination whose process ends as soon as it has submitted a job.
struct Mortal {
    inner: Arc<dyn Destination>,
    submitted: Arc<Notify>,
}

#[async_trait]
impl Destination for Mortal {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn limits_for(&self, load: PlannedLoad) -> Limits {
        self.inner.limits_for(load)
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        Some(self)
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        self.inner.preflight(need).await
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        self.inner.write(batch).await
    }
}

#[async_trait]
impl Jobs for Mortal {
    fn takes(&self, batch: &WriteBatch<'_>) -> bool {
        self.inner.jobs().unwrap().takes(batch)
    }

    async fn submit(&self, batch: &WriteBatch<'_>) -> Counted<Ticket> {
        self.inner.jobs().unwrap().submit(batch).await.result.unwrap();
        self.submitted.notify_one();
        std::future::pending().await
    }

    async fn poll(&self, ticket: &Ticket, batch: &WriteBatch<'_>) -> Counted<Poll> {
        self.inner.jobs().unwrap().poll(ticket, batch).await
    }

    async fn abort(&self, ticket: &Ticket) -> Counted<AbortResult> {
        self.inner.jobs().unwrap().abort(ticket).await
    }
}
