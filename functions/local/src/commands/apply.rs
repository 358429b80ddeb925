//! `sluice apply --stack NAME [SYNC…]`: makes the stack have what the project has. Shows it first.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::ports::Clock;
use embedded::SystemClock;

use crate::confirm::{Confirmation, confirm};
use crate::exit;
use crate::output::Out;
use crate::project::Project;
use crate::remote::Remote;
use crate::remote::apply::{ApplyStep, decide, perform};
use crate::remote::changes::{ApplyAction, StackChange};

pub async fn run(
    project: &Project,
    remote: &Remote,
    only: &[String],
    prune: bool,
    yes: bool,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let steps = decide(project, remote, only, prune).await?;
    show(&steps, out);
    let to_do: Vec<&ApplyStep> =
        steps.iter().filter(|s| !matches!(s.change.action, ApplyAction::Unchanged | ApplyAction::Left)).collect();
    let stack = &remote.stack.name;
    if to_do.is_empty() {
        report(&steps, false, out);
        out.line(format!("Nothing to do: the stack `{stack}` has what the project has."));
        return Ok(ExitCode::from(exit::OK));
    }
    if !yes {
        match confirm(&format!("Apply {} change(s) to the stack `{stack}`?", to_do.len()), "yes", out) {
            Confirmation::Yes => {}
            Confirmation::No => {
                out.line("Nothing was changed.");
                return Ok(ExitCode::from(exit::FAILED));
            }
            Confirmation::Nobody => {
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

fn show(steps: &[ApplyStep], out: &Out) {
    let row = |step: &ApplyStep| {
        let StackChange { sync, action, parts, schedule, paused } = &step.change;
        let what = match action {
            ApplyAction::Create => "create",
            ApplyAction::Change => "change",
            ApplyAction::Remove => "remove",
            ApplyAction::Left => "not in the project (--prune removes it)",
            ApplyAction::Unchanged => "unchanged",
        };
        vec![
            sync.clone(),
            what.to_owned(),
            parts.join(", "),
            format!("{schedule}{}", if *paused { " (paused)" } else { "" }),
        ]
    };
    out.table(&["sync", "what", "parts", "schedule"], steps.iter().map(row).collect());
}

fn report(steps: &[ApplyStep], applied: bool, out: &Out) {
    let changes: Vec<&StackChange> = steps.iter().map(|s| &s.change).collect();
    out.value(&serde_json::json!({ "applied": applied, "changes": changes }));
}

fn done(action: ApplyAction) -> &'static str {
    match action {
        ApplyAction::Create => "created",
        ApplyAction::Change => "changed",
        ApplyAction::Remove => "removed",
        ApplyAction::Left | ApplyAction::Unchanged => "kept",
    }
}
