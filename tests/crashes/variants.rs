//! Crash points of syncs that are not the plainest: keys that are spelt anew, a cursor, a destination with manners of
//! its own, a mode that has just been switched.

use domain::mode::Mode;
use domain::run::Status;
use fastrand::Rng;

use crate::exhaustive::{Case, after_a_change, every_point};
use crate::ledger::Manners;
use crate::model::{Model, Mutation};
use crate::points::{End, Point};
use crate::promise::broken;
use crate::rig::{Rig, Ways};

/// What happens to the model after a crash, where all of [`crate::model::MUTATIONS`] would take too long.
const SOME: [Mutation; 2] = [Mutation::DeleteChanged, Mutation::Mixed];

#[track_caller]
fn survive(ways: Ways, modes: &[Mode], ends: &[End]) {
    for mode in modes {
        let case = after_a_change(Rig::with_ways(ways, *mode));
        for end in ends {
            assert!(every_point(&case, *end, &SOME) > 0, "{mode}: no point of {end:?} was reached");
        }
    }
}

#[test]
fn keys_that_are_spelt_anew_survive_a_crash_after_every_call() {
    survive(Ways { text_keys: true, ..Ways::default() }, &[Mode::Upsert, Mode::Mirror], &[End::After, End::Half]);
}

#[test]
fn a_cursor_survives_a_crash_after_every_call() {
    survive(Ways { cursor: true, ..Ways::default() }, &[Mode::Upsert], &[End::After, End::Half, End::Lost]);
}

#[test]
fn a_receiver_that_drops_repeated_ids_gets_every_version() {
    let manners = Manners { drops_repeated: true, ..Manners::default() };
    survive(Ways { manners, ..Ways::default() }, &[Mode::Upsert, Mode::Mirror], &[End::After, End::Half, End::Lost]);
}

#[test]
fn single_retries_survive_a_crash_after_every_call() {
    let ways = Ways { manners: Manners { is_unsure: true, ..Manners::default() }, ..Ways::default() };
    for mode in [Mode::Upsert, Mode::Mirror] {
        let mut rig = Rig::with_ways(ways, mode);
        rig.requests = 2;
        let case = after_a_change(rig);
        for end in [End::After, End::Half, End::Lost] {
            every_point(&case, end, &SOME);
        }
    }
}

#[test]
fn a_switched_mode_survives_a_crash_after_every_call() {
    for (before, after) in [(Mode::Upsert, Mode::Mirror), (Mode::Mirror, Mode::Upsert), (Mode::Update, Mode::Mirror)] {
        let (mut rig, mut model) = (Rig::new(before), Model::new(200));
        for _ in 0..2 {
            assert_eq!(rig.run_well(&model).map(|run| run.status), Ok(Status::Complete));
        }
        model.settle();
        model.change_and_add(20, &mut Rng::with_seed(7));
        rig.mode = after;
        let mut points = 0;
        'calls: for call in 1.. {
            for mutation in [Mutation::Revert, Mutation::DeleteAdded] {
                let (twin, mut model) = (rig.again(), model.clone());
                if !twin.run_approved(&model, Point { call, end: End::After }).reached {
                    break 'calls;
                }
                model.mutate(mutation, &mut Rng::with_seed(call as u64));
                let check = |what: Result<(), String>| {
                    what.unwrap_or_else(|e| panic!("{before} to {after}, call {call}, then {mutation:?}: {e}"))
                };
                check(Case::recovers(&twin, &model, 0));
                model.back_to_base();
                check(twin.run_well(&model).map(drop));
                check(
                    broken(after, &model, &twin.view(), 0)
                        .map_or(Ok(()), |e| Err(format!("after the rows went back: {e}"))),
                );
            }
            points = call;
        }
        assert!(points > 30, "only {points} points");
    }
}
