//! What `plan` and `check` tell of a sync, as values: made where the sync's connections are open (on this
//! machine, or in the extractor function), shown where someone asked. Serialised they are what `--json` prints.
//!
//! Only reading and comparing; nothing here writes, and nothing here is worded for a terminal.

use domain::cells::Cells;
use domain::change::Counts;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::guard::Tripped;
use domain::key::display_key;
use domain::run::InvalidRecord;
use domain::usage::UsageMeter;
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
    /// What the numbers do not say, a sentence each: keys that are spelt anew, deletes that wait, rows that a cursor
    /// cannot place.
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
    /// What a full read costs, where the warehouse says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

impl CheckReport {
    /// The report of these findings.
    pub fn of(sync: &str, findings: Vec<Finding>) -> Self {
        Self { sync: sync.to_owned(), ok: !findings.iter().any(Finding::is_error), findings, cost: None }
    }

    /// The report of a sync that could not even be looked at.
    pub fn refused(sync: &str, fault: &Fault) -> Self {
        Self::of(sync, vec![Finding::error(fault.code.as_str(), fault.what.clone(), fault.next_step())])
    }
}

/// Plans a run. `full`: read everything even if the sync has a cursor.
pub async fn plan(engine: &Engine, full: bool) -> Result<PlanReport, Fault> {
    let head = engine.store.head(&engine.sync.name).await?;
    let usage = UsageMeter::default();
    let mut plan = crate::plan::plan(engine, &head, "", full, &usage).await?;
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
        notes: plan.notes.into_iter().chain(plan.cost).chain(used(&usage)).collect(),
    })
}

/// What reading for this plan used, where the warehouse says it.
fn used(usage: &UsageMeter) -> Option<String> {
    let used = usage.total();
    (!used.is_empty()).then(|| format!("the read for this plan: {}", used.in_words()))
}

/// Looks at both ends without reading rows. What keeps it from looking is a finding too.
pub async fn check(engine: &Engine) -> CheckReport {
    match preflight(engine).await {
        Ok(Preflight::Ready(prepared)) => {
            CheckReport { cost: prepared.cost, ..CheckReport::of(&engine.sync.name, prepared.findings) }
        }
        Ok(Preflight::Refused(findings)) => CheckReport::of(&engine.sync.name, findings),
        Err(fault) => CheckReport::refused(&engine.sync.name, &fault),
    }
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
    use domain::fault::Code;

    use super::*;

    #[test]
    fn a_check_survives_the_way_from_the_function_to_the_command() {
        let refused = CheckReport::refused("crm", &Fault::new(Code::SecretMissing, "No."));
        assert!(!refused.ok && refused.findings[0].about == "secret_missing");
        assert_eq!(serde_json::from_value::<CheckReport>(serde_json::to_value(&refused).unwrap()).unwrap(), refused);
    }
}
