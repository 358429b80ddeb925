//! What an event asks for. The only place of the extractor that looks at the shape of AWS events.

use domain::fault::{Code, Fault};
use domain::run::Trigger;
use engine::started::Continuation;
use engine::started::RunRequest;
use serde::Deserialize;
use serde_json::Value;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum ExtractorEvent {
    Run {
        sync: String,
        request: RunRequest,
    },
    /// Plan a run and stop: nothing is written.
    Plan {
        sync: String,
        /// Read everything even if the sync has a cursor.
        full: bool,
    },
    /// Look at both ends without reading rows.
    Check {
        sync: String,
    },
    Explain {
        sync: String,
        /// The record's key, as `sluice explain` takes it.
        key: String,
    },
    /// Go on enqueueing a run from its stored plan.
    Resume {
        sync: String,
        /// The version that planned the run.
        version: String,
        rest: Continuation,
    },
    /// An event of another system: run the syncs that wait for it.
    Event {
        /// Its id: the same event delivered again has the same.
        id: String,
        event: Value,
    },
    /// Look at every sync, for what no run can tell.
    Watch,
}

/// An event that names a sync: a schedule's, or a person's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncEvent {
    sync: String,
    tick: Option<String>,
    event: Option<String>,
    #[serde(default)]
    full: bool,
    approve: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    check: bool,
    explain: Option<String>,
    version: Option<String>,
    resume: Option<Continuation>,
}

/// Reads an event. `invocation` is the id of this invocation: the same when AWS tries it again.
pub fn read(event: &Value, invocation: &str) -> Result<ExtractorEvent, Fault> {
    if event.get("sync").is_some() {
        return named(event, invocation);
    }
    if *event == watch_event() {
        return Ok(ExtractorEvent::Watch);
    }
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    match (text("id"), text("source")) {
        (Some(id), Some("aws.events")) if text("detail-type") == Some("Scheduled Event") => scheduled_rule(event, id),
        (Some(id), Some(_)) => Ok(ExtractorEvent::Event { id: id.to_owned(), event: event.clone() }),
        _ => Err(unknown("it has neither a `sync` nor the `id` and `source` of an EventBridge event")),
    }
}

/// A tick of an EventBridge rule: it runs the sync that the rule is called after.
fn scheduled_rule(event: &Value, id: &str) -> Result<ExtractorEvent, Fault> {
    let arn = event
        .pointer("/resources/0")
        .and_then(Value::as_str)
        .ok_or_else(|| unknown("a scheduled event names its rule in `resources`"))?;
    let sync = arn.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(ExtractorEvent::Run {
        sync,
        request: RunRequest { trigger: Trigger::Schedule { tick: id.to_owned() }, approve: None, full: false },
    })
}

fn named(event: &Value, invocation: &str) -> Result<ExtractorEvent, Fault> {
    let SyncEvent { sync, tick, event, full, approve, dry_run, check, explain, version, resume } =
        SyncEvent::deserialize(event).map_err(|e| unknown(&e.to_string()))?;
    let asked =
        [dry_run, check, explain.is_some(), resume.is_some(), approve.is_some()].into_iter().filter(|a| *a).count();
    if asked > 1 {
        return Err(unknown("it asks for more than one of `dry_run`, `check`, `explain`, `approve` and `resume`"));
    }
    if check {
        return Ok(ExtractorEvent::Check { sync });
    }
    if dry_run {
        return Ok(ExtractorEvent::Plan { sync, full });
    }
    if let Some(key) = explain {
        return Ok(ExtractorEvent::Explain { sync, key });
    }
    if let Some(rest) = resume {
        let version = version.ok_or_else(|| unknown("a `resume` needs the `version` of the sync"))?;
        return Ok(ExtractorEvent::Resume { sync, version, rest });
    }
    // A scheduler that does not fill in its placeholder gives every tick the same name: the invocation's tells them
    // apart.
    let tick = tick.map(|tick| if tick.starts_with("<aws.scheduler.") { invocation.to_owned() } else { tick });
    let trigger = match (tick, event) {
        (Some(tick), _) => Trigger::Schedule { tick },
        (None, Some(id)) => Trigger::Event { id },
        (None, None) => Trigger::Invoke { id: invocation.to_owned() },
    };
    Ok(ExtractorEvent::Run { sync, request: RunRequest { trigger, approve, full } })
}

fn unknown(why: &str) -> Fault {
    Fault::new(Code::EventUnknown, format!("The extractor does not know what this event asks for: {why}."))
}

/// The event that makes the extractor go on with a run.
pub fn resume_event(sync: &str, version: &str, rest: &Continuation) -> Value {
    serde_json::json!({ "sync": sync, "version": version, "resume": rest })
}

/// The event that makes the extractor run a sync because of an event of another system.
pub fn event_trigger(sync: &str, id: &str) -> Value {
    serde_json::json!({ "sync": sync, "event": id })
}

/// The event that makes the extractor look at every sync; what the stack's own schedule sends.
pub fn watch_event() -> Value {
    serde_json::json!({ "watch": true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(sync: &str, trigger: Trigger) -> ExtractorEvent {
        ExtractorEvent::Run { sync: sync.into(), request: RunRequest { trigger, approve: None, full: false } }
    }

    #[test]
    fn events_say_what_they_ask_for() {
        let rest = Continuation { run: "r".into(), generation: 3, batches: 9, parts: 2, part: 1, skip: 4 };
        let cases = [
            (json!({ "sync": "crm", "tick": "t1" }), run("crm", Trigger::Schedule { tick: "t1".into() })),
            (
                json!({ "sync": "crm", "tick": "<aws.scheduler.execution-id>" }),
                run("crm", Trigger::Schedule { tick: "i1".into() }),
            ),
            (json!({ "sync": "crm" }), run("crm", Trigger::Invoke { id: "i1".into() })),
            (event_trigger("crm", "e1"), run("crm", Trigger::Event { id: "e1".into() })),
            (
                json!({ "sync": "crm", "dry_run": true, "full": true }),
                ExtractorEvent::Plan { sync: "crm".into(), full: true },
            ),
            (json!({ "sync": "crm", "check": true }), ExtractorEvent::Check { sync: "crm".into() }),
            (json!({ "sync": "crm", "explain": "7" }), ExtractorEvent::Explain { sync: "crm".into(), key: "7".into() }),
            (watch_event(), ExtractorEvent::Watch),
            (
                resume_event("crm", "v1", &rest),
                ExtractorEvent::Resume { sync: "crm".into(), version: "v1".into(), rest },
            ),
        ];
        for (event, ask) in cases {
            assert_eq!(read(&event, "i1").unwrap(), ask, "{event}");
        }
        let rule = json!({ "id": "e1", "source": "aws.events", "detail-type": "Scheduled Event", "resources": ["arn:aws:events:eu-west-1:1:rule/crm"] });
        assert_eq!(read(&rule, "i1").unwrap(), run("crm", Trigger::Schedule { tick: "e1".into() }));
        let other = json!({ "id": "e1", "source": "dbt", "detail-type": "run finished", "detail": {} });
        assert_eq!(read(&other, "i1").unwrap(), ExtractorEvent::Event { id: "e1".into(), event: other.clone() });
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (event, why) in [
            (json!({}), "neither"),
            (json!("crm"), "neither"),
            (json!({ "watch": false }), "neither"),
            (json!({ "watch": true, "sync": "crm" }), "watch"),
            (json!({ "sync": 7 }), "string"),
            (json!({ "sync": "crm", "aprove": "x" }), "aprove"),
            (json!({ "sync": "crm", "dry_run": true, "check": true }), "more than one"),
            (json!({ "sync": "crm", "dry_run": true, "approve": "x" }), "more than one"),
            (
                json!({ "sync": "crm", "resume": { "run": "r", "generation": 1, "batches": 1, "parts": 1, "part": 0, "skip": 0 } }),
                "version",
            ),
        ] {
            let fault = read(&event, "i").unwrap_err();
            assert!(fault.code == Code::EventUnknown && fault.what.contains(why), "{fault}");
        }
    }
}
