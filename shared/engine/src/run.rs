//! The first half of a run, in order: acquire, plan, guard, mark, enqueue. What the extractor does.

use std::time::Duration;

use domain::batch::BatchHeader;
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::retry::MAX_RETRY_AFTER;
use domain::run::{OnSuccess, Run, Status};
use domain::usage::UsageMeter;

use crate::close::{close_early, close_if_done};
use crate::deliver::{old_jobs, rate_limiter};
use crate::plan::acquire::{acquire_head, close_replaced};
use crate::plan::batcher::{BatchLimits, BatchPlan};
use crate::plan::difference::Difference;
use crate::plan::enqueue::{Enqueued, enqueue};
use crate::plan::entries::ModelEntry;
use crate::plan::{Plan, better_bits, plan};
use crate::plan::{cursor, meaning, probe};
use crate::progress::Phase;
use crate::started::{Continuation, RunRequest, Started};
use crate::{Context, Engine, commit, digests};

/// Runs the first half, until the last batch is enqueued.
/// A returned fault means that no run came to be, or that it could not be closed.
pub async fn start(engine: &Engine, request: &RunRequest) -> Result<Started, Fault> {
    let (head, run, replaced) = acquire_head(engine, request).await?;
    let usage = UsageMeter::default();
    // From here on the head names the run: whatever happens ends it.
    let gone = async {
        close_replaced(engine, &run, replaced).await?;
        execute(engine, request, head, run.clone(), &usage).await
    };
    match gone.await {
        Ok(started) => Ok(started),
        Err(fault) => end(engine, Run { usage: usage.total(), ..run }, fault).await,
    }
}

/// Ends a run that a fault stopped.
pub(crate) async fn end(context: &Context, run: Run, fault: Fault) -> Result<Started, Fault> {
    let status = if fault.code == Code::Interrupted { Status::Incomplete } else { Status::Failed };
    // The run as stored knows more than ours: its counts, its plan.
    let usage = run.usage;
    let mut known = context.store.run(&run.sync, &run.id).await?.unwrap_or(run);
    if known.usage.is_empty() {
        known.usage = usage;
    }
    if known.status.is_closed() {
        return Ok(Started::Running(known));
    }
    close_early(context.store.as_ref(), context.clock.as_ref(), known, status, Some(fault)).await.map(Started::Closed)
}

async fn execute(
    engine: &Engine,
    request: &RunRequest,
    mut head: Head,
    mut run: Run,
    usage: &UsageMeter,
) -> Result<Started, Fault> {
    let (store, sync) = (engine.store.as_ref(), &engine.sync);
    let model_version = probe::version(engine, &run.id).await;
    if let Some(version) = &model_version
        && probe::is_unchanged(engine, &head, request, version).await?
    {
        return rest(engine, &head, run, version).await;
    }
    let mut plan = plan(engine, &head, &run.id, request.full, usage).await?;
    engine.stop.check()?;
    run.usage = usage.total();
    note_plan(&mut run, &plan);
    run.on_success.model_version = model_version;
    // Reading may have taken long; sending begins now.
    run.progress = engine.clock.now();
    store.put_run(&run).await?;
    if let Some(blocked) = check_guards(engine, request, &plan, &run).await? {
        return Ok(Started::Closed(blocked));
    }
    check_quota(engine, &plan)?;
    if let Some(paused) = paused(engine, &plan).await? {
        return close_early(store, engine.clock.as_ref(), run, Status::Incomplete, Some(paused))
            .await
            .map(Started::Closed);
    }
    check_fence(engine, &run).await?;
    if !plan.shift.place {
        old_jobs::stop(engine, &plan.jobs).await?;
    }
    if let Some(bits) = better_bits(&head, plan.model.entries.len() as u64) {
        rebucket(engine, &mut head, bits, &mut plan).await?;
    }
    commit::forget(store, &sync.name, head.bucket_bits, &plan.difference.forget).await?;
    commit::mark_unknown(store, &sync.name, head.bucket_bits, &plan.difference.unknown).await?;
    meaning::name(store, &sync.name, head.bucket_bits, &mut plan).await?;
    meaning::take_over(engine, &mut head, &run, &plan).await?;
    digests::update(
        store,
        &sync.name,
        head.bucket_bits,
        &plan.manifest,
        &plan.difference.dirty,
        &plan.difference.clean,
    )
    .await?;
    // From here on the state itself says which versions nobody knows. Where a lock keeps others out, no writer is left.
    let gone = if engine.settings.stall.is_zero() { Millis(i64::MAX) } else { engine.clock.now() };
    if plan.full {
        store.clear_in_doubt(&sync.name, &plan.noted_runs, gone).await?;
    }
    engine.meter.plan(plan.difference.counts.to_send());
    engine.meter.enter(Phase::Sending);
    let header = BatchHeader {
        sync: sync.name.clone(),
        sync_version: run.sync_version.clone(),
        run: run.id.clone(),
        generation: run.generation,
        number: 0,
        op: sync.mode.write_op(),
        records: 0,
        bucket_bits: head.bucket_bits,
        sample_below: sync.readback.below(sample_ranks(&plan)),
        layout: plan.model.layout.clone(),
    };
    let limits = engine.destination.limits_for(plan.load(sync.mode));
    let cut = BatchPlan { header, write_op: sync.mode.write_op(), size: BatchLimits::of(engine, &limits) };
    let Difference { removed, record_ids, .. } = plan.difference;
    match enqueue(engine, cut, plan.model, removed, record_ids).await? {
        // Whoever gave up closes the run, or has.
        Enqueued::GivenUp => Ok(Started::Running(store.run(&run.sync, &run.id).await?.unwrap_or(run))),
        Enqueued::All(batches) => {
            let progress = store.set_batch_total(&run.id, batches).await?;
            run.batches = Some(batches);
            Ok(Started::closed(close_if_done(engine, &run.id, progress).await?, run))
        }
        Enqueued::Deferred { batches, parts } => {
            let rest =
                Continuation { run: run.id.clone(), generation: run.generation, batches, parts, part: 0, skip: 0 };
            Ok(Started::Deferred(run, rest))
        }
    }
}

/// Closes a run whose model is as the last one left it: nothing is read, and nothing is to be sent.
async fn rest(engine: &Engine, head: &Head, mut run: Run, version: &str) -> Result<Started, Fault> {
    engine.stop.check()?;
    probe::note(&mut run, head, version.to_owned());
    engine.store.put_run(&run).await?;
    check_fence(engine, &run).await?;
    let progress = engine.store.set_batch_total(&run.id, 0).await?;
    Ok(Started::closed(close_if_done(engine, &run.id, progress).await?, run))
}

/// The places of everything that is sent, written or deleted, by which the sample to read back is chosen.
fn sample_ranks(plan: &Plan) -> impl Iterator<Item = u32> {
    let written = plan.model.entries.iter().filter(|e| e.is_sent()).map(|e| e.hash.sample_rank());
    written.chain(plan.difference.removed.iter().map(|r| r.hash.sample_rank()))
}

fn note_plan(run: &mut Run, plan: &Plan) {
    run.full = plan.full;
    run.counts = plan.difference.counts;
    run.plan_hash = Some(plan.difference.hash.clone());
    run.refused = plan.difference.refused;
    run.tripped = plan.tripped.clone();
    run.invalid = plan.model.invalid_first.clone();
    run.notes = plan.notes.clone();
    run.on_success = OnSuccess {
        cursor: plan.model.cursor.next().map(cursor::encode),
        records: plan.full.then_some(plan.model.entries.len() as u64),
        columns: plan.columns.clone(),
        known: plan.difference.known.saturating_sub(plan.difference.counts.removed),
        look_again: plan.difference.look_again,
        model_version: None,
    };
}

/// The guards' word: the closed run when it must not go on.
async fn check_guards(engine: &Engine, request: &RunRequest, plan: &Plan, run: &Run) -> Result<Option<Run>, Fault> {
    let (store, clock) = (engine.store.as_ref(), engine.clock.as_ref());
    let hash = &plan.difference.hash;
    let fault = match &request.approve {
        Some(approved) if approved == hash => return Ok(None),
        Some(approved) => Fault::new(
            Code::PlanChanged,
            format!("Plan {approved} was approved, but the plan now is {hash}: nothing was sent."),
        ),
        None if plan.tripped.is_empty() => return Ok(None),
        None => {
            let reasons: Vec<_> = plan.tripped.iter().map(|t| format!("\n  - {}: {}", t.guard, t.why)).collect();
            let what = format!("A guard of sync `{}` stopped the run; nothing was sent:{}", run.sync, reasons.concat());
            let next = format!(
                "look at it with `sluice plan {0}`; if the change is meant: `sluice run {0} --approve {hash}`",
                run.sync
            );
            Fault::new(Code::GuardTripped, what).with_next(next)
        }
    };
    close_early(store, clock, run.clone(), Status::Blocked, Some(fault)).await.map(Some)
}

/// A run that finds its connection paused for longer does not begin.
const MAX_PAUSE_AT_START: Duration = Duration::from_secs(120);

/// Nothing is sent of a plan that the destination would cut off halfway.
fn check_quota(engine: &Engine, plan: &Plan) -> Result<(), Fault> {
    match plan.findings.iter().find(|f| f.is_error()) {
        Some(finding) => {
            Err(Fault::new(Code::DestinationLimit, format!("Sync `{}` sent nothing: {finding}.", engine.sync.name))
                .with_next(finding.fix.clone()))
        }
        None => Ok(()),
    }
}

/// A run does not begin what it would have to wait for longer than a person does.
async fn paused(engine: &Engine, plan: &Plan) -> Result<Option<Fault>, Fault> {
    if plan.counts().to_send() == 0 {
        return Ok(None);
    }
    let connection = &engine.sync.destination.connection;
    let now = engine.clock.now();
    let next = Millis(engine.store.limiter(connection).await?.next_slot_micros / 1000);
    // Without a rate nobody asks for slots, whatever is left of a rate there once was.
    let Some(rate) = engine.settings.rate.or(engine.destination.limits().rate) else { return Ok(None) };
    let turns = domain::limiter::turns(rate);
    // Further ahead than any pause: that is no pause but a clock that was ahead.
    match next.since(now) {
        wait if wait > MAX_PAUSE_AT_START + turns && wait <= MAX_RETRY_AFTER + turns => {
            Ok(Some(rate_limiter::paused(connection, next)))
        }
        _ => Ok(None),
    }
}

async fn check_fence(engine: &Engine, run: &Run) -> Result<(), Fault> {
    engine.stop.check()?;
    let head = engine.store.head(&run.sync).await?;
    if head.generation == run.generation {
        return Ok(());
    }
    Err(Fault::new(Code::Superseded, format!("Run {} was taken over by a newer one before it sent anything.", run.id)))
}

async fn rebucket(engine: &Engine, head: &mut Head, bits: u8, plan: &mut Plan) -> Result<(), Fault> {
    let (store, sync) = (engine.store.as_ref(), &engine.sync.name);
    let from = head.bucket_bits;
    head.bucket_bits = bits;
    if !store.rebucket(sync, from, bits, head).await? {
        return Err(Fault::new(Code::Superseded, format!("The state of `{sync}` was taken over by a newer run.")));
    }
    head.version += 1;
    plan.manifest = store.manifest(sync, bits).await?;
    // Buckets have other numbers now. Their digests are noted by the next run.
    let sent = plan.model.entries.iter().filter(|e: &&ModelEntry| e.is_sent()).map(|e| e.hash.bucket(bits));
    let removed = plan.difference.removed.iter().map(|r| r.hash.bucket(bits));
    plan.difference.dirty = sent.chain(removed).collect();
    plan.difference.dirty.sort_unstable();
    plan.difference.dirty.dedup();
    plan.difference.clean.clear();
    Ok(())
}
