//! Plans a run: what to read, what has changed, and whether it may be sent. Writes nothing, so a dry run is
//! exactly this.

use domain::bucket::{bits_for, outgrown};
use domain::cells;
use domain::change::Counts;
use domain::clock::Millis;
use domain::doubt::Doubts;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::guard::{self, Evidence, Tripped};
use domain::head::Head;
use domain::job::{Load, Ticket};
use domain::manifest::ManifestPage;
use domain::mode::Mode;
use domain::ports::{Only, Query};
use domain::row::Column;
use domain::value::Value;

use crate::Engine;
use crate::diff::{Basis, Difference, diff};
use crate::enqueue::max_body;
use crate::extract::{Extracted, extract};
use crate::meter::Phase;
use crate::prepare::prepare;

/// A plan: the model as read, what differs, and the guards' verdict.
pub struct Plan {
    /// The model's records.
    pub model: Extracted,
    /// What differs.
    pub difference: Difference,
    /// The manifest as it was before the state was read.
    pub manifest: Vec<ManifestPage>,
    /// True when the model was read in full.
    pub full: bool,
    /// Guards that tripped.
    pub tripped: Vec<Tripped>,
    /// The mapped columns, for the drift guard of later runs.
    pub columns: Vec<Column>,
    /// Jobs of earlier runs that may still be at work, each with when it was submitted.
    pub jobs: Vec<(Ticket, Millis)>,
    /// Warnings of preflight, and what the destination says of a plan of this size.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// The plan in numbers.
    pub fn counts(&self) -> &Counts {
        &self.difference.counts
    }

    /// What it asks of the destination.
    pub fn load(&self, mode: Mode) -> Load {
        load(mode, self.counts())
    }

    /// Requests the plan takes if nothing goes wrong, records to a batch by number only.
    pub fn requests(&self, batch_records: usize) -> u64 {
        let most = batch_records.max(1) as u64;
        (self.counts().added + self.counts().changed).div_ceil(most) + self.counts().removed.div_ceil(most)
    }
}

fn load(mode: Mode, counts: &Counts) -> Load {
    Load { mode, writes: counts.added + counts.changed, deletes: counts.removed }
}

/// Reads and compares, against the state as `head` tells it. `force_full`: read everything even if a cursor would do.
pub async fn plan(engine: &Engine, head: &Head, force_full: bool) -> Result<Plan, Fault> {
    let (sync, store) = (&engine.sync, engine.store.as_ref());
    engine.meter.enter(Phase::Preparing);
    let prepared = prepare(engine).await?;
    let mut findings = prepared.findings.clone();
    let columns = mapped_columns(engine, &prepared.columns);
    let doubts = Doubts::new(&store.doubts(&sync.name).await?);
    let only = if force_full || !doubts.is_empty() { None } else { incremental(engine, head) };
    let full = only.is_none();
    let manifest = store.manifest(&sync.name, head.bucket_bits).await?;
    engine.meter.enter(Phase::Reading);
    let query = Query { sql: sync.model.sql.clone(), only };
    let mut model = extract(engine, prepared, &query, max_body(engine, &engine.destination.limits())).await?;
    engine.meter.enter(Phase::Comparing);
    let basis = Basis {
        sync: &sync.name,
        sync_version: &sync.version(),
        mode: sync.mode,
        generation: head.generation,
        bits: head.bucket_bits,
        manifest: &manifest,
        doubts: &doubts,
        full,
        now: engine.clock.now(),
    };
    let mut difference = diff(store, &basis, &mut model).await?;
    if !full {
        difference.known = head.records.max(difference.known);
    }
    let load = load(sync.mode, &difference.counts);
    if load.records() > 0 {
        findings.extend(engine.destination.headroom(load).await?);
    }
    let evidence = Evidence { counts: &difference.counts, known: difference.known, full, columns: &columns, last_columns: &head.columns };
    let tripped = guard::check(&sync.guards, &evidence);
    Ok(Plan { model, difference, manifest, full, tripped, columns, jobs: doubts.jobs, findings })
}

/// The bucket count a run should have: `None` when the one it has will do.
pub fn better_bits(head: &Head, records: u64) -> Option<u8> {
    let first = head.last_full.is_none() && head.records == 0 && head.bucket_bits == 0;
    (first || outgrown(records, head.bucket_bits)).then(|| bits_for(records)).filter(|bits| *bits > head.bucket_bits)
}

fn mapped_columns(engine: &Engine, columns: &[Column]) -> Vec<Column> {
    let sync = &engine.sync;
    let used = |name: &str| sync.model.key.iter().any(|k| k == name) || sync.mapping.iter().any(|m| m.from.as_deref() == Some(name));
    columns.iter().filter(|c| used(&c.name)).cloned().collect()
}

/// The condition of an incremental read; `None` when everything must be read.
fn incremental(engine: &Engine, head: &Head) -> Option<Only> {
    use base64::Engine as _;
    let settings = engine.sync.model.cursor.as_ref()?.settings();
    if head.sync_version != engine.sync.version() || engine.clock.now().since(head.last_full?) >= settings.full_check.0 {
        return None;
    }
    let cell = base64::engine::general_purpose::STANDARD.decode(head.cursor.as_ref()?).ok()?;
    let lookback = i64::try_from(settings.lookback.0.as_micros()).unwrap_or(i64::MAX);
    let mut from = Vec::new();
    match cells::value(&cell) {
        Value::Timestamp(at) => cells::push(&mut from, Value::Timestamp(at.saturating_sub(lookback))),
        Value::DateTime(at) => cells::push(&mut from, Value::DateTime(at.saturating_sub(lookback))),
        Value::Date(at) => cells::push(&mut from, Value::Date(at.saturating_sub((lookback / 86_400_000_000) as i32))),
        value => cells::push(&mut from, value),
    }
    Some(Only::From { column: settings.column, cell: from })
}

/// A cursor's cell as the head keeps it.
pub fn encode_cursor(cell: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(cell)
}

/// True when `a` is greater than `b`, as the warehouse orders a cursor column; values of different types are not compared.
pub fn cursor_greater(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a > b,
        (Value::Float(a), Value::Float(b)) => a > b,
        (Value::Text(a), Value::Text(b)) => a > b,
        (Value::Date(a), Value::Date(b)) => a > b,
        (Value::DateTime(a), Value::DateTime(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a > b,
        (Value::Decimal(a), Value::Decimal(b)) => decimal_greater(a, b),
        _ => false,
    }
}

/// Compares two decimals in their canonical spelling.
fn decimal_greater(a: &str, b: &str) -> bool {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => magnitude(b) > magnitude(a),
        (None, None) => magnitude(a) > magnitude(b),
    }
}

fn magnitude(text: &str) -> (usize, &str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.len(), whole, fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_compare_as_the_warehouse_orders_them() {
        for (small, great) in [("9", "10"), ("-10", "-9"), ("-1", "0"), ("1.05", "1.5"), ("1", "1.5")] {
            assert!(cursor_greater(Value::Decimal(great), Value::Decimal(small)), "{great} > {small}");
            assert!(!cursor_greater(Value::Decimal(small), Value::Decimal(great)), "{small} > {great}");
        }
        assert!(cursor_greater(Value::Timestamp(2), Value::Timestamp(1)) && !cursor_greater(Value::Int(1), Value::Text("0")));
    }

    #[test]
    fn buckets_are_laid_out_once_and_again_when_outgrown() {
        let fresh = Head::default();
        assert_eq!(better_bits(&fresh, 10_000), Some(7));
        assert_eq!(better_bits(&fresh, 10), None);
        let used = Head { bucket_bits: 7, records: 10_000, last_full: Some(domain::clock::Millis(1)), ..Head::default() };
        assert_eq!(better_bits(&used, 20_000), None);
        assert_eq!(better_bits(&used, 40_000), Some(9));
    }
}
