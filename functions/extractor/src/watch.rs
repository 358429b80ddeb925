//! The watch: looks at every sync from time to time, for what no run can tell because there is none. Counts it, and tells
//! those who are told of the sync's problems. It starts no run and ends none.
//!
//! Of each sync it reads the definition, the head and the newest runs, and of one that is running its progress: a constant
//! number of reads, whatever the sync has. Secrets are asked for only when there is something to tell.

use std::time::Duration;

use aws::definitions::Listed;
use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::run::{Run, Status};
use domain::watch::{Known, Seen, look};
use engine::notify::{self, LOOK_BACK};

use crate::handler::House;
use crate::open;
use crate::trigger::{Answer, Watched};

/// Nobody is told anything in the last part of an invocation: the next watch does it, and this one is not cut off.
const LEFT: Duration = Duration::from_secs(60);

/// Somebody to tell of a sync.
struct News {
    definition: Definition,
    run: Run,
    seen: Seen,
}

/// Looks at every sync that is applied. Everything is counted before anybody is told, and a sync that cannot be looked at
/// hides no other.
pub async fn watch(house: &House, ends: Millis) -> Result<Answer, Fault> {
    let (mut watched, mut news) = (Vec::new(), Vec::new());
    for (sync, listed) in house.definitions.each().await? {
        let paused = listed.as_ref().is_ok_and(|listed| listed.paused);
        let looked = match listed {
            Ok(listed) => look_at(house, &listed).await,
            Err(fault) => Err(fault),
        };
        let (seen, fault) = match looked {
            Ok((seen, found)) => {
                news.extend(found);
                (Some(seen), None)
            }
            Err(fault) => {
                tracing::error!(sync, code = fault.code.as_str(), next = fault.next_step(), "the watch cannot look at a sync: {}", fault.what);
                (None, Some(fault))
            }
        };
        watched.push(Watched { sync, paused, seen, fault });
    }
    let faults = watched.iter().filter(|watched| watched.fault.is_some()).count();
    house.metrics.watched(watched.len() - faults, faults);
    for News { definition, run, seen } in news {
        if ends.since(house.clock.now()) < LEFT {
            tracing::warn!(sync = definition.sync.name, "no time is left to tell what the watch saw: the next one does");
            continue;
        }
        notify::tell_seen(&open::alerting(house, &definition).await, &run, &seen).await;
    }
    Ok(Answer::Watched(watched))
}

async fn look_at(house: &House, listed: &Listed) -> Result<(Seen, Option<News>), Fault> {
    let (store, sync) = (house.store.as_ref(), &listed.sync);
    let gone = || Fault::new(Code::StateUnusable, format!("Version {} of sync `{sync}` is active and not there.", listed.version));
    let definition = house.definitions.get(sync, &listed.version).await?.ok_or_else(gone)?;
    let (head, runs) = (store.head(sync).await?, store.runs(sync, LOOK_BACK).await?);
    let progress = match &head.active {
        Some(active) => store.last_progress(&active.run).await?,
        None => None,
    };
    let now = house.clock.now();
    let seen = look(&Known {
        schedule: &listed.schedule,
        paused: listed.paused,
        applied: listed.applied,
        resumed: listed.resumed,
        head: &head,
        last: runs.first(),
        progress,
        stall: house.settings.common.stall,
        freshness: definition.alerts.freshness,
        lateness: house.settings.lateness,
        now,
    });
    let seen = seen.map_err(|finding| Fault::new(Code::SyncInvalid, format!("Nobody can know when `{sync}` is due: {finding}.")))?;
    house.metrics.seen(sync, &definition.sync.destination.connection, &seen);
    report(sync, &seen);
    let closed = runs.iter().find(|run| run.status.is_closed() && run.status != Status::Skipped && !listed.paused);
    let news = closed.filter(|run| {
        let known = notify::Known { run, runs: &runs, head: &head, seen: Some(&seen), now };
        known.has_news(&definition.alerts, &house.settings.common.stack)
    });
    Ok((seen.clone(), news.cloned().map(|run| News { definition, run, seen })))
}

/// Which sync it is stands in the log; the alarm of the stack does not say it.
fn report(sync: &str, seen: &Seen) {
    if let Some(overdue) = &seen.overdue {
        tracing::warn!(sync, "{}", overdue.in_words());
    }
    if let Some(stalled) = &seen.stalled {
        tracing::warn!(sync, run = stalled.run, "{}", stalled.in_words());
    }
    if seen.freshness_missed {
        tracing::warn!(sync, freshness_seconds = seen.freshness_seconds, "what the destination has is older than it may be");
    }
}
