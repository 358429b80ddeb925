//! One batch in one transaction: a statement for each group of records that carry the same fields; what
//! fails is taken apart under a savepoint until the record at fault stands alone.

use clients::postgres::Connected;
use domain::batch::{BatchRecord, WriteBatch};
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::value::Value;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type as Sql};
use tokio_postgres::{Error, Row};

use super::classify::{self, PostgresErrorScope};
use super::encode;
use super::statement::{self, StatementShape};
use super::table::{PostgresColumn, PostgresTable};
use crate::sql::{BatchOutcomes, Group, OnConflict, carries};

/// For how many rejected records of a batch the column at fault is looked for.
const LOOKED_FOR: usize = 20;

/// More refusals of one kind in a batch are no swap.
const MAX_STATEMENTS_AGAIN: usize = 200;

/// A batch being written.
pub(super) struct PostgresWrite<'a> {
    pub(super) connection: &'a Connected,
    pub(super) table: &'a PostgresTable,
    pub(super) batch: &'a WriteBatch<'a>,
    pub(super) on_conflict: OnConflict,
}

/// Why a statement came to nothing.
enum FailedStatement {
    /// A record of it is refused; a lone one is refused like this.
    Record(Box<DbError>),
    /// Fewer rows were written than were sent, and nobody says which.
    Short,
    Batch(WriteError),
}

/// Begins the transaction. Constraints are checked with each statement, so that a violation finds its record
/// and does not wait for the commit; nothing of the session is changed beyond the transaction.
pub(super) async fn begin(connection: &Connected) -> Result<(), Error> {
    let timeout = connection.statement_timeout().as_millis();
    let begin = format!(
        "begin isolation level read committed; set local statement_timeout = {timeout}; set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; \
         set local standard_conforming_strings = on; set constraints all immediate; savepoint piece"
    );
    connection.client.batch_execute(&begin).await
}

impl PostgresWrite<'_> {
    /// Writes the batch and commits. The transaction must have begun; on an error it is the caller's to end
    /// (by dropping the connection).
    pub(super) async fn run(&self) -> Result<Vec<Outcome>, WriteError> {
        let mut progress = BatchOutcomes::of(self.batch);
        self.refuse_duplicates(&mut progress).await?;
        let mut looked_for = 0;
        let mut fresh = true;
        for group in progress.groups(self.batch) {
            let columns = self.columns(&group.fields)?;
            let identifier: Vec<bool> =
                group.fields.iter().map(|&f| self.batch.layout.fields().get(f).is_some_and(|f| f.identifier)).collect();
            if columns.is_empty() {
                group.records.iter().for_each(|&r| {
                    progress.set(r, Outcome::rejected("empty_record", "every field of the record is left out"))
                });
                continue;
            }
            let shape = StatementShape { table: self.table, columns: &columns, identifier: &identifier };
            let records = self.refuse_narrow(&shape, &group, &mut progress, &mut fresh).await?;
            let mut pieces: Vec<&[usize]> = if records.is_empty() { Vec::new() } else { vec![&records] };
            while let Some(piece) = pieces.pop() {
                if !std::mem::take(&mut fresh) {
                    self.simple("release savepoint piece; savepoint piece").await?;
                }
                let failed = match self.write(&shape, &group, piece).await {
                    Ok(outcomes) => {
                        piece.iter().zip(outcomes).for_each(|(&record, outcome)| progress.set(record, outcome));
                        continue;
                    }
                    Err(FailedStatement::Batch(error)) => return Err(error),
                    Err(failed) => failed,
                };
                self.simple("rollback to savepoint piece").await?;
                fresh = true;
                if piece.len() > 1 {
                    let (first, second) = piece.split_at(piece.len() / 2);
                    pieces.extend([second, first]);
                } else if let (FailedStatement::Record(error), [record]) = (failed, piece) {
                    let column = if looked_for < LOOKED_FOR {
                        self.column_at_fault(&shape, &group, *record, &error).await?
                    } else {
                        None
                    };
                    looked_for += 1;
                    let left_out = error.column().is_some_and(|c| !columns.iter().any(|mapped| mapped.name == c));
                    progress.set(*record, classify::rejected(&error, column.as_deref(), left_out));
                }
                // A lone record that was written short stays open: a trigger swallowed it, its fate is unknown.
            }
        }
        self.make_room(&mut progress).await?;
        // A commit whose answer is lost may have happened: the batch is sent again, which changes nothing but for
        // append.
        self.simple("commit").await?;
        Ok(progress.into_outcomes())
    }

    /// Refuses the records of which a column would keep less than they have; the others.
    async fn refuse_narrow(
        &self,
        shape: &StatementShape<'_>,
        group: &Group,
        progress: &mut BatchOutcomes,
        fresh: &mut bool,
    ) -> Result<Vec<usize>, WriteError> {
        let mut records = group.records.clone();
        let Some(losses) = shape.losses().filter(|_| self.batch.op != Op::Delete) else { return Ok(records) };
        let mut pieces: Vec<&[usize]> = vec![&group.records];
        while let Some(piece) = pieces.pop() {
            if !std::mem::replace(fresh, true) {
                self.simple("release savepoint piece; savepoint piece").await?;
            }
            let rows = match self.query(&losses, &self.arrays(&group.fields, piece)).await {
                Ok(rows) => rows,
                // One of them has a value that is none of its type: the others are looked at all the same, and that
                // record is found when it is written.
                Err(FailedStatement::Record(_) | FailedStatement::Short) => {
                    self.simple("rollback to savepoint piece").await?;
                    if piece.len() > 1 {
                        let (first, second) = piece.split_at(piece.len() / 2);
                        pieces.extend([second, first]);
                    }
                    continue;
                }
                Err(FailedStatement::Batch(error)) => return Err(error),
            };
            for row in rows {
                let column = usize::try_from(row.get::<_, i32>(1)).ok().and_then(|at| shape.columns.get(at));
                let (Some(&record), Some(column)) = (piece.get(ordinal(&row)), column) else { continue };
                let detail = format!(
                    "column `{}` is {} and would keep less than the value has; round it in the model, or widen the column",
                    column.name, column.full_type
                );
                progress.set(record, Outcome::rejected("value_too_wide", detail));
                records.retain(|r| *r != record);
            }
        }
        Ok(records)
    }

    /// Tries records again that were refused because another row had a unique value of theirs: that row may have given
    /// it up since. What is left may be a swap: then all of them give up their values first.
    async fn make_room(&self, progress: &mut BatchOutcomes) -> Result<(), WriteError> {
        if !matches!(self.batch.op, Op::Upsert | Op::Update) {
            return Ok(());
        }
        let mut left = progress.rejected_for("unique_violation");
        if left.is_empty() || left.len() > MAX_STATEMENTS_AGAIN {
            return Ok(());
        }
        loop {
            let before = left.len();
            let mut still = Vec::new();
            for record in left {
                self.simple("release savepoint piece; savepoint piece").await?;
                if !self.write_alone(record, progress).await? {
                    self.simple("rollback to savepoint piece").await?;
                    still.push(record);
                }
            }
            left = still;
            if left.is_empty() {
                return Ok(());
            }
            if left.len() == before {
                break;
            }
        }
        let identifiers: Vec<usize> = self.batch.layout.identifiers().map(|(at, _)| at).collect();
        let names: Vec<&str> = self.batch.layout.identifiers().map(|(_, field)| field.name.as_str()).collect();
        let mapped = |name: &&str| self.batch.layout.fields().iter().any(|field| field.name == **name);
        let columns: Vec<&str> = self.table.vacatable(&names).into_iter().filter(mapped).collect();
        if left.len() < 2 || columns.is_empty() {
            return Ok(());
        }
        let keys = self.columns(&identifiers)?;
        let shape = StatementShape { table: self.table, columns: &keys, identifier: &vec![true; keys.len()] };
        self.simple("release savepoint piece; savepoint piece").await?;
        let mut settled = true;
        for column in columns {
            // What a record leaves out stays.
            let carry: Vec<usize> =
                left.iter().copied().filter(|&record| carries(self.batch, record, column)).collect();
            settled = match self.query(&shape.vacate(column), &self.arrays(&identifiers, &carry)).await {
                Ok(_) => settled,
                Err(FailedStatement::Batch(error)) => return Err(error),
                Err(_) => false,
            };
            if !settled {
                break;
            }
        }
        let rejected: Vec<Option<Outcome>> = left.iter().map(|record| progress.outcome(*record).cloned()).collect();
        for record in &left {
            settled = settled && self.write_alone(*record, progress).await?;
        }
        if !settled {
            self.simple("rollback to savepoint piece").await?;
            left.iter()
                .zip(rejected)
                .for_each(|(record, outcome)| outcome.into_iter().for_each(|outcome| progress.set(*record, outcome)));
        }
        Ok(())
    }

    /// Writes one record. `false`: it is refused, and the transaction needs its savepoint.
    async fn write_alone(&self, record: usize, progress: &mut BatchOutcomes) -> Result<bool, WriteError> {
        let Some(found) = self.batch.records.get(record) else { return Ok(true) };
        let fields: Vec<usize> =
            found.fields.values().enumerate().filter(|(_, v)| !matches!(v, Value::Missing)).map(|(at, _)| at).collect();
        let columns = self.columns(&fields)?;
        let identifier: Vec<bool> =
            fields.iter().map(|&f| self.batch.layout.fields().get(f).is_some_and(|f| f.identifier)).collect();
        let group = Group { fields, records: vec![record] };
        match self
            .write(&StatementShape { table: self.table, columns: &columns, identifier: &identifier }, &group, &[record])
            .await
        {
            Ok(outcomes) => {
                outcomes.into_iter().for_each(|outcome| progress.set(record, outcome));
                Ok(true)
            }
            Err(FailedStatement::Batch(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn columns(&self, fields: &[usize]) -> Result<Vec<&PostgresColumn>, WriteError> {
        let named = fields.iter().filter_map(|&f| self.batch.layout.fields().get(f));
        named
            .map(|field| {
                let missing = || WriteError::Misconfigured {
                    detail: format!("the table {} has no column `{}`", self.table.name, field.name),
                };
                self.table.column(&field.name).ok_or_else(missing)
            })
            .collect()
    }

    fn arrays(&self, fields: &[usize], records: &[usize]) -> Vec<Vec<Option<String>>> {
        let mut arrays: Vec<Vec<Option<String>>> = fields.iter().map(|_| Vec::with_capacity(records.len())).collect();
        let columns: Vec<Option<&PostgresColumn>> =
            fields.iter().map(|&f| self.table.column(&self.batch.layout.fields().get(f)?.name)).collect();
        for record in records.iter().filter_map(|&r| self.batch.records.get(r)) {
            let values: Vec<Value<'_>> = record.fields.values().collect();
            for ((&field, column), array) in fields.iter().zip(&columns).zip(&mut arrays) {
                array.push(values.get(field).and_then(|v| encode::text(*v, *column)));
            }
        }
        arrays
    }

    /// Identifiers that are equal for the database: found here where equality is equality of bytes, else asked for.
    async fn refuse_duplicates(&self, progress: &mut BatchOutcomes) -> Result<(), WriteError> {
        if self.batch.op == Op::Append {
            return Ok(());
        }
        let key = |record: &BatchRecord<'_>| self.batch.layout.identifier_cells(record.fields);
        progress.refuse_duplicates(|r| self.batch.records.get(r).map(key));
        let fields: Vec<usize> = self.batch.layout.identifiers().map(|(at, _)| at).collect();
        let columns = self.columns(&fields)?;
        if columns.iter().all(|c| c.exact) {
            return Ok(());
        }
        let open: Vec<usize> = progress.open().collect();
        let shape = StatementShape { table: self.table, columns: &columns, identifier: &vec![true; columns.len()] };
        match self.query(&shape.duplicates(), &self.arrays(&fields, &open)).await {
            Ok(rows) => {
                ordinals(&rows).filter_map(|at| open.get(at)).for_each(|&record| progress.refuse_duplicate(record))
            }
            // An identifier that is no value of its column: its record is found when it is written.
            Err(FailedStatement::Record(_) | FailedStatement::Short) => {
                self.simple("rollback to savepoint piece").await?
            }
            Err(FailedStatement::Batch(error)) => return Err(error),
        }
        Ok(())
    }

    /// Writes records of a group: an outcome for each.
    async fn write(
        &self,
        shape: &StatementShape<'_>,
        group: &Group,
        records: &[usize],
    ) -> Result<Vec<Outcome>, FailedStatement> {
        let arrays = self.arrays(&group.fields, records);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; records.len()];
        let mut set = |at: usize, outcome: Outcome| {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome);
            }
        };
        match self.batch.op {
            Op::Append => return self.append(shape, &arrays, records.len()).await,
            Op::Upsert => {
                for row in self.query(&shape.upsert(), &arrays).await? {
                    let effect = match row.get::<_, Option<bool>>(1) {
                        Some(true) => Effect::Created,
                        Some(false) => Effect::Updated,
                        None => Effect::Unknown,
                    };
                    set(ordinal(&row), Outcome::accepted(effect));
                }
            }
            Op::Update => {
                if let Some(update) = shape.update() {
                    ordinals(&self.query(&update, &arrays).await?)
                        .for_each(|at| set(at, Outcome::accepted(Effect::Updated)));
                }
            }
            Op::Delete => ordinals(&self.query(&shape.delete(), &arrays).await?)
                .for_each(|at| set(at, Outcome::accepted(Effect::Deleted))),
        }
        if outcomes.iter().all(Option::is_some) {
            return Ok(outcomes.into_iter().flatten().collect());
        }
        // What was not written is looked up: it was as wanted already, or is not there.
        let mut there = vec![false; records.len()];
        for at in ordinals(&self.query(&shape.exists(), &arrays).await?) {
            if let Some(slot) = there.get_mut(at) {
                *slot = true;
            }
        }
        let settled = outcomes.into_iter().zip(there).map(|(outcome, there)| {
            outcome.unwrap_or_else(|| match (self.batch.op, there) {
                (Op::Upsert | Op::Update, true) => Outcome::accepted(Effect::Updated),
                (Op::Update, false) => Outcome::Skipped { reason: "not_found".to_owned() },
                (Op::Delete, false) => Outcome::accepted(Effect::Deleted),
                // Neither written nor there.
                (Op::Upsert, false) => crate::sql::kept_out(),
                // Deleted and still there: a trigger did something else.
                _ => Outcome::unmentioned(),
            })
        });
        Ok(settled.collect())
    }

    async fn append(
        &self,
        shape: &StatementShape<'_>,
        arrays: &[Vec<Option<String>>],
        records: usize,
    ) -> Result<Vec<Outcome>, FailedStatement> {
        let skip = self.on_conflict == OnConflict::Skip;
        let params = params(arrays);
        let written =
            self.connection.client.execute_typed(&shape.append(skip), &params).await.map_err(|e| self.failed(&e))?;
        match usize::try_from(written).unwrap_or(usize::MAX) {
            written if written == records => Ok(vec![Outcome::accepted(Effect::Created); records]),
            0 if skip => Ok(vec![Outcome::Skipped { reason: "exists".to_owned() }; records]),
            _ => Err(FailedStatement::Short),
        }
    }

    /// Errors about a value do not name its column: each value is tried alone.
    async fn column_at_fault(
        &self,
        shape: &StatementShape<'_>,
        group: &Group,
        record: usize,
        error: &DbError,
    ) -> Result<Option<String>, WriteError> {
        let state = error.code().code();
        if error.column().is_some() || !state.starts_with("22") {
            return Ok(None);
        }
        for (column, array) in shape.columns.iter().zip(self.arrays(&group.fields, &[record])) {
            let Some(Some(text)) = array.into_iter().next() else { continue };
            if state == "22001" {
                if column.field.max_length.is_some_and(|most| text.trim_end_matches(' ').chars().count() > most) {
                    return Ok(Some(column.name.clone()));
                }
                continue;
            }
            // Into the type with its length: that is where numbers overflow.
            let cast = format!("select ({})::{} is null", statement::cast("($1::text[])[1]", column), column.full_type);
            match self.query(&cast, &[vec![Some(text)]]).await {
                Ok(_) => {}
                Err(FailedStatement::Batch(error)) => return Err(error),
                Err(_) => {
                    self.simple("rollback to savepoint piece").await?;
                    return Ok(Some(column.name.clone()));
                }
            }
        }
        Ok(None)
    }

    async fn query(&self, sql: &str, arrays: &[Vec<Option<String>>]) -> Result<Vec<Row>, FailedStatement> {
        self.connection.client.query_typed(sql, &params(arrays)).await.map_err(|e| self.failed(&e))
    }

    async fn simple(&self, sql: &str) -> Result<(), WriteError> {
        self.connection.client.batch_execute(sql).await.map_err(|e| batch_error(self.connection, &e))
    }

    fn failed(&self, error: &Error) -> FailedStatement {
        match error.as_db_error() {
            Some(db) if classify::about(db.code().code(), self.table.row_security) == PostgresErrorScope::Record => {
                FailedStatement::Record(Box::new(db.clone()))
            }
            _ => FailedStatement::Batch(batch_error(self.connection, error)),
        }
    }
}

/// The error of a whole batch. Without an answer of the server the connection is broken, which passes.
pub(super) fn batch_error(connection: &Connected, error: &Error) -> WriteError {
    let what = connection.fault(error, None).what;
    match error.as_db_error().map(|db| db.code().code()) {
        Some(state) => classify::batch_error(classify::about(state, false), state, what),
        None => WriteError::Unavailable { after: None, detail: what },
    }
}

pub(super) fn params(arrays: &[Vec<Option<String>>]) -> Vec<(&(dyn ToSql + Sync), Sql)> {
    arrays.iter().map(|array| (array as &(dyn ToSql + Sync), Sql::TEXT_ARRAY)).collect()
}

/// The record's position, from the ordinal that SQL counts from 1.
pub(super) fn ordinal(row: &Row) -> usize {
    usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX)
}

fn ordinals(rows: &[Row]) -> impl Iterator<Item = usize> + '_ {
    rows.iter().map(ordinal)
}
