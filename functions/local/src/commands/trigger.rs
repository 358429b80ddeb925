//! `sluice trigger SYNC --stack NAME`: a run now, on AWS. Also when the sync is paused: a person asks for it.

use std::process::ExitCode;
use std::time::Duration;

use domain::fault::{Code, Fault};
use domain::run::Run;

use crate::exit;
use crate::output::Out;
use crate::remote::{Remote, state};

/// How often a run that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(2);

pub async fn run(
    remote: &Remote,
    sync: &str,
    approve: Option<&str>,
    full: bool,
    wait: bool,
    out: &Out,
) -> Result<ExitCode, Fault> {
    remote.active(sync).await?;
    let mut event = serde_json::json!({ "sync": sync });
    if full {
        event["full"] = true.into();
    }
    if let Some(hash) = approve {
        event["approve"] = hash.into();
    }
    if !wait {
        remote.tell(&event).await?;
        out.value(&serde_json::json!({ "sync": sync, "triggered": true }));
        out.line(format!("A run of `{sync}` was asked for. next: sluice runs {sync} --stack {}", remote.stack.name));
        return Ok(ExitCode::from(exit::OK));
    }
    let store = state(remote).await?;
    let mut run: Run = remote.ask(&event, "run").await?;
    while !run.status.is_closed() {
        tokio::time::sleep(LOOK).await;
        let gone = || Fault::new(Code::NotFound, format!("Run {} of sync `{sync}` is no longer in the state.", run.id));
        run = store.run(sync, &run.id).await?.ok_or_else(gone)?;
    }
    out.report(&run);
    Ok(exit::of_run(&run))
}
