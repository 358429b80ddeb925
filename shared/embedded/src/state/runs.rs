//! Runs and their batches in the file.

use domain::clock::Millis;
use domain::in_doubt::{ClaimNotes, InDoubt};
use domain::ports::{Claim, Progress};
use domain::run::{BatchState, Run, Tally};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::schema::StateError;

pub(super) fn put_run(conn: &Connection, run: &Run) -> Result<(), StateError> {
    let data = serde_json::to_string(run).map_err(|_| damaged_run(&run.id))?;
    conn.prepare_cached(
        "INSERT INTO run (sync, id, closed, data) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET closed = excluded.closed, data = excluded.data WHERE excluded.closed OR NOT run.closed",
    )?
    .execute(params![run.sync, run.id, run.status.is_closed(), data])?;
    Ok(())
}

fn damaged_run(id: &str) -> StateError {
    StateError::damaged(format!("run {id}"))
}

pub(super) fn run(conn: &Connection, sync: &str, id: &str) -> Result<Option<Run>, StateError> {
    let data = conn
        .prepare_cached("SELECT data FROM run WHERE sync = ? AND id = ?")?
        .query_row([sync, id], |row| row.get::<_, String>(0))
        .optional()?;
    data.map(|data| serde_json::from_str(&data).map_err(|_| damaged_run(id))).transpose()
}

pub(super) fn runs(conn: &Connection, sync: &str, most: usize) -> Result<Vec<Run>, StateError> {
    let mut statement = conn.prepare_cached("SELECT id, data FROM run WHERE sync = ? ORDER BY id DESC LIMIT ?")?;
    let rows = statement.query_map(params![sync, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    rows.map(|row| {
        row.map_err(StateError::from).and_then(|(id, data)| serde_json::from_str(&data).map_err(|_| damaged_run(&id)))
    })
    .collect()
}

/// A batch as stored: until when it is claimed, and what it has come to.
fn stored(conn: &Connection, run: &str, batch: u32) -> Result<Option<(Millis, BatchState)>, StateError> {
    let mut statement = conn.prepare_cached(
        "SELECT claim_until, attempts, done, settled, tally, job, unseen FROM batch WHERE run = ? AND number = ?",
    )?;
    let found = statement.query_row(params![run, batch], |row| {
        let state = BatchState {
            attempts: row.get(1)?,
            settled: row.get(3)?,
            done: row.get(2)?,
            unseen: row.get(6)?,
            ..BatchState::default()
        };
        Ok((Millis(row.get(0)?), state, row.get::<_, Option<String>>(4)?, row.get::<_, Option<String>>(5)?))
    });
    let Some((until, mut state, tally, job)) = found.optional()? else { return Ok(None) };
    if let Some(job) = job {
        state.job = Some(
            serde_json::from_str(&job).map_err(|_| StateError::damaged(format!("the job of a batch of run {run}")))?,
        );
    }
    if let Some(tally) = tally {
        state.tally = read_tally(run, &tally)?;
    }
    Ok(Some((until, state)))
}

fn read_tally(run: &str, data: &str) -> Result<Tally, StateError> {
    serde_json::from_str(data).map_err(|_| StateError::damaged(format!("the tally of a batch of run {run}")))
}

pub(super) fn claim(
    conn: &Connection,
    run: &str,
    batch: u32,
    doubt: &[u8],
    now: Millis,
    until: Millis,
) -> Result<Claim, StateError> {
    let state = match stored(conn, run, batch)? {
        Some((_, state)) if state.done => return Ok(Claim::Done(so_far(conn, run)?)),
        Some((claimed, _)) if claimed > now => return Ok(Claim::InProgress(claimed)),
        Some((_, state)) => state,
        None => BatchState::default(),
    };
    conn.prepare_cached(
        "INSERT INTO batch (run, number, claim_until, attempts, done, settled) VALUES (?, ?, ?, 0, 0, x'')
         ON CONFLICT DO UPDATE SET claim_until = excluded.claim_until",
    )?
    .execute(params![run, batch, until.0])?;
    conn.prepare_cached("INSERT OR REPLACE INTO doubt (run, number, note) VALUES (?, ?, ?)")?
        .execute(params![run, batch, doubt])?;
    Ok(Claim::Granted(state))
}

pub(super) fn settle(
    conn: &Connection,
    run: &str,
    batch: u32,
    state: &BatchState,
    (tally, job): (&str, Option<&str>),
    at: Option<Millis>,
) -> Result<Progress, StateError> {
    let written = conn
        .prepare_cached(
            "INSERT INTO batch (run, number, claim_until, attempts, done, settled, tally, job, unseen) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET claim_until = 0, attempts = ?3, done = ?4, settled = ?5, tally = ?6, job = ?7, unseen = ?8 WHERE NOT done",
        )?
        .execute(params![run, batch, state.attempts, state.done, state.settled, tally, job, state.unseen])?;
    // Nothing is written over a batch that is done, so it counts once.
    let newly_done = written == 1 && state.done;
    if newly_done && state.doubt.is_empty() {
        conn.prepare_cached("DELETE FROM doubt WHERE run = ? AND number = ?")?.execute(params![run, batch])?;
    } else if newly_done {
        conn.prepare_cached("INSERT OR REPLACE INTO doubt (run, number, note) VALUES (?, ?, ?)")?.execute(params![
            run,
            batch,
            state.doubt
        ])?;
    }
    let mut statement = conn.prepare_cached(
        "INSERT INTO progress (run, done, last) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET done = done + ?2, last = max(coalesce(?3, last), coalesce(last, ?3)) RETURNING done, total",
    )?;
    Ok(statement.query_row(params![run, newly_done, at.map(|at| at.0)], progress)?)
}

fn so_far(conn: &Connection, run: &str) -> Result<Progress, StateError> {
    let found =
        conn.prepare_cached("SELECT done, total FROM progress WHERE run = ?")?.query_row([run], progress).optional()?;
    Ok(found.unwrap_or_default())
}

fn progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    Ok(Progress { done: row.get(0)?, total: row.get(1)? })
}

pub(super) fn set_batch_total(conn: &Connection, run: &str, batches: u32) -> Result<Progress, StateError> {
    let mut statement =
        conn.prepare_cached("INSERT INTO progress (run, done, total) VALUES (?1, 0, ?2) ON CONFLICT DO UPDATE SET total = ?2 RETURNING done, total")?;
    Ok(statement.query_row(params![run, batches], progress)?)
}

pub(super) fn last_progress(conn: &Connection, run: &str) -> Result<Option<Millis>, StateError> {
    let last = conn
        .prepare_cached("SELECT last FROM progress WHERE run = ?")?
        .query_row([run], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(last.flatten().map(Millis))
}

pub(super) fn tally(conn: &Connection, run: &str) -> Result<Tally, StateError> {
    let mut statement =
        conn.prepare_cached("SELECT tally FROM batch WHERE run = ? AND tally IS NOT NULL ORDER BY number")?;
    let mut rows = statement.query([run])?;
    let mut sum = Tally::default();
    while let Some(row) = rows.next()? {
        let data = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        sum.add(&read_tally(run, data)?);
    }
    Ok(sum)
}

pub(super) fn in_doubt(conn: &Connection, sync: &str) -> Result<ClaimNotes, StateError> {
    // From the doubts to their runs (`CROSS JOIN` keeps that order): a sync has many runs and few doubts.
    let mut statement = conn.prepare_cached(
        "SELECT run.id, note FROM doubt CROSS JOIN run ON run.sync = ? AND run.id = doubt.run ORDER BY run.id",
    )?;
    let mut noted = ClaimNotes::default();
    for row in statement.query_map([sync], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
        let (run, note) = row?;
        if noted.runs.last() != Some(&run) {
            noted.runs.push(run);
        }
        noted.notes.push(note);
    }
    // The jobs that have such records. One that is done has none any more.
    let mut statement = conn.prepare_cached(
        "SELECT batch.job FROM doubt CROSS JOIN run ON run.sync = ? AND run.id = doubt.run
         CROSS JOIN batch ON batch.run = doubt.run AND batch.number = doubt.number WHERE batch.job IS NOT NULL AND NOT batch.done",
    )?;
    for job in statement.query_map([sync], |row| row.get::<_, String>(0))? {
        let job = serde_json::from_str(&job?)
            .map_err(|_| StateError::damaged(format!("the job of a batch of sync {sync}")))?;
        noted.notes.push(InDoubt::of_job(&job));
    }
    Ok(noted)
}

/// Also drops the batches of those runs that are closed: a closed run keeps its final tally itself, and its
/// messages are fenced off by their generation before anyone asks for their batch.
pub(super) fn clear_in_doubt(conn: &Connection, sync: &str, runs: &[String], now: Millis) -> Result<(), StateError> {
    for run in runs {
        conn.prepare_cached(
            "DELETE FROM doubt WHERE run = ?2 AND EXISTS (SELECT 1 FROM run WHERE run.sync = ?1 AND run.id = doubt.run)
             AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.run = doubt.run AND NOT batch.done AND batch.claim_until > ?3)",
        )?
        .execute(params![sync, run, now.0])?;
    }
    // Steps from run to run through the batches: looking at every batch, or at every run of the history, would
    // make an idle run pay for what earlier ones did.
    conn.execute(
        "WITH RECURSIVE kept (id) AS (
             SELECT min(run) FROM batch
             UNION ALL SELECT (SELECT min(run) FROM batch WHERE run > kept.id) FROM kept WHERE kept.id IS NOT NULL)
         DELETE FROM batch WHERE run IN (
             SELECT kept.id FROM kept CROSS JOIN run ON run.sync = ?1 AND run.id = kept.id WHERE run.closed
             AND NOT EXISTS (SELECT 1 FROM batch AS live WHERE live.run = kept.id AND NOT live.done AND live.claim_until > ?2))",
        params![sync, now.0],
    )?;
    Ok(())
}
