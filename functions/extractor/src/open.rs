//! Opens a sync's engine: its connections, and the ports on AWS.

use std::path::Path;
use std::sync::Arc;

use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::Fault;
use engine::deliver::rate_limiter::Slots;
use engine::notify::Alerting;
use engine::{Context, Deadline, Engine, Meter, Settings, Stop};

use aws::queue::SqsQueue;

use crate::handler::House;

/// The only folder that a function may write to; relative paths of connections begin here.
const FOLDER: &str = "/tmp";

/// Opens what a sync needs. Connects to nothing but AWS yet.
pub async fn engine(house: &House, definition: &Definition, ends: Millis) -> Result<Engine, Fault> {
    let sync = &definition.sync;
    let folder = Path::new(FOLDER);
    // Every run begins with secrets as they are now: one that was replaced counts from the next run on.
    house.secrets.forget();
    let warehouse = warehouses::open(&sync.model.warehouse, &definition.warehouse, folder, &house.secrets).await?;
    let destination = destinations::open(sync, &definition.destination, folder, &house.secrets).await?;
    let connection = &sync.destination.connection;
    let url = house.queues.url(connection).await?;
    let common = &house.settings.common;
    let context = Context {
        sync: Arc::new(sync.clone()),
        slots: Arc::new(Slots::new(connection, destination.limits().rate, Arc::clone(&house.store), Arc::clone(&house.clock))),
        destination,
        renew: None,
        store: Arc::clone(&house.store),
        queue: Arc::new(SqsQueue::new(&house.clients, &url, &common.bucket, common.max_message_bytes)),
        shelf: Some(Arc::clone(&house.shelf)),
        clock: Arc::clone(&house.clock),
        meter: Arc::new(Meter::default()),
        stop: Stop::default(),
        settings: Settings {
            stall: common.stall,
            claim: common.claim,
            deadline: Some(Deadline { began: house.clock.now(), ends }),
            requests_per_message: house.settings.requests_per_message,
            spool_memory: common.spool_memory,
            spool_folder: folder.to_owned(),
            ..Settings::default()
        },
    };
    Ok(Engine { context, warehouse })
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(house: &House, definition: &Definition) -> Alerting {
    let common = &house.settings.common;
    let topics = aws::alerts::topics(&house.clients, common.alert_topic.clone());
    let notifiers = destinations::alerts::open_whoever_can(&definition.sync.name, &definition.alerts, &house.secrets, &topics).await;
    let (store, clock) = (Arc::clone(&house.store), Arc::clone(&house.clock));
    Alerting { store, clock, settings: definition.alerts.clone(), notifiers, stack: Some(common.stack.clone()) }
}
