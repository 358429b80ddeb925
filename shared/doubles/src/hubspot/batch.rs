//! The batch operations on records. A request without trace ids, or by `email`, is taken whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::gate::error;
use super::portal::{Portal, PropertyValues};
use super::property::PropertyType;
use crate::server::DoubleReply;

/// Most inputs of a request.
const MAX_INPUTS: usize = 100;
const NOW: &str = "2026-01-02T03:04:05.678Z";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchOperation {
    Upsert,
    Update,
    Create,
}

/// What became of an input.
enum Done {
    /// Its record, and whether it is new.
    Written(u64, bool),
    /// An error: category, message.
    Failed(&'static str, String),
}

/// What is done with an input: to a record, or to a new one.
struct PreparedInput {
    record: Option<u64>,
    changes: Vec<(String, String)>,
    links: Vec<(String, u64, u64)>,
}

impl Portal {
    /// Upsert, update or create.
    pub(super) fn write(
        &mut self,
        object: &str,
        operation: BatchOperation,
        body: &Value,
        partial_status: u16,
    ) -> DoubleReply {
        let inputs: Vec<Value> = body.get("inputs").and_then(Value::as_array).cloned().unwrap_or_default();
        let ok = if operation == BatchOperation::Create { 201 } else { 200 };
        if inputs.is_empty() {
            return DoubleReply::json(
                ok,
                &json!({ "status": "COMPLETE", "results": [], "errors": [], "startedAt": NOW, "completedAt": NOW }),
            );
        }
        if let Some(refused) = self.refuse_whole(object, operation, &inputs) {
            return refused;
        }
        let traces: BTreeSet<&str> =
            inputs.iter().filter_map(|input| input.get("objectWriteTraceId")?.as_str()).collect();
        let by_email = inputs.iter().any(|input| input.get("idProperty").and_then(Value::as_str) == Some("email"));
        let partial = traces.len() == inputs.len() && !by_email;
        let prepared: Vec<Result<PreparedInput, (&'static str, String)>> =
            inputs.iter().map(|input| self.prepare(object, operation, input)).collect();
        if !partial && let Some(Err((category, message))) = prepared.iter().find(|p| p.is_err()) {
            let status = match *category {
                "OBJECT_NOT_FOUND" => 404,
                "CONFLICT" => 409,
                _ => 400,
            };
            return error(status, category, message);
        }
        let done: Vec<Done> = prepared
            .into_iter()
            .map(|prepared| match prepared {
                Ok(prepared) => self.apply(object, prepared),
                Err((category, message)) => Done::Failed(category, message),
            })
            .collect();
        let failed = done.iter().any(|d| matches!(d, Done::Failed(..)));
        DoubleReply::json(if failed { partial_status } else { ok }, &self.answer(object, operation, &inputs, &done))
    }

    /// What is wrong with the request as a whole.
    fn refuse_whole(&self, object: &str, operation: BatchOperation, inputs: &[Value]) -> Option<DoubleReply> {
        let refuse = |message: String| Some(error(400, "VALIDATION_ERROR", &message));
        if inputs.len() > MAX_INPUTS {
            return refuse(format!(
                "Invalid input: the maximum batch size is {MAX_INPUTS}, and there are {} inputs",
                inputs.len()
            ));
        }
        let known = self.objects.get(object)?;
        let mut ids = BTreeSet::new();
        let mut unknown: BTreeSet<&str> = BTreeSet::new();
        for input in inputs {
            let id_property = input.get("idProperty").and_then(Value::as_str);
            let unique = |name: &str| {
                let property = known.properties.get(name);
                // A contact's address is unique, but no record is updated by it.
                property
                    .is_some_and(|p| p.unique || (p.kind == PropertyType::Email && operation == BatchOperation::Upsert))
            };
            match (operation, id_property) {
                (BatchOperation::Upsert, None) => return refuse("idProperty is required for an upsert".into()),
                (BatchOperation::Upsert | BatchOperation::Update, Some(name)) if !unique(name) => {
                    return refuse(format!(
                        "Unable to perform update/upsert by non-unique {} property {name} in portal ID 1",
                        known.type_id
                    ));
                }
                _ => {}
            }
            if operation != BatchOperation::Create {
                let Some(id) = input.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
                    return refuse("id is required".into());
                };
                if !ids.insert(fold(id_property, id)) {
                    return refuse(format!("Duplicate IDs found in batch input: [{id}]. IDs must be unique"));
                }
            }
            let Some(properties) = input.get("properties").and_then(Value::as_object) else {
                return refuse("properties is required".into());
            };
            if properties.values().any(|value| !value.is_string()) {
                return refuse("Invalid input JSON: a property's value is a string".into());
            }
            unknown.extend(properties.keys().map(String::as_str).filter(|name| !known.properties.contains_key(*name)));
        }
        if unknown.is_empty() {
            return None;
        }
        let all = unknown
            .into_iter()
            .map(|name| invalid(name, "PROPERTY_DOESNT_EXIST", &format!("Property \"{name}\" does not exist")));
        refuse(format!("Property values were not valid: {}", Value::Array(all.collect())))
    }

    /// Checks an input against the records there are.
    fn prepare(
        &self,
        object: &str,
        operation: BatchOperation,
        input: &Value,
    ) -> Result<PreparedInput, (&'static str, String)> {
        let known = self.objects.get(object).ok_or(("OBJECT_NOT_FOUND", "no such object".to_owned()))?;
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        let id_property = text("idProperty");
        let record = match (operation, id_property, text("id")) {
            (BatchOperation::Create, ..) => None,
            (_, Some(name), Some(id)) => known.find(name, id),
            (_, None, Some(id)) => id.parse().ok().filter(|id| known.records.contains_key(id)),
            (_, _, None) => None,
        };
        if operation == BatchOperation::Update && record.is_none() {
            return Err((
                "OBJECT_NOT_FOUND",
                format!("Could not get some {object} objects, they may be deleted or not exist."),
            ));
        }
        let empty = PropertyValues::new();
        let before = record.and_then(|id| known.records.get(&id)).unwrap_or(&empty);
        let mut given: Map<String, Value> =
            input.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if let (BatchOperation::Upsert, Some(name), Some(id), None) = (operation, id_property, text("id"), record) {
            given.entry(name).or_insert_with(|| id.into());
        }
        let (mut changes, mut wrong) = (Vec::new(), Vec::new());
        for (name, value) in &given {
            let Some(property) = known.properties.get(name) else { continue };
            let kept = property
                .keep(value.as_str().unwrap_or_default(), before.get(name).map(String::as_str).unwrap_or_default());
            match kept {
                Ok(kept) => changes.push((name.clone(), kept)),
                Err((code, message)) => wrong.push(invalid(name, code, &message)),
            }
        }
        if !wrong.is_empty() {
            return Err(("VALIDATION_ERROR", format!("Property values were not valid: {}", Value::Array(wrong))));
        }
        for (name, kept) in changes.iter().filter(|(_, kept)| !kept.is_empty()) {
            if let Some(other) = known.find(name, kept).filter(|other| Some(*other) != record) {
                return Err(("CONFLICT", format!("A record with this {name} already exists. Existing ID: {other}")));
            }
        }
        let has = |name: &String| changes.iter().any(|(n, kept)| n == name && !kept.is_empty());
        let companyless =
            object == "companies" && record.is_none() && !has(&"name".to_owned()) && !has(&"domain".to_owned());
        let missing: Vec<&String> = known.required.iter().filter(|name| record.is_none() && !has(name)).collect();
        if companyless || !missing.is_empty() {
            return Err((
                "VALIDATION_ERROR",
                format!("Error creating {object}. Some required properties were not set: {missing:?}"),
            ));
        }
        Ok(PreparedInput { record, changes, links: self.wanted_links(input)? })
    }

    /// The links that a new record carries.
    fn wanted_links(&self, input: &Value) -> Result<Vec<WantedInput>, (&'static str, String)> {
        let mut out = Vec::new();
        for link in input.get("associations").and_then(Value::as_array).into_iter().flatten() {
            let id = link
                .pointer("/to/id")
                .and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()))
                .unwrap_or_default();
            let kind = link.pointer("/types/0/associationTypeId").and_then(Value::as_u64).unwrap_or_default();
            let Some((name, _)) = self.objects.iter().find(|(_, object)| object.records.contains_key(&id)) else {
                return Err(("VALIDATION_ERROR", format!("the record {id} to associate does not exist")));
            };
            out.push((name.clone(), id, kind));
        }
        Ok(out)
    }

    fn apply(&mut self, object: &str, prepared: PreparedInput) -> Done {
        let new = prepared.record.is_none();
        let id = prepared.record.unwrap_or_else(|| self.next_id());
        let Some(known) = self.objects.get_mut(object) else {
            return Done::Failed("OBJECT_NOT_FOUND", "no such object".into());
        };
        let before = known.records.get(&id).cloned().unwrap_or_default();
        let mut fields = before.clone();
        for (name, kept) in prepared.changes {
            if kept.is_empty() {
                fields.remove(&name)
            } else {
                fields.insert(name, kept)
            };
        }
        let idle = !new && fields == before;
        known.put(id, fields);
        self.idle_writes += u64::from(idle);
        for (to, other, kind) in prepared.links {
            self.links.insert((object.to_owned(), id, to, other, kind));
        }
        Done::Written(id, new)
    }

    /// The body of a good answer. Results come in the order of the records, not of the inputs.
    fn answer(&self, object: &str, operation: BatchOperation, inputs: &[Value], done: &[Done]) -> Value {
        let mut results: BTreeMap<u64, Value> = BTreeMap::new();
        let mut errors = Vec::new();
        for (input, done) in inputs.iter().zip(done) {
            let trace = input.get("objectWriteTraceId").cloned();
            match done {
                Done::Written(id, new) => {
                    let mut properties =
                        self.objects.get(object).and_then(|o| o.records.get(id)).cloned().unwrap_or_default();
                    properties.insert("hs_object_id".into(), id.to_string());
                    let mut result = json!({ "id": id.to_string(), "properties": properties, "createdAt": NOW, "updatedAt": NOW, "archived": false });
                    if let Some(result) = result.as_object_mut() {
                        if operation == BatchOperation::Upsert {
                            result.insert("new".into(), (*new).into());
                        }
                        if self.echoes_trace_ids
                            && let Some(trace) = trace
                        {
                            result.insert("objectWriteTraceId".into(), trace);
                        }
                    }
                    results.insert(*id, result);
                }
                Done::Failed(category, message) => {
                    let mut context = Map::new();
                    context.insert("objectWriteTraceId".into(), json!([trace]));
                    errors.push(
                        json!({ "status": "error", "category": category, "message": message, "context": context, "errors": [], "links": {} }),
                    );
                }
            }
        }
        let results: Vec<Value> = results.into_values().rev().collect();
        let mut body = json!({ "status": "COMPLETE", "results": results, "startedAt": NOW, "completedAt": NOW });
        if let (false, Some(body)) = (errors.is_empty(), body.as_object_mut()) {
            body.insert("numErrors".into(), errors.len().into());
            body.insert("errors".into(), Value::Array(errors));
        }
        body
    }

    /// Archives records by id. Says nothing of those that are not there.
    pub(super) fn archive(&mut self, object: &str, body: &Value) -> DoubleReply {
        let ids: Vec<&str> = body
            .get("inputs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|i| i.get("id")?.as_str())
            .collect();
        if ids.len() > MAX_INPUTS {
            return error(400, "VALIDATION_ERROR", "Invalid input: the maximum batch size is 100");
        }
        for id in ids.into_iter().filter_map(|id| id.parse::<u64>().ok()) {
            if let Some(known) = self.objects.get_mut(object) {
                known.remove(id);
            }
            self.links.retain(|(from, a, to, b, _)| !((from == object && *a == id) || (to == object && *b == id)));
        }
        DoubleReply::status(204)
    }

    /// Reads records by id or by a unique property.
    pub(super) fn read(&self, object: &str, body: &Value, partial_status: u16) -> DoubleReply {
        let Some(known) = self.objects.get(object) else { return error(404, "OBJECT_NOT_FOUND", "no such object") };
        let ids: Vec<&str> = body
            .get("inputs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|i| i.get("id")?.as_str())
            .collect();
        if ids.len() > MAX_INPUTS {
            return error(400, "VALIDATION_ERROR", "Invalid input: the maximum batch size is 100");
        }
        let wanted: Vec<&str> =
            body.get("properties").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let id_property = body.get("idProperty").and_then(Value::as_str);
        let (mut results, mut missing) = (BTreeMap::new(), Vec::new());
        for id in ids {
            let found = match id_property {
                Some(name) => known.find(name, id),
                None => id.parse().ok().filter(|id| known.records.contains_key(id)),
            };
            let Some((record, fields)) = found.and_then(|record| Some((record, known.records.get(&record)?))) else {
                missing.push(id);
                continue;
            };
            let mut properties: Map<String, Value> = wanted
                .iter()
                .filter(|name| known.properties.contains_key(**name))
                .map(|name| ((*name).to_owned(), json!(fields.get(*name))))
                .collect();
            properties.insert("hs_object_id".into(), record.to_string().into());
            results.insert(record, json!({ "id": record.to_string(), "properties": properties, "createdAt": NOW, "updatedAt": NOW, "archived": false }));
        }
        let results: Vec<Value> = results.into_values().collect();
        if missing.is_empty() {
            return DoubleReply::json(
                200,
                &json!({ "status": "COMPLETE", "results": results, "startedAt": NOW, "completedAt": NOW }),
            );
        }
        let message =
            format!("Could not get some {object} objects, they may be deleted or not exist. Check that ids are valid.");
        let error = json!({ "status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": { "ids": missing }, "errors": [], "links": {} });
        DoubleReply::json(
            partial_status,
            &json!({ "status": "COMPLETE", "results": results, "numErrors": missing.len(), "errors": [error], "startedAt": NOW, "completedAt": NOW }),
        )
    }

    pub(super) fn link(&mut self, from: &str, to: &str, body: &Value, partial_status: u16) -> DoubleReply {
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        let inputs = body.get("inputs").and_then(Value::as_array).cloned().unwrap_or_default();
        for input in &inputs {
            let id = |side: &str| {
                input
                    .pointer(&format!("/{side}/id"))
                    .and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()))
                    .unwrap_or_default()
            };
            let there = |object: &str, id: u64| self.objects.get(object).is_some_and(|o| o.records.contains_key(&id));
            let (a, b) = (id("from"), id("to"));
            let kinds: Vec<u64> = input
                .get("types")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|t| t.get("associationTypeId")?.as_u64())
                .collect();
            if kinds.is_empty() || !there(from, a) || !there(to, b) {
                let context = json!({ "fromObjectId": [a.to_string()], "toObjectId": [b.to_string()] });
                errors.push(json!({ "status": "error", "category": "VALIDATION_ERROR", "message": "the records cannot be associated", "context": context, "errors": [], "links": {} }));
                continue;
            }
            for kind in kinds {
                self.links.insert((from.to_owned(), a, to.to_owned(), b, kind));
            }
            results.push(json!({ "fromObjectTypeId": "0-0", "fromObjectId": a.to_string(), "toObjectTypeId": "0-0", "toObjectId": b.to_string(), "labels": [] }));
        }
        if self.refuses_links_whole && !errors.is_empty() {
            results.iter().for_each(|result| {
                let id = |name: &str| result[name].as_str().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
                self.links.retain(|(_, a, _, b, _)| (*a, *b) != (id("fromObjectId"), id("toObjectId")));
            });
            return DoubleReply::json(400, &errors[0]);
        }
        let status = if errors.is_empty() { 201 } else { partial_status };
        DoubleReply::json(
            status,
            &json!({ "status": "COMPLETE", "results": results, "numErrors": errors.len(), "errors": errors, "startedAt": NOW, "completedAt": NOW }),
        )
    }
}

/// A validation error as it stands within a message.
fn invalid(name: &str, code: &str, message: &str) -> Value {
    json!({ "isValid": false, "message": message, "error": code, "name": name, "localizedErrorMessage": message, "portalId": 1 })
}

fn fold(id_property: Option<&str>, id: &str) -> String {
    if id_property == Some("email") { id.trim().to_lowercase() } else { id.to_owned() }
}

/// A link that an input asks for: the other object's type, the record's id there, the kind of link.
type WantedInput = (String, u64, u64);
