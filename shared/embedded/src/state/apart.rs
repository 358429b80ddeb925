//! Dead letters and the limiter in the file.

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::dead_letter::DeadLetter;
use domain::key::KeyHash;
use domain::limiter::{self, Lease, LimiterState};
use rusqlite::{Connection, OptionalExtension as _, params};

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

pub(super) fn limiter(conn: &Connection, connection: &str) -> Result<LimiterState, StateError> {
    let mut statement = conn.prepare_cached("SELECT next_slot_micros FROM limiter WHERE connection = ?")?;
    let next = statement.query_row([connection], |row| row.get(0)).optional()?;
    Ok(next.map_or_else(LimiterState::default, |next_slot_micros| LimiterState { next_slot_micros }))
}

fn put_limiter(conn: &Connection, connection: &str, state: LimiterState) -> Result<(), StateError> {
    conn.prepare_cached("INSERT OR REPLACE INTO limiter (connection, next_slot_micros) VALUES (?, ?)")?
        .execute(params![connection, state.next_slot_micros])?;
    Ok(())
}

pub(super) fn lease(
    conn: &Connection,
    connection: &str,
    limit: RateLimit,
    now_micros: i64,
    want: u32,
) -> Result<Lease, StateError> {
    let (state, lease) = limiter::lease(limiter(conn, connection)?, limit, now_micros, want);
    put_limiter(conn, connection, state)?;
    Ok(lease)
}

pub(super) fn pause(conn: &Connection, connection: &str, until: Millis) -> Result<(), StateError> {
    put_limiter(conn, connection, limiter::pause(limiter(conn, connection)?, until))
}

pub(super) fn lift(conn: &Connection, connection: &str) -> Result<(), StateError> {
    conn.prepare_cached("DELETE FROM limiter WHERE connection = ?")?.execute([connection])?;
    Ok(())
}
