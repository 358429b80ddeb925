//! Events of other systems: which of them start a run. The event is read as EventBridge delivers it, with `source`,
//! `detail-type` and `detail`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::finding::Finding;

/// What an event must have. Every part that is given must match; a list means one of its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventPattern {
    /// The system that sends it: `source` of the event.
    pub source: OneOf,
    /// What happened: `detail-type` of the event. Default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail_type: Option<OneOf>,
    /// Values that `detail` of the event must have, nested as there; a list allows each of its values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

/// A text, or a list of texts that are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOf {
    /// This one.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl OneOf {
    fn has(&self, value: Option<&Value>) -> bool {
        let Some(Value::String(text)) = value else { return false };
        match self {
            OneOf::One(one) => one == text,
            OneOf::Many(many) => many.contains(text),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            OneOf::One(one) => one.is_empty(),
            OneOf::Many(many) => many.is_empty() || many.iter().any(String::is_empty),
        }
    }
}

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OneOf::One(one) => f.write_str(one),
            OneOf::Many(many) => f.write_str(&many.join(" or ")),
        }
    }
}

impl EventPattern {
    /// True when this event starts a run.
    pub fn matches(&self, event: &Value) -> bool {
        self.source.has(event.get("source"))
            && self.detail_type.as_ref().is_none_or(|allowed| allowed.has(event.get("detail-type")))
            && self.detail.iter().all(|(name, wanted)| part(wanted, event.get("detail").and_then(|d| d.get(name))))
    }

    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        let mut refuse = |about: String| {
            out.push(Finding::error(
                about,
                "nothing can match it",
                "give a value, or a list of the values that are allowed",
            ))
        };
        if self.source.is_empty() {
            refuse("schedule.on.source".into());
        }
        if self.detail_type.as_ref().is_some_and(OneOf::is_empty) {
            refuse("schedule.on.detail_type".into());
        }
        for (name, wanted) in &self.detail {
            if is_impossible(wanted) {
                refuse(format!("schedule.on.detail.{name}"));
            }
        }
        out
    }
}

/// One part: an object goes down, a list allows each of its values, anything else is itself. Where the event has a
/// list, one of its values is enough, as in the patterns of EventBridge.
fn part(wanted: &Value, there: Option<&Value>) -> bool {
    let Some(there) = there else { return false };
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.iter().all(|(name, wanted)| part(wanted, there.get(name)))
        }
        (Value::Array(allowed), _) => allowed.iter().any(|one| part(one, Some(there))),
        (_, Value::Array(there)) => there.iter().any(|one| part(wanted, Some(one))),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => wanted == there,
    }
}

fn is_impossible(wanted: &Value) -> bool {
    match wanted {
        Value::Array(allowed) => allowed.is_empty() || allowed.iter().all(is_impossible),
        Value::Object(parts) => parts.values().any(is_impossible),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pattern(json: Value) -> EventPattern {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_part_that_is_given_must_match() {
        let event = json!({
            "version": "0", "source": "dbt", "detail-type": "run finished", "time": "2026-01-02T03:04:05Z",
            "detail": { "job": "nightly", "status": { "code": 0, "ok": true, "note": null }, "models": ["a", "b"] },
        });
        for (wanted, matches) in [
            (json!({"source": "dbt"}), true),
            (json!({"source": "Dbt"}), false),
            (json!({"source": ["airflow", "dbt"]}), true),
            (json!({"source": "dbt", "detail_type": "run finished"}), true),
            (json!({"source": "dbt", "detail_type": ["run failed"]}), false),
            (json!({"source": "dbt", "detail": {"job": "nightly"}}), true),
            (json!({"source": "dbt", "detail": {"job": "hourly"}}), false),
            (json!({"source": "dbt", "detail": {"job": ["hourly", "nightly"]}}), true),
            (json!({"source": "dbt", "detail": {"job": "nightly", "absent": "x"}}), false),
            (json!({"source": "dbt", "detail": {"absent": null}}), false),
            (json!({"source": "dbt", "detail": {"status": {"code": 0}}}), true),
            (json!({"source": "dbt", "detail": {"status": {"code": 0.0, "ok": true}}}), true),
            (json!({"source": "dbt", "detail": {"status": {"code": "0"}}}), false),
            (json!({"source": "dbt", "detail": {"status": {"note": null}}}), true),
            (json!({"source": "dbt", "detail": {"status": "0"}}), false),
            (json!({"source": "dbt", "detail": {"models": "b"}}), true),
            (json!({"source": "dbt", "detail": {"models": ["c", "b"]}}), true),
            (json!({"source": "dbt", "detail": {"models": ["c"]}}), false),
            (json!({"source": "dbt", "detail_type": "run finished", "detail": {"job": "hourly"}}), false),
        ] {
            assert_eq!(pattern(wanted.clone()).matches(&event), matches, "{wanted}");
        }
    }

    #[test]
    fn what_is_no_event_matches_nothing() {
        for event in [json!(null), json!({}), json!({"source": 7}), json!([{"source": "dbt"}]), json!({"sync": "crm"})]
        {
            assert!(!pattern(json!({"source": "dbt"})).matches(&event), "{event}");
        }
    }

    #[test]
    fn a_pattern_that_nothing_matches_is_found() {
        let found = |json| pattern(json).findings().iter().map(|f| f.about.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(found(json!({"source": "dbt", "detail": {"a": ["x"], "b": {"c": null}}})), "");
        assert_eq!(found(json!({"source": []})), "schedule.on.source");
        assert_eq!(found(json!({"source": ""})), "schedule.on.source");
        assert_eq!(
            found(json!({"source": "dbt", "detail_type": [], "detail": {"a": {"b": []}}})),
            "schedule.on.detail_type schedule.on.detail.a"
        );
    }
}
