//! Opens a sync: its warehouse, its destination, the state, the queue, as one [`Engine`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::fault::{Code, Fault};
use domain::ports::{Destination, StateStore, Warehouse};
use domain::sync::Sync;
use embedded::{MemoryQueue, SqliteState};
use engine::deliver::rate_limiter::RateLimiter;
use engine::notify::Alerting;
use engine::{CancelToken, Context, Engine, RunProgress, Settings};

use crate::project::Project;

/// Longer than any batch takes: on one machine nobody else takes over a message.
const VISIBILITY: Duration = Duration::from_secs(24 * 3600);

/// The state of a project for commands that write.
pub async fn state(project: &Project) -> Result<Arc<dyn StateStore>, Fault> {
    let (file, made) = (state_file(project), project.state_folder().join(MADE));
    refuse_lost(&file, &made)?;
    let store = SqliteState::open(&file).await?;
    if !made.exists() {
        std::fs::write(&made, MADE_TEXT)
            .map_err(|e| Fault::new(Code::StateUnusable, format!("{} cannot be written: {e}.", made.display())))?;
    }
    Ok(Arc::new(store))
}

/// The state of a project for commands that must not write: an empty one, gone afterwards, where there is none yet, and
/// a copy where nothing may be written.
pub async fn state_to_read(project: &Project) -> Result<(Arc<dyn StateStore>, Option<tempfile::TempDir>), Fault> {
    let file = state_file(project);
    refuse_lost(&file, &project.state_folder().join(MADE))?;
    let refused = match file.exists() {
        true => match SqliteState::open(&file).await {
            Ok(store) => return Ok((Arc::new(store), None)),
            Err(fault) => Some(fault),
        },
        false => None,
    };
    let temporary =
        |e: std::io::Error| Fault::new(Code::StateUnusable, format!("A temporary folder cannot be used: {e}."));
    let folder = tempfile::tempdir().map_err(temporary)?;
    let copy = folder.path().join("state.db");
    if let Some(fault) = refused {
        let log = file.with_extension("db-wal");
        let copied = std::fs::copy(&file, &copy)
            .and_then(|_| if log.exists() { std::fs::copy(&log, copy.with_extension("db-wal")) } else { Ok(0) });
        // What cannot be read either is told as it was found.
        if copied.is_err() || std::fs::metadata(&copy).and_then(|of| writable(&copy, of)).is_err() {
            return Err(fault);
        }
        return SqliteState::open(&copy)
            .await
            .map(|store| (Arc::new(store) as Arc<dyn StateStore>, Some(folder)))
            .map_err(|_| fault);
    }
    Ok((Arc::new(SqliteState::open(copy).await?), Some(folder)))
}

/// A copy has the rights of what it was copied from.
fn writable(file: &Path, of: std::fs::Metadata) -> std::io::Result<()> {
    let mut rights = of.permissions();
    #[allow(
        clippy::permissions_set_readonly_false,
        reason = "a file in a temporary folder that nobody else may enter"
    )]
    rights.set_readonly(false);
    std::fs::set_permissions(file, rights)
}

/// Says that there is a state, should its file be gone.
const MADE: &str = "state.made";
const MADE_TEXT: &str = "state.db beside this file holds what was delivered. As long as this file is there, a missing state.db is a mistake and not a beginning.\n";

/// A state that was there and is gone would have every record sent again, and nothing deleted that should be.
fn refuse_lost(file: &Path, made: &Path) -> Result<(), Fault> {
    let what = match std::fs::metadata(file) {
        Ok(found) if found.len() == 0 => "is empty",
        Ok(_) => return Ok(()),
        Err(_) if made.exists() => "is gone",
        Err(_) => return Ok(()),
    };
    if !made.exists() {
        return Ok(());
    }
    let what =
        format!("The state file {} was there and {what}: what was delivered is not known any more.", file.display());
    let next = format!(
        "Restore it from a backup. To begin anew, with every record sent once more: delete {} and run again.",
        made.display()
    );
    Err(Fault::new(Code::StateUnusable, what).with_next(next))
}

fn state_file(project: &Project) -> PathBuf {
    project.state_folder().join("state.db")
}

/// Opens a sync on this state.
pub async fn engine(
    project: &Project,
    sync: &Sync,
    store: Arc<dyn StateStore>,
    stop: CancelToken,
) -> Result<Engine, Fault> {
    let warehouse = warehouse(project, sync).await?;
    let destination = destination(project, sync).await?;
    let clock = Arc::clone(&project.clock);
    let limits = destination.limits();
    let context = Context {
        sync: Arc::new(sync.clone()),
        destination,
        queue: Arc::new(MemoryQueue::new(VISIBILITY)),
        plan_store: None,
        renew: None,
        slots: Arc::new(RateLimiter::new(&sync.destination.connection, limits.rate, Arc::clone(&store), clock.clone())),
        store,
        clock,
        meter: Arc::new(RunProgress::default()),
        stop,
        // The lock of the sync is ours, so whatever run the head names is dead.
        settings: Settings {
            stall: Duration::ZERO,
            spool_folder: project.state_folder().join("tmp"),
            ..Settings::default()
        },
    };
    Ok(Engine { context, warehouse })
}

/// Those who are told of a sync's problems. Whoever cannot be opened is left out: no run fails because of that.
pub async fn alerting(project: &Project, sync: &Sync, store: Arc<dyn StateStore>) -> Alerting {
    let settings = project.alerts(sync);
    // A topic is told by the functions on AWS.
    let notifiers = destinations::alerts::open_available(&sync.name, &settings, &project.secrets, &|_, _| None).await;
    Alerting { store, clock: Arc::clone(&project.clock), settings, notifiers, stack: None }
}

async fn warehouse(project: &Project, sync: &Sync) -> Result<Arc<dyn Warehouse>, Fault> {
    let name = &sync.model.warehouse;
    let connection = project.connection(name, &format!("model.warehouse of sync `{}`", sync.name))?;
    warehouses::open(name, connection, &project.folder, &project.secrets, &project.clock).await
}

async fn destination(project: &Project, sync: &Sync) -> Result<Arc<dyn Destination>, Fault> {
    let connection =
        project.connection(&sync.destination.connection, &format!("destination.connection of sync `{}`", sync.name))?;
    destinations::open(sync, connection, &project.folder, &project.secrets, &project.clock).await
}
