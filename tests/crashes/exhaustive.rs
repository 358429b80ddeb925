//! Every crash point of a small run, one after the other: after each single call of a port, in the middle of each
//! write, and with the answer to each call lost. After each the model changes in each way, and the next runs must
//! make good what the crash left.

use domain::mode::Mode;
use domain::run::{Run, Status};
use fastrand::Rng;

use crate::ledger::Begin;
use crate::model::{MUTATIONS, Model, Mutation};
use crate::points::{End, Point};
use crate::promise::broken;
use crate::rig::{BATCH, NOWHERE, Rig};

/// Rows that the destination has before the run that crashes: enough for several buckets.
const KNOWN: i64 = 200;
/// So many rows are changed, added and deleted each.
const EACH: usize = 20;
/// Cases with several crashes, in each mode.
const IN_A_ROW: u64 = 40;
/// Rows of a first run.
const FIRST: i64 = 60;

/// A crash, what happens to the model, and perhaps more crashes before a run gets to its end.
pub struct Case<'a> {
    from: &'a Rig,
    model: &'a Model,
    point: Point,
    mutation: Mutation,
    more: Vec<(Point, Mutation)>,
    seed: u64,
}

impl Case<'_> {
    /// `Ok(false)`: the run was over before the point.
    fn play(&self) -> Result<bool, String> {
        let rig = self.from.again();
        let (mut model, mut rng) = (self.model.clone(), Rng::with_seed(self.seed));
        let first = rig.run(&model, self.point);
        if !first.reached {
            return Ok(false);
        }
        let mut crashes = 1;
        model.mutate(self.mutation, &mut rng);
        for (point, mutation) in &self.more {
            crashes += usize::from(rig.run(&model, *point).reached);
            model.mutate(*mutation, &mut rng);
        }
        let surplus = crashes * rig.batch();
        let say = |what: String| format!("{what}; the calls were {:?}", first.calls);
        if matches!(self.mutation, Mutation::Refused | Mutation::Invalid) {
            rig.run_well(&model).map_err(say)?;
        } else {
            Self::recovers(&rig, &model, surplus).map_err(say)?;
        }
        // Whoever forgets a doubt too early is found out when the rows go back to what the state remembers.
        model.back_to_base();
        rig.run_well(&model).map_err(say)?;
        broken(rig.mode, &model, &rig.view(), surplus)
            .map_or(Ok(true), |e| Err(say(format!("after the rows went back: {e}"))))
    }

    /// An undisturbed run makes everything good, and the one after that has nothing to do.
    pub fn recovers(rig: &Rig, model: &Model, surplus: usize) -> Result<(), String> {
        let run = rig.run_well(model)?;
        if run.status != Status::Complete {
            return Err(format!("the next run ended as {:?}: {:?}", run.status, run.fault));
        }
        if let Some(broken) = broken(rig.mode, model, &rig.view(), surplus) {
            return Err(broken);
        }
        let requests = rig.view().requests;
        let idle = rig.run_well(model)?;
        if idle.counts.to_send() > 0 || rig.view().requests > requests {
            return Err(format!("the run after that was not idle: {:?}", idle.counts));
        }
        let open = |run: &&Run| !run.status.is_closed();
        match rig.history().iter().find(open) {
            Some(run) => Err(format!("run {} still shows as running", run.id)),
            None => Ok(()),
        }
    }

    #[track_caller]
    fn check(&self) -> bool {
        match self.play() {
            Ok(reached) => reached,
            Err(e) => panic!(
                "{:?}, {:?}, then {:?}, more {:?}, seed {}: {e}",
                self.from.mode, self.point, self.mutation, self.more, self.seed
            ),
        }
    }
}

/// A destination that has the model, and a model that has changed since.
fn changed(mode: Mode) -> (Rig, Model) {
    after_a_change(Rig::new(mode))
}

pub fn after_a_change(rig: Rig) -> (Rig, Model) {
    let mut model = Model::new(KNOWN);
    // The second run notes the digests.
    for _ in 0..2 {
        assert_eq!(rig.run_well(&model).map(|run| run.status), Ok(Status::Complete));
    }
    model.settle();
    model.change(EACH, &mut Rng::with_seed(7));
    (rig, model)
}

/// A destination that has nothing of ours yet.
fn fresh(mode: Mode) -> (Rig, Model) {
    (Rig::new(mode), Model::new(FIRST))
}

/// Plays the case for every point there is. Returns how many there were.
#[track_caller]
pub fn every_point((from, model): &(Rig, Model), end: End, mutations: &[Mutation]) -> usize {
    let mut points = 0;
    for call in 1.. {
        let point = Point { call, end };
        let case =
            |mutation: &Mutation| Case { from, model, point, mutation: *mutation, more: Vec::new(), seed: call as u64 };
        if !mutations.iter().all(|mutation| case(mutation).check()) {
            break;
        }
        points = call;
    }
    points
}

/// The named steps of the protocol, in order, by the calls that end them. A crash after each call of a run is a crash
/// between any two of these.
const STEPS: [&str; 17] = [
    "put_run",  // the run is known
    "put_head", // acquired
    "in_doubt", // preflight is over
    "buckets",  // extracted and compared
    "put_run",  // planned, guards passed
    "head",     // still ours
    "put_page", // marked
    "clear_in_doubt",
    "send",     // the first batch enqueued
    "claim",    // claimed
    "write",    // sent
    "commit",   // committed
    "settle",   // settled
    "done",     // gone from the queue
    "tally",    // the last batch is out
    "put_run",  // closed
    "put_head", // the head is free
];

#[test]
fn the_points_are_between_all_steps_of_a_run() {
    for mode in [Mode::Upsert, Mode::Mirror, Mode::Append] {
        let (rig, model) = changed(mode);
        let calls = rig.run(&model, NOWHERE).calls;
        let mut rest = calls.iter();
        for step in STEPS {
            assert!(rest.any(|call| *call == step), "{mode}: {step} does not come where it should in {calls:?}");
        }
    }
}

/// Every point with every mutation, for a first run and for a run that changes, adds and deletes.
#[track_caller]
fn crashes(mode: Mode) {
    let steps = every_point(&fresh(mode), End::After, &[Mutation::Nothing, Mutation::Mixed]);
    // Two calls for the head, and at least claim, write, commit, settle and done for every batch.
    assert!(steps > 2 + 5 * FIRST as usize / BATCH, "only {steps} points");
    every_point(&changed(mode), End::After, &MUTATIONS);
}

#[test]
fn upsert_survives_a_crash_after_every_call() {
    crashes(Mode::Upsert);
}

#[test]
fn mirror_survives_a_crash_after_every_call() {
    crashes(Mode::Mirror);
}

#[test]
fn append_survives_a_crash_after_every_call() {
    crashes(Mode::Append);
}

#[test]
fn a_batch_that_arrived_in_part_is_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror, Mode::Append] {
        let writes = every_point(&changed(mode), End::Half, &MUTATIONS);
        assert!(writes >= EACH / BATCH, "only {writes} writes");
    }
}

#[test]
fn a_crash_before_a_refusal_is_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror] {
        for end in [End::After, End::Half] {
            every_point(&changed(mode), end, &[Mutation::Refused, Mutation::Invalid]);
        }
    }
}

#[test]
fn crashes_in_a_row_are_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror, Mode::Append] {
        let (from, model) = changed(mode);
        for seed in 0..IN_A_ROW {
            let mut rng = Rng::with_seed(seed);
            let mut point = || match rng.u8(..3) {
                0 => Point { call: rng.usize(1..=3), end: End::Half },
                1 => Point { call: rng.usize(1..50), end: End::After },
                _ => Point { call: rng.usize(1..50), end: End::Lost },
            };
            let (first, others) = (point(), [point(), point()]);
            let mut mutation = || rng.choice(MUTATIONS).unwrap_or(Mutation::Nothing);
            let more = others.into_iter().map(|point| (point, mutation())).collect();
            Case { from: &from, model: &model, point: first, mutation: mutation(), more, seed }.check();
        }
    }
}

#[test]
fn a_lost_answer_to_any_call_is_made_good() {
    for mode in [Mode::Upsert, Mode::Mirror, Mode::Append] {
        every_point(&changed(mode), End::Lost, &[Mutation::Nothing, Mutation::Mixed]);
    }
}

#[test]
fn messages_for_several_requests_survive_a_crash_after_every_call() {
    for mode in [Mode::Upsert, Mode::Mirror] {
        let case = after_a_change(Rig::with_messages_of(2, mode));
        let calls = case.0.again().run(&case.1, NOWHERE).calls;
        let count = |name| calls.iter().filter(|call| **call == name).count();
        assert!(count("write") > count("claim"), "{calls:?}");
        for end in [End::After, End::Half, End::Lost] {
            every_point(&case, end, &[Mutation::Nothing, Mutation::Mixed]);
        }
    }
}

/// Every way in which a destination may take jobs.
fn with_jobs() -> impl Iterator<Item = (Rig, Model)> {
    let all = [Mode::Upsert, Mode::Mirror, Mode::Append]
        .into_iter()
        .flat_map(|mode| [Begin::AtSubmit, Begin::AtPoll, Begin::AfterPoll].map(|begin| (mode, begin)));
    all.map(|(mode, begin)| after_a_change(Rig::with_jobs(mode, begin)))
}

#[test]
fn jobs_survive_a_crash_after_every_call() {
    for case in with_jobs() {
        let calls = case.0.again().run(&case.1, NOWHERE).calls;
        assert!(calls.contains(&"submit") && calls.iter().filter(|call| **call == "poll").count() > 1, "{calls:?}");
        every_point(&case, End::After, &[Mutation::Nothing, Mutation::Mixed]);
    }
}

#[test]
fn a_lost_answer_about_a_job_is_made_good() {
    for case in with_jobs() {
        every_point(&case, End::Lost, &[Mutation::Nothing, Mutation::Mixed]);
    }
}

#[test]
fn a_job_that_begins_at_its_first_poll_is_lost_harmlessly() {
    let (rig, model) = after_a_change(Rig::with_jobs(Mode::Append, Begin::AtPoll));
    let calls = rig.again().run(&model, NOWHERE).calls;
    for (at, _) in calls.iter().enumerate().filter(|(_, call)| **call == "submit") {
        let (twin, before) = (rig.again(), rig.view().deliveries.len());
        assert!(twin.run(&model, Point { call: at + 1, end: End::After }).reached);
        assert_eq!(twin.run_well(&model).map(|run| run.status), Ok(Status::Complete));
        assert_eq!(twin.view().deliveries.len() - before, EACH, "each added record was appended once");
    }
}
