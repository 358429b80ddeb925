//! Request slots and pauses of connections in the file.

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::limiter::{self, Lease, LimiterState};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::schema::StateError;

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
