//! `sluice dead-letters list|retry|export SYNC`: records that could not be delivered.

use std::process::ExitCode;

use domain::dead_letter::DeadLetter;
use domain::fault::{Code, Fault};
use domain::ports::StateStore;
use embedded::SyncLock;
use engine::commit::release;

use crate::cli::DeadLettersCommand;
use crate::output::{Out, when};
use crate::project::Project;
use crate::{exit, open};

/// Letters that one command handles.
const MAX_LETTERS: usize = 1_000_000;

/// Runs the command on this machine.
pub async fn run(project: &Project, what: &DeadLettersCommand, out: &Out) -> Result<ExitCode, Fault> {
    let name = &project.sync(what.sync())?.name;
    if matches!(what, DeadLettersCommand::Retry { .. }) {
        let _lock = SyncLock::acquire(&project.state_folder().join("locks"), name)?;
        return on(open::state(project).await?.as_ref(), what, &format!("sluice run {name}"), out).await;
    }
    let (store, _temporary) = open::state_to_read(project).await?;
    on(store.as_ref(), what, "", out).await
}

/// The command on this state; `command` is what would make the next run.
pub async fn on(
    store: &dyn StateStore,
    what: &DeadLettersCommand,
    command: &str,
    out: &Out,
) -> Result<ExitCode, Fault> {
    match what {
        DeadLettersCommand::List { sync, limit } => {
            let letters = store.dead_letters(sync, *limit).await?;
            out.value(&letters);
            if letters.is_empty() {
                out.line(format!("`{sync}` has no dead letters."));
            }
            let row = |l: &DeadLetter| {
                vec![
                    l.key.clone(),
                    l.op.to_string(),
                    l.code.clone(),
                    l.detail.clone(),
                    when(l.at),
                    l.attempts.to_string(),
                ]
            };
            out.table(
                &["key", "to", "code", "what the destination said", "at (UTC)", "attempts"],
                letters.iter().map(row).collect(),
            );
        }
        DeadLettersCommand::Export { sync } => {
            let lines = Out::new(true);
            store.dead_letters(sync, MAX_LETTERS).await?.iter().for_each(|l| lines.value(l));
        }
        DeadLettersCommand::Retry { sync, keys } => retry(store, sync, keys, command, out).await?,
    }
    Ok(ExitCode::from(exit::OK))
}

async fn retry(store: &dyn StateStore, name: &str, keys: &[String], command: &str, out: &Out) -> Result<(), Fault> {
    let letters = store.dead_letters(name, MAX_LETTERS).await?;
    for key in keys {
        if !letters.iter().any(|l| l.key == *key) {
            return Err(Fault::new(Code::NotFound, format!("`{name}` has no dead letter with the key `{key}`."))
                .with_next(format!("list them: sluice dead-letters list {name}")));
        }
    }
    let chosen: Vec<_> = letters.iter().filter(|l| keys.is_empty() || keys.contains(&l.key)).map(|l| l.hash).collect();
    release(store, name, &chosen).await?;
    out.value(&serde_json::json!({ "sync": name, "released": chosen.len() }));
    out.line(format!(
        "{} record(s) will be sent again, from their current rows, by the next run: {command}",
        chosen.len()
    ));
    Ok(())
}
