//! `sluice run SYNC`: one run from start to end. Ctrl-C stops it cleanly; a second Ctrl-C at once.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use domain::fault::Fault;
use domain::ports::StateStore;
use domain::run::{Run, Trigger};
use domain::sync::Sync;
use embedded::{SyncLock, SystemClock};
use engine::CancelToken;
use engine::notify::alert;
use engine::started::RunRequest;

use crate::output::Out;
use crate::progress::Bars;
use crate::project::Project;
use crate::{drive, exit, open};

/// Runs the command.
pub async fn run(project: &Project, sync: &str, approve: Option<String>, full: bool, out: &Out) -> Result<ExitCode, Fault> {
    let sync = project.sync(sync)?;
    let request = RunRequest { trigger: Trigger::Manual, approve, full };
    let stop = CancelToken::default();
    tokio::spawn(stop_on_signal(stop.clone()));
    let run = run_sync(project, sync, &request, stop, &Bars::new(out.is_json())).await?;
    out.report(&run);
    Ok(exit::of_run(&run))
}

/// Runs a sync, alone: the lock is held until the run is over.
pub async fn run_sync(project: &Project, sync: &Sync, request: &RunRequest, stop: CancelToken, bars: &Bars) -> Result<Run, Fault> {
    let _lock = SyncLock::acquire(&project.state_folder().join("locks"), &sync.name)?;
    let store = open::state(project).await?;
    let engine = match open::engine(project, sync, Arc::clone(&store), stop).await {
        Ok(engine) => engine,
        Err(fault) => {
            tell_of_failure(project, sync, store, request, &fault).await?;
            return Err(fault);
        }
    };
    let _bar = bars.watch(&sync.name, engine.meter.clone());
    let run = drive::run(&engine, request).await?;
    alert(&open::alerting(project, sync, store).await, &run).await;
    Ok(run)
}

/// A run that cannot begin is noted in the history if anybody is to be told of it; else the command itself says it.
async fn tell_of_failure(project: &Project, sync: &Sync, store: Arc<dyn StateStore>, request: &RunRequest, fault: &Fault) -> Result<(), Fault> {
    let alerting = open::alerting(project, sync, Arc::clone(&store)).await;
    if !alerting.notifiers.is_empty() {
        let run = engine::plan::acquire::failed(store.as_ref(), &SystemClock, sync, &request.trigger, fault.clone()).await?;
        alert(&alerting, &run).await;
    }
    Ok(())
}

/// Whoever terminates a process kills it some time later: a request that is not answered by then is given up.
const AFTER_TERMINATE: Duration = Duration::from_secs(8);

/// Stops at the first signal; at the second, or some time after one that terminates, ends the process.
pub async fn stop_on_signal(stop: CancelToken) {
    let Ok(signal) = wait_for_signal().await else { return };
    stop.cancel();
    let ends = match signal {
        Signal::Interrupt => wait_for_signal().await.is_ok(),
        Signal::Terminate => {
            tokio::time::timeout(AFTER_TERMINATE, wait_for_signal()).await.is_ok_and(|second| second.is_ok()) || {
                tracing::warn!("the destination does not answer: what was sent to it and not answered is sent again by the next run");
                true
            }
        }
    };
    if ends {
        // What was accepted and not yet committed is sent again by the next run.
        std::process::exit(i32::from(exit::FAILED));
    }
}

/// Why a process is to stop.
enum Signal {
    /// A person asks.
    Interrupt,
    /// The system does.
    Terminate,
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<Signal> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Signal::Interrupt),
        _ = terminate.recv() => Ok(Signal::Terminate),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<Signal> {
    tokio::signal::ctrl_c().await.map(|()| Signal::Interrupt)
}
