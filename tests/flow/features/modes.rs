//! The four modes, on a table that has rows of its own.

use domain::run::Status;
use serde_json::json;
use support::double::Behaviour;
use support::project::{Project, assert_balances};

/// The product had rows 1 to 5 under other names, and 1000.
fn with_rows_before(mode: &str) -> Project {
    let mut project = Project::table(10);
    project.sync()["mode"] = json!(mode);
    project.product("insert into customers select value, 'old', 'Old', 0 from json_each('[1, 2, 3, 4, 5, 1000]')");
    project
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upsert_creates_updates_and_never_deletes() {
    let project = with_rows_before("upsert");
    let run = project.run().await;
    assert_eq!((run.status, run.tally.created, run.tally.updated), (Status::Complete, 5, 5));
    assert_balances(&run);
    project.warehouse("delete from customers where id = 1");
    let run = project.run().await;
    assert_eq!((run.counts.removed, run.tally.requests), (0, 0));
    assert_eq!(project.there().len(), 11);
    assert_eq!(
        (&project.there()["2"]["name"], &project.there()["1000"]["name"]),
        (&json!("Customer 2"), &json!("Old"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_skips_what_is_not_there() {
    let project = with_rows_before("update");
    let run = project.run().await;
    assert_eq!((run.status, run.tally.updated, run.tally.skipped, run.tally.created), (Status::Complete, 5, 5, 0));
    assert_balances(&run);
    assert_eq!(project.there().len(), 6, "nothing is inserted");
    assert!(project.store().await.dead_letters("crm", 9).await.unwrap().is_empty(), "a skip is no failure");
    let run = project.run().await;
    assert_eq!((run.counts.held, run.tally.requests), (5, 0));
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    // It comes to be there: sent when its pause is over, or at once when it changes.
    project.product("insert into customers values (6, 'old', 'Old', 0), (7, 'old', 'Old', 0)");
    project.warehouse("update customers set name = 'New' where id = 6");
    let run = project.run().await;
    assert_eq!((run.tally.updated, run.tally.skipped), (1, 0));
    project.later(std::time::Duration::from_secs(3700));
    let run = project.run().await;
    assert_eq!((run.tally.updated, run.tally.skipped), (1, 3));
    assert_eq!(project.there()["7"]["name"], "Customer 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_sends_once() {
    let mut project = Project::webhook(20);
    project.sync()["mode"] = json!("append");
    project.double.answer(Behaviour::fail_keys([7], "invalid"));
    assert_eq!(project.run().await.tally.accepted(), 19);
    project.double.recover();
    project.double.forget();
    project.warehouse("update customers set name = 'Changed' where id < 10; delete from customers where id = 20");
    project.add_rows(21, 22);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added, run.counts.changed, run.counts.removed), (Status::Complete, 3, 0, 0));
    let mut keys: Vec<_> = project.double.deliveries().into_iter().map(|d| (d.key, d.operation)).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["21", "22", "7"].map(|k| (k.to_owned(), "append".to_owned())),
        "what was accepted is never touched again"
    );
    assert_eq!(project.run().await.tally.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirror_deletes_what_it_sent_and_nothing_else() {
    let project = with_rows_before("mirror");
    project.run().await;
    assert_eq!(project.there().len(), 11);
    project.warehouse("delete from customers where id in (1, 9)");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.removed, run.tally.deleted), (Status::Complete, 2, 2));
    assert_balances(&run);
    let there = project.there();
    assert!(there.contains_key("1000"), "a row that was never ours stays");
    assert!(there.len() == 9 && !there.contains_key("1") && !there.contains_key("9"));
    // Gone there already: deleting it is done.
    project.product("delete from customers where id = 2");
    project.warehouse("delete from customers where id = 2");
    assert_eq!(project.run().await.status, Status::Complete);
    // It comes back.
    project.add_rows(9, 9);
    let run = project.run().await;
    assert_eq!((run.counts.added, run.tally.created), (1, 1));
    assert_eq!(project.run().await.tally.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirror_deletes_through_a_webhook() {
    let mut project = Project::webhook(20);
    project.sync()["mode"] = json!("mirror");
    project.run().await;
    project.double.forget();
    project.warehouse("delete from customers where id in (3, 4)");
    project.double.answer_next(1, Behaviour::fail_keys([4], "locked"));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.deleted, run.tally.rejected), (Status::Partial, 1, 1));
    assert_eq!(project.run().await.counts.held, 1, "a refused delete is held as well");
    project.sluice(&["dead-letters", "list", "crm"]).said(0, &["4", "delete", "locked"]);
    project.sluice(&["dead-letters", "retry", "crm"]).said(0, &["1 record(s)"]);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.removed), (Status::Complete, 1));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_upsert_to_mirror_knows_what_to_delete() {
    let mut project = Project::table(20);
    project.run().await;
    project.sync()["mode"] = json!("mirror");
    project.approve_whatever().await;
    project.warehouse("delete from customers where id = 3");
    assert_eq!(project.run().await.counts.removed, 1);
    project.assert_arrived();
}
