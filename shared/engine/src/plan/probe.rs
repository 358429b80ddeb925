//! Asks the warehouse whether the model has changed at all, before anything is read: an idle tick of a table then reads
//! nothing and wakes no warehouse.
//!
//! The version is asked before the rows are read, so a change in between is seen by the next run. It is believed only
//! while everything else is as it was at the run that noted it: the sync, its state, the place it goes to; and only
//! until the next full check.

use domain::clock::Millis;
use domain::fault::Fault;
use domain::head::Head;
use domain::run::{OnSuccess, Run};
use domain::sync::Sync;

use crate::Engine;
use crate::plan::prepare::model_query;
use crate::started::RunRequest;

/// The model's version; `None` where the warehouse cannot say, or does not answer: then it is read.
pub(crate) async fn version(engine: &Engine, run: &str) -> Option<String> {
    if engine.sync.model.probe == Some(false) {
        return None;
    }
    match engine.warehouse.version(&model_query(engine, run)).await {
        Ok(version) => version,
        Err(fault) => {
            tracing::debug!(sync = engine.sync.name, run, %fault, "the model's version could not be asked");
            None
        }
    }
}

/// True when a run of this version would find nothing to do.
pub(crate) async fn is_unchanged(
    engine: &Engine,
    head: &Head,
    request: &RunRequest,
    version: &str,
) -> Result<bool, Fault> {
    if request.full || request.approve.is_some() || !may_rest(&engine.sync, head, version, engine.clock.now()) {
        return Ok(false);
    }
    let Some(before) = &head.meaning else { return Ok(false) };
    if !engine.store.in_doubt(&engine.sync.name).await?.notes.is_empty() {
        return Ok(false);
    }
    let place = engine.destination.place().await?;
    Ok(place == before.place || place.is_empty())
}

/// What the head alone says of that. `head` is the one that the run has taken.
fn may_rest(sync: &Sync, head: &Head, version: &str, now: Millis) -> bool {
    let delivered = head.model.as_ref().is_some_and(|m| m.version == version && m.generation + 1 == head.generation);
    let checked = head.last_full.is_some_and(|at| at <= now && now.since(at) < sync.model.full_check().0);
    delivered
        && checked
        && head.sync_version == sync.version()
        && head.look_again.is_none()
        && head.must_read_full.is_none()
}

/// Notes in a run that nothing was read.
pub(crate) fn note(run: &mut Run, head: &Head, version: String) {
    run.full = false;
    run.counts.unchanged = head.records;
    run.notes = vec!["nothing was read: the warehouse says that the model's table is as it was at the last run".into()];
    run.on_success = OnSuccess {
        columns: head.columns.clone(),
        known: head.known,
        model_version: Some(version),
        ..OnSuccess::default()
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::head::DeliveredModel;

    use super::*;

    fn sync() -> Sync {
        serde_json::from_value(serde_json::json!({
            "name": "crm", "model": { "warehouse": "w", "sql": "select id from t", "key": ["id"] },
            "destination": { "connection": "d", "object": "o" }, "mode": "upsert", "mapping": [{ "from": "id", "to": "id" }],
        }))
        .unwrap()
    }

    #[test]
    fn a_version_is_believed_only_while_all_else_is_as_it_was() {
        let (sync, now) = (sync(), Millis(100_000_000));
        let resting = Head {
            generation: 8,
            last_full: Some(Millis(99_000_000)),
            sync_version: sync.version(),
            model: Some(DeliveredModel { version: "v1".into(), generation: 7 }),
            ..Head::default()
        };
        assert!(may_rest(&sync, &resting, "v1", now));
        assert!(!may_rest(&sync, &resting, "v2", now), "another version");
        assert!(!may_rest(&sync, &resting, "v1", now.plus(Duration::from_secs(86_400))), "a full check is due");
        assert!(!may_rest(&sync, &resting, "v1", Millis(1)), "a clock that was ahead noted the full read");
        let touched: [fn(&mut Head); 6] = [
            |head| head.generation = 9,
            |head| head.model = None,
            |head| head.look_again = Some(Millis(1_000_000_000)),
            |head| head.must_read_full = Some(3),
            |head| head.sync_version = "another".into(),
            |head| head.last_full = None,
        ];
        for (at, touch) in touched.iter().enumerate() {
            let mut head = resting.clone();
            touch(&mut head);
            assert!(!may_rest(&sync, &head, "v1", now), "{at}");
        }
    }
}
