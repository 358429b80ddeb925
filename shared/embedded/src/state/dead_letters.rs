//! Dead letters in the file.

use domain::dead_letter::DeadLetter;
use domain::key::KeyHash;
use rusqlite::{Connection, params};

use super::schema::StateError;

pub(super) fn put_dead_letters(conn: &Connection, letters: &[DeadLetter]) -> Result<(), StateError> {
    let mut statement =
        conn.prepare_cached("INSERT OR REPLACE INTO dead_letter (sync, hash, at, data) VALUES (?, ?, ?, ?)")?;
    for letter in letters {
        let data = serde_json::to_string(letter).map_err(|_| damaged_letter(&letter.sync))?;
        statement.execute(params![letter.sync, letter.hash.0, letter.at.0, data])?;
    }
    Ok(())
}

fn damaged_letter(sync: &str) -> StateError {
    StateError::damaged(format!("a dead letter of `{sync}`"))
}

pub(super) fn dead_letters(conn: &Connection, sync: &str, most: usize) -> Result<Vec<DeadLetter>, StateError> {
    let mut statement =
        conn.prepare_cached("SELECT data FROM dead_letter WHERE sync = ? ORDER BY at DESC, hash LIMIT ?")?;
    let rows =
        statement.query_map(params![sync, i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get::<_, String>(0))?;
    rows.map(|row| {
        row.map_err(StateError::from).and_then(|data| serde_json::from_str(&data).map_err(|_| damaged_letter(sync)))
    })
    .collect()
}

pub(super) fn remove_dead_letters(conn: &Connection, sync: &str, hashes: &[KeyHash]) -> Result<(), StateError> {
    let mut statement = conn.prepare_cached("DELETE FROM dead_letter WHERE sync = ? AND hash = ?")?;
    for hash in hashes {
        statement.execute(params![sync, hash.0])?;
    }
    Ok(())
}
