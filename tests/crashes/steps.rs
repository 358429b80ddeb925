//! The real command, killed at named steps of its run. What is seen from outside tells when it is there: the state
//! file, and a destination that holds its answer back. The steps in between are in `exhaustive`.

use std::process::Child;
use std::time::Duration;

use domain::mode::Mode;
use fastrand::Rng;
use serde_json::json;
use support::double::Behaviour;

use crate::model::Mutation;
use crate::process_rig::{BATCH, Killed, WRITERS, wait_until};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

/// A number out of the state file, while a run is at work in it.
fn in_state(killed: &Killed, sql: &str) -> i64 {
    let Ok(state) = rusqlite::Connection::open(killed.project.path(".sluice/state.db")) else { return 0 };
    let _ = state.busy_timeout(Duration::from_secs(10));
    // Before the first run has made its tables there is nothing to count.
    state.query_row(sql, [], |row| row.get(0)).unwrap_or(0)
}

/// A project whose destination has everything, and then a change of the model.
fn changed(mut killed: Killed) -> Killed {
    killed.run_well().unwrap_or_else(|e| panic!("{e}"));
    killed.model.settle();
    killed.model.change(3 * BATCH, &mut Rng::with_seed(3));
    killed.save();
    killed
}

/// Kills the run, checks what the history says of it before and after the next one, and that the next makes all good.
#[track_caller]
fn kill_and_recover(killed: &mut Killed, run: Child, mutation: Mutation) {
    killed.kill(run);
    assert_eq!(killed.statuses()[0], "running", "nobody was left to close the run");
    killed.project.double.recover();
    killed.model.mutate(mutation, &mut Rng::with_seed(5));
    killed.save();
    // Also: the lock of the killed process is in nobody's way.
    killed.recovers().unwrap_or_else(|e| panic!("{e}"));
    let statuses = killed.statuses();
    assert_eq!(statuses[..3], ["complete", "complete", "incomplete"], "the idle run, the one before, the killed one");
    killed.model.back_to_base();
    killed.save();
    killed.recovers().unwrap_or_else(|e| panic!("after the rows went back: {e}"));
}

#[test]
fn while_the_model_is_read() {
    let mut killed = Killed::webhook(Mode::Mirror, 100);
    killed.project.warehouse("create table slow (most integer); insert into slow values (1)");
    let count = "(with recursive n(i) as (select 1 union all select i + 1 from n where i < (select most from slow)) select count(*) from n)";
    killed.project.sync()["model"]["sql"] = json!(format!("select id, name from customers where {count} > 0"));
    let mut killed = changed(killed);
    let before = killed.view().requests;
    killed.project.warehouse("update slow set most = 1000000000000");
    let run = killed.start();
    // The run is written down before the head names it: one that never had the head is skipped, not incomplete.
    let active = "select count(*) from head where json_extract(data, '$.active') is not null";
    wait_until("the run has the head", || in_state(&killed, active) == 1);
    killed.kill(run);
    assert_eq!(killed.view().requests, before, "nothing is sent before the plan is known");
    killed.project.warehouse("update slow set most = 1");
    killed.recovers().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(killed.statuses()[2], "incomplete");
}

#[test]
fn when_the_first_batch_leaves() {
    let mut killed = changed(Killed::webhook(Mode::Mirror, 200));
    // It is seen and not taken, and there is no answer.
    killed.project.double.answer(Behaviour::Reset);
    killed.project.double.delay(LONG);
    let (run, before) = (killed.start(), killed.view());
    wait_until("the double has a request", || killed.project.double.count() > before.requests);
    assert_eq!(killed.view().rows, before.rows);
    kill_and_recover(&mut killed, run, Mutation::Mixed);
}

#[test]
fn in_the_middle_of_the_enqueue() {
    let mut killed = Killed::webhook(Mode::Upsert, 10);
    killed.run_well().unwrap_or_else(|e| panic!("{e}"));
    killed.model.settle();
    // More than the queue holds.
    killed.model = killed.model.clone().with_wide_rows(2200, 8000);
    killed.save();
    killed.project.double.answer(Behaviour::Hang(LONG));
    let (run, before) = (killed.start(), killed.view().requests);
    wait_until("every writer is busy", || killed.project.double.count() == before + WRITERS as u64);
    assert_eq!(in_state(&killed, "select count(*) from progress where total is null"), 0, "no batch is settled");
    assert_eq!(
        in_state(&killed, "select count(*) from progress"),
        1,
        "only the run before knows how many batches it had"
    );
    kill_and_recover(&mut killed, run, Mutation::DeleteAdded);
}

#[test]
fn between_claim_and_send() {
    let mut killed = changed(Killed::webhook(Mode::Mirror, 200));
    killed.project.connections["there"]["rate"] = json!({ "requests": 1, "per": "600s" });
    let (run, before) = (killed.start(), killed.view());
    let claimed = "select count(*) from batch where not done";
    wait_until("one batch is sent and the others wait for a slot", || {
        killed.project.double.count() == before.requests + 1 && in_state(&killed, claimed) == WRITERS as i64
    });
    killed.project.connections["there"]["rate"] = json!(null);
    kill_and_recover(&mut killed, run, Mutation::Revert);
}

#[test]
fn between_send_and_commit() {
    for mutation in [Mutation::Nothing, Mutation::Revert, Mutation::DeleteAdded, Mutation::ReAdd] {
        let mut killed = changed(Killed::webhook(Mode::Mirror, 200));
        killed.project.double.answer(Behaviour::Hang(LONG));
        let (run, before) = (killed.start(), killed.view());
        wait_until("every writer waits for its answer", || {
            killed.project.double.count() == before.requests + WRITERS as u64
        });
        assert_ne!(killed.view().rows, before.rows, "the batches were taken");
        kill_and_recover(&mut killed, run, mutation);
    }
}

#[test]
fn what_was_committed_is_not_appended_again() {
    let mut killed = changed(Killed::webhook(Mode::Append, 100));
    let before = killed.view();
    killed.project.double.answer_next(1, Behaviour::Ok);
    killed.project.double.answer(Behaviour::Hang(LONG));
    let run = killed.start();
    let done = "select count(*) from batch where done and run = (select max(id) from run)";
    wait_until("one batch is settled and the others wait for an answer", || {
        killed.project.double.count() == before.requests + 3 && in_state(&killed, done) == 1
    });
    kill_and_recover(&mut killed, run, Mutation::Nothing);
    let view = killed.view();
    let times = |id: &str| view.deliveries.iter().filter(|d| d.id == id).count();
    let first: Vec<usize> =
        view.deliveries[before.deliveries.len()..].iter().take(3 * BATCH).map(|d| times(&d.id)).collect();
    assert_eq!(first.iter().filter(|times| **times == 1).count(), BATCH, "the batch that was committed went once");
    assert_eq!(
        first.iter().filter(|times| **times == 2).count(),
        2 * BATCH,
        "the batches in flight went again, with the same ids"
    );
}

#[test]
fn a_run_at_work_keeps_others_out_until_it_is_killed() {
    let mut killed = changed(Killed::webhook(Mode::Upsert, 50));
    killed.project.double.answer(Behaviour::Hang(LONG));
    let (run, before) = (killed.start(), killed.view().requests);
    wait_until("a batch is on its way", || killed.project.double.count() > before);
    let refused = killed.project.sluice(&["run", "crm"]);
    refused.failed(1, &["active", &run.id().to_string()]);
    kill_and_recover(&mut killed, run, Mutation::Again);
}
