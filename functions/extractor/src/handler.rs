//! One invocation of the extractor: what is asked, done with the engine, told to whoever watches.

use std::sync::Arc;

use aws::Clients;
use aws::deadline::ends;
use aws::definitions::{Active, Definitions};
use aws::invoke::Functions;
use aws::queue::QueueUrls;
use aws::secrets::AwsSecrets;
use aws::settings::Extractor;
use aws::shelf::S3Shelf;
use aws::state::DynamoState;
use aws::telemetry::{Metrics, start_logging};
use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::ports::SystemClock;
use domain::ports::{Clock, Shelf, StateStore};
use domain::run::Run;
use domain::schedule::Schedule;
use engine::continuation::resume;
use engine::notify;
use engine::plan::acquire::failed;
use engine::run::start;
use engine::started::Resume;
use engine::started::{Request, Started};
use engine::{Engine, report};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

use crate::open;
use crate::trigger::{Answer, Ask, caused_event, read, resume_event};
use crate::watch::watch;

/// What every invocation uses, made once at cold start.
pub struct House {
    /// The function's settings.
    pub settings: Extractor,
    /// The SDK's clients.
    pub clients: Clients,
    /// What was applied.
    pub definitions: Definitions,
    /// The state.
    pub store: Arc<dyn StateStore>,
    /// Secrets by reference.
    pub secrets: AwsSecrets,
    /// Stored plans.
    pub shelf: Arc<dyn Shelf>,
    /// The queues of the destinations.
    pub queues: QueueUrls,
    /// Other invocations.
    pub functions: Functions,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

impl House {
    /// Reads the settings and makes the clients. Calls nobody.
    pub async fn open() -> Result<Self, Fault> {
        let settings = Extractor::from_env()?;
        start_logging(&settings.common.log);
        Ok(Self::new(settings, Clients::new().await))
    }

    /// With these settings and clients.
    pub fn new(settings: Extractor, clients: Clients) -> Self {
        let common = &settings.common;
        Self {
            definitions: Definitions::new(&clients, &common.table),
            store: Arc::new(DynamoState::new(&clients, &common.table)),
            secrets: AwsSecrets::new(&clients),
            shelf: Arc::new(S3Shelf::new(&clients, &common.bucket)),
            queues: QueueUrls::new(&clients, &settings.queue_prefix),
            functions: Functions::new(&clients),
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(&common.stack),
            clients,
            settings,
        }
    }
}

/// Handles one event. An error makes AWS try the event again: it is one where no run came to be and which may pass.
pub async fn handle(house: &House, event: LambdaEvent<Value>) -> Result<Answer, Fault> {
    let ends = ends(event.context.deadline, house.clock.now());
    let answer = match read(&event.payload, &event.context.request_id) {
        Ok(ask) => answer(house, ask, ends).await,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = &answer {
        tracing::error!(code = fault.code.as_str(), next = fault.next_step(), "{}", fault.what);
    }
    answer
}

async fn answer(house: &House, ask: Ask, ends: Millis) -> Result<Answer, Fault> {
    match ask {
        Ask::Run { sync, request } => run(house, &active(house, &sync).await?, &request, ends).await,
        Ask::Resume { sync, version, rest } => go_on(house, &sync, &version, &rest, ends).await,
        Ask::Event { id, event } => cause(house, &id, &event).await,
        Ask::Plan { sync, full } => told(plan(house, &sync, full, ends).await),
        Ask::Check { sync } => told(check(house, &sync, ends).await),
        Ask::Explain { sync, key } => told(explain(house, &sync, &key, ends).await),
        Ask::Watch => watch(house, ends).await,
    }
}

async fn run(house: &House, active: &Active, request: &Request, ends: Millis) -> Result<Answer, Fault> {
    let sync = &active.definition.sync;
    let scheduled = !matches!(request.trigger, domain::run::Trigger::Invoke { .. });
    if active.paused && scheduled {
        return Ok(skipped(house, &active.definition, Fault::new(Code::Paused, format!("Sync `{}` is paused, so this tick did nothing.", sync.name))));
    }
    let started = || house.metrics.run_started(&sync.name, &sync.destination.connection);
    let engine = match open::engine(house, &active.definition, ends).await {
        Ok(engine) => engine,
        Err(fault) => {
            let run = failed(house.store.as_ref(), house.clock.as_ref(), sync, &request.trigger, fault).await?;
            started();
            return closed(house, &active.definition, run).await;
        }
    };
    match start(&engine, request).await {
        Ok(begun) => {
            started();
            // Whoever had that one is gone, so it is counted and told of here.
            if let Some(replaced) = notify::replaced_by(house.store.as_ref(), begun.run()).await {
                closed(house, &active.definition, replaced).await?;
            }
            tell(house, &active.definition, begun).await
        }
        Err(fault) if matches!(fault.code, Code::RunActive | Code::AlreadyRun) => Ok(skipped(house, &active.definition, fault)),
        Err(fault) => Err(fault),
    }
}

async fn go_on(house: &House, sync: &str, version: &str, rest: &Resume, ends: Millis) -> Result<Answer, Fault> {
    let definition = house.definitions.get(sync, version).await?.ok_or_else(|| unknown(sync))?;
    let engine = open::engine(house, &definition, ends).await?;
    tell(house, &definition, resume(&engine, rest).await?).await
}

/// Runs every sync that waits for this event, each in an invocation of its own.
async fn cause(house: &House, id: &str, event: &Value) -> Result<Answer, Fault> {
    let mut started = Vec::new();
    for listed in house.definitions.list().await? {
        if listed.paused || !waits_for(&listed.schedule, event) {
            continue;
        }
        house.functions.start(&house.settings.common.function, &caused_event(&listed.sync, id)).await?;
        started.push(listed.sync);
    }
    tracing::info!(event = id, syncs = started.join(","), "an event of another system");
    Ok(Answer::Started(started))
}

fn waits_for(schedule: &Schedule, event: &Value) -> bool {
    matches!(schedule, Schedule::On(on) if on.on.matches(event))
}

async fn plan(house: &House, sync: &str, full: bool, ends: Millis) -> Result<Answer, Fault> {
    let engine = engine(house, sync, ends).await?;
    Ok(Answer::Plan(Box::new(report::plan(&engine, full).await?)))
}

async fn check(house: &House, sync: &str, ends: Millis) -> Result<Answer, Fault> {
    let engine = engine(house, sync, ends).await?;
    Ok(Answer::Check(Box::new(report::check(&engine).await)))
}

async fn explain(house: &House, sync: &str, key: &str, ends: Millis) -> Result<Answer, Fault> {
    let engine = engine(house, sync, ends).await?;
    Ok(Answer::Explain(Box::new(report::explain(&engine, key).await?)))
}

async fn engine(house: &House, sync: &str, ends: Millis) -> Result<Engine, Fault> {
    open::engine(house, &active(house, sync).await?.definition, ends).await
}

async fn active(house: &House, sync: &str) -> Result<Active, Fault> {
    house.definitions.active(sync).await?.ok_or_else(|| unknown(sync))
}

fn unknown(sync: &str) -> Fault {
    Fault::new(Code::NotFound, format!("There is no sync `{sync}` in this stack.")).with_next("apply it: `sluice apply --stack STACK`")
}

/// A question that has no answer is answered with the reason, to the person who waits for it.
fn told(answer: Result<Answer, Fault>) -> Result<Answer, Fault> {
    Ok(answer.unwrap_or_else(Answer::Fault))
}

async fn tell(house: &House, definition: &Definition, started: Started) -> Result<Answer, Fault> {
    let sync = &definition.sync;
    match started {
        Started::Closed(run) => closed(house, definition, run).await,
        Started::Running(run) => {
            tracing::info!(sync = sync.name, run = run.id, batches = run.batches, records = run.counts.to_send(), "everything is enqueued");
            Ok(Answer::Run(Box::new(run)))
        }
        Started::Shelved(run, rest) => {
            house.functions.start(&house.settings.common.function, &resume_event(&sync.name, &run.sync_version, &rest)).await?;
            tracing::info!(sync = sync.name, run = run.id, parts = rest.parts - rest.part, "the rest is enqueued by another invocation");
            Ok(Answer::Resumed { run: run.id })
        }
    }
}

async fn closed(house: &House, definition: &Definition, run: Run) -> Result<Answer, Fault> {
    aws::report::run_closed(&house.metrics, house.store.as_ref(), house.clock.as_ref(), &definition.sync, &run).await;
    notify::tell(&open::alerting(house, definition).await, &run).await;
    Ok(Answer::Run(Box::new(run)))
}

fn skipped(house: &House, definition: &Definition, fault: Fault) -> Answer {
    let sync = &definition.sync;
    house.metrics.run_skipped(&sync.name, &sync.destination.connection, fault.code.as_str());
    tracing::warn!(sync = sync.name, code = fault.code.as_str(), "{}", fault.what);
    Answer::Skipped(fault)
}
