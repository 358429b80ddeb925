//! The state's file: how it is opened, what tables it has, and what is said when it cannot be used.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::fault::{Code, Fault};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Marks the file as ours: `Slui`.
const APPLICATION_ID: i32 = 0x536c_7569;
/// The version of the tables below.
const SCHEMA_VERSION: i32 = 3;
/// How long one statement waits for another process.
const BUSY: Duration = Duration::from_secs(5);
/// How long to go on trying while other processes write.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `part` is the state of one sync in one number of buckets. Rows of buckets and manifest pages are named
/// `part << 24 | number`: whole rows then lie next to each other on the pages of the file, which rows with a
/// composite key do not once they are larger than a quarter of a page.
const TABLES: &str = "
    CREATE TABLE head (sync TEXT PRIMARY KEY, version INTEGER NOT NULL, data TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE part (id INTEGER PRIMARY KEY, sync TEXT NOT NULL, bits INTEGER NOT NULL, UNIQUE (sync, bits));
    CREATE TABLE bucket (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE manifest (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, digests BLOB NOT NULL);
    CREATE TABLE run (sync TEXT NOT NULL, id TEXT NOT NULL, closed INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (sync, id));
    CREATE TABLE progress (run TEXT PRIMARY KEY, done INTEGER NOT NULL, total INTEGER, last INTEGER) WITHOUT ROWID;
    CREATE TABLE batch (run TEXT NOT NULL, number INTEGER NOT NULL, claim_until INTEGER NOT NULL, attempts INTEGER NOT NULL,
        done INTEGER NOT NULL, settled BLOB NOT NULL, tally TEXT, job TEXT, unseen BLOB NOT NULL DEFAULT x'', PRIMARY KEY (run, number)) WITHOUT ROWID;
    CREATE TABLE doubt (run TEXT NOT NULL, number INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (run, number)) WITHOUT ROWID;
    CREATE TABLE dead_letter (sync TEXT NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (sync, hash));
    CREATE INDEX dead_letter_at ON dead_letter (sync, at);
    CREATE TABLE limiter (connection TEXT PRIMARY KEY, next_slot_micros INTEGER NOT NULL) WITHOUT ROWID;
";

/// What can go wrong with the file once it is open.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Something in the file is not what was written there.
    #[error("{0} in it cannot be read")]
    Damaged(String),
}

impl StateError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        StateError::Damaged(what.into())
    }

    /// The sentence for people.
    pub(super) fn fault(&self, path: &Path) -> Fault {
        let file = path.display();
        let StateError::Sqlite(error) = self else {
            return Fault::new(Code::StateUnusable, format!("The state file {file} is damaged: {self}."))
                .with_next(RESTORE);
        };
        let unusable = |what: String| Fault::new(Code::StateUnusable, what);
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => not_ours(path, "it is not an SQLite database"),
            Some(ErrorCode::DatabaseCorrupt) => {
                unusable(format!("The state file {file} is damaged or was written only in part.")).with_next(RESTORE)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => unusable(format!(
                "The state file {file} is locked by another process and stayed so for {} seconds.",
                PATIENCE.as_secs()
            ))
            .with_next(
                "End the process that holds it (a database browser, a backup), then run again; nothing is lost.",
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => not_writable(path),
            Some(ErrorCode::CannotOpen) => unusable(format!("The state file {file} cannot be opened or created.")),
            Some(ErrorCode::DiskFull) => unusable(format!("The disk of the state file {file} is full.")),
            _ => unusable(format!("The state file {file} cannot be used: {error}.")),
        }
    }
}

const RESTORE: &str =
    "Restore the file from a backup. Without one, move it away: the next run then sends every record once more.";

fn not_ours(path: &Path, why: &str) -> Fault {
    Fault::new(Code::StateUnusable, format!("{} is not a state file of Sluicegate: {why}.", path.display()))
        .with_next("Name another file for the state, or move this one away; it was not changed.")
}

fn not_writable(path: &Path) -> Fault {
    Fault::new(Code::StateUnusable, format!("The state file {} cannot be written.", path.display()))
        .with_next("Give this user the right to write the file and its folder, then run again; nothing is lost.")
}

/// Opens the file for the writer; creates folder, file and tables if they are not there.
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    create_folder(path)?;
    let fault = |e: rusqlite::Error| StateError::from(e).fault(path);
    let conn = connect(path).map_err(fault)?;
    if conn.is_readonly("main").map_err(fault)? {
        return Err(not_writable(path));
    }
    check(path, &conn)?;
    // Only a file without tables takes the page size: two buckets and more to a page, read in one go.
    let mode = patiently(|| {
        conn.pragma_update(None, "page_size", 8192)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
    });
    let mode = mode.map_err(fault)?;
    if mode != "wal" {
        let what = format!(
            "The state file {} is on a file system that cannot share it between processes (journal mode {mode}).",
            path.display()
        );
        return Err(Fault::new(Code::StateUnusable, what).with_next("Keep the state on a local disk."));
    }
    set_up(&conn).map_err(fault)?;
    begin(&conn).map_err(fault)?;
    // Looked at again under the lock: another process may have created the tables since.
    let created = version(&conn).map_err(fault).and_then(|version| match version {
        0 => create(&conn).map_err(fault),
        1 => add_jobs(&conn).and_then(|()| add_unseen(&conn)).map_err(fault),
        2 => add_unseen(&conn).map_err(fault),
        _ => check(path, &conn),
    });
    conn.execute_batch(if created.is_ok() { "COMMIT" } else { "ROLLBACK" }).map_err(fault)?;
    created.map(|()| conn)
}

/// Opens the file for reading; it is there by then.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StateError> {
    let conn = connect(path)?;
    set_up(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    Ok(conn)
}

fn set_up(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    // Where the system has a weaker and a stronger way to flush (macOS), only the stronger one outlives a power cut.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)
}

fn version(conn: &Connection) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLES)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// From version 1 to version 2: a batch remembers its job.
fn add_jobs(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("ALTER TABLE batch ADD COLUMN job TEXT")
}

/// From version 2 to version 3: a batch remembers which records may have arrived unseen.
fn add_unseen(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("ALTER TABLE batch ADD COLUMN unseen BLOB NOT NULL DEFAULT x''")?;
    conn.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Refuses what is not ours or newer than us, before anything is written to it.
fn check(path: &Path, conn: &Connection) -> Result<(), Fault> {
    let fault = |e: rusqlite::Error| StateError::from(e).fault(path);
    // In one statement, so that all three are of one moment: another process may be creating the tables.
    let sql = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id, pragma_user_version";
    let look =
        || conn.query_row(sql, [], |row| Ok((row.get::<_, i32>(0)?, row.get::<_, i32>(1)?, row.get::<_, u32>(2)?)));
    let (application, version, tables) = patiently(look).map_err(fault)?;
    match (application, version, tables) {
        (APPLICATION_ID, version, _) if version > SCHEMA_VERSION => {
            let what = format!(
                "The state file {} was written by a newer Sluicegate (its version is {version}, this one knows {SCHEMA_VERSION}).",
                path.display()
            );
            Err(Fault::new(Code::StateUnusable, what)
                .with_next("Run it with the newer `sluice`; the file was not changed."))
        }
        (APPLICATION_ID, ..) | (0, 0, 0) => Ok(()),
        _ => Err(not_ours(path, "it is an SQLite database of another program")),
    }
}

/// Creates the file's folder so that it, too, outlives a power cut.
fn create_folder(path: &Path) -> Result<(), Fault> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let missing: Vec<PathBuf> =
        folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).map(Path::to_owned).collect();
    let fault = |e: std::io::Error| {
        Fault::new(
            Code::StateUnusable,
            format!("The folder {} for the state cannot be created: {e}.", folder.display()),
        )
    };
    std::fs::create_dir_all(folder).map_err(fault)?;
    #[cfg(unix)]
    for created in missing {
        let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(fault)?;
    }
    Ok(())
}

/// Begins a transaction that writes, waiting for other processes.
pub(super) fn begin(conn: &Connection) -> rusqlite::Result<()> {
    patiently(|| conn.execute_batch("BEGIN IMMEDIATE"))
}

/// Tries again while other processes are busy with the file: in some cases SQLite gives up without
/// waiting for its own time.
fn patiently<T>(mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy)) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}
