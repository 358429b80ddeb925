//! Opens a sync: its warehouse, its destination, the state, the queue, as one [`Engine`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::fault::{Code, Fault};
use domain::finding::nearest;
use domain::ports::{Destination, Opening, StateStore, Warehouse};
use domain::sync::Sync;
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::slots::Slots;
use engine::{Context, Engine, Meter, Settings, Stop};

use crate::project::{Connection, Project, unique};
use crate::settings::Environment;

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

async fn warehouse(project: &Project, sync: &Sync) -> Result<Arc<dyn Warehouse>, Fault> {
    let name = &sync.model.warehouse;
    let connection = project.connection(name, &format!("model.warehouse of sync `{}`", sync.name))?;
    let entry =
        warehouses::find(&connection.kind).ok_or_else(|| unknown_kind(name, connection, "warehouse", warehouses::REGISTRY.iter().map(|e| e.name).collect()))?;
    (entry.open)(opening(name, connection, &project.folder)).await
}

async fn destination(project: &Project, sync: &Sync) -> Result<Arc<dyn Destination>, Fault> {
    let name = &sync.destination.connection;
    let connection = project.connection(name, &format!("destination.connection of sync `{}`", sync.name))?;
    let entry = destinations::find(&connection.kind)
        .ok_or_else(|| unknown_kind(name, connection, "destination", destinations::REGISTRY.iter().map(|e| e.name).collect()))?;
    if let Err(reason) = (entry.modes)(sync.mode) {
        let modes: Vec<_> = domain::mode::Mode::ALL.iter().filter(|m| (entry.modes)(**m).is_ok()).map(|m| m.name()).collect();
        let what = format!("Sync `{}` has mode {}, which a {} destination cannot honour: {reason}.", sync.name, sync.mode, entry.name);
        return Err(Fault::new(Code::SyncInvalid, what).with_next(format!("use one of {}", modes.join(", "))));
    }
    (entry.open)(opening(name, connection, &project.folder), &sync.destination).await
}

fn opening<'a>(name: &'a str, connection: &'a Connection, folder: &'a Path) -> Opening<'a> {
    Opening { name, config: &connection.config, folder, secrets: &Environment }
}

fn unknown_kind(name: &str, connection: &Connection, what: &str, known: Vec<&'static str>) -> Fault {
    let known = unique(known);
    let next = match nearest(&connection.kind, known.iter().copied()) {
        Some(near) => format!("did you mean `type: {near}`?"),
        None => format!("use one of {}", known.join(", ")),
    };
    Fault::new(Code::ConnectionInvalid, format!("Connection `{name}` has type `{}`, which is no {what}.", connection.kind)).with_next(next)
}
