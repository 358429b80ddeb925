//! Takes the head of a sync for a new run, and closes what earlier ones left open. One run at a time: the head names
//! it, and every acquiring raises the generation that fences the messages of others off.

use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::{Acquire, Head, acquire};
use domain::ports::{Clock, StateStore};
use domain::run::{OnSuccess, Run, Status, Trigger};
use domain::sync::Sync;

use crate::Engine;
use crate::close::close_early;
use crate::started::RunRequest;

pub(crate) async fn acquire_head(engine: &Engine, request: &RunRequest) -> Result<(Head, Run, Option<String>), Fault> {
    let (store, sync) = (engine.store.as_ref(), &engine.sync.name);
    let head = store.head(sync).await?;
    refuse_repeated(store, sync, &request.trigger, head.generation).await?;
    let now = engine.clock.now();
    let progress = match &head.active {
        Some(active) => store.last_progress(&active.run).await?,
        None => None,
    };
    let id = run_id(now, head.generation + 1);
    let (taken, replaced) = match acquire(&head, &id, now, progress, engine.settings.stall) {
        Acquire::Take { head, replaced } => (*head, replaced),
        Acquire::Busy(active) => return Err(run_active(sync, &active.run)),
    };
    let run = new_run(id, &engine.sync, taken.generation, &request.trigger, now);
    // The run is written first: a head never names a run that nobody knows.
    store.put_run(&run).await?;
    if !store.put_head(sync, &taken).await? {
        let other = store.head(sync).await?.active.map_or_else(|| "another".to_owned(), |a| a.run);
        let fault = run_active(sync, &other);
        // The head does not name ours, so nobody else would close it.
        if other != run.id {
            close_early(store, engine.clock.as_ref(), run, Status::Skipped, Some(fault.clone())).await?;
        }
        return Err(fault);
    }
    Ok((Head { version: taken.version + 1, ..taken }, run, replaced))
}

fn run_active(sync: &str, run: &str) -> Fault {
    Fault::new(Code::RunActive, format!("Run {run} of sync `{sync}` is active, so this one did not start."))
}

fn new_run(id: String, sync: &Sync, generation: u64, trigger: &Trigger, now: Millis) -> Run {
    Run {
        id,
        sync: sync.name.clone(),
        sync_version: sync.version(),
        generation,
        trigger: trigger.clone(),
        status: Status::Running,
        started: now,
        ended: None,
        progress: now,
        full: true,
        counts: Default::default(),
        plan_hash: None,
        batches: None,
        tally: Default::default(),
        tripped: vec![],
        invalid: vec![],
        fault: None,
        refused: Default::default(),
        alerted: None,
        usage: Default::default(),
        notes: vec![],
        on_success: OnSuccess::default(),
    }
}

/// Notes a run that failed before it could begin: a secret that is missing, a connection that cannot be opened. Else
/// nobody would see it in the history. It holds nothing, so a run that is active goes on.
pub async fn failed(
    store: &dyn StateStore,
    clock: &dyn Clock,
    sync: &Sync,
    trigger: &Trigger,
    fault: Fault,
) -> Result<Run, Fault> {
    let generation = store.head(&sync.name).await?.generation;
    refuse_repeated(store, &sync.name, trigger, generation).await?;
    let now = clock.now();
    let run = new_run(run_id(now, generation), sync, generation, trigger, now);
    let run = Run { status: Status::Failed, ended: Some(now), fault: Some(fault), ..run };
    store.put_run(&run).await?;
    Ok(run)
}

/// A trigger that was delivered twice makes one run. One that never began is none: its process ended, or was refused,
/// between writing it down and taking the head.
async fn refuse_repeated(store: &dyn StateStore, sync: &str, trigger: &Trigger, generation: u64) -> Result<(), Fault> {
    let Some(id) = trigger.id() else { return Ok(()) };
    let began = |run: &Run| run.status != Status::Skipped && (run.status.is_closed() || run.generation <= generation);
    let known = store.runs(sync, LOOK_BACK).await?.into_iter().find(|run| run.trigger.id() == Some(id) && began(run));
    known.map_or(Ok(()), |run| {
        Err(Fault::new(Code::AlreadyRun, format!("This trigger of sync `{sync}` has made run {} already.", run.id)))
    })
}

/// Closes runs that will never close themselves: the one the head named, and those that ended before the head named
/// them, or before they had closed their own predecessors.
pub(crate) async fn close_replaced(engine: &Engine, run: &Run, replaced: Option<String>) -> Result<(), Fault> {
    let store = engine.store.as_ref();
    let mut left = store.runs(&run.sync, LOOK_BACK).await?;
    left.retain(|old| old.id != run.id);
    if let Some(replaced) = replaced
        && !left.iter().any(|old| old.id == replaced)
    {
        left.extend(store.run(&run.sync, &replaced).await?);
    }
    for old in left.into_iter().filter(|old| !old.status.is_closed()) {
        // Of one generation, only one run has had the sync.
        let (status, fault) = match old.generation == run.generation {
            true => (Status::Skipped, run_active(&run.sync, &run.id)),
            false => (
                Status::Incomplete,
                Fault::new(Code::Stalled, format!("Run {} made no progress; run {} took over.", old.id, run.id)),
            ),
        };
        close_early(store, engine.clock.as_ref(), old, status, Some(fault)).await?;
    }
    Ok(())
}

/// How many of the newest runs a run looks at for some that were left open.
const LOOK_BACK: usize = 5;

/// Sorts by time, and is different for every process that begins one: two syncs of one schedule, and two processes that
/// one tick begins, start in the same millisecond, and what is kept of a run is kept under its id.
fn run_id(now: Millis, generation: u64) -> String {
    let text = now.to_string().replace([':', '-'], "");
    let (seconds, _) = text.split_at(text.len() - 1);
    format!("{seconds}.{:03}Z-{generation}-{:08x}", now.0.rem_euclid(1000), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_start_together_are_not_taken_for_one_another() {
        let now = Millis(1_767_323_045_678);
        let id = run_id(now, 1);
        assert!(id.starts_with("20260102T030405.678Z-1-"), "{id}");
        assert_ne!(id, run_id(now, 1));
        assert!(id < run_id(Millis(now.0 + 1), 1));
    }
}
