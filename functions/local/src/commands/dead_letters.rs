//! `sluice dead-letters list|retry|export SYNC`: records that could not be delivered.

use std::process::ExitCode;

use domain::dead_letter::DeadLetter;
use domain::fault::{Code, Fault};
use embedded::SyncLock;
use engine::commit::release;

use crate::cli::DeadLetters;
use crate::output::{Out, when};
use crate::project::Project;
use crate::{exit, open};

/// Letters that one command handles.
const MOST: usize = 1_000_000;

/// Runs the command.
pub async fn run(project: &Project, what: &DeadLetters, out: &Out) -> Result<ExitCode, Fault> {
    match what {
        DeadLetters::List { sync, most } => {
            let letters = letters(project, sync, *most).await?;
            out.value(&letters);
            if letters.is_empty() {
                out.line(format!("`{sync}` has no dead letters."));
            }
            let row = |l: &DeadLetter| vec![l.key.clone(), l.op.to_string(), l.code.clone(), l.detail.clone(), when(l.at), l.attempts.to_string()];
            out.table(&["key", "to", "code", "what the destination said", "at (UTC)", "attempts"], letters.iter().map(row).collect());
        }
        DeadLetters::Export { sync } => {
            let lines = Out::new(true);
            letters(project, sync, MOST).await?.iter().for_each(|l| lines.value(l));
        }
        DeadLetters::Retry { sync, keys } => retry(project, sync, keys, out).await?,
    }
    Ok(ExitCode::from(exit::OK))
}

async fn letters(project: &Project, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
    let sync = project.sync(sync)?;
    let (store, _temporary) = open::state_to_read(project).await?;
    store.dead_letters(&sync.name, most).await
}

async fn retry(project: &Project, sync: &str, keys: &[String], out: &Out) -> Result<(), Fault> {
    let name = &project.sync(sync)?.name;
    let _lock = SyncLock::acquire(&project.state_folder().join("locks"), name)?;
    let store = open::state(project).await?;
    let letters = store.dead_letters(name, MOST).await?;
    for key in keys {
        if !letters.iter().any(|l| l.key == *key) {
            return Err(Fault::new(Code::NotFound, format!("`{name}` has no dead letter with the key `{key}`."))
                .with_next(format!("list them: sluice dead-letters list {name}")));
        }
    }
    let chosen: Vec<_> = letters.iter().filter(|l| keys.is_empty() || keys.contains(&l.key)).map(|l| l.hash).collect();
    release(store.as_ref(), name, &chosen).await?;
    out.value(&serde_json::json!({ "sync": name, "released": chosen.len() }));
    out.line(format!("{} record(s) will be sent again, from their current rows, by the next run: sluice run {name}", chosen.len()));
    Ok(())
}
