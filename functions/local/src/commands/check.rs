//! `sluice check [SYNC]`: validates sync files and looks at both ends. Reads no rows, writes nothing.

use std::process::ExitCode;

use domain::fault::Fault;
use engine::CancelToken;
use engine::report::{CheckReport, check};

use crate::output::Out;
use crate::project::Project;
use crate::sync_file::SyncFile;
use crate::{exit, open};

pub async fn run(project: &Project, only: Option<&str>, out: &Out) -> Result<ExitCode, Fault> {
    if let Some(name) = only
        && !project.syncs().iter().any(|f| f.name() == name)
    {
        project.sync(name)?;
    }
    let mut all = Vec::new();
    for file in project.syncs().iter().filter(|f| only.is_none_or(|name| f.name() == name)) {
        let report = look(project, file).await.unwrap_or_else(|fault| CheckReport::refused(file.name(), &fault));
        show(&report, &file.path.display().to_string(), out);
        all.push(report);
    }
    if all.is_empty() {
        out.line("There is no sync in syncs/ yet; `sluice init` shows one.");
    }
    Ok(end(&all, out))
}

/// Prints one report for people; `place` says where its sync is defined.
pub fn show(report: &CheckReport, place: &str, out: &Out) {
    out.line(format!("{} {} ({place})", if report.ok { "✓" } else { "✗" }, report.sync));
    out.findings(&report.findings);
    report.cost.iter().for_each(|cost| out.line(format!("  {cost}")));
}

/// Prints all reports for machines, and says by the exit code whether all are good.
pub fn end(all: &[CheckReport], out: &Out) -> ExitCode {
    out.value(&all);
    ExitCode::from(if all.iter().all(|r| r.ok) { exit::OK } else { exit::FAILED })
}

async fn look(project: &Project, file: &SyncFile) -> Result<CheckReport, Fault> {
    let sync = file.sync.clone()?;
    let (store, _temporary) = open::state_to_read(project).await?;
    let mut report = check(&open::engine(project, &sync, store, CancelToken::default()).await?).await;
    report.ok &= file.blocked().is_ok();
    report.findings.extend(file.findings.iter().cloned());
    Ok(report)
}
