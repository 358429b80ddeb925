//! `sluice schema`: the JSON Schema of the sync file, of a model's file or of connections.yaml, for editors.

use std::process::ExitCode;

use domain::alert_settings::Alerts;
use domain::fault::{Code, Fault};
use domain::sync::Sync;
use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::dbt::{DbtModel, DbtSettings};
use crate::exit;
use crate::models::ModelFile;
use crate::output::Out;

/// Runs the command. The schema is JSON in either form of output.
pub fn run(connections: bool, models: bool) -> Result<ExitCode, Fault> {
    let schema = match (connections, models) {
        (true, _) => connections_schema(),
        (_, true) => schemars::schema_for!(ModelFile).to_value(),
        _ => sync_schema(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|e| Fault::new(Code::Internal, format!("The schema cannot be printed: {e}.")))?;
    Out::new(false).line(text);
    Ok(ExitCode::from(exit::OK))
}

/// A sync's model is written out, or named.
fn sync_schema() -> Value {
    let mut definitions = SchemaDefinitions::default();
    let mut schema = definitions.inline("", schemars::schema_for!(Sync));
    if let Some(model) = schema.pointer_mut("/properties/model") {
        let inline = model.take();
        let named =
            json!({ "type": "string", "description": "A model of models/NAME.yaml or models/NAME.sql, by its name." });
        let dbt = definitions.inline("dbt", schemars::schema_for!(DbtModel));
        *model = json!({ "anyOf": [inline, named, dbt] });
    }
    definitions.root(schema)
}

fn connections_schema() -> Value {
    let mut definitions = SchemaDefinitions::default();
    let warehouses = warehouses::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
    let destinations = destinations::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
    // A kind may be both, each with its own settings.
    let mut kinds: Vec<(&str, Schema)> = warehouses.chain(destinations).collect();
    kinds.sort_by_key(|(name, _)| *name);
    let mut variants: Vec<Value> = Vec::new();
    for (name, schema) in kinds {
        let mut schema = definitions.inline(name, schema);
        schema["title"] = name.into();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("type".into(), json!({ "const": name }));
        }
        if !variants.contains(&schema) {
            variants.push(schema);
        }
    }
    let alerts = definitions.inline("alerts", schemars::schema_for!(Alerts));
    let dbt = definitions.inline("dbt", schemars::schema_for!(DbtSettings));
    definitions.root(json!({
        "title": "connections.yaml",
        "type": "object",
        "properties": { "alerts": alerts, "dbt": dbt },
        "additionalProperties": { "anyOf": variants },
    }))
}

/// The definitions of schemas that become parts of one: references lead to its root, so they all must be there.
#[derive(Default)]
struct SchemaDefinitions(Map<String, Value>);

impl SchemaDefinitions {
    /// A schema as a part: its definitions move to the root, each under its own name, or under one that begins with `owner`
    /// where that name means something else there.
    fn inline(&mut self, owner: &str, schema: Schema) -> Value {
        let mut schema = schema.to_value();
        let Some(object) = schema.as_object_mut() else { return schema };
        object.remove("$schema");
        let own = match object.remove("$defs") {
            Some(Value::Object(own)) => own,
            _ => Map::new(),
        };
        let taken = |name: &String, definition: &Value| self.0.get(name).is_some_and(|known| known != definition);
        let renamed: Vec<(String, String)> = own
            .iter()
            .filter(|(name, definition)| taken(name, definition))
            .map(|(name, _)| (name.clone(), format!("{owner}.{name}")))
            .collect();
        rename(&mut schema, &renamed);
        for (name, mut definition) in own {
            rename(&mut definition, &renamed);
            let name = renamed.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new.clone());
            self.0.insert(name, definition);
        }
        schema
    }

    /// The whole: `schema` with the definitions.
    fn root(self, mut schema: Value) -> Value {
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["$defs"] = Value::Object(self.0);
        schema
    }
}

/// Lets references follow definitions that have other names now.
fn rename(schema: &mut Value, renamed: &[(String, String)]) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                let target = value.as_str().filter(|_| key == "$ref").and_then(|to| to.strip_prefix("#/$defs/"));
                match renamed.iter().find(|(old, _)| Some(old.as_str()) == target) {
                    Some((_, new)) => *value = format!("#/$defs/{new}").into(),
                    None => rename(value, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References of a schema that lead nowhere.
    fn dangling(root: &Value, at: &Value, out: &mut Vec<String>) {
        match at {
            Value::Object(object) => {
                if let Some(Value::String(to)) = object.get("$ref")
                    && to.strip_prefix('#').is_none_or(|path| root.pointer(path).is_none())
                {
                    out.push(to.clone());
                }
                object.values().for_each(|value| dangling(root, value, out));
            }
            Value::Array(items) => items.iter().for_each(|item| dangling(root, item, out)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for schema in [sync_schema(), connections_schema(), schemars::schema_for!(ModelFile).to_value()] {
            let mut out = Vec::new();
            dangling(&schema, &schema, &mut out);
            assert!(out.is_empty(), "{out:?}");
            assert!(schema["$defs"].as_object().is_some_and(|defs| !defs.is_empty()));
        }
    }

    #[test]
    fn a_name_with_two_meanings_is_told_apart() {
        let of = |kind: &str| {
            let schema = json!({ "properties": { "a": { "$ref": "#/$defs/Auth" }, "b": { "$ref": "#/$defs/Same" } },
                "$defs": { "Auth": { "type": kind, "x": [{ "$ref": "#/$defs/Auth" }] }, "Same": { "type": "null" } } });
            Schema::try_from(schema).unwrap()
        };
        let mut definitions = SchemaDefinitions::default();
        let (first, second) = (definitions.inline("one", of("string")), definitions.inline("two", of("number")));
        let to = |schema: &Value, property: &str| schema["properties"][property]["$ref"].as_str().unwrap().to_owned();
        assert_eq!((to(&first, "a"), to(&second, "a")), ("#/$defs/Auth".into(), "#/$defs/two.Auth".into()));
        assert_eq!(to(&first, "b"), to(&second, "b"));
        let root = definitions.root(json!({}));
        assert_eq!(root["$defs"]["two.Auth"], json!({ "type": "number", "x": [{ "$ref": "#/$defs/two.Auth" }] }));
    }

    #[test]
    fn every_kind_has_all_its_settings() {
        let schema = connections_schema();
        let variants = schema["additionalProperties"]["anyOf"].as_array().unwrap();
        let warehouses = warehouses::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
        let destinations = destinations::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
        for (name, own) in warehouses.chain(destinations) {
            let own = own.to_value();
            let whole = |variant: &&Value| {
                let has = |property: &String| variant["properties"].get(property).is_some();
                variant["properties"]["type"]["const"] == name && own["properties"].as_object().unwrap().keys().all(has)
            };
            assert!(variants.iter().any(|variant| whole(&variant)), "{name}");
        }
    }
}
