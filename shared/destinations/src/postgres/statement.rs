//! The statements, as text. Every one takes its records as text arrays, one for each column, and numbers
//! them, so that what it returns finds its record by position: identifiers are never compared here, the
//! database compares them in its own way (`citext`, collations).
//!
//! Pure: no connection, no values.

use super::table::{Narrow, PostgresColumn, PostgresTable};
use crate::sql::quote;

/// A table and the columns of one group of records.
pub(super) struct StatementShape<'a> {
    pub(super) table: &'a PostgresTable,
    /// The columns in the order of the arrays.
    pub(super) columns: &'a [&'a PostgresColumn],
    /// For each whether it identifies the record.
    pub(super) identifier: &'a [bool],
}

impl StatementShape<'_> {
    fn numbered(&self, identifier: bool) -> impl Iterator<Item = (usize, &PostgresColumn)> {
        self.columns
            .iter()
            .zip(self.identifier)
            .enumerate()
            .filter(move |(_, (_, is))| **is == identifier)
            .map(|(at, (column, _))| (at, *column))
    }

    /// `v`: the records with their ordinals, from 1, their values of the columns' types. The type goes
    /// without its length: the assignment checks that, a cast would cut.
    fn records(&self) -> String {
        let typed: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} as c{at}", cast(&format!("u.c{at}"), column)))
            .collect();
        let arrays: Vec<String> = (1..=self.columns.len()).map(|n| format!("${n}::text[]")).collect();
        let names: Vec<String> = (0..self.columns.len()).map(|at| format!("c{at}")).collect();
        format!(
            "with v as materialized (select u.ord, {} from unnest({}) with ordinality as u({}, ord))",
            typed.join(", "),
            arrays.join(", "),
            names.join(", ")
        )
    }

    fn names(&self) -> String {
        self.columns.iter().map(|c| quote(&c.name)).collect::<Vec<_>>().join(", ")
    }

    fn values(&self) -> String {
        (0..self.columns.len()).map(|at| format!("v.c{at}")).collect::<Vec<_>>().join(", ")
    }

    /// The row is the record's.
    fn found(&self) -> String {
        self.numbered(true)
            .map(|(at, column)| format!("t.{} = v.c{at}", quote(&column.name)))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Something differs between the row `t` and `other`; nothing when there is nothing to differ.
    fn differs(&self, other: impl Fn(usize, &PostgresColumn) -> String) -> Option<String> {
        let of = |value: String, column: &PostgresColumn| {
            if column.comparable { value } else { format!("{value}::text collate \"C\"") }
        };
        let differences: Vec<String> = self
            .numbered(false)
            .map(|(at, column)| {
                format!(
                    "{} is distinct from {}",
                    of(format!("t.{}", quote(&column.name)), column),
                    of(other(at, column), column)
                )
            })
            .collect();
        (!differences.is_empty()).then(|| differences.join(" or "))
    }

    fn assignments(&self, value: impl Fn(usize, &PostgresColumn) -> String) -> String {
        self.numbered(false)
            .map(|(at, column)| format!("{} = {}", quote(&column.name), value(at, column)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns ordinal and whether the row is new (null where the table cannot tell) of what was written.
    /// An `INSERT` cannot return what it was not given a column for, so the ordinals are joined to it again.
    pub(super) fn upsert(&self) -> String {
        let excluded = |_: usize, column: &PostgresColumn| format!("excluded.{}", quote(&column.name));
        let conflict: Vec<String> = self.numbered(true).map(|(_, c)| quote(&c.name)).collect();
        let action = match self.differs(excluded) {
            Some(differs) => format!("do update set {} where {differs}", self.assignments(excluded)),
            None => "do nothing".to_owned(),
        };
        let returned: Vec<String> =
            self.numbered(true).map(|(at, c)| format!("t.{} as k{at}", quote(&c.name))).collect();
        let same: Vec<String> = self.numbered(true).map(|(at, _)| format!("w.k{at} = v.c{at}")).collect();
        format!(
            "{}, w as (insert into {} as t ({}) select {} from v order by v.ord on conflict ({}) {action} returning {}, {} as created) \
             select v.ord, w.created from v join w on {}",
            self.records(),
            self.table.name.sql(),
            self.names(),
            self.values(),
            conflict.join(", "),
            returned.join(", "),
            if self.table.partitioned { "null::bool" } else { "(t.xmax = 0)" },
            same.join(" and "),
        )
    }

    /// Returns the ordinals of the rows that differed; `None` when there is nothing to set.
    pub(super) fn update(&self) -> Option<String> {
        let given = |at: usize, _: &PostgresColumn| format!("v.c{at}");
        let differs = self.differs(given)?;
        Some(format!(
            "{} update {} as t set {} from v where {} and ({differs}) returning v.ord",
            self.records(),
            self.table.name.sql(),
            self.assignments(given),
            self.found()
        ))
    }

    /// Counts what it inserts.
    pub(super) fn append(&self, skip_existing: bool) -> String {
        format!(
            "{} insert into {} ({}) select {} from v order by v.ord{}",
            self.records(),
            self.table.name.sql(),
            self.names(),
            self.values(),
            if skip_existing { " on conflict do nothing" } else { "" }
        )
    }

    /// Returns the ordinals of the rows that were there.
    pub(super) fn delete(&self) -> String {
        format!(
            "{} delete from {} as t using v where {} returning v.ord",
            self.records(),
            self.table.name.sql(),
            self.found()
        )
    }

    /// Returns the ordinals of the records that have a row.
    pub(super) fn exists(&self) -> String {
        format!(
            "{} select v.ord from v where exists (select from {} as t where {})",
            self.records(),
            self.table.name.sql(),
            self.found()
        )
    }

    /// Returns the ordinals of the records whose identifier occurs more than once.
    pub(super) fn duplicates(&self) -> String {
        let keys: Vec<String> = self.numbered(true).map(|(at, _)| format!("v.c{at}")).collect();
        format!(
            "{} select d.ord from (select v.ord, count(*) over (partition by {}) as n from v) d where d.n > 1",
            self.records(),
            keys.join(", ")
        )
    }

    /// Returns the ordinal of every record, and that of the first that has the same identifier.
    pub(super) fn same(&self) -> String {
        let keys: Vec<String> = self.numbered(true).map(|(at, _)| format!("v.c{at}")).collect();
        format!("{} select v.ord, min(v.ord) over (partition by {}) from v", self.records(), keys.join(", "))
    }

    /// Returns ordinal and number of a column for every record of which the column would keep less; `None`: none would.
    pub(super) fn losses(&self) -> Option<String> {
        let columns = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(at, column)| Some((at, loses(&format!("u.c{at}"), column, column.narrow?))));
        let (cases, all): (Vec<String>, Vec<String>) =
            columns.map(|(at, loses)| (format!("when {loses} then {at}"), loses)).unzip();
        let arrays: Vec<String> = (1..=self.columns.len()).map(|n| format!("${n}::text[]")).collect();
        let names: Vec<String> = (0..self.columns.len()).map(|at| format!("c{at}")).collect();
        let from = format!("unnest({}) with ordinality as u({}, ord)", arrays.join(", "), names.join(", "));
        (!all.is_empty())
            .then(|| format!("select u.ord, case {} end from {from} where {}", cases.join(" "), all.join(" or ")))
    }

    /// Returns ordinal and, for each column, whether the record's row has the same value.
    pub(super) fn agrees(&self) -> String {
        let of = |value: String, column: &PostgresColumn| {
            if column.comparable { value } else { format!("{value}::text collate \"C\"") }
        };
        let same =
            self.columns.iter().zip(self.identifier).enumerate().map(|(at, (column, identifier))| match identifier {
                // It is what found the row.
                true => "true".to_owned(),
                false => format!(
                    "{} is not distinct from {}",
                    of(format!("t.{}", quote(&column.name)), column),
                    of(format!("v.c{at}"), column)
                ),
            });
        format!(
            "{} select v.ord, {} from v join {} as t on {}",
            self.records(),
            same.collect::<Vec<_>>().join(", "),
            self.table.name.sql(),
            self.found()
        )
    }

    /// Takes the values of a column from the rows, so that others may have them.
    pub(super) fn vacate(&self, column: &str) -> String {
        let column = quote(column);
        format!(
            "{} update {} as t set {column} = null from v where {}",
            self.records(),
            self.table.name.sql(),
            self.found()
        )
    }

    /// Returns ordinal and the text forms of `columns` for every record that has a row.
    pub(super) fn read(&self, columns: &[&PostgresColumn]) -> String {
        let texts: Vec<String> = columns
            .iter()
            .map(|column| super::encode::readable(&format!("t.{}", quote(&column.name)), column))
            .collect();
        format!(
            "{} select v.ord, {} from v join {} as t on {}",
            self.records(),
            texts.join(", "),
            self.table.name.sql(),
            self.found()
        )
    }
}

/// A text as a value of the column's type.
pub(super) fn cast(value: &str, column: &PostgresColumn) -> String {
    match &column.collation {
        Some(collation) if !column.is_array => format!("({value}::{} collate {collation})", column.sql_type),
        _ => format!("{value}::{}", column.sql_type),
    }
}

/// True of a text that the column would round or cut.
fn loses(value: &str, column: &PostgresColumn, narrow: Narrow) -> String {
    let (whole, narrowed) = (cast(value, column), format!("{value}::{}", column.full_type));
    match narrow {
        Narrow::Length => format!("{narrowed} is distinct from {whole}"),
        // Both as the decimal numbers that they are written as.
        Narrow::Real => format!(
            "case when {value} ~ '^[-+]?[0-9]' then ({value}::real)::text::numeric is distinct from {value}::numeric else false end"
        ),
        Narrow::Money => {
            format!(
                "case when {value} ~ '^[-+]?[0-9]+([.][0-9]*)?$' then ({value}::numeric::money)::numeric is distinct from {value}::numeric else false end"
            )
        }
        Narrow::Text => format!("({whole})::text is distinct from {value}"),
    }
}
