//! What an apply would change, decided from what the project says and what the stack has. Pure.

use aws::control::schedules::Kept;
use domain::connection::Definition;
use serde::{Deserialize, Serialize};

/// What becomes of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplyAction {
    Create,
    /// It is another than before.
    Change,
    /// It is in the stack only, and goes.
    Remove,
    /// It is in the stack only, and stays.
    Left,
    Unchanged,
}

/// One sync of an apply, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackChange {
    pub sync: String,
    /// What becomes of it.
    pub action: ApplyAction,
    /// Which parts of it differ.
    pub parts: Vec<String>,
    /// When it runs, in words.
    pub schedule: String,
    /// It is paused, and stays so.
    pub paused: bool,
}

/// What has to be done about the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleStep {
    /// It is as it should be.
    Keep,
    /// Make it this one.
    Put(Kept),
    Remove,
}

/// What has to be done about the schedule that is there, for one that is wanted.
pub fn schedule_step(there: Option<&Kept>, wanted: Option<Kept>) -> ScheduleStep {
    match (there, wanted) {
        (None, None) => ScheduleStep::Keep,
        (Some(_), None) => ScheduleStep::Remove,
        (Some(there), Some(wanted)) if *there == wanted => ScheduleStep::Keep,
        (_, Some(wanted)) => ScheduleStep::Put(wanted),
    }
}

/// The parts in which two definitions of a sync differ, in the order of the sync file.
pub fn parts(old: &Definition, new: &Definition) -> Vec<String> {
    let (a, b) = (&old.sync, &new.sync);
    let differs = [
        ("model", a.model != b.model),
        ("warehouse connection", old.warehouse != new.warehouse),
        ("destination", a.destination != b.destination),
        ("destination connection", old.destination != new.destination),
        ("mode", a.mode != b.mode),
        ("mapping", a.mapping != b.mapping),
        ("validate", a.validate != b.validate),
        ("schedule", a.schedule != b.schedule),
        ("guards", a.guards != b.guards),
        ("rollout", a.rollout != b.rollout),
        ("readback", a.readback != b.readback),
        ("alerts", old.alerts != new.alerts),
    ];
    let mut parts: Vec<String> =
        differs.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect();
    // Whatever a later release adds to the sync file is a change too.
    if parts.is_empty() && old != new {
        parts.push("definition".into());
    }
    parts
}

#[cfg(test)]
mod tests {
    use aws::control::schedules::Call;
    use domain::schedule::Timed;

    use super::*;

    fn definition(sync: serde_json::Value) -> Definition {
        let mut base = serde_json::json!({
            "name": "crm", "mode": "upsert", "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] },
            "destination": { "connection": "d", "object": "contacts" }, "mapping": [{ "from": "id", "to": "id", "identifier": true }],
        });
        base.as_object_mut().unwrap().extend(sync.as_object().unwrap().clone());
        let connection = |kind: &str| serde_json::json!({ "type": kind, "config": { "host": "h" } });
        serde_json::from_value(serde_json::json!({ "sync": base, "warehouse": connection("postgres"), "destination": connection("webhook") })).unwrap()
    }

    #[test]
    fn every_part_that_differs_is_named() {
        let old = definition(serde_json::json!({}));
        for (json, part) in [
            (serde_json::json!({"model": {"warehouse": "w", "sql": "select 2", "key": ["id"]}}), "model"),
            (serde_json::json!({"destination": {"connection": "d", "object": "leads"}}), "destination"),
            (serde_json::json!({"mode": "append"}), "mode"),
            (serde_json::json!({"mapping": []}), "mapping"),
            (serde_json::json!({"validate": [{"field": "id", "min": 1.0}]}), "validate"),
            (serde_json::json!({"schedule": {"every": "1h"}}), "schedule"),
            (serde_json::json!({"guards": {"min_rows": 2}}), "guards"),
            (serde_json::json!({"rollout": {"percent": 10.0}}), "rollout"),
            (serde_json::json!({"readback": {"sample": 0}}), "readback"),
        ] {
            assert_eq!(parts(&old, &definition(json)), [part]);
        }
        let mut moved = old.clone();
        moved.warehouse.config["host"] = "other".into();
        moved.destination.kind = "postgres".into();
        assert_eq!(parts(&old, &moved), ["warehouse connection", "destination connection"]);
        assert!(parts(&old, &old.clone()).is_empty());
    }

    #[test]
    fn a_schedule_is_written_only_when_it_differs() {
        let kept = |enabled| Kept {
            timed: Timed { expression: "rate(1 hour)".into(), timezone: "UTC".into(), window_minutes: None },
            enabled,
            target: Call {
                function: "f".into(),
                role: "r".into(),
                input: "{}".into(),
                retries: 1,
                age: 60,
                dead_letters: "d".into(),
            },
        };
        assert_eq!(schedule_step(None, None), ScheduleStep::Keep);
        assert_eq!(schedule_step(Some(&kept(true)), Some(kept(true))), ScheduleStep::Keep);
        assert_eq!(schedule_step(Some(&kept(true)), None), ScheduleStep::Remove);
        assert_eq!(schedule_step(None, Some(kept(true))), ScheduleStep::Put(kept(true)));
        assert_eq!(schedule_step(Some(&kept(true)), Some(kept(false))), ScheduleStep::Put(kept(false)));
    }
}
