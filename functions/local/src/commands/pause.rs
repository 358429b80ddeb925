//! `sluice pause|resume SYNC --stack NAME`: stops a sync's schedule and events, and lets them go on. A tick that was
//! missed in between is not made up.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::ports::Clock;
use domain::ports::SystemClock;

use crate::exit;
use crate::output::Out;
use crate::remote::Remote;
use crate::remote::changes::{ScheduleStep, schedule_step};

/// Runs the command. Repeating it mends what an interrupted one left.
pub async fn run(remote: &Remote, sync: &str, pause: bool, out: &Out) -> Result<ExitCode, Fault> {
    let active = remote.active(sync).await?;
    let timed = active.definition.sync.schedule.timed().unwrap_or(None);
    let there = remote.schedules.get(sync).await?;
    let schedule = schedule_step(there.as_ref(), timed.map(|timed| remote.schedules.wanted(sync, &timed, !pause)));
    let changed = active.paused != pause || schedule != ScheduleStep::Keep;
    // The flag first: from here on the extractor refuses the ticks that are on their way.
    if active.paused != pause && !remote.definitions.set_paused(sync, pause, SystemClock.now()).await? {
        return Err(remote.unknown(sync).await?);
    }
    if let ScheduleStep::Put(schedule) = &schedule {
        remote.schedules.put(sync, schedule).await?;
    }
    out.value(&serde_json::json!({ "sync": sync, "paused": pause, "changed": changed }));
    let words = active.definition.sync.schedule.in_words();
    let stack = &remote.stack.name;
    match (pause, changed) {
        (true, true) => out.line(format!("`{sync}` is paused ({words}). A run that is going on ends by itself. next: sluice resume {sync} --stack {stack}")),
        (true, false) => out.line(format!("`{sync}` is paused already.")),
        (false, true) => {
            out.line(format!("`{sync}` runs again by its schedule ({words}); what was missed is not made up: sluice trigger {sync} --stack {stack}"))
        }
        (false, false) => out.line(format!("`{sync}` is not paused.")),
    }
    Ok(ExitCode::from(exit::OK))
}
