//! Buckets, manifest and head in the file: what is known of a sync's records.

use domain::bucket::{Bucket, EntryWrite, MAX_BITS};
use domain::head::Head;
use domain::key::KeyHash;
use domain::manifest::ManifestPage;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::packed::{self, Walk};
use super::schema::StateError;

pub(super) fn head(conn: &Connection, sync: &str) -> Result<Head, StateError> {
    let data = conn
        .prepare_cached("SELECT data FROM head WHERE sync = ?")?
        .query_row([sync], |row| row.get::<_, String>(0))
        .optional()?;
    match data {
        None => Ok(Head::default()),
        Some(data) => serde_json::from_str(&data).map_err(|_| StateError::damaged(format!("the head of `{sync}`"))),
    }
}

pub(super) fn put_head(conn: &Connection, sync: &str, head: &Head) -> Result<bool, StateError> {
    let next = Head { version: head.version + 1, ..head.clone() };
    let data = serde_json::to_string(&next).map_err(|_| StateError::damaged(format!("the new head of `{sync}`")))?;
    let written = if head.version == 0 {
        conn.prepare_cached("INSERT INTO head (sync, version, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")?
            .execute(params![sync, next.version.cast_signed(), data])?
    } else {
        conn.prepare_cached("UPDATE head SET version = ?, data = ? WHERE sync = ? AND version = ?")?
            .execute(params![next.version.cast_signed(), data, sync, head.version.cast_signed()])?
    };
    Ok(written == 1)
}

/// The name of the rows of a sync with `2^bits` buckets; `None` before its first.
fn part(conn: &Connection, sync: &str, bits: u8) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM part WHERE sync = ? AND bits = ?")?
        .query_row(params![sync, bits], |row| row.get(0))
        .optional()
}

fn part_or_new(conn: &Connection, sync: &str, bits: u8) -> rusqlite::Result<i64> {
    if let Some(part) = part(conn, sync, bits)? {
        return Ok(part);
    }
    conn.prepare_cached("INSERT INTO part (sync, bits) VALUES (?, ?)")?.execute(params![sync, bits])?;
    Ok(conn.last_insert_rowid())
}

fn row_id(part: i64, number: u32) -> i64 {
    part << MAX_BITS | i64::from(number)
}

/// First and last name that the rows of a part can have.
fn rows_of(part: i64) -> [i64; 2] {
    [part << MAX_BITS, ((part + 1) << MAX_BITS) - 1]
}

fn damaged_bucket(sync: &str, number: u32) -> StateError {
    StateError::damaged(format!("bucket {number} of `{sync}`"))
}

pub(super) fn buckets(conn: &Connection, sync: &str, bits: u8, numbers: &[u32]) -> Result<Vec<Bucket>, StateError> {
    // One look at the file for all of them; only readers are here, so there is no transaction to be inside of.
    let look = conn.unchecked_transaction()?;
    let empty = |number| Bucket { number, entries: Vec::new() };
    let Some(part) = part(&look, sync, bits)? else { return Ok(numbers.iter().map(|number| empty(*number)).collect()) };
    let mut statement = look.prepare_cached("SELECT data FROM bucket WHERE id = ?")?;
    let mut buckets = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let mut rows = statement.query([row_id(part, number)])?;
        buckets.push(match rows.next()? {
            None => empty(number),
            Some(row) => packed::read(number, blob(row, 0)?).map_err(|_| damaged_bucket(sync, number))?,
        });
    }
    Ok(buckets)
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a [u8], StateError> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// Commits writes that are sorted by hash.
pub(super) fn commit(
    conn: &Connection,
    sync: &str,
    bits: u8,
    writes: &[(KeyHash, EntryWrite)],
) -> Result<(), StateError> {
    if writes.is_empty() {
        return Ok(());
    }
    let part = part_or_new(conn, sync, bits)?;
    let mut select = conn.prepare_cached("SELECT data FROM bucket WHERE id = ?")?;
    let mut merged = Vec::new();
    for group in writes.chunk_by(|(a, _), (b, _)| a.bucket(bits) == b.bucket(bits)) {
        let number = group[0].0.bucket(bits);
        let id = row_id(part, number);
        let changed = {
            let mut rows = select.query([id])?;
            let old = match rows.next()? {
                None => &[][..],
                Some(row) => blob(row, 0)?,
            };
            packed::merge(old, group, &mut merged).map_err(|_| damaged_bucket(sync, number))?;
            merged != old
        };
        if changed {
            put_bucket(conn, id, &merged)?;
        }
    }
    Ok(())
}

fn put_bucket(conn: &Connection, id: i64, data: &[u8]) -> rusqlite::Result<()> {
    if data.is_empty() {
        conn.prepare_cached("DELETE FROM bucket WHERE id = ?")?.execute([id])?;
    } else {
        conn.prepare_cached("INSERT OR REPLACE INTO bucket (id, data) VALUES (?, ?)")?.execute(params![id, data])?;
    }
    Ok(())
}

/// Moves all entries to `2^to` buckets, all or nothing; `false` if the head is stale.
pub(super) fn rebucket(conn: &Connection, sync: &str, from: u8, to: u8, head: &Head) -> Result<bool, StateError> {
    if !put_head(conn, sync, head)? {
        return Ok(false);
    }
    if from == to {
        if let Some(part) = part(conn, sync, to)? {
            conn.execute("DELETE FROM manifest WHERE id BETWEEN ? AND ?", rows_of(part))?;
        }
        return Ok(true);
    }
    // Leftovers of an earlier layout of the same size must not come back to life.
    forget_part(conn, sync, to)?;
    let Some(old) = part(conn, sync, from)? else { return Ok(true) };
    let new = part_or_new(conn, sync, to)?;
    {
        // Old buckets in order hold all entries in the order of their hashes, and so do the new ones: whether
        // buckets are split or joined, one walk writes each new bucket once.
        let mut statement = conn.prepare("SELECT id, data FROM bucket WHERE id BETWEEN ? AND ? ORDER BY id")?;
        let mut rows = statement.query(rows_of(old))?;
        let (mut number, mut data) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            let stored = (row.get::<_, i64>(0)? - rows_of(old)[0]) as u32;
            let damaged = |_| damaged_bucket(sync, stored);
            let mut walk = Walk::new(blob(row, 1)?).map_err(damaged)?;
            while let Some(raw) = walk.next().map_err(damaged)? {
                if raw.hash.bucket(to) != number || data.is_empty() {
                    if !data.is_empty() {
                        put_bucket(conn, row_id(new, number), &data)?;
                        data.clear();
                    }
                    data.push(packed::VERSION);
                    number = raw.hash.bucket(to);
                }
                data.extend_from_slice(raw.whole);
            }
        }
        if !data.is_empty() {
            put_bucket(conn, row_id(new, number), &data)?;
        }
    }
    forget_part(conn, sync, from)?;
    Ok(true)
}

fn forget_part(conn: &Connection, sync: &str, bits: u8) -> Result<(), StateError> {
    if let Some(part) = part(conn, sync, bits)? {
        conn.execute("DELETE FROM bucket WHERE id BETWEEN ? AND ?", rows_of(part))?;
        conn.execute("DELETE FROM manifest WHERE id BETWEEN ? AND ?", rows_of(part))?;
        conn.execute("DELETE FROM part WHERE id = ?", [part])?;
    }
    Ok(())
}

pub(super) fn manifest(conn: &Connection, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, StateError> {
    let look = conn.unchecked_transaction()?;
    let mut pages: Vec<_> = (0..ManifestPage::count(bits)).map(|number| ManifestPage::empty(number, bits)).collect();
    let Some(part) = part(&look, sync, bits)? else { return Ok(pages) };
    let mut statement = look.prepare_cached("SELECT version, digests FROM manifest WHERE id = ?")?;
    for page in &mut pages {
        let mut rows = statement.query([row_id(part, page.number)])?;
        if let Some(row) = rows.next()? {
            let (digests, rest) = blob(row, 1)?.as_chunks::<8>();
            if !rest.is_empty() || digests.len() != page.digests.len() {
                return Err(StateError::damaged(format!("manifest page {} of `{sync}`", page.number)));
            }
            page.version = row.get::<_, i64>(0)?.cast_unsigned();
            page.digests = digests.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        }
    }
    Ok(pages)
}

pub(super) fn put_page(conn: &Connection, sync: &str, bits: u8, page: &ManifestPage) -> Result<bool, StateError> {
    let id = row_id(part_or_new(conn, sync, bits)?, page.number);
    let digests: Vec<u8> = page.digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
    let written = if page.version == 0 {
        conn.prepare_cached("INSERT INTO manifest (id, version, digests) VALUES (?, 1, ?) ON CONFLICT DO NOTHING")?
            .execute(params![id, digests])?
    } else {
        conn.prepare_cached("UPDATE manifest SET version = version + 1, digests = ? WHERE id = ? AND version = ?")?
            .execute(params![digests, id, page.version.cast_signed()])?
    };
    Ok(written == 1)
}
