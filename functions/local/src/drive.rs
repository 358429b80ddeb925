//! Drives both halves of a run in this process: the extractor, and as many writers as the destination allows.

use std::time::Duration;

use domain::fault::{Code, Fault};
use domain::run::{Run, Status};
use engine::close::{close_early, sum_up};
use engine::deliver::{MessageResult, handle};
use engine::run::start;
use engine::started::RunRequest;
use engine::{CancelToken, Context, Engine};
use tokio::task::JoinSet;

/// How long a writer waits for a message before it looks around.
const RECEIVE_WAIT: Duration = Duration::from_millis(500);

/// Runs a sync from start to end, and returns the closed run. A fault of the run itself (guard, credentials)
/// is in the run; a returned fault means that there is none, or that it could not be ended properly.
pub async fn run(engine: &Engine, request: &RunRequest) -> Result<Run, Fault> {
    // Says that the run is over: its own, because `engine.stop` is the user's wish and also ends the extractor.
    let over = CancelToken::default();
    let mut writers = JoinSet::new();
    for _ in 0..engine.destination.limits().concurrency.max(1) {
        writers.spawn(write(engine.context.clone(), over.clone()));
    }
    let started = start(engine, request).await;
    if let Ok(started) = &started
        && !started.run().status.is_closed()
    {
        tokio::select! {
            () = over.cancelled() => {}
            () = engine.stop.cancelled() => {}
        }
    }
    over.cancel();
    let mut failed = None;
    while let Some(writer) = writers.join_next().await {
        match writer {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => failed = Some(fault),
            Err(e) => failed = Some(Fault::new(Code::Internal, format!("A writer ended: {e}."))),
        }
    }
    let run = started?.run().clone();
    // Whatever the writers did last is in the store, not in what `start` returned.
    let run = engine.store.run(&run.sync, &run.id).await?.unwrap_or(run);
    if run.status.is_closed() {
        return sum_up(engine, run).await;
    }
    let fault =
        failed.unwrap_or_else(|| Fault::new(Code::Interrupted, "The run was stopped before everything was delivered."));
    close_early(engine.store.as_ref(), engine.clock.as_ref(), run, Status::Incomplete, Some(fault)).await
}

/// One writer: receives, handles, answers the queue, until the run is over. A fault ends the run for all.
async fn write(context: Context, over: CancelToken) -> Result<(), Fault> {
    let result = write_until_over(&context, &over).await;
    match result {
        Err(fault) if fault.code == Code::Interrupted => Ok(()),
        Err(fault) => {
            // The extractor ends its enqueueing and leaves the closing to `run`, which knows this fault.
            context.slots.halt();
            over.cancel();
            Err(fault)
        }
        Ok(()) => Ok(()),
    }
}

async fn write_until_over(context: &Context, over: &CancelToken) -> Result<(), Fault> {
    while !over.is_cancelled() && !context.stop.is_cancelled() {
        let deliveries = tokio::select! {
            received = context.queue.receive(1, RECEIVE_WAIT) => received?,
            () = over.cancelled() => return Ok(()),
            () = context.stop.cancelled() => return Ok(()),
        };
        for delivery in deliveries {
            match handle(context, &delivery.message).await? {
                MessageResult::RetryAfter(pause) => context.queue.delay(&delivery.receipt, pause).await?,
                MessageResult::Done => context.queue.done(&delivery.receipt).await?,
                MessageResult::RunClosed(_) | MessageResult::Stale => {
                    context.queue.done(&delivery.receipt).await?;
                    // A run that was taken over ends while its batches are still being enqueued.
                    context.slots.halt();
                    over.cancel();
                }
            }
        }
    }
    Ok(())
}
