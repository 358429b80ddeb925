//! `sluice explain SYNC KEY`: one record, from both sides.

use std::process::ExitCode;

use domain::fault::Fault;
use engine::CancelToken;
use engine::explain::{ExplainReport, explain};

use crate::output::{Out, when};
use crate::project::Project;
use crate::{exit, open};

pub async fn run(project: &Project, sync: &str, key: &str, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let (store, _temporary) = open::state_to_read(project).await?;
    let engine = open::engine(project, sync, store, CancelToken::default()).await?;
    Ok(show(&explain(&engine, key).await?, out))
}

/// Prints what is known of the record.
pub fn show(e: &ExplainReport, out: &Out) -> ExitCode {
    out.value(e);
    let model = match (&e.record, &e.invalid, e.rows) {
        (Some(record), ..) => serde_json::to_string_pretty(record).unwrap_or_default(),
        (None, Some(why), _) => format!("invalid: `{}` {} (got {})", why.field, why.rule, why.got),
        (None, None, 0) => "no row".into(),
        (None, None, rows) => format!("{rows} row(s)"),
    };
    let state = match &e.stored {
        Some(a) => format!(
            "accepted, version {}, checksum {}{}",
            a.revision,
            a.checksum,
            a.record_id.as_ref().map(|id| format!(", record id {id}")).unwrap_or_default()
        ),
        None => "never accepted".into(),
    };
    let failure = e.failure.as_ref().map_or_else(
        || "none".into(),
        |t| format!("{:?} {} × since {}: {}", t.kind, t.failures, when(t.first), t.code).to_lowercase(),
    );
    let there = match &e.differs {
        None => "not compared: it cannot be read, or has no such record".into(),
        Some(fields) if fields.is_empty() => "the same as the model".into(),
        Some(fields) => fields
            .iter()
            .map(|d| format!("{}: has {}, model {}", d.field, d.there, d.here))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let rows = [
        ("model now", model),
        ("state", state),
        ("last failure", failure),
        ("destination", there),
        ("next run", e.verdict.clone()),
    ];
    out.table(&["", &e.key], rows.into_iter().map(|(a, b)| vec![a.to_owned(), b]).collect());
    ExitCode::from(exit::OK)
}
