//! `sluice schema`: the JSON Schema of the sync file, of a model's file or of connections.yaml, for editors.

use std::process::ExitCode;

use domain::alert_settings::Alerts;
use domain::fault::{Code, Fault};
use domain::sync::Sync;

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
fn sync_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Sync).to_value();
    if let Some(model) = schema.pointer_mut("/properties/model") {
        let inline = model.take();
        let named = serde_json::json!({ "type": "string", "description": "A model of models/NAME.yaml or models/NAME.sql, by its name." });
        *model = serde_json::json!({ "anyOf": [inline, named, schemars::schema_for!(DbtModel).to_value()] });
    }
    schema
}

fn connections_schema() -> serde_json::Value {
    let warehouses = warehouses::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
    let destinations = destinations::REGISTRY.iter().map(|e| (e.name, (e.schema)()));
    let mut kinds: Vec<(&str, schemars::Schema)> = warehouses.chain(destinations).collect();
    kinds.sort_by_key(|(name, _)| *name);
    kinds.dedup_by_key(|(name, _)| *name);
    let variants: Vec<serde_json::Value> = kinds
        .into_iter()
        .map(|(name, schema)| {
            let mut schema = schema.to_value();
            if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
                properties.insert("type".into(), serde_json::json!({ "const": name }));
            }
            schema
        })
        .collect();
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "connections.yaml",
        "type": "object",
        "properties": { "alerts": schemars::schema_for!(Alerts), "dbt": schemars::schema_for!(DbtSettings) },
        "additionalProperties": { "anyOf": variants },
    })
}
