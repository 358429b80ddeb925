//! The sync file: a model, a destination, and what happens between them. The types here are the file
//! format; the JSON Schema that editors use is generated from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert_settings::Alerts;
use crate::clock::Span;
use crate::finding::Finding;
use crate::guard::Guards;
use crate::mode::Mode;
use crate::readback::ReadbackSettings;

pub use crate::schedule::{Cron, EventPattern, Every, On, Schedule};

/// One sync: a query whose rows become records in a destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The sync's name: letters, digits, `-` and `_`.
    pub name: String,
    /// What to read.
    pub model: Model,
    /// Where to write.
    pub destination: Target,
    /// What to do there: upsert, update, append or mirror.
    pub mode: Mode,
    /// Which column becomes which field.
    pub mapping: Vec<FieldMapping>,
    /// Rules for the mapped fields; a record that breaks one is invalid and not sent.
    #[serde(default)]
    pub validate: Vec<ValidationRule>,
    /// When to run. Default: manual.
    #[serde(default)]
    pub schedule: Schedule,
    /// When to stop and ask.
    #[serde(default)]
    pub guards: Guards,
    /// A stable share of keys, for a phased rollout.
    #[serde(default)]
    pub rollout: Rollout,
    /// How many accepted records of a run are read back from the destination.
    #[serde(default, skip_serializing_if = "ReadbackSettings::is_default")]
    pub readback: ReadbackSettings,
    /// Who is told of problems, and of which. What is left out is as `alerts` of connections.yaml has it.
    #[serde(default, skip_serializing_if = "Alerts::is_default")]
    pub alerts: Alerts,
}

/// What to read: a query with a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A connection to a warehouse.
    pub warehouse: String,
    /// One SELECT statement.
    pub sql: String,
    /// The columns that identify a row: never null, never twice.
    pub key: Vec<String>,
    /// A column that grows whenever a row changes: only newer rows are read, with a full check every so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Ask the warehouse first whether the table has changed since the last run, and read nothing when it has not; a full
    /// check still reads. Default true. It has an effect where the model is columns of one table, and the warehouse
    /// can say it (Snowflake, BigQuery, Databricks, Athena).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
}

impl Model {
    /// How often everything is read, whatever the cursor and the warehouse say.
    pub fn full_check(&self) -> Span {
        self.cursor.as_ref().map_or_else(full_check_default, |cursor| cursor.settings().full_check)
    }
}

/// How to read only what is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cursor {
    /// The column's name, with the default check and lookback.
    Column(String),
    /// With its own check and lookback.
    Detailed(CursorSettings),
}

/// A cursor with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorSettings {
    /// The column.
    pub column: String,
    /// Read everything at least this often. Default 24 hours.
    #[serde(default = "full_check_default")]
    pub full_check: Span,
    /// Read this much before the last value again, for rows that were committed late. Only for columns
    /// that hold a time, as text in ISO 8601 too. Default 1 hour; 2 hours for times without a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Span>,
}

fn full_check_default() -> Span {
    Span::seconds(86_400)
}

impl Cursor {
    /// The settings, defaults filled in.
    pub fn settings(&self) -> CursorSettings {
        match self {
            Cursor::Column(column) => {
                CursorSettings { column: column.clone(), full_check: full_check_default(), lookback: None }
            }
            Cursor::Detailed(settings) => settings.clone(),
        }
    }
}

/// Where to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A connection to a destination.
    pub connection: String,
    /// The object there: a table, an object type, a path; what it means is the destination's.
    #[serde(default)]
    pub object: String,
    /// Settings of the destination for this sync.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// One line of the mapping: where a field's value comes from and what happens on the way.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldMapping {
    /// The model's column. Leave it out for a constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The field at the destination.
    pub to: String,
    /// The same value for every record, instead of a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<serde_json::Value>,
    /// The value to use where the column is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// The destination finds the record by this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub identifier: bool,
    /// What a null does. Default: ignore, so that no null wipes out what the destination has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<Nulls>,
    /// Steps applied to the value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Transform>,
    /// From the model's values to the destination's; a value that is not listed makes the record invalid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// What a null in the model does to the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// The field is left out: the destination keeps what it has.
    #[default]
    Ignore,
    /// The field is cleared at the destination.
    Clear,
}

/// One step of a transformation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Without white space at either end.
    Trim,
    /// In lower case.
    Lowercase,
    /// In upper case.
    Uppercase,
    /// SHA-256 of the text, in lowercase hexadecimal.
    Sha256,
    /// A phone number as `+441632960961`; the parameter is the country of numbers without a country code.
    E164(String),
    /// A date in this strftime format (`%Y-%m-%d`); takes dates, timestamps and ISO 8601 text.
    Date(String),
    /// A date and time in this strftime format; takes timestamps and ISO 8601 text, in UTC.
    Datetime(String),
    /// A number with so many decimals.
    Number(NumberFormat),
    /// At most so many characters.
    Truncate(usize),
    /// The value as a JSON document: text that holds JSON becomes that document, anything else is encoded.
    Json,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberFormat {
    /// Digits after the point, rounded half away from zero.
    pub decimals: u8,
}

/// What the values of a field must be. Every part that is given must hold; null passes all but `required`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationRule {
    /// The field at the destination (the mapping's `to`).
    pub field: String,
    /// It must look like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// A number of at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// A number of at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// One of these, compared as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// Neither null nor empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// At most so many characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

/// A form that text can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `name@domain.tld`
    Email,
    /// `https://…` or `http://…`
    Url,
    /// `8-4-4-4-12` hexadecimal digits.
    Uuid,
    /// `YYYY-MM-DD`
    Date,
    /// ISO 8601 date and time.
    Datetime,
    /// `+` and 7 to 15 digits.
    E164,
}

/// How much of the model takes part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// 0 to 100; raising it keeps the keys that already take part.
    pub percent: f64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { percent: 100.0 }
    }
}

impl Rollout {
    /// True when a key takes part.
    pub fn includes(&self, hash: &crate::key::KeyHash) -> bool {
        self.percent >= 100.0 || f64::from(hash.share()) < self.percent * 100.0
    }
}

/// True for what a sync may be called: it becomes the name of files and of places in the state.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 64 && text.chars().all(plain)
}

impl Sync {
    /// The version of this definition: 16 hexadecimal digits that change with any part of it.
    pub fn version(&self) -> String {
        // A sync is plain data with text keys: it always serialises.
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&json))
    }

    /// The mapping lines whose field identifies the record.
    pub fn identifiers(&self) -> impl Iterator<Item = &FieldMapping> {
        self.mapping.iter().filter(|m| m.identifier)
    }

    /// What is wrong with the name, if it is none.
    pub fn name_finding(&self) -> Option<Finding> {
        (!is_name(&self.name)).then(|| {
            Finding::error("name", format!("`{}` is not a name", self.name), "use 1 to 64 letters, digits, `-` and `_`")
        })
    }

    /// What is wrong with the file on its own, before anything is connected to.
    pub fn findings(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        out.extend(self.name_finding());
        if self.model.key.is_empty() {
            out.push(Finding::error(
                "model.key",
                "the model has no key",
                "name the column that identifies a row, such as `key: [id]`",
            ));
        }
        if let Some(twice) = first_twice(self.model.key.iter()) {
            out.push(Finding::error(
                "model.key",
                format!("column `{twice}` is named twice"),
                "name every key column once",
            ));
        }
        if self.mapping.is_empty() {
            out.push(Finding::error(
                "mapping",
                "no field is mapped",
                "add at least one line `{ from: column, to: field }`",
            ));
        }
        if let Some(twice) = first_twice(self.mapping.iter().map(|m| &m.to)) {
            out.push(Finding::error("mapping", format!("field `{twice}` is mapped twice"), "keep one line for it"));
        }
        if self.identifiers().next().is_none() && self.mode != Mode::Append && !self.mapping.is_empty() {
            let columns: Vec<_> = self.mapping.iter().filter_map(|m| m.from.as_deref()).collect();
            let guess = self
                .model
                .key
                .iter()
                .find(|k| columns.contains(&k.as_str()))
                .map_or("the field the destination finds records by", |k| k.as_str());
            out.push(Finding::error(
                "mapping",
                format!("mode {} needs an identifier and no line has one", self.mode),
                format!("add `identifier: true` to the line of {guess}"),
            ));
        }
        for line in &self.mapping {
            let about = format!("mapping: {} → {}", line.from.as_deref().unwrap_or("constant"), line.to);
            match (&line.from, &line.constant) {
                (None, None) => out.push(Finding::error(
                    &about,
                    "the line has neither `from` nor `constant`",
                    "name a column or give a constant",
                )),
                (Some(_), Some(_)) => {
                    out.push(Finding::error(&about, "the line has both `from` and `constant`", "keep one of them"))
                }
                _ => {}
            }
            if line.identifier && line.nulls == Some(Nulls::Clear) {
                out.push(Finding::error(
                    &about,
                    "an identifier cannot be cleared",
                    "remove `nulls: clear`; a record with a null identifier is invalid",
                ));
            }
            if line.identifier && line.constant.is_some() {
                out.push(Finding::error(
                    &about,
                    "an identifier cannot be a constant",
                    "map a column that differs for every record",
                ));
            }
        }
        if self.mode == Mode::Mirror {
            let mut identified: Vec<_> = self.identifiers().filter_map(|m| m.from.as_deref()).collect();
            let mut keys: Vec<_> = self.model.key.iter().map(String::as_str).collect();
            identified.sort_unstable();
            keys.sort_unstable();
            if !identified.is_empty() && identified != keys {
                out.push(Finding::error(
                    "mapping",
                    format!(
                        "mode mirror deletes by identifier, so the identifiers ({}) must come from the key columns ({})",
                        identified.join(", "),
                        keys.join(", ")
                    ),
                    "set `key` to the identifier's columns, or use mode upsert",
                ));
            }
        }
        for rule in &self.validate {
            if !self.mapping.iter().any(|m| m.to == rule.field) {
                let near = crate::finding::nearest(&rule.field, self.mapping.iter().map(|m| m.to.as_str()));
                let fix = near.map_or("name a field of the mapping".to_owned(), |n| format!("did you mean `{n}`?"));
                out.push(Finding::error(format!("validate: {}", rule.field), "no mapping line has this field", fix));
            }
        }
        if !(0.0..=100.0).contains(&self.rollout.percent) {
            out.push(Finding::error(
                "rollout.percent",
                format!("{} is not a percentage", self.rollout.percent),
                "use a number from 0 to 100",
            ));
        }
        out.extend(self.readback.findings());
        out.extend(self.alerts.findings("alerts"));
        out.extend(self.schedule.findings());
        if self.mode == Mode::Mirror && self.model.cursor.is_some() {
            out.push(Finding::warning(
                "model.cursor",
                "an incremental read cannot see deleted rows",
                "deletes happen only at the full check; shorten `full_check` if that is too late",
            ));
        }
        out
    }
}

fn first_twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|n| !seen.insert(n.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(json: serde_json::Value) -> Sync {
        let mut base = serde_json::json!({
            "name": "crm", "mode": "upsert",
            "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] },
            "destination": { "connection": "d", "object": "contacts" },
            "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "email", "to": "email" }],
        });
        base.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(base).unwrap()
    }

    fn found(json: serde_json::Value) -> String {
        sync(json).findings().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_file_has_no_findings_and_a_stable_version() {
        let good = sync(serde_json::json!({}));
        assert!(good.findings().is_empty());
        assert_eq!(good.version(), sync(serde_json::json!({})).version());
        assert_ne!(good.version(), sync(serde_json::json!({"mode": "append"})).version());
    }

    #[test]
    fn every_mistake_is_named_with_its_fix() {
        for (json, part) in [
            (serde_json::json!({"name": "a b"}), "is not a name"),
            (serde_json::json!({"mapping": []}), "no field is mapped"),
            (serde_json::json!({"mapping": [{"from": "id", "to": "id"}]}), "add `identifier: true` to the line of id"),
            (
                serde_json::json!({"mapping": [{"from": "id", "to": "x", "identifier": true}, {"from": "b", "to": "x"}]}),
                "mapped twice",
            ),
            (serde_json::json!({"mapping": [{"to": "x", "identifier": true}]}), "neither `from` nor `constant`"),
            (
                serde_json::json!({"mode": "mirror", "mapping": [{"from": "email", "to": "e", "identifier": true}]}),
                "must come from the key columns",
            ),
            (serde_json::json!({"validate": [{"field": "emial"}]}), "did you mean `email`?"),
            (serde_json::json!({"rollout": {"percent": 101}}), "is not a percentage"),
            (serde_json::json!({"schedule": {"cron": "hourly"}}), "has not five fields"),
            (serde_json::json!({"schedule": {"cron": "0 9 * * 1", "timezone": "Mars/Base"}}), "is not a time zone"),
            (serde_json::json!({"model": {"warehouse": "w", "sql": "s", "key": []}}), "has no key"),
            (serde_json::json!({"readback": {"sample": 5000}}), "use a number from 0 to 1000"),
            (serde_json::json!({"alerts": {"partial_percent": 101}}), "alerts.partial_percent"),
        ] {
            let found = found(json);
            assert!(found.contains(part), "`{part}` is not in: {found}");
        }
    }

    #[test]
    fn a_rollout_only_grows() {
        let hashes: Vec<_> = (0..2000u32).map(|i| crate::key::KeyHash::of(&i.to_le_bytes())).collect();
        let at = |percent| hashes.iter().filter(|h| Rollout { percent }.includes(h)).collect::<Vec<_>>();
        let (ten, twenty) = (at(10.0), at(20.0));
        assert!(ten.iter().all(|h| twenty.contains(h)) && at(0.0).is_empty() && at(100.0).len() == 2000);
    }
}
