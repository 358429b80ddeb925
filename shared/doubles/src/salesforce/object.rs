//! Objects: their fields as `describe` tells them, and their records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The fields of a record that hold something, by name.
pub type SObjectRecord = BTreeMap<String, Value>;

#[derive(Debug, Clone)]
pub struct ObjectField {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) length: usize,
    pub(super) precision: u32,
    pub(super) scale: u32,
    pub(super) nillable: bool,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) external: bool,
    pub(super) unique: bool,
    pub(super) case_sensitive: bool,
    pub(super) picks: Vec<String>,
    pub(super) restricted: bool,
    pub(super) relationship: Option<String>,
    pub(super) parents: Vec<String>,
}

impl ObjectField {
    fn new(name: &str, kind: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            length: 0,
            precision: 0,
            scale: 0,
            nillable: true,
            createable: true,
            updateable: true,
            external: false,
            unique: false,
            case_sensitive: false,
            picks: Vec::new(),
            restricted: false,
            relationship: None,
            parents: Vec::new(),
        }
    }

    /// Text of at most so many characters.
    pub fn text(name: &str, length: usize) -> Self {
        Self { length, ..Self::new(name, "string") }
    }

    pub fn email(name: &str) -> Self {
        Self { length: 80, ..Self::new(name, "email") }
    }

    /// A number of so many digits, so many of them after the point.
    pub fn number(name: &str, precision: u32, scale: u32) -> Self {
        Self { precision, scale, ..Self::new(name, "double") }
    }

    pub fn checkbox(name: &str) -> Self {
        Self { nillable: false, ..Self::new(name, "boolean") }
    }

    pub fn date(name: &str) -> Self {
        Self::new(name, "date")
    }

    /// A point in time.
    pub fn datetime(name: &str) -> Self {
        Self::new(name, "datetime")
    }

    pub fn picklist(name: &str, picks: &[&str]) -> Self {
        Self {
            length: 255,
            restricted: true,
            picks: picks.iter().map(|p| (*p).to_owned()).collect(),
            ..Self::new(name, "picklist")
        }
    }

    /// A reference to records of other objects: `ObjectField::reference("AccountId", "Account", &["Account"])`.
    pub fn reference(name: &str, relationship: &str, parents: &[&str]) -> Self {
        let parents = parents.iter().map(|p| (*p).to_owned()).collect();
        Self { length: 18, relationship: Some(relationship.into()), parents, ..Self::new(name, "reference") }
    }

    /// It must be there.
    pub fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    /// It cannot be written.
    pub fn read_only(mut self) -> Self {
        (self.createable, self.updateable) = (false, false);
        self
    }

    /// A unique external id.
    pub fn external(mut self) -> Self {
        (self.external, self.unique) = (true, true);
        self
    }

    fn describe(&self) -> Value {
        let picks: Vec<Value> = self
            .picks
            .iter()
            .map(|p| json!({ "value": p, "label": p, "active": true, "defaultValue": false }))
            .collect();
        json!({
            "name": self.name, "label": self.name, "type": self.kind, "length": self.length, "precision": self.precision, "scale": self.scale,
            "nillable": self.nillable, "createable": self.createable, "updateable": self.updateable,
            "defaultedOnCreate": self.kind == "boolean", "externalId": self.external, "idLookup": self.external || self.name == "Id",
            "unique": self.unique, "caseSensitive": self.case_sensitive, "restrictedPicklist": self.restricted, "picklistValues": picks,
            "referenceTo": self.parents, "relationshipName": self.relationship,
        })
    }
}

/// An object with its records.
#[derive(Debug, Clone)]
pub struct SObject {
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) fields: Vec<ObjectField>,
    pub(super) records: BTreeMap<String, SObjectRecord>,
    pub(super) deleted: BTreeSet<String>,
    /// Validation rules: a field, a value that it must not have, what is said then.
    pub(super) rules: Vec<(String, Value, String)>,
    /// A duplicate rule on this field.
    pub(super) alerts_on: Option<String>,
    by_external: BTreeMap<(String, String), BTreeSet<String>>,
}

impl SObject {
    /// An object whose record ids begin with these three characters.
    pub fn new(name: &str, prefix: &str, fields: Vec<ObjectField>) -> Self {
        let id = ObjectField { length: 18, nillable: false, ..ObjectField::new("Id", "id").read_only() };
        let fields = std::iter::once(id).chain(fields).collect();
        let (records, deleted, rules) = Default::default();
        Self {
            name: name.into(),
            prefix: prefix.into(),
            fields,
            records,
            deleted,
            rules,
            alerts_on: None,
            by_external: BTreeMap::new(),
        }
    }

    /// With a validation rule: `field` must not be `value`.
    pub fn with_rule(mut self, field: &str, value: Value, message: &str) -> Self {
        self.rules.push((field.into(), value, message.into()));
        self
    }

    /// With a duplicate rule: a new record with a value of this field that another record has is alerted about.
    pub fn with_duplicate_rule(mut self, field: &str) -> Self {
        self.alerts_on = Some(field.into());
        self
    }

    /// Its records by id.
    pub fn records(&self) -> &BTreeMap<String, SObjectRecord> {
        &self.records
    }

    /// Its records by this field, as text.
    pub fn records_by(&self, field: &str) -> BTreeMap<String, SObjectRecord> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.records.values().filter_map(|r| Some((text(r.get(field)?), r.clone()))).collect()
    }

    /// A field by its name, whose case does not matter.
    pub(super) fn field(&self, name: &str) -> Option<&ObjectField> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name))
    }

    /// What values of a field are compared by.
    pub(super) fn folded(field: &ObjectField, value: &Value) -> String {
        match value {
            Value::String(text) if field.case_sensitive => text.clone(),
            Value::String(text) => text.to_lowercase(),
            other => other.as_f64().map_or_else(|| other.to_string(), |f| f.to_string()),
        }
    }

    /// Ids of the records with this value.
    pub(super) fn having(&self, field: &ObjectField, value: &Value) -> Vec<String> {
        let wanted = Self::folded(field, value);
        if field.external {
            return self.by_external.get(&(field.name.clone(), wanted)).into_iter().flatten().cloned().collect();
        }
        self.records
            .iter()
            .filter(|(_, r)| r.get(&field.name).is_some_and(|v| Self::folded(field, v) == wanted))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Replaces a record, or removes it.
    pub(super) fn put(&mut self, id: &str, record: Option<SObjectRecord>) {
        let externals: Vec<ObjectField> = self.fields.iter().filter(|f| f.external).cloned().collect();
        for (kept, of) in [(false, self.records.get(id)), (true, record.as_ref())] {
            for field in &externals {
                let Some(value) = of.and_then(|r| r.get(&field.name)) else { continue };
                let ids = self.by_external.entry((field.name.clone(), Self::folded(field, value))).or_default();
                let _ = if kept { ids.insert(id.to_owned()) } else { ids.remove(id) };
            }
        }
        match record {
            Some(record) => drop(self.records.insert(id.to_owned(), record)),
            None => {
                self.records.remove(id);
                self.deleted.insert(id.to_owned());
            }
        }
    }

    /// Deletes the record with this id behind everybody's back.
    pub fn remove(&mut self, id: &str) {
        self.put(id, None);
    }

    /// `GET /sobjects/X/describe`
    pub(super) fn describe(&self) -> Value {
        let mut out = Map::new();
        for right in ["createable", "updateable", "deletable", "queryable"] {
            out.insert(right.into(), json!(true));
        }
        out.insert("name".into(), json!(self.name));
        out.insert("keyPrefix".into(), json!(self.prefix));
        out.insert("fields".into(), self.fields.iter().map(ObjectField::describe).collect());
        Value::Object(out)
    }
}
