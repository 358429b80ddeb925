//! A cursor: only new rows are read, deletes are found at the full check, and no failed record is passed by.

use std::time::Duration;

use domain::run::Status;
use serde_json::json;
use support::double::Behaviour;
use support::project::Project;

/// 20 customers, `n` from 0.5 to 10.0 as the cursor.
fn with_cursor() -> Project {
    let mut project = Project::webhook(20);
    project.sync()["model"]["cursor"] = json!({ "column": "n", "full_check": "1 day" });
    project
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_new_rows_are_read() {
    let project = with_cursor();
    let run = project.run().await;
    assert_eq!((run.status, run.full, run.counts.rows), (Status::Complete, true, 20));
    let run = project.run().await;
    assert_eq!(
        (run.full, run.counts.rows, run.tally.requests),
        (false, 1, 0),
        "from the last value on, that one included"
    );
    project.add_rows(21, 23);
    project.warehouse("update customers set name = 'New', n = 50.5 where id = 7");
    // A change that the cursor does not show is not seen.
    project.warehouse("update customers set name = 'Unseen' where id = 3");
    let run = project.run().await;
    assert_eq!((run.full, run.counts.rows, run.counts.added, run.counts.changed), (false, 5, 3, 1));
    assert_eq!(project.there()["3"]["name"], "Customer 3");
    let run = project.run().await;
    assert_eq!((run.counts.rows, run.tally.requests), (1, 0));
    project.sluice(&["run", "crm", "--full"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_full_check_finds_deletes_and_late_changes() {
    let mut project = with_cursor();
    project.sync()["mode"] = json!("mirror");
    project.run().await;
    project.warehouse("delete from customers where id = 3; update customers set name = 'Late' where id = 4");
    let run = project.run().await;
    assert_eq!((run.full, run.counts.removed, run.tally.requests), (false, 0, 0));
    project.later(Duration::from_secs(86_500));
    let run = project.run().await;
    assert_eq!((run.full, run.counts.removed, run.counts.changed), (true, 1, 1));
    project.assert_arrived();
    assert!(!project.run().await.full);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_does_not_pass_a_record_that_failed() {
    let project = with_cursor();
    project.run().await;
    project.add_rows(21, 22);
    project.double.answer(Behaviour::fail_keys([21], "invalid"));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 1, 1));
    project.double.recover();
    project.add_rows(23, 23);
    project.sluice(&["dead-letters", "retry", "crm"]).said(0, &["1 record(s)"]);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added), (Status::Complete, 2), "21 is read again, and 23 is new");
    project.assert_arrived();
}

/// A record that is refused for ever must not keep the cursor where it is: what is new is read as before, and the
/// refused one is looked at again when it is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_passes_held_records_until_they_are_due() {
    let mut project = with_cursor();
    project.sync()["model"]["cursor"]["full_check"] = json!("30 days");
    project.run().await;
    project.add_rows(21, 22);
    project.double.answer(Behaviour::fail_keys([21], "invalid"));
    project.run().await;
    project.double.recover();
    project.add_rows(23, 40);
    let run = project.run().await;
    assert_eq!((run.full, run.counts.rows, run.counts.added), (false, 19, 18), "the cursor went on: {:?}", run.counts);
    project.later(Duration::from_secs(3700));
    let run = project.run().await;
    assert_eq!((run.full, run.status, run.tally.accepted()), (true, Status::Complete, 1), "{:?}", run.counts);
    project.assert_arrived();
    assert!(!project.run().await.full);
}

/// A person who lets a held record go does not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_record_that_is_released_is_sent_by_the_next_run() {
    let project = with_cursor();
    project.run().await;
    project.add_rows(21, 22);
    project.double.answer(Behaviour::fail_keys([21], "invalid"));
    project.run().await;
    project.double.recover();
    project.add_rows(23, 40);
    project.run().await;
    project.sluice(&["dead-letters", "retry", "crm"]).said(0, &["1 record(s)"]);
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 1), "{:?}", run.counts);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_definition_begins_with_a_full_read() {
    let mut project = with_cursor();
    project.run().await;
    assert!(!project.run().await.full);
    project.line("name")["transform"] = json!(["uppercase"]);
    let run = project.run().await;
    assert_eq!((run.full, run.status), (true, Status::Blocked));
}
