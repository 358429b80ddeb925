//! Table tests of the mapping, through its public face: a line of the file, a column, a value in; a value,
//! a refusal or a finding out.

mod coercions;
mod findings;
mod nulls;
mod rules;
mod transforms;

use serde_json::{Value as Json, json};

use super::{Invalid, Mapper};
use crate::cells::Cells;
use crate::destination_schema::{DestinationField, DestinationSchema};
use crate::finding::Finding;
use crate::row::{Column, RowBatch};
use crate::sync::Sync;
use crate::value::{Type, Value};

/// A sync in mode upsert whose key is `id`, with parts replaced.
fn sync(parts: Json) -> Sync {
    let mut base = json!({
        "name": "s", "mode": "upsert", "mapping": [],
        "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] },
        "destination": { "connection": "d" },
    });
    base.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    serde_json::from_value(base).unwrap()
}

fn column(name: &str, kind: Type) -> Column {
    Column { name: name.into(), kind }
}

fn field(name: &str, kind: Option<Type>) -> DestinationField {
    DestinationField { name: name.into(), kind, ..DestinationField::default() }
}

fn schema(fields: Vec<DestinationField>) -> DestinationSchema {
    DestinationSchema { fields: Some(fields), ..DestinationSchema::default() }
}

/// Columns `id` (int) and `c` of a type; one line from `c` to `f`, with parts; a destination that may
/// describe `f`; rules for it.
#[derive(Clone, Default)]
struct Case {
    kind: Option<Type>,
    line: Json,
    field: Option<DestinationField>,
    rule: Json,
    mode: Option<&'static str>,
}

impl Case {
    fn of(kind: Type) -> Case {
        Case { kind: Some(kind), ..Case::default() }
    }

    fn line(mut self, line: Json) -> Case {
        self.line = line;
        self
    }

    fn to(self, kind: Type) -> Case {
        self.field(field("f", Some(kind)))
    }

    fn field(mut self, field: DestinationField) -> Case {
        self.field = Some(DestinationField { name: "f".into(), ..field });
        self
    }

    fn rule(mut self, rule: Json) -> Case {
        self.rule = rule;
        self
    }

    fn compile(&self) -> (Option<Mapper>, Vec<Finding>) {
        let mut line = json!({ "from": "c", "to": "f" });
        if let Some(parts) = self.line.as_object() {
            line.as_object_mut().unwrap().extend(parts.clone());
        }
        if line.get("constant").is_some() {
            line.as_object_mut().unwrap().remove("from");
        }
        let mut rules = vec![];
        if let Some(rule) = self.rule.as_object() {
            let mut rule = rule.clone();
            rule.insert("field".into(), json!("f"));
            rules.push(rule);
        }
        let columns = [column("id", Type::Int), column("c", self.kind.unwrap_or(Type::Any))];
        let schema = self.field.clone().map_or_else(DestinationSchema::default, |f| schema(vec![f]));
        Mapper::compile(
            &sync(json!({ "mapping": [line], "validate": rules, "mode": self.mode.unwrap_or("upsert") })),
            &columns,
            &schema,
        )
    }

    fn findings(&self) -> String {
        self.compile().1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// The mapped value as `Debug` prints it, or the rule it breaks.
    fn map(&self, value: Value<'_>) -> Result<String, Invalid> {
        let (mapper, findings) = self.compile();
        let mut mapper = mapper.unwrap_or_else(|| panic!("{findings:?}"));
        let mut batch = RowBatch::new(2);
        // Twice, so that what a first row leaves in a buffer cannot show in the next.
        for _ in 0..2 {
            batch.push(Value::Int(1));
            batch.push(value);
        }
        let results: Vec<_> = batch
            .rows()
            .map(|row| {
                let mut out = b"before".to_vec();
                let result = mapper.map(&row, &mut out);
                assert_eq!(&out[..6], b"before");
                assert!(result.is_ok() || out.len() == 6, "an invalid record leaves nothing behind");
                result.map(|()| {
                    let values: Vec<_> = Cells(&out[6..]).values().collect();
                    assert_eq!(values.len(), 1);
                    format!("{:?}", values[0])
                })
            })
            .collect();
        assert_eq!(results[0], results[1]);
        results[0].clone()
    }

    #[track_caller]
    fn gives(&self, value: Value<'_>, expected: Value<'_>) {
        assert_eq!(self.map(value), Ok(format!("{expected:?}")), "{value:?}");
    }

    #[track_caller]
    fn refuses(&self, value: Value<'_>, rule: &str, got: &str) {
        let invalid = self.map(value).unwrap_err();
        assert_eq!(
            (invalid.field.as_str(), invalid.rule.as_str(), invalid.got.as_str()),
            ("f", rule, got),
            "{value:?}"
        );
    }
}
