//! Explains one record: what the state holds for its key, what the model says now, and what a run would do.

use domain::bucket::{Accepted, StoredEntry};
use domain::cells::Cells;
use domain::change::{Candidate, Change, decide};
use domain::fault::{Code, Fault};
use domain::in_doubt::InDoubtSet;
use domain::key::{KeyHash, display_key};
use domain::layout::Layout;
use domain::mapping::Invalid;
use domain::mode::Mode;
use domain::ports::{Query, RowFilter};
use domain::readback::differing;
use domain::sync::Sync;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::plan::batcher::max_body;
use crate::plan::entries::EntryKind;
use crate::plan::extract::{Extracted, extract};
use crate::plan::prepare::{model_query, prepare};
use crate::plan::spool::split;

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

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// The field.
    pub field: String,
    /// What the destination has, as text.
    pub there: String,
    /// What would be sent, as text.
    pub here: String,
}

impl AcceptedVersion {
    fn of(accepted: &Accepted) -> Self {
        let record_id = accepted.record_id.as_deref().map(str::to_owned);
        Self { checksum: format!("{:016x}", accepted.checksum), revision: accepted.revision, record_id }
    }
}

/// Explains the record of a key as people write it: `7`, `7,EU`, or `["7", "E,U"]`.
pub async fn explain(engine: &Engine, key: &str) -> Result<ExplainReport, Fault> {
    explain_key(engine, &key_values(&engine.sync, key)?, key).await
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

/// Explains the record whose key columns, as text, are `key` (in the order of the model's key), or whose key is shown
/// as `shown`.
async fn explain_key(engine: &Engine, key: &[String], shown: &str) -> Result<ExplainReport, Fault> {
    let (sync, store) = (&engine.sync, engine.store.as_ref());
    let wrong_count = || {
        let what = format!(
            "The key of `{}` has {} columns ({}), and {} values were given.",
            sync.name,
            sync.model.key.len(),
            sync.model.key.join(", "),
            key.len()
        );
        Fault::new(Code::NotFound, what)
            .with_next("give the values in this order, separated by commas, or as a JSON array")
    };
    let only = RowFilter::Keys { columns: sync.model.key.clone(), keys: vec![key.to_vec()] };
    let whole = key.len() == sync.model.key.len();
    let mut model = read(engine, whole.then_some(only)).await?;
    let mut place = model.entries.first().filter(|_| whole).map(|_| 0);
    if place.is_none() && (model.invalid == 0 || !whole) {
        // A database writes some values otherwise than we do (1.50, times, bytes), and a value may hold a comma: then
        // the key is looked for as we show it.
        if whole {
            model = read(engine, None).await?;
        }
        place = find(&mut model, key, shown)?;
        if place.is_none() && !whole {
            return Err(wrong_count());
        }
    }
    let mut out = ExplainReport {
        key: shown.to_owned(),
        hash: None,
        rows: model.rows,
        record: None,
        invalid: None,
        differs: None,
        verdict: String::new(),
        stored: None,
        failure: None,
    };
    out.invalid = model.invalid_first.first().map(|i| i.why.clone());
    let Some(entry) = place.and_then(|at| model.entries.get(at)).copied() else {
        out.rows = 0;
        out.verdict = match sync.mode {
            Mode::Mirror => {
                "The model has no row with this key. If it was sent before, the next run deletes it.".into()
            }
            mode => format!("The model has no row with this key. In mode {mode} what was sent before stays as it is."),
        };
        return Ok(out);
    };
    out.rows = out.rows.min(model.entries.len().max(1) as u64);
    out.hash = Some(entry.hash);
    let head = store.head(&sync.name).await?;
    let bucket = store.buckets(&sync.name, head.bucket_bits, &[entry.hash.bucket(head.bucket_bits)]).await?;
    let stored =
        bucket.into_iter().flat_map(|b| b.entries).find(|(hash, _)| *hash == entry.hash).map(|(_, stored)| stored);
    out.failure = stored.as_ref().and_then(|stored| stored.failure.clone());
    out.stored = stored.as_ref().and_then(|stored| stored.accepted.as_ref()).map(AcceptedVersion::of);
    match entry.kind() {
        EntryKind::Invalid => {
            out.verdict = "The record is invalid: it is not sent, and what was sent before stays as it is.".into()
        }
        EntryKind::Outside => {
            out.verdict = format!("The key is outside the rollout of {} percent: it is not sent.", sync.rollout.percent)
        }
        _ => {
            let in_doubt = InDoubtSet::new(&store.in_doubt(&sync.name).await?.notes);
            let wanted = Candidate { checksum: entry.checksum, in_doubt: in_doubt.contains(&entry.hash) };
            let change = decide(sync.mode, wanted, stored.as_ref(), engine.clock.now());
            out.verdict = sentence(change, &wanted, stored.as_ref());
            if let Some(cursor) =
                sync.model.cursor.as_ref().filter(|_| matches!(change, Change::Added | Change::Changed))
            {
                out.verdict += &format!(
                    " The sync reads by `{}`: a row that is older than the last read is seen by the next full one.",
                    cursor.settings().column
                );
            }
            let record = model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?.to_vec();
            let (_, fields) = split(&record);
            let mut json = Vec::new();
            model.layout.write_json(fields, &mut json);
            out.record = serde_json::from_slice(&json).ok();
            out.differs = differences(engine, &model.layout, &[record]).await?.and_then(|mut d| d.pop()).flatten();
        }
    }
    Ok(out)
}

async fn read(engine: &Engine, only: Option<RowFilter>) -> Result<Extracted, Fault> {
    let prepared = prepare(engine).await?;
    let query = Query { only, ..model_query(engine, "") };
    extract(engine, prepared, &query, None, max_body(engine, &engine.destination.limits())).await
}

/// The place of the entry whose key is shown so: its parts, or all of it as one text.
fn find(model: &mut Extracted, key: &[String], shown: &str) -> Result<Option<usize>, Fault> {
    for at in 0..model.entries.len() {
        let entry = model.entries[at];
        let record = model.spool.read(&entry.hash, entry.offset(), entry.len as usize)?;
        let (cells, _) = split(record);
        if display_key(cells) == shown || cells.values().map(|v| v.to_text()).eq(key.iter().map(String::as_str)) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn sentence(change: Change, wanted: &Candidate, stored: Option<&StoredEntry>) -> String {
    let failure = stored.and_then(|s| s.failure.as_ref());
    match change {
        Change::Unchanged => "The destination accepted exactly this version: nothing would be sent.".into(),
        Change::Held => {
            let until = failure
                .map(|t| format!("{} ({}), held until {}", t.code, t.failures, t.next_retry))
                .unwrap_or_default();
            format!(
                "The destination refused this version before: {until}. It is sent again then, or when the row changes, or after `sluice dead-letters retry`."
            )
        }
        Change::Added | Change::Changed if wanted.in_doubt => {
            "An earlier delivery of it was cut off and nobody knows how it ended: it would be sent again.".into()
        }
        Change::Added => "The destination never accepted it: it would be sent.".into(),
        Change::Changed => "The destination accepted another version: it would be sent.".into(),
    }
}

/// For each spooled record the fields in which the destination differs from it; `None` for one that the
/// destination does not have. `Ok(None)`: the destination cannot be read.
pub async fn differences(
    engine: &Engine,
    layout: &Layout,
    records: &[Vec<u8>],
) -> Result<Option<Vec<Option<Vec<FieldDifference>>>>, Fault> {
    let identifiers: Vec<Vec<u8>> = records.iter().map(|r| layout.identifier_cells(split(r).1)).collect();
    let Some(there) = engine.destination.read(layout, &identifiers).await? else { return Ok(None) };
    let compare = |record: &Vec<u8>, there: Option<Vec<u8>>| {
        let (here, there) = (engine.destination.as_stored(layout, split(record).1), there?);
        let differing = differing(layout, Cells(&here), Cells(&there));
        Some(
            differing
                .map(|(f, here, there)| FieldDifference {
                    field: f.name.clone(),
                    there: there.to_text().into(),
                    here: here.to_text().into(),
                })
                .collect(),
        )
    };
    let mut found: Vec<Option<Vec<FieldDifference>>> =
        records.iter().zip(there).map(|(record, there)| compare(record, there)).collect();
    let differ: Vec<usize> =
        (0..found.len()).filter(|at| found[*at].as_ref().is_some_and(|fields| !fields.is_empty())).collect();
    let asked: Vec<Vec<u8>> = differ.iter().map(|at| split(&records[*at]).1.bytes().to_vec()).collect();
    // Some values are only spelt otherwise there.
    let agrees = if asked.is_empty() { None } else { engine.destination.agrees(layout, &asked).await? };
    for (at, agrees) in differ.into_iter().zip(agrees.into_iter().flatten()) {
        let same = |d: &FieldDifference| {
            layout.fields().iter().zip(&agrees).any(|(field, same)| field.name == d.field && *same)
        };
        found[at].iter_mut().for_each(|fields| fields.retain(|d| !same(d)));
    }
    Ok(Some(found))
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
    }
}
