//! Tells of a closed run, once: a line in the log and the metrics.

use domain::ports::{Clock, StateStore};
use domain::run::{Run, Status};
use domain::sync::Sync;

use crate::telemetry::Metrics;

/// Logs a run that was just closed and counts it. What cannot be told does not undo the run.
pub async fn run_closed(metrics: &Metrics, store: &dyn StateStore, clock: &dyn Clock, sync: &Sync, run: &Run) {
    let freshness = match store.head(&sync.name).await {
        Ok(head) => head.delivered.map(|delivered| clock.now().since(delivered)),
        Err(_) => None,
    };
    metrics.run_closed(run, &sync.destination.connection, freshness);
    let t = &run.tally;
    let (status, took_ms) = (
        format!("{:?}", run.status).to_lowercase(),
        run.ended.unwrap_or(run.progress).since(run.started).as_millis() as u64,
    );
    match (&run.fault, run.status) {
        (Some(fault), _) => {
            tracing::error!(
                sync = run.sync,
                run = run.id,
                status,
                code = fault.code.as_str(),
                next = fault.next_step(),
                took_ms,
                "{}",
                fault.what
            );
        }
        (None, Status::Complete) => tracing::info!(
            sync = run.sync,
            run = run.id,
            status,
            accepted = t.accepted(),
            skipped = t.skipped,
            took_ms,
            "run closed"
        ),
        (None, _) => {
            let (rejected, exhausted, invalid) = (t.rejected, t.exhausted, run.counts.invalid);
            tracing::warn!(
                sync = run.sync,
                run = run.id,
                status,
                accepted = t.accepted(),
                rejected,
                exhausted,
                invalid,
                unsent = t.unsent,
                took_ms,
                "run closed"
            );
        }
    }
}
