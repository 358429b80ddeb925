//! Opening SQLite databases: the settings of a connection, locking, and what SQLite's errors mean. The same
//! for a warehouse and for a destination.
//!
//! Everything here blocks: call it from `spawn_blocking` or a thread of its own.

use std::path::{Path, PathBuf};

use domain::clock::Span;
use domain::fault::{Code, Fault};
use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DatabasePlace, Role, SentSql};

/// Settings of an SQLite connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file, relative to the folder of `connections.yaml`. It must exist.
    pub path: PathBuf,
    /// How long to wait while another process holds the database locked.
    #[serde(default = "default_busy_timeout")]
    pub busy_timeout: Span,
}

fn default_busy_timeout() -> Span {
    Span::seconds(5)
}

/// A database file, found: all that opening it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteFile {
    /// The connection as people know it.
    pub place: DatabasePlace,
    /// The file, absolute where the working folder is known.
    pub path: PathBuf,
    /// The folder of `connections.yaml`.
    folder: PathBuf,
    busy_timeout: Span,
}

impl SqliteConfig {
    /// The file, its path beginning at `folder` when it is relative. Does not open it.
    pub fn file(&self, place: DatabasePlace, folder: &Path) -> SqliteFile {
        let path = folder.join(&self.path);
        SqliteFile {
            place,
            path: std::path::absolute(&path).unwrap_or(path),
            folder: folder.to_owned(),
            busy_timeout: self.busy_timeout,
        }
    }
}

impl SqliteFile {
    /// Which file that is, whatever links lead there. One within the folder of `connections.yaml` goes with the folder,
    /// so it is named from there.
    pub fn identity(&self) -> String {
        let whole = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let within = std::fs::canonicalize(&self.folder)
            .ok()
            .and_then(|folder| whole.strip_prefix(folder).ok().map(Path::to_owned));
        within.unwrap_or(whole).display().to_string()
    }

    /// Opens the file for reading only.
    pub fn open_read_only(&self) -> Result<Connection, Fault> {
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Opens the file for reading and writing.
    pub fn open_read_write(&self) -> Result<Connection, Fault> {
        self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, Fault> {
        if !self.path.is_file() {
            return Err(self.place.unreachable(format!("there is no database file {}.", self.path.display())).with_next(
                "Create the database, or correct `path` of the connection; a relative path begins at the folder of connections.yaml. Nothing was sent.",
            ));
        }
        let failed = |e: rusqlite::Error| self.fault(&e, None);
        let connection =
            Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        connection.busy_timeout(self.busy_timeout.0).map_err(failed)?;
        // Else a mistyped column in double quotes is taken for a text.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map_err(failed)?;
        // Opening reads nothing: only this tells whether the file is a database, and readable.
        connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(())).map_err(failed)?;
        Ok(connection)
    }

    /// What an error means to a person. `sent` is the person's own SQL, where the statement was that.
    pub fn fault(&self, error: &rusqlite::Error, sent: Option<SentSql<'_>>) -> Fault {
        let path = self.path.display();
        let place = &self.place;
        let message = message(error);
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                place.unreachable(format!("{path} is not an SQLite database (or it is encrypted)."))
            }
            Some(ErrorCode::DatabaseCorrupt) => place.unreachable(format!("{path} is damaged: {message}.")),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => place
                .unreachable(format!(
                    "another process holds {path} locked for longer than {} (busy_timeout).",
                    self.busy_timeout
                ))
                .with_next("Wait until the other process is done, or raise busy_timeout of the connection."),
            Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::DiskFull) => {
                place.unreachable(format!("{path} cannot be used: {message}."))
            }
            Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                place.denied(format!("access to {path} refused: {message}."))
            }
            Some(ErrorCode::ReadOnly) => match place.role {
                Role::Warehouse => place.failed(format!("a model can only read: {message}.")),
                Role::Destination => place.denied(format!("{path} cannot be written: {message}.")),
            },
            Some(ErrorCode::OperationInterrupted) => {
                Fault::new(Code::Interrupted, format!("{place}: the statement was stopped."))
            }
            _ => {
                let position = match (sent, error) {
                    (Some(sent), rusqlite::Error::SqlInputError { sql, offset, .. }) => {
                        // SQLite counts bytes, people count characters.
                        let bytes = usize::try_from(*offset).unwrap_or(usize::MAX);
                        sql.get(..bytes).map_or_else(String::new, |read| sent.position(read.chars().count()))
                    }
                    _ => String::new(),
                };
                let subject = if sent.is_some() { "the SQL fails" } else { "a statement fails" };
                place.failed(format!("{subject}{position}: {message}."))
            }
        }
    }
}

/// SQLite's own sentence, without the statement that the client's error repeats.
fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str) -> SqliteFile {
        let config: SqliteConfig =
            serde_json::from_value(serde_json::json!({ "path": name, "busy_timeout": "1ms" })).unwrap();
        config.file(DatabasePlace::warehouse("w"), folder)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        Connection::open(folder.path().join("good.db")).unwrap().execute_batch("create table t (a)").unwrap();
        folder
    }

    #[test]
    fn a_file_that_is_not_there_is_named_whole() {
        let fault = file(Path::new("/nowhere"), "x.db").open_read_write().unwrap_err();
        assert_eq!(fault.code, Code::WarehouseUnreachable);
        assert!(fault.what.contains("/nowhere/x.db"), "{}", fault.what);
    }

    #[test]
    fn a_file_that_is_no_database_says_so() {
        let folder = folder();
        std::fs::write(folder.path().join("text.db"), "hello, this is a text and not a database at all".repeat(50))
            .unwrap();
        let fault = file(folder.path(), "text.db").open_read_only().unwrap_err();
        assert!(fault.what.contains("not an SQLite database"), "{}", fault.what);
    }

    #[test]
    fn a_locked_database_says_so() {
        let folder = folder();
        let other = Connection::open(folder.path().join("good.db")).unwrap();
        other.execute_batch("begin exclusive").unwrap();
        let fault = file(folder.path(), "good.db").open_read_only().unwrap_err();
        assert!(fault.what.contains("locked for longer than 1ms"), "{}", fault.what);
    }

    #[test]
    fn wrong_sql_is_told_with_its_position() {
        let folder = folder();
        let file = file(folder.path(), "good.db");
        let connection = file.open_read_only().unwrap();
        let sql = "select 'é',\n  nope from t";
        let fault = file.fault(&connection.prepare(sql).unwrap_err(), Some(SentSql::plain(sql)));
        assert_eq!(fault.code, Code::ModelFailed);
        assert!(fault.what.contains("line 2, column 3: no such column: nope"), "{}", fault.what);
        let fault = file.fault(&connection.execute("delete from t", []).unwrap_err(), None);
        assert!(fault.what.contains("a model can only read"), "{}", fault.what);
    }
}
