//! `sluice plan SYNC`: a run that stops before sending. Writes nothing anywhere.

use std::process::ExitCode;

use domain::fault::Fault;
use engine::CancelToken;
use engine::explain::FieldDifference;
use engine::report::{PlanReport, SAMPLES, plan};

use crate::output::{Out, thousands};
use crate::progress::Bars;
use crate::project::Project;
use crate::{exit, open};

pub async fn run(project: &Project, sync: &str, full: bool, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    if let Some(file) = project.file_of(sync).filter(|_| !out.is_json()) {
        out.findings(&file.findings);
    }
    let (store, _temporary) = open::state_to_read(project).await?;
    let engine = open::engine(project, sync, store, CancelToken::default()).await?;
    let bars = Bars::new(out.is_json());
    let bar = bars.watch(&sync.name, engine.meter.clone());
    let report = plan(&engine, full).await?;
    drop(bar);
    Ok(show(&report, &format!("sluice run {}", sync.name), out))
}

/// Prints a plan; `command` is what delivers it.
pub fn show(plan: &PlanReport, command: &str, out: &Out) -> ExitCode {
    let (counts, hash) = (&plan.counts, &plan.plan_hash);
    out.value(plan);
    let numbers = [
        counts.rows,
        counts.added,
        counts.changed,
        counts.removed,
        counts.unchanged,
        counts.held,
        counts.invalid,
        plan.requests,
    ];
    let head = ["rows", "added", "changed", "removed", "unchanged", "held", "invalid", "requests"];
    out.table(&head, vec![numbers.iter().map(|n| thousands(*n)).collect()]);
    out.findings(&plan.findings);
    let mut rows = Vec::new();
    for sample in &plan.samples {
        let arrow = |d: &FieldDifference| match sample.compared {
            true => format!("{}: {} → {}", d.field, shown(&d.there), shown(&d.here)),
            false => format!("{}: {}", d.field, shown(&d.here)),
        };
        rows.push(vec![
            sample.change.clone(),
            sample.key.clone(),
            sample.fields.iter().map(arrow).collect::<Vec<_>>().join("\n"),
        ]);
    }
    out.table(&["change", "key", "fields that will be sent"], rows);
    let invalid = plan
        .invalid
        .iter()
        .take(SAMPLES)
        .map(|i| vec![i.key.clone(), i.why.field.clone(), i.why.rule.clone(), i.why.got.clone()]);
    out.table(&["invalid key", "field", "rule", "got"], invalid.collect());
    out.table(
        &["guard", "why the run would be blocked"],
        plan.tripped.iter().map(|t| vec![t.guard.clone(), t.why.clone()]).collect(),
    );
    plan.notes.iter().for_each(|note| out.line(format!("  {note}")));
    out.line(format!("plan hash {hash}; nothing was sent or written."));
    match plan.tripped.is_empty() {
        true if counts.to_send() == 0 => out.line("There is nothing to do."),
        true => out.line(format!("next: {command}")),
        false => out.line(format!("If this is meant: {command} --approve {hash}")),
    }
    ExitCode::from(if plan.tripped.is_empty() { exit::OK } else { exit::BLOCKED })
}

/// A value in a sample: short, and empty ones visible.
fn shown(value: &str) -> String {
    match value.chars().count() {
        0 => "∅".into(),
        n if n > 60 => value.chars().take(57).collect::<String>() + "…",
        _ => value.into(),
    }
}
