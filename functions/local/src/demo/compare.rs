//! Looks at both ends with eyes of its own, not the engine's: what the model's rows should have become, what the
//! endpoint and the product database have, and whether runs came out as the demo says.

use std::collections::BTreeMap;
use std::path::Path;

use domain::fault::{Code, Fault};
use domain::run::{Run, Status};
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value, json};

use super::endpoint::EndpointRecords;
use super::sample::{BAD_EMAILS, BLOCKED};
use crate::output::thousands;

/// Records by key; empty fields are left out.
pub type SeenRecords = BTreeMap<i64, Value>;

/// What the model's rows should become: those that can be delivered.
pub fn model(warehouse: &Path) -> Result<SeenRecords, Fault> {
    let sql =
        "select id, lower(trim(email)), first_name, lower(plan), lifetime_value, signed_up, profile from customers
               where id in (select id from customers group by id having count(*) = 1)";
    let mut rows = read(warehouse, sql)?;
    rows.retain(|id, _| !BAD_EMAILS.iter().any(|(bad, _)| bad == id));
    Ok(rows)
}

/// What of it the endpoint takes.
pub fn taken_by_endpoint(model: &SeenRecords) -> SeenRecords {
    model.iter().filter(|(id, _)| !BLOCKED.contains(id)).map(|(id, record)| (*id, record.clone())).collect()
}

/// What the endpoint has.
pub fn endpoint(records: EndpointRecords) -> SeenRecords {
    records.into_iter().map(|(id, fields)| (id, without_nulls(fields))).collect()
}

/// What the product database has.
pub fn product(database: &Path) -> Result<SeenRecords, Fault> {
    read(database, "select id, email, first_name, plan, lifetime_value, signed_up, profile from customers")
}

fn read(file: &Path, sql: &str) -> Result<SeenRecords, Fault> {
    let rows = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|connection| {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, record(row)?)))?;
        rows.collect()
    });
    rows.map_err(|e| Fault::new(Code::Internal, format!("{} cannot be read to compare: {e}.", file.display())))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Value> {
    let text = |index| row.get::<_, Option<String>>(index);
    let number = |v: f64| if v == v.trunc() { json!(v as i64) } else { json!(v) };
    let profile = text(6)?.and_then(|t| serde_json::from_str::<Value>(&t).ok());
    let fields = [
        ("id", json!(row.get::<_, i64>(0)?)),
        ("email", json!(text(1)?)),
        ("first_name", json!(text(2)?)),
        ("plan", json!(text(3)?)),
        ("lifetime_value", row.get::<_, Option<f64>>(4)?.map_or(Value::Null, number)),
        ("signed_up", json!(text(5)?)),
        ("profile", json!(profile)),
    ];
    Ok(without_nulls(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

fn without_nulls(fields: Map<String, Value>) -> Value {
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// Holds what is `there` against what is wanted, record by record and field by field.
pub fn same(place: &str, wanted: &SeenRecords, there: &SeenRecords) -> Result<(), Fault> {
    let missing: Vec<_> = wanted.keys().filter(|id| !there.contains_key(id)).collect();
    let extra: Vec<_> = there.keys().filter(|id| !wanted.contains_key(id)).collect();
    let different: Vec<_> = wanted
        .iter()
        .filter(|(id, record)| there.get(id).is_some_and(|found| found != *record))
        .map(|(id, _)| id)
        .collect();
    let told = [("missing", missing), ("too many", extra), ("different", different)]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty());
    let told: Vec<_> =
        told.map(|(what, ids)| format!("{} {what} (first: key {})", thousands(ids.len() as u64), ids[0])).collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(not_as_shown(format!(
        "{place} does not equal the model: of {} records {}",
        thousands(wanted.len() as u64),
        told.join(", ")
    )))
}

/// Holds a run's status and numbers against what the demo is about to say of them.
pub fn came_out(run: &Run, status: Status, numbers: &[(&str, u64, u64)]) -> Result<(), Fault> {
    if let (Status::Failed | Status::Incomplete, Some(fault)) = (run.status, &run.fault) {
        return Err(fault.clone());
    }
    let mut wrong: Vec<_> = numbers
        .iter()
        .filter(|(_, got, wanted)| got != wanted)
        .map(|(name, got, wanted)| format!("{name} is {got} instead of {wanted}"))
        .collect();
    if run.status != status {
        wrong.push(format!("its status is {:?} instead of {status:?}", run.status).to_lowercase());
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(not_as_shown(format!("the run of `{}` came out differently: {}", run.sync, wrong.join(", "))))
    }
}

/// A fault of the demo itself: it claims nothing that is not so.
fn not_as_shown(what: String) -> Fault {
    Fault::new(Code::Internal, format!("The demo did not go as it should: {what}."))
        .with_next("run it again with --keep DIR and -v, and report what it says")
}
