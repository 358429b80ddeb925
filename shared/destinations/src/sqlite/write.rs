//! One batch in one transaction, a statement for each record. A statement that fails is undone by itself,
//! so the next one goes on. Blocking.

use std::collections::HashMap;

use clients::sqlite::SqliteFile;
use domain::batch::WriteBatch;
use domain::fault::{Code, Fault};
use domain::layout::Layout;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::value::Value;
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, Error, Statement, params_from_iter};

use super::classify::{self, SqliteErrorScope};
use super::encode::{self, Collation};
use super::table::{SqliteColumn, SqliteTable};
use crate::sql::{BatchOutcomes, Group, OnConflict, quote, quoted};

/// A batch being written.
pub(super) struct SqliteWrite<'a> {
    pub(super) connection: &'a Connection,
    pub(super) file: &'a SqliteFile,
    pub(super) table: &'a SqliteTable,
    pub(super) batch: &'a WriteBatch<'a>,
    pub(super) on_conflict: OnConflict,
}

/// The statements for one group of records, and the positions of the fields that each binds.
struct PreparedGroup<'c> {
    /// Is there such a row?
    find: Option<(Statement<'c>, Vec<usize>)>,
    /// Insert, update or delete; none when a row that is there needs nothing.
    insert: Option<Statement<'c>>,
    change: Option<(Statement<'c>, Vec<usize>)>,
}

/// More refusals of one kind in a batch are no swap.
const MAX_STATEMENTS_AGAIN: usize = 200;

impl SqliteWrite<'_> {
    /// Writes the batch and commits. On an error nothing of it is written.
    pub(super) fn run(&self) -> Result<Vec<Outcome>, WriteError> {
        // The write lock is taken at once: to ask whether a row is there and then to write it is one step.
        self.connection.execute_batch("begin immediate").map_err(|e| self.error(&e))?;
        let written = self.within();
        match written {
            Ok(outcomes) => match self.connection.execute_batch("commit") {
                Ok(()) => Ok(outcomes),
                Err(error) => {
                    self.roll_back();
                    // A deferred foreign key: refused without saying for which record.
                    Err(match classify::about(&error) {
                        SqliteErrorScope::Record => WriteError::Refused {
                            code: "foreign_key_violation".to_owned(),
                            detail: "refused on commit".to_owned(),
                        },
                        SqliteErrorScope::Everyone => self.error(&error),
                    })
                }
            },
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("rollback")
        {
            tracing::debug!(%error, "a rollback failed");
        }
    }

    fn within(&self) -> Result<Vec<Outcome>, WriteError> {
        let layout = self.batch.layout;
        let columns = columns(self.table, layout).map_err(|detail| WriteError::Misconfigured { detail })?;
        let mut progress = BatchOutcomes::of(self.batch);
        let mut rows: HashMap<usize, Vec<Stored>> = HashMap::with_capacity(self.batch.records.len());
        for record in progress.open().collect::<Vec<_>>() {
            match self.row(&columns, record) {
                Ok(row) => drop(rows.insert(record, row)),
                Err(outcome) => progress.set(record, outcome),
            }
        }
        if self.batch.op != Op::Append {
            let identifiers: Vec<(usize, Collation)> =
                layout.identifiers().map(|(at, _)| at).zip(collations(self.table, layout)).collect();
            progress.refuse_duplicates(|record| {
                let row = rows.get(&record);
                let of = |&(at, collation): &(usize, Collation)| {
                    Some(encode::key(row?.get(at)?, columns.get(at)?.affinity, collation))
                };
                identifiers.iter().map(of).collect::<Vec<_>>()
            });
        }
        for group in progress.groups(self.batch) {
            if group.fields.is_empty() {
                group.records.iter().for_each(|&r| {
                    progress.set(r, Outcome::rejected("empty_record", "every field of the record is left out"))
                });
                continue;
            }
            let mut prepared = self.prepare(&group).map_err(|e| self.error(&e))?;
            for &record in &group.records {
                let Some(row) = rows.get(&record) else { continue };
                match self.write(&mut prepared, &group, row) {
                    Ok(outcome) => progress.set(record, outcome),
                    Err(error)
                        if classify::about(&error) == SqliteErrorScope::Record && !self.connection.is_autocommit() =>
                    {
                        progress.set(record, classify::rejected(&error));
                    }
                    Err(error) => return Err(self.error(&error)),
                }
            }
        }
        self.make_room(&mut progress, &rows).map_err(|e| self.error(&e))?;
        Ok(progress.into_outcomes())
    }

    /// Tries records again that were refused because another row had a unique value of theirs: that row may have given
    /// it up since. What is left may be a swap: then all of them give up their values first.
    fn make_room(&self, progress: &mut BatchOutcomes, rows: &HashMap<usize, Vec<Stored>>) -> Result<(), Error> {
        let mut left = progress.rejected_for("unique_violation");
        if !matches!(self.batch.op, Op::Upsert | Op::Update)
            || left.is_empty()
            || left.len() > MAX_STATEMENTS_AGAIN
            || self.connection.is_autocommit()
        {
            return Ok(());
        }
        loop {
            let before = left.len();
            let mut still = Vec::new();
            for record in left {
                match self.write_alone(record, rows)? {
                    Some(outcome) => progress.set(record, outcome),
                    None => still.push(record),
                }
            }
            left = still;
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        let names: Vec<&str> = self.batch.layout.identifiers().map(|(_, field)| field.name.as_str()).collect();
        let mapped = |name: &&str| self.batch.layout.fields().iter().any(|field| field.name == **name);
        let columns: Vec<&str> = self.table.vacatable(&names).into_iter().filter(mapped).collect();
        if left.len() < 2 || columns.is_empty() {
            return Ok(());
        }
        self.connection.execute_batch("savepoint room")?;
        let identifiers: Vec<usize> = self.batch.layout.identifiers().map(|(at, _)| at).collect();
        let mut settled = Vec::new();
        for column in columns {
            let (table, same) = (self.table.name.sql(), self.same());
            let sql = format!("update or abort {table} set {} = null where {same}", quote(column));
            let mut vacate = self.connection.prepare(&sql)?;
            // What a record leaves out stays.
            for record in left.iter().filter(|&&record| crate::sql::carries(self.batch, record, column)) {
                let Some(row) = rows.get(record) else { continue };
                vacate.execute(bound(row, &identifiers))?;
            }
        }
        for record in &left {
            match self.write_alone(*record, rows)? {
                Some(outcome) => settled.push((*record, outcome)),
                None => break,
            }
        }
        if settled.len() < left.len() {
            return self.connection.execute_batch("rollback to room; release room");
        }
        settled.into_iter().for_each(|(record, outcome)| progress.set(record, outcome));
        self.connection.execute_batch("release room")
    }

    /// Writes one record; `None`: it is refused.
    fn write_alone(&self, record: usize, rows: &HashMap<usize, Vec<Stored>>) -> Result<Option<Outcome>, Error> {
        let (Some(row), Some(found)) = (rows.get(&record), self.batch.records.get(record)) else { return Ok(None) };
        let fields: Vec<usize> =
            found.fields.values().enumerate().filter(|(_, v)| !matches!(v, Value::Missing)).map(|(at, _)| at).collect();
        let group = Group { fields, records: vec![record] };
        match self.write(&mut self.prepare(&group)?, &group, row) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) if classify::about(&error) == SqliteErrorScope::Record && !self.connection.is_autocommit() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The row is the record's. The index compares by its own collation; the column's may be another.
    fn same(&self) -> String {
        let layout = self.batch.layout;
        let same = layout.identifiers().zip(collations(self.table, layout));
        same.map(|((_, field), collation)| format!("{} = ? collate {}", quote(&field.name), sql_name(collation)))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// The record's values in the layout's order.
    fn row(&self, columns: &[&SqliteColumn], record: usize) -> Result<Vec<Stored>, Outcome> {
        let Some(record) = self.batch.records.get(record) else { return Err(Outcome::unmentioned()) };
        columns
            .iter()
            .zip(record.fields.values())
            .map(|(column, value)| {
                encode::stored(value, column.affinity).ok_or_else(|| {
                    let detail = format!(
                        "column `{}` is one of numbers and would change this value for good; declare it as TEXT",
                        column.name
                    );
                    Outcome::rejected("numeric_value_out_of_range", detail)
                })
            })
            .collect()
    }

    fn prepare(&self, group: &Group) -> Result<PreparedGroup<'_>, Error> {
        let layout = self.batch.layout;
        let table = self.table.name.sql();
        let name = |at: usize| layout.fields().get(at).map_or("", |f| f.name.as_str());
        let is_identifier = |at: usize| layout.fields().get(at).is_some_and(|f| f.identifier);
        let identifiers: Vec<usize> = group.fields.iter().copied().filter(|&at| is_identifier(at)).collect();
        let others: Vec<usize> = group.fields.iter().copied().filter(|&at| !is_identifier(at)).collect();
        let same = self.same();
        let statement = |sql: String| self.connection.prepare(&sql);
        let find = match self.batch.op {
            Op::Append => None,
            _ => Some((statement(format!("select 1 from {table} where {same}"))?, identifiers.clone())),
        };
        let insert = match self.batch.op {
            Op::Upsert | Op::Append => {
                let marks = vec!["?"; group.fields.len()].join(", ");
                let skip = if self.batch.op == Op::Append && self.on_conflict == OnConflict::Skip {
                    " on conflict do nothing"
                } else {
                    ""
                };
                // `or abort`: a constraint that says otherwise (`on conflict replace`) would destroy other rows.
                Some(statement(format!(
                    "insert or abort into {table} ({}) values ({marks}){skip}",
                    quoted(group.fields.iter().map(|&at| name(at)))
                ))?)
            }
            Op::Update | Op::Delete => None,
        };
        let change = match self.batch.op {
            Op::Delete => Some((statement(format!("delete from {table} where {same}"))?, identifiers)),
            Op::Upsert | Op::Update if !others.is_empty() => {
                let set: Vec<String> = others.iter().map(|&at| format!("{} = ?", quote(name(at)))).collect();
                // Binary: a change of case is a change, whatever the column's collation.
                let differs: Vec<String> =
                    others.iter().map(|&at| format!("{} is not ? collate binary", quote(name(at)))).collect();
                let sql =
                    format!("update or abort {table} set {} where {same} and ({})", set.join(", "), any(&differs));
                Some((statement(sql)?, [others.clone(), identifiers, others].concat()))
            }
            _ => None,
        };
        Ok(PreparedGroup { find, insert, change })
    }

    /// Writes one record. Whether the row is there is asked first: that tells created from updated, and no
    /// one else can write between.
    fn write(&self, prepared: &mut PreparedGroup<'_>, group: &Group, row: &[Stored]) -> Result<Outcome, Error> {
        let there = match &mut prepared.find {
            Some((find, fields)) => find.exists(bound(row, fields))?,
            None => false,
        };
        if let (false, Some(insert)) = (there, &mut prepared.insert) {
            let written = insert.execute(bound(row, &group.fields))?;
            return Ok(match (written, self.batch.op) {
                (0, Op::Append) if self.on_conflict == OnConflict::Skip => {
                    Outcome::Skipped { reason: "exists".to_owned() }
                }
                // `raise(ignore)`.
                (0, _) => crate::sql::kept_out(),
                _ => Outcome::accepted(Effect::Created),
            });
        }
        let effect = match (self.batch.op, there) {
            (Op::Update, false) => return Ok(Outcome::Skipped { reason: "not_found".to_owned() }),
            (Op::Delete, false) => return Ok(Outcome::accepted(Effect::Deleted)),
            (Op::Delete, true) => Effect::Deleted,
            _ => Effect::Updated,
        };
        if let Some((change, fields)) = &mut prepared.change {
            let changed = change.execute(bound(row, fields))?;
            if changed == 0 && effect == Effect::Deleted {
                return Ok(Outcome::unmentioned());
            }
        }
        Ok(Outcome::accepted(effect))
    }

    fn error(&self, error: &Error) -> WriteError {
        batch_error(self.file.fault(error, None))
    }
}

/// The rows of these identifiers, as cells in the layout's order.
pub(super) fn read(
    connection: &Connection,
    file: &SqliteFile,
    table: &SqliteTable,
    layout: &Layout,
    identifiers: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let columns = columns(table, layout).map_err(|what| file.place.failed(what))?;
    let keys: Vec<&SqliteColumn> =
        columns.iter().copied().zip(layout.fields()).filter(|(_, f)| f.identifier).map(|(c, _)| c).collect();
    let same: Vec<String> = keys
        .iter()
        .zip(collations(table, layout))
        .map(|(c, collation)| format!("{} = ? collate {}", quote(&c.name), sql_name(collation)))
        .collect();
    let sql = format!(
        "select {} from {} where {}",
        quoted(columns.iter().map(|c| c.name.as_str())),
        table.name.sql(),
        same.join(" and ")
    );
    let failed = |e: Error| file.fault(&e, None);
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let one = |identifier: &Vec<u8>| -> Result<Option<Vec<u8>>, Error> {
        let values = domain::cells::Cells(identifier).values();
        let bound = keys.iter().zip(values).map(|(c, value)| encode::stored(value, c.affinity).unwrap_or(Stored::Null));
        let mut rows = statement.query(params_from_iter(bound))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut cells = Vec::new();
        for (at, field) in layout.fields().iter().enumerate() {
            encode::push(&mut cells, row.get_ref(at)?, field.kind);
        }
        Ok(Some(cells))
    };
    identifiers.iter().map(one).collect::<Result<_, _>>().map_err(failed)
}

/// A fault of the database as the error of a batch.
pub(super) fn batch_error(fault: Fault) -> WriteError {
    match fault.code {
        Code::DestinationUnreachable | Code::Interrupted => WriteError::Unavailable { after: None, detail: fault.what },
        Code::DestinationUnauthorized => WriteError::Unauthorized { detail: fault.what },
        _ => WriteError::Misconfigured { detail: fault.what },
    }
}

/// The conditions joined by `or`, evenly nested: SQLite takes expressions up to a depth of 1,000.
fn any(conditions: &[String]) -> String {
    match conditions {
        [] => "false".to_owned(),
        [one] => one.clone(),
        _ => {
            let (left, right) = conditions.split_at(conditions.len() / 2);
            format!("({} or {})", any(left), any(right))
        }
    }
}

fn bound<'a>(row: &'a [Stored], fields: &'a [usize]) -> impl rusqlite::Params + 'a {
    params_from_iter(fields.iter().filter_map(|&at| row.get(at)))
}

fn columns<'a>(table: &'a SqliteTable, layout: &Layout) -> Result<Vec<&'a SqliteColumn>, String> {
    layout
        .fields()
        .iter()
        .map(|f| table.column(&f.name).ok_or_else(|| format!("the table {} has no column `{}`", table.name, f.name)))
        .collect()
}

fn collations(table: &SqliteTable, layout: &Layout) -> Vec<Collation> {
    table.collations(&layout.identifiers().map(|(_, f)| f.name.as_str()).collect::<Vec<_>>())
}

fn sql_name(collation: Collation) -> &'static str {
    match collation {
        Collation::Binary => "binary",
        Collation::NoCase => "nocase",
        Collation::RTrim => "rtrim",
    }
}
