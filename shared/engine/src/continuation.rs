//! Goes on with a run whose batches did not all fit into the time of the process that planned it: they lie on the
//! plan store, and are enqueued from there.

use bytes::Bytes;
use domain::batch::Message;
use domain::fault::{Code, Fault};
use domain::run::Run;

use crate::Context;
use crate::close::close_if_done;
use crate::plan::enqueue::SendPool;
use crate::run::end;
use crate::started::{Continuation, Started};

/// Enqueues what is left, as far as the time allows. Idempotent: a batch that is enqueued twice is done once.
pub async fn resume(context: &Context, rest: &Continuation) -> Result<Started, Fault> {
    let sync = &context.sync.name;
    let Some(run) = context.store.run(sync, &rest.run).await? else {
        return Err(Fault::new(
            Code::NotFound,
            format!("Run {} of sync `{sync}`, which was to be gone on with, is not known.", rest.run),
        ));
    };
    if run.status.is_closed() || context.store.head(sync).await?.generation != rest.generation {
        return Ok(Started::Running(run));
    }
    match go_on(context, run.clone(), rest).await {
        Ok(started) => Ok(started),
        Err(fault) => end(context, run, fault).await,
    }
}

async fn go_on(context: &Context, mut run: Run, rest: &Continuation) -> Result<Started, Fault> {
    let mut sends = SendPool::new(context);
    for part in rest.part..rest.parts {
        let skip = if part == rest.part { rest.skip } else { 0 };
        for (number, message) in messages(context, &run.id, part).await?.into_iter().enumerate().skip(skip) {
            // At least one message is enqueued by every process, so that the run gets somewhere.
            if number > skip && time_is_over(context) {
                sends.finish().await?;
                return Ok(Started::Deferred(run, Continuation { part, skip: number, ..rest.clone() }));
            }
            if !sends.send(message).await? {
                return given_up(context, run).await;
            }
        }
    }
    if !sends.finish().await? {
        return given_up(context, run).await;
    }
    let progress = context.store.set_batch_total(&run.id, rest.batches).await?;
    run.batches = Some(rest.batches);
    Ok(Started::closed(close_if_done(context, &run.id, progress).await?, run))
}

/// Whoever gave up closes the run, or has.
async fn given_up(context: &Context, run: Run) -> Result<Started, Fault> {
    Ok(Started::Running(context.store.run(&run.sync, &run.id).await?.unwrap_or(run)))
}

fn time_is_over(context: &Context) -> bool {
    context.settings.deadline.is_some_and(|deadline| context.clock.now() >= deadline.of_enqueueing(0))
}

async fn messages(context: &Context, run: &str, part: u32) -> Result<Vec<Message>, Fault> {
    let gone =
        |what: &str| Fault::new(Code::QueueUnusable, format!("Part {part} of the stored plan of run {run} {what}."));
    let store = context.plan_store.as_deref().ok_or_else(|| gone("cannot be read: this process has no plan store"))?;
    let bytes: Bytes = store.get(run, part).await?.ok_or_else(|| gone("is gone"))?;
    Message::read_all(&bytes).ok_or_else(|| gone("is damaged"))
}
