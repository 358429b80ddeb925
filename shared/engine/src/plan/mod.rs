//! Plans a run: what to read, what has changed, and whether it may be sent. Writes nothing, so a dry run is
//! exactly this.

pub mod acquire;
mod approval;
pub mod batcher;
pub mod cursor;
pub mod diff;
pub mod difference;
mod duplicates;
pub mod enqueue;
pub mod entries;
pub mod extract;
pub mod identity;
pub(crate) mod meaning;
pub mod prepare;
pub(crate) mod probe;
mod respelt;
pub mod spool;

use domain::bucket::{bits_for, outgrown};
use domain::change::Counts;
use domain::clock::Millis;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::guard::{self, GuardInput, Tripped};
use domain::head::Head;
use domain::in_doubt::InDoubtSet;
use domain::job::{PlannedLoad, Ticket};
use domain::manifest::ManifestPage;
use domain::meaning::{Meaning, Shift};
use domain::mode::Mode;
use domain::ports::Query;
use domain::row::Column;
use domain::usage::UsageMeter;

use crate::Engine;
use crate::plan::batcher::max_body;
use crate::plan::diff::{DiffInput, diff};
use crate::plan::difference::Difference;
use crate::plan::extract::{Extracted, extract};
use crate::plan::prepare::{Prepared, model_query, prepare};
use crate::progress::Phase;

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
    /// What the state will mean once this plan is begun.
    pub meaning: Meaning,
    /// What differs from what it means now.
    pub shift: Shift,
    /// The mapped columns, for the drift guard of later runs.
    pub columns: Vec<Column>,
    /// Jobs of earlier runs that may still be at work, each with when it was submitted.
    pub jobs: Vec<(Ticket, Millis)>,
    /// True when records are in doubt: sent by a run that nobody heard the end of.
    pub has_in_doubt: bool,
    /// The runs whose notes of claims were read for this plan.
    pub noted_runs: Vec<String>,
    /// What people should know, a sentence each.
    pub notes: Vec<String>,
    /// What a read of all of the model costs, where the warehouse says it.
    pub cost: Option<String>,
    /// Warnings of preflight, and what the destination says of a plan of this size.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// The plan in numbers.
    pub fn counts(&self) -> &Counts {
        &self.difference.counts
    }

    /// What it asks of the destination.
    pub fn load(&self, mode: Mode) -> PlannedLoad {
        load(mode, self.counts())
    }

    /// Requests the plan takes if nothing goes wrong, records to a batch by number only.
    pub fn requests(&self, batch_records: usize) -> u64 {
        let most = batch_records.max(1) as u64;
        (self.counts().added + self.counts().changed).div_ceil(most) + self.counts().removed.div_ceil(most)
    }
}

fn load(mode: Mode, counts: &Counts) -> PlannedLoad {
    PlannedLoad { mode, writes: counts.added + counts.changed, deletes: counts.removed }
}

/// Reads and compares, against the state as `head` tells it. `run` is the run that asks, empty where there is none;
/// `force_full`: read everything even if a cursor would do. What reading used is noted in `usage`.
pub async fn plan(
    engine: &Engine,
    head: &Head,
    run: &str,
    force_full: bool,
    usage: &UsageMeter,
) -> Result<Plan, Fault> {
    let (sync, store) = (&engine.sync, engine.store.as_ref());
    engine.meter.enter(Phase::Preparing);
    let prepared = prepare(engine).await?;
    let mut findings = prepared.findings.clone();
    let cost = prepared.cost.clone();
    let columns = mapped_columns(engine, &prepared.columns);
    let noted = store.in_doubt(&sync.name).await?;
    let in_doubt = InDoubtSet::new(&noted.notes);
    let meaning = meaning(engine, head, &prepared).await?;
    let shift = head.meaning.as_ref().map(|before| meaning.shift(before)).unwrap_or_default();
    let now = engine.clock.now();
    let only =
        if force_full || !in_doubt.is_empty() || shift.any() { None } else { cursor::incremental(sync, head, now) };
    let full = only.is_none();
    let before = cursor::remembered(head).filter(|_| !full);
    let manifest = store.manifest(&sync.name, head.bucket_bits).await?;
    engine.meter.enter(Phase::Reading);
    let query = Query { only, usage: usage.clone(), ..model_query(engine, run) };
    let mut model =
        extract(engine, prepared, &query, before.as_deref(), max_body(engine, &engine.destination.limits())).await?;
    engine.meter.enter(Phase::Comparing);
    let basis = DiffInput {
        sync: &sync.name,
        sync_version: &sync.version(),
        mode: sync.mode,
        generation: head.generation,
        bits: head.bucket_bits,
        manifest: &manifest,
        in_doubt: &in_doubt,
        meaning: meaning.seed(),
        shift,
        full,
        now,
    };
    let mut difference = diff(store, engine.destination.as_ref(), &basis, &mut model).await?;
    if !full {
        difference.known = head.known.max(difference.known);
    }
    let load = load(sync.mode, &difference.counts);
    if load.records() > 0 {
        findings.extend(engine.destination.check_quota(load).await?);
    }
    let evidence = GuardInput {
        counts: &difference.counts,
        known: difference.known,
        delivered: head.delivered.is_some(),
        mode: sync.mode,
        records: model.entries.len() as u64,
        full,
        columns: &columns,
        last_columns: &head.columns,
    };
    // A change of what the state means matters where it means anything.
    let before = head.meaning.as_ref().filter(|_| difference.learnt);
    let mut tripped =
        before.map(|before| meaning.tell(before, &sync.name, difference.counts.undeletable)).unwrap_or_default();
    tripped.extend(guard::check(&sync.guards, &evidence));
    let notes = notes(engine, &model, &difference);
    let has_in_doubt = !in_doubt.is_empty();
    Ok(Plan {
        model,
        difference,
        manifest,
        full,
        tripped,
        meaning,
        shift,
        columns,
        jobs: in_doubt.jobs,
        has_in_doubt,
        noted_runs: noted.runs,
        notes,
        findings,
        cost,
    })
}

/// What the state of this sync means, as its file, the warehouse and the destination have it now.
async fn meaning(engine: &Engine, head: &Head, prepared: &Prepared) -> Result<Meaning, Fault> {
    let key = prepared.key.iter().filter_map(|at| prepared.columns.get(*at).cloned()).collect();
    let identifiers = prepared.mapper.layout().identifiers().map(|(_, field)| field.name.clone()).collect();
    // A destination that does not tell where it is today is believed to be where it was.
    let mut place = engine.destination.place().await?;
    if let Some(before) = head.meaning.as_ref().filter(|_| place.is_empty()) {
        place.clone_from(&before.place);
    }
    Ok(Meaning { place, mode: engine.sync.mode, key, identifiers })
}

/// What the numbers of a plan do not say.
fn notes(engine: &Engine, model: &Extracted, difference: &Difference) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = &difference.counts;
    if counts.respelt > 0 {
        notes.push(format!(
            "keys spelt anew: {}; records of the model have their identifiers, so nothing is deleted",
            counts.respelt
        ));
    }
    if counts.deletes_held > 0 {
        let (held, keyless) = (counts.deletes_held, model.keyless);
        notes.push(format!(
            "{held} deletes wait: {keyless} rows of the model have no key, and which records those are nobody can tell"
        ));
    }
    if counts.undeletable > 0 {
        notes.push(format!(
            "{} records are gone from the model and cannot be deleted: they were sent before this was a mirror by this identifier",
            counts.undeletable
        ));
    }
    if let Some(settings) = engine.sync.model.cursor.as_ref().map(|c| c.settings()) {
        model.cursor.notes(&settings, &mut notes);
    }
    notes
}

/// The bucket count a run should have: `None` when the one it has will do.
pub fn better_bits(head: &Head, records: u64) -> Option<u8> {
    let first = head.last_full.is_none() && head.records == 0 && head.bucket_bits == 0;
    (first || outgrown(records, head.bucket_bits)).then(|| bits_for(records)).filter(|bits| *bits > head.bucket_bits)
}

fn mapped_columns(engine: &Engine, columns: &[Column]) -> Vec<Column> {
    let sync = &engine.sync;
    let used = |name: &str| {
        sync.model.key.iter().any(|k| k == name) || sync.mapping.iter().any(|m| m.from.as_deref() == Some(name))
    };
    columns.iter().filter(|c| used(&c.name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_laid_out_once_and_again_when_outgrown() {
        let fresh = Head::default();
        assert_eq!(better_bits(&fresh, 10_000), Some(7));
        assert_eq!(better_bits(&fresh, 10), None);
        let used =
            Head { bucket_bits: 7, records: 10_000, last_full: Some(domain::clock::Millis(1)), ..Head::default() };
        assert_eq!(better_bits(&used, 20_000), None);
        assert_eq!(better_bits(&used, 40_000), Some(9));
    }
}
