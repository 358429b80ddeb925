//! Jobs of earlier runs that may still be at work: stopped before a run sends anything, so that their older values
//! cannot come after its own. What they had done by then is in doubt, and sent again by the run.

use std::time::Duration;

use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::job::{AbortResult, Jobs, Ticket};
use domain::outcome::WriteError;
use domain::retry::{MAX_ATTEMPTS, MAX_RETRY_AFTER, backoff};

use super::job::MAX_JOB_AGE;
use crate::Engine;

/// How often a job that cannot be stopped is looked at before the run ends.
const MAX_POLLS: u32 = 12;

/// Returns when none of these jobs changes anything any more. A fault when that cannot be brought about: nothing was
/// sent then.
pub(crate) async fn stop(engine: &Engine, jobs: &[(Ticket, Millis)]) -> Result<(), Fault> {
    // A destination of another kind knows nothing of them.
    let Some(face) = engine.destination.jobs() else { return Ok(()) };
    for (ticket, begun) in jobs {
        match stop_one(engine, face, ticket).await {
            Ok(()) => {}
            Err(fault) if fault.code != Code::Interrupted && engine.clock.now().since(*begun) > MAX_JOB_AGE => {
                tracing::warn!(
                    sync = engine.sync.name,
                    job = ticket.0,
                    "{} It is so old that the run goes on without.",
                    fault.what
                );
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

async fn stop_one(engine: &Engine, face: &dyn Jobs, ticket: &Ticket) -> Result<(), Fault> {
    let first = engine.destination.limits().first_pause;
    let (mut failures, mut looks) = (0, 0);
    loop {
        let fault = |code, why: &str| {
            let what = format!(
                "Job {} of an earlier run of sync `{}` {why}. Nothing was sent: its older values could come after newer ones.",
                ticket.0, engine.sync.name
            );
            Fault::new(code, what)
        };
        let late = || {
            fault(Code::DestinationLimit, "could not be stopped in the time that is left")
                .with_next("Run again, or end the job at the destination by hand.")
        };
        let left = time_left(engine);
        if engine.slots.take(face.requests(), &engine.stop, left).await?.is_some() {
            return Err(late());
        }
        let told = face.abort(ticket).await;
        engine.meter.add_requests(told.requests);
        let pause = match told.result {
            Ok(AbortResult::Over) => {
                tracing::info!(sync = engine.sync.name, job = ticket.0, "a job of an earlier run is over");
                return Ok(());
            }
            Ok(AbortResult::GoesOn { .. }) if looks == MAX_POLLS => {
                return Err(fault(Code::DestinationLimit, "goes on and cannot be stopped")
                    .with_next("Run again when the job has ended at the destination."));
            }
            Ok(AbortResult::GoesOn { after }) => {
                looks += 1;
                after
            }
            Err(WriteError::Throttled { after } | WriteError::Unavailable { after, .. })
                if failures + 1 < MAX_ATTEMPTS =>
            {
                failures += 1;
                after.unwrap_or_default().max(backoff(failures, first, fastrand::f64()))
            }
            Err(error) => {
                let code = match error {
                    WriteError::Unauthorized { .. } => Code::DestinationUnauthorized,
                    WriteError::Throttled { .. } => Code::DestinationLimit,
                    _ => Code::DestinationUnreachable,
                };
                let next = "Run again when the destination answers, or end the job there by hand.";
                return Err(fault(code, &format!("cannot be stopped: {error}")).with_next(next));
            }
        };
        if pause.min(MAX_RETRY_AFTER) > time_left(engine) {
            return Err(late());
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(MAX_RETRY_AFTER)) => {}
            () = engine.stop.cancelled() => {}
        }
        engine.stop.check()?;
    }
}

/// Until this process must begin to enqueue.
fn time_left(engine: &Engine) -> Duration {
    engine.settings.deadline.map_or(Duration::MAX, |deadline| deadline.of_enqueueing(0).since(engine.clock.now()))
}
