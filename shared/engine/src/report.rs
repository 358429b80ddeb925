//! What `plan`, `check` and `explain` tell of a sync, as values: made where the sync's connections are open (on this
//! machine, or in the extractor function), shown where someone asked. Serialised they are what `--json` prints.
//!
//! Only reading and comparing; nothing here writes, and nothing here is worded for a terminal.

use domain::cells::Cells;
use domain::change::Counts;
use domain::fault::{Code, Fault};
use domain::finding::Finding;
use domain::guard::Tripped;
use domain::key::{KeyHash, display_key};
use domain::mapping::Invalid;
use domain::run::InvalidRecord;
use domain::sync::Sync;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::explain::{FieldDifference, differences};
use crate::plan::Plan;
use crate::plan::entries::EntryKind;
use crate::plan::prepare::{Preflight, preflight};
use crate::plan::spool::split;

/// Samples of each kind of change.
pub const SAMPLES: usize = 5;

/// A run that stopped before sending: what it would send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The sync.
    pub sync: String,
    /// Names this plan: what `--approve` takes.
    pub plan_hash: String,
    /// The model was read in full.
    pub full: bool,
    /// How many records of each kind.
    pub counts: Counts,
    /// Requests it takes if nothing goes wrong.
    pub requests: u64,
    /// Records that the destination had accepted before.
    pub known: u64,
    /// Guards that would block the run.
    pub tripped: Vec<Tripped>,
    /// The first invalid records, each with the reason.
    pub invalid: Vec<InvalidRecord>,
    /// Up to [`SAMPLES`] records of each kind of change.
    pub samples: Vec<Sample>,
    /// Warnings of preflight.
    pub findings: Vec<Finding>,
    /// What the numbers do not say, a sentence each: keys that are spelt anew, deletes that wait, rows that a cursor cannot place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One record of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// `added`, `changed` or `removed`.
    pub change: String,
    /// Its key.
    pub key: String,
    /// The fields that differ from what the destination has; all fields where it cannot be read.
    pub fields: Vec<FieldDifference>,
    /// The destination could be read.
    pub compared: bool,
}

/// What preflight found of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The sync.
    pub sync: String,
    /// A run would start.
    pub ok: bool,
    /// What was found, warnings included.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// The report of these findings.
    pub fn of(sync: &str, findings: Vec<Finding>) -> Self {
        Self { sync: sync.to_owned(), ok: !findings.iter().any(Finding::is_error), findings }
    }

    /// The report of a sync that could not even be looked at.
    pub fn refused(sync: &str, fault: &Fault) -> Self {
        Self::of(sync, vec![Finding::error(fault.code.as_str(), fault.what.clone(), fault.next_step())])
    }
}

/// One record from both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// The key, as it was asked for.
    pub key: String,
    /// Its hash, when the model has it.
    pub hash: Option<KeyHash>,
    /// Rows the model has for it.
    pub rows: u64,
    /// The record it becomes.
    pub record: Option<serde_json::Value>,
    /// Why it is invalid.
    pub invalid: Option<Invalid>,
    /// The fields at the destination that differ; `None` when it cannot be read or has no such record.
    pub differs: Option<Vec<FieldDifference>>,
    /// What the next run would do.
    pub verdict: String,
    /// What the destination accepted last.
    pub stored: Option<AcceptedVersion>,
    /// Why the newest version did not arrive.
    pub failure: Option<domain::bucket::DeliveryFailure>,
}

/// What the destination accepted last of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedVersion {
    /// Its checksum, in 16 hexadecimal digits.
    pub checksum: String,
    /// Counts accepted versions.
    pub revision: u16,
    /// The destination's id for it.
    pub record_id: Option<String>,
}

/// Plans a run. `full`: read everything even if the sync has a cursor.
pub async fn plan(engine: &Engine, full: bool) -> Result<PlanReport, Fault> {
    let head = engine.store.head(&engine.sync.name).await?;
    let mut plan = crate::plan::plan(engine, &head, full).await?;
    let samples = samples(engine, &mut plan).await?;
    Ok(PlanReport {
        sync: engine.sync.name.clone(),
        requests: plan.requests(engine.destination.limits_for(plan.load(engine.sync.mode)).batch_records),
        counts: *plan.counts(),
        plan_hash: plan.difference.hash,
        full: plan.full,
        known: plan.difference.known,
        tripped: plan.tripped,
        invalid: plan.model.invalid_first,
        samples,
        findings: plan.findings,
        notes: plan.notes,
    })
}

/// Looks at both ends without reading rows. What keeps it from looking is a finding too.
pub async fn check(engine: &Engine) -> CheckReport {
    match preflight(engine).await {
        Ok(Preflight::Ready(prepared)) => CheckReport::of(&engine.sync.name, prepared.findings),
        Ok(Preflight::Refused(findings)) => CheckReport::of(&engine.sync.name, findings),
        Err(fault) => CheckReport::refused(&engine.sync.name, &fault),
    }
}

/// Explains the record of a key as people write it: `7`, `7,EU`, or `["7", "E,U"]`.
pub async fn explain(engine: &Engine, key: &str) -> Result<ExplainReport, Fault> {
    let explained = crate::explain::explain(engine, &key_values(&engine.sync, key)?, key).await?;
    let (accepted, failure) = explained.stored.map_or((None, None), |stored| (stored.accepted, stored.failure));
    Ok(ExplainReport {
        key: key.to_owned(),
        hash: explained.hash,
        rows: explained.rows,
        record: explained.record,
        invalid: explained.invalid,
        differs: explained.differs,
        verdict: explained.verdict,
        stored: accepted.map(|a| AcceptedVersion {
            checksum: format!("{:016x}", a.checksum),
            revision: a.revision,
            record_id: a.record_id.map(Into::into),
        }),
        failure,
    })
}

fn key_values(sync: &Sync, key: &str) -> Result<Vec<String>, Fault> {
    if key.trim_start().starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(key).map_err(|e| {
            Fault::new(Code::NotFound, format!("The key `{key}` is no JSON array: {e}."))
                .with_next("write it as '[\"a\", 7]'")
        })?;
        return Ok(values
            .into_iter()
            .map(|v| v.as_str().map(str::to_owned).unwrap_or_else(|| v.to_string()))
            .collect());
    }
    if sync.model.key.len() == 1 {
        return Ok(vec![key.to_owned()]);
    }
    Ok(key.split(',').map(|v| v.trim().to_owned()).collect())
}

async fn samples(engine: &Engine, plan: &mut Plan) -> Result<Vec<Sample>, Fault> {
    let mut out = Vec::new();
    for (kind, change) in [(EntryKind::Added, "added"), (EntryKind::Changed, "changed")] {
        let entries: Vec<_> = plan.model.entries.iter().filter(|e| e.kind() == kind).take(SAMPLES).copied().collect();
        let mut records = Vec::new();
        for entry in entries {
            records.push(plan.model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?.to_vec());
        }
        if records.is_empty() {
            continue;
        }
        let layout = &plan.model.layout;
        // A destination that does not answer now spoils the comparison, not the plan.
        let compared =
            differences(engine, layout, &records).await.unwrap_or(None).unwrap_or_else(|| vec![None; records.len()]);
        for (record, differs) in records.iter().zip(compared) {
            let (key, fields) = split(record);
            let whole = || {
                layout
                    .pairs(fields)
                    .map(|(f, v)| FieldDifference {
                        field: f.to_owned(),
                        there: String::new(),
                        here: v.to_text().into(),
                    })
                    .collect()
            };
            out.push(Sample {
                change: change.to_owned(),
                key: display_key(key),
                compared: differs.is_some(),
                fields: differs.unwrap_or_else(whole),
            });
        }
    }
    for gone in plan.difference.removed.iter().take(SAMPLES) {
        out.push(Sample {
            change: "removed".to_owned(),
            key: display_key(Cells(&gone.identifier)),
            compared: false,
            fields: vec![],
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_people_write_them() {
        let of = |keys: &[&str], text: &str| {
            let sync = serde_json::json!({
                "name": "crm", "mode": "upsert", "model": { "warehouse": "w", "sql": "select 1", "key": keys },
                "destination": { "connection": "d" }, "mapping": [],
            });
            key_values(&serde_json::from_value(sync).unwrap(), text)
        };
        assert_eq!(of(&["id"], "a, b").unwrap(), ["a, b"]);
        assert_eq!(of(&["id", "region"], "7, EU").unwrap(), ["7", "EU"]);
        assert_eq!(of(&["id", "region"], r#"[7, "E,U"]"#).unwrap(), ["7", "E,U"]);
        assert!(of(&["id"], "[7").unwrap_err().next_step().contains("write it as"));
    }

    #[test]
    fn reports_survive_the_way_from_the_function_to_the_command() {
        let report = ExplainReport {
            key: "7".into(),
            hash: Some(KeyHash::of(b"7")),
            rows: 1,
            record: Some(serde_json::json!({ "id": 7 })),
            invalid: None,
            differs: Some(vec![FieldDifference { field: "a".into(), there: "1".into(), here: "2".into() }]),
            verdict: "It would be sent.".into(),
            stored: Some(AcceptedVersion { checksum: "00".into(), revision: 3, record_id: None }),
            failure: None,
        };
        let json = serde_json::to_value(&report).unwrap();
        // What `--json` promises: every part is there, an absent one as null.
        assert!(
            json["failure"].is_null()
                && json.as_object().unwrap().contains_key("failure")
                && json["stored"]["record_id"].is_null()
        );
        assert_eq!(serde_json::from_value::<ExplainReport>(json).unwrap(), report);
        let refused = CheckReport::refused("crm", &Fault::new(Code::SecretMissing, "No."));
        assert!(!refused.ok && refused.findings[0].about == "secret_missing");
        assert_eq!(serde_json::from_value::<CheckReport>(serde_json::to_value(&refused).unwrap()).unwrap(), refused);
    }
}
