//! Closes a run: sums up what became of its records, gives the head free, leaves what the next run needs.

use std::time::Duration;

use domain::bucket::HOLD_FIRST;
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::{DeliveredModel, Head};
use domain::ports::{Clock, Progress, StateStore};
use domain::run::{Run, Status};

use crate::Context;

/// An invalid record may become a good one without changing (an option that is added there, a twin that goes): it is
/// looked at again after this time.
const INVALID_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// Tries to write a head that others write too.
const MAX_ATTEMPTS: u32 = 20;

/// A run that is closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// The run.
    pub run: Run,
    /// True when it was closed by this very call: whoever sees that reports it.
    pub now: bool,
}

/// Closes the run if its last batch is out. Returns the closed run; `None` while it goes on.
/// The last writer and the extractor may both come here: the second finds it closed.
pub async fn close_if_done(context: &Context, run: &str, progress: Progress) -> Result<Option<Closed>, Fault> {
    if !progress.is_complete() {
        return Ok(None);
    }
    let Some(run) = context.store.run(&context.sync.name, run).await? else { return Ok(None) };
    // The closing process may have died after writing the run and before releasing the head. Release it.
    let half_closed =
        matches!(run.status, Status::Complete | Status::Partial) && is_active(context.store.as_ref(), &run).await?;
    if run.status.is_closed() && !half_closed {
        return Ok(Some(Closed { run, now: false }));
    }
    close_delivered(context, run, progress.total).await.map(Some)
}

async fn close_delivered(context: &Context, mut run: Run, batches: Option<u32>) -> Result<Closed, Fault> {
    let store = context.store.as_ref();
    if !run.status.is_closed() {
        run.batches = batches;
        run.tally = store.tally(&run.id).await?;
        run.status = Run::delivered_status(&run.counts, &run.tally, run.refused.held);
        put_closed(store, context.clock.as_ref(), &mut run).await?;
    }
    // Refused records are looked at again when they are due, by a full read; what did not arrive is read again by the
    // next.
    let all_sent_arrived = run.tally.exhausted + run.tally.unsent == 0;
    let ended = context.clock.now();
    let look_again = look_again(&run, ended);
    let left = run.on_success.clone();
    let (full, version, generation) = (run.full, run.sync_version.clone(), run.generation);
    let known = left.known + run.tally.created + run.tally.accepted_unknown.min(run.counts.added);
    let delivered = run.has_delivered().then_some(run.started);
    // With something held or to be looked at again, the next run has work although the model is the same.
    let settled = run.status == Status::Complete && all_sent_arrived && look_again.is_none();
    let model = left.model_version.clone().filter(|_| settled).map(|version| DeliveredModel { version, generation });
    let now = free_head(store, &run, |head| {
        head.model.clone_from(&model);
        head.delivered = delivered.or(head.delivered);
        head.columns = left.columns.clone();
        head.records = left.records.unwrap_or(head.records);
        head.known = known;
        // The cursor must not pass a record that did not arrive: an incremental read would not see it again.
        if all_sent_arrived {
            let before = if full { None } else { head.cursor.take() };
            head.cursor = left.cursor.clone().or(before);
            head.sync_version = version.clone();
        }
        if all_sent_arrived && full {
            head.last_full = Some(ended);
            head.look_again = look_again;
            head.must_read_full = head.must_read_full.filter(|since| *since >= generation);
        } else {
            head.look_again = [head.look_again, look_again].into_iter().flatten().min();
        }
    })
    .await?;
    Ok(Closed { run, now })
}

/// When records that this run refused or met as refused are looked at again: those that an incremental read would not
/// see.
fn look_again(run: &Run, now: Millis) -> Option<Millis> {
    let refused = (run.tally.rejected + run.tally.skipped > 0).then(|| now.plus(HOLD_FIRST.0));
    let invalid = (run.counts.invalid > 0).then(|| now.plus(INVALID_AGAIN));
    [run.on_success.look_again, refused, invalid].into_iter().flatten().min()
}

async fn is_active(store: &dyn StateStore, run: &Run) -> Result<bool, Fault> {
    Ok(store.head(&run.sync).await?.active.is_some_and(|active| active.run == run.id))
}

/// Sums up once more a run that was closed while writers were still at work: what they delivered counts too.
pub async fn sum_up(context: &Context, mut run: Run) -> Result<Run, Fault> {
    let tally = context.store.tally(&run.id).await?;
    if run.tally.accepted() != tally.accepted() || run.tally.requests != tally.requests {
        let unsent = run.tally.unsent;
        run.tally = tally;
        run.tally.unsent = if unsent == 0 { 0 } else { unaccounted(&run) };
        context.store.put_run(&run).await?;
    }
    Ok(run)
}

/// Records that were planned and of which nothing is known.
fn unaccounted(run: &Run) -> u64 {
    run.counts
        .to_send()
        .saturating_sub(run.tally.accepted() + run.tally.skipped + run.tally.rejected + run.tally.exhausted)
}

/// Closes a run that ends early: blocked, failed, incomplete. Its messages, should there be any, go stale.
pub async fn close_early(
    store: &dyn StateStore,
    clock: &dyn Clock,
    mut run: Run,
    status: Status,
    fault: Option<Fault>,
) -> Result<Run, Fault> {
    run.status = status;
    run.tally = store.tally(&run.id).await?;
    run.tally.unsent = if status == Status::Blocked { 0 } else { unaccounted(&run) };
    run.fault = fault;
    // Writers still at work see by the generation that their run is over.
    put_closed(store, clock, &mut run).await?;
    free_head(store, &run, |head| head.generation += 1).await?;
    Ok(run)
}

async fn put_closed(store: &dyn StateStore, clock: &dyn Clock, run: &mut Run) -> Result<(), Fault> {
    run.ended = Some(clock.now());
    run.progress = clock.now();
    store.put_run(run).await
}

/// Gives the head free of a closed run. `false`: it was free already.
async fn free_head(store: &dyn StateStore, run: &Run, change: impl Fn(&mut Head)) -> Result<bool, Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let mut head = store.head(&run.sync).await?;
        if head.active.as_ref().is_none_or(|a| a.run != run.id) {
            return Ok(false);
        }
        head.active = None;
        change(&mut head);
        if store.put_head(&run.sync, &head).await? {
            return Ok(true);
        }
    }
    Err(Fault::new(
        Code::StateUnusable,
        format!("The head of `{}` changed {MAX_ATTEMPTS} times while run {} was to be closed.", run.sync, run.id),
    ))
}
