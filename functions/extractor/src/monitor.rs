//! The watch: looks at every sync from time to time, for what no run can tell because there is none. Counts it, and
//! tells those who are told of the sync's problems. It starts no run and ends none.
//!
//! Of each sync it reads the definition, the head and the newest runs, and of one that is running its progress: a
//! constant number of reads, whatever the sync has. Secrets are asked for only when there is something to tell.

use std::time::Duration;

use aws::definitions::Listed;
use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::monitoring::health::{SyncHealth, SyncSnapshot, assess};
use domain::run::{Run, Status};
use engine::notify::{self, LOOK_BACK};

use crate::open;
use crate::response::{ExtractorResponse, MonitorResponse};
use crate::services::ExtractorServices;

/// Nobody is told anything in the last part of an invocation: the next watch does it, and this one is not cut off.
const MIN_TIME_LEFT: Duration = Duration::from_secs(60);

/// Somebody to tell of a sync.
struct PendingAlert {
    definition: Definition,
    run: Run,
    seen: SyncHealth,
}

/// Looks at every sync that is applied. Everything is counted before anybody is told, and a sync that cannot be looked
/// at hides no other.
pub async fn monitor(services: &ExtractorServices, deadline: Millis) -> Result<ExtractorResponse, Fault> {
    let (mut watched, mut news) = (Vec::new(), Vec::new());
    for (sync, listed) in services.definitions.each().await? {
        let paused = listed.as_ref().is_ok_and(|listed| listed.paused);
        let looked = match listed {
            Ok(listed) => look_at(services, &listed).await,
            Err(fault) => Err(fault),
        };
        let (seen, fault) = match looked {
            Ok((seen, found)) => {
                news.extend(found);
                (Some(seen), None)
            }
            Err(fault) => {
                tracing::error!(
                    sync,
                    code = fault.code.as_str(),
                    next = fault.next_step(),
                    "the watch cannot look at a sync: {}",
                    fault.what
                );
                (None, Some(fault))
            }
        };
        watched.push(MonitorResponse { sync, paused, seen, fault });
    }
    let faults = watched.iter().filter(|watched| watched.fault.is_some()).count();
    services.metrics.watched(watched.len() - faults, faults);
    for PendingAlert { definition, run, seen } in news {
        if deadline.since(services.clock.now()) < MIN_TIME_LEFT {
            tracing::warn!(
                sync = definition.sync.name,
                "no time is left to tell what the watch saw: the next one does"
            );
            continue;
        }
        notify::alert_of_health(&open::alerting(services, &definition).await, &run, &seen).await;
    }
    Ok(ExtractorResponse::Watched(watched))
}

async fn look_at(services: &ExtractorServices, listed: &Listed) -> Result<(SyncHealth, Option<PendingAlert>), Fault> {
    let (store, sync) = (services.store.as_ref(), &listed.sync);
    let gone = || {
        Fault::new(Code::StateUnusable, format!("Version {} of sync `{sync}` is active and not there.", listed.version))
    };
    let definition = services.definitions.get(sync, &listed.version).await?.ok_or_else(gone)?;
    let (head, runs) = (store.head(sync).await?, store.runs(sync, LOOK_BACK).await?);
    let progress = match &head.active {
        Some(active) => store.last_progress(&active.run).await?,
        None => None,
    };
    let now = services.clock.now();
    let seen = assess(&SyncSnapshot {
        schedule: &listed.schedule,
        paused: listed.paused,
        applied: listed.applied,
        resumed: listed.resumed,
        head: &head,
        last: runs.first(),
        progress,
        stall: services.settings.common.stall,
        freshness: definition.alerts.freshness,
        lateness: services.settings.lateness,
        now,
    });
    let seen = seen.map_err(|finding| {
        Fault::new(Code::SyncInvalid, format!("Nobody can know when `{sync}` is due: {finding}."))
    })?;
    services.metrics.seen(sync, &definition.sync.destination.connection, &seen);
    report(sync, &seen);
    let closed = runs.iter().find(|run| run.status.is_closed() && run.status != Status::Skipped && !listed.paused);
    let news = closed.filter(|run| {
        let known = notify::AlertContext { run, runs: &runs, head: &head, seen: Some(&seen), now };
        known.has_news(&definition.alerts, &services.settings.common.stack)
    });
    Ok((seen.clone(), news.cloned().map(|run| PendingAlert { definition, run, seen })))
}

/// Which sync it is stands in the log; the alarm of the stack does not say it.
fn report(sync: &str, seen: &SyncHealth) {
    if let Some(overdue) = &seen.overdue {
        tracing::warn!(sync, "{}", overdue.in_words());
    }
    if let Some(stalled) = &seen.stalled {
        tracing::warn!(sync, run = stalled.run, "{}", stalled.in_words());
    }
    if seen.freshness_missed {
        tracing::warn!(
            sync,
            freshness_seconds = seen.freshness_seconds,
            "what the destination has is older than it may be"
        );
    }
}
