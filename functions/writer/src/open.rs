//! Opens what a message needs: the version of the sync that planned it, and its destination. Both are kept for the
//! messages to come, so that a token or a connection serves many.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws::settings::WRITABLE_FOLDER;
use domain::connection::Definition;
use domain::fault::Fault;
use engine::deliver::rate_limiter::RateLimiter;
use engine::notify::Alerting;
use engine::{CancelToken, Context, RunProgress, Settings};

use crate::cache::OpenedDestination;
use crate::renew::Renewing;
use crate::services::WriterServices;

/// Versions kept open; more than that at once is rare, and then all are opened anew.
const MAX_OPEN_DESTINATIONS: usize = 50;

/// What was applied is looked at again after this time.
const FRESH: Duration = Duration::from_secs(60);

/// What handling a message of this version needs, and what was applied; `None` when nobody knows the version.
pub async fn context(
    services: &WriterServices,
    sync: &str,
    version: &str,
    patience: Duration,
) -> Result<Option<(Context, Arc<Definition>)>, Fault> {
    let Some(opened) = opened(services, sync, version).await? else { return Ok(None) };
    let common = &services.settings.common;
    let renew = Renewing {
        definition: Arc::clone(&opened.definition),
        secrets: Arc::clone(&services.secrets),
        clock: Arc::clone(&services.clock),
        destinations: services.destinations.clone(),
    };
    let definition = Arc::clone(&opened.definition);
    let context = Context {
        sync: Arc::new(opened.definition.sync.clone()),
        destination: opened.destination,
        renew: Some(Arc::new(renew)),
        store: Arc::clone(&services.store),
        queue: Arc::clone(&services.queue) as _,
        plan_store: None,
        clock: Arc::clone(&services.clock),
        // A run that is closed under one message must not end the others.
        slots: Arc::new(opened.slots.share()),
        meter: Arc::new(RunProgress::default()),
        stop: CancelToken::default(),
        settings: Settings {
            stall: common.stall,
            claim: common.claim,
            rate: services.settings.rate,
            patience,
            ..Settings::default()
        },
    };
    Ok(Some((context, definition)))
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(services: &WriterServices, definition: &Definition) -> Alerting {
    let common = &services.settings.common;
    let topics = aws::alerts::topics(&services.clients, common.alert_topic.clone());
    let notifiers = destinations::alerts::open_available(
        &definition.sync.name,
        &definition.alerts,
        services.secrets.as_ref(),
        &topics,
    )
    .await;
    let (store, clock) = (Arc::clone(&services.store), Arc::clone(&services.clock));
    Alerting { store, clock, settings: definition.alerts.clone(), notifiers, stack: Some(common.stack.clone()) }
}

async fn opened(services: &WriterServices, sync: &str, version: &str) -> Result<Option<OpenedDestination>, Fault> {
    // One at a time: the messages of one event mostly need the same.
    let mut known = services.destinations.lock().await;
    let now = services.clock.now();
    if let Some(opened) = known.get(version).filter(|opened| now.since(opened.looked) < FRESH) {
        return Ok(Some(opened.clone()));
    }
    let Some(definition) = services.definitions.get(sync, version).await? else { return Ok(None) };
    // A connection may have been corrected since: the sync's version does not tell.
    if let Some(opened) = known.get_mut(version).filter(|opened| *opened.definition == definition) {
        opened.looked = now;
        return Ok(Some(opened.clone()));
    }
    let destination = destinations::open(
        &definition.sync,
        &definition.destination,
        Path::new(WRITABLE_FOLDER),
        services.secrets.as_ref(),
        &services.clock,
    )
    .await?;
    if known.len() >= MAX_OPEN_DESTINATIONS {
        known.clear();
    }
    let connection = &definition.sync.destination.connection;
    let slots = match known.values().find(|o| o.definition.sync.destination.connection == *connection) {
        Some(other) => Arc::clone(&other.slots),
        None => {
            let rate = services.settings.rate.or(destination.limits().rate);
            Arc::new(RateLimiter::new(connection, rate, Arc::clone(&services.store), Arc::clone(&services.clock)))
        }
    };
    let opened = OpenedDestination { definition: Arc::new(definition), destination, slots, looked: now };
    known.insert(version.to_owned(), opened.clone());
    Ok(Some(opened))
}
