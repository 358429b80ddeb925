//! What the SQL destinations have in common: the options of a sync, names and quoting, how a batch is taken
//! apart into statements, and the findings about a table that do not depend on the database.
//!
//! Not here: any statement, any type of a column, any connection.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use domain::batch::WriteBatch;
use domain::cells;
use domain::config;
use domain::fault::{Code, Fault};
use domain::finding::{Finding, nearest};
use domain::mode::{Mode, Op};
use domain::outcome::Outcome;
use domain::ports::{Limits, PreflightRequest};
use domain::sync::Target;
use domain::value::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of one sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// In append mode: what happens to a record that the table already has by one of its unique keys.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Most records in one batch, 1 to 10,000. Default 1,000.
    #[serde(default = "batch_size_default")]
    #[schemars(range(min = 1, max = 10_000))]
    pub batch_size: usize,
}

/// What append does with a record that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It is rejected (`unique_violation`). An append that is repeated after a crash then rejects its own rows.
    #[default]
    Reject,
    /// It is skipped (`exists`).
    Skip,
}

fn batch_size_default() -> usize {
    1_000
}

impl Options {
    /// The options of a sync's target.
    pub fn of(target: &Target) -> Result<Self, Fault> {
        let about = format!("destination.options of a sync to {}", target.connection);
        let given = serde_json::Value::Object(target.options.clone());
        let options: Options = config::read(&about, &given).map_err(|f| Fault::new(Code::SyncInvalid, f.what))?;
        if !(1..=10_000).contains(&options.batch_size) {
            return Err(Fault::new(Code::SyncInvalid, format!("{about}: batch_size must be 1 to 10000.")));
        }
        Ok(options)
    }

    /// The limits of a database that takes `concurrency` writes at once.
    pub fn limits(&self, concurrency: usize) -> Limits {
        Limits {
            batch_records: self.batch_size,
            batch_bytes: 4 * 1024 * 1024,
            concurrency,
            rate: None,
            first_pause: Duration::from_millis(200),
        }
    }
}

/// A day in microseconds.
pub const DAY: i64 = 86_400_000_000;

/// Microseconds since 1970-01-01T00:00:00, whatever the zone.
pub fn micros(at: jiff::civil::DateTime) -> i64 {
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    i64::try_from(at.duration_since(epoch).as_micros()).unwrap_or(i64::MAX)
}

/// A name as SQL takes it, whatever is in it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names as SQL takes them, with commas between.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// A table as a sync names it: `customers`, `public.customers`, `public."odd.name"`. Letters keep their case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The schema, where one is given.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

impl ObjectName {
    /// Reads `destination.object`.
    pub fn of(target: &Target) -> Result<Self, Fault> {
        let wrong = |why: &str| {
            Fault::new(Code::SyncInvalid, format!("destination.object of a sync to {} {why}.", target.connection))
                .with_next("Name the table as `customers` or `public.customers`; a name with a dot in it goes into double quotes.")
        };
        let mut parts = split(&target.object).ok_or_else(|| wrong("is not a table name"))?;
        match (parts.pop(), parts.pop(), parts.pop()) {
            (Some(table), schema, None) if !table.is_empty() && schema.as_deref() != Some("") => {
                Ok(Self { schema, table })
            }
            (Some(_), Some(_), Some(_)) => Err(wrong("has more than two parts")),
            _ => Err(wrong("does not name a table")),
        }
    }

    /// For statements.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.table)),
            None => quote(&self.table),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.table)
    }
}

/// The parts between dots; quotes keep a dot and stand for themselves when doubled.
fn split(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let part = parts.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => part.push(c),
        }
    }
    (!quoted).then_some(parts)
}

/// Records of a batch that carry the same fields: one statement writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Positions of the fields they carry, in the layout.
    pub fields: Vec<usize>,
    /// Positions of the records, in the batch.
    pub records: Vec<usize>,
}

/// A row that was written without an error and is not there under its identifier.
pub fn kept_out() -> Outcome {
    let detail = "the row is not there under this identifier after it was written: a trigger of the table keeps it out or changes the identifier; \
                  write it in the mapping as the trigger does";
    Outcome::rejected("changed_by_trigger", detail)
}

/// A batch on its way through statements: what is still to do, and what became of the rest.
#[derive(Debug)]
pub struct BatchOutcomes {
    outcomes: Vec<Option<Outcome>>,
}

impl BatchOutcomes {
    /// Nothing done yet, except that records nobody can find are refused: an identifier that is null or
    /// missing equals nothing.
    pub fn of(batch: &WriteBatch<'_>) -> Self {
        let mut outcomes = vec![None; batch.records.len()];
        if batch.op != Op::Append {
            for (record, outcome) in batch.records.iter().zip(&mut outcomes) {
                let without = batch
                    .layout
                    .fields()
                    .iter()
                    .zip(record.fields.cells())
                    .find(|(field, cell)| field.identifier && cells::is_empty(cell));
                if let Some((field, _)) = without {
                    *outcome = Some(Outcome::rejected(
                        "identifier_missing",
                        format!("the identifier `{}` is empty, so no row can be found by it", field.name),
                    ));
                }
            }
        }
        Self { outcomes }
    }

    /// What became of a record so far.
    pub fn outcome(&self, record: usize) -> Option<&Outcome> {
        self.outcomes.get(record)?.as_ref()
    }

    /// Records with this outcome's code.
    pub fn rejected_for(&self, wanted: &str) -> Vec<usize> {
        let is = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Rejected { code, .. }) if code == wanted);
        self.outcomes.iter().enumerate().filter(|(_, outcome)| is(outcome)).map(|(record, _)| record).collect()
    }

    /// Records without an outcome.
    pub fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.outcomes.iter().enumerate().filter(|(_, o)| o.is_none()).map(|(i, _)| i)
    }

    /// What became of a record.
    pub fn set(&mut self, record: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(record) {
            *slot = Some(outcome);
        }
    }

    /// Refuses the open records whose identifiers, as `key` gives them, occur more than once: one statement
    /// would fail on them, several would let the last one win.
    pub fn refuse_duplicates<K: Eq + Hash>(&mut self, key: impl Fn(usize) -> K) {
        let mut first: HashMap<K, usize> = HashMap::new();
        let mut twice = HashSet::new();
        for record in self.open() {
            match first.entry(key(record)) {
                std::collections::hash_map::Entry::Occupied(seen) => twice.extend([*seen.get(), record]),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(record);
                }
            }
        }
        twice.into_iter().for_each(|record| self.refuse_duplicate(record));
    }

    /// Refuses a record whose identifier occurs more than once.
    pub fn refuse_duplicate(&mut self, record: usize) {
        let detail = "another record of the batch has the same identifier, as the database compares it; make the identifier unique in the model";
        self.set(record, Outcome::rejected("duplicate_identifier", detail));
    }

    /// The open records by the fields they carry, in order of their first record.
    pub fn groups(&self, batch: &WriteBatch<'_>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
        for record in self.open() {
            let Some(found) = batch.records.get(record) else { continue };
            let fields: Vec<usize> = found
                .fields
                .values()
                .enumerate()
                .filter(|(_, v)| !matches!(v, Value::Missing))
                .map(|(i, _)| i)
                .collect();
            match known.get(&fields) {
                Some(&at) => groups[at].records.push(record),
                None => {
                    known.insert(fields.clone(), groups.len());
                    groups.push(Group { fields, records: vec![record] });
                }
            }
        }
        groups
    }

    /// One outcome for every record, in order; one that nothing was heard of is unknown.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes.into_iter().map(|o| o.unwrap_or_else(Outcome::unmentioned)).collect()
    }
}

/// There is no such table.
pub fn no_table<'a>(object: &ObjectName, known: impl IntoIterator<Item = &'a str>) -> Finding {
    let fix = match nearest(&object.to_string(), known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "create the table, or correct destination.object (names keep their case)".to_owned(),
    };
    Finding::error(format!("object {object}"), "there is no such table, or the user cannot see it", fix)
}

/// It is something else than a table.
pub fn not_a_table(object: &ObjectName, what: &str) -> Finding {
    Finding::error(
        format!("object {object}"),
        format!("it is {what}, and records are written to tables only"),
        "name the table behind it in destination.object",
    )
}

/// The record has a value or a null for the field of this name, and does not leave it out.
pub fn carries(batch: &WriteBatch<'_>, record: usize, name: &str) -> bool {
    let values = batch.records.get(record).map(|record| record.fields.values());
    let mut fields = batch.layout.fields().iter().zip(values.into_iter().flatten());
    fields.any(|(field, value)| field.name == name && !matches!(value, Value::Missing))
}

/// Columns of unique indexes, other than these, that take null: rows that swap their values give them up first.
pub fn vacatable<'t>(
    unique: impl Iterator<Item = &'t str>,
    but: &[&str],
    takes_null: impl Fn(&str) -> bool,
) -> Vec<&'t str> {
    let mut names: Vec<&str> = unique.filter(|name| !but.contains(name) && takes_null(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Nothing makes the identifier unique: `uniques` are the column sets that are, and `index` writes the statement that makes
/// one of these columns.
pub fn identifier_not_unique(
    object: &ObjectName,
    need: PreflightRequest<'_>,
    uniques: &[Vec<String>],
    index: impl Fn(&[&str]) -> String,
) -> Option<Finding> {
    let identifiers: Vec<&str> =
        need.fields.iter().filter(|(_, identifier)| *identifier).map(|(name, _)| name.as_str()).collect();
    if need.mode == Mode::Append || identifiers.is_empty() {
        return None;
    }
    let wanted: HashSet<&str> = identifiers.iter().copied().collect();
    let covered = uniques
        .iter()
        .any(|columns| columns.len() == wanted.len() && columns.iter().all(|c| wanted.contains(c.as_str())));
    (!covered).then(|| {
        let names = identifiers.join(", ");
        Finding::error(
            format!("object {object}"),
            format!("the identifier ({names}) has no unique index of exactly these columns, so a record could be there twice"),
            index(&identifiers),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::batch::BatchRecord;
    use domain::cells::Cells;
    use domain::key::KeyHash;
    use domain::layout::{Field, Layout};
    use domain::value::Type;

    fn target(object: &str) -> Target {
        Target { connection: "product".into(), object: object.into(), options: serde_json::Map::new() }
    }

    #[test]
    fn objects_are_read() {
        for (text, schema, table, sql) in [
            ("customers", None, "customers", r#""customers""#),
            ("public.customers", Some("public"), "customers", r#""public"."customers""#),
            (r#"a."b.c""#, Some("a"), "b.c", r#""a"."b.c""#),
            (r#""q""x""#, None, "q\"x", r#""q""x""#),
        ] {
            let name = ObjectName::of(&target(text)).unwrap();
            assert_eq!(
                (name.schema.as_deref(), name.table.as_str(), name.sql().as_str()),
                (schema, table, sql),
                "{text}"
            );
        }
        for bad in ["", "a.b.c", "a.", ".a", "\"a"] {
            assert_eq!(ObjectName::of(&target(bad)).unwrap_err().code, Code::SyncInvalid, "{bad}");
        }
    }

    #[test]
    fn options_are_refused_with_a_sentence() {
        assert_eq!(Options::of(&target("t")).unwrap(), Options { on_conflict: OnConflict::Reject, batch_size: 1_000 });
        for (key, value) in [
            ("batch_size", serde_json::json!(0)),
            ("on_conflict", serde_json::json!("replace")),
            ("nope", serde_json::json!(1)),
        ] {
            let mut target = target("t");
            target.options.insert(key.into(), value);
            assert_eq!(Options::of(&target).unwrap_err().code, Code::SyncInvalid, "{key}");
        }
    }

    #[test]
    fn a_batch_is_taken_apart_by_the_fields_that_are_there() {
        let field = |name: &str, identifier| Field { name: name.into(), kind: Type::Any, identifier };
        let layout = Layout::new(vec![field("id", true), field("a", false)]);
        let bytes: Vec<Vec<u8>> = [
            [Value::Missing, Value::Int(1)],
            [Value::Null, Value::Int(2)],
            [Value::Missing, Value::Int(3)],
            [Value::Null, Value::Null],
            [Value::Null, Value::Int(2)],
        ]
        .iter()
        .map(|values| {
            let mut out = Vec::new();
            values.iter().for_each(|v| cells::push(&mut out, *v));
            out
        })
        .collect();
        let records: Vec<_> = bytes
            .iter()
            .map(|b| BatchRecord {
                hash: KeyHash([0; 12]),
                checksum: 0,
                revision: 0,
                had_failure: false,
                record_id: None,
                key: Cells(&[]),
                fields: Cells(b),
            })
            .collect();
        let batch = WriteBatch { sync: "s", op: Op::Upsert, layout: &layout, records: &records };
        let mut progress = BatchOutcomes::of(&batch);
        progress.refuse_duplicates(|r| layout.identifier_cells(records[r].fields));
        assert_eq!(progress.groups(&batch), vec![Group { fields: vec![1], records: vec![0, 2] }]);
        let codes: Vec<_> = progress
            .into_outcomes()
            .into_iter()
            .map(|o| match o {
                Outcome::Rejected { code, .. } | Outcome::Retry { code, .. } => code,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            codes,
            [
                "unknown_outcome",
                "duplicate_identifier",
                "unknown_outcome",
                "identifier_missing",
                "duplicate_identifier"
            ]
        );
    }

    #[test]
    fn the_identifier_must_be_unique_by_exactly_its_columns() {
        let object = ObjectName { schema: None, table: "t".into() };
        let fields = [("b".to_owned(), true), ("a".to_owned(), true), ("c".to_owned(), false)];
        let need = PreflightRequest { mode: Mode::Upsert, fields: &fields };
        let index = |columns: &[&str]| columns.join(", ");
        assert!(identifier_not_unique(&object, need, &[vec!["a".into(), "b".into()]], index).is_none());
        let finding =
            identifier_not_unique(&object, need, &[vec!["a".into()], vec!["a".into(), "b".into(), "c".into()]], index)
                .unwrap();
        assert_eq!(finding.fix, "b, a");
        assert!(identifier_not_unique(&object, PreflightRequest { mode: Mode::Append, ..need }, &[], index).is_none());
    }
}
