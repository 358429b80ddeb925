//! Brings the state over to what the sync means now (see [`domain::meaning`]), before anything is sent.

use domain::bucket::Accepted;
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::ports::StateStore;
use domain::run::Run;

use crate::Engine;
use crate::commit;
use crate::plan::Plan;
use crate::plan::spool::split;

/// Notes the identifiers of records of a mirror that were accepted before it needed them: nothing is sent for that.
pub(crate) async fn name(store: &dyn StateStore, sync: &str, bits: u8, plan: &mut Plan) -> Result<(), Fault> {
    let mut named = Vec::with_capacity(plan.difference.unnamed.len());
    for (hash, accepted) in std::mem::take(&mut plan.difference.unnamed) {
        let Ok(at) = plan.model.entries.binary_search_by(|entry| entry.hash.cmp(&hash)) else { continue };
        let entry = plan.model.entries[at];
        let record = plan.model.spool.read(&hash, entry.offset(), entry.len as usize)?;
        let identifier = plan.model.layout.identifier_cells(split(record).1);
        named.push((hash, Accepted { identifier: Some(identifier.into_boxed_slice()), ..accepted }));
    }
    commit::mark_unknown(store, sync, bits, &named).await
}

/// Writes the meaning into the head, once the entries have it, and that the next read must be a full one while records
/// are in doubt.
pub(crate) async fn take_over(engine: &Engine, head: &mut Head, run: &Run, plan: &Plan) -> Result<(), Fault> {
    let must_read_full = if plan.has_in_doubt { Some(head.generation.saturating_sub(1)) } else { head.must_read_full };
    if head.meaning.as_ref() == Some(&plan.meaning) && head.must_read_full == must_read_full {
        return Ok(());
    }
    if plan.shift.place {
        // What was in doubt at the old place is nothing to delete at the new one.
        engine.store.clear_in_doubt(&run.sync, &plan.noted_runs, Millis(i64::MAX)).await?;
    }
    head.meaning = Some(plan.meaning.clone());
    head.must_read_full = must_read_full;
    if !engine.store.put_head(&run.sync, head).await? {
        return Err(Fault::new(
            Code::Superseded,
            format!("The state of `{}` was taken over by a newer run.", run.sync),
        ));
    }
    head.version += 1;
    Ok(())
}
