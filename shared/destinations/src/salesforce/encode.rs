//! Records as Salesforce reads them: JSON for collections, CSV for jobs. Pure.
//!
//! A field of the mapping is a field of the object (`LastName`), or a parent found by its external id
//! (`Account.Ext__c`, `Owner__r.Ext__c`; where the parent may be of several types `Account:What.Ext__c`).

use domain::batch::{BatchRecord, WriteBatch};
use domain::layout::Layout;
use domain::mode::Op;
use domain::outcome::Outcome;
use domain::value::{Value, render};

/// What clears a field in a job's CSV, where an empty cell leaves it alone.
pub(super) const CLEAR: &str = "#N/A";

/// The record's own id.
pub(super) const ID: &str = "Id";

/// A parent found by its external id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lookup<'a> {
    /// The parent's type, where it is named.
    pub(super) parent: Option<&'a str>,
    /// The relationship: `Account`, `Owner__r`.
    pub(super) relationship: &'a str,
    /// The parent's external id.
    pub(super) field: &'a str,
}

impl<'a> Lookup<'a> {
    /// Reads the name of a mapped field; `None` for a field of the object itself.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let (path, field) = name.split_once('.')?;
        let (parent, relationship) =
            path.split_once(':').map_or((None, path), |(parent, relationship)| (Some(parent), relationship));
        Some(Self { parent, relationship, field })
    }

    /// The field that holds the parent's record id: what is cleared when there is no parent.
    pub(super) fn id_field(&self) -> String {
        match self.relationship.strip_suffix("__r") {
            Some(custom) => format!("{custom}__c"),
            None => format!("{}Id", self.relationship),
        }
    }
}

/// A value as text.
pub(super) fn text(value: Value<'_>) -> String {
    match value {
        Value::DateTime(micros) | Value::Timestamp(micros) => {
            // Salesforce keeps no more than milliseconds, and reads exactly three digits.
            let second = render::datetime(micros - micros.rem_euclid(1_000_000));
            format!("{second}.{:03}Z", micros.rem_euclid(1_000_000) / 1000)
        }
        other => other.to_text().into_owned(),
    }
}

fn push_json(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::DateTime(_) | Value::Timestamp(_) => Value::Text(&text(value)).write_json(out),
        Value::Json(document) => Value::Text(document).write_json(out),
        other => other.write_json(out),
    }
}

/// Appends a record of a collection; `id` is its record id where it is found by that.
pub(super) fn push_record(
    out: &mut Vec<u8>,
    object: &str,
    layout: &Layout,
    record: &BatchRecord<'_>,
    id: Option<&str>,
) {
    let name = |out: &mut Vec<u8>, name: &str| {
        out.push(b',');
        Value::Text(name).write_json(out);
        out.push(b':');
    };
    out.extend_from_slice(b"{\"attributes\":{\"type\":");
    Value::Text(object).write_json(out);
    out.push(b'}');
    if let Some(id) = id {
        name(out, ID);
        Value::Text(id).write_json(out);
    }
    for (field, value) in layout.pairs(record.fields).filter(|(field, _)| *field != ID) {
        match (Lookup::of(field), value) {
            (Some(lookup), Value::Null) => {
                name(out, &lookup.id_field());
                out.extend_from_slice(b"null");
            }
            (Some(lookup), value) => {
                name(out, lookup.relationship);
                out.push(b'{');
                if let Some(parent) = lookup.parent {
                    out.extend_from_slice(b"\"attributes\":{\"type\":");
                    Value::Text(parent).write_json(out);
                    out.extend_from_slice(b"},");
                }
                Value::Text(lookup.field).write_json(out);
                out.push(b':');
                push_json(out, value);
                out.push(b'}');
            }
            (None, value) => {
                name(out, field);
                push_json(out, value);
            }
        }
    }
    out.push(b'}');
}

/// The columns of a job's CSV, and its rows.
pub(super) struct CsvTable {
    /// Names of the columns.
    pub(super) header: Vec<String>,
    /// A row for each record asked for, in that order.
    pub(super) rows: Vec<Vec<String>>,
}

/// The records at these positions as a table. Deletes and updates of known records have the column `Id`.
pub(super) fn table(batch: &WriteBatch<'_>, positions: &[usize], ids: Option<&[&str]>) -> CsvTable {
    if batch.op == Op::Delete {
        let ids = ids.unwrap_or_default();
        return CsvTable {
            header: vec![ID.into()],
            rows: positions.iter().map(|p| vec![ids[*p].to_owned()]).collect(),
        };
    }
    let fields: Vec<(usize, &str)> = batch
        .layout
        .fields()
        .iter()
        .enumerate()
        .map(|(at, f)| (at, f.name.as_str()))
        .filter(|(_, f)| *f != ID)
        .collect();
    let mut header: Vec<String> = ids.iter().map(|_| ID.to_owned()).collect();
    header.extend(fields.iter().map(|(_, name)| (*name).to_owned()));
    // A parent that is to be cleared is cleared by its id: nothing says that a column of external ids can do that.
    let cleared = |at: usize| positions.iter().any(|p| batch.records[*p].fields.get(at) == Some(Value::Null));
    let clearing: Vec<(usize, String)> = fields
        .iter()
        .filter_map(|(at, name)| Some((*at, Lookup::of(name)?.id_field())))
        .filter(|(at, _)| cleared(*at))
        .collect();
    header.extend(clearing.iter().map(|(_, name)| name.clone()));
    let row = |position: &usize| {
        let values: Vec<Value<'_>> = batch.records[*position].fields.values().collect();
        let value = |at: usize| values.get(at).copied().unwrap_or(Value::Missing);
        let mut row: Vec<String> = ids.iter().map(|ids| ids[*position].to_owned()).collect();
        row.extend(fields.iter().map(|(at, name)| match value(*at) {
            Value::Null if Lookup::of(name).is_some() => String::new(),
            // A new record has nothing to clear.
            Value::Null | Value::Text("") if batch.op == Op::Append => String::new(),
            Value::Null | Value::Text("") => CLEAR.to_owned(),
            other => text(other),
        }));
        row.extend(
            clearing.iter().map(|(at, _)| if value(*at) == Value::Null { CLEAR.to_owned() } else { String::new() }),
        );
        row
    };
    CsvTable { rows: positions.iter().map(row).collect(), header }
}

/// The value that a batch's records are found by, as text: the identifier, of which there is one.
pub(super) fn identifier<'a>(layout: &Layout, record: &BatchRecord<'a>) -> Option<Value<'a>> {
    let (at, _) = layout.identifiers().next()?;
    record.fields.get(at)
}

/// Which records of a batch are rejected before anything is sent, by position: those that share their identifier
/// with another. Salesforce refuses all of them.
pub(super) fn rejected(batch: &WriteBatch<'_>) -> Vec<Option<Outcome>> {
    let mut out = vec![None; batch.records.len()];
    if matches!(batch.op, Op::Append | Op::Delete) {
        return out;
    }
    let mut seen = std::collections::HashMap::new();
    for (at, record) in batch.records.iter().enumerate() {
        let Some(identifier) = identifier(batch.layout, record) else { continue };
        if let Some(first) = seen.insert(text(identifier), at) {
            let twice = || {
                Some(Outcome::rejected("duplicate_identifier", "another record of the model has the same identifier"))
            };
            (out[first], out[at]) = (twice(), twice());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::cells::{self, Cells};
    use domain::key::KeyHash;
    use domain::layout::Field;
    use domain::value::Type;

    fn layout() -> Layout {
        let field = |name: &str, kind, identifier| Field { name: name.into(), kind, identifier };
        Layout::new(vec![
            field("Ext__c", Type::Text, true),
            field("Account.Code__c", Type::Text, false),
            field("Seen__c", Type::Timestamp, false),
        ])
    }

    /// Fields in canonical order: Account.Code__c, Ext__c, Seen__c.
    fn record(values: [Value<'_>; 3]) -> Vec<u8> {
        let mut out = Vec::new();
        values.into_iter().for_each(|v| cells::push(&mut out, v));
        out
    }

    fn of(fields: &[u8]) -> BatchRecord<'_> {
        BatchRecord {
            hash: KeyHash::of(fields),
            checksum: 0,
            revision: 0,
            had_failure: false,
            record_id: None,
            key: Cells(&[]),
            fields: Cells(fields),
        }
    }

    #[test]
    fn parents_are_named_by_external_id_and_cleared_by_id() {
        let json = |values, id| {
            let mut out = Vec::new();
            push_record(&mut out, "Contact", &layout(), &of(&record(values)), id);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            json([Value::Text("a"), Value::Text("1"), Value::Timestamp(1_767_323_045_678_901)], None),
            r#"{"attributes":{"type":"Contact"},"Account":{"Code__c":"a"},"Ext__c":"1","Seen__c":"2026-01-02T03:04:05.678Z"}"#
        );
        assert_eq!(
            json([Value::Null, Value::Text("1"), Value::Missing], Some("003")),
            r#"{"attributes":{"type":"Contact"},"Id":"003","AccountId":null,"Ext__c":"1"}"#
        );
    }

    #[test]
    fn lookups_are_read_and_know_their_field() {
        let lookup = |name| Lookup::of(name).unwrap();
        assert_eq!(
            (lookup("Owner__r.X__c").id_field(), lookup("Account.X__c").id_field()),
            ("Owner__c".into(), "AccountId".into())
        );
        assert_eq!(
            lookup("Account:What.X__c"),
            Lookup { parent: Some("Account"), relationship: "What", field: "X__c" }
        );
        assert_eq!(Lookup::of("LastName"), None);
    }

    #[test]
    fn a_row_of_a_job_tells_clear_from_leave_alone() {
        let rows = [
            record([Value::Text("a"), Value::Text("1"), Value::Missing]),
            record([Value::Null, Value::Text("2"), Value::Null]),
        ];
        let records: Vec<_> = rows.iter().map(|r| of(r)).collect();
        let layout = layout();
        let batch = |op| WriteBatch { sync: "s", op, layout: &layout, records: &records };
        let upsert = table(&batch(Op::Upsert), &[1, 0], None);
        assert_eq!(upsert.header, ["Account.Code__c", "Ext__c", "Seen__c", "AccountId"]);
        assert_eq!(upsert.rows, [["", "2", "#N/A", "#N/A"], ["a", "1", "", ""]]);
        assert_eq!(table(&batch(Op::Append), &[1], None).rows, [["", "2", "", "#N/A"]]);
        let delete = table(&batch(Op::Delete), &[0], Some(&["003A", "003B"]));
        assert_eq!((delete.header, delete.rows), (vec!["Id".to_owned()], vec![vec!["003A".to_owned()]]));
    }

    #[test]
    fn records_that_share_an_identifier_are_all_rejected() {
        let rows = ["1", "2", "1"].map(|id| record([Value::Missing, Value::Text(id), Value::Missing]));
        let records: Vec<_> = rows.iter().map(|r| of(r)).collect();
        let layout = layout();
        let found = |op| {
            rejected(&WriteBatch { sync: "s", op, layout: &layout, records: &records })
                .iter()
                .map(Option::is_some)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(Op::Upsert), [true, false, true]);
        assert_eq!(found(Op::Append), [false; 3]);
    }
}
