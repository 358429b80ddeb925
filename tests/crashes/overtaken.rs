//! Two processes: a run is held at each of its calls, the next one takes over and comes to its end, and the first goes
//! on as if nothing had been: it writes what is old by now, and commits it. One more run makes it good.

use std::time::Duration;

use domain::mode::Mode;
use domain::run::Status;
use fastrand::Rng;

use crate::exhaustive::after_a_change;
use crate::model::{Model, Mutation};
use crate::points::{End, Point};
use crate::promise::broken;
use crate::rig::{BATCH, Rig, Ways};

/// The second process comes when the first has stalled and its claims still hold, or when they have run out.
const CLAIMED: Duration = Duration::from_secs(12 * 60);
const RUN_OUT: Duration = Duration::from_secs(60 * 60);
/// Everything is over by then.
const LATER: Duration = Duration::from_secs(3 * 60 * 60);

/// Plays one case. `false`: the first run was over before the point.
fn play(from: &Rig, model: &Model, point: Point, mutation: Mutation, ahead: Duration) -> Result<bool, String> {
    let (rig, mut now) = (from.again(), model.clone());
    now.mutate(mutation, &mut Rng::with_seed(point.call as u64));
    let Some(second) = rig.run_beside(model, point, &now, ahead) else { return Ok(false) };
    second.map_err(|fault| format!("the second run failed: {fault}"))?;
    let run = rig.run_well_at(&now, LATER)?;
    if run.status != Status::Complete {
        return Err(format!("the third run ended as {:?}: {:?}", run.status, run.fault));
    }
    let surplus = 3 * BATCH;
    if let Some(broken) = broken(rig.mode, &now, &rig.view(), surplus) {
        return Err(broken);
    }
    let idle = rig.run_well_at(&now, LATER)?;
    match idle.counts.to_send() {
        0 => Ok(true),
        _ => Err(format!("the run after that was not idle: {:?}", idle.counts)),
    }
}

#[track_caller]
fn every_call(ways: Ways, mode: Mode, end: End, ahead: Duration) {
    let (rig, model) = after_a_change(Rig::with_ways(Ways { beside: true, ..ways }, mode));
    let mut points = 0;
    'calls: for call in 1.. {
        for mutation in [Mutation::Nothing, Mutation::Mixed] {
            let reached = play(&rig, &model, Point { call, end }, mutation, ahead);
            let reached = reached
                .unwrap_or_else(|e| panic!("{mode}, {end:?} at call {call}, {mutation:?}, ahead by {ahead:?}: {e}"));
            if !reached {
                break 'calls;
            }
        }
        points = call;
    }
    assert!(points > 30, "only {points} points");
}

#[test]
fn a_process_that_goes_on_after_it_was_overtaken_is_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror, Mode::Append] {
        for ahead in [CLAIMED, RUN_OUT] {
            every_call(Ways::default(), mode, End::Held, ahead);
        }
    }
}

#[test]
fn an_overtaken_process_is_made_good_where_a_cursor_reads() {
    for ahead in [CLAIMED, RUN_OUT] {
        every_call(Ways { cursor: true, ..Ways::default() }, Mode::Upsert, End::Held, ahead);
    }
}

#[test]
fn an_overtaken_process_that_dies_within_its_claim_is_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror] {
        every_call(Ways::default(), mode, End::HeldToDie, CLAIMED);
    }
}
