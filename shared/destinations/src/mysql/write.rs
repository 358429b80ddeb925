//! One batch in one transaction, a statement for each record, many statements in a request.

use std::collections::HashMap;

use clients::mysql::MysqlConnected;
use clients::mysql_literal::name;
use domain::batch::WriteBatch;
use domain::fault::{Code, Fault};
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::value::Value;
use mysql_async::ServerError;
use mysql_async::prelude::Queryable as _;

use super::ask;
use super::classify::{self, MysqlErrorScope};
use super::encode;
use super::script::{self, RanStatement};
use super::table::{MysqlColumn, MysqlTable};
use crate::sql::{self, BatchOutcomes, OnConflict};

/// A batch being written.
pub(super) struct MysqlWrite<'a> {
    pub(super) connection: &'a mut MysqlConnected,
    pub(super) table: &'a MysqlTable,
    pub(super) batch: &'a WriteBatch<'a>,
    pub(super) on_conflict: OnConflict,
}

/// A record's values as SQL, in the layout's order; `None` where the record leaves a field out.
type Literals = Vec<Option<String>>;

/// More refusals of one kind in a batch are no swap.
const MAX_STATEMENTS_AGAIN: usize = 200;

/// Where many statements fail, a request has as few bytes as this.
const MIN_REQUEST_BYTES: usize = 8 * 1024;

impl MysqlWrite<'_> {
    /// Writes the batch and commits. On an error nothing of it is written once the connection is closed.
    pub(super) async fn run(mut self) -> Result<Vec<Outcome>, WriteError> {
        // Gone when the server has rolled back the transaction by itself: then what was accepted is not there.
        self.plain("savepoint whole").await?;
        let outcomes = self.within().await?;
        self.plain("release savepoint whole").await.map_err(|_| WriteError::Unavailable {
            after: None,
            detail: "the server has rolled back the transaction of the batch".to_owned(),
        })?;
        let committed = self.connection.conn.query_drop("commit").await;
        match committed {
            Ok(()) => Ok(outcomes),
            Err(mysql_async::Error::Server(error)) => Err(self.error(&error)),
            Err(error) => Err(batch_error(self.connection.connector().fault(&error, None))),
        }
    }

    async fn within(&mut self) -> Result<Vec<Outcome>, WriteError> {
        let layout = self.batch.layout;
        let place = self.connection.connector().place().clone();
        let columns = self
            .table
            .columns_of(layout)
            .map_err(|what| WriteError::Misconfigured { detail: place.failed(what).what })?;
        let mut progress = BatchOutcomes::of(self.batch);
        let mut rows: HashMap<usize, Literals> = HashMap::with_capacity(self.batch.records.len());
        for record in progress.open().collect::<Vec<_>>() {
            match self.literals(&columns, record) {
                Ok(row) => drop(rows.insert(record, row)),
                Err(outcome) => progress.set(record, outcome),
            }
        }
        if self.batch.op != Op::Append {
            self.refuse_duplicates(&mut progress).await.map_err(batch_error)?;
        }
        let open: Vec<usize> = progress.open().collect();
        match self.batch.op {
            Op::Append => self.insert(&open, &rows, &mut progress).await?,
            Op::Upsert | Op::Update | Op::Delete => {
                let absent = self.change(&open, &rows, &mut progress).await?;
                match self.batch.op {
                    Op::Upsert => self.insert(&absent, &rows, &mut progress).await?,
                    Op::Update => absent.into_iter().for_each(|record| {
                        progress.set(record, Outcome::Skipped { reason: "not_found".to_owned() });
                    }),
                    _ => absent.into_iter().for_each(|record| progress.set(record, Outcome::accepted(Effect::Deleted))),
                }
            }
        }
        self.make_room(&rows, &mut progress).await?;
        Ok(progress.into_outcomes())
    }

    /// Changes or deletes the rows of these records; gives those without a row.
    async fn change(
        &mut self,
        records: &[usize],
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
    ) -> Result<Vec<usize>, WriteError> {
        let effect = if self.batch.op == Op::Delete { Effect::Deleted } else { Effect::Updated };
        let statements = self.statements(records, rows, progress, Self::change_of);
        let mut absent = Vec::new();
        self.each(&statements, progress, |record, answer, progress| {
            if answer.met > 0 || !answer.rows.is_empty() {
                progress.set(record, Outcome::accepted(effect));
            } else {
                absent.push(record);
            }
        })
        .await?;
        Ok(absent)
    }

    async fn insert(
        &mut self,
        records: &[usize],
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
    ) -> Result<(), WriteError> {
        let statements = self.statements(records, rows, progress, Self::insert_of);
        let mut created = Vec::with_capacity(statements.len());
        self.each(&statements, progress, |record, _, progress| {
            progress.set(record, Outcome::accepted(Effect::Created));
            created.push(record);
        })
        .await?;
        if self.batch.op == Op::Upsert {
            self.look_for(&created, rows, progress).await?;
        }
        if self.batch.op == Op::Append && self.on_conflict == OnConflict::Skip {
            for record in progress.rejected_for("unique_violation") {
                progress.set(record, Outcome::Skipped { reason: "exists".to_owned() });
            }
        }
        Ok(())
    }

    /// Rejects records whose new rows are not there under their identifiers: the next run would write them again.
    async fn look_for(
        &mut self,
        records: &[usize],
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
    ) -> Result<(), WriteError> {
        let statements = self.statements(records, rows, progress, |this, row| {
            Some(format!("select 1 from {} where {}", this.table.sql(), this.same(row)))
        });
        self.each(&statements, progress, |record, answer, progress| {
            if answer.rows.is_empty() {
                progress.set(record, sql::kept_out());
            }
        })
        .await
    }

    /// The statement of each record. One that the server would not take, or that writes nothing, is refused.
    fn statements(
        &self,
        records: &[usize],
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
        of: fn(&Self, &Literals) -> Option<String>,
    ) -> Vec<(usize, String)> {
        let mut statements = Vec::with_capacity(records.len());
        for &record in records {
            match rows.get(&record).and_then(|row| of(self, row)) {
                Some(sql) if sql.len() > self.table.packet_bytes() => {
                    let detail = "the record is larger than max_allowed_packet of the server";
                    progress.set(record, Outcome::rejected("too_big", detail));
                }
                Some(sql) => statements.push((record, sql)),
                None => {
                    progress.set(record, Outcome::rejected("empty_record", "every field of the record is left out"))
                }
            }
        }
        statements
    }

    /// Runs the statements. A record whose statement fails is rejected, and the others go on.
    async fn each(
        &mut self,
        statements: &[(usize, String)],
        progress: &mut BatchOutcomes,
        mut settle: impl FnMut(usize, &RanStatement, &mut BatchOutcomes),
    ) -> Result<(), WriteError> {
        let (records, mut left): (Vec<usize>, Vec<String>) = statements.iter().cloned().unzip();
        let mut records = records.as_slice();
        let mut room = self.table.request_bytes();
        while !left.is_empty() {
            let (answers, failed) = script::run(self.connection, &left, room).await.map_err(batch_error)?;
            for (record, answer) in records.iter().zip(&answers) {
                settle(*record, answer, progress);
            }
            let Some(error) = failed else { break };
            if classify::about(&error) != MysqlErrorScope::Record {
                return Err(self.error(&error));
            }
            let Some(record) = records.get(answers.len()) else { break };
            progress.set(*record, classify::rejected(&error, self.table));
            left.drain(..=answers.len());
            // What follows a statement that failed is sent again: the more fail, the less of it.
            room = (room / 2).max(MIN_REQUEST_BYTES);
            records = records.get(answers.len() + 1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Tries records again that were refused because another row had a unique value of theirs: that row may have given
    /// it up since, or another run has created this very row. What is left may be a swap: then all of them give up their
    /// values first.
    async fn make_room(
        &mut self,
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
    ) -> Result<(), WriteError> {
        let mut left = progress.rejected_for("unique_violation");
        if !matches!(self.batch.op, Op::Upsert | Op::Update) || left.is_empty() || left.len() > MAX_STATEMENTS_AGAIN {
            return Ok(());
        }
        loop {
            let before = left.len();
            self.again(&left, rows, progress).await?;
            left.retain(|&record| is_unique_violation(progress, record));
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        let identifiers: Vec<&str> = self.batch.layout.identifiers().map(|(_, field)| field.name.as_str()).collect();
        let mapped = |name: &&str| self.batch.layout.fields().iter().any(|field| field.name == **name);
        let columns: Vec<&str> = self.table.vacatable(&identifiers).into_iter().filter(mapped).collect();
        if left.len() < 2 || columns.is_empty() {
            return Ok(());
        }
        let refusals: Vec<Outcome> = left.iter().filter_map(|&record| progress.outcome(record).cloned()).collect();
        self.plain("savepoint room").await?;
        let vacate = |record: usize| {
            // What a record leaves out stays.
            let carried = columns.iter().filter(|column| sql::carries(self.batch, record, column));
            let set: Vec<String> = carried.map(|column| format!("{} = null", name(column))).collect();
            let same = self.same(rows.get(&record)?);
            (!set.is_empty()).then(|| format!("update {} set {} where {same}", self.table.sql(), set.join(", ")))
        };
        let statements: Vec<(usize, String)> =
            left.iter().filter_map(|&record| Some((record, vacate(record)?))).collect();
        self.each(&statements, progress, |_, _, _| {}).await?;
        self.again(&left, rows, progress).await?;
        let settled = left.iter().all(|&record| matches!(progress.outcome(record), Some(Outcome::Accepted { .. })));
        if settled {
            return self.plain("release savepoint room").await;
        }
        left.iter().zip(refusals).for_each(|(&record, refusal)| progress.set(record, refusal));
        self.plain("rollback to savepoint room").await
    }

    /// Changes the rows of these records, and creates those that are not there in upsert mode.
    async fn again(
        &mut self,
        records: &[usize],
        rows: &HashMap<usize, Literals>,
        progress: &mut BatchOutcomes,
    ) -> Result<(), WriteError> {
        let absent = self.change(records, rows, progress).await?;
        match self.batch.op {
            Op::Upsert => self.insert(&absent, rows, progress).await,
            _ => Ok(()),
        }
    }

    async fn plain(&mut self, sql: &str) -> Result<(), WriteError> {
        let ran = self.connection.conn.query_drop(sql).await;
        ran.map_err(|e| batch_error(self.connection.connector().fault(&e, None)))
    }

    /// Refuses records whose identifiers are one to the database.
    async fn refuse_duplicates(&mut self, progress: &mut BatchOutcomes) -> Result<(), Fault> {
        let records: Vec<usize> = progress.open().collect();
        let layout = self.batch.layout;
        let identifiers: Vec<Vec<u8>> = records
            .iter()
            .filter_map(|&record| Some(layout.identifier_cells(self.batch.records.get(record)?.fields)))
            .collect();
        let same = ask::same_identity(self.connection, self.table, layout, &identifiers).await?;
        let of: HashMap<usize, u32> = records.into_iter().zip(same).collect();
        progress.refuse_duplicates(|record| of.get(&record).copied());
        Ok(())
    }

    fn literals(&self, columns: &[&MysqlColumn], record: usize) -> Result<Literals, Outcome> {
        let Some(record) = self.batch.records.get(record) else { return Err(Outcome::unmentioned()) };
        let values = columns.iter().zip(record.fields.values()).zip(self.batch.layout.fields());
        values
            .map(|((column, value), field)| match value {
                Value::Missing => Ok(None),
                value if field.identifier => encode::identifier(value, column).map(Some),
                value => encode::literal(value, column).map(Some),
            })
            .collect()
    }

    /// The row is the record's, as the column compares.
    fn same(&self, row: &Literals) -> String {
        let condition = |(at, field): (usize, &domain::layout::Field)| {
            let value = row.get(at).and_then(Option::as_deref).unwrap_or("null");
            format!("{} = {value}", name(&field.name))
        };
        self.batch.layout.identifiers().map(condition).collect::<Vec<_>>().join(" and ")
    }

    fn insert_of(&self, row: &Literals) -> Option<String> {
        let fields = self.batch.layout.fields().iter().zip(row);
        let (names, values): (Vec<String>, Vec<&str>) =
            fields.filter_map(|(field, value)| Some((name(&field.name), value.as_deref()?))).unzip();
        (!names.is_empty())
            .then(|| format!("insert into {} ({}) values ({})", self.table.sql(), names.join(", "), values.join(", ")))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the shape of `insert_of`")]
    fn change_of(&self, row: &Literals) -> Option<String> {
        let (table, same) = (self.table.sql(), self.same(row));
        if self.batch.op == Op::Delete {
            return Some(format!("delete from {table} where {same}"));
        }
        let fields = self.batch.layout.fields().iter().zip(row).filter(|(field, _)| !field.identifier);
        let set: Vec<String> = fields
            .filter_map(|(field, value)| Some(format!("{} = {}", name(&field.name), value.as_deref()?)))
            .collect();
        Some(match set.is_empty() {
            // Nothing to change; is it there?
            true => format!("select 1 from {table} where {same} for update"),
            false => format!("update {table} set {} where {same}", set.join(", ")),
        })
    }

    fn error(&self, error: &ServerError) -> WriteError {
        let what = self.connection.connector().fault(&mysql_async::Error::Server(error.clone()), None).what;
        classify::batch_error(classify::about(error), error, what)
    }
}

fn is_unique_violation(progress: &BatchOutcomes, record: usize) -> bool {
    matches!(progress.outcome(record), Some(Outcome::Rejected { code, .. }) if code == "unique_violation")
}

/// A fault of the database as the error of a batch.
pub(super) fn batch_error(fault: Fault) -> WriteError {
    match fault.code {
        Code::DestinationUnreachable => WriteError::Unavailable { after: None, detail: fault.what },
        Code::DestinationUnauthorized => WriteError::Unauthorized { detail: fault.what },
        _ => WriteError::Misconfigured { detail: fault.what },
    }
}
