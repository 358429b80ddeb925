//! Records for the tests of this folder.

use domain::batch::BatchRecord;
use domain::cells::{self, Cells};
use domain::key::KeyHash;
use domain::layout::{Field, Layout};
use domain::value::{Type, Value};

/// Some records with the fields doc, id (the identifier) and name.
pub(super) struct Fixture {
    pub(super) layout: Layout,
    keys: Vec<Vec<u8>>,
    fields: Vec<Vec<u8>>,
}

impl Fixture {
    pub(super) fn new(records: usize) -> Self {
        let field = |name: &str, identifier| Field { name: name.into(), kind: Type::Any, identifier };
        let layout = Layout::new(vec![field("id", true), field("name", false), field("doc", false)]);
        let (mut keys, mut fields) = (Vec::new(), Vec::new());
        for at in 0..records {
            let mut key = Vec::new();
            cells::push(&mut key, Value::Int(at as i64));
            let mut record = Vec::new();
            cells::push(&mut record, Value::Json("{\r\n \"a\": 1}"));
            cells::push(&mut record, Value::Int(at as i64));
            cells::push(&mut record, Value::Text(&format!("n\"{at}")));
            keys.push(key);
            fields.push(record);
        }
        Self { layout, keys, fields }
    }

    /// Keys of two columns.
    pub(super) fn widen_keys(&mut self) {
        self.keys.iter_mut().for_each(|key| cells::push(key, Value::Text("eu")));
    }

    pub(super) fn records(&self) -> Vec<BatchRecord<'_>> {
        let of = |(key, fields): (&'_ Vec<u8>, &'_ Vec<u8>)| {
            (KeyHash::of(key), domain::key::checksum(fields, self.layout.seed()))
        };
        let each = self.keys.iter().zip(&self.fields);
        each.map(|(key, fields)| {
            let (hash, checksum) = of((key, fields));
            BatchRecord {
                hash,
                checksum,
                revision: 0,
                had_failure: false,
                record_id: None,
                key: Cells(key),
                fields: Cells(fields),
            }
        })
        .collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.records().iter().map(|r| r.stable_id("crm")).collect()
    }
}
