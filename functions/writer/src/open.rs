//! Opens what a message needs: the version of the sync that planned it, and its destination. Both are kept for the
//! messages to come, so that a token or a connection serves many.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::Fault;
use domain::ports::Destination;
use domain::sync::Sync;
use engine::deliver::rate_limiter::Slots;
use engine::notify::Alerting;
use engine::{Context, Meter, Settings, Stop};
use tokio::sync::Mutex;

use crate::handler::House;
use crate::renew::Renewing;

/// The only folder that a function may write to; relative paths of connections begin here.
pub const FOLDER: &str = "/tmp";

/// Versions kept open; more than that at once is rare, and then all are opened anew.
const MOST: usize = 50;

/// What was applied is looked at again after this time.
const FRESH: Duration = Duration::from_secs(60);

/// The versions of syncs that this process has seen.
#[derive(Clone, Default)]
pub struct Destinations(Arc<Mutex<HashMap<String, Opened>>>);

#[derive(Clone)]
struct Opened {
    definition: Arc<Definition>,
    destination: Arc<dyn Destination>,
    slots: Arc<Slots>,
    /// When the definition was last looked at.
    looked: Millis,
}

impl Destinations {
    /// Replaces the destination of this version.
    pub async fn keep(&self, sync: &Sync, destination: Arc<dyn Destination>) {
        if let Some(opened) = self.0.lock().await.get_mut(&sync.version()) {
            opened.destination = destination;
        }
    }
}

/// What handling a message of this version needs, and what was applied; `None` when nobody knows the version.
pub async fn context(house: &House, sync: &str, version: &str, patience: Duration) -> Result<Option<(Context, Arc<Definition>)>, Fault> {
    let Some(opened) = opened(house, sync, version).await? else { return Ok(None) };
    let common = &house.settings.common;
    let renew = Renewing { definition: Arc::clone(&opened.definition), secrets: Arc::clone(&house.secrets), destinations: house.destinations.clone() };
    let definition = Arc::clone(&opened.definition);
    let context = Context {
        sync: Arc::new(opened.definition.sync.clone()),
        destination: opened.destination,
        renew: Some(Arc::new(renew)),
        store: Arc::clone(&house.store),
        queue: Arc::clone(&house.queue) as _,
        shelf: None,
        clock: Arc::clone(&house.clock),
        // A run that is closed under one message must not end the others.
        slots: Arc::new(opened.slots.again()),
        meter: Arc::new(Meter::default()),
        stop: Stop::default(),
        settings: Settings { stall: common.stall, claim: common.claim, rate: house.settings.rate, patience, ..Settings::default() },
    };
    Ok(Some((context, definition)))
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(house: &House, definition: &Definition) -> Alerting {
    let common = &house.settings.common;
    let topics = aws::alerts::topics(&house.clients, common.alert_topic.clone());
    let notifiers = destinations::alerts::open_whoever_can(&definition.sync.name, &definition.alerts, house.secrets.as_ref(), &topics).await;
    let (store, clock) = (Arc::clone(&house.store), Arc::clone(&house.clock));
    Alerting { store, clock, settings: definition.alerts.clone(), notifiers, stack: Some(common.stack.clone()) }
}

async fn opened(house: &House, sync: &str, version: &str) -> Result<Option<Opened>, Fault> {
    // One at a time: the messages of one event mostly need the same.
    let mut known = house.destinations.0.lock().await;
    let now = house.clock.now();
    if let Some(opened) = known.get(version).filter(|opened| now.since(opened.looked) < FRESH) {
        return Ok(Some(opened.clone()));
    }
    let Some(definition) = house.definitions.get(sync, version).await? else { return Ok(None) };
    // A connection may have been corrected since: the sync's version does not tell.
    if let Some(opened) = known.get_mut(version).filter(|opened| *opened.definition == definition) {
        opened.looked = now;
        return Ok(Some(opened.clone()));
    }
    let destination = destinations::open(&definition.sync, &definition.destination, Path::new(FOLDER), house.secrets.as_ref()).await?;
    if known.len() >= MOST {
        known.clear();
    }
    let connection = &definition.sync.destination.connection;
    let slots = match known.values().find(|o| o.definition.sync.destination.connection == *connection) {
        Some(other) => Arc::clone(&other.slots),
        None => {
            let rate = house.settings.rate.or(destination.limits().rate);
            Arc::new(Slots::new(connection, rate, Arc::clone(&house.store), Arc::clone(&house.clock)))
        }
    };
    let opened = Opened { definition: Arc::new(definition), destination, slots, looked: now };
    known.insert(version.to_owned(), opened.clone());
    Ok(Some(opened))
}
