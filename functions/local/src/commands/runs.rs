//! `sluice runs SYNC`: the newest runs.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::ports::StateStore;
use domain::run::Run;

use crate::output::{Out, duration, status, thousands, when};
use crate::project::Project;
use crate::{exit, open};

pub async fn run(project: &Project, sync: &str, limit: usize, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let (store, _temporary) = open::state_to_read(project).await?;
    show(store.as_ref(), &sync.name, limit, &format!("sluice run {}", sync.name), out).await
}

/// Prints the newest runs; `command` is what would make one.
pub async fn show(
    store: &dyn StateStore,
    sync: &str,
    limit: usize,
    command: &str,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let runs = store.runs(sync, limit).await?;
    out.value(&runs);
    if runs.is_empty() {
        out.line(format!("`{sync}` has not run yet: {command}"));
    }
    let row = |run: &Run| {
        let numbers = [
            run.counts.added,
            run.counts.changed,
            run.counts.removed,
            run.tally.accepted(),
            run.tally.rejected + run.tally.exhausted,
            run.counts.invalid,
        ];
        let mut row = vec![run.id.clone(), when(run.started), status(run)];
        row.extend(numbers.iter().map(|n| thousands(*n)));
        row.push(duration(run));
        row.push(run.fault.as_ref().map(|f| f.code.to_string()).unwrap_or_default());
        row
    };
    let head = [
        "id",
        "started (UTC)",
        "run",
        "added",
        "changed",
        "removed",
        "accepted",
        "rejected",
        "invalid",
        "time",
        "fault",
    ];
    out.table(&head, runs.iter().map(row).collect());
    Ok(ExitCode::from(exit::OK))
}
