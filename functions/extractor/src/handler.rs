//! One invocation of the extractor: what is asked, done with the engine, told to whoever watches.

use aws::deadline::deadline_of;
use aws::definitions::ActiveDefinition;
use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::run::Run;
use domain::schedule::Schedule;
use engine::continuation::resume;
use engine::notify;
use engine::plan::acquire::failed;
use engine::run::start;
use engine::started::Continuation;
use engine::started::{RunRequest, Started};
use engine::{Engine, explain, report};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

use crate::monitor::monitor;
use crate::open;
use crate::response::ExtractorResponse;
use crate::services::ExtractorServices;
use crate::trigger::{ExtractorEvent, event_trigger, read, resume_event};

/// Handles one event. An error makes AWS try the event again: it is one where no run came to be and which may pass.
pub async fn handle(services: &ExtractorServices, event: LambdaEvent<Value>) -> Result<ExtractorResponse, Fault> {
    let deadline = deadline_of(event.context.deadline, services.clock.now());
    let answer = match read(&event.payload, &event.context.request_id) {
        Ok(ask) => answer(services, ask, deadline).await,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = &answer {
        tracing::error!(code = fault.code.as_str(), next = fault.next_step(), "{}", fault.what);
    }
    answer
}

async fn answer(
    services: &ExtractorServices,
    ask: ExtractorEvent,
    deadline: Millis,
) -> Result<ExtractorResponse, Fault> {
    match ask {
        ExtractorEvent::Run { sync, request } => {
            run(services, &active(services, &sync).await?, &request, deadline).await
        }
        ExtractorEvent::Resume { sync, version, rest } => {
            resume_enqueueing(services, &sync, &version, &rest, deadline).await
        }
        ExtractorEvent::Event { id, event } => start_matching_syncs(services, &id, &event).await,
        ExtractorEvent::Plan { sync, full } => answer_or_fault(plan(services, &sync, full, deadline).await),
        ExtractorEvent::Check { sync } => answer_or_fault(check(services, &sync, deadline).await),
        ExtractorEvent::Explain { sync, key } => answer_or_fault(explain(services, &sync, &key, deadline).await),
        ExtractorEvent::Watch => monitor(services, deadline).await,
    }
}

async fn run(
    services: &ExtractorServices,
    active: &ActiveDefinition,
    request: &RunRequest,
    deadline: Millis,
) -> Result<ExtractorResponse, Fault> {
    let sync = &active.definition.sync;
    let scheduled = !matches!(request.trigger, domain::run::Trigger::Invoke { .. });
    if active.paused && scheduled {
        return Ok(skipped(
            services,
            &active.definition,
            Fault::new(Code::Paused, format!("Sync `{}` is paused, so this tick did nothing.", sync.name)),
        ));
    }
    let started = || services.metrics.run_started(&sync.name, &sync.destination.connection);
    let engine = match open::engine(services, &active.definition, deadline).await {
        Ok(engine) => engine,
        Err(fault) => {
            let run = failed(services.store.as_ref(), services.clock.as_ref(), sync, &request.trigger, fault).await?;
            started();
            return report_closed(services, &active.definition, run).await;
        }
    };
    match start(&engine, request).await {
        Ok(begun) => {
            started();
            // The process of the superseded run is dead, so its end is counted and reported here.
            if let Some(replaced) = notify::replaced_by(services.store.as_ref(), begun.run()).await {
                report_closed(services, &active.definition, replaced).await?;
            }
            respond(services, &active.definition, begun).await
        }
        Err(fault) if matches!(fault.code, Code::RunActive | Code::AlreadyRun) => {
            Ok(skipped(services, &active.definition, fault))
        }
        Err(fault) => Err(fault),
    }
}

async fn resume_enqueueing(
    services: &ExtractorServices,
    sync: &str,
    version: &str,
    rest: &Continuation,
    deadline: Millis,
) -> Result<ExtractorResponse, Fault> {
    let definition = services.definitions.get(sync, version).await?.ok_or_else(|| unknown(sync))?;
    let engine = open::engine(services, &definition, deadline).await?;
    respond(services, &definition, resume(&engine, rest).await?).await
}

/// Runs every sync that waits for this event, each in an invocation of its own.
async fn start_matching_syncs(
    services: &ExtractorServices,
    id: &str,
    event: &Value,
) -> Result<ExtractorResponse, Fault> {
    let mut started = Vec::new();
    for listed in services.definitions.list().await? {
        if listed.paused || !waits_for(&listed.schedule, event) {
            continue;
        }
        services.functions.start(&services.settings.common.function, &event_trigger(&listed.sync, id)).await?;
        started.push(listed.sync);
    }
    tracing::info!(event = id, syncs = started.join(","), "an event of another system");
    Ok(ExtractorResponse::Started(started))
}

fn waits_for(schedule: &Schedule, event: &Value) -> bool {
    matches!(schedule, Schedule::On(on) if on.on.matches(event))
}

async fn plan(
    services: &ExtractorServices,
    sync: &str,
    full: bool,
    deadline: Millis,
) -> Result<ExtractorResponse, Fault> {
    let engine = engine(services, sync, deadline).await?;
    Ok(ExtractorResponse::Plan(Box::new(report::plan(&engine, full).await?)))
}

async fn check(services: &ExtractorServices, sync: &str, deadline: Millis) -> Result<ExtractorResponse, Fault> {
    let engine = engine(services, sync, deadline).await?;
    Ok(ExtractorResponse::Check(Box::new(report::check(&engine).await)))
}

async fn explain(
    services: &ExtractorServices,
    sync: &str,
    key: &str,
    deadline: Millis,
) -> Result<ExtractorResponse, Fault> {
    let engine = engine(services, sync, deadline).await?;
    Ok(ExtractorResponse::Explain(Box::new(explain::explain(&engine, key).await?)))
}

async fn engine(services: &ExtractorServices, sync: &str, deadline: Millis) -> Result<Engine, Fault> {
    open::engine(services, &active(services, sync).await?.definition, deadline).await
}

async fn active(services: &ExtractorServices, sync: &str) -> Result<ActiveDefinition, Fault> {
    services.definitions.active(sync).await?.ok_or_else(|| unknown(sync))
}

fn unknown(sync: &str) -> Fault {
    Fault::new(Code::NotFound, format!("There is no sync `{sync}` in this stack."))
        .with_next("apply it: `sluice apply --stack STACK`")
}

/// A question that has no answer is answered with the reason, to the person who waits for it.
fn answer_or_fault(answer: Result<ExtractorResponse, Fault>) -> Result<ExtractorResponse, Fault> {
    Ok(answer.unwrap_or_else(ExtractorResponse::Fault))
}

async fn respond(
    services: &ExtractorServices,
    definition: &Definition,
    started: Started,
) -> Result<ExtractorResponse, Fault> {
    let sync = &definition.sync;
    match started {
        Started::Closed(run) => report_closed(services, definition, run).await,
        Started::Running(run) => {
            tracing::info!(
                sync = sync.name,
                run = run.id,
                batches = run.batches,
                records = run.counts.to_send(),
                "everything is enqueued"
            );
            Ok(ExtractorResponse::Run(Box::new(run)))
        }
        Started::Deferred(run, rest) => {
            services
                .functions
                .start(&services.settings.common.function, &resume_event(&sync.name, &run.sync_version, &rest))
                .await?;
            tracing::info!(
                sync = sync.name,
                run = run.id,
                parts = rest.parts - rest.part,
                "the rest is enqueued by another invocation"
            );
            Ok(ExtractorResponse::Resumed { run: run.id })
        }
    }
}

async fn report_closed(
    services: &ExtractorServices,
    definition: &Definition,
    run: Run,
) -> Result<ExtractorResponse, Fault> {
    aws::report::run_closed(
        &services.metrics,
        services.store.as_ref(),
        services.clock.as_ref(),
        &definition.sync,
        &run,
    )
    .await;
    notify::alert(&open::alerting(services, definition).await, &run).await;
    Ok(ExtractorResponse::Run(Box::new(run)))
}

fn skipped(services: &ExtractorServices, definition: &Definition, fault: Fault) -> ExtractorResponse {
    let sync = &definition.sync;
    services.metrics.run_skipped(&sync.name, &sync.destination.connection, fault.code.as_str());
    tracing::warn!(sync = sync.name, code = fault.code.as_str(), "{}", fault.what);
    ExtractorResponse::Skipped(fault)
}
