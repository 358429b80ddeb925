//! The properties of an object, as HubSpot defines them, and what each takes. Reading them over the API is in
//! `object`; turning a value into one is in `encode`.

use std::collections::HashMap;

use domain::destination_schema::DestinationField;
use domain::value::Type;
use serde_json::Value;

/// The record id, which HubSpot gives: a record can be updated by it, and never be created by it.
pub(super) const RECORD_ID: &str = "hs_object_id";
/// A contact's address: unique though its definition need not say so.
pub(super) const EMAIL: &str = "email";
/// Most characters of a text.
pub(super) const MAX_CHARACTERS: usize = 65_536;

/// What kind of value a property holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PropertyKind {
    /// Text, and what we know nothing of.
    Text,
    Number,
    Bool,
    /// A day: midnight UTC.
    Date,
    /// A point in time, in milliseconds.
    DateTime,
    /// One of the options.
    Choice,
    /// Any number of the options, divided by `;`.
    Choices,
}

#[derive(Debug, Clone)]
pub(super) struct HubSpotProperty {
    pub(super) name: String,
    pub(super) kind: PropertyKind,
    /// The internal values of its options, in order; empty where it has none or they are kept elsewhere (owners).
    pub(super) options: Vec<String>,
    /// From a label to the value, where that is unambiguous.
    labels: HashMap<String, String>,
    pub(super) unique: bool,
    pub(super) read_only: bool,
}

impl HubSpotProperty {
    /// A property out of its definition; `None` for one that is archived or has no name.
    pub(super) fn read(definition: &Value) -> Option<Self> {
        let text = |name: &str| definition.get(name).and_then(Value::as_str).unwrap_or_default();
        let flag = |name: &str| definition.get(name).and_then(Value::as_bool).unwrap_or_default();
        let name = text("name");
        if name.is_empty() || flag("archived") {
            return None;
        }
        let kind = match (text("type"), text("fieldType")) {
            ("number", _) => PropertyKind::Number,
            ("bool", _) => PropertyKind::Bool,
            ("date", _) => PropertyKind::Date,
            ("datetime", _) => PropertyKind::DateTime,
            ("enumeration", "checkbox") => PropertyKind::Choices,
            ("enumeration", _) => PropertyKind::Choice,
            _ => PropertyKind::Text,
        };
        let listed = matches!(kind, PropertyKind::Choice | PropertyKind::Choices) && !flag("externalOptions");
        let all: Vec<(&str, &str)> = definition
            .get("options")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|_| listed)
            .filter_map(|option| {
                Some((option.get("value")?.as_str()?, option.get("label").and_then(Value::as_str).unwrap_or_default()))
            })
            .collect();
        let options: Vec<String> = all.iter().map(|(value, _)| (*value).to_owned()).collect();
        let locked =
            definition.pointer("/modificationMetadata/readOnlyValue").and_then(Value::as_bool).unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            kind,
            labels: labels(&all),
            options,
            unique: flag("hasUniqueValue"),
            read_only: locked || flag("calculated"),
        })
    }

    /// The internal value of an option that is given by value or, where that is unambiguous, by label; as given
    /// where it is neither, for HubSpot to say so.
    pub(super) fn option<'a>(&'a self, given: &'a str) -> &'a str {
        // Labels of which one is also a value are not in the map.
        self.labels.get(given).map_or(given, String::as_str)
    }

    /// What the mapping may give it.
    pub(super) fn field(&self, required: bool) -> DestinationField {
        let kind = match self.kind {
            PropertyKind::Text | PropertyKind::Choice | PropertyKind::Choices => Type::Text,
            PropertyKind::Number => Type::Decimal,
            PropertyKind::Bool => Type::Bool,
            PropertyKind::Date => Type::Date,
            PropertyKind::DateTime => Type::Timestamp,
        };
        let one_of = (self.kind == PropertyKind::Choice && !self.options.is_empty()).then(|| {
            let mut labels: Vec<&String> = self.labels.keys().collect();
            labels.sort_unstable();
            self.options.iter().chain(labels).cloned().collect()
        });
        DestinationField {
            name: self.name.clone(),
            kind: Some(kind),
            read_only: self.read_only,
            required,
            not_null: false,
            max_length: (self.kind == PropertyKind::Text).then_some(MAX_CHARACTERS),
            one_of,
            ..DestinationField::default()
        }
    }
}

/// The labels that stand for exactly one option and are not the value of another.
fn labels(options: &[(&str, &str)]) -> HashMap<String, String> {
    let mut out = HashMap::new();
    for (value, label) in options {
        let shared = options.iter().filter(|(_, other)| other == label).count() > 1;
        let is_value = options.iter().any(|(other, _)| other == label);
        if !label.is_empty() && !shared && !is_value {
            out.insert((*label).to_owned(), (*value).to_owned());
        }
    }
    out
}

/// The properties of an object, by name.
#[derive(Debug, Default)]
pub(super) struct Properties(HashMap<String, HubSpotProperty>);

impl Properties {
    /// The properties out of the list that HubSpot gives.
    pub(super) fn read(list: &Value) -> Option<Self> {
        let all = list.get("results")?.as_array()?;
        Some(Self(all.iter().filter_map(HubSpotProperty::read).map(|p| (p.name.clone(), p)).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&HubSpotProperty> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<&HubSpotProperty> {
        let mut all: Vec<&HubSpotProperty> = self.0.values().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tier() -> HubSpotProperty {
        let option = |value: &str, label: &str| json!({ "value": value, "label": label });
        let options = [
            option("lead", "Lead"),
            option("customer", "Customer"),
            option("a", "Same"),
            option("b", "Same"),
            option("Old", "New"),
            option("New", "x"),
        ];
        HubSpotProperty::read(
            &json!({ "name": "tier", "type": "enumeration", "fieldType": "select", "options": options }),
        )
        .unwrap()
    }

    #[test]
    fn labels_stand_for_values_where_that_is_unambiguous() {
        let tier = tier();
        for (given, value) in [
            ("lead", "lead"),
            ("Lead", "lead"),
            ("Customer", "customer"),
            ("Same", "Same"),
            ("New", "New"),
            ("Old", "Old"),
            ("x", "New"),
            ("nope", "nope"),
        ] {
            assert_eq!(tier.option(given), value, "{given}");
        }
        let allowed = tier.field(false).one_of.unwrap();
        assert_eq!(allowed, ["lead", "customer", "a", "b", "Old", "New", "Customer", "Lead", "x"]);
    }

    #[test]
    fn definitions_say_what_a_property_takes() {
        for (definition, kind, field, read_only) in [
            (json!({ "name": "p", "type": "string" }), PropertyKind::Text, Type::Text, false),
            (json!({ "name": "p", "type": "number", "calculated": true }), PropertyKind::Number, Type::Decimal, true),
            (json!({ "name": "p", "type": "bool" }), PropertyKind::Bool, Type::Bool, false),
            (
                json!({ "name": "p", "type": "date", "modificationMetadata": { "readOnlyValue": true } }),
                PropertyKind::Date,
                Type::Date,
                true,
            ),
            (json!({ "name": "p", "type": "datetime" }), PropertyKind::DateTime, Type::Timestamp, false),
            (
                json!({ "name": "p", "type": "enumeration", "fieldType": "checkbox" }),
                PropertyKind::Choices,
                Type::Text,
                false,
            ),
            (json!({ "name": "p", "type": "something_new" }), PropertyKind::Text, Type::Text, false),
        ] {
            let property = HubSpotProperty::read(&definition).unwrap();
            assert_eq!(
                (property.kind, property.field(false).kind, property.read_only),
                (kind, Some(field), read_only),
                "{definition}"
            );
        }
        assert!(HubSpotProperty::read(&json!({ "name": "p", "archived": true })).is_none());
        let owner = json!({ "name": "o", "type": "enumeration", "fieldType": "select", "externalOptions": true, "options": [{ "value": "1", "label": "x" }] });
        assert_eq!(
            HubSpotProperty::read(&owner).unwrap().field(false).one_of,
            None,
            "options that are kept elsewhere are not all listed"
        );
    }
}
