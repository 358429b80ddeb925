//! Saving one record: every field against its kind, then required fields, rules, uniqueness, locks.

use serde_json::{Map, Value, json};

use super::object::{ObjectField, SObject, SObjectRecord};
use super::org::Org;

/// One error of a record: status code, message, fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) &'static str, pub(super) String, pub(super) Vec<String>);

impl Wrong {
    pub(super) fn new(code: &'static str, message: impl Into<String>, fields: &[&str]) -> Self {
        Self(code, message.into(), fields.iter().map(|f| (*f).to_owned()).collect())
    }
}

/// Why a record is not saved.
#[derive(Debug)]
pub(super) enum SaveRefusal {
    /// This record, for this.
    Record(Wrong),
    /// The whole request: it cannot be read.
    Request(&'static str, String),
}

impl From<Wrong> for SaveRefusal {
    fn from(wrong: Wrong) -> Self {
        SaveRefusal::Record(wrong)
    }
}

/// How a record is to be saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    /// The record to update; `None`: create.
    pub(super) id: Option<&'a str>,
    /// Values came as text (CSV).
    pub(super) text: bool,
    /// A duplicate rule's alert is passed over.
    pub(super) allow_duplicates: bool,
}

impl Org {
    /// Saves a record; returns its id and whether it is new.
    pub(super) fn save(
        &mut self,
        object: &str,
        values: &Map<String, Value>,
        how: How<'_>,
    ) -> Result<(String, bool), SaveRefusal> {
        self.rows += 1;
        self.lock(object, values)?;
        let Some(of) = self.objects.get(object) else {
            return Err(SaveRefusal::Request("INVALID_TYPE", format!("sObject type '{object}' is not supported")));
        };
        if how.id.is_none() && self.storage_full {
            return Err(Wrong::new("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", &[]).into());
        }
        let mut record = match how.id {
            None => SObjectRecord::new(),
            Some(id) => match of.records.get(id) {
                Some(record) => record.clone(),
                None if of.deleted.contains(id) => {
                    return Err(Wrong::new("ENTITY_IS_DELETED", "entity is deleted", &[]).into());
                }
                None => return Err(Wrong::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[]).into()),
            },
        };
        for (name, value) in values.iter().filter(|(name, _)| !matches!(name.as_str(), "attributes" | "Id")) {
            let (field, value) = self.value(of, name, value, how)?;
            match value {
                Value::Null => drop(record.remove(&field.name)),
                value => drop(record.insert(field.name.clone(), value)),
            }
        }
        let missing: Vec<&str> = of
            .fields
            .iter()
            .filter(|f| !f.nillable && f.createable && f.kind != "boolean" && !record.contains_key(&f.name))
            .map(|f| f.name.as_str())
            .collect();
        if !missing.is_empty() {
            return Err(Wrong::new(
                "REQUIRED_FIELD_MISSING",
                format!("Required fields are missing: [{}]", missing.join(", ")),
                &missing,
            )
            .into());
        }
        for (field, value, message) in &of.rules {
            if record.get(field).is_some_and(|v| v == value || v.as_f64().is_some() && v.as_f64() == value.as_f64()) {
                return Err(Wrong::new("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, &[]).into());
            }
        }
        for field in of.fields.iter().filter(|f| f.unique) {
            let others = record.get(&field.name).map(|v| of.having(field, v)).unwrap_or_default();
            if let Some(other) = others.iter().find(|id| Some(id.as_str()) != how.id) {
                let what = format!(
                    "duplicate value found: {} duplicates value on record with id: {}",
                    field.name,
                    &other[..15]
                );
                return Err(Wrong::new("DUPLICATE_VALUE", what, &[&field.name]).into());
            }
        }
        if let Some(field) =
            of.alerts_on.as_deref().and_then(|f| of.field(f)).filter(|_| how.id.is_none() && !how.allow_duplicates)
            && record.get(&field.name).is_some_and(|v| !of.having(field, v).is_empty())
        {
            return Err(Wrong::new("DUPLICATES_DETECTED", "Use one of these records?", &[]).into());
        }
        let prefix = of.prefix.clone();
        let id = how.id.map_or_else(|| self.new_id(&prefix), str::to_owned);
        record.insert("Id".into(), json!(id));
        self.object(object).put(&id, Some(record));
        Ok((id, how.id.is_none()))
    }

    /// A row finds its parent locked, the first time that it comes.
    fn lock(&mut self, object: &str, values: &Map<String, Value>) -> Result<(), Wrong> {
        let nth = self.locks_every.is_some_and(|nth| self.rows.is_multiple_of(nth));
        if nth && self.locked.insert(format!("{object} {values:?}")) {
            return Err(Wrong::new(
                "UNABLE_TO_LOCK_ROW",
                "unable to obtain exclusive access to this record or 1 records",
                &[],
            ));
        }
        Ok(())
    }

    /// The field of this name and what it will hold.
    fn value<'a>(
        &self,
        object: &'a SObject,
        name: &str,
        value: &Value,
        how: How<'_>,
    ) -> Result<(&'a ObjectField, Value), SaveRefusal> {
        let unknown = || {
            let what = format!("No such column '{name}' on sobject of type {}", object.name);
            if self.unknown_field_refuses_all {
                SaveRefusal::Request("INVALID_FIELD", what)
            } else {
                Wrong::new("INVALID_FIELD", what, &[name]).into()
            }
        };
        if let Some(field) = object.fields.iter().find(|f| f.relationship.as_deref() == Some(name)) {
            return Ok((field, self.parent(field, value)?));
        }
        let field = object.field(name).ok_or_else(unknown)?;
        let writable = if how.id.is_some() { field.updateable } else { field.createable };
        if !writable {
            let what =
                format!("Unable to create/update fields: {name}. Please check the security settings of this field");
            return Err(Wrong::new("INVALID_FIELD_FOR_INSERT_UPDATE", what, &[name]).into());
        }
        if value.is_null() || value == "" {
            // A checkbox cannot hold nothing.
            return Ok((field, if field.kind == "boolean" { json!(false) } else { Value::Null }));
        }
        let value = if how.text { of_text(field, value)? } else { of_json(field, value)? };
        check(field, &value)?;
        if field.kind == "reference"
            && !field.parents.iter().any(|p| {
                self.objects.get(p).is_some_and(|o| value.as_str().is_some_and(|id| o.records.contains_key(id)))
            })
        {
            return Err(Wrong::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[name]).into());
        }
        Ok((field, value))
    }

    /// The id of the parent that `{"Ext__c": …}` names.
    fn parent(&self, reference: &ObjectField, value: &Value) -> Result<Value, SaveRefusal> {
        let named = value
            .as_object()
            .ok_or_else(|| SaveRefusal::Request("JSON_PARSER_ERROR", "Cannot deserialize a relationship".into()))?;
        let of = value.pointer("/attributes/type").and_then(Value::as_str);
        let parent = match (of, reference.parents.as_slice()) {
            (Some(of), all) if all.iter().any(|p| p == of) => of,
            (None, [one]) => one.as_str(),
            _ => {
                return Err(Wrong::new(
                    "INVALID_FIELD",
                    "the polymorphic relationship needs its type",
                    &[&reference.name],
                )
                .into());
            }
        };
        let key = named.iter().find(|(name, _)| *name != "attributes");
        let object = self.objects.get(parent);
        let Some((object, (name, value))) = object.zip(key) else {
            return Err(Wrong::new("INVALID_FIELD", "no parent is named", &[&reference.name]).into());
        };
        let Some(field) = object.field(name).filter(|f| f.external) else {
            let what = format!("Field name provided, {name} is not an External ID or indexed field for {parent}");
            return Err(Wrong::new("INVALID_FIELD", what, &[name]).into());
        };
        match object.having(field, value).as_slice() {
            [id] => Ok(json!(id)),
            _ => {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Err(Wrong::new(
                    "INVALID_FIELD",
                    format!("Foreign key external ID: {shown} not found for field {name} in entity {parent}"),
                    &[],
                )
                .into())
            }
        }
    }
}

/// A value out of JSON, which has types.
fn of_json(field: &ObjectField, value: &Value) -> Result<Value, SaveRefusal> {
    let fits = match field.kind {
        "double" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_string(),
    };
    if !fits {
        return Err(SaveRefusal::Request(
            "JSON_PARSER_ERROR",
            format!("Cannot deserialize instance of {} from another value", field.kind),
        ));
    }
    // Spaces at either end are never kept.
    Ok(value
        .as_str()
        .map_or_else(|| value.clone(), |text| if text.trim().is_empty() { Value::Null } else { json!(text.trim()) }))
}

/// A value out of CSV, which has none.
fn of_text(field: &ObjectField, value: &Value) -> Result<Value, SaveRefusal> {
    let text = value.as_str().unwrap_or_default();
    let wrong = |code| {
        SaveRefusal::Record(Wrong::new(code, format!("'{text}' is not a valid value for the type"), &[&field.name]))
    };
    match field.kind {
        "double" => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => Ok(json!(whole)),
            (_, Ok(number)) if number.is_finite() => Ok(json!(number)),
            _ => Err(wrong("INVALID_TYPE_ON_FIELD_IN_RECORD")),
        },
        "boolean" => text.parse::<bool>().map(Value::Bool).map_err(|_| wrong("INVALID_TYPE_ON_FIELD_IN_RECORD")),
        _ if text.trim().is_empty() => Ok(Value::Null),
        _ => Ok(json!(text.trim())),
    }
}

/// What a field's kind asks for.
fn check(field: &ObjectField, value: &Value) -> Result<(), SaveRefusal> {
    let name = field.name.as_str();
    let wrong = |code: &'static str, what: String| Err(SaveRefusal::Record(Wrong::new(code, what, &[name])));
    match (field.kind, value) {
        ("string" | "email", Value::String(text)) if text.chars().count() > field.length => {
            wrong("STRING_TOO_LONG", format!("{name}: data value too large: (max length={})", field.length))
        }
        ("email", Value::String(text)) if !text.contains('@') => {
            wrong("INVALID_EMAIL_ADDRESS", format!("{name}: invalid email address"))
        }
        ("double", number) => {
            let whole = number.as_f64().map_or(0, |f| f.abs().trunc().to_string().trim_start_matches('0').len());
            if whole > (field.precision - field.scale) as usize {
                wrong("NUMBER_OUTSIDE_VALID_RANGE", format!("{name}: value outside of valid range"))
            } else {
                Ok(())
            }
        }
        ("picklist", Value::String(text)) if field.restricted && !field.picks.contains(text) => wrong(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            format!("{name}: bad value for restricted picklist field: {text}"),
        ),
        ("date", Value::String(text)) if text.parse::<jiff::civil::Date>().is_err() || text.len() != 10 => {
            Err(SaveRefusal::Request("JSON_PARSER_ERROR", "Cannot deserialize instance of date".into()))
        }
        ("datetime", Value::String(text)) if text.parse::<jiff::Timestamp>().is_err() => {
            Err(SaveRefusal::Request("JSON_PARSER_ERROR", "Cannot deserialize instance of datetime".into()))
        }
        ("reference", Value::String(text)) if text.len() != 15 && text.len() != 18 => {
            wrong("MALFORMED_ID", format!("{name}: id value of incorrect type: {text}"))
        }
        _ => Ok(()),
    }
}
