//! `sluice apply --stack NAME [SYNC…]`: makes the stack have what the project has. Shows it first.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::ports::Clock;
use embedded::SystemClock;

use crate::confirm::{Said, confirm};
use crate::exit;
use crate::output::Out;
use crate::project::Project;
use crate::remote::Remote;
use crate::remote::apply::{Step, decide, perform};
use crate::remote::changes::{Action, Change};

/// Runs the command.
pub async fn run(project: &Project, remote: &Remote, only: &[String], prune: bool, yes: bool, out: &Out) -> Result<ExitCode, Fault> {
    let steps = decide(project, remote, only, prune).await?;
    show(&steps, out);
    let to_do: Vec<&Step> = steps.iter().filter(|s| !matches!(s.change.action, Action::Unchanged | Action::Left)).collect();
    let stack = &remote.stack.name;
    if to_do.is_empty() {
        report(&steps, false, out);
        out.line(format!("Nothing to do: the stack `{stack}` has what the project has."));
        return Ok(ExitCode::from(exit::OK));
    }
    if !yes {
        match confirm(&format!("Apply {} change(s) to the stack `{stack}`?", to_do.len()), "yes", out) {
            Said::Yes => {}
            Said::No => {
                out.line("Nothing was changed.");
                return Ok(ExitCode::from(exit::FAILED));
            }
            Said::Nobody => {
                report(&steps, false, out);
                out.hint("Nothing was changed: there is no terminal to ask on. Add --yes to apply this.");
                return Ok(ExitCode::from(exit::USAGE));
            }
        }
    }
    for step in &to_do {
        perform(remote, step, SystemClock.now()).await?;
        out.line(format!("{} {}", done(step.change.action), step.change.sync));
    }
    report(&steps, true, out);
    Ok(ExitCode::from(exit::OK))
}

fn show(steps: &[Step], out: &Out) {
    let row = |step: &Step| {
        let Change { sync, action, parts, schedule, paused } = &step.change;
        let what = match action {
            Action::Create => "create",
            Action::Change => "change",
            Action::Remove => "remove",
            Action::Left => "not in the project (--prune removes it)",
            Action::Unchanged => "unchanged",
        };
        vec![sync.clone(), what.to_owned(), parts.join(", "), format!("{schedule}{}", if *paused { " (paused)" } else { "" })]
    };
    out.table(&["sync", "what", "parts", "schedule"], steps.iter().map(row).collect());
}

fn report(steps: &[Step], applied: bool, out: &Out) {
    let changes: Vec<&Change> = steps.iter().map(|s| &s.change).collect();
    out.value(&serde_json::json!({ "applied": applied, "changes": changes }));
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Change => "changed",
        Action::Remove => "removed",
        Action::Left | Action::Unchanged => "kept",
    }
}
