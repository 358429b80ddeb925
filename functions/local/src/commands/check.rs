//! `sluice check [SYNC]`: validates sync files and looks at both ends. Reads no rows, writes nothing.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::finding::Finding;
use engine::Stop;
use engine::prepare::{Preflight, preflight};

use crate::output::Out;
use crate::project::{Project, SyncFile};
use crate::{exit, open};

/// Runs the command.
pub async fn run(project: &Project, only: Option<&str>, out: &Out) -> Result<ExitCode, Fault> {
    if let Some(name) = only
        && !project.syncs().iter().any(|f| f.name() == name)
    {
        project.sync(name)?;
    }
    let (mut all, mut failed) = (Vec::new(), false);
    for file in project.syncs().iter().filter(|f| only.is_none_or(|name| f.name() == name)) {
        let findings = match look(project, file).await {
            Ok(findings) => findings,
            Err(fault) => vec![Finding::error(fault.code.as_str(), fault.what.clone(), fault.next_step())],
        };
        let good = !findings.iter().any(Finding::is_error);
        failed |= !good;
        out.line(format!("{} {} ({})", if good { "✓" } else { "✗" }, file.name(), file.path.display()));
        out.findings(&findings);
        all.push(serde_json::json!({ "sync": file.name(), "ok": good, "findings": findings }));
    }
    if all.is_empty() {
        out.line("There is no sync in syncs/ yet; `sluice init` shows one.");
    }
    out.value(&all);
    Ok(ExitCode::from(if failed { exit::FAILED } else { exit::OK }))
}

async fn look(project: &Project, file: &SyncFile) -> Result<Vec<Finding>, Fault> {
    let sync = file.sync.clone()?;
    let (store, _temporary) = open::state_to_read(project).await?;
    let engine = open::engine(project, &sync, store, Stop::default()).await?;
    Ok(match preflight(&engine).await? {
        Preflight::Ready(prepared) => prepared.findings,
        Preflight::Refused(findings) => findings,
    })
}
