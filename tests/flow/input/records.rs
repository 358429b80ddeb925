//! Rows that cannot be told apart: null keys, duplicate keys, two keys for one identifier.

use domain::run::Status;
use serde_json::json;
use support::project::{Project, assert_balances};

/// A model whose key is not unique or null in places.
fn with_rows(sql: &str) -> Project {
    let mut project = Project::webhook(20);
    project.warehouse(&format!("create table more (id, email text, name text, n); {sql}"));
    project.sync()["model"]["sql"] =
        json!("select id, email, name, n from customers union all select id, email, name, n from more");
    project
}

#[test]
fn null_keys_are_reported_and_the_others_arrive() {
    let project = with_rows("insert into more values (null, 'x@h.test', 'X', 1), (null, 'y@h.test', 'Y', 2)");
    project.sluice(&["run", "crm"]).said(3, &["partial", "invalid: key ", "must not be null: it is part of the key"]);
    assert_eq!(project.double.records().len(), 20);
    project.sluice(&["run", "crm"]).said(3, &["partial"]);
    project.warehouse("update more set id = 100 + rowid");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicate_keys_are_never_sent_and_their_state_is_left_alone() {
    let mut project = with_rows("");
    project.sync()["mode"] = json!("mirror");
    project.run().await;
    project.assert_arrived();
    let before = project.there();
    project.warehouse(
        "insert into more values (7, 'other@h.test', 'Other', 7), (21, 'a@h.test', 'A', 1), (21, 'b@h.test', 'B', 2)",
    );
    let run = project.run().await;
    assert_eq!((run.status, run.counts.invalid, run.counts.removed, run.counts.to_send()), (Status::Partial, 4, 0, 0));
    let keys: Vec<_> = run.invalid.iter().map(|i| (i.key.as_str(), i.why.rule.as_str())).collect();
    assert!(keys.iter().any(|(key, rule)| *key == "7" && rule.contains("must be unique: 2 rows")), "{keys:?}");
    assert_eq!(project.there(), before, "neither of the two is sent, and the one that is there is not deleted");
    project.warehouse("delete from more where email in ('other@h.test', 'b@h.test')");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added), (Status::Complete, 1));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_with_one_identifier_are_both_refused() {
    let mut project = Project::webhook(20);
    project.line("id")["identifier"] = json!(false);
    project.line("email")["identifier"] = json!(true);
    project.line("email")["transform"] = json!(["trim", "lowercase"]);
    project.run().await;
    project.assert_arrived();
    let before = project.there();
    project.warehouse("insert into customers values (21, ' C7@H.test', 'Twin', 1)");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.invalid, run.tally.sent), (Status::Partial, 2, 0), "{:?}", run.invalid);
    assert!(run.invalid.iter().any(|i| i.key == "21" && i.why.field == "email"), "{:?}", run.invalid);
    assert_eq!(project.there(), before);
    project.sluice(&["run", "crm"]).said(3, &["partial", "`email`"]);
    project.warehouse("update customers set email = 'c21@h.test' where id = 21");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added), (Status::Complete, 1));
    assert_balances(&run);
    project.assert_arrived();
}
