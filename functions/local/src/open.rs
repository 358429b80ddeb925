//! Opens a sync: its warehouse, its destination, the state, the queue, as one [`Engine`].

use std::sync::Arc;
use std::time::Duration;

use domain::fault::{Code, Fault};
use domain::ports::{Destination, StateStore, Warehouse};
use domain::sync::Sync;
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::alert::Alerting;
use engine::slots::Slots;
use engine::{Context, Engine, Meter, Settings, Stop};

use crate::project::Project;

/// Longer than any batch takes: on one machine nobody else takes over a message.
const VISIBILITY: Duration = Duration::from_secs(24 * 3600);

/// The state of a project for commands that write.
pub async fn state(project: &Project) -> Result<Arc<dyn StateStore>, Fault> {
    Ok(Arc::new(SqliteState::open(state_file(project)).await?))
}

/// The state of a project for commands that must not write: an empty one, gone afterwards, where there is none yet.
pub async fn state_to_read(project: &Project) -> Result<(Arc<dyn StateStore>, Option<tempfile::TempDir>), Fault> {
    if state_file(project).exists() {
        return Ok((state(project).await?, None));
    }
    let folder = tempfile::tempdir().map_err(|e| Fault::new(Code::StateUnusable, format!("A temporary folder cannot be made: {e}.")))?;
    let store = SqliteState::open(folder.path().join("state.db")).await?;
    Ok((Arc::new(store), Some(folder)))
}

fn state_file(project: &Project) -> std::path::PathBuf {
    project.state_folder().join("state.db")
}

/// Opens a sync on this state.
pub async fn engine(project: &Project, sync: &Sync, store: Arc<dyn StateStore>, stop: Stop) -> Result<Engine, Fault> {
    let warehouse = warehouse(project, sync).await?;
    let destination = destination(project, sync).await?;
    let clock = Arc::new(SystemClock);
    let limits = destination.limits();
    let context = Context {
        sync: Arc::new(sync.clone()),
        destination,
        queue: Arc::new(MemoryQueue::new(VISIBILITY)),
        shelf: None,
        renew: None,
        slots: Arc::new(Slots::new(&sync.destination.connection, limits.rate, Arc::clone(&store), clock.clone())),
        store,
        clock,
        meter: Arc::new(Meter::default()),
        stop,
        // The lock of the sync is ours, so whatever run the head names is dead.
        settings: Settings { stall: Duration::ZERO, spool_folder: project.state_folder().join("tmp"), ..Settings::default() },
    };
    Ok(Engine { context, warehouse })
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(project: &Project, sync: &Sync, store: Arc<dyn StateStore>) -> Alerting {
    let settings = project.alerts(sync);
    // A topic is told by the functions on AWS.
    let notifiers = destinations::alerts::open_whoever_can(&sync.name, &settings, &project.secrets, &|_, _| None).await;
    Alerting { store, clock: Arc::new(SystemClock), settings, notifiers, stack: None }
}

async fn warehouse(project: &Project, sync: &Sync) -> Result<Arc<dyn Warehouse>, Fault> {
    let name = &sync.model.warehouse;
    let connection = project.connection(name, &format!("model.warehouse of sync `{}`", sync.name))?;
    warehouses::open(name, connection, &project.folder, &project.secrets).await
}

async fn destination(project: &Project, sync: &Sync) -> Result<Arc<dyn Destination>, Fault> {
    let connection = project.connection(&sync.destination.connection, &format!("destination.connection of sync `{}`", sync.name))?;
    destinations::open(sync, connection, &project.folder, &project.secrets).await
}
