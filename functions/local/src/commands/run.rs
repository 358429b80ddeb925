//! `sluice run SYNC`: one run from start to end. Ctrl-C stops it cleanly; a second Ctrl-C at once.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::run::Trigger;
use engine::CancelToken;
use engine::started::RunRequest;

use crate::exit;
use crate::output::Out;
use crate::progress::Bars;
use crate::project::Project;
use crate::session::run_sync;
use crate::signal::stop_on_signal;

pub async fn run(
    project: &Project,
    sync: &str,
    approve: Option<String>,
    full: bool,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let request = RunRequest { trigger: Trigger::Manual, approve, full };
    let stop = CancelToken::default();
    tokio::spawn(stop_on_signal(stop.clone()));
    let run = run_sync(project, sync, &request, stop, &Bars::new(out.is_json())).await?;
    out.report(&run);
    Ok(exit::of_run(&run))
}
