//! Explains one record: what the state holds for its key, what the model says now, and what a run would do.

use domain::bucket::StoredEntry as Stored;
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

use crate::Engine;
use crate::plan::batcher::max_body;
use crate::plan::entries::EntryKind;
use crate::plan::extract::{Extracted, extract};
use crate::plan::prepare::prepare;
use crate::plan::spool::split;

/// What is known of a key.
pub struct Explained {
    /// Hash of the key, when the model has it.
    pub hash: Option<KeyHash>,
    /// Rows the model has for it.
    pub rows: u64,
    /// The record it becomes, as JSON.
    pub record: Option<serde_json::Value>,
    /// Why it is invalid.
    pub invalid: Option<Invalid>,
    /// The fields at the destination that differ from the record, each with what is there; `None` when the
    /// destination cannot be read or has no such record.
    pub differs: Option<Vec<FieldDifference>>,
    /// What the state holds.
    pub stored: Option<Stored>,
    /// What the next run would do.
    pub verdict: String,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FieldDifference {
    /// The field.
    pub field: String,
    /// What the destination has, as text.
    pub there: String,
    /// What would be sent, as text.
    pub here: String,
}

/// Explains the record whose key columns, as text, are `key` (in the order of the model's key), or whose key is shown
/// as `shown`.
pub async fn explain(engine: &Engine, key: &[String], shown: &str) -> Result<Explained, Fault> {
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
    let only = RowFilter::Key(sync.model.key.iter().cloned().zip(key.iter().cloned()).collect());
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
    let mut out = Explained {
        hash: None,
        rows: model.rows,
        record: None,
        invalid: None,
        differs: None,
        stored: None,
        verdict: String::new(),
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
    out.stored =
        bucket.into_iter().flat_map(|b| b.entries).find(|(hash, _)| *hash == entry.hash).map(|(_, stored)| stored);
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
            let change = decide(sync.mode, wanted, out.stored.as_ref(), engine.clock.now());
            out.verdict = sentence(change, &wanted, out.stored.as_ref());
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
    let query = Query { sql: engine.sync.model.sql.clone(), only };
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

fn sentence(change: Change, wanted: &Candidate, stored: Option<&Stored>) -> String {
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
