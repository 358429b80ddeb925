//! The real command, killed at random moments of its run, with the model changing between the kill and the next run.

use std::time::Duration;

use domain::mode::Mode;
use fastrand::Rng;
use support::double::{Behaviour, RetryAfter};

use crate::model::{MUTATIONS, Model, Mutation};
use crate::process_rig::Killed;

/// Rows that are there before the first kill.
const KNOWN: i64 = 300;
/// So many rows are changed, added and deleted each.
const EACH: usize = 40;
/// Kills begin here; every round has the seed after that of the last.
const SEED: u64 = 20_260_101;

/// Kills a run once to three times, with mutations in between, and holds what the next one makes of it.
fn round(killed: &mut Killed, whole: Duration, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..rng.usize(1..=3) {
        // A little beyond the end as well: then there was nothing left to kill.
        killed.run_for(whole.mul_f64(rng.f64() * 1.1));
        let mutation = rng.choice(MUTATIONS).unwrap_or(Mutation::Nothing);
        killed.model.mutate(mutation, rng);
        killed.save();
    }
    killed.project.double.recover();
    killed.recovers()?;
    // Whoever trusts a state that a killed run left behind is found out when the rows go back.
    killed.model.back_to_base();
    killed.save();
    killed.recovers().map_err(|e| format!("after the rows went back: {e}"))
}

/// Rounds on one project, one after the other: the state goes through all of them.
#[track_caller]
fn rounds(mut killed: Killed, count: u64, disturb: impl Fn(&Killed, &mut Rng)) {
    killed.run_well().unwrap_or_else(|e| panic!("{e}"));
    killed.model.settle();
    let mut rng = Rng::with_seed(SEED);
    killed.model.change(EACH, &mut rng);
    killed.save();
    let whole = killed.measure();
    for seed in (0..count).map(|at| SEED + at) {
        let mut rng = Rng::with_seed(seed);
        killed.model.settle();
        killed.model.change(EACH, &mut rng);
        killed.save();
        disturb(&killed, &mut rng);
        round(&mut killed, whole, &mut rng)
            .unwrap_or_else(|e| panic!("seed {seed}, {:?}, {whole:?} long: {e}", killed.mode));
    }
    let incomplete = killed.statuses().iter().filter(|status| *status == "incomplete").count();
    assert!(incomplete > 0, "of {} kills none hit a run at work", killed.kills);
}

#[test]
fn first_runs_to_a_webhook() {
    let whole = Killed::webhook(Mode::Upsert, KNOWN).measure();
    for seed in (0..12).map(|at| SEED + at) {
        let mut rng = Rng::with_seed(seed);
        let mut killed = Killed::webhook(Mode::Upsert, KNOWN);
        round(&mut killed, whole, &mut rng).unwrap_or_else(|e| panic!("seed {seed}, {whole:?} long: {e}"));
    }
}

#[test]
fn a_mirror_in_a_table() {
    rounds(Killed::table(Mode::Mirror, KNOWN), 12, |_, _| {});
}

#[test]
fn a_mirror_at_a_webhook() {
    rounds(Killed::webhook(Mode::Mirror, KNOWN), 12, |_, _| {});
}

#[test]
fn appending_to_a_webhook() {
    rounds(Killed::webhook(Mode::Append, KNOWN), 12, |_, _| {});
}

#[test]
fn a_webhook_that_throttles_and_fails() {
    rounds(Killed::webhook(Mode::Upsert, KNOWN), 12, |killed, rng| {
        let behaviour = match rng.u8(..5) {
            0 => Behaviour::retry_after(429, RetryAfter::Seconds(0.02)),
            1 => Behaviour::status(503),
            2 => Behaviour::Reset,
            3 => Behaviour::ResetAfter,
            _ => Behaviour::TooFewResults,
        };
        killed.project.double.answer_every(3, behaviour);
    });
}

#[test]
fn a_model_changes_as_told() {
    let mut model = Model::new(100);
    model.settle();
    let mut rng = Rng::with_seed(SEED);
    model.change(10, &mut rng);
    let changed = model.clone();
    assert_eq!(model.rows.len(), 100);
    let as_before = |model: &Model| model.rows.iter().filter(|(key, name)| model.base.get(key) == Some(name)).count();
    for (mutation, rows, same) in [
        (Mutation::Nothing, 100, 80..=80),
        (Mutation::Revert, 100, 90..=90),
        (Mutation::DeleteAdded, 90, 80..=80),
        (Mutation::ReAdd, 110, 80..=90),
        (Mutation::Again, 100, 80..=80),
        (Mutation::DeleteChanged, 90, 80..=80),
    ] {
        let mut model = changed.clone();
        model.mutate(mutation, &mut rng);
        assert_eq!(model.rows.len(), rows, "{mutation:?}");
        assert!(same.contains(&as_before(&model)), "{mutation:?}: {}", as_before(&model));
    }
}
