//! Opens a sync's engine: its connections, and the ports on AWS.

use std::path::Path;
use std::sync::Arc;

use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::Fault;
use engine::deliver::rate_limiter::RateLimiter;
use engine::notify::Alerting;
use engine::{CancelToken, Context, Deadline, Engine, RunProgress, Settings};

use aws::queue::SqsQueue;
use aws::settings::WRITABLE_FOLDER;

use crate::services::ExtractorServices;

/// Opens what a sync needs. Connects to nothing but AWS yet.
pub async fn engine(services: &ExtractorServices, definition: &Definition, deadline: Millis) -> Result<Engine, Fault> {
    let sync = &definition.sync;
    let folder = Path::new(WRITABLE_FOLDER);
    // Every run begins with secrets as they are now: one that was replaced counts from the next run on.
    services.secrets.forget();
    let warehouse =
        warehouses::open(&sync.model.warehouse, &definition.warehouse, folder, &services.secrets, &services.clock)
            .await?;
    let destination =
        destinations::open(sync, &definition.destination, folder, &services.secrets, &services.clock).await?;
    let connection = &sync.destination.connection;
    let url = services.queues.url(connection).await?;
    let common = &services.settings.common;
    let context = Context {
        sync: Arc::new(sync.clone()),
        slots: Arc::new(RateLimiter::new(
            connection,
            destination.limits().rate,
            Arc::clone(&services.store),
            Arc::clone(&services.clock),
        )),
        destination,
        renew: None,
        store: Arc::clone(&services.store),
        queue: Arc::new(SqsQueue::new(&services.clients, &url, &common.bucket, common.max_message_bytes)),
        plan_store: Some(Arc::clone(&services.plan_store)),
        clock: Arc::clone(&services.clock),
        meter: Arc::new(RunProgress::default()),
        stop: CancelToken::default(),
        settings: Settings {
            stall: common.stall,
            claim: common.claim,
            deadline: Some(Deadline { began: services.clock.now(), ends: deadline }),
            requests_per_message: services.settings.requests_per_message,
            spool_memory: common.spool_memory,
            spool_folder: folder.to_owned(),
            ..Settings::default()
        },
    };
    Ok(Engine { context, warehouse })
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(services: &ExtractorServices, definition: &Definition) -> Alerting {
    let common = &services.settings.common;
    let topics = aws::alerts::topics(&services.clients, common.alert_topic.clone());
    let notifiers =
        destinations::alerts::open_available(&definition.sync.name, &definition.alerts, &services.secrets, &topics)
            .await;
    let (store, clock) = (Arc::clone(&services.store), Arc::clone(&services.clock));
    Alerting { store, clock, settings: definition.alerts.clone(), notifiers, stack: Some(common.stack.clone()) }
}
