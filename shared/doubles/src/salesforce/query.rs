//! `GET /query`: `SELECT a,b,Rel.c FROM SObject WHERE field IN (…)`, in pages.

use serde_json::{Map, Value, json};

use super::object::{ObjectField, SObject, SObjectRecord};
use super::org::{Org, error, not_found};
use crate::server::{DoubleReply, DoubleRequest};

impl Org {
    pub(super) fn query(&mut self, request: &DoubleRequest) -> DoubleReply {
        if request.query.len() > 16 * 1024 {
            return error(414, "URI_TOO_LONG", "the URI is too long");
        }
        let soql = request.form().into_iter().find(|(name, _)| name == "q").map(|(_, soql)| soql).unwrap_or_default();
        match self.found(&soql) {
            Ok(mut records) => {
                if records.len() <= self.records_of_a_page {
                    return DoubleReply::json(
                        200,
                        &json!({ "totalSize": records.len(), "done": true, "records": records }),
                    );
                }
                let rest = records.split_off(self.records_of_a_page);
                self.page(records, rest)
            }
            Err(what) => error(400, "MALFORMED_QUERY", &what),
        }
    }

    pub(super) fn query_page(&mut self, name: &str) -> DoubleReply {
        let Some(mut records) = self.pages.remove(name) else { return not_found() };
        let rest = records.split_off(self.records_of_a_page.min(records.len()));
        self.page(records, rest)
    }

    fn page(&mut self, records: Vec<Value>, rest: Vec<Value>) -> DoubleReply {
        let mut body = json!({ "totalSize": records.len() + rest.len(), "done": rest.is_empty(), "records": records });
        if !rest.is_empty() {
            let name = self.new_id("01g");
            body["nextRecordsUrl"] = json!(format!("/services/data/{}/query/{name}", self.version));
            self.pages.insert(name, rest);
        }
        DoubleReply::json(200, &body)
    }

    fn found(&self, soql: &str) -> Result<Vec<Value>, String> {
        let wrong = |what: &str| format!("unexpected token in: {what}");
        let rest = soql.strip_prefix("SELECT ").ok_or_else(|| wrong(soql))?;
        let (columns, rest) = rest.split_once(" FROM ").ok_or_else(|| wrong(rest))?;
        let (object, rest) = rest.split_once(" WHERE ").ok_or_else(|| wrong(rest))?;
        let (field, rest) = rest.split_once(" IN (").ok_or_else(|| wrong(rest))?;
        let values = values(rest.strip_suffix(')').ok_or_else(|| wrong(rest))?)?;
        let object = self.objects.get(object).ok_or_else(|| format!("sObject type '{object}' is not supported"))?;
        let field = object.field(field).ok_or_else(|| format!("No such column '{field}'"))?;
        let columns: Vec<&str> = columns.split(',').map(str::trim).collect();
        let mut out = Vec::new();
        for value in &values {
            if value.is_number() != (field.kind == "double") {
                return Err(format!(
                    "value of filter criterion for field '{}' must be of type {}",
                    field.name, field.kind
                ));
            }
            let ids = if field.kind == "id" { self.by_id(object, value) } else { object.having(field, value) };
            for id in ids {
                out.push(self.shown(object, &object.records[&id], &columns)?);
            }
        }
        Ok(out)
    }

    fn by_id(&self, object: &SObject, value: &Value) -> Vec<String> {
        let id = value.as_str().unwrap_or_default();
        object.records.keys().filter(|k| k.len() >= 15 && id.len() >= 15 && k[..15] == id[..15]).cloned().collect()
    }

    fn shown(&self, object: &SObject, record: &SObjectRecord, columns: &[&str]) -> Result<Value, String> {
        let mut out = Map::new();
        out.insert("attributes".into(), json!({ "type": object.name }));
        for column in columns {
            let missing = || format!("No such column '{column}' on entity '{}'", object.name);
            let Some((relationship, of_parent)) = column.split_once('.') else {
                let field = object.field(column).ok_or_else(missing)?;
                out.insert(field.name.clone(), record.get(&field.name).map_or(Value::Null, |v| spelled(field, v)));
                continue;
            };
            let reference =
                object.fields.iter().find(|f| f.relationship.as_deref() == Some(relationship)).ok_or_else(missing)?;
            let id = record.get(&reference.name).and_then(Value::as_str);
            let parent = id.and_then(|id| reference.parents.iter().find_map(|p| self.objects.get(p)?.records.get(id)));
            let shown = parent.map_or(
                Value::Null,
                |p| json!({ "attributes": {}, of_parent: p.get(of_parent).cloned().unwrap_or_default() }),
            );
            out.insert(relationship.into(), shown);
        }
        Ok(Value::Object(out))
    }
}

/// A value as a query shows it: numbers with a point, times with their offset.
fn spelled(field: &ObjectField, value: &Value) -> Value {
    match field.kind {
        "double" => value.as_f64().map_or(Value::Null, |f| json!(f)),
        "datetime" => {
            let moment = value.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
            moment.map_or(Value::Null, |m| json!(m.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()))
        }
        _ => value.clone(),
    }
}

/// Literals between commas: texts in quotes with escapes, numbers.
fn values(list: &str) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' | ' ' => {}
            '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next().ok_or("an open quote")? {
                        '\'' => break,
                        '\\' => match chars.next().ok_or("an open escape")? {
                            'n' => text.push('\n'),
                            'r' => text.push('\r'),
                            't' => text.push('\t'),
                            c @ ('\'' | '\\' | '"') => text.push(c),
                            c => return Err(format!("Illegal string literal escape \\{c}")),
                        },
                        c => text.push(c),
                    }
                }
                out.push(Value::String(text));
            }
            c => {
                let mut text = String::from(c);
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    text.push(c);
                }
                let number: f64 = text.trim().parse().map_err(|_| format!("unexpected token: {text}"))?;
                out.push(json!(number));
            }
        }
    }
    Ok(out)
}
