//! `sluice explain SYNC KEY`: one record, from both sides.

use std::process::ExitCode;

use domain::fault::{Code, Fault};
use domain::sync::Sync;
use engine::Stop;
use engine::explain::{Explained, explain};

use crate::output::{Out, when};
use crate::project::Project;
use crate::{exit, open};

/// Runs the command.
pub async fn run(project: &Project, sync: &str, key: &str, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let values = key_values(sync, key)?;
    let (store, _temporary) = open::state_to_read(project).await?;
    let engine = open::engine(project, sync, store, Stop::default()).await?;
    let explained = explain(&engine, &values).await?;
    print(key, &explained, out);
    Ok(ExitCode::from(exit::OK))
}

/// `7`, `7,EU`, or `["7", "E,U"]`.
fn key_values(sync: &Sync, key: &str) -> Result<Vec<String>, Fault> {
    if key.trim_start().starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(key)
            .map_err(|e| Fault::new(Code::NotFound, format!("The key `{key}` is no JSON array: {e}.")).with_next("write it as '[\"a\", 7]'"))?;
        return Ok(values.into_iter().map(|v| v.as_str().map(str::to_owned).unwrap_or_else(|| v.to_string())).collect());
    }
    if sync.model.key.len() == 1 {
        return Ok(vec![key.to_owned()]);
    }
    Ok(key.split(',').map(|v| v.trim().to_owned()).collect())
}

fn print(key: &str, e: &Explained, out: &Out) {
    let accepted = e.stored.as_ref().and_then(|s| s.accepted.as_ref());
    let trouble = e.stored.as_ref().and_then(|s| s.trouble.as_ref());
    out.value(&serde_json::json!({
        "key": key, "hash": e.hash, "rows": e.rows, "record": e.record, "invalid": e.invalid, "differs": e.differs, "verdict": e.verdict,
        "stored": accepted.map(|a| serde_json::json!({ "checksum": format!("{:016x}", a.checksum), "revision": a.revision, "record_id": a.record_id })),
        "trouble": trouble,
    }));
    let model = match (&e.record, &e.invalid, e.rows) {
        (Some(record), ..) => serde_json::to_string_pretty(record).unwrap_or_default(),
        (None, Some(why), _) => format!("invalid: `{}` {} (got {})", why.field, why.rule, why.got),
        (None, None, 0) => "no row".into(),
        (None, None, rows) => format!("{rows} row(s)"),
    };
    let state = match accepted {
        Some(a) => format!(
            "accepted, version {}, checksum {:016x}{}",
            a.revision,
            a.checksum,
            a.record_id.as_ref().map(|id| format!(", record id {id}")).unwrap_or_default()
        ),
        None => "never accepted".into(),
    };
    let trouble = trouble.map_or_else(|| "none".into(), |t| format!("{:?} {} × since {}: {}", t.kind, t.failures, when(t.first), t.code).to_lowercase());
    let there = match &e.differs {
        None => "not compared: it cannot be read, or has no such record".into(),
        Some(fields) if fields.is_empty() => "the same as the model".into(),
        Some(fields) => fields.iter().map(|d| format!("{}: has {}, model {}", d.field, d.there, d.here)).collect::<Vec<_>>().join("\n"),
    };
    let rows = [("model now", model), ("state", state), ("trouble", trouble), ("destination", there), ("next run", e.verdict.clone())];
    out.table(&["", key], rows.into_iter().map(|(a, b)| vec![a.to_owned(), b]).collect());
}
