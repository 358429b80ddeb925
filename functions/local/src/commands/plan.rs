//! `sluice plan SYNC`: a run that stops before sending. Writes nothing anywhere.

use std::process::ExitCode;

use domain::cells::Cells;
use domain::fault::Fault;
use domain::key::display_key;
use engine::entries::Kind;
use engine::explain::{FieldDifference, differences};
use engine::extract::split;
use engine::plan::{Plan, plan};
use engine::{Engine, Stop};
use serde::Serialize;

use crate::output::{Out, thousands};
use crate::progress::Bars;
use crate::project::Project;
use crate::{exit, open};

/// Samples of each kind of change.
const SAMPLES: usize = 5;

/// One record of the plan, as a sample.
#[derive(Debug, Serialize)]
struct Sample {
    change: &'static str,
    key: String,
    /// The fields that differ from what the destination has; all fields where it cannot be read.
    fields: Vec<FieldDifference>,
    /// The destination could be read.
    compared: bool,
}

/// Runs the command.
pub async fn run(project: &Project, sync: &str, full: bool, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let (store, _temporary) = open::state_to_read(project).await?;
    let engine = open::engine(project, sync, store, Stop::default()).await?;
    let bars = Bars::new(out.is_json());
    let bar = bars.watch(&sync.name, engine.meter.clone());
    let head = engine.store.head(&sync.name).await?;
    let mut plan = plan(&engine, &head, full).await?;
    drop(bar);
    let samples = samples(&engine, &mut plan).await?;
    let requests = plan.requests(engine.destination.limits_for(plan.load(engine.sync.mode)).batch_records);
    print(&sync.name, &plan, &samples, requests, out);
    Ok(ExitCode::from(if plan.tripped.is_empty() { exit::OK } else { exit::BLOCKED }))
}

fn print(name: &str, plan: &Plan, samples: &[Sample], requests: u64, out: &Out) {
    let (counts, hash) = (plan.counts(), &plan.difference.hash);
    out.value(&serde_json::json!({
        "sync": name, "plan_hash": hash, "full": plan.full, "counts": counts, "requests": requests, "known": plan.difference.known,
        "tripped": plan.tripped, "invalid": plan.model.invalid_first, "samples": samples, "findings": plan.findings,
    }));
    let numbers = [counts.rows, counts.added, counts.changed, counts.removed, counts.unchanged, counts.held, counts.invalid, requests];
    let head = ["rows", "added", "changed", "removed", "unchanged", "held", "invalid", "requests"];
    out.table(&head, vec![numbers.iter().map(|n| thousands(*n)).collect()]);
    out.findings(&plan.findings);
    let mut rows = Vec::new();
    for sample in samples {
        let arrow = |d: &FieldDifference| match sample.compared {
            true => format!("{}: {} → {}", d.field, shown(&d.there), shown(&d.here)),
            false => format!("{}: {}", d.field, shown(&d.here)),
        };
        rows.push(vec![sample.change.to_owned(), sample.key.clone(), sample.fields.iter().map(arrow).collect::<Vec<_>>().join("\n")]);
    }
    out.table(&["change", "key", "fields that will be sent"], rows);
    let invalid = plan.model.invalid_first.iter().take(SAMPLES).map(|i| vec![i.key.clone(), i.why.field.clone(), i.why.rule.clone(), i.why.got.clone()]);
    out.table(&["invalid key", "field", "rule", "got"], invalid.collect());
    out.table(&["guard", "why the run would be blocked"], plan.tripped.iter().map(|t| vec![t.guard.clone(), t.why.clone()]).collect());
    out.line(format!("plan hash {hash}; nothing was sent or written."));
    match plan.tripped.is_empty() {
        true if counts.to_send() == 0 => out.line("There is nothing to do."),
        true => out.line(format!("next: sluice run {name}")),
        false => out.line(format!("If this is meant: sluice run {name} --approve {hash}")),
    }
}

/// A value in a sample: short, and empty ones visible.
fn shown(value: &str) -> String {
    match value.chars().count() {
        0 => "∅".into(),
        n if n > 60 => value.chars().take(57).collect::<String>() + "…",
        _ => value.into(),
    }
}

async fn samples(engine: &Engine, plan: &mut Plan) -> Result<Vec<Sample>, Fault> {
    let mut out = Vec::new();
    for (kind, change) in [(Kind::Added, "added"), (Kind::Changed, "changed")] {
        let entries: Vec<_> = plan.model.entries.iter().filter(|e| e.kind() == kind).take(SAMPLES).copied().collect();
        let mut records = Vec::new();
        for entry in entries {
            records.push(plan.model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?.to_vec());
        }
        if records.is_empty() {
            continue;
        }
        let layout = &plan.model.layout;
        // A destination that does not answer now spoils the comparison, not the plan.
        let compared = differences(engine, layout, &records).await.unwrap_or(None).unwrap_or_else(|| vec![None; records.len()]);
        for (record, differs) in records.iter().zip(compared) {
            let (key, fields) = split(record);
            let whole = || layout.pairs(fields).map(|(f, v)| FieldDifference { field: f.to_owned(), there: String::new(), here: v.to_text().into() }).collect();
            out.push(Sample { change, key: display_key(key), compared: differs.is_some(), fields: differs.unwrap_or_else(whole) });
        }
    }
    for gone in plan.difference.removed.iter().take(SAMPLES) {
        out.push(Sample { change: "removed", key: display_key(Cells(&gone.identifier)), compared: false, fields: vec![] });
    }
    Ok(out)
}
