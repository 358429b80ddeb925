//! An apply in two halves: look at everything and decide, then do it. Each step can be repeated, and the order is such
//! that whatever interrupts it leaves a stack that works, and the next apply ends what this one began.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use domain::clock::Millis;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::finding::nearest;
use domain::schedule::Timed;
use domain::sync::Sync;

use super::Remote;
use super::changes::{ApplyAction, ScheduleStep, StackChange, parts, schedule_step};
use crate::project::Project;

/// One sync of an apply.
pub struct ApplyStep {
    pub change: StackChange,
    /// The definition to write.
    pub definition: Option<Definition>,
    /// What to do about the schedule.
    pub schedule: ScheduleStep,
}

/// A sync of the project that can be applied, as far as the project and the stack say.
struct Ready {
    definition: Definition,
    timed: Option<Timed>,
}

/// Decides what to do. `only`: these syncs; none: all. `prune`: what the project does not have goes. Writes nothing.
/// One file that is not valid is a fault, and nothing is applied.
pub async fn decide(project: &Project, remote: &Remote, only: &[String], prune: bool) -> Result<Vec<ApplyStep>, Fault> {
    let listed = remote.definitions.list().await?;
    let scheduled = remote.schedules.names().await?;
    let there: BTreeSet<&str> =
        listed.iter().map(|l| l.sync.as_str()).chain(scheduled.iter().map(String::as_str)).collect();
    let ours: BTreeSet<&str> = project.syncs().iter().map(|f| f.name()).collect();
    for name in only {
        if !ours.contains(name.as_str()) && !there.contains(name.as_str()) {
            project.sync(name)?;
        }
    }
    let chosen = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    let mut ready = Vec::new();
    for file in project.syncs().iter().filter(|f| chosen(f.name())) {
        ready.push(
            validate(
                project,
                file.sync.as_ref().map_err(Clone::clone)?,
                &remote.stack.name,
                &remote.stack.destinations,
            )
            .await?,
        );
    }
    let mut steps = Vec::new();
    for Ready { definition, timed } in ready {
        let name = definition.sync.name.clone();
        let current = listed.iter().find(|l| l.sync == name);
        let old = match current {
            Some(current) => remote.definitions.get(&name, &current.version).await?,
            None => None,
        };
        let paused = current.is_some_and(|c| c.paused);
        let kept = if scheduled.contains(&name) { remote.schedules.get(&name).await? } else { None };
        let schedule = schedule_step(kept.as_ref(), timed.map(|timed| remote.schedules.wanted(&name, &timed, !paused)));
        let mut parts = old.as_ref().map(|old| parts(old, &definition)).unwrap_or_default();
        let write = old.is_none() || !parts.is_empty();
        if old.is_some() && schedule != ScheduleStep::Keep && !parts.iter().any(|p| p == "schedule") {
            parts.push("schedule".into());
        }
        let action = match old {
            None => ApplyAction::Create,
            Some(_) if parts.is_empty() => ApplyAction::Unchanged,
            Some(_) => ApplyAction::Change,
        };
        let change = StackChange { sync: name, action, parts, schedule: definition.sync.schedule.in_words(), paused };
        steps.push(ApplyStep { change, definition: write.then_some(definition), schedule });
    }
    for name in there.into_iter().filter(|name| !ours.contains(name) && chosen(name)) {
        let (action, schedule) =
            if prune { (ApplyAction::Remove, ScheduleStep::Remove) } else { (ApplyAction::Left, ScheduleStep::Keep) };
        let current = listed.iter().find(|l| l.sync == name);
        let words = current.map_or_else(|| "a schedule without a sync".to_owned(), |l| l.schedule.in_words());
        let change = StackChange {
            sync: name.to_owned(),
            action,
            parts: vec![],
            schedule: words,
            paused: current.is_some_and(|c| c.paused),
        };
        steps.push(ApplyStep { change, definition: None, schedule });
    }
    Ok(steps)
}

/// Does a step. A definition is there before a schedule that starts it, and a schedule is gone before its definition.
pub async fn perform(remote: &Remote, step: &ApplyStep, now: Millis) -> Result<(), Fault> {
    let name = &step.change.sync;
    if let Some(definition) = &step.definition {
        remote.definitions.put(definition, now).await?;
    }
    match &step.schedule {
        ScheduleStep::Keep => {}
        ScheduleStep::Put(schedule) => remote.schedules.put(name, schedule).await?,
        ScheduleStep::Remove => {
            remote.schedules.remove(name).await?;
        }
    }
    if step.change.action == ApplyAction::Remove {
        remote.definitions.remove(name, now).await?;
    }
    Ok(())
}

/// All that can be known to be wrong with a sync on this machine, where its secrets are not.
async fn validate(project: &Project, sync: &Sync, stack: &str, queues: &[String]) -> Result<Ready, Fault> {
    let name = &sync.name;
    let timed =
        sync.schedule.timed().map_err(|finding| Fault::new(Code::SyncInvalid, format!("Sync `{name}`: {finding}.")));
    let errors: Vec<String> = sync.findings().iter().filter(|f| f.is_error()).map(|f| format!("\n  - {f}")).collect();
    if !errors.is_empty() {
        return Err(Fault::new(Code::SyncInvalid, format!("Sync `{name}` is not valid:{}", errors.concat())));
    }
    let timed = timed?;
    let warehouse = project.connection(&sync.model.warehouse, &format!("model.warehouse of sync `{name}`"))?;
    let connection = &sync.destination.connection;
    let destination = project.connection(connection, &format!("destination.connection of sync `{name}`"))?;
    warehouse.must_be_reachable(&sync.model.warehouse)?;
    destination.must_be_reachable(connection)?;
    // There is no folder on AWS that a path could begin at; a connector that needs one says so when it is opened there.
    let folder = Path::new("/");
    only_a_secret_missing(
        warehouses::open(&sync.model.warehouse, warehouse, folder, &NoSecrets, &project.clock).await.err(),
    )?;
    only_a_secret_missing(destinations::open(sync, destination, folder, &NoSecrets, &project.clock).await.err())?;
    // What comes after the secrets: with a stand-in for them, whatever is wrong with the sync itself.
    if let Err(fault) = destinations::open(sync, destination, folder, &PlaceholderSecrets, &project.clock).await
        && fault.code == Code::SyncInvalid
    {
        return Err(fault);
    }
    if !queues.contains(connection) {
        let what = format!(
            "Sync `{name}` writes to the connection `{connection}`, for which the stack `{stack}` has no queue and no writer."
        );
        let next = match nearest(connection, queues.iter().map(String::as_str)) {
            Some(near) => {
                format!("did you mean `{near}`? Else add `{connection}` to the destinations of the stack and deploy it")
            }
            None => format!(
                "add `{connection}` to the destinations of the stack and deploy it; it has {}",
                queues.join(", ")
            ),
        };
        return Err(Fault::new(Code::ConnectionInvalid, what).with_next(next));
    }
    let alerts = project.alerts(sync);
    Ok(Ready {
        definition: Definition {
            sync: sync.clone(),
            warehouse: warehouse.clone(),
            destination: destination.clone(),
            alerts,
        },
        timed,
    })
}

/// The secrets of a stack are for its functions. A connection that gets as far as asking for one has read its settings.
struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        Err(Fault::new(Code::SecretMissing, format!("{reference} is not asked for on this machine.")))
    }
}

/// Something in the place of every secret. Nothing is opened with it that is used.
struct PlaceholderSecrets;

#[async_trait]
impl SecretSource for PlaceholderSecrets {
    async fn get(&self, _: &Reference) -> Result<String, Fault> {
        Ok("stand-in".to_owned())
    }
}

fn only_a_secret_missing(fault: Option<Fault>) -> Result<(), Fault> {
    match fault {
        Some(fault) if fault.code != Code::SecretMissing => Err(fault),
        _ => Ok(()),
    }
}
