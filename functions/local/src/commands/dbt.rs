//! `sluice dbt exposures`: what dbt's documentation should show of the syncs.

use std::path::Path;
use std::process::ExitCode;

use domain::fault::{Code, Fault};
use domain::sync::Sync;

use crate::cli::DbtCommand;
use crate::output::Out;
use crate::project::Project;
use crate::{dbt, exit};

pub fn run(project: &Project, what: &DbtCommand, out: &Out) -> Result<ExitCode, Fault> {
    let DbtCommand::Exposures { check } = what;
    let Some(settings) = project.dbt() else {
        let what = "connections.yaml has no `dbt`, so no sync reads a model of dbt.";
        return Err(Fault::new(Code::ConnectionInvalid, what)
            .with_next("add `dbt: { manifest: PATH/target/manifest.json }` to connections.yaml"));
    };
    let mut syncs: Vec<(&Sync, &str)> = Vec::new();
    for file in project.syncs() {
        // One that cannot be read may be one of them: a file without it would be out of date.
        let sync = file.sync.as_ref().map_err(Clone::clone)?;
        syncs.extend(file.dbt.as_deref().map(|reference| (sync, reference)));
    }
    let text = dbt::exposures(settings, &syncs)?;
    match check {
        None => {
            out.line(text.trim_end());
            Ok(ExitCode::from(exit::OK))
        }
        Some(file) => compare(file, &text, syncs.len(), out),
    }
}

fn compare(file: &Path, text: &str, syncs: usize, out: &Out) -> Result<ExitCode, Fault> {
    // An editor's line ends are no difference.
    let there = std::fs::read_to_string(file).map(|there| there.replace("\r\n", "\n"));
    if there.is_ok_and(|there| there.trim_end() == text.trim_end()) {
        out.line(format!("{} is up to date: {syncs} exposures.", file.display()));
        return Ok(ExitCode::from(exit::OK));
    }
    let what = format!("{} is not what `sluice dbt exposures` writes now.", file.display());
    Err(Fault::new(Code::PreflightFailed, what).with_next(format!("sluice dbt exposures > {}", file.display())))
}
