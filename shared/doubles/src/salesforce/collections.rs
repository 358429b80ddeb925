//! sObject Collections: at most 200 records to a request, results in the request's order.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::object::SObject;
use super::org::{Org, error, not_found};
use super::save::{How, SaveRefusal, Wrong};
use crate::server::{DoubleReply, DoubleRequest};

/// Most records in a request.
const MAX_RECORDS: usize = 200;

impl Org {
    /// `PATCH /composite/sobjects/SObject/Field`
    pub(super) fn upsert(&mut self, request: &DoubleRequest, object: &str, field: &str) -> DoubleReply {
        let records = match records(request) {
            Ok(records) => records,
            Err(reply) => return reply,
        };
        let Some(of) = self.objects.get(object) else { return not_found() };
        let Some(key) = of.field(field).filter(|f| f.external).cloned() else {
            return error(
                400,
                "INVALID_FIELD",
                &format!("Field name provided, {field} is not an External ID field for {object}"),
            );
        };
        let given =
            |r: &Map<String, Value>| r.get(&key.name).filter(|v| !v.is_null()).map(|v| SObject::folded(&key, v));
        let mut times: HashMap<String, usize> = HashMap::new();
        records.iter().filter_map(given).for_each(|k| *times.entry(k).or_default() += 1);
        let mut results = Vec::new();
        for record in &records {
            let saved = match (given(record), record.contains_key("Id")) {
                (_, true) => Err(Wrong::new("INVALID_FIELD", "cannot specify Id in record", &["Id"]).into()),
                (None, _) => Err(Wrong::new("MISSING_ARGUMENT", format!("{field} not specified"), &[]).into()),
                (Some(k), _) if times[&k] > 1 => {
                    Err(Wrong::new("DUPLICATE_VALUE", format!("Duplicate external id specified: {k}"), &[&key.name])
                        .into())
                }
                (Some(_), _) => match self.objects[object].having(&key, &record[&key.name]).as_slice() {
                    [] => self.save(object, record, how(request, None)),
                    [id] => self.save(object, record, how(request, Some(id))),
                    _ => Err(Wrong::new(
                        "DUPLICATE_EXTERNAL_ID",
                        format!("{field}: more than one record found"),
                        &[&key.name],
                    )
                    .into()),
                },
            };
            match saved {
                Err(SaveRefusal::Request(code, what)) => return error(400, code, &what),
                saved => results.push(result(saved, true)),
            }
        }
        DoubleReply::json(200, &Value::Array(results))
    }

    /// `POST` and `PATCH /composite/sobjects`
    pub(super) fn save_all(&mut self, request: &DoubleRequest, update: bool) -> DoubleReply {
        let records = match records(request) {
            Ok(records) => records,
            Err(reply) => return reply,
        };
        let mut times: HashMap<&str, usize> = HashMap::new();
        records.iter().filter_map(|r| r.get("Id")?.as_str()).for_each(|id| *times.entry(id).or_default() += 1);
        let mut results = Vec::new();
        for record in &records {
            let Some(object) = record.get("attributes").and_then(|a| a.get("type")).and_then(Value::as_str) else {
                return error(400, "INVALID_TYPE", "a record names no type");
            };
            let id = record.get("Id").and_then(Value::as_str);
            let saved = match (update, id) {
                (false, Some(_)) => {
                    Err(Wrong::new("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", &["Id"])
                        .into())
                }
                (true, None) => Err(Wrong::new("MISSING_ARGUMENT", "Id not specified in an update call", &[]).into()),
                (true, Some(id)) if times[id] > 1 => {
                    Err(Wrong::new("DUPLICATE_VALUE", "duplicate id in list", &["Id"]).into())
                }
                (_, id) => {
                    let whole = id.map(|id| self.whole_id(object, id));
                    self.save(object, record, how(request, whole.as_deref()))
                }
            };
            match saved {
                Err(SaveRefusal::Request(code, what)) => return error(400, code, &what),
                saved => results.push(result(saved, false)),
            }
        }
        DoubleReply::json(200, &Value::Array(results))
    }

    /// `DELETE /composite/sobjects?ids=…`: of whatever object.
    pub(super) fn delete_all(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form: HashMap<String, String> = request.form().into_iter().collect();
        if request.query.len() > 16 * 1024 {
            return error(414, "URI_TOO_LONG", "the URI is too long");
        }
        let ids: Vec<&str> = form.get("ids").map(String::as_str).unwrap_or_default().split(',').collect();
        if ids.len() > MAX_RECORDS {
            return too_many();
        }
        let results = ids
            .iter()
            .map(|id| result(self.delete(id).map(|()| ((*id).to_owned(), false)).map_err(SaveRefusal::Record), false))
            .collect();
        DoubleReply::json(200, &Value::Array(results))
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<(), Wrong> {
        self.rows += 1;
        let Some(object) = self.objects.values_mut().find(|o| id.starts_with(&o.prefix)) else {
            return Err(Wrong::new("MALFORMED_ID", "malformed id", &["Id"]));
        };
        let whole = object.records.keys().find(|k| k.starts_with(&id[..id.len().min(15)])).cloned();
        match whole {
            Some(_) if self.puts_back_deleted => Ok(()),
            Some(whole) => {
                object.put(&whole, None);
                Ok(())
            }
            None if object.deleted.contains(id) => Err(Wrong::new("ENTITY_IS_DELETED", "entity is deleted", &[])),
            None => Err(Wrong::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[])),
        }
    }

    /// The 18-character form of an id, where the record is there.
    pub(super) fn whole_id(&self, object: &str, id: &str) -> String {
        let known = self
            .objects
            .get(object)
            .filter(|_| id.len() == 15)
            .and_then(|o| o.records.keys().find(|k| k.starts_with(id)));
        known.cloned().unwrap_or_else(|| id.to_owned())
    }
}

fn how<'a>(request: &DoubleRequest, id: Option<&'a str>) -> How<'a> {
    let allow_duplicates = request.header("sforce-duplicate-rule-header").is_some_and(|h| h.contains("allowSave=true"));
    How { id, text: false, allow_duplicates }
}

/// The records of a request's body.
fn records(request: &DoubleRequest) -> Result<Vec<Map<String, Value>>, DoubleReply> {
    let unreadable = || {
        error(
            400,
            "JSON_PARSER_ERROR",
            "The HTTP entity body is required, but this request has no entity body that can be read.",
        )
    };
    let body = request.json().ok_or_else(unreadable)?;
    if body["allOrNone"] != false {
        return Err(error(400, "UNSUPPORTED", "the double knows allOrNone=false only"));
    }
    let all = body["records"].as_array().ok_or_else(unreadable)?;
    if all.len() > MAX_RECORDS {
        return Err(too_many());
    }
    all.iter().map(|r| r.as_object().cloned().ok_or_else(unreadable)).collect()
}

fn too_many() -> DoubleReply {
    error(400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call")
}

fn result(saved: Result<(String, bool), SaveRefusal>, tells_created: bool) -> Value {
    match saved {
        Ok((id, created)) if tells_created => json!({ "id": id, "success": true, "created": created, "errors": [] }),
        Ok((id, _)) => json!({ "id": id, "success": true, "errors": [] }),
        Err(SaveRefusal::Record(Wrong(code, message, fields))) => {
            json!({ "success": false, "errors": [{ "statusCode": code, "message": message, "fields": fields }] })
        }
        Err(SaveRefusal::Request(code, message)) => {
            json!({ "success": false, "errors": [{ "statusCode": code, "message": message, "fields": [] }] })
        }
    }
}
