//! One run of a sync on this machine, from opening its connections to alerting whom it concerns.

use std::sync::Arc;

use domain::fault::Fault;
use domain::ports::{StateStore, SystemClock};
use domain::run::Run;
use domain::sync::Sync;
use embedded::SyncLock;
use engine::CancelToken;
use engine::notify::alert;
use engine::started::RunRequest;

use crate::progress::Bars;
use crate::project::Project;
use crate::sync_file::SyncFile;
use crate::{drive, open};

/// Runs a sync, alone: the lock is held until the run is over.
pub async fn run_sync(
    project: &Project,
    sync: &Sync,
    request: &RunRequest,
    stop: CancelToken,
    bars: &Bars,
) -> Result<Run, Fault> {
    let _lock = SyncLock::acquire(&project.state_folder().join("locks"), &sync.name)?;
    let store = open::state(project).await?;
    let blocked = project.file_of(sync).map_or(Ok(()), SyncFile::blocked);
    let opened = match blocked {
        Ok(()) => open::engine(project, sync, Arc::clone(&store), stop).await,
        Err(fault) => Err(fault),
    };
    let engine = match opened {
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
async fn tell_of_failure(
    project: &Project,
    sync: &Sync,
    store: Arc<dyn StateStore>,
    request: &RunRequest,
    fault: &Fault,
) -> Result<(), Fault> {
    let alerting = open::alerting(project, sync, Arc::clone(&store)).await;
    if !alerting.notifiers.is_empty() {
        let run =
            engine::plan::acquire::failed(store.as_ref(), &SystemClock, sync, &request.trigger, fault.clone()).await?;
        alert(&alerting, &run).await;
    }
    Ok(())
}
